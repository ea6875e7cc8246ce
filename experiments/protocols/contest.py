"""Training speed in turns with other libraries."""

import resource
import time
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
    contenders: dict[str, Turn],
    peers: dict[str, Peer],
    rounds: int,
    metric: str = "interactions_per_s",
) -> None:
    """Let the contenders take turns, and write a row each and their ratios to ours."""
    start_time = time.perf_counter()
    contenders["rezoo"]()
    first = time.perf_counter() - start_time
    speeds = take_turns(contenders, rounds)
    seconds = time.perf_counter() - start_time
    ours = float(np.median(speeds["rezoo"]))
    with results.together():
        for name, values in speeds.items():
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            about = peers[name].about if name in peers else {"first_epoch_with_compilation": round(first, 2)}
            results.add(
                model,
                data,
                f"{size}, {name}",
                metric,
                float(np.median(values)),
                seconds=seconds,
                rounds=values,
                **({"peak_rss_mib": round(peak)} | about),
            )
            if name != "rezoo":
                ratio = ours / float(np.median(values))
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
