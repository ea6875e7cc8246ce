"""Training speed beside plain PyTorch and RecBole, and a study of 16 runs as one program.

    taskset -c 0,1 python experiments/bench_training.py --record --data-dir FOLDER \
        --torch-python TORCH/bin/python --recbole-python RECBOLE/bin/python

Interactions (positives) per second of whole training on ML-1M: shuffling, negative sampling,
gradients, Adam. The peers run in their own environments and take turns with us, round by round, on
the same data, 64 wide, with 2 threads each; a figure is the median of the rounds. `TORCH` needs torch
and numpy, `RECBOLE` recbole 1.2.1; a peer that is not given is left out. Without the data folder the
pairs are drawn at random in ML-1M's size. LightGCN is timed on Gowalla, by some steps of an epoch; both
sum over the whole graph in each. --models chooses.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import Results, check_names, start
from protocols.bench_data import Log, export, places, positives, read
from protocols.contenders import clicks, ours_bpr, ours_lightgcn, ours_neumf
from protocols.contest import DIM, THREADS, BenchFlags, contest
from turns import Peer, Turn, take_turns

from rezoo import losses, objectives, sampling, training
from rezoo.models import MF, WideDeep


@dataclass(frozen=True)
class Flags(BenchFlags):
    """Flags of this benchmark."""

    models: tuple[str, ...] = ()
    """Of MF, NeuMF, LightGCN and WideDeep; rows of others stay as they are. All, and the study, if none is
    given."""


def main(flags: Flags, results: Results) -> None:
    """Time every contender in turn, then the study."""
    check_names("models", flags.models, ("MF", "NeuMF", "LightGCN", "WideDeep"), all_by_none=True)
    log = read(flags)
    data = "ml-1m" if flags.data_dir and not flags.smoke else "random pairs"
    steps, rounds = (3, 2) if flags.smoke else (60, flags.rounds)
    graph, graphs = (log, data) if flags.smoke or not flags.data_dir else (places(flags.data_dir), "gowalla")
    out, few = results.out.absolute(), max(steps // 6, 3)
    export(log, out)
    export(graph, out / "graph")

    def torch(batch: int) -> Peer:
        return Peer(flags.torch_python, out, "torch_bpr.py", out / "pairs.npz", batch, DIM, steps, THREADS)

    def recbole(model: str, folder: Path = out, steps: int = steps) -> Peer:
        words = (model, 2048, DIM, steps, THREADS)
        return Peer(flags.recbole_python, out, "recbole_step.py", folder, "ml", *words)

    contests: list[tuple[str, str, int, Callable[[int], Turn], dict[str, Peer]]] = [
        ("MF", data, 2048, partial(ours_bpr, log), {"torch": torch(2048), "RecBole": recbole("BPR")}),
        ("MF", data, 16384, partial(ours_bpr, log), {"torch": torch(16384)}),
        ("NeuMF", data, 2048, partial(ours_neumf, log), {"RecBole": recbole("NeuMF")}),
        (
            *("LightGCN", graphs, 2048, partial(ours_lightgcn, graph, steps=few)),
            {"RecBole": recbole("LightGCN", out / "graph", few)},
        ),
        ("WideDeep", data, 2048, partial(ours_wide_deep, log), {"RecBole": recbole("WideDeep")}),
    ]
    for model, where, batch, ours, peers in contests:
        if not flags.models or model in flags.models:
            contest(results, model, where, f"batch {batch:,}", {"rezoo": partial(ours, batch)}, peers, rounds)
    for dim in () if flags.models else (4,) if flags.smoke else (16, 64):
        study(results, log, data, dim, flags.smoke)
    results.finish()


def ours_wide_deep(log: Log, batch: int) -> Turn:
    """Wide & Deep, layers 32, 16 and 8, as RecBole's."""
    return clicks(
        log,
        batch,
        lambda sizes: WideDeep(sizes, crosses=(), buckets=1, dim=DIM, widths=(32, 16, 8), dropout=0.1),
    )


def study(results: Results, log: Log, data: str, dim: int, smoke: bool) -> None:
    """16 learning rates of MF with BPR: in one program, vmapped or mapped, and as 16 runs."""
    members, part_rows = (3, 2000) if smoke else (16, 100_000)
    protocol = f"study of {members} learning rates, {dim} wide, {part_rows:,} interactions"
    if results.values("MF", data, f"{protocol}, vmapped", "run_seconds"):
        return
    rows = slice(None, part_rows)
    part = Log(log.user[rows], log.item[rows], log.rating[rows], log.users, log.items)
    num_users, num_items = int(part.user.max()) + 1, int(part.item.max()) + 1
    batch = positives(part)
    model = MF(num_users, num_items, dim)
    sampler = sampling.uniform(num_items)
    traces = []

    def train(rate: Any) -> jax.Array:
        traces.append(rate)
        optimizer = optax.adam(rate)
        step = training.make_step(objectives.sampled(model, losses.bpr, sampler, 1), optimizer)
        state = training.init_state(jax.random.key(0), model, optimizer, batch)
        return training.fit(step, state, num_epochs=2, batch_size=1024, data=batch)[1]["loss"]

    rates = jnp.geomspace(1e-4, 1e-1, members)

    def timed(run: Callable[[], Any]) -> float:
        start_time = time.perf_counter()
        jax.block_until_ready(run())
        return time.perf_counter() - start_time

    ways: dict[str, Callable[[], Any]] = {}
    compilations: dict[str, int] = {}
    for name, transform in (("vmapped", jax.vmap), ("mapped", lambda one: partial(jax.lax.map, one))):
        traces.clear()
        ways[name] = partial(jax.jit(transform(train)).lower(rates).compile(), rates)
        compilations[name] = len(traces)
    traces.clear()
    constant = [float(rate) for rate in rates]
    alone = [jax.jit(lambda rate=rate: train(rate)) for rate in constant]
    first = timed(lambda: [run() for run in alone])
    compilations["one by one"] = len(traces)
    ways["one by one"] = lambda: [run() for run in alone]
    times = take_turns({name: partial(timed, way) for name, way in ways.items()}, 1 if smoke else 7)
    with results.together():
        for name, values in times.items():
            results.add(
                "MF",
                data,
                f"{protocol}, {name}",
                "run_seconds",
                float(np.median(values)),
                seconds=sum(values),
                rounds=values,
                compilations=compilations[name],
                first_call_seconds=first if name == "one by one" else None,
            )
        for name in ("vmapped", "mapped"):
            ratio = float(np.median(times["one by one"]) / np.median(times[name]))
            results.add("MF", data, f"{protocol}, one by one over {name}", "ratio", ratio, seconds=0.0)


if __name__ == "__main__":
    main(*start(__file__, __doc__, Flags, data=("ml-1m*", "gowalla*")))
