"""What a saved model reads of a question, told by tracing one; whether all that is saved fits together."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from rezoo.data.errors import DataError
from rezoo.types import Query

if TYPE_CHECKING:
    from rezoo.serving.saved import Saved

SETS = ("user_features", "item_features", "context_features")
"""The features of a question."""
PAST = {"history": np.int32, "history_rating": np.float32}
"""What is known of a user's past."""


def reads_history(saved: Saved) -> bool:
    """Whether the history of who asks enters the model's score: told by tracing it, not by its name."""
    return _enters(lambda history: _score(saved, history), jnp.zeros((1, 1), jnp.int32))


def reads_user(saved: Saved) -> bool:
    """Whether the id of who asks enters the model's score."""
    return _enters(lambda user: _score(saved, jnp.zeros((1, 1), jnp.int32), user), jnp.zeros(1, jnp.int32))


def rates_history(saved: Saved) -> bool:
    """Whether a rating for each event of the history does, `query.features["history_rating"]`."""
    try:
        return _enters(
            lambda rating: _score(saved, jnp.zeros((1, 1), jnp.int32), history_rating=rating),
            jnp.zeros((1, 1)),
        )
    except Exception:
        return False  # The model reads every column, and was not trained with this one.


def _enters(function: Callable[[Array], Array], x: Array) -> bool:
    jaxpr = jax.make_jaxpr(function)(x).jaxpr
    return any(one is jaxpr.invars[0] for equation in jaxpr.eqns for one in equation.invars)


def _score(saved: Saved, history: Array, user: Array | None = None, **features: Array) -> Any:
    """The model's answer to one question."""
    columns = {name: one.transform([None]) for name, one in saved.context_features.fitted.items()}
    columns |= {name: np.asarray(column)[:1] for name, column in saved.user_columns.items()}
    user = jnp.zeros(1, jnp.int32) if user is None else user
    query = Query(user, history, jax.tree.map(jnp.asarray, columns) | features)
    return saved.model.apply(saved.variables, query, jnp.zeros(1, jnp.int32))


def check(saved: Saved) -> None:
    """One question to the model, without computing it: everything fits together, or it is said."""
    if saved.clip is not None and not saved.clip[0] < saved.clip[1]:
        raise DataError(f"clip={saved.clip}: the lowest prediction must be below the highest")
    tables = {"user_columns": (saved.user_columns, saved.users)}
    tables["catalogue"] = (saved.variables.get("catalogue", {}), saved.items)
    for name, (columns, ids) in tables.items():
        for column, values in columns.items():
            if len(values) != ids.size:
                raise DataError(
                    f"{name} has {len(values)} rows of {column!r} for {ids.size} ids, id 0 included"
                )
    for name in SETS[:2]:
        expected = getattr(saved.model, name, None)
        found = {column: one.size for column, one in getattr(saved, name).fitted.items()}
        if expected is not None and found and dict(expected) != found:
            raise DataError(f"{name} are {found}, but the model was trained on {dict(expected)}")
    _check_sizes(saved)
    try:
        jax.eval_shape(lambda: _score(saved, jnp.zeros((1, 1), jnp.int32)))
    except Exception as error:
        raise DataError(f"the variables do not fit {type(saved.model).__name__}: {error}") from error
    _check_past(saved)


def _check_sizes(saved: Saved) -> None:
    """Each column has as many values as the model has rows for it."""
    sizes = dict(getattr(saved.model, "sizes", {}))
    named = [dict(getattr(saved.model, name, {})) for name in SETS[:2]]
    expected = {column: rows for part in (*named, sizes) for column, rows in part.items()}
    for name in SETS:
        for column, one in getattr(saved, name).fitted.items():
            rows = expected.get(column, None if sizes else one.size)
            if one.size != rows:
                found, trained = (f"{n} rows" if n is not None else "no table" for n in (one.size, rows))
                raise DataError(
                    f"{name}: column {column!r} has {found}, but the model was trained with {trained}: "
                    "save the features that were fitted for its training"
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
    model, rates = type(saved.model).__name__, rates_history(saved)
    if saved.history_rating is None:
        if rates:
            raise DataError(
                f"{model} weighs each event by its rating: give history_rating, as it was in training "
                "(1 for every event, if there were no ratings)"
            )
    elif not rates:
        raise DataError(f"{model} does not read history_rating: leave it out")
    elif np.shape(saved.history_rating) != history.shape:
        raise DataError(
            f"history_rating is {list(np.shape(saved.history_rating))} and history {list(history.shape)}: "
            "give one rating for each event"
        )
