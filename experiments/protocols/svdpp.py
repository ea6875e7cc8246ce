"""SVD++ on a fold of ratings, the strength of all λ chosen on a tenth of the training part."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from protocols.ratings import Fold, columns, squared_error
from rezoo import losses, objectives, training
from rezoo.data import batches
from rezoo.data.interactions import Interactions
from rezoo.models.factorization import SVDpp
from rezoo.studies.sweep import keys
from rezoo.training import bucketed
from rezoo.types import Batch

STRENGTHS = (0.85, 1.0, 1.2)
"""Candidates for the factor before all λ."""


class Settings(NamedTuple):
    """The settings for a data set."""

    dim: int
    rate: float
    l2: dict[str, float]
    ratings_per_batch: int
    num_epochs: int
    published: float | None
    growth: float = 1.5
    """Of the length buckets: closer to 1 wastes less on padding and takes longer to compile."""


def weights(
    user: float, item: float, implicit: float, user_bias: float, item_bias: float
) -> dict[str, float]:
    """λ by table: of all but `implicit` for each rating, of that for each user and item in N(u)."""
    return dict(user=user, item=item, implicit=implicit, user_bias=user_bias, item_bias=item_bias)


SETTINGS = {
    "ml-100k": Settings(64, 0.02, weights(0.1, 0.2, 1.0, 0.01, 0.15), 2048, 100, 0.919),
    "ml-1m": Settings(64, 0.01, weights(0.07, 0.09, 0.6, 0.01, 0.1), 16384, 30, 0.862),
    "synthetic": Settings(8, 0.05, weights(0.02, 0.02, 0.1, 0.02, 0.02), 512, 10, None, 4.0),
}


def trainer(train: Interactions, test: Interactions, at: Settings) -> Callable[..., jax.Array]:
    """`(key, strength) -> RMSE on test` of one fit to `train`."""
    known, asked = columns(train), columns(test)
    data = batches.by_user(known, growth=at.growth)
    held_out = batches.by_user(asked, known, growth=at.growth**2)
    model = SVDpp(train.num_users, train.num_items, at.dim, mean=float(np.mean(known[2])))
    steps = at.num_epochs * bucketed.num_steps(data, at.ratings_per_batch)

    def fit(key: jax.Array, strength: jax.Array) -> jax.Array:
        optimizer = optax.adam(optax.linear_schedule(at.rate, 0.0, steps))
        weight = {table: strength * value for table, value in at.l2.items()}
        objective = objectives.l2(objectives.pointwise(model, losses.squared), weight)
        step = training.make_step(objective, optimizer)
        state = training.init_state(key, model, optimizer, data[0])
        state, _ = bucketed.fit(
            step, state, data, num_epochs=at.num_epochs, ratings_per_batch=at.ratings_per_batch
        )

        def error(bucket: Batch) -> jax.Array:
            score = jnp.asarray(model.apply(state.variables, bucket.query, bucket.item))
            return squared_error(score, bucket)

        return jnp.sqrt(sum(map(error, held_out)) / test.num_rows)

    return jax.jit(fit)


def tuned(fold: Fold, at: Settings, seeds: int) -> tuple[list[float], float]:
    """(RMSE on the test fold of every seed, the strength chosen)."""
    valid = trainer(fold.rest, fold.valid, at)
    strength = min(STRENGTHS, key=lambda strength: float(valid(jax.random.key(0), strength)))
    test = trainer(fold.train, fold.test, at)
    return [float(test(key, strength)) for key in keys(seeds)], strength
