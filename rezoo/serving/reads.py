"""What a saved model reads of a question, found by tracing one."""

from collections.abc import Callable
from typing import Any

import flax.errors
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from rezoo.serving.bundle import Saved
from rezoo.types import Query

NOBODY = np.zeros((1, 1), np.int32)
"""An empty history."""


def reads_history(saved: Saved) -> bool:
    """Whether the history of who asks enters the model's score: told by tracing it, not by its name.

    >>> from rezoo.data.ids import Ids
    >>> from rezoo.models import Popularity
    >>> variables = {"params": {"count": jnp.array([0.0, 3, 1])}}
    >>> shop = Saved(Popularity(3), variables, Ids(np.array(["ann"])), Ids(np.array(["hat", "tea"])))
    >>> reads_history(shop)
    False
    """
    return _enters(saved, lambda variables, history: score(saved, variables, history), NOBODY)


def reads_user(saved: Saved) -> bool:
    """Whether the id of who asks enters the model's score.

    >>> from rezoo.data.ids import Ids
    >>> from rezoo.models import Popularity
    >>> variables = {"params": {"count": jnp.array([0.0, 3, 1])}}
    >>> shop = Saved(Popularity(3), variables, Ids(np.array(["ann"])), Ids(np.array(["hat", "tea"])))
    >>> reads_user(shop)
    False
    """
    return _enters(saved, lambda variables, user: score(saved, variables, NOBODY, user), NOBODY[0])


def rates_history(saved: Saved) -> bool:
    """Whether a rating for each event of the history does, `query.features["history_rating"]`.

    >>> from rezoo.data.ids import Ids
    >>> from rezoo.models import Popularity
    >>> variables = {"params": {"count": jnp.array([0.0, 3, 1])}}
    >>> shop = Saved(Popularity(3), variables, Ids(np.array(["ann"])), Ids(np.array(["hat", "tea"])))
    >>> rates_history(shop)
    False
    """
    try:
        return _enters(
            saved,
            lambda variables, rating: score(saved, variables, NOBODY, history_rating=rating),
            NOBODY.astype(np.float32),
        )
    except (flax.errors.ScopeParamNotFoundError, flax.errors.ScopeParamShapeError):
        return False  # The model reads every column, and was not trained with this one.


def _enters(saved: Saved, function: Callable[[Any, Array], Array], x: np.ndarray) -> bool:
    jaxpr = jax.make_jaxpr(function)(saved.variables, x).jaxpr
    return any(one is jaxpr.invars[-1] for equation in jaxpr.eqns for one in equation.invars)


def score(saved: Saved, variables: Any, history: Any, user: Any = NOBODY[0], **features: Array) -> Any:
    """The model's answer to one question.

    >>> from rezoo.data.ids import Ids
    >>> from rezoo.models import Popularity
    >>> variables = {"params": {"count": jnp.array([0.0, 3, 1])}}
    >>> shop = Saved(Popularity(3), variables, Ids(np.array(["ann"])), Ids(np.array(["hat", "tea"])))
    >>> score(shop, variables, NOBODY).tolist()  # of item 0
    [0.0]
    """
    columns = {name: one.transform([None]) for name, one in saved.context_features.fitted.items()}
    columns |= {name: np.asarray(column)[:1] for name, column in saved.user_columns.items()}
    query = Query(jnp.asarray(user), jnp.asarray(history), jax.tree.map(jnp.asarray, columns) | features)
    return saved.model.apply(variables, query, jnp.zeros(1, jnp.int32))
