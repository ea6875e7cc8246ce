"""From a log to `Batch`es and `Query`s: pairs, users with all their ratings, next items, a test part.

    data = batches.pairs(log.user, log.item, log.rating)         # a row for each interaction
    data = batches.next_items(sessions.by_gap(log), 20)          # each event, and the one after it
    asked = batches.queries(users, history=sessions.histories(log, 50)[users])
    held = batches.held_out(train, test)                         # what is to be found, for `evaluate`

Whatever a model does not read may be left out: a query needs neither a user nor a history.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Int
from numpy.typing import ArrayLike

from rezoo.arrays import at_least_1, int32_of
from rezoo.data import packing, sessions
from rezoo.data.interactions import Interactions
from rezoo.data.packing import PackedNextItem, padded
from rezoo.data.sessions import Sessions
from rezoo.errors import DataError
from rezoo.types import Batch, Query

Columns = tuple[ArrayLike, ArrayLike, ArrayLike]
"""Parallel columns (user, item, rating), one row per rating."""


def queries(
    user: Any = None,
    history: Any = None,
    features: Mapping[str, Any] | None = None,
    *,
    rows: int | None = None,
) -> Query:
    """Who asks, of what is given: users default to 0, the unknown, histories to none, `[B 0]`.

    Args:
      user: dense ids `[B]`.
      history: item ids `[B L]`, oldest first, 0 = padding.
      features: columns of users and context by name, `[B …]`.
      rows: B, where neither users nor histories nor features tell it.

    Raises:
      DataError: if the number of rows is not given by anything, or differs between what is given; if ids
        have other axes, or are no whole numbers within int32, a history has an item behind a 0 or
        an id below it, or a column holds no numbers.

    >>> query = queries(history=[[3, 5], [4, 0]])
    >>> query.user.tolist(), query.history.shape, queries([7, 8]).history.shape
    ([0, 0], (2, 2), (2, 0))
    """
    given = {} if features is None else features
    features = {str(name): _numbers(name, column) for name, column in given.items()}
    asked = ("user", user, "B"), ("history", history, "B L")
    given = {name: _ids(name, values, axes) for name, values, axes in asked if values is not None}
    if history is not None:
        _check_history(given["history"])
    sizes = {name: len(column) for name, column in (given | features).items()}
    sizes |= {} if rows is None else {"rows": rows}
    if len(set(sizes.values())) != 1:
        raise DataError(
            f"rows of {sizes} differ: give every column a value for each row"
            if sizes
            else "a query of no columns: give user, history or features, or the number of rows (rows=…)"
        )
    (size,) = set(sizes.values())
    return Query(
        jnp.asarray(given.get("user", np.zeros(size, np.int32))),
        jnp.asarray(given.get("history", np.zeros((size, 0), np.int32))),
        features,
    )


def _ids(name: str, values: Any, axes: str) -> Array | np.ndarray:
    """Ids as int32, with so many axes."""
    ids = int32_of(name, values)
    if ids.ndim != len(axes.split()):
        raise DataError(f"{name} has the shape {list(ids.shape)}: give it [{axes}], B being its rows")
    return ids


def _numbers(name: str, column: Any) -> Array:
    """A column as it is, but for the width of its numbers."""
    if not isinstance(column, jax.Array):
        try:
            column = np.asarray(column)
        except ValueError:
            raise DataError(f"the column {name!r} has rows of several lengths: fill them up with 0") from None
        if column.dtype.kind not in "biuf" or not column.ndim:
            raise DataError(
                f"the column {name!r} is {column.dtype} {list(column.shape)}: give a number for each row, 0 "
                "where it is unknown; texts become such by rezoo.data.features"
            )
        if column.dtype.kind in "iu" and column.dtype.itemsize >= 4:
            column = int32_of(f"the column {name!r}", column)
    return jnp.asarray(column)


def _check_history(history: Array | np.ndarray) -> None:
    """Refuse an item behind a 0, and an id below 0, as models would read another session, or none.

    -1 is the code of a missing category in pandas.
    """
    if isinstance(history, Tracer):
        return
    rows = np.asarray(history)
    if rows.min(initial=0) < 0:
        row, column = np.argwhere(rows < 0)[0]
        raise DataError(
            f"history has the id {rows[row, column]} in row {row}: ids are 1 or more, and 0 fills up rows at "
            "the end; leave an unknown event out"
        )
    wrong = (rows[:, 1:] != 0) & (rows[:, :-1] == 0)
    if wrong.any():
        row = int(np.flatnonzero(wrong.any(axis=1))[0])
        raise DataError(
            f"history has an item behind a 0 in row {row}: histories run oldest first and are filled up with "
            "0 at the end"
        )


def pairs(
    user: ArrayLike,
    item: ArrayLike,
    label: ArrayLike | None = None,
    *,
    history: Any = None,
    features: Mapping[str, Any] | None = None,
) -> Batch:
    """A row for each pair of a user and an item.

    Args:
      user: dense ids `[n]`, such as `log.user`.
      item: dense ids `[n]`.
      label: `[n]`, such as `log.rating`; 1 for every row if not given.
      history: of each row, `[n L]`, as in `queries`.
      features: of each row, `[n …]`, as in `queries`.

    Raises:
      DataError: if a column has another number of rows than `user`.

    >>> data = pairs([1, 2], [7, 5])
    >>> data.query.user.tolist(), data.item.tolist(), data.label.tolist()
    ([1, 2], [7, 5], [1.0, 1.0])
    """
    query, item = queries(user, history, features), jnp.asarray(int32_of("item", item))
    rows = query.user.shape
    label = jnp.ones(rows) if label is None else jnp.asarray(label, jnp.float32)
    if item.shape != rows or label.shape != rows:
        raise DataError(
            f"item {item.shape} and label {label.shape} must have a value for each of {rows[0]:,} users"
        )
    return Batch(query, item, label, jnp.ones(rows, bool))


def next_items(
    log: Sessions | Interactions,
    length: int,
    *,
    packed: bool = False,
    features: Mapping[str, Any] | None = None,
) -> Batch:
    """Histories and the item after each of their events, for models with `prefixes`.

    Args:
      log: sessions, or a log whose users are one session each.
      length: L; of longer sessions the newest L events and the item after them are taken.
      packed: several sessions in a row, told apart by the feature `segment` (see `rezoo.data.packing`).
      features: of each session, `[S …]`; not with `packed`.

    Returns:
      A batch `[S L]` with label 1 where an item follows; a session of one event has no label. The columns of
      sessions are features `[S L …]`, of the events in the history.

    Raises:
      ValueError: if the length is below 1.
      DataError: if there are features of sessions with `packed`, or one is named like a column, or
        "segment".

    >>> data = next_items(Sessions(np.array([5, 6, 7, 8], np.int32), np.array([0, 3, 4])), 3)
    >>> data.query.history.tolist(), data.item.tolist()
    ([[5, 6, 0], [0, 0, 0]], [[6, 7, 0], [0, 0, 0]])
    """
    at_least_1(length=length)
    if isinstance(log, Interactions):
        log = sessions.by_user(log)
    if "segment" in {*log.columns, *(features or {})}:
        raise DataError("the column 'segment' is that of packed rows: give yours another name")
    if packed:
        if features:
            raise DataError("features are of sessions, and packed rows hold several: give packed=False")
        events = packing.next_events(log, length)
        return of_packed(packing.of_events(log, events), packing.event_columns(log, events))
    if twice := sorted(set(features or {}) & set(log.columns)):
        raise DataError(f"{twice[0]!r} is a feature and a column of events: rename one of them")
    rows, columns = sessions.next_item_batch(log, length), sessions.next_item_columns(log, length)
    return _after_each(queries(log.user, rows.history, {**(features or {}), **columns}), rows)


def of_packed(rows: PackedNextItem, columns: Mapping[str, Any] | None = None) -> Batch:
    """What `next_items` makes of packed rows, which `rezoo.data.stream_sessions` reads from a folder.

    `columns` are those of the events in the history, `[R L …]`.

    >>> rows = packing.next_item(Sessions(np.array([5, 6, 7], np.int32), np.array([0, 3])), 3)
    >>> data = of_packed(rows)
    >>> data.query.features["segment"].tolist(), data.label.tolist()
    ([[1, 1, 0]], [[1.0, 1.0, 0.0]])
    """
    return _after_each(
        queries(history=rows.history, features={**(columns or {}), "segment": rows.segment}), rows
    )


def _after_each(query: Query, rows: Any) -> Batch:
    """The item after each event, of rows with `target` and `where`."""
    where = jnp.asarray(rows.where)
    return Batch(query, jnp.asarray(rows.target), where.astype(jnp.float32), where)


class HeldOut(NamedTuple):
    """What `evaluation.evaluate` takes of a split."""

    query: Query
    """The users of the test part; their histories are their items of the training part."""
    target: Int[Array, " U T"]
    """0 = padding; -1 = an item that the training part does not know, which is a miss."""
    exclude: Int[Array, " U S"]
    """The items of the training part, 0 = padding."""


def held_out(train: Interactions, test: Interactions) -> HeldOut:
    """The users of a test part, whose items are to be found among all but those that they had in training.

        train, test = split.share_ids(files.read("train.csv"), files.read("test.csv"))
        held = batches.held_out(train, test)
        evaluation.evaluate(model, variables, held.query, held.target, exclude=held.exclude, k=[20])

    Histories are in the order of time where the log has times, else of its rows.

    Raises:
      DataError: if the logs have different id maps, the test part is empty or has users that the maps do not
        know.

    >>> from rezoo.data.interactions import from_columns
    >>> log = from_columns({"user": [1, 1, 2, 1], "item": [5, 6, 7, 7]})
    >>> held = held_out(log.take(np.arange(3)), log.take(np.array([3])))
    >>> held.query.user.tolist(), held.target.tolist(), held.exclude.tolist()
    ([1], [[3]], [[1, 2]])
    """
    if train.users != test.users or train.items != test.items:
        raise DataError("the logs have different id maps: give them one by split.share_ids")
    if unknown := int((test.user == 0).sum()):
        raise DataError(
            f"{unknown:,} rows of the test part are of users that the id map does not know: take them out "
            "(test.take(test.user > 0)), or read both parts and give them one map by split.share_ids"
        )
    if not test.num_rows:
        raise DataError("the test part has no rows: there is nothing to be found")
    known = train if train.timestamp is None else train.sort_by_time()
    known = known.take(known.item > 0)
    users = np.unique(test.user)
    target, _ = padded(users, test.user, np.where(test.item > 0, test.item, -1))
    seen = jnp.asarray(padded(users, known.user, known.item)[0], jnp.int32)
    return HeldOut(queries(users, seen), jnp.asarray(target, jnp.int32), seen)


def by_user(
    rows: Columns | Interactions, history: Columns | None = None, *, growth: float = 1.3
) -> tuple[Batch, ...]:
    """One row per user, in buckets by length, for `training.bucketed`.

    Users have from a few to thousands of ratings. Padding all to the longest would waste most of the
    work, so each bucket is a `Batch` of its own shape: `history: [U L]`, `item: [U C]`.

    Args:
      rows: what is scored: the ratings to learn, or to predict; a log without ratings has 1 for each row.
      history: all items of each user, N(u); those of `rows` by default.
      growth: a bucket's longest row over its shortest. Closer to 1 wastes less on padding and
        compiles more shapes.

    Raises:
      ValueError: if `growth` is not above 1.
      DataError: if there are no rows, columns differ in length, an id is below 0, or a rating is NaN or
        infinite.

    >>> [bucket.item.tolist() for bucket in by_user(([1, 2, 2], [5, 6, 7], [1.0, 2.0, 3.0]))]
    [[[5]], [[6, 7]]]
    """
    if not growth > 1:
        raise ValueError(f"growth = {growth}: give a number above 1")
    if isinstance(rows, Interactions):
        rows = rows.user, rows.item, np.ones(rows.num_rows) if rows.rating is None else rows.rating
    for name, columns in (("rows", rows), ("history", history)):
        if columns is not None:
            _check_columns(name, columns)
    user, item, rating = (np.asarray(column) for column in rows)
    with np.errstate(over="ignore"):
        odd = ~np.isfinite(rating.astype(np.float32))
    if odd.any():
        row = int(odd.argmax())
        raise DataError(f"rows: the rating of row {row} is {rating[row]}: leave out rows without one")
    known = np.asarray(history[0] if history else user), np.asarray(history[1] if history else item)
    users, counts = np.unique(user, return_counts=True)
    longest = np.maximum(counts, np.bincount(known[0], minlength=users.max() + 1)[users])
    level = np.ceil(np.log(longest) / np.log(growth))

    def bucket(members: np.ndarray) -> Batch:
        items, where = padded(users[members], user, item)
        ratings, _ = padded(users[members], user, rating)
        seen = items if history is None else padded(users[members], *known)[0]
        query = queries(users[members], seen)
        label = jnp.asarray(ratings, jnp.float32)
        return Batch(query, jnp.asarray(items, jnp.int32), label, jnp.asarray(where))

    return tuple(bucket(level == value) for value in np.unique(level))


def _check_columns(name: str, columns: Columns) -> None:
    """Refuse parallel columns of different lengths, without rows, or with ids that are none."""
    sizes = [np.shape(column) for column in columns]
    if len(set(sizes)) > 1 or len(sizes[0]) != 1 or not sizes[0][0]:
        raise DataError(
            f"{name}: columns of the shapes {sizes} have not a user, an item and a rating for each row"
        )
    for what, ids in zip(("user", "item"), columns, strict=False):
        if np.min(int32_of(what, ids)) < 0:
            raise DataError(f"{name}: {what} has an id below 0")
