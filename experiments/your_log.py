"""Your own purchase or click log: cleaned, split by time, five recommenders compared, the best one saved.

    python experiments/your_log.py FILE.csv --recommendations lists.csv

FILE is CSV, TSV, Parquet or whatever `rezoo.data.files` reads, with a user, an item and a time. Common
column names are recognised, and which were chosen is printed first; others are given with --user, --item,
--timestamp. Cancellations (a quantity ≤ 0) and rows without a user are dropped, and the report says so.
The last fifth of the rows by time is what is to be predicted, for each user known before, ranked in the
whole catalogue, as two jobs: anything that they buy then, which may be what they bought before, and what is
new to them, from lists without what they had. The first decides which recommender is best, with --hide-seen
the second. Without FILE a small synthetic log is read.

The time that all this takes is estimated first; where it is more than --minutes, fewer seeds are run. The
models come in the order of their cost. Whenever one is the best so far, it is fitted once more to the whole
log, and every user of the log gets a list as of its end. That model is saved, for `predict.py` and for
`rezoo.serving`. A run that is stopped goes on where it was.

The UCI set "Online Retail" (541,909 rows) takes about three minutes on 2 CPU cores.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Annotated, Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import tyro
from common import Flags, Results, start
from learners import HISTORY, Learner, bought_before, bought_next, factors, latest, most_bought, recurrent

from rezoo import evaluation, metrics
from rezoo.data import batches, clean, files, place, quantities, roles, sessions
from rezoo.data.interactions import Interactions, from_columns
from rezoo.data.packing import padded
from rezoo.errors import DataError
from rezoo.models import Popularity
from rezoo.models.baselines import popularity
from rezoo.serving import saved, tables
from rezoo.serving.bundle import Saved
from rezoo.serving.reads import reads_history
from rezoo.studies import sweep
from rezoo.training import loop
from rezoo.types import Query, Variables

PROTOCOL = "last fifth of the rows by time; whole catalogue"
METRICS = {"anything": "ndcg@10", "new to the customer": "ndcg@10, new to the customer"}
"""What is measured for each job."""
ASKED = 20_000
"""At most so many users are asked about."""


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
    session: str | None = None
    """Name of the column of visits, each of which stands for a user where no column is a user's."""
    quantity: str | None = None
    """Name of the column of quantities; rows with 0 or less are cancellations."""
    title: str | None = None
    """Name of the column of the products' names, for the lists."""
    names: str | None = None
    """Names of all columns, with commas between them, for a file without a header."""
    delimiter: str | None = None
    """What stands between the columns of a text file."""
    encoding: str | None = None
    """Of a text file, such as latin-1 or gbk."""
    decimal: str | None = None
    """The decimal mark of a text file, "." or ","; needed where 1,234 could be either."""
    quotes: bool | None = None
    """Whether quotation marks of a text file enclose text; found if not given."""
    explode: str | None = None
    """Name of a column of lists, each value of which becomes a row."""
    text: str | None = None
    """Columns that stay text although they look like numbers, with commas between them."""
    unit: str | None = None
    """Of times that are numbers: s, ms, us or ns; order, if they only say what comes first."""
    time_format: str | None = None
    """Of times that are text, such as %d.%m.%Y; needed where day and month could be either."""
    first: str | None = None
    """Rows before this time are dropped, such as 2000-01-01."""
    last: str | None = None
    """Rows after this time are dropped."""
    min_user_rows: int = 2
    """Users with fewer rows are left out of the comparison."""
    min_item_rows: int = 5
    """Products with fewer rows are left out."""
    minutes: float = 15.0
    """Where the estimate is longer than this, fewer seeds are run."""
    hide_seen: bool = False
    """Leave out of the lists what a user had before, and choose the best by what is new to the customer."""
    save: Path | None = None
    """Folder of the best model, fitted to the whole log; model in --out."""
    recommendations: Path | None = None
    """Where the lists go, .csv or .parquet; recommendations.csv in --out."""


def main(flags: LogFlags, results: Results) -> None:
    """Read, clean, split, compare, recommend."""
    file = flags.file or synthetic(results.out / "log.csv")
    lists, folder = (
        flags.recommendations or results.out / "recommendations.csv",
        flags.save or results.out / "model",
    )
    log, names = read(file, flags)
    core, everything = kept(log, flags)
    train, test = by_time(core)
    jobs = questions(train, test)
    asked, job = jobs["anything"], "new to the customer" if flags.hide_seen else "anything"
    products, new = (int((one.target > 0).sum()) for one in jobs.values())
    print(
        f"{train.num_rows:,} rows to learn from; {products:,} products of {len(asked.users):,} users to "
        f"find, {new:,} of them new to the customer"
    )
    if not new and flags.hide_seen:
        raise DataError("no customer bought anything new in the last fifth of the log: leave --hide-seen out")

    epochs = 1 if flags.smoke else 10
    makers = (most_bought, bought_before, bought_next, factors, recurrent)
    learners = {make: make(train, epochs) for make in makers}
    cost = {make: one.timed() for make, one in learners.items()}
    keys = sweep.keys(plan(learners[most_bought], list(cost.values()), asked, everything, flags))
    values: dict[str, dict[str, np.ndarray]] = {}
    with loop.progress_bar() as progress:
        task = progress.add_task("models", total=len(makers), note="")
        for make in sorted(makers, key=lambda make: cost[make]):
            one = learners[make]
            name = type(one.model).__name__
            progress.update(task, note=name)
            fit = partial(one.fit, folder=results.out / name, progress=progress)
            values[name] = compare(one, fit, keys if cost[make] else keys[:1], jobs, results, Path(file).stem)
            if values[name][job].mean() == max(value[job].mean() for value in values.values()):
                whole = make(everything, epochs)
                variables = whole.fit(keys[0], "everything", folder=results.out / name, progress=progress)
                write(lists, everything, names, whole.model, variables, flags.hide_seen)
                keep(folder, everything, whole.model, variables)
            progress.advance(task)
    results.finish()
    for one in jobs if new else ["anything"]:
        print(f"{one}: {verdict({name: value[one] for name, value in values.items()})}")
    print(
        f"the model is in {folder}; lists for other users: python experiments/predict.py {folder} USERS.csv"
    )


def keep(folder: Path, log: Interactions, model: nn.Module, variables: Variables) -> None:
    """Save the model with the newest products of each user, for those models that read them."""
    one = Saved(model, variables, log.users, log.items)
    if reads_history(one):
        one = one._replace(history=sessions.histories(log, HISTORY))
    saved.save(folder, one)


def compare(
    one: "Learner", fit: Any, keys: jax.Array, jobs: dict[str, "Asked"], results: Results, data: str
) -> dict[str, np.ndarray]:
    """NDCG@10 of each user over the seeds, by job; each is in the results as soon as it is known."""
    name = type(one.model).__name__
    measure = jax.jit(partial(found, one.model))
    found_by: dict[str, list[np.ndarray]] = {job: [] for job in jobs}
    for seed in range(len(keys)):
        begin = monotonic()
        variables = fit(keys[seed], f"seed {seed}")
        for job, asked in jobs.items():
            some = np.asarray((asked.target > 0).any(axis=1))
            found_by[job].append(np.asarray(measure(variables, asked))[some])
            mean = np.mean(found_by[job], axis=0)
            if len(mean) and seed >= len(results.values(name, data, PROTOCOL, METRICS[job])):
                error = float(mean.std(ddof=1) / len(mean) ** 0.5) if len(mean) > 1 else None
                value, seconds = float(found_by[job][-1].mean()), monotonic() - begin
                results.add(name, data, PROTOCOL, METRICS[job], value, seconds=seconds, sem_over_users=error)
            begin = monotonic()
    return {job: np.mean(values, axis=0) for job, values in found_by.items()}


def read(file: str, flags: LogFlags) -> tuple[Interactions, np.ndarray | None]:
    """The cleaned log, oldest row first, and the name of each dense item where the file has names."""
    source = Path(file).name
    names, text = (part.split(",") if part else [] for part in (flags.names, flags.text))
    columns = files.read_table(
        file,
        names=names or None,
        delimiter=flags.delimiter,
        encoding=flags.encoding,
        decimal=flags.decimal,
        quotes=flags.quotes,
        explode=flags.explode,
        text=text,
        ids=[name for name in (flags.user, flags.item, flags.session) if name],
    )
    asked = ("user", "item", "timestamp", "session", "quantity", "title")
    given = {role: getattr(flags, role) for role in asked}
    chosen = roles.choose(columns, given, required=("user", "item", "timestamp"), source=source)
    named = {role: chosen[role].column for role in asked if role in chosen and role != "session"}
    print(f"{source}: {len(next(iter(columns.values()))):,} rows")
    for role, column in named.items():
        print(f"  {role}: {column!r}, {chosen[role].why}")
    columns = {column: columns[column] for column in named.values()}
    user, item, timestamp = (named[role] for role in ("user", "item", "timestamp"))
    columns, report = clean.drop_missing(columns, [user, item])
    if "quantity" in named:
        columns, more = quantities.drop_cancelled(columns, named["quantity"])
        report = report + more
    columns, more = with_times(columns, timestamp, flags, source)
    print(report + more)
    columns = {name: columns[name] for name in columns if name != named.get("quantity")}
    log = from_columns(
        columns,
        user=user,
        item=item,
        timestamp=timestamp,
        unit=flags.unit,
        time_format=flags.time_format,
        source=source,
    ).sort_by_time()
    if "title" not in named:
        return log, None
    titles = np.full(log.num_items, "", object)
    titles[log.item] = log.extra[named["title"]]
    return log._replace(extra={}), titles


def with_times(
    columns: dict[str, Any], name: str, flags: LogFlags, source: str
) -> tuple[dict[str, Any], clean.Report]:
    """The rows that have a time, which stays as it is written."""
    how = dict(unit=flags.unit, time_format=flags.time_format, first=flags.first, last=flags.last)
    read, report = clean.drop_bad_times(columns, name, source=source, **how)
    rows, left = (place.row_numbers(table, len(table[name])) for table in (columns, read))
    return (columns if len(rows) == len(left) else place.keep(columns, np.isin(rows, left))), report


def kept(log: Interactions, flags: LogFlags) -> tuple[Interactions, Interactions]:
    """The part that models are compared on, and all rows of its items, with all users of the log."""
    users, items = flags.min_user_rows, flags.min_item_rows
    try:
        core, report = clean.k_core(log, users=users, items=items)
    except clean.NothingLeft as error:
        raise DataError(
            f"nothing is left to compare models on, as users need {users} rows and items {items}: lower "
            f"--min-user-rows and --min-item-rows, or give a longer log\n{error.report}"
        ) from error
    core, more = clean.reindex(core)
    print(report + more)
    item = np.append(0, core.items.encode(log.items.raw))[log.item]
    return core, log._replace(item=item, items=core.items).take(item > 0)


def by_time(log: Interactions) -> tuple[Interactions, Interactions]:
    """Four fifths of the rows, and what came after them; rows of one time stay together."""
    assert log.timestamp is not None
    cut = log.timestamp[int(log.num_rows * 0.8)]
    before = log.timestamp < cut
    if not before.any():
        raise DataError(
            f"the first {int(log.num_rows * 0.8) + 1:,} of {log.num_rows:,} rows have one time, so there is "
            "no past to learn from: is it the right column (--timestamp)?"
        )
    return log.take(before), log.take(~before)


class Asked(NamedTuple):
    """What models are asked, and what is to be found."""

    users: np.ndarray
    query: Query
    target: jax.Array
    exclude: jax.Array


def questions(train: Interactions, test: Interactions) -> dict[str, Asked]:
    """For both jobs users of both parts, their history before the split, and what they took after it."""
    users = np.intersect1d(train.user, test.user).astype(np.int32)
    known = np.isin(test.item, train.item) & np.isin(test.user, users)
    if not known.any():
        raise DataError(
            "no user of the last fifth of the log is in the rest of it, so there is nothing to predict: give "
            "a longer log, or lower --min-user-rows and --min-item-rows"
        )
    pairs = np.unique(np.stack([test.user[known], test.item[known]], 1), axis=0)
    users = np.unique(pairs[:, 0]).astype(np.int32)
    if len(users) > ASKED:
        print(f"{ASKED:,} of {len(users):,} users are asked about, drawn at random")
        users = np.sort(np.random.default_rng(0).choice(users, ASKED, replace=False))
    target = jnp.asarray(padded(users, pairs[:, 0], pairs[:, 1])[0], jnp.int32)
    query = batches.queries(users, latest(train, users))
    had = np.isin(pairs @ [train.num_items, 1], train.user.astype(np.int64) * train.num_items + train.item)
    new = padded(users, pairs[~had, 0], pairs[~had, 1])[0]
    return {
        "anything": Asked(users, query, target, jnp.zeros((len(users), 0), jnp.int32)),
        "new to the customer": Asked(users, query, jnp.asarray(new, jnp.int32), seen(train, users)),
    }


def seen(log: Interactions, users: np.ndarray) -> jax.Array:
    """What the users had, `[U S]`, 0 = padding: nobody's more than what one of them has."""
    pairs = np.unique(np.stack([log.user, log.item], 1), axis=0)
    return jnp.asarray(padded(users, pairs[:, 0], pairs[:, 1])[0], jnp.int32)


def found(model: nn.Module, variables: Variables, asked: Asked) -> jax.Array:
    """NDCG@10 of each user."""
    rank = evaluation.ranks(model, variables, asked.query, asked.target, exclude=asked.exclude, block=64)
    return metrics.ndcg(rank, where=asked.target > 0, k=10)


def plan(popular: Learner, cost: list[float], asked: Asked, everything: Interactions, flags: LogFlags) -> int:
    """How many seeds there is time for, if a fit of each model costs so many seconds; says what they take."""
    some = jax.tree.map(lambda column: column[:64], asked)
    measure, variables = jax.jit(partial(found, popular.model)), popular.fit()
    jax.block_until_ready(measure(variables, some))
    begin = monotonic()
    jax.block_until_ready(measure(variables, some))
    a_user = (monotonic() - begin) / len(some.users)

    def total(seeds: int) -> float:
        """Each model's fits and evaluations, and for the lists one fit to the whole log."""
        fits = sum(seconds * (seeds + 1.25) for seconds in cost)
        asking = len(METRICS) * len(asked.users) * sum(seeds if seconds else 1 for seconds in cost)
        return fits + a_user * (asking + everything.num_users * len(cost))

    most = min(flags.seeds, 2) if flags.smoke else flags.seeds
    fitting = [seeds for seeds in range(1, most + 1) if total(seeds) <= 60 * flags.minutes]
    seeds = max(fitting, default=1)
    print(f"estimate: {in_words(total(seeds))}, with {seeds} of {most} seeds and the lists")
    if seeds < most:
        longer = in_words(total(most))
        print(f"  {most} seeds would take {longer}; --minutes allows {flags.minutes:g}")
    return seeds


def in_words(seconds: float) -> str:
    """About how long that is."""
    return f"{seconds:.0f} seconds" if seconds < 100 else f"{seconds / 60:.0f} minutes"


def verdict(values: dict[str, np.ndarray]) -> str:
    """Which model wins, and by how many standard errors over the users."""
    best, second, *_ = sorted(values, key=lambda name: -values[name].mean())
    apart = values[best] - values[second]
    error = "" if len(apart) < 2 else f" ± {apart.std(ddof=1) / len(apart) ** 0.5:.4f}"
    return (
        f"{best} is best: NDCG@10 {values[best].mean():.4f}, {apart.mean():.4f}{error} more than {second}, "
        f"over {len(apart):,} users"
    )


def write(
    file: Path,
    log: Interactions,
    names: np.ndarray | None,
    model: nn.Module,
    variables: Variables,
    hide_seen: bool,
) -> None:
    """Ten products for every user, with the file's own ids; who has no rows gets what is bought most."""
    known = np.unique(log.user)
    unknown = np.setdiff1d(np.arange(1, log.num_users), known)
    popular = Popularity(log.num_items), popularity.fit(log.item, log.num_items)
    parts = []
    for users, (by, fitted) in ((known, (model, variables)), (unknown, popular)):
        if not len(users):
            continue
        query = Query(jnp.asarray(users, jnp.int32), jnp.asarray(latest(log, users)), {})
        exclude = seen(log, users) if hide_seen else None
        ids, scores = map(np.asarray, evaluation.recommend(by, fitted, query, 10, exclude=exclude))
        row, column = np.nonzero(ids)
        parts.append(
            {
                "user_id": log.users.decode(users[row]),
                "rank": column + 1,
                "item_id": log.items.decode(ids[row, column]),
                "score": scores[row, column],
                "model": np.full(len(row), type(by).__name__),
            }
        )
        if names is not None:
            parts[-1]["name"] = names[ids[row, column]].astype(str)
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    file.parent.mkdir(parents=True, exist_ok=True)
    tables.write(columns, file)
    print(
        f"{file}: lists of {len(known):,} users by {type(model).__name__}, fitted to the whole log"
        + (f", and of {len(unknown):,} without a product that is kept by Popularity" if len(unknown) else "")
    )


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
