"""Training speed in turns with other libraries."""

import resource
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from common import Flags, Results
from turns import Peer, Turn, take_turns

from rezoo import training
from rezoo.types import Batch

DIM, THREADS = 64, 2


@dataclass(frozen=True)
class BenchFlags(Flags):
    """Flags of this benchmark."""

    torch_python: Path | None = None
    """A Python with torch and numpy."""
    recbole_python: Path | None = None
    """A Python with recbole."""
    rounds: int = 7
    """Turns that each contender takes."""


def contest(
    results: Results,
    model: str,
    data: str,
    size: str,
    ours: Mapping[str, Callable[[], Turn]],
    peers: Mapping[str, Peer],
    rounds: int,
    metric: str = "interactions_per_s",
) -> None:
    """Let ours and the peers that are there take turns; write a row each, and the ratios to `rezoo`.

    Rows that are there already are left as they are.
    """
    if results.values(model, data, f"{size}, rezoo", metric):
        return
    with ExitStack() as stack:
        contenders = {name: make() for name, make in ours.items()}
        for name, peer in peers.items():
            if peer.python is None:
                print(f"{model}, {size}: {name} is left out, as no Python with it is given")
            else:
                contenders[name] = stack.enter_context(peer)
        start_time = time.perf_counter()
        contenders["rezoo"]()
        first = time.perf_counter() - start_time
        speeds = take_turns(contenders, rounds)
        seconds = time.perf_counter() - start_time
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        about = {name: {"first_epoch_with_compilation": round(first, 2)} for name in ours}
        about |= {name: peer.about for name, peer in peers.items()}
    median = {name: float(np.median(values)) for name, values in speeds.items()}
    with results.together():
        for name, values in speeds.items():
            row = (model, data, f"{size}, {name}", metric, median[name])
            notes = {"peak_rss_mib": round(peak)} | about[name]
            results.add(*row, seconds=seconds, rounds=values, **notes)
            if name != "rezoo":
                ratio = median["rezoo"] / median[name]
                results.add(model, data, f"{size}, rezoo over {name}", "ratio", ratio, seconds=0.0)


def epochs(model: Any, objective: Any, data: Batch, batch: int, constants: Any = None) -> Turn:
    """A turn is an epoch."""
    optimizer = optax.adam(1e-3)
    step = training.make_step(objective, optimizer)
    state = training.init_state(jax.random.key(0), model, optimizer, data, constants=constants)
    run = jax.jit(lambda state, data: training.epoch(step, state, data, batch), donate_argnums=0)
    holder = [state]

    def turn() -> float:
        start_time = time.perf_counter()
        holder[0], metrics = run(holder[0], data)
        jax.block_until_ready(metrics)
        return data.item.shape[0] / (time.perf_counter() - start_time)

    return turn
