"""One run over several machines: its tables over all devices, its log in parts, its checkpoints by all.

Start the same command on every host, with the number of each; --out (and --log) is a folder that all share:

    python experiments/scale_out.py --coordinator HOST:8476 --num-processes 2 --process-id 0 --out SHARED
    python experiments/scale_out.py --coordinator HOST:8476 --num-processes 2 --process-id 1 --out SHARED

HOST is the one of process 0. On SLURM, Kubernetes or TPUs, `--cluster` in place of the first three lets JAX
find the others; without any of them it is one process with all its devices. When a process dies, the others
end within a minute: start all again, and they go on from the last checkpoint and end as if nothing had
happened. They may be more or fewer than before, as long as their devices divide the rows of a step.

MF learns by BPR with row-wise Adagrad, each process from its own share of the log's parts. --log FOLDER is a
log of your own: Parquet parts with dense ids `user` and `item`, counted from 1, in FOLDER/train and
FOLDER/test; row groups are what is shuffled, and --chunks of them are a step. Without it, process 0 writes
purchases of a simulated shop. At the end each held-out product is ranked in the whole catalogue, each device
scoring the rows that it holds.
"""

import itertools
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pyarrow as pa
import pyarrow.parquet as pq
import tyro
from common import say
from jax.sharding import AxisType, Mesh

from rezoo import evaluation, losses, objectives, sampling
from rezoo.data import batches, stream_parts
from rezoo.data.stream import WHERE
from rezoo.datasets import shop, shop_builder
from rezoo.devices import processes, sharding
from rezoo.errors import DataError
from rezoo.models import MF
from rezoo.storage import durable, fingerprint
from rezoo.training import loop, row_sparse
from rezoo.types import Batch, Scalars, TrainState

COLUMNS = ("user", "item")


@dataclass(frozen=True)
class Flags:
    """Flags of this experiment."""

    coordinator: str | None = None
    """Address and port of process 0."""
    num_processes: int | None = None
    """How many processes there are."""
    process_id: int | None = None
    """The number of this one, from 0."""
    cluster: bool = False
    """Let JAX find the others."""
    timeout: int = 30
    """Seconds without a sign of life after which a process counts as gone."""
    out: Path = Path("runs/scale_out")
    """Folder of checkpoints and figures, which all processes share."""
    log: str | None = None
    """Folder or URL of a log: train/*.parquet, test/*.parquet."""
    users: int | None = None
    """Of --log: its largest user id."""
    items: int | None = None
    """Of --log: its largest item id."""
    chunks: int = 8
    """Row groups of a step, over all processes."""
    epochs: int = 20
    """Passes over the log."""
    dim: int = 32
    """Width of the vectors."""
    rate: float = 0.1
    """Learning rate."""
    save_every: int = 50
    """Steps between checkpoints."""
    seed: int = 0
    """Of the first vectors, of the order, and of the negatives."""
    smoke: bool = False
    """A small shop and few steps."""


WHERE_IT_RUNS = ("coordinator", "num_processes", "process_id", "cluster", "timeout", "out", "log")
"""Flags in which processes may differ."""


class Problem(NamedTuple):
    """What is trained."""

    model: MF
    optimizers: tuple[optax.GradientTransformation, row_sparse.RowOptimizer]
    logical: TrainState
    """Shapes of the state on one device."""


def main(flags: Flags) -> None:
    """Connect, compare, train, evaluate."""
    if flags.smoke:
        flags = replace(flags, epochs=2, dim=8, save_every=4)
    if flags.cluster or {flags.coordinator, flags.num_processes, flags.process_id} != {None}:
        processes.connect(flags.coordinator, flags.num_processes, flags.process_id, timeout=flags.timeout)
    folder, users, items = log_of(flags)
    train, test = (stream_parts.find(f"{folder}/{part}", COLUMNS) for part in ("train", "test"))
    settings = {name: value for name, value in vars(flags).items() if name not in WHERE_IT_RUNS}
    identity = {
        "code": fingerprint.source(__file__),
        "data": fingerprint.of(train.identity, test.identity),
        **{f"--{name.replace('_', '-')}": str(value) for name, value in settings.items()},
    }
    processes.agree(identity)
    mesh = jax.make_mesh((jax.device_count(),), (sharding.AXIS,), axis_types=(AxisType.Auto,))
    run, given = flags.out / fingerprint.of(identity), problem(flags, users, items)
    state = learn(flags, given, train, mesh, run, run.name)
    figures = evaluate(flags, given, state, test, mesh)
    if processes.first():
        print(json.dumps(figures))
        with durable.file(run / "figures.json") as file:
            file.write_text(json.dumps(figures) + "\n")


def log_of(flags: Flags) -> tuple[str, int, int]:
    """The folder of the log, and its largest ids."""
    if flags.log is not None:
        if flags.users is None or flags.items is None:
            raise DataError("users and items are needed with --log: the largest ids in it")
        return flags.log, flags.users, flags.items
    config = shop.ShopConfig()
    if flags.smoke:
        config = shop.ShopConfig(shoppers=200, products=100, ratings_per_shopper=20)
    folder = flags.out / ("shop-smoke" if flags.smoke else "shop")
    if processes.first() and not folder.exists():
        write(folder, shop_builder.draw(config), 256 if flags.smoke else 2048)
    processes.wait_for_all("log")
    return str(folder), config.shoppers, config.products


def write(folder: Path, made: shop_builder.Shop, rows: int) -> None:
    """Purchases, in four parts for training and one for the test."""
    with durable.folder(folder) as partial_folder:
        for name, columns, number in zip(("train", "test"), made.ratings, (4, 1), strict=True):
            (partial_folder / name).mkdir()
            pieces = [np.array_split(np.asarray(columns[column], np.int32), number) for column in COLUMNS]
            for n, piece in enumerate(zip(*pieces, strict=True)):
                table = pa.table(dict(zip(COLUMNS, piece, strict=True)))
                pq.write_table(table, partial_folder / name / f"part-{n}.parquet", row_group_size=rows)


def problem(flags: Flags, users: int, items: int) -> Problem:
    """MF over these largest ids."""
    model = MF(users + 1, items + 1, flags.dim)
    optimizers = optax.sgd(flags.rate), row_sparse.row_wise_adagrad(flags.rate)
    begin = partial(row_sparse.init_state, jax.random.key(flags.seed), model, *optimizers, example())
    return Problem(model, optimizers, jax.eval_shape(begin))


def example() -> Batch:
    """A row, for its shapes."""
    return batches.pairs([1], [1])


def learn(
    flags: Flags, given: Problem, log: stream_parts.Parts, mesh: Mesh, folder: Path, identity: str
) -> TrainState:
    """The state after all epochs, going on from the last checkpoint in the folder."""
    model, optimizers, logical = given
    objective = objectives.sampled(model, losses.bpr, sampling.uniform(model.num_items), 4)
    step = row_sparse.make_step(objective, *optimizers, row_sparse.spread_over(mesh))
    step = jax.jit(step, donate_argnums=0)
    total = flags.epochs * -(-len(log.groups) // flags.chunks)
    steps: Iterator[dict[str, np.ndarray]] | None = None

    def some(state: TrainState) -> tuple[TrainState, Scalars]:
        """The steps up to the next checkpoint, and the metrics of the last of them."""
        nonlocal steps
        if steps is None:
            done = int(state.step)
            tell(f"begin at step {done} of {total}")
            steps = iter(
                stream_parts.steps(log, flags.chunks, seed=flags.seed, num_epochs=flags.epochs, begin=done)
            )
        metrics: Scalars = {}
        for columns in itertools.islice(steps, flags.save_every):
            state, metrics = step(state, sharding.spread(batch(columns, model), mesh))
        tell(f"step {int(state.step)} of {total}, loss {float(metrics['loss']):.4f}")
        return state, metrics

    def start() -> TrainState:
        return row_sparse.init_spread(jax.random.key(flags.seed), model, *optimizers, example(), mesh)

    kept = row_sparse.checkpoints_over(mesh, logical)
    where = {"folder": folder, "identity": identity, "checkpoints": kept}
    return loop.run(some, start, -(-total // flags.save_every), save_every=0.0, **where).state


def batch(columns: dict[str, np.ndarray], model: MF) -> Batch:
    """This process's rows of a step."""
    for name, rows in (("user", model.num_users), ("item", model.num_items)):
        if columns[name].max() >= rows or columns[name].min() < 0:
            raise DataError(
                f"column {name!r} has an id outside 0 … {rows - 1}: give --{name}s the largest id"
            )
    rows = batches.pairs(columns["user"], columns["item"])
    return rows._replace(where=jnp.asarray(columns[WHERE]))


def evaluate(
    flags: Flags, given: Problem, state: TrainState, log: stream_parts.Parts, mesh: Mesh
) -> dict[str, float]:
    """How each held-out product is ranked in the whole catalogue."""

    @jax.jit
    def sums(state: TrainState, rows: Batch) -> dict[str, jax.Array]:
        target = jnp.where(rows.where, rows.item, 0)[:, None]
        rank = evaluation.ranks(given.model, state.variables, rows.query, target, mesh=mesh)[:, 0]
        hit = rank <= 10
        gain = jnp.where(hit, 1 / jnp.log2(1 + rank), 0.0)
        return {"recall@10": hit.sum(), "ndcg@10": gain.sum(), "rows": rows.where.sum()}

    totals = {"recall@10": 0.0, "ndcg@10": 0.0, "rows": 0.0}
    for columns in stream_parts.steps(log, flags.chunks):
        found = jax.device_get(sums(state, sharding.spread(batch(columns, given.model), mesh)))
        totals = {name: totals[name] + float(value) for name, value in found.items()}
    return {name: totals[name] / totals["rows"] for name in ("recall@10", "ndcg@10")}


def tell(text: str) -> None:
    """A line, of process 0 alone."""
    if processes.first():
        print(text, flush=True)


if __name__ == "__main__":
    sys.excepthook = partial(say, flags=list(Flags.__dataclass_fields__))
    main(tyro.cli(Flags, prog="python experiments/scale_out.py", description=__doc__))
