"""Parts of an experiment, each measured in a process of its own: its devices and its memory are its own."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from common import Results

Figures = dict[str, float]
"""What was measured, by metric."""
FLAG = "--part="


def asked() -> str | None:
    """The part that this process is to measure; None if it was not started by `measured`."""
    return next((word.removeprefix(FLAG) for word in sys.argv[1:] if word.startswith(FLAG)), None)


def answer(measure: Callable[[str], Figures], part: str) -> None:
    """Measure the part and tell the process that asked."""
    print(json.dumps(measure(part)), flush=True)


def started(script: str, part: str, devices: int = 1) -> subprocess.Popen[str]:
    """A process of the script that measures a part, on so many parts of the CPU."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    command = [sys.executable, script, f"{FLAG}{part}"]
    return subprocess.Popen(command, env=os.environ | {"XLA_FLAGS": flags}, stdout=subprocess.PIPE, text=True)


def measured(script: str, part: str, devices: int = 1) -> tuple[Figures, float]:
    """What a process of the script says of a part, and its seconds."""
    begin = time.monotonic()
    with started(script, part, devices) as process:
        said = process.communicate()[0]
    if process.returncode:
        raise SystemExit(f"{script} --part='{part}' ended with {process.returncode}: its error stands above")
    told: Figures = json.loads(said.splitlines()[-1])
    print(part, {name: round(value, 4) for name, value in told.items()}, flush=True)
    return told, time.monotonic() - begin


def put(results: Results, script: str, key: tuple[str, str, str], part: str, devices: int = 1) -> None:
    """What is measured for a model, data and protocol, unless it is there."""
    if any((row["model"], row["dataset"], row["protocol"]) == key for row in results.rows):
        return
    told, seconds = measured(script, part, devices)
    with results.together():
        for metric, value in told.items():
            results.put(*key, metric, value, seconds=seconds)


def peak_gib() -> float:
    """Peak memory of this process; `ru_maxrss` is that of whoever started it, where that is more."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
