"""The peer's side of an interleaved timing: each line on stdin is a round, each answer a JSON line."""

import json
import resource
import sys
import time
from collections.abc import Callable


def serve(step: Callable[[], object], steps: int, rows: float, **about: object) -> None:
    """Say `about`, then time `steps` calls of `step`, of `rows` rows each, for every line on stdin."""
    for _ in range(5):
        step()
    print(json.dumps(about), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        for _ in range(steps):
            step()
        seconds = time.perf_counter() - start
        time.sleep(0.4)  # OpenMP's threads spin for a while after work: not in somebody else's turn
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"rows_per_s": steps * rows / seconds, "peak_rss_mib": peak}), flush=True)
