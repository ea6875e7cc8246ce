"""The peer's side of an interleaved timing: each line on stdin is a round, each answer a JSON line."""

import json
import os
import resource
import sys
import time
from collections.abc import Callable

DEVICE = os.environ.get("PEER_DEVICE", "cpu")
"""Where we compute, and so the peer: cpu or cuda."""


def prepare_torch(threads: int, *, by_default: bool = True) -> None:
    """PyTorch on `DEVICE`, its products there of TensorFloat-32, which is JAX's default.

    A library that moves its tensors there itself wants that they are not made there `by_default`.
    """
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    if by_default:
        torch.set_default_device(DEVICE)
    if DEVICE != "cpu":
        torch.set_float32_matmul_precision("high")


def finished() -> None:
    """Wait until the device has done what it was told."""
    if DEVICE != "cpu":
        import torch

        torch.cuda.synchronize()


def peak_mib() -> float:
    """Peak memory of this process; `ru_maxrss` is that of whoever started it, where that is more."""
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def serve(step: Callable[[], object], steps: int, rows: float, **about: object) -> None:
    """Say `about`, then time `steps` calls of `step`, of `rows` rows each, for every line on stdin."""
    for _ in range(5):
        step()
    finished()
    print(json.dumps(about), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        for _ in range(steps):
            step()
        finished()
        seconds = time.perf_counter() - start
        if DEVICE == "cpu":
            time.sleep(0.4)  # OpenMP's threads spin for a while after work: not in somebody else's turn
        print(json.dumps({"rows_per_s": steps * rows / seconds, "peak_rss_mib": peak_mib()}), flush=True)
