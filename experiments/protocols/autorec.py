"""I-AutoRec and U-AutoRec fitted to star ratings, and their RMSE."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from protocols.ratings import columns
from rezoo import evaluation, losses, metrics, objectives, training
from rezoo.data import batches
from rezoo.data.interactions import Interactions
from rezoo.models import IAutoRec, UAutoRec
from rezoo.models.rating.autorec import ratings_of
from rezoo.types import Batch, Query, TrainState, Variables

Columns = tuple[np.ndarray, np.ndarray, np.ndarray]


class Settings(NamedTuple):
    """The settings of a model."""

    dim: int
    rate: float
    l2: float
    batch_size: int
    num_epochs: int
    published: float | None
    dropout: float = 0.0
    centred: bool = False
    """Whether the mean is subtracted from the input ratings."""


SMOKE = Settings(16, 1e-2, 1e-4, 32, 20, None)


def fitter(train: Columns, shape: tuple[int, int], at: Settings) -> Callable[[jax.Array], Variables]:
    """`key -> the variables of U-AutoRec`, each of whose rows is completed from its observed ratings.

    Args:
      train: row, column, rating.
      shape: rows and columns, id 0 included.
      at: settings.
    """
    ids, rating = ratings_of(*train, shape[0])
    mean = float(train[2].mean())
    some = np.flatnonzero(np.asarray((ids > 0).any(axis=1)))
    row = jnp.arange(shape[0], dtype=jnp.int32)
    query = batches.queries(row, ids, {"history_rating": entering(ids, rating, mean, at)})
    data = Batch(query, ids, rating, ids > 0)
    data = jax.tree.map(lambda column: column[some], data)
    model = UAutoRec(shape[1], at.dim, mean=mean, dropout=at.dropout)
    steps = at.num_epochs * training.num_steps(len(some), at.batch_size)
    optimizer = optax.chain(
        optax.add_decayed_weights(at.l2, weights), optax.adam(optax.linear_schedule(at.rate, 0.0, steps))
    )
    step = training.make_step(objectives.pointwise(model, losses.squared), optimizer)

    @jax.jit
    def run(state: TrainState, data: Batch) -> TrainState:
        return training.fit(step, state, data, num_epochs=at.num_epochs, batch_size=at.batch_size)[0]

    return lambda key: run(training.init_state(key, model, optimizer, data), data).variables


def entering(ids: jax.Array, rating: jax.Array, mean: float, at: Settings) -> jax.Array:
    """What the encoder is given for the ratings of `ids`, 0 = padding."""
    return jnp.where(ids > 0, rating - mean, 0.0) if at.centred else rating


def weights(params: dict) -> dict:
    """What the penalty is on: W and V, not the biases."""
    tables = {"encoder", "decoder"}
    return {name: jax.tree.map(lambda _, on=name in tables: on, branch) for name, branch in params.items()}


def forecaster(
    name: str, train: Interactions, test: Interactions, at: Settings
) -> Callable[[jax.Array], jax.Array]:
    """`key -> what a fit to the training part gives for the rows of the test part`, not clipped."""
    user, item, rating = columns(train)
    mean, users, items = float(rating.mean()), train.num_users, train.num_items
    everyone = jnp.arange(users, dtype=jnp.int32)
    if name == "IAutoRec":
        model = IAutoRec(users, at.dim, mean=mean)
        rater, rated = ratings_of(item, user, rating, items)
        fit = fitter((item, user, rating), (items, users), at)
        constants = {"catalogue": {"rater": rater, "rating": entering(rater, rated, mean, at)}}
        query = batches.queries(everyone)
    else:
        model = UAutoRec(items, at.dim, mean=mean)
        history, rated = ratings_of(user, item, rating, users)
        fit, constants = fitter((user, item, rating), (users, items), at), {}
        query = batches.queries(everyone, history, {"history_rating": entering(history, rated, mean, at)})

    @jax.jit
    def whole(variables: Variables, query: Query) -> jax.Array:
        return jnp.asarray(evaluation.score_all(model, variables, query))

    asked = jnp.asarray(test.user), jnp.asarray(test.item)
    return lambda key: whole({**fit(key), **constants}, query)[asked]


def rmse(score: jax.Array, test: Interactions) -> float:
    """RMSE of scores clipped to the scale."""
    return float(metrics.rmse(jnp.clip(score, 1, 5), jnp.asarray(columns(test)[2])))
