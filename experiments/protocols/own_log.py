"""A shop's own log: its flags, how it is read and cleaned, and the lists that are written."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro
from common import Flags

from rezoo import recipes, sampling
from rezoo.data import clean, files, place, quantities, roles
from rezoo.data.interactions import Interactions, from_columns
from rezoo.errors import DataError
from rezoo.serving import answers, tables
from rezoo.serving.bundle import Saved


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


def read(file: str, flags: LogFlags) -> Interactions:
    """The cleaned log, oldest row first, whose items have names where the file has some."""
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
    log = from_columns(
        {name: columns[name] for name in columns if name != named.get("quantity")},
        user=user,
        item=item,
        timestamp=timestamp,
        title=named.get("title"),
        unit=flags.unit,
        time_format=flags.time_format,
        source=source,
    )
    return log._replace(extra={}).sort_by_time()


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


def write_lists(file: Path, log: Interactions, model: Saved, hide_seen: bool) -> None:
    """Ten products for every user, with the file's own ids; who has no rows gets what is bought most."""
    known = np.unique(log.user)
    unknown = np.setdiff1d(np.arange(1, log.num_users), known)
    popular = recipes.popularity(log, jax.random.key(0))
    parts = []
    for users, by in ((known, model), (unknown, popular)):
        if len(users):
            exclude = seen(log, users) if hide_seen else None
            lists = answers.recommend(by, log.users.decode(users), 10, exclude=exclude)
            lists["model"] = np.full(len(lists["user"]), type(by.model).__name__)
            parts.append(lists)
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    columns = {"user_id": columns.pop("user"), "item_id": columns.pop("item")} | columns
    file.parent.mkdir(parents=True, exist_ok=True)
    tables.write(columns, file)
    more = f", and of {len(unknown):,} without a product that is kept by Popularity" if len(unknown) else ""
    print(f"{file}: lists of {len(known):,} users by {type(model.model).__name__}, fitted to all{more}")


def seen(log: Interactions, users: np.ndarray) -> list[Any]:
    """Raw ids of what each user had."""
    had = sampling.positives_by_user(log.user, log.item, log.num_users)
    rows = np.split(log.items.decode(had.item), np.asarray(had.offset)[1:-1])
    return [rows[user] for user in users]


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
