"""A log in parts, prepared in memory, and what must be equal of it where it is prepared in chunks."""

from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rezoo.data import arrow, clean, log_columns, sessions, split
from rezoo.data.ids import Ids
from rezoo.data.interactions import Interactions, from_columns
from rezoo.data.place import Place
from rezoo.data.preparing import folder, numbering
from rezoo.data.preparing.plan import PARTS, Plan, id_type

PLAN = Plan(
    user="customer",
    item="product",
    timestamp="when",
    rating="stars",
    extra=("price",),
    unit="s",
    first="2001-01-01",
    ratings=(1.0, 5.0),
    duplicates="last",
    users=3,
    items=4,
    valid=0.2,
    test=0.1,
    sessions=40_000,
    chunk=16,
    part=64,
    group=10,
    buckets=3,
)
"""All steps, in chunks that are small beside the log."""


def columns(rows: int = 700, seed: int = 0) -> dict[str, np.ndarray]:
    """A log in which every step has something to do."""
    rng = np.random.default_rng(seed)
    customer = np.array([f"c{n}" for n in rng.zipf(1.5, rows) % 90], object)
    customer[rng.random(rows) < 0.02] = "NULL"
    customer[rng.random(rows) < 0.02] = None
    when = 1_600_000_000.0 + rng.integers(0, 800, rows) * 1000
    when[rng.random(rows) < 0.02] = np.nan
    when[rng.random(rows) < 0.02] = 5.0
    stars = rng.choice([1.0, 2.0, 3.0, 4.0, 5.0, 9.0, np.nan], rows, p=[0.18] * 5 + [0.05] * 2)
    price = rng.random(rows).astype(np.float32)
    product = rng.zipf(1.3, rows) % 70 + 1000
    return {"customer": customer, "product": product, "when": when, "stars": stars, "price": price}


def write(place: Path, table: pa.Table, parts: int = 4, group: int = 45) -> str:
    """The log in parts, with small row groups."""
    place.mkdir()
    edges = np.linspace(0, table.num_rows, parts + 1).astype(int)
    for n, (begin, end) in enumerate(pairwise(edges.tolist())):
        pq.write_table(table.slice(begin, end - begin), place / f"{n}.parquet", row_group_size=group)
    return str(place)


def in_memory(raw: str, plan: Plan) -> tuple[tuple[Interactions, ...], clean.Report]:
    """What the functions for logs in memory make of it."""
    whole = pa.concat_tables([pq.read_table(file) for file in sorted(Path(raw).glob("*.parquet"))])
    table, report = clean.drop_missing(arrow.from_arrow(whole, "log"), [plan.user, plan.item])
    if plan.timestamp:
        times = {"unit": plan.unit, "time_format": plan.time_format, "first": plan.first, "last": plan.last}
        table, more = clean.drop_bad_times(table, plan.timestamp, **times)
        report += more
    maps = {}
    for role, name in (("users", plan.user), ("items", plan.item)):
        values = log_columns.ids(table[name], Place())
        maps[role] = Ids.fit(values, by_frequency=plan.by_frequency)
        if slots := plan.slots(role[:-1]):
            kind = id_type(whole.schema.field(name).type)
            table[name] = numbering.slot(numbering.keys(pa.array(values).cast(kind)), slots)
            maps[role] = Ids(np.arange(1, slots + 1))
    roles = {role: getattr(plan, role) for role in ("user", "item", "timestamp", "rating")}
    log = from_columns(table, **roles, **maps, unit="order" if plan.unit == "order" else None)
    steps = []
    if plan.ratings:
        steps.append(partial(clean.drop_bad_ratings, low=plan.ratings[0], high=plan.ratings[1]))
    if plan.duplicates:
        steps.append(partial(clean.drop_duplicates, keep=plan.duplicates))
    if plan.users > 1 or plan.items > 1:
        steps.append(partial(clean.k_core, users=plan.users, items=plan.items))
    steps += [] if plan.user_slots or plan.item_slots else [clean.reindex]
    log, report = clean.steps(log, *steps, report=report)
    if not plan.is_split:
        return (log, log.take(np.zeros(0, int)), log.take(np.zeros(0, int))), report
    if plan.test_from is not None:
        return split.at_time(log, test=plan.test_from, valid=plan.valid_from).of(log), report
    return split.by_time(log, valid=plan.valid, test=plan.test).of(log), report


def check(raw: str, place: str, plan: Plan) -> folder.Prepared:
    """Whether a prepared folder holds, row for row, what is made in memory."""
    logs, report = in_memory(raw, plan)
    made = folder.load(place)
    for name, expected in zip(PARTS, logs, strict=True):
        found = folder.read(place, name)
        assert made.rows[name] == found.num_rows == expected.num_rows
        if not expected.num_rows:
            continue
        assert found.users == expected.users and found.items == expected.items
        kept = {extra: expected.extra[extra] for extra in plan.extra}
        pairs = [*zip(found[:4], expected[:4], strict=True), (found.row_numbers, expected.row_numbers)]
        for one, other in [*pairs, *((found.extra[extra], kept[extra]) for extra in kept)]:
            assert (one is None) == (other is None)
            if one is not None:
                assert one.dtype == other.dtype
                np.testing.assert_array_equal(one, other)
        if plan.sessions is not None:
            _check_sessions(place, name, expected, plan)
    assert made.report == report, f"{made.report}\n\n{report}"
    return made


def _check_sessions(place: str, name: str, log: Interactions, plan: Plan) -> None:
    expected = sessions.by_user(log) if plan.sessions == "user" else sessions.by_gap(log, plan.sessions)
    files = sorted(Path(place, f"{name}_sessions").glob("*.parquet"))
    table = pa.concat_tables([pq.read_table(file) for file in files])
    lists = table["items"].combine_chunks()
    np.testing.assert_array_equal(lists.flatten().to_numpy(), expected.items)
    np.testing.assert_array_equal(lists.value_lengths().to_numpy(), expected.lengths)
    np.testing.assert_array_equal(table["user"].to_numpy(), expected.user)
    if expected.start is not None:
        np.testing.assert_array_equal(table["start"].to_numpy(), expected.start)
