"""Processes of their own: Python scripts, and functions that begin with TensorFlow loaded."""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess

_FORKS = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
# Loaded once for all processes that are forked, because it takes each 5 s.
_FORKS.set_forkserver_preload(["lungnb.evaluation.evaluation", "lungnb.report.page", "lungnb.networks.training"])


def start(script, home, *arguments):
    """Start a Python script in a process of its own, in the project folder `home`."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    environment = {**os.environ, "LUNGNB_HOME": str(home)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ended(process):
    """Wait for a process; return its exit status and what it printed."""
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


def start_forked(function: Callable[..., None], *arguments: object) -> BaseProcess:
    """Start a function of a test file in a process of its own.

    The process does not see what the test changed in the environment or in a module.
    """
    process = _FORKS.Process(target=function, args=arguments)
    process.start()
    return process


def exit_code(process: BaseProcess) -> int:
    """Wait for a forked process; return its exit status."""
    process.join(600)
    code = process.exitcode
    process.close()
    return code
