"""Timing rezoo and other libraries in turns, each of them in a process of its own."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

PEERS = Path(__file__).parent / "peers"
CORES, PATIENCE = 2, 30.0

Turn = Callable[[], float]
"""Does a piece of work; rows per second, or milliseconds per step."""


def take_turns(turns: Mapping[str, Turn], rounds: int) -> dict[str, list[float]]:
    """The answers of each contender in `rounds` rounds, after one round that does not count.

    On a shared machine two cores may do the work of one. A turn waits, up to half a minute, until both
    are free; not where there are too few rounds for a median, which only shows that all runs, or where
    an accelerator does the work.
    """
    values: dict[str, list[float]] = {name: [] for name in turns}
    for turn in turns.values():
        turn()
    for _ in range(rounds):
        for name, turn in turns.items():
            if rounds > 2 and jax.default_backend() == "cpu":
                wait_for_cores()
            values[name].append(turn())
    return values


def wait_for_cores() -> bool:
    """Return when two threads do nearly twice the work of one, or after half a minute."""
    numbers = np.random.default_rng(0).random(200_000)

    def seconds(threads: int) -> float:
        workers = [threading.Thread(target=np.sort, args=(numbers,)) for _ in range(threads)]
        start = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return time.perf_counter() - start

    end = time.perf_counter() + PATIENCE
    while time.perf_counter() < end:
        if CORES * seconds(1) > 1.25 * seconds(CORES):
            return True
        time.sleep(0.2)
    return False


class Peer:
    """Another library's process, which answers every line with its speed; `with` gives its turn."""

    def __init__(self, python: Path | None, folder: Path, script: str, *arguments: Any):
        """`folder` is where the peer may leave its logs; `script` stands in experiments/peers."""
        self.python, self.folder = python, folder
        self.about: dict[str, Any] = {}
        """Library, version and peak memory, as far as it has told them."""
        self._command = [str(python and python.absolute()), str(PEERS / script), *map(str, arguments)]

    def __enter__(self) -> Turn:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=self.folder,
            env=os.environ | {"PEER_DEVICE": "cuda" if jax.default_backend() == "gpu" else "cpu"},
        )
        self._process.__enter__()
        try:
            self.about |= self._answer()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        print("in turns with", self.about)
        return self._turn

    def __exit__(self, *error: Any) -> None:
        self._process.kill()
        self._process.__exit__(*error)

    def _turn(self) -> float:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer = self._answer()
        self.about["peak_rss_mib"] = round(answer["peak_rss_mib"])
        return answer["rows_per_s"]

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise SystemExit(f"{' '.join(self._command)} ended without an answer: run it by hand to see why")
