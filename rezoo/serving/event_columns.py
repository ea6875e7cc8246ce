"""Columns of events, such as their type and time, of a saved model: from raw values to what the model reads.

    shop = Saved(model, variables, users, items, event_features=kinds,
                 history=history, history_columns={"type": …, "time": …})
    recommend(shop, ["ann"], histories=[["hat"]], events={"type": [["view"]], "time": [[1_714_557_600]]})

A column of times (`nn.events.TimeGap`) is seconds since 1970, and needs no fitted feature; each other one is
made by that of its name in `event_features`, for which a value that training did not know is unknown.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from rezoo.data.fitted import described
from rezoo.errors import DataError
from rezoo.nn import events
from rezoo.serving.bundle import Saved


def times(saved: Saved) -> list[str]:
    """The columns of times that the model reads.

    >>> from rezoo.data.ids import Ids
    >>> from rezoo.models import HSTU
    >>> times(Saved(HSTU(2, time="when"), {}, Ids(np.array(["ann"])), Ids(np.array(["hat"]))))
    ['when']
    """
    return [name for name, kind in events.kinds(saved.model).items() if callable(kind)]


def transformed(saved: Saved, raw: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The columns that the model reads of some events, `[n …]`; None is unknown, further columns are ignored.

    Raises:
      DataError: if a column is missing or of another type than in training, or a time is none.

    >>> from rezoo.data.features import Categorical, fit
    >>> from rezoo.data.ids import Ids
    >>> from rezoo.models import GRU4Rec
    >>> kinds, ids = fit({"type": Categorical()}, {"type": ["buy", "view"]}), Ids(np.array(["hat"]))
    >>> shop = Saved(GRU4Rec(2, event_features={"type": 3}), {}, ids, ids, event_features=kinds)
    >>> transformed(shop, {"type": ["view", "rent"]})["type"].tolist()
    [2, 0]
    """
    found = saved.event_features.transform(raw)
    for name in times(saved):
        if name not in raw:
            raise DataError(f"there is no column {name!r}; there are {', '.join(raw) or 'none'}")
        found[name] = _seconds(name, raw[name])
    return found


def nothing(saved: Saved, rows: int, length: int) -> dict[str, np.ndarray]:
    """The columns of `length` events each of which nothing is known.

    >>> from rezoo.data.ids import Ids
    >>> from rezoo.models import HSTU
    >>> users, items = Ids(np.array(["ann"])), Ids(np.array(["hat"]))
    >>> nothing(Saved(HSTU(2, time="when"), {}, users, items), 1, 3)["when"].tolist()
    [[0, 0, 0]]
    """
    one = transformed(saved, {name: [None] for name in events.kinds(saved.model)})
    return {name: np.zeros((rows, length, *x.shape[1:]), x.dtype) for name, x in one.items()}


def check_features(saved: Saved) -> None:
    """That the features of events are those that the model reads.

    Raises:
      DataError: if they are not.

    >>> from rezoo.data.ids import Ids
    >>> from rezoo.models import GRU4Rec
    >>> users, items = Ids(np.array(["ann"])), Ids(np.array(["hat"]))
    >>> check_features(Saved(GRU4Rec(2, event_features={"type": 3}), {}, users, items))
    Traceback (most recent call last):
    rezoo.errors.DataError: event_features are {}, but GRU4Rec was trained on {'type': 3}: save what made ...
    """
    model, trained = type(saved.model).__name__, _trained(saved)
    found = saved.event_features.rows
    if found != trained:
        raise DataError(
            f"event_features are {found}, but {model} was trained on {trained}: save what made its columns"
        )


def check_history(saved: Saved) -> None:
    """That the columns of the saved histories, which are checked themselves, are those that the model reads.

    Raises:
      DataError: if they are not.

    >>> from rezoo.data.ids import Ids
    >>> from rezoo.models import HSTU
    >>> users, items = Ids(np.array(["ann"])), Ids(np.array(["hat"]))
    >>> past = {"history": np.array([[0], [1]]), "history_columns": {"when": np.array([[0], [60]])}}
    >>> check_history(Saved(HSTU(2, time="when"), {}, users, items, **past))
    """
    columns, history = saved.history_columns, saved.history
    model, trained = type(saved.model).__name__, _trained(saved)
    wanted = set() if history is None else set(events.names(saved.model))
    if set(columns) != wanted:
        raise DataError(
            f"history_columns are {sorted(columns)}, but {model} reads {sorted(wanted)} of each event of the "
            "saved history: give these, as they were in training, 0 where they are unknown"
        )
    for name, like in nothing(saved, *history.shape[:2]).items() if history is not None else ():
        column = np.asarray(columns[name])
        if column.shape != like.shape or (name in trained and column.dtype.kind != like.dtype.kind):
            raise DataError(
                f"history_columns: {name!r} is {column.dtype} {list(column.shape)}: give {like.dtype} "
                f"{list(like.shape)}, a value for each event of history"
            )
        if column.dtype.kind not in "iuf" or (column.dtype.kind == "f" and not np.isfinite(column).all()):
            raise DataError(f"history_columns: {name!r} has values that are not finite numbers")
        if name in times(saved):
            _seconds(name, column.ravel())


def check_shared(first: Saved, second: Saved) -> None:
    """That a second model reads no columns of events but those of a first, so that both have the same query.

    Raises:
      DataError: if it reads another one, or one that was fitted to other values.

    >>> from rezoo.data.ids import Ids
    >>> from rezoo.models import HSTU, Popularity
    >>> users, items = Ids(np.array(["ann"])), Ids(np.array(["hat"]))
    >>> when, none = (Saved(one, {}, users, items) for one in (HSTU(2, time="when"), Popularity(2)))
    >>> check_shared(when, none), check_shared(when, when)
    (None, None)
    """
    for name in events.names(second.model):
        made = [
            {"time": True} if name in times(one) else described(one.event_features.fitted[name], name)
            for one in (first, second)
            if name in events.names(one.model)
        ]
        if len(made) < 2 or made[0] != made[1]:
            how = "does not read" if len(made) < 2 else "reads by features that were fitted otherwise"
            raise DataError(
                f"{type(second.model).__name__} orders what {type(first.model).__name__} chooses, and reads "
                f"the column {name!r} of each event, which that {how}: train both on the same columns, or "
                "the second without it"
            )


def _trained(saved: Saved) -> dict[str, Any]:
    """The columns that fitted features make, and the rows of the model's table for each."""
    return {name: kind for name, kind in events.kinds(saved.model).items() if not callable(kind)}


def _seconds(name: str, raw: Iterable[Any]) -> np.ndarray:
    """Times as whole seconds; 0 where there is none, or NaN."""
    try:
        if getattr(raw, "dtype", np.dtype(float)).kind in "mM":  # days and hours would be counts of them
            raise TypeError
        values = np.array([0 if one is None or one != one else one for one in raw], float)
    except (TypeError, ValueError):
        values = np.array([np.nan])
    limits = np.iinfo(np.int32)
    if not ((values >= limits.min) & (values <= limits.max)).all():
        raise DataError(
            f"column {name!r} has times that are not seconds since 1970: give numbers up to {limits.max}"
        )
    return np.floor(values).astype(np.int32)
