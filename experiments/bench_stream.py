"""A log that fits nowhere, learnt from disk in one pass: rows a second, memory, and going on after a kill.

    python experiments/bench_stream.py --record

Wide & Deep (users 10⁶, products 10⁵, four small columns, two crosses; 16 wide, layers 64 and 32; row-wise
Adagrad on the two large tables, Adam on all else) learns from a folder of Parquet parts, of 2¹⁸ rows in four
row groups each, which `rezoo.data.stream_parts` shuffles and reads in threads; a step is a row group, in four
batches. Ids are drawn by popularity, clicks from what age and category, hour and category add. For each size
of the log, in processes of their own:

- a pass, compiled before: rows per second, the peak of the process's memory, and the share of the time in
  which nothing is computed because the next rows are not there yet; they are brought a step ahead;
- reading alone: rows per second of the same reader without a model;
- of logs up to --killed rows: a pass that saves eight checkpoints, is killed (SIGKILL) between two of them
  and started again; whether it ends with the parameters of the pass that was not.

The logs are written to --out, and deleted.
"""

import json
import math
import os
import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pyarrow as pa
import pyarrow.parquet as pq
from common import Flags, Results, start
from protocols import parts
from protocols.parts import Figures, measured, started

from rezoo import losses, objectives, training
from rezoo.data import batches, stream_parts
from rezoo.data.stream import WHERE, to_chunk
from rezoo.models import WideDeep
from rezoo.storage import checkpoint, durable, fingerprint
from rezoo.training import row_sparse
from rezoo.types import Batch, TrainState

GROUP, GROUPS, BATCH = 2**16, 4, 2**14
"""Rows of a row group, which are a step; row groups of a part; rows of a batch."""
USERS, PRODUCTS = 10**6, 10**5
SMALL = {"hour": 25, "age": 8, "gender": 4, "category": 100}
"""Rows of the tables of the other columns."""
CROSSES = (("age", "category"), ("hour", "category"))
SAVES = 8


@dataclass(frozen=True)
class StreamFlags(Flags):
    """Flags of this benchmark."""

    rows: tuple[int, ...] = (10**6, 10**7, 10**8)
    """Of the logs."""
    killed: int = 10**7
    """Rows of the largest log whose pass is also killed and started again."""


def main(flags: StreamFlags, results: Results) -> None:
    """A log of each size, and its passes."""
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(results.out.absolute() / "compiled"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    for rows in (250_000,) if flags.smoke else flags.rows:
        data = f"{rows:.0e} rows on disk"
        if results.values("WideDeep", data, "one pass", "rows per second"):
            continue
        folder = results.out.absolute() / f"log-{rows}"
        write(folder, rows)
        found = {"one pass": measured(__file__, f"pass|{folder}")}
        digest = found["one pass"][0].pop("digest")
        if not flags.smoke:
            found["reading alone"] = measured(__file__, f"read|{folder}")
        if rows <= flags.killed:
            found["one pass, killed"] = killed(folder, digest)
        shutil.rmtree(folder)
        with results.together():
            for protocol, (figures, seconds) in found.items():
                for metric, value in figures.items():
                    results.put("WideDeep", data, protocol, metric, value, seconds=seconds)
    results.finish()


def write(folder: Path, rows: int) -> None:
    """The log, in parts."""
    if folder.exists():
        return
    rng = np.random.default_rng(0)
    add = {cross: rng.normal(size=[SMALL[name] for name in cross]) for cross in CROSSES}
    with durable.folder(folder) as made:
        for number, begin in enumerate(range(0, rows, GROUP * GROUPS)):
            size = min(GROUP * GROUPS, rows - begin)
            columns = {name: rng.integers(1, values, size, np.int8) for name, values in SMALL.items()}
            logit = sum(table[columns[a], columns[b]] for (a, b), table in add.items()) - 1.0
            columns["click"] = (rng.logistic(size=size) < logit).astype(np.int8)
            few: Any = list(columns)
            columns |= {"user": popular(rng, USERS, size), "item": popular(rng, PRODUCTS, size)}
            file = made / f"part-{number:05}.parquet"
            pq.write_table(pa.table(columns), file, row_group_size=GROUP, use_dictionary=few)


def popular(rng: np.random.Generator, rows: int, size: int) -> np.ndarray:
    """Ids from 1, the k-th about as frequent as 1 / k."""
    return np.exp(rng.random(size, np.float32) * math.log(rows - 1)).astype(np.int32).clip(1, rows - 1)


def killed(folder: Path, digest: float) -> tuple[Figures, float]:
    """A pass that is killed between two checkpoints and started again, beside the end of one that was not."""
    begin, place = time.monotonic(), folder.with_name(f"{folder.name}-checkpoints")
    shutil.rmtree(place, ignore_errors=True)
    between, rows = len(stream_parts.find(str(folder)).groups) * 9 // 16, 0
    with started(__file__, f"kept|{folder}|{place}") as process:
        assert process.stdout is not None
        for line in process.stdout:
            rows = json.loads(line)["rows"]
            if rows >= between * GROUP:
                process.kill()
                break
    if process.returncode != -signal.SIGKILL:
        raise SystemExit(f"the pass ended with {process.returncode} before it was killed")
    told, _ = measured(__file__, f"kept|{folder}|{place}")
    shutil.rmtree(place)
    figures = {"rows when killed": float(rows), "rows of its checkpoint": told["from"]}
    return figures | {"same end": float(told["digest"] == digest)}, time.monotonic() - begin


def measure(part: str) -> Figures:
    """A measurement, in this process."""
    kind, folder, *place = part.split("|")
    log = stream_parts.find(folder)
    if kind == "read":
        return read(log)
    return kept(log, Path(place[0])) if kind == "kept" else passed(log)


def passed(log: stream_parts.Parts) -> Figures:
    """A pass over the log."""
    epoch, state = problem(log)
    waited = 0.0
    begin = idle = time.perf_counter()
    for rows, _ in ahead(iter(stream_parts.steps(log, chunks=1))):
        waited += time.perf_counter() - idle
        state = jax.block_until_ready(epoch(state, rows))
        idle = time.perf_counter()
    seconds = time.perf_counter() - begin
    return {
        "rows per second": rows_of(log) / seconds,
        "GiB of memory": parts.peak_gib(),
        "share of waiting": waited / seconds,
        "digest": digest_of(state),
    }


def read(log: stream_parts.Parts) -> Figures:
    """The rows, without a model."""
    begin = time.perf_counter()
    rows = sum(int(columns[WHERE].sum()) for columns in stream_parts.steps(log, chunks=1))
    return {"rows per second": rows / (time.perf_counter() - begin), "GiB of memory": parts.peak_gib()}


def kept(log: stream_parts.Parts, place: Path) -> Figures:
    """A pass that saves checkpoints, says where it is, and goes on from the last one."""
    epoch, state = problem(log)
    steps = iter(stream_parts.steps(log, chunks=1))
    every, done = max(len(log.groups) // SAVES, 1), 0
    if found := checkpoint.restore(place, state):
        state, notes = found
        done = notes["done"]
        steps.set_state(notes["position"])
    first = done
    for rows, position in ahead(steps):
        state = epoch(state, rows)
        done += 1
        if done % every == 0:
            checkpoint.save(place, done, state, {"done": done, "position": position})
        print(json.dumps({"rows": done * GROUP}), flush=True)
    return {"from": float(first * GROUP), "digest": digest_of(state)}


def ahead(steps: Any) -> Iterator[tuple[Batch, Any]]:
    """Rows on the device, and the position after them; those of the next step are brought meanwhile."""

    def bring() -> tuple[Batch, Any] | None:
        columns = next(steps, None)
        return None if columns is None else (jax.block_until_ready(batch(columns)), steps.get_state())

    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(bring)
        while given := coming.result():
            coming = thread.submit(bring)
            yield given


class Problem(NamedTuple):
    """What a pass begins with."""

    epoch: Any
    """(state, rows) -> state, compiled."""
    state: TrainState


def problem(log: stream_parts.Parts) -> Problem:
    """Wide & Deep before its first step."""
    model = WideDeep(
        {"user": USERS, "item": PRODUCTS, **SMALL}, CROSSES, buckets=4096, dim=16, widths=(64, 32)
    )
    optimizers = optax.adam(1e-3), row_sparse.row_wise_adagrad(0.05)
    step = row_sparse.make_step(objectives.pointwise(model, losses.logistic), *optimizers)
    rows = batch(to_chunk(log.schema.empty_table(), log.folder, 0, log.rows))
    small = [*SMALL, *(f"{a}_x_{b}" for a, b in CROSSES)]
    begin = partial(row_sparse.init_state, jax.random.key(0), model, *optimizers, rows, dense=small)
    state = jax.jit(begin)()

    def epoch(state: TrainState, rows: Batch) -> TrainState:
        return training.epoch(step, state, rows, BATCH)[0]

    return Problem(jax.jit(epoch, donate_argnums=0).lower(state, rows).compile(), state)


def batch(columns: dict[str, np.ndarray]) -> Batch:
    """Rows on the device."""
    features = {name: jnp.asarray(columns[name], jnp.int32) for name in SMALL}
    rows = batches.pairs(columns["user"], columns["item"], columns["click"], features=features)
    return rows._replace(where=jnp.asarray(columns[WHERE]))


def rows_of(log: stream_parts.Parts) -> int:
    """Of all its parts."""
    return sum(rows for _, _, rows in log.groups)


def digest_of(state: TrainState) -> float:
    """A number that other parameters hardly have."""
    if bool(state.halted):
        raise RuntimeError("the run halted")
    return float(int(fingerprint.of(state)[:12], 16))


if __name__ == "__main__":
    if part := parts.asked():
        parts.answer(measure, part)
    else:
        main(*start(__file__, __doc__, StreamFlags))
