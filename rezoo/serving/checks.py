"""Whether all that is saved fits together, and its numbers are in range."""

from typing import Any

import jax
import numpy as np

from rezoo.errors import DataError
from rezoo.serving import event_columns
from rezoo.serving.bundle import SETS, Saved
from rezoo.serving.reads import rates_history, score


def check(saved: Saved) -> None:
    """Everything fits together, or it is said; last by one question to the model, which is not computed.

    Raises:
      DataError: if something does not.
    """
    clip: Any = saved.clip
    if clip is not None and not (isinstance(clip, tuple | list) and len(clip) == 2 and clip[0] < clip[1]):
        raise DataError(f"clip={clip}: the lowest prediction must be below the highest, of two")
    if not np.isfinite(saved.scale).all() or not saved.scale.factor:
        raise DataError(f"scale={saved.scale}: give a finite shift, and a finite factor that is not 0")
    _check_ids(saved)
    _check_variables(saved)
    for name in SETS[:2]:
        expected = getattr(saved.model, name, None)
        found = getattr(saved, name).rows
        if expected is not None and found and dict(expected) != found:
            raise DataError(f"{name} are {found}, but the model was trained on {dict(expected)}")
    sizes = _sizes(saved)
    _check_features(saved, sizes)
    _check_columns(saved, sizes)
    event_columns.check_features(saved)
    try:
        jax.eval_shape(lambda variables: score(saved, variables), saved.variables)
    except Exception as error:
        raise DataError(f"the variables do not fit {type(saved.model).__name__}: {error}") from error
    _check_past(saved)
    event_columns.check_history(saved)


def _check_ids(saved: Saved) -> None:
    """Raw ids are integers or text, which come back from a file as they were."""
    names = saved.items.names
    if names is not None and (names.shape != saved.items.raw.shape or names.dtype.kind != "U"):
        raise DataError(f"item names are {names.dtype} {list(names.shape)}: give a text for each item")
    told = {"users": saved.users.raw, "items": saved.items.raw}
    for name, raw in (told if names is None else told | {"item names": names}).items():
        if raw.ndim != 1 or (len(raw) and raw.dtype.kind not in "biuU"):
            raise DataError(f"{name} are {raw.dtype} {list(raw.shape)}: give ids [n], integers or text")
        if name != "item names" and len(np.unique(raw)) < len(raw):
            found, times = np.unique(raw, return_counts=True)
            raise DataError(f"{name} have {found[times.argmax()]} {times.max()} times: give each id once")
        codes = (
            np.ascontiguousarray(raw).view(np.uint32) if raw.dtype.kind == "U" and len(raw) else np.zeros(1)
        )
        if codes.max() > 0x10FFFF or ((codes >= 0xD800) & (codes < 0xE000)).any():
            raise DataError(f"some {name} cannot be written as text (a lone surrogate is in them)")
    rows = getattr(saved.model, "num_items", None) or _sizes(saved).get("item") or 0
    if rows > saved.items.size:
        raise DataError(f"the model has {rows} items, but there are ids for {saved.items.size}, 0 included")


def _check_variables(saved: Saved) -> None:
    """Leaves are arrays of numbers, which JAX has the same."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(saved.variables):
        array = np.asarray(leaf)
        if array.dtype.kind in "iu" and array.size:
            info = np.iinfo(jax.dtypes.canonicalize_dtype(array.dtype))
            if array.min() < info.min or array.max() > info.max:
                raise DataError(f"{jax.tree_util.keystr(path)} has integers beyond {info.dtype}")
        elif array.dtype.kind not in "biuf" and not jax.dtypes.issubdtype(array.dtype, np.floating):
            raise DataError(f"{jax.tree_util.keystr(path)} is of type {array.dtype}: give numbers")
        elif array.dtype.kind not in "biu" and np.isnan(array).any():
            raise DataError(f"{jax.tree_util.keystr(path)} has NaN: save a model whose training went well")


def _sizes(saved: Saved) -> dict[str, int | None]:
    """Rows of the model's table for each column, None for a number."""
    sizes = dict(getattr(saved.model, "sizes", {}))
    named = [dict(getattr(saved.model, name, {})) for name in SETS[:2]]
    return {column: rows for part in (*named, sizes) for column, rows in part.items()}


def _check_features(saved: Saved, sizes: dict[str, int | None]) -> None:
    """Each feature has as many values as the model has rows for it."""
    others = bool(getattr(saved.model, "sizes", {}))
    for name in SETS[:3]:
        for column, one in getattr(saved, name).fitted.items():
            rows = sizes.get(column, None if others else one.size)
            if one.size != rows:
                found, trained = (f"{n} rows" if n is not None else "no table" for n in (one.size, rows))
                raise DataError(
                    f"{name}: column {column!r} has {found}, but the model was trained with {trained}: "
                    "save the features that were fitted for its training"
                )


def _check_columns(saved: Saved, sizes: dict[str, int | None]) -> None:
    """Columns of users and items are those that their features make, and fit the model's tables."""
    for name, columns, ids, fitted in (
        ("user_columns", saved.user_columns, saved.users, saved.user_features.fitted),
        ("catalogue", saved.variables.get("catalogue", {}), saved.items, saved.item_features.fitted),
    ):
        for column, one in fitted.items():
            nobody, values = one.transform([None]), np.asarray(columns.get(column))
            if values.shape[1:] != nobody.shape[1:] or values.dtype.kind != nobody.dtype.kind:
                shape = ["n", *nobody.shape[1:]]
                raise DataError(
                    f"{name} must have {column!r} as its feature makes it, {nobody.dtype} {shape}"
                )
        for column, values in columns.items():
            _check_column(f"{name}: {column!r}", np.asarray(values), ids.size, sizes.get(column))


def _check_column(name: str, column: np.ndarray, ids: int, rows: int | None) -> None:
    """A value or a list of them for each id, finite and within the model's table."""
    if column.ndim not in (1, 2) or len(column) != ids:
        raise DataError(f"{name} {list(column.shape)} must have a row for each of {ids} ids, id 0 included")
    if column.dtype.kind not in "biuf":
        raise DataError(f"{name} is of type {column.dtype}: give the fitted features, integers or floats")
    if column.dtype.kind == "f":
        if not _finite(column):
            raise DataError(f"{name} has values that are not finite")
    elif column.size and (column.min() < 0 or (rows is not None and column.max() >= rows)):
        raise DataError(
            f"{name} has values {column.min()} … {column.max()}, but the model's table {rows} rows"
        )


def _check_past(saved: Saved) -> None:
    """Histories are of these users and items, and rated if the model reads ratings."""
    if saved.history is None:
        if saved.history_rating is not None:
            raise DataError("history_rating is of no history: give history too")
        return
    history, users, items = np.asarray(saved.history), saved.users.size, saved.items.size
    if history.ndim != 2 or len(history) != users or history.dtype.kind not in "iu":
        raise DataError(
            f"history is {history.dtype} {list(history.shape)}: give item ids [{users} L], id 0 included"
        )
    if history.size and (history.min() < 0 or history.max() >= items):
        raise DataError(f"history has ids {history.min()} … {history.max()} of {items} items, id 0 included")
    if (behind := ((history[:, 1:] > 0) & (history[:, :-1] == 0)).any(axis=1)).any():
        raise DataError(
            f"history: row {behind.argmax()} has an item behind a 0: pad at the end, as sessions.pad does"
        )
    if history[:1].any():
        raise DataError("history: row 0 is that of whoever is unknown, and has items: leave it empty")
    model, rates = type(saved.model).__name__, rates_history(saved)
    if saved.history_rating is None:
        if rates:
            raise DataError(
                f"{model} weighs each event by its rating: give history_rating, as it was in training "
                "(1 for every event, if there were no ratings)"
            )
    elif not rates:
        raise DataError(f"{model} does not read history_rating: leave it out")
    elif np.shape(saved.history_rating) != history.shape or not _finite(saved.history_rating):
        raise DataError(
            f"history_rating is {list(np.shape(saved.history_rating))} and history {list(history.shape)}: "
            "give one rating for each event, a finite number"
        )


def _finite(values: Any) -> bool:
    values = np.asarray(values)
    return values.dtype.kind in "biuf" and bool(np.isfinite(values).all())
