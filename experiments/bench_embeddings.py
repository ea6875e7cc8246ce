r"""A training step on ever larger embedding tables: by row, dense, and PyTorch's, in turns, in one run.

    GLIBC_TUNABLES=glibc.malloc.hugetlb=1 taskset -c 0,1 \
        python experiments/bench_embeddings.py --record --seeds 15 --peer-python VENV/bin/python

VENV is a virtual environment with `pip install torch==2.13.0 numpy`; without it those rows are left
out. A user and an item table of ROWS rows each, 64 wide; batches of 8,192 uniformly random pairs,
the same for all; score = inner product, squared error. All have 2 threads: `row_sparse` with lazy
Adam, our dense Adam (up to 10⁶ rows), PyTorch's SparseAdam (up to 4·10⁶) and its fused dense Adam
(up to 10⁶). A turn is 32 steps, for us one scan as in `training.epoch`, or 4 of a dense optimizer on
10⁵ rows or more; a value is the mean step of a turn. The first line gives huge pages to all of
them, where the C library is glibc ≥ 2.35: large tables are read at random, and with small pages
each row costs a walk through the page table, about a third of the step at 10⁶ rows and more.

At 10⁷ rows the two tables and their moments take 15 GB. Where that much memory is not free, row-wise
Adagrad runs in its place, which has one number a row for state, and the row says so.
"""

import gc
import operator
import statistics
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import common
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int
from turns import Peer, Turn, take_turns

from rezoo import losses, objectives, training
from rezoo.data import batches
from rezoo.nn.embedding import Embed
from rezoo.training import row_sparse
from rezoo.types import Query

DIM, BATCH, THREADS, STEPS = 64, 8192, 2, 32
DENSE_UP_TO, PEER_UP_TO = 1_000_000, 4_000_000


@dataclass(frozen=True)
class Flags(common.Flags):
    """Flags of this benchmark; `seeds` is the number of turns."""

    peer_python: Path | None = None
    """Python of an environment with torch."""


class Dot(nn.Module):
    """Two tables and nothing else."""

    rows: int

    def setup(self) -> None:
        self.user = Embed(self.rows, DIM, nn.initializers.constant(0.1))
        self.item = Embed(self.rows, DIM, nn.initializers.constant(0.1))

    def __call__(self, query: Query, item: Int[Array, " B"]) -> Float[Array, " B"]:
        return jnp.einsum("bd,bd->b", self.user(query.user), self.item(item))


def main() -> None:
    flags, results = common.start(__file__, __doc__, Flags)
    if not flags.peer_python:
        print("no --peer-python: PyTorch is left out")
    sizes = (1_000, 10_000) if flags.smoke else (10_000, 100_000, 1_000_000, 4_000_000, 10_000_000)
    for rows in sizes:
        if not results.values("row_sparse lazy_adam", "random", protocol(rows), "ms_per_step"):
            contest(flags, results, rows)
            gc.collect()
    if not flags.smoke:
        compare(results, sizes)
    results.finish()


def protocol(rows: int) -> str:
    return f"2 tables of {rows:,} rows, {DIM} wide, batch {BATCH:,}"


def contest(flags: Flags, results: common.Results, rows: int) -> None:
    """Time every contender that can hold `rows` rows, in turns, and write a row of results for each."""
    file = results.out / f"{rows}.npz"
    user, item, label = random_batches(rows)
    np.savez(file, user=user, item=item, label=label)
    with ExitStack() as stack:
        turns: dict[str, Turn] = {}
        about: dict[str, dict[str, Any]] = {}

        def peer(name: str, steps: int, kind: str) -> None:
            if flags.peer_python:
                other = Peer(
                    flags.peer_python,
                    results.out,
                    "torch_embeddings.py",
                    file.absolute(),
                    rows,
                    DIM,
                    steps,
                    THREADS,
                    kind,
                )
                rows_per_s = stack.enter_context(other)
                turns[name], about[name] = lambda: 1e3 * BATCH / rows_per_s(), other.about

        optimizer = "lazy_adam" if room_for_moments(rows) else "row_wise_adagrad"
        ours = f"row_sparse {optimizer}"
        turns[ours], about[ours] = row_sparse_turn(file, rows, getattr(row_sparse, optimizer)(1e-3))
        if rows <= DENSE_UP_TO:
            steps = STEPS if rows < 100_000 else 4
            turns["dense adam"], about["dense adam"] = dense_turn(file, rows, steps)
            peer("torch Adam (fused)", steps, "dense")
        if rows <= PEER_UP_TO:
            peer("torch SparseAdam", STEPS, "sparse")
        values = take_turns(turns, 2 if flags.smoke else flags.seeds)
    with results.together():
        for name, found in values.items():
            median = statistics.median(found)
            results.add(
                name,
                "random",
                protocol(rows),
                "ms_per_step",
                found,
                seconds=sum(found) * STEPS / 1e3,
                median=median,
                **about[name],
            )


def row_sparse_turn(file: Path, rows: int, optimizer: row_sparse.RowOptimizer) -> tuple[Turn, dict[str, Any]]:
    """The step that touches the batch's rows alone."""
    rest, model = optax.identity(), Dot(rows)
    step = row_sparse.make_step(objectives.pointwise(model, losses.squared), rest, optimizer)
    return our_turn(
        file,
        step,
        lambda batch: row_sparse.init_state(jax.random.key(0), model, rest, optimizer, batch),
        STEPS,
    )


def dense_turn(file: Path, rows: int, steps: int) -> tuple[Turn, dict[str, Any]]:
    """optax.adam."""
    optimizer, model = optax.adam(1e-3), Dot(rows)
    step = training.make_step(objectives.pointwise(model, losses.squared), optimizer)
    return our_turn(
        file, step, lambda batch: training.init_state(jax.random.key(0), model, optimizer, batch), steps
    )


def our_turn(file: Path, step: Any, init: Any, steps: int) -> tuple[Turn, dict[str, Any]]:
    """A turn of one of our steps, and what its compilation took and its memory."""
    columns = {name: jnp.asarray(column[:steps]) for name, column in np.load(file).items()}
    data = jax.vmap(batches.pairs)(columns["user"], columns["item"], columns["label"])
    state = jax.jit(init)(jax.tree.map(operator.itemgetter(0), data))
    start = time.perf_counter()
    scan = jax.jit(lambda state, data: jax.lax.scan(step, state, data), donate_argnums=0)
    compiled = scan.lower(state, data).compile()
    compile_seconds = time.perf_counter() - start

    def turn() -> float:
        nonlocal state
        start = time.perf_counter()
        state, _ = jax.block_until_ready(compiled(state, data))
        return 1e3 * (time.perf_counter() - start) / steps

    memory: Any = compiled.memory_analysis()
    return turn, {
        "compile_seconds": round(compile_seconds, 2),
        "state_mib": round(memory.argument_size_in_bytes / 2**20),
        "temporary_mib": round(memory.temp_size_in_bytes / 2**20, 1),
        "updated_in_place": memory.alias_size_in_bytes > 0.99 * memory.output_size_in_bytes,
    }


def compare(results: common.Results, sizes: tuple[int, ...]) -> None:
    """The ratios of medians."""

    def median(name: str, rows: int) -> float | None:
        found = results.values(name, "random", protocol(rows), "ms_per_step")
        return statistics.median(found) if found else None

    for rows in sizes:
        ours = median("row_sparse lazy_adam", rows)
        for name in ("dense adam", "torch SparseAdam", "torch Adam (fused)"):
            theirs = median(name, rows)
            if ours and theirs:
                results.put(name, "random", protocol(rows), "times row_sparse", theirs / ours, seconds=0.0)
    timed = {rows: found for rows in sizes if (found := median("row_sparse lazy_adam", rows))}
    about = f"{max(timed):,} rows over {min(timed):,}"
    ratio = timed[max(timed)] / timed[min(timed)]
    results.put("row_sparse lazy_adam", "random", about, "ratio", ratio, seconds=0.0)


def random_batches(rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(users, items, labels) of 32 batches: `[STEPS BATCH]`."""
    rng = np.random.default_rng(0)
    user, item = rng.integers(1, rows, (2, STEPS, BATCH)).astype(np.int32)
    return user, item, rng.random((STEPS, BATCH)).astype(np.float32)


def room_for_moments(rows: int) -> bool:
    """Whether two tables and two moments of each go into the free memory."""
    file = Path("/proc/meminfo")
    if not file.exists():
        return True
    free = next(int(line.split()[1]) for line in file.read_text().splitlines() if "MemAvailable" in line)
    room = 3 * 2 * rows * DIM * 4 + 2**31 < free * 1024
    if not room:
        print(f"{rows:,} rows: no room for moments; row-wise Adagrad runs in place of lazy Adam")
    return room


if __name__ == "__main__":
    main()
