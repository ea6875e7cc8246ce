"""Your own purchase or click log: cleaned, split by time, four recommenders compared, lists written.

    python experiments/your_log.py FILE.csv --recommendations lists.csv

FILE is CSV, TSV, Parquet or whatever `rezoo.data.files` reads, with a user, an item and a time; common
column names are recognised, others are given with --user, --item, --timestamp. Cancellations
(a quantity ≤ 0) and rows without a user are dropped, and the report says so. The last fifth of the
rows by time is what is to be foretold: for each user known before, the products of that time,
ranked in the whole catalogue; products that the user had bought before stay in the list, as people buy
them again (--hide-seen leaves them out). Without FILE a small synthetic log is read.

The UCI set "Online Retail" (541,909 rows) takes about three minutes on 2 CPU cores.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import tyro
from common import Flags, Results, start

from rezoo import evaluation, loop, losses, metrics, objectives, sampling, sweep, training
from rezoo.data import clean, files, roles
from rezoo.data.errors import DataError
from rezoo.data.interactions import Interactions, from_columns
from rezoo.data.packing import padded
from rezoo.models import MF, CoOccurrence, GRU4Rec, Popularity
from rezoo.models.baselines import cooccurrence, popularity
from rezoo.types import Batch, Query

NAMES = ("description", "title", "name", "product_name", "item_name")
HISTORY = 50


@dataclass(frozen=True)
class LogFlags(Flags):
    """Flags of this experiment."""

    file: Annotated[str | None, tyro.conf.Positional] = None
    """The log; a small synthetic one if not given."""
    user: str | None = None
    """Name of the user column."""
    item: str | None = None
    """Name of the item column."""
    timestamp: str | None = None
    """Name of the time column."""
    hide_seen: bool = False
    """Leave out what a user had before the split."""
    recommendations: Path | None = None
    """Where the lists go, .csv or .parquet; recommendations.csv in --out."""


def main(flags: LogFlags, results: Results) -> None:
    """Read, clean, split, train, compare, recommend."""
    file = flags.file or synthetic(results.out / "log.csv")
    log, names = read(file, flags)
    train, test = by_time(log)
    users, query, target = targets(train, test)
    seen = padded(users, train.user, train.item)[0] if flags.hide_seen else np.zeros((len(users), 0), int)
    exclude = jnp.asarray(seen, jnp.int32)
    products = int((target > 0).sum())
    print(f"{train.num_rows:,} rows to learn from; {products:,} products of {len(users):,} users to foretell")

    values, fitted = {}, {}
    with loop.progress_bar() as progress:
        for model, variables, seconds in contenders(train, flags, results.out, progress):
            name = type(model).__name__

            def per_user(one: Any, model: nn.Module = model) -> jax.Array:
                rank = evaluation.ranks(model, one, query, target, exclude=exclude, block=64)
                return metrics.ndcg(rank, where=target > 0, k=10)

            found = jax.lax.map(per_user, variables)
            values[name] = np.asarray(found.mean(0))
            fitted[name] = model, jax.tree.map(lambda leaf: leaf[0], variables)
            if not results.values(name, Path(file).stem, PROTOCOL, "ndcg@10"):
                over_seeds = np.asarray(found.mean(1)).tolist()
                error = float(values[name].std(ddof=1) / len(users) ** 0.5)
                results.add(
                    name,
                    Path(file).stem,
                    PROTOCOL,
                    "ndcg@10",
                    over_seeds,
                    seconds=seconds,
                    sem_over_users=error,
                )
    results.finish()
    best = verdict(values)
    write(
        flags.recommendations or results.out / "recommendations.csv",
        log,
        names,
        users,
        query,
        exclude,
        *fitted[best],
    )


PROTOCOL = "last fifth of the rows by time; whole catalogue"


def read(file: str, flags: LogFlags) -> tuple[Interactions, np.ndarray | None]:
    """The cleaned log, and each dense item's name where the file has one."""
    columns = files.read_table(file)
    lower = {name.lower(): name for name in columns}
    given = {"user": flags.user, "item": flags.item, "timestamp": flags.timestamp}
    chosen = roles.choose(columns, given, required=("user", "item", "timestamp"), source=Path(file).name)
    named = {role: one.column for role, one in chosen.items()}
    whole = len(next(iter(columns.values())))
    columns, report = clean.drop_missing(columns, [named["user"], named["item"]])
    if "quantity" in lower:
        sold = np.asarray(columns[lower["quantity"]], float) > 0
        reason = clean.Reason("cancelled, a quantity of 0 or less", int((~sold).sum()), [])
        report = report + clean.Report(report.after, int(sold.sum()), [reason])
        columns = {name: column[sold] for name, column in columns.items()}
    log = from_columns(
        columns, source=Path(file).name, user=named["user"], item=named["item"], timestamp=named["timestamp"]
    )
    log, more = clean.steps(log, lambda data: clean.k_core(data, users=2, items=5), clean.reindex)
    print(f"{Path(file).name}: {whole:,} rows\n{report + more}")
    title = next((lower[name] for name in NAMES if name in lower), None)
    if title is None:
        return log.sort_by_time(), None
    names = np.full(log.num_items, "", object)
    names[log.item] = log.extra[title]
    return log.sort_by_time(), names


def by_time(log: Interactions) -> tuple[Interactions, Interactions]:
    """Four fifths of the rows, and what came after them; rows of one second stay together."""
    assert log.timestamp is not None
    cut = log.timestamp[int(log.num_rows * 0.8)]
    before = log.timestamp < cut
    if not before.any():
        raise DataError("all rows have nearly the same time, so there is no past to learn from")
    return log.take(before), log.take(~before)


def targets(train: Interactions, test: Interactions) -> tuple[np.ndarray, Query, jax.Array]:
    """Users of both parts, their history before the split, and what they took after it."""
    users = np.intersect1d(train.user, test.user).astype(np.int32)
    known = np.isin(test.item, train.item) & np.isin(test.user, users)
    if not known.any():
        raise DataError("no user of the last fifth of the log is in the rest of it: nothing can be foretold")
    pairs = np.unique(np.stack([test.user[known], test.item[known]], 1), axis=0)
    users = np.unique(pairs[:, 0]).astype(np.int32)
    target = padded(users, pairs[:, 0], pairs[:, 1])[0]
    query = Query(jnp.asarray(users), jnp.asarray(latest(train, users)), {})
    return users, query, jnp.asarray(target, jnp.int32)


def latest(log: Interactions, users: np.ndarray) -> np.ndarray:
    """The last items of each user, oldest first, padded at the end: `[U HISTORY]`."""
    mine = np.isin(log.user, users)
    items, where = padded(users, log.user[mine], log.item[mine])
    length = where.sum(1)
    column = np.arange(HISTORY)[None] + np.maximum(length - HISTORY, 0)[:, None]
    shown = np.take_along_axis(items, np.minimum(column, items.shape[1] - 1), axis=1)
    return np.where(column < length[:, None], shown, 0).astype(np.int32)


def contenders(train: Interactions, flags: LogFlags, out: Path, progress: Any):
    """Each model with its variables, seeds on the leading axis, and the seconds that it took."""
    count = train.num_items
    users = np.unique(train.user)
    yield Popularity(count), one_seed(popularity.fit(train.item, count)), 0.0
    history = latest(train, users)
    fitted = cooccurrence.fit(history, count, window=5)
    yield CoOccurrence(count, len(fitted["params"]["follower"]), memory=5), one_seed(fitted), 0.0

    epochs = 1 if flags.smoke else 10
    seeds = sweep.keys(2 if flags.smoke else flags.seeds)
    known = sampling.known(train.user, train.item, train.num_users)
    sampler = sampling.excluding(sampling.uniform(count), known, count)
    rows = train.num_rows
    pairs = Batch(
        Query(jnp.asarray(train.user), jnp.zeros((rows, 0), jnp.int32), {}),
        jnp.asarray(train.item),
        jnp.ones(rows),
        jnp.ones(rows, bool),
    )
    following = jnp.asarray(history[:, 1:])
    sequences = Batch(
        Query(jnp.asarray(users), jnp.asarray(history[:, :-1]), {}),
        following,
        (following > 0).astype(jnp.float32),
        following > 0,
    )
    mf, gru = MF(train.num_users, count, 64), GRU4Rec(count, 64, dropout=0.3)
    bpr = objectives.l2(objectives.sampled(mf, losses.bpr, sampler, 2), 0.002)
    softmax = objectives.next_item(gru, losses.softmax_cross_entropy)
    for model, objective, data, size, rate in (
        (mf, bpr, pairs, 4096, 2e-3),
        (gru, softmax, sequences, 64, 2e-3),
    ):
        optimizer = optax.adam(rate)
        step = training.make_step(objective, optimizer)

        def init(
            key: jax.Array, model: nn.Module = model, optimizer: Any = optimizer, data: Batch = data
        ) -> Any:
            return training.init_state(key, model, optimizer, data)

        def epoch(state: Any, step: Any = step, data: Batch = data, size: int = size) -> Any:
            return training.epoch(step, state, data, size)

        run = loop.run(
            jax.jit(jax.vmap(epoch), donate_argnums=0),
            jax.vmap(init)(jax.random.clone(seeds)),
            epochs,
            folder=out / type(model).__name__,
            progress=progress,
            description=type(model).__name__,
            rows=int(data.where.sum()),
        )
        yield model, run.best, run.seconds


def one_seed(variables: Any) -> Any:
    """Variables with a leading axis of one."""
    return jax.tree.map(lambda leaf: leaf[None], variables)


def verdict(values: dict[str, np.ndarray]) -> str:
    """Say which model wins, and by how many standard errors over the users."""
    best, second, *_ = sorted(values, key=lambda name: -values[name].mean())
    apart = values[best] - values[second]
    error = apart.std(ddof=1) / len(apart) ** 0.5
    print(
        f"{best} is best: NDCG@10 {values[best].mean():.4f}, {apart.mean():.4f} ± {error:.4f} more than "
        f"{second}, over {len(apart):,} users"
    )
    return best


def write(
    file: Path,
    log: Interactions,
    names: np.ndarray | None,
    users: np.ndarray,
    query: Query,
    exclude: jax.Array,
    model: nn.Module,
    variables: Any,
) -> None:
    """Ten products for every user, with the file's own ids, as CSV or Parquet."""
    ids, scores = evaluation.recommend(model, variables, query, 10, exclude=exclude)
    ids, scores = np.asarray(ids), np.asarray(scores)
    real = ids > 0
    columns = {
        "user_id": np.repeat(log.users.decode(users), ids.shape[1]).reshape(ids.shape)[real],
        "rank": np.broadcast_to(np.arange(1, 11), ids.shape)[real],
        "item_id": log.items.decode(ids[real]),
        "score": scores[real],
    }
    if names is not None:
        columns["name"] = names[ids[real]].astype(str)
    table = pa.table(columns)
    if file.suffix == ".parquet":
        pyarrow.parquet.write_table(table, file)
    else:
        pyarrow.csv.write_csv(table, file)
    print(f"{len(table):,} recommendations in {file}; the first user's:\n{table.slice(0, 5).to_pylist()}")


def synthetic(file: Path) -> str:
    """A small log whose users stay with one kind of product."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 5, 200)
    user = rng.integers(0, 200, 4000)
    item = kind[user] * 12 + rng.integers(0, 12, 4000)
    time = np.sort(rng.integers(1_600_000_000, 1_610_000_000, 4000))
    lines = [f"u{u},p{i},{t},product {i}" for u, i, t in zip(user, item, time, strict=True)]
    file.write_text("\n".join(["user_id,item_id,timestamp,title", *lines]) + "\n")
    return str(file)


if __name__ == "__main__":
    main(*start(__file__, __doc__, LogFlags))
