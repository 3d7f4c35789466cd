"""What the machine has for networks: its cores, and the matrix units of its processor."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path


def cores() -> int:
    """Return how many cores this process may use; OMP_NUM_THREADS, which Ray sets for its workers, bounds them."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return min(allowed, int(wanted)) if wanted.isdecimal() and int(wanted) else allowed


@cache
def has_amx() -> bool:
    """Whether the processor has Intel's matrix units (AMX), which alone make bf16 the faster on CPUs.

    By AVX-512, which has bf16 too, a U-Net trained on two thirds as many images a second in bf16 as in float32
    (`benchmarks/training.py`), and OpenVINO took 1.7 times as long for a mask. Only Linux tells.
    """
    info = Path("/proc/cpuinfo")
    return info.exists() and "amx_bf16" in info.read_text(encoding="utf-8").split()
