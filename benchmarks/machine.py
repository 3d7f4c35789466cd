"""Describe the machine on which a benchmark ran."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Before anything is measured, because afterwards it would be the load of the benchmark.
LOAD = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def describe(*packages: str) -> dict[str, Any]:
    """Return the processor, its features for networks, its cores, the load before, the system, and versions."""
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8") if info.exists() else ""
    name = next((line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name")), "")
    return {
        "processor": name or platform.processor(),
        "features": [feature for feature in ("avx2", "avx512f", "amx_bf16") if feature in text.split()],
        "cores": os.cpu_count(),
        "load": LOAD,
        "system": platform.platform(),
        "versions": {"python": platform.python_version()} | {package: version(package) for package in packages},
    }
