"""Python scripts in processes of their own."""

import os
import subprocess
import sys


def start(script, home, *arguments):
    """Start a Python script in a process of its own, in the project folder `home`."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    environment = {**os.environ, "LUNGNB_HOME": str(home)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ended(process):
    """Wait for a process; return its exit status and what it printed."""
    output, _ = process.communicate(timeout=300)
    return process.returncode, output
