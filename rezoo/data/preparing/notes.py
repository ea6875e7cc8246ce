"""What cleaning drops from chunks, and the report on all of them, in the words of `rezoo.data.clean`."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from rezoo.data import clean
from rezoo.data.missing import listed
from rezoo.data.preparing.groups import Counts
from rezoo.data.preparing.plan import ROLES, Plan
from rezoo.data.reports import NothingLeft, Reason, Report

BEFORE, MISSING, TIMES, RATINGS, REPEATS, FEW = -1, 0, 2, 5, 7, 8
"""The places of steps in a report; those of a few reasons have the places after them, too."""
SHOWN = 3
"""Examples of a reason."""


class Example(NamedTuple):
    """A row that was dropped."""

    row: int
    text: str
    user: int = 0
    """Its dense id; 0 where ids have none yet."""
    item: int = 0


class Note(NamedTuple):
    """Rows that were dropped for one reason."""

    rows: int
    examples: tuple[Example, ...]
    counts: Mapping[str, int]
    """How values are written that were missing; of the k-core, rows by round."""


Notes = dict[tuple[int, str], Note]
"""By place in the report, and reason."""


def before(rows: int) -> Notes:
    """The rows that there were."""
    return {(BEFORE, ""): Note(rows, (), {})}


def note(
    place: int,
    why: str,
    row: np.ndarray,
    text: Callable[[int], str] = lambda index: "",
    counts: Mapping[str, int] | None = None,
    index: np.ndarray | None = None,
    ids: tuple[np.ndarray, np.ndarray] | None = None,
) -> Notes:
    """On the rows at `index`, of which `row` are the numbers in the log, and `ids` the users and items.

    >>> note(MISSING, "odd", np.array([4, 9]), index=np.array([1]))[MISSING, "odd"].examples[0].row
    9
    """
    index = np.arange(len(row)) if index is None else index
    shown = index[np.argsort(row[index], kind="stable")[:SHOWN]].tolist()
    user, item = ids if ids is not None else (np.zeros(len(row), int),) * 2
    examples = tuple(Example(int(row[n]), text(n), int(user[n]), int(item[n])) for n in shown)
    return {(place, why): Note(len(index), examples, counts or {})}


def merge(many: Iterable[Notes]) -> Notes:
    """Sums of rows, and the first examples.

    >>> one, two = (note(MISSING, "odd", np.array([row])) for row in (9, 4))
    >>> merge([one, two])[MISSING, "odd"].rows
    2
    """
    merged: Notes = {}
    for notes in many:
        for key, new in notes.items():
            old = merged.get(key, Note(0, (), {}))
            examples = tuple(sorted((*old.examples, *new.examples))[:SHOWN])
            merged[key] = Note(old.rows + new.rows, examples, dict(Counter(old.counts) + Counter(new.counts)))
    return merged


def report(notes: Notes, raw: Mapping[str, pa.Array | None], left: Mapping[str, Counts]) -> Report:
    """The report of `clean.steps`.

    Args:
      notes: on all chunks.
      raw: ids of users and items in the order of their dense ids; None where these are slots.
      left: dense ids that have rows after cleaning.

    Raises:
      NothingLeft: if no row is left.
    """

    def named(role: str, dense: int) -> str:
        ids = raw[role]
        return str(dense) if ids is None else str(ids[dense - 1].as_py())

    def shown(one: Example) -> str:
        whose = f": user {named('user', one.user)}, item {named('item', one.item)}" if one.user else ""
        return f"row {one.row}{whose}{one.text}"

    reasons = [
        Reason(_why(place, why, one), one.rows, [shown(example) for example in one.examples])
        for (place, why), one in sorted(notes.items(), key=lambda item: item[0])
        if place != BEFORE and one.rows
    ]
    rows = notes[BEFORE, ""].rows
    made = Report(rows, rows - sum(reason.rows for reason in reasons), reasons)
    if reasons and not made.after:
        raise NothingLeft(made)
    for role in ROLES:
        made = made + Report(made.after, made.after, _without_rows(role, raw[role], left[role][0]))
    return made


def _why(place: int, why: str, one: Note) -> str:
    if place == FEW:
        return why.replace("ROUNDS", str(len(one.counts)))
    return why + (f": {listed(one.counts)}" if one.counts else "")


def few(plan: Plan) -> str:
    """Why the k-core drops rows; the number of rounds is not known yet."""
    return clean.FEW.format(plan.users, plan.items, "ROUNDS")


def _without_rows(role: str, raw: pa.Array | None, left: np.ndarray) -> list[Reason]:
    if raw is None or len(left) == len(raw):
        return []
    gone = np.ones(len(raw), bool)
    gone[left - 1] = False
    first = [str(raw[int(index)].as_py()) for index in np.flatnonzero(gone)[:SHOWN]]
    return [Reason(clean.NO_ROWS.format(int(gone.sum()), f"{role}s"), 0, first)]
