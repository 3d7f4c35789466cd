"""Describe the machine on which a benchmark ran."""

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lungnb.networks.machine import processor
from lungnb.networks.records import code_digest, git_commit

# Before anything is measured, because afterwards it would be the load of the benchmark.
LOAD = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def describe(*packages: str) -> dict[str, Any]:
    """Return the processor, its features for networks, cores, load before, system and versions; commit and digest.

    `code_digest` is that of lungnb and of the script that runs.
    """
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8") if info.exists() else ""
    return {
        "processor": processor(),
        "features": [feature for feature in ("avx2", "avx512f", "amx_bf16") if feature in text.split()],
        "cores": os.cpu_count(),
        "load": LOAD,
        "system": platform.platform(),
        "versions": {"python": platform.python_version()} | {package: version(package) for package in packages},
        "git_commit": git_commit(),
        "code_digest": code_digest(*(file for file in [Path(sys.argv[0])] if file.is_file())),
    }
