"""Steps of cleaning, a chunk at a time with what was counted over all; and rows by where they are written."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from rezoo.data import clean
from rezoo.data.preparing import notes
from rezoo.data.preparing.groups import Counts, add, count, groups, join, take
from rezoo.data.preparing.notes import Notes
from rezoo.data.preparing.numbering import Numbers, encode
from rezoo.data.preparing.plan import ROLES, Chunk, Plan
from rezoo.data.preparing.raw import Read
from rezoo.errors import DataError

NEVER = np.iinfo(np.int16).max
"""The round of what is not dropped."""
Noted = tuple[Chunk, Notes]
"""What is left of a chunk, and what was dropped."""


def to_dense(one: Read, plan: Plan, users: Numbers | int, items: Numbers | int) -> Noted:
    """A chunk with dense ids in the place of keys, without bad ratings."""
    chunk, found = one.chunk, dict(one.notes)
    chunk = {**chunk, "user": encode(users, chunk["user"]), "item": encode(items, chunk["item"])}
    if plan.ratings is None:
        return chunk, found
    rating = chunk["rating"]
    kept = np.ones(len(rating), bool)
    for place, (gone, why) in enumerate(clean.bad_ratings(rating, *plan.ratings), notes.RATINGS):
        found |= dropped(chunk, gone, place, why, shown=rating)
        kept &= ~gone
    return take(chunk, kept), found


def dropped(
    chunk: Chunk, gone: np.ndarray, place: int, why: str, shown: np.ndarray | None = None, **counts: int
) -> Notes:
    """A note on the rows of a chunk that go, if there are any."""
    index = np.flatnonzero(gone)
    if not len(index):
        return {}
    ids = chunk["user"], chunk["item"]
    value = (lambda n: "") if shown is None else (lambda n: f", {shown[n]:g}")
    return notes.note(place, why, chunk["row"], value, counts, index, ids)


def for_repeats(chunk: Chunk, buckets: int) -> Iterator[tuple[int, Chunk]]:
    """What is needed to find repeats, by bucket: all rows of a user are in one."""
    names = [name for name in ("row", "user", "item", "timestamp") if name in chunk]
    for bucket, index in groups(chunk["user"] % buckets):
        yield bucket, take({name: chunk[name] for name in names}, index)


def repeats(one: tuple[int, Iterable[Chunk]], plan: Plan) -> Iterator[tuple[int, np.ndarray]]:
    """The numbers of the repeated rows in a bucket, by chunk of the log.

    >>> rows = {"row": np.array([1, 2, 3]), "user": np.array([5, 5, 6]), "item": np.array([7, 7, 7])}
    >>> [(chunk, row.tolist()) for chunk, row in repeats((0, [rows]), Plan(duplicates="last"))]
    [(0, [1])]
    """
    rows = join(one[1])
    assert plan.duplicates is not None
    gone = clean.repeats(rows["user"], rows["item"], rows.get("timestamp"), plan.duplicates)
    row = rows["row"][gone]
    for number, index in groups((row - 1) // plan.chunk):
        yield number, row[index]


def by_chunk(chunk: Chunk, plan: Plan) -> Iterator[tuple[int, Chunk]]:
    """The rows with the number of their chunk of the log."""
    for number, index in groups((chunk["row"] - 1) // plan.chunk):
        yield number, take(chunk, index)


def without(one: tuple[int, Mapping[str, Iterable[Any]]], plan: Plan) -> Noted:
    """The `rows` of a chunk without those that are `gone` as repeats."""
    rows = join(one[1]["rows"])
    out = np.isin(rows["row"], np.concatenate([np.zeros(0, np.int64), *one[1]["gone"]]))
    why = clean.REPEATS.format(plan.duplicates)
    return take(rows, ~out), dropped(rows, out, notes.REPEATS, why)


def pairs(chunk: Chunk) -> Chunk:
    """Users and items alone."""
    return {role: chunk[role] for role in ROLES}


def rows_by_id(chunk: Chunk) -> dict[str, Counts]:
    """Rows of each user and of each item."""
    return {role: count(chunk[role]) for role in ROLES}


def add_counts(many: Iterable[Mapping[str, Counts]]) -> dict[str, Counts]:
    """Sums over chunks."""
    every = list(many)
    return {role: add(one[role] for one in every) for role in ROLES}


class Core(NamedTuple):
    """In which round of the k-core users and items are dropped."""

    user: np.ndarray
    """int16 by dense id; `NEVER` for those that stay."""
    item: np.ndarray
    done: int
    """Rounds until now."""
    settled: bool
    """Whether another round would drop nothing."""


def whole_log() -> Core:
    """Before the first round."""
    none = np.zeros(0, np.int16)
    return Core(none, none, 0, False)


def _turn(chunk: Chunk, core: Core) -> np.ndarray:
    """The round in which each row is dropped."""
    return np.minimum(core.user[chunk["user"]], core.item[chunk["item"]])


def remaining(chunk: Chunk, core: Core) -> dict[str, Counts]:
    """Rows of each user and item after the rounds until now; none once they are settled."""
    if core.done and not core.settled:
        chunk = take(chunk, _turn(chunk, core) == NEVER)
    return add_counts([] if core.settled else [rows_by_id(chunk)])


def next_round(total: Mapping[str, Counts], core: Core, plan: Plan) -> Core:
    """A round of `clean.k_core`, from the counts of what remains.

    >>> total = {"user": count(np.array([1, 1, 2])), "item": count(np.array([1, 2, 2]))}
    >>> core = next_round(total, whole_log(), Plan(users=2))
    >>> (core.user < NEVER).tolist(), core.settled
    ([False, False, True], False)
    """
    if core.settled:
        return core
    after = {}
    for role, least in zip(ROLES, (plan.users, plan.items), strict=True):
        ids, rows = total[role]
        size = int(ids.max(initial=0)) + 1
        turn = getattr(core, role).copy() if core.done else np.full(size, NEVER, np.int16)
        turn[ids[rows < least]] = core.done + 1
        after[role] = turn
    stays = all(
        (total[role][1] >= least).all() for role, least in zip(ROLES, (plan.users, plan.items), strict=True)
    )
    return Core(after["user"], after["item"], core.done + 1, stays)


def in_core(chunk: Chunk, core: Core, plan: Plan) -> Noted:
    """A chunk without the rows that some round drops.

    Raises:
      DataError: if the rounds were not enough.
    """
    if not core.settled:
        raise DataError(
            f"after {plan.rounds} rounds of the k-core some users have fewer than {plan.users} rows or items "
            f"fewer than {plan.items}: give Plan(rounds={2 * plan.rounds})"
        )
    turn = _turn(chunk, core)
    number, rows = count(turn[turn < NEVER].astype(np.int64))
    rounds = {str(one): many for one, many in zip(number.tolist(), rows.tolist(), strict=True)}
    return take(chunk, turn == NEVER), dropped(chunk, turn < NEVER, notes.FEW, notes.few(plan), **rounds)


def renumbered(chunk: Chunk, total: Mapping[str, Counts], plan: Plan) -> Chunk:
    """A chunk with new ids for what is left, as `clean.reindex` gives them; slots stay."""
    new = {
        role: (np.searchsorted(total[role][0], chunk[role]) + 1).astype(np.int32)
        for role in ROLES
        if not plan.slots(role)
    }
    return chunk | new


def for_writing(named: tuple[str, Chunk], rows: int) -> Iterator[tuple[tuple[str, int], Chunk]]:
    """Rows by the part that they are written to."""
    name, chunk = named
    for number, index in groups((chunk["row"] - 1) // rows):
        yield (name, number), take(chunk, index)


def for_sessions(
    named: tuple[str, Chunk], total: Mapping[str, Counts], plan: Plan
) -> Iterator[tuple[tuple[str, int], Chunk]]:
    """Rows by bucket of users, of which each has about as many rows, in the order of their ids."""
    name, chunk = named
    user, rows = total["user"]
    user = user if plan.user_slots else np.arange(1, len(rows) + 1)
    last = np.searchsorted(np.cumsum(rows), rows.sum() * np.arange(1, plan.buckets) / plan.buckets)
    edge = user[np.minimum(last, len(user) - 1)]
    names = [column for column in ("row", "user", "item", "timestamp") if column in chunk]
    for bucket, index in groups(np.searchsorted(edge, chunk["user"])):
        yield (name, bucket), take({column: chunk[column] for column in names}, index)
