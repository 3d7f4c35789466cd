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
    """Whether the processor has Intel's matrix units (AMX), which alone make training in bf16 the faster on CPUs.

    By AVX-512, which has bf16 too, a U-Net trained on two thirds as many images a second in bf16 as in float32
    (`benchmarks/training.py`). Only Linux tells.
    """
    return "amx_bf16" in _described()


@cache
def has_fast_bf16() -> bool:
    """Whether OpenVINO computes faster in bf16: with AMX, and by the AVX-512 of AMD.

    For a mask it then took half the time of float32 on an AMD EPYC, but 1.7 times that time by the AVX-512 of an Intel
    Xeon without AMX. Only Linux tells.
    """
    return has_amx() or {"AuthenticAMD", "avx512_bf16"} <= _described()


def _described() -> set[str]:
    """Return the words with which Linux describes the processor."""
    info = Path("/proc/cpuinfo")
    return set(info.read_text(encoding="utf-8").split()) if info.exists() else set()
