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
def has_fast_bf16() -> bool:
    """Whether the processor computes faster in bf16: with Intel's matrix units (AMX), and by the AVX-512 of AMD.

    On an AMD EPYC OpenVINO then took half the time of float32 (whether its masks stay the same, `export` finds out),
    and a U-Net trained on 1.4 to 1.8 times as many images a second; by the AVX-512 of an Intel Xeon without AMX a mask
    took 1.7 times the time, and training was at two thirds of the speed (`benchmarks/training.py`). Only Linux tells.
    """
    info = Path("/proc/cpuinfo")
    words = set(info.read_text(encoding="utf-8").split()) if info.exists() else set()
    return "amx_bf16" in words or {"AuthenticAMD", "avx512_bf16"} <= words
