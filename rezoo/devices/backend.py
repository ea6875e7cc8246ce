"""Choices that differ between CPUs and accelerators, and the memory that is free."""

import os
from pathlib import Path
from typing import TypeVar

import jax

T = TypeVar("T")

SHARE = 0.9
"""The share of the free memory that is planned with."""
GROUP = Path("/sys/fs/cgroup")
"""Where Linux keeps the memory limit of a container."""


def pick(*, cpu: T, accelerator: T) -> T:
    """The choice for JAX's default backend.

    A CPU is fastest on what fits its cache; an accelerator on few, large kernels, as each has to be launched.
    The values may differ in time and in how sums are rounded, not in what is computed.
    """
    return cpu if jax.default_backend() == "cpu" else accelerator


def cores() -> int:
    """Of the CPU, those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_memory() -> float:
    """Bytes that may be planned with on the default device; infinite where that is unknown."""
    device = jax.local_devices()[0]
    if stats := device.memory_stats():
        return SHARE * (stats["bytes_limit"] - stats["bytes_in_use"])
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return float("inf")
    kilobytes = {name: float(rest.split()[0]) for name, rest in (line.split(":") for line in lines)}
    return SHARE * min(1024 * kilobytes["MemAvailable"], _left_to_the_container())


def _left_to_the_container() -> float:
    try:
        most, taken = ((GROUP / f"memory.{name}").read_text().strip() for name in ("max", "current"))
    except OSError:
        return float("inf")
    return float("inf") if most == "max" else max(float(most) - float(taken), 0.0)
