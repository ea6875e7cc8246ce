"""What a saved model reads of a question, found by tracing one."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.errors
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from rezoo.evaluation.scoring import ByIdentity
from rezoo.nn.features import OtherColumns
from rezoo.serving import event_columns
from rezoo.serving.bundle import Saved
from rezoo.types import Query


def reads_history(saved: Saved) -> bool:
    """Whether the history of who asks enters the model's score: told by tracing it, not by its name.

    >>> from rezoo.data.ids import Ids
    >>> from rezoo.models import Popularity
    >>> variables = {"params": {"count": jnp.array([0.0, 3, 1])}}
    >>> shop = Saved(Popularity(3), variables, Ids(np.array(["ann"])), Ids(np.array(["hat", "tea"])))
    >>> reads_history(shop)
    False
    """
    return _enters(saved, lambda query: query.history)


def reads_user(saved: Saved) -> bool:
    """Whether the id of who asks enters the model's score.

    >>> from rezoo.data.ids import Ids
    >>> from rezoo.models import Popularity
    >>> variables = {"params": {"count": jnp.array([0.0, 3, 1])}}
    >>> shop = Saved(Popularity(3), variables, Ids(np.array(["ann"])), Ids(np.array(["hat", "tea"])))
    >>> reads_user(shop)
    False
    """
    return _enters(saved, lambda query: query.user)


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
        rating = jnp.zeros((1, 1))
        return _enters(saved, lambda query: query.features["history_rating"], history_rating=rating)
    except (OtherColumns, flax.errors.ScopeParamNotFoundError, flax.errors.ScopeParamShapeError):
        return False  # The model reads every column, and was not trained with this one.


def score(saved: Saved, variables: Any) -> Any:
    """The model's answer to one question: nobody's, of item 0.

    >>> from rezoo.data.ids import Ids
    >>> from rezoo.models import Popularity
    >>> variables = {"params": {"count": jnp.array([0.0, 3, 1])}}
    >>> shop = Saved(Popularity(3), variables, Ids(np.array(["ann"])), Ids(np.array(["hat", "tea"])))
    >>> score(shop, variables).tolist()
    [0.0]
    """
    return _score(ByIdentity(saved.model), variables, question(saved))


def _enters(saved: Saved, column: Callable[[Query], Array], **features: Array) -> bool:
    query = question(saved, **features)
    place = next(
        n for n, leaf in enumerate(jax.tree.leaves((saved.variables, query))) if leaf is column(query)
    )
    jaxpr = _score.trace(ByIdentity(saved.model), saved.variables, query).jaxpr.jaxpr
    return any(one is jaxpr.invars[place] for equation in jaxpr.eqns for one in equation.invars)


@partial(jax.jit, static_argnums=0)  # so that it is traced once for each model and kind of question
def _score(one: ByIdentity, variables: Any, query: Query) -> Array:
    return one.model.apply(variables, query, jnp.zeros(1, jnp.int32))  # pyright: ignore[reportReturnType]


def question(saved: Saved, **features: Array) -> Query:
    """A query of nobody, with the columns of the saved model's users, context and events, and these.

    >>> from rezoo.data.ids import Ids
    >>> from rezoo.models import Popularity
    >>> variables = {"params": {"count": jnp.array([0.0, 3, 1])}}
    >>> shop = Saved(Popularity(3), variables, Ids(np.array(["ann"])), Ids(np.array(["hat", "tea"])))
    >>> question(shop).history.tolist()
    [[0]]
    """
    columns = {name: one.transform([None]) for name, one in saved.context_features.fitted.items()}
    columns |= {name: np.asarray(column)[:1] for name, column in saved.user_columns.items()}
    columns |= event_columns.nothing(saved, 1, 1)
    columns = jax.tree.map(jnp.asarray, columns)
    return Query(jnp.zeros(1, jnp.int32), jnp.zeros((1, 1), jnp.int32), columns | features)
