"""What is read from a log, how it is cleaned and split, and what is written."""

import json
import math
from typing import Any, NamedTuple

import pyarrow as pa

from rezoo.data import latest, typed
from rezoo.data.times import ORDER, PER_SECOND
from rezoo.errors import DataError

Chunk = dict[str, Any]
"""Columns of some rows, as NumPy arrays of one length. Beside those of the log there is `row`."""
ROLES = ("user", "item")
PARTS = ("train", "valid", "test")
OWN = ("user", "item", "rating", "timestamp", "row", "where")
"""Names that other columns may not have."""
LINES = (".csv", ".csv.gz")
"""Endings of parts that are text."""


class Plan(NamedTuple):
    """Which columns are read, and what becomes of their rows.

    The steps are those of `rezoo.data.clean`, in this order: rows without an id, bad times, ids by frequency,
    bad ratings, duplicates, k-core, new ids for what is left; then `split.by_time` or `split.at_time`, then
    `sessions.by_user` or `sessions.by_gap` of each part.
    """

    user: str = "user"
    """The column of users, or of sessions in a log that has no users."""
    item: str = "item"
    timestamp: str | None = None
    rating: str | None = None
    extra: tuple[str, ...] = ()
    """Other columns to keep: numbers without missing values."""

    unit: str | None = None
    """Of times that are numbers: "s", "ms", "us", "ns" or "order"."""
    time_format: str | None = None
    """Of times that are text, such as "ISO8601"."""
    delimiter: str = ","
    """Of CSV parts; likewise the next two."""
    names: tuple[str, ...] = ()
    """Of all columns, if there is no header."""
    types: tuple[tuple[str, str], ...] = ()
    """Arrow's types by column, such as `("user", "int64")`. Ids are text if not given, and so are times
    without a unit; times with a unit are int64, other columns float64."""

    by_frequency: bool = True
    """Number the most frequent ids first, as `Ids.fit` does; in the order of first appearance if False."""
    user_slots: int = 0
    """Number users by a hash, 1 … `user_slots`, instead of a map, which would have to fit into memory."""
    item_slots: int = 0

    first: str | None = None
    """The earliest time that is kept, and the `last`, as in `clean.drop_bad_times`. Times before 1971 or
    after 2099 that are left are an error."""
    last: str | None = None
    ratings: tuple[float, float] | None = None
    """The lowest and the highest that are kept."""
    duplicates: str | None = None
    """Of rows of one user and item keep the "first" or the "last"; None keeps all."""
    users: int = 1
    """The fewest rows of a user, and of `items`: see `clean.k_core`."""
    items: int = 1
    rounds: int = 16
    """Of the k-core at most, as a pipeline has no loops; an error says if they were not enough."""

    valid: float = 0.0
    """Shares of rows, the latest for `test`: see `split.by_time`."""
    test: float = 0.0
    valid_from: int | float | None = None
    """Instead of shares, the time from which on rows are for validation, and for testing, in seconds since
    1970: see `split.at_time`."""
    test_from: int | float | None = None
    sessions: str | int | float | None = None
    """Also write sessions: "user" for each user's whole history, or the seconds of a gap that ends one."""

    chunk: int = 1 << 18
    """Rows of one element of the pipeline."""
    part: int = 1 << 22
    """Rows of the raw log for each part that is written."""
    group: int = 1 << 16
    """Rows of a row group of a part, which is a chunk of `stream_parts`."""
    buckets: int = 16
    """Into how many pieces ids and users are divided where a step needs all rows of one; give more if
    the rows of a piece do not fit into the memory of a worker."""

    @property
    def columns(self) -> list[str]:
        """To read."""
        named = (self.user, self.item, self.timestamp, self.rating, *self.extra)
        return list(dict.fromkeys(name for name in named if name is not None))

    def slots(self, role: str) -> int:
        """Of the users or of the items."""
        return self.user_slots if role == "user" else self.item_slots

    @property
    def is_split(self) -> bool:
        """Whether rows are divided by time."""
        return bool(self.valid or self.test) or self.test_from is not None


def check(plan: Plan, schema: pa.Schema, source: str) -> None:
    """Raise a DataError if the plan cannot be carried out, or a column has a type that it cannot read."""

    def refuse(wrong: bool, why: str) -> None:
        if wrong:
            raise DataError(f"{source}: {why}")

    refuse(plan.timestamp is None and plan.is_split, "a split by time needs times: name Plan(timestamp=…)")
    refuse(
        plan.timestamp is None and not isinstance(plan.sessions, str | None),
        "sessions by gaps need times: name Plan(timestamp=…), or give sessions='user'",
    )
    gap = None if plan.sessions == "user" else plan.sessions
    refuse(
        isinstance(gap, str | bool) or (gap is not None and not 0 <= gap < math.inf),
        f"sessions={gap!r} is neither 'user' nor the seconds of a gap",
    )
    refuse(
        plan.unit == ORDER and (gap is not None or plan.test_from is not None),
        f"unit={ORDER!r} gives the order alone: sessions are sessions='user', and parts have shares",
    )
    refuse(plan.valid_from is not None and plan.test_from is None, "valid_from needs test_from beside it")
    refuse(plan.rating is None and plan.ratings is not None, "limits of ratings need Plan(rating=…)")
    refuse(plan.duplicates not in (None, "first", "last"), f"duplicates={plan.duplicates!r} is not 'first', "
           "'last' or None")  # fmt: skip
    refuse(
        not (plan.valid >= 0 and plan.test >= 0 and plan.valid + plan.test < 1),
        f"shares valid={plan.valid} and test={plan.test} must be ≥ 0 and leave something for training",
    )
    refuse(
        plan.test_from is not None and bool(plan.valid or plan.test),
        "give shares (valid, test) or times (valid_from, test_from), not both",
    )
    if plan.test_from is not None:
        latest.cuts(plan.test_from, plan.valid_from)
    for name in ("chunk", "part", "group", "buckets", "rounds"):
        refuse(getattr(plan, name) < 1, f"Plan({name}={getattr(plan, name)}): give 1 or more")
    for role in ROLES:
        wrong = not 0 <= plan.slots(role) < 2**31 - 1
        refuse(wrong, f"Plan({role}_slots={plan.slots(role)}): give 1 … 2³¹ - 2, or 0 for a map")
    refuse(plan.part % plan.chunk != 0, f"part={plan.part} must be a multiple of chunk={plan.chunk}")
    taken = [name for name in plan.extra if name in OWN]
    refuse(bool(taken), f"the extra column {taken[:1]} has a name that another column gets: rename it")
    for name in (plan.user, plan.item):
        kind = schema.field(name).type
        refuse(pa.types.is_nested(kind), f"column {name!r} is {kind}, which cannot be ids")
    for name in plan.extra:
        kind = schema.field(name).type
        numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
        refuse(not numeric, f"column {name!r} is {kind}, not a number: encode it first")
    if plan.timestamp is not None:
        _check_times(plan, schema.field(plan.timestamp).type, f"{source}, column {plan.timestamp!r}")


def _check_times(plan: Plan, kind: pa.DataType, place: str) -> None:
    """Units and formats must be given: chunks could be taken for different ones."""
    if plan.unit not in (None, ORDER, *PER_SECOND):
        raise DataError(f"{place}: unit {plan.unit!r} is not one of {[*PER_SECOND, ORDER]}")
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind) or plan.time_format or plan.unit:
        return
    raise DataError(
        f"{place}: {kind} can be times of several kinds: give the unit of numbers, as in Plan(unit='s'), or "
        "the format of texts, such as Plan(time_format='ISO8601')"
    )


def id_type(kind: pa.DataType) -> pa.DataType:
    """The type of raw ids: integers or text."""
    is_ = pa.types
    if is_.is_dictionary(kind):
        return id_type(kind.value_type)
    whole = is_.is_integer(kind) or is_.is_floating(kind) or is_.is_boolean(kind) or is_.is_decimal(kind)
    return pa.int64() if whole else pa.large_string()


def from_json(text: str, place: str = "plan") -> Plan:
    """A plan of some fields; the others have their defaults.

    Raises:
      DataError: if it is not JSON, there is no such field, or one has another type.

    >>> from_json('{"item": "product", "users": 5}').users
    5
    """
    try:
        given = json.loads(text)
    except ValueError as error:
        raise DataError(f"{place} is not JSON ({error})") from error
    if not isinstance(given, dict):
        raise DataError(f'{place} is not an object of fields such as {{"user": "customer_id"}}')
    defaults = json.loads(json.dumps(Plan()._asdict()))
    return typed.read({**defaults, **given}, Plan, place)
