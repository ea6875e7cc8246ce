"""BiasedMF on a fold of ratings, λ chosen on a tenth of the training part."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from protocols.ratings import Fold, pairs, squared_error
from rezoo import losses, objectives, training
from rezoo.data.interactions import Interactions
from rezoo.models.factorization import BiasedMF
from rezoo.studies.sweep import keys, study


class Settings(NamedTuple):
    """The settings for a data set; λ is chosen among `l2` in each fold."""

    dim: int
    rate: float
    l2: tuple[float, ...]
    batch_size: int
    num_epochs: int
    published: dict[str, float]


SETTINGS = {
    "ml-100k": Settings(64, 0.004, (0.10, 0.12, 0.14), 1024, 40, {"Biases": 0.944, "BiasedMF": 0.934}),
    "ml-1m": Settings(64, 0.004, (0.05, 0.06, 0.07), 8192, 20, {"Biases": 0.909, "BiasedMF": 0.873}),
    "synthetic": Settings(8, 0.02, (0.02, 0.2), 256, 10, {}),
}


def trainer(train: Interactions, test: Interactions, at: Settings) -> Callable[..., jax.Array]:
    """`(key, l2) -> RMSE on test` of one fit to `train`."""
    data, asked = pairs(train), pairs(test)
    model = BiasedMF(train.num_users, train.num_items, at.dim, mean=float(data.label.mean()))
    steps = at.num_epochs * training.num_steps(train.num_rows, at.batch_size)

    def fit(key: jax.Array, l2: jax.Array) -> jax.Array:
        optimizer = optax.adam(optax.linear_schedule(at.rate, 0.0, steps))
        weight = {"user": l2, "item": l2, "user_bias": 0.02, "item_bias": 0.02}
        objective = objectives.l2(objectives.pointwise(model, losses.squared), weight)
        step = training.make_step(objective, optimizer)
        state = training.init_state(key, model, optimizer, data)
        state, _ = training.fit(step, state, data, num_epochs=at.num_epochs, batch_size=at.batch_size)
        score = jnp.asarray(model.apply(state.variables, asked.query, asked.item))
        return jnp.sqrt(squared_error(score, asked) / test.num_rows)

    return fit


def tuned(fold: Fold, at: Settings, seeds: int) -> tuple[list[float], float]:
    """(RMSE on the test fold of every seed, the λ chosen)."""
    scores = study(trainer(fold.rest, fold.valid, at), keys(1), {"l2": jnp.array(at.l2)})
    l2 = at.l2[int(np.nanargmin(scores[:, 0]))]
    test = study(trainer(fold.train, fold.test, at), keys(seeds), {"l2": jnp.array([l2])})
    return test[0].tolist(), l2
