"""Questions in raw ids as queries of dense ones, and what is unknown of them."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rezoo.arrays import offsets_of
from rezoo.data.columns import NUMBERS, plain
from rezoo.data.ids import Ids
from rezoo.data.sessions import Sessions, pad
from rezoo.errors import DataError
from rezoo.nn.events import kinds
from rezoo.serving import event_columns
from rezoo.serving.bundle import Saved
from rezoo.serving.reads import rates_history, reads_history, reads_user
from rezoo.serving.unknown import ALL_KNOWN, Strangers, Unknown, strangers
from rezoo.types import Query


class Past(NamedTuple):
    """One history for each of B who ask."""

    items: np.ndarray
    """int32 `[B L]`, padded with 0 at the end."""
    columns: dict[str, np.ndarray]
    """Of each event, as in training, `[B L …]`: `history_rating`, and what else the model reads."""
    unknown: Strangers = ALL_KNOWN
    """Items that are left out."""


def raw_ids(name: str, given: Any) -> np.ndarray:
    """A column of raw ids, `[n]`.

    Raises:
      DataError: if it has another shape.

    >>> raw_ids("users", np.array([["ann"]]))
    Traceback (most recent call last):
    rezoo.errors.DataError: users have the shape [1, 1]: give one id for each row
    """
    ids = plain(given)
    if ids.ndim != 1:
        raise DataError(f"{name} have the shape {list(ids.shape)}: give one id for each row")
    return ids


def by_name(name: str, given: Any) -> dict[str, Any]:
    """Columns by name, of a question; none if they are not given.

    Raises:
      DataError: if they have no names.

    >>> by_name("columns", [[5]])
    Traceback (most recent call last):
    rezoo.errors.DataError: columns are a list: give them by name, such as {'age': […]}
    """
    if given is not None and not isinstance(given, Mapping):
        raise DataError(f"{name} are a {type(given).__name__}: give them by name, such as {{'age': […]}}")
    return dict(given or {})


def dense_ids(before: Ids, after: Ids, raw: np.ndarray) -> np.ndarray:
    """Dense ids by a map that was made longer, those known before as they were spelt then."""
    dense = before.encode(raw)
    new = dense == 0
    if new.any() and after is not before:
        dense[new] = after.encode(raw[new])
    return dense


def queries(
    saved: Saved,
    users: np.ndarray,
    dense: np.ndarray,
    columns: Mapping[str, Any],
    histories: Any,
    ratings: Any,
    events: Mapping[str, Any] | None = None,
) -> tuple[Any, Callable[[Any], Query], Unknown]:
    """What stands in each row, what makes queries of some of the rows, and what is unknown of them.

    Histories are looked up as late as that: a user's is long, and may be asked for in many rows.
    """
    known = {name: column[dense] for name, column in saved.user_columns.items()}
    context = saved.context_features.transform(columns)
    history, told, whose, left_out = _past(saved, dense, histories, ratings, events)
    unknown = _unknown(saved, users, dense, history if histories is not None else None, left_out)
    asked, history, told = jax.tree.map(jnp.asarray, ((dense, whose, {**known, **context}), history, told))
    return asked, jax.tree_util.Partial(_query, history, told), unknown


def _query(history: Any, told: Mapping[str, Any], rows: Any) -> Query:
    user, whose, features = rows
    return Query(user, history[whose], features | {name: one[whose] for name, one in told.items()})


def _unknown(
    saved: Saved, users: np.ndarray, dense: np.ndarray, history: np.ndarray | None, left_out: Strangers
) -> Unknown:
    """Users and items of histories that are unknown, as far as the model reads them."""
    nobody = dense == 0
    if not nobody.any() and not left_out.raw:
        return Unknown()
    past_counts = reads_history(saved)
    if history is None:
        user_counts = bool(saved.user_columns) or past_counts or reads_user(saved)
    else:
        user_counts = bool(saved.user_columns) or reads_user(saved)
        if past_counts:
            nobody &= ~(history > 0).any(axis=1)  # others are placed by their history
    return Unknown(
        users=strangers(users, dense, nobody) if user_counts and nobody.any() else ALL_KNOWN,
        history=left_out if past_counts else ALL_KNOWN,
    )


def _past(
    saved: Saved, dense: np.ndarray, histories: Any, ratings: Any, events: Mapping[str, Any] | None
) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray, Strangers]:
    """Histories, what the model reads of their events, which of them is each row's, and what is unknown."""
    model, each = type(saved.model).__name__, np.arange(len(dense))
    if histories is not None:
        lists = lists_of("items", histories, len(dense))
        past = of_lists(saved.items, lists, len(dense), _told(saved, lists, ratings, events))
        return past.items, past.columns, each, past.unknown
    if ratings is not None or events is not None:
        what = "events" if ratings is None else "ratings"
        raise DataError(f"{what} are of no histories: give histories=[[…], …] too")
    if saved.history is None:
        if reads_history(saved):
            raise DataError(
                f"{model} reads a history, and there is none: give histories=[[…], …] (in a table a column "
                "history, such as 20|30), or save the users' with Saved(…, history=…)"
            )
        return (
            np.zeros((len(dense), 0), np.int32),
            event_columns.nothing(saved, len(dense), 0),
            each,
            ALL_KNOWN,
        )
    rated = {} if saved.history_rating is None else {"history_rating": saved.history_rating}
    return saved.history, rated | dict(saved.history_columns), dense, ALL_KNOWN


def _told(
    saved: Saved, histories: list[Any], ratings: Any, events: Mapping[str, Any] | None
) -> dict[str, np.ndarray]:
    """What the model reads of the events of some histories beside their items, one after the other."""
    model, told = type(saved.model).__name__, {}
    events = by_name("events", events)
    given = ({} if ratings is None else {"ratings": ratings}) | events
    for name, lists in given.items():
        given[name] = lists_of(name, lists, len(histories))
        if list(map(len, given[name])) != list(map(len, histories)):
            raise DataError(f"{name} must be as many as the histories, and each as long as its history")
    flat = {name: list(chain.from_iterable(lists)) for name, lists in given.items()}
    if missing := [name for name in kinds(saved.model) if name not in events]:
        raise DataError(
            f"{model} reads the columns {', '.join(missing)} of each event: give lists of them beside the "
            f"histories, events={{{missing[0]!r}: [[…], …]}}, with None for what is unknown"
        )
    if any(flat[name] for name in kinds(saved.model)):
        told = event_columns.transformed(saved, flat)
    elif kinds(saved.model):
        told = {name: one[0] for name, one in event_columns.nothing(saved, 1, 0).items()}
    if rates_history(saved):
        if ratings is None:
            raise DataError(
                f"{model} weighs each event by its rating: give ratings=[[…], …] beside the histories "
                "(in a table the column history_rating), as in training"
            )
        told["history_rating"] = stars(flat["ratings"])
    return told


def stars(ratings: Sequence[Any]) -> np.ndarray:
    """Ratings of events as finite numbers, float32.

    Raises:
      DataError: if one is none.

    >>> stars([5, 3.5]).tolist()
    [5.0, 3.5]
    """
    for one in ratings:
        if not isinstance(one, NUMBERS) or not abs(float(one)) <= float(np.finfo(np.float32).max):
            raise DataError(f"ratings: {one!r} is not a finite number: leave out an event without a rating")
    return np.array(ratings, np.float32)


def lists_of(name: str, given: Iterable[Any], count: int) -> list[Any]:
    """A list for each of `count` rows, whatever holds them.

    Raises:
      DataError: if there are not so many, or one is none.

    >>> lists_of("items", ["ab"], 1)
    Traceback (most recent call last):
    rezoo.errors.DataError: a list of items is a text: give lists of ids, such as ['a', 'b'] for 'a|b'
    >>> lists_of("ratings", [[5], None], 2)
    Traceback (most recent call last):
    rezoo.errors.DataError: ratings: None, of row 2, is not a list: give a list for each row
    """
    lists = [] if isinstance(given, Mapping) else list(given)
    if isinstance(given, str | bytes) or any(isinstance(one, str | bytes) for one in lists):
        what = "ids" if name == "items" else "values"
        raise DataError(f"a list of {name} is a text: give lists of {what}, such as ['a', 'b'] for 'a|b'")
    if len(lists) != count:
        raise DataError(f"there are {count} users and {len(lists)} lists of {name}: give one to each")
    for row, one in enumerate(lists, 1):
        if not isinstance(one, Collection) or isinstance(one, Mapping) or getattr(one, "ndim", 1) != 1:
            raise DataError(f"{name}: {one!r}, of row {row}, is not a list: give a list for each row")
    return lists


def of_lists(
    ids: Ids,
    lists: Sequence[Sequence[Any] | np.ndarray] | None,
    count: int,
    columns: Mapping[str, np.ndarray] | None = None,
) -> Past:
    """Raw ids as dense ones; those that are unknown are left out, with what `columns` have of them, `[m …]`.

    Raises:
      DataError: as `lists_of`.
    """
    lists = [[]] * count if lists is None else lists_of("items", lists, count)
    lengths = np.array(list(map(len, lists)), np.int64)
    raw = list(chain.from_iterable(lists))
    dense = ids.encode(raw) if raw else np.zeros(0, np.int32)
    known = dense > 0
    row = np.repeat(np.arange(count), lengths)
    kept = {name: column[known] for name, column in (columns or {}).items()}
    made = Sessions(dense[known], offsets_of(np.bincount(row[known], minlength=count)), columns=kept)
    width = max(1, int(made.lengths.max(initial=0)))
    padded = {name: pad(made, width, name) for name in kept}
    return Past(pad(made, width), padded, strangers(raw, dense, ~known))
