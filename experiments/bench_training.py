"""Training speed beside plain PyTorch and RecBole, and a study of 16 runs as one program.

    taskset -c 0,1 python experiments/bench_training.py --record --data-dir FOLDER \
        --torch-python TORCH/bin/python --recbole-python RECBOLE/bin/python

Interactions (positives) per second of whole training on ML-1M: shuffling, negative sampling,
gradients, Adam. The peers run in their own environments and take turns with us, round by round, on
the same data, 64 wide, with 2 threads each; a figure is the median of the rounds. `TORCH` needs torch
and numpy, `RECBOLE` recbole 1.2.1; a peer that is not given is left out. Without the data folder the
pairs are drawn at random in ML-1M's size.
"""

import resource
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import Flags, Results, start
from turns import Peer, Turn, take_turns

from rezoo import losses, objectives, sampling, training
from rezoo.data import batches
from rezoo.datasets import movielens
from rezoo.models import MF, NeuMF, WideDeep
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


class Log(NamedTuple):
    """Ratings with the features that Wide & Deep reads."""

    user: np.ndarray
    item: np.ndarray
    rating: np.ndarray
    users: dict[str, np.ndarray]
    items: dict[str, np.ndarray]


def main(flags: BenchFlags, results: Results) -> None:
    """Time every contender in turn, then the study."""
    log = read(flags)
    export(log, results.out)
    out = results.out.absolute()
    data = "ml-1m" if flags.data_dir else "random pairs"
    steps, rounds = (3, 2) if flags.smoke else (60, flags.rounds)

    def torch(batch: int) -> Peer:
        return Peer(flags.torch_python, out, "torch_bpr.py", out / "pairs.npz", batch, DIM, steps, THREADS)

    def recbole(model: str) -> Peer:
        return Peer(flags.recbole_python, out, "recbole_step.py", out, "ml", model, 2048, DIM, steps, THREADS)

    contests: list[tuple[str, int, Callable[..., Turn], dict[str, Peer]]] = [
        ("MF", 2048, ours_bpr, {"torch": torch(2048), "RecBole": recbole("BPR")}),
        ("MF", 16384, ours_bpr, {"torch": torch(16384)}),
        ("NeuMF", 2048, ours_neumf, {"RecBole": recbole("NeuMF")}),
        ("WideDeep", 2048, ours_wide_deep, {"RecBole": recbole("WideDeep")}),
    ]
    for model, batch, ours, peers in contests:
        if results.values(model, data, f"batch {batch:,}, rezoo", "interactions_per_s"):
            continue
        with ExitStack() as stack:
            contenders: dict[str, Turn] = {"rezoo": ours(log, batch)}
            for name, peer in peers.items():
                if peer.python is None:
                    print(f"{model}, batch {batch:,}: {name} is left out, as no Python with it is given")
                else:
                    contenders[name] = stack.enter_context(peer)
            contest(results, model, data, f"batch {batch:,}", contenders, peers, rounds)
    for dim in (4,) if flags.smoke else (16, 64):
        study(results, log, data, dim, flags.smoke)
    results.finish()


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


def ours_bpr(log: Log, batch: int) -> Turn:
    """MF with BPR; a negative is uniform over the items, as plain torch draws it."""
    num_users, num_items = int(log.user.max()) + 1, int(log.item.max()) + 1
    model = MF(num_users, num_items, DIM)
    objective = objectives.sampled(model, losses.bpr, sampling.uniform(num_items), 1)
    return epochs(model, objective, positives(log), batch)


def ours_neumf(log: Log, batch: int) -> Turn:
    """RecBole's NeuMF: half of a batch's rows are its negatives, layers 128 and 64."""
    num_users, num_items = int(log.user.max()) + 1, int(log.item.max()) + 1
    model = NeuMF(num_users, num_items, DIM, (128, 64), dropout=0.1)
    known = sampling.positives_by_user(log.user, log.item, num_users)
    sampler = sampling.reject_positives(sampling.uniform(num_items), known, num_items)
    return epochs(model, objectives.sampled(model, losses.logistic, sampler, 1), positives(log), batch // 2)


def ours_wide_deep(log: Log, batch: int) -> Turn:
    """Wide & Deep, layers 32, 16 and 8, as RecBole's."""
    return clicks(log, batch, lambda sizes: WideDeep(sizes, (), 1, DIM, (32, 16, 8), dropout=0.1))


def clicks(log: Log, batch: int, make: Callable[[dict[str, int]], Any]) -> Turn:
    """A model of likes (4 stars or more) by age, gender, occupation, year and genres."""
    sizes = {name: int(column.max()) + 1 for name, column in (log.users | log.items).items()}
    sizes |= {"user": int(log.user.max()) + 1, "item": int(log.item.max()) + 1}
    model = make(sizes)
    features = {name: jnp.asarray(column[log.user]) for name, column in log.users.items()}
    data = positives(log)
    label = jnp.asarray(log.rating >= 4, jnp.float32)
    data = data._replace(query=data.query._replace(features=features), label=label)
    catalogue = {name: jnp.asarray(column) for name, column in log.items.items()}
    objective = objectives.pointwise(model, losses.logistic)
    return epochs(model, objective, data, batch, {"catalogue": catalogue})


def positives(log: Log) -> Batch:
    """Every rating as a positive."""
    return batches.pairs(log.user, log.item)


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


def read(flags: BenchFlags) -> Log:
    """ML-1M, or random pairs of its size."""
    if flags.data_dir and not flags.smoke:
        ml = movielens.load("ml-1m", manual_dir=flags.data_dir)
        users = {name: codes(ml.users[name]) for name in ("age", "gender", "occupation")}
        genre = np.unique("|".join(ml.items["genres"].tolist()).split("|"))
        genres = np.zeros((len(ml.items["genres"]), 6), np.int32)
        for row, names in enumerate(ml.items["genres"][1:], start=1):
            found = np.searchsorted(genre, names.split("|")) + 1
            genres[row, : len(found)] = found
        items = {"year": codes(ml.items["year"]), "genres": genres}
        assert ml.ratings.rating is not None
        return Log(ml.ratings.user, ml.ratings.item, ml.ratings.rating, users, items)
    rng = np.random.default_rng(0)
    num_users, num_items, rows = (100, 80, 3000) if flags.smoke else (6040, 3706, 1_000_209)

    def column(size: int, values: int, *more: int) -> np.ndarray:
        return rng.integers(1, values, (size + 1, *more)).astype(np.int32)

    return Log(
        rng.integers(1, num_users + 1, rows).astype(np.int32),
        rng.integers(1, num_items + 1, rows).astype(np.int32),
        rng.integers(1, 6, rows).astype(np.float32),
        {"age": column(num_users, 8), "gender": column(num_users, 3), "occupation": column(num_users, 22)},
        {"year": column(num_items, 80), "genres": column(num_items, 19, 6)},
    )


def codes(column: np.ndarray) -> np.ndarray:
    """Categories as numbers from 1; row 0, the unknown, is 0."""
    number = np.unique(column[1:], return_inverse=True)[1] + 1
    return np.concatenate([[0], number]).astype(np.int32)


def export(log: Log, out: Path) -> None:
    """The same data for the peers: an npz, and RecBole's atomic files."""
    folder = out / "ml"
    if folder.exists():
        return
    np.savez(out / "pairs.npz", user=log.user, item=log.item)
    folder.mkdir()
    with (folder / "ml.inter").open("w") as file:
        file.write("user_id:token\titem_id:token\trating:float\n")
        rows = zip(log.user.tolist(), log.item.tolist(), log.rating.tolist(), strict=True)
        file.writelines(f"{u}\t{i}\t{r}\n" for u, i, r in rows)
    with (folder / "ml.user").open("w") as file:
        file.write("user_id:token\tage:token\tgender:token\toccupation:token\n")
        columns = (log.users[name].tolist() for name in ("age", "gender", "occupation"))
        rows = enumerate(zip(*columns, strict=True))
        file.writelines("\t".join(map(str, (user, *values))) + "\n" for user, values in rows if user)
    with (folder / "ml.item").open("w") as file:
        file.write("item_id:token\trelease_year:token\tclass:token_seq\n")
        rows = enumerate(zip(log.items["year"].tolist(), log.items["genres"].tolist(), strict=True))
        for item, (year, genres) in rows:
            if item:
                file.write(f"{item}\t{year}\t{' '.join(str(g) for g in genres if g)}\n")


if __name__ == "__main__":
    main(*start(__file__, __doc__, BenchFlags, data=("ml-1m*",)))
