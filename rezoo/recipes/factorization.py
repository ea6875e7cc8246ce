"""Recipes of factorization and linear models: of events, and of ratings."""

from functools import partial
from typing import Any

import jax
import numpy as np
import optax

from rezoo import losses, objectives, training
from rezoo.arrays import at_least_0, whole_at_least_0
from rezoo.data import batches
from rezoo.data.interactions import Interactions
from rezoo.errors import DataError
from rezoo.models import EASE, IALS, MF, BiasedMF, ItemKNN, SVDpp
from rezoo.models.factorization import ease as closed_form
from rezoo.models.factorization import ials as alternating_least_squares
from rezoo.models.factorization import item_knn as nearest
from rezoo.recipes.fitting import batch, checked, is_large, past, repeat, train, unbought
from rezoo.serving.bundle import Saved
from rezoo.training import bucketed


def item_knn(log: Interactions, key: jax.Array, *, neighbours: int = 100, length: int = 200) -> Saved:
    """Items that the same customers bought, by the cosine of the items (`models.factorization.item_knn`)."""
    history = past(log, length)
    variables = nearest.fit(history[1:], log.num_items, neighbours=neighbours)
    return Saved(ItemKNN(log.num_items), variables, log.users, log.items, history=history)


def ease(log: Interactions, key: jax.Array, *, l2: float = 500.0, length: int = 200) -> Saved:
    """A linear model of all pairs of items, in closed form; holds N × N numbers for N items."""
    history = past(log, length)
    variables = closed_form.fit(history[1:], log.num_items, l2=l2)
    return Saved(EASE(log.num_items), variables, log.users, log.items, history=history)


def ials(log: Interactions, key: jax.Array, *, dim: int = 64, num_epochs: int = 16) -> Saved:
    """Matrix factorization of all pairs of a customer and an item, by alternating least squares."""
    sizes = checked(log).num_users, log.num_items, dim
    variables = alternating_least_squares.fit(key, log.user, log.item, *sizes, num_epochs=num_epochs)
    return Saved(IALS(*sizes), variables, log.users, log.items)


def bpr(
    log: Interactions,
    key: jax.Array,
    *,
    dim: int = 64,
    num_epochs: int = 20,
    rate: float = 2e-3,
    l2: float = 2e-3,
    **run: Any,
) -> Saved:
    """Matrix factorization that ranks what a customer bought above what they did not (BPR)."""
    model = MF(checked(log).num_users, log.num_items, dim)
    objective = objectives.l2(objectives.sampled(model, losses.bpr, unbought(log), 2), l2)
    data, how = batches.pairs(log.user, log.item), dict(rate=rate, num_epochs=num_epochs)
    variables = train(key, model, objective, data, **how, by_row=is_large(log), **run)
    return Saved(model, variables, log.users, log.items)


def biased_mf(
    log: Interactions,
    key: jax.Array,
    *,
    dim: int = 64,
    num_epochs: int = 40,
    rate: float = 4e-3,
    l2: float = 0.1,
    **run: Any,
) -> Saved:
    """Ratings by matrix factorization with biases; predictions are within the log's ratings.

    Raises:
      DataError: if the log is empty or has no ratings.
    """
    rating = _ratings(log)
    model = BiasedMF(log.num_users, log.num_items, dim, float(rating.mean()))
    weight = {"user": l2, "item": l2, "user_bias": 0.02, "item_bias": 0.02}
    objective = objectives.l2(objectives.pointwise(model, losses.squared), weight)
    data = batches.pairs(log.user, log.item, rating)
    how = dict(rate=rate, num_epochs=num_epochs, batch_size=1024, by_row=is_large(log))
    variables = train(key, model, objective, data, **how, **run)
    return Saved(model, variables, log.users, log.items, clip=(float(rating.min()), float(rating.max())))


def svdpp(
    log: Interactions,
    key: jax.Array,
    *,
    dim: int = 64,
    num_epochs: int = 50,
    rate: float = 0.02,
    l2: float = 0.1,
    **run: Any,
) -> Saved:
    """Ratings by SVD++: `biased_mf`, and which items a customer rated.

    Raises:
      DataError: if the log is empty or has no ratings.
    """
    rating = _ratings(log)
    model = SVDpp(log.num_users, log.num_items, dim, float(rating.mean()))
    data, size = batches.by_user((log.user, log.item, rating)), batch(log.num_rows, 4096)
    at_least_0(rate=rate)
    whole_at_least_0(num_epochs=num_epochs)
    optimizer = optax.adam(optax.linear_schedule(rate, 0.0, num_epochs * bucketed.num_steps(data, size)))
    weight = {"user": l2, "item": 2 * l2, "implicit": 10 * l2, "user_bias": l2 / 10, "item_bias": l2}
    step = training.make_step(objectives.l2(objectives.pointwise(model, losses.squared), weight), optimizer)
    epoch = partial(bucketed.epoch, step, ratings_per_batch=size)
    state = training.init_state(key, model, optimizer, data[0])
    run = {"description": "SVDpp", "rows": log.num_rows} | run
    state = repeat(epoch, state, data, num_epochs, **run)
    clip = float(rating.min()), float(rating.max())
    return Saved(model, state.variables, log.users, log.items, clip=clip, history=past(log))


def _ratings(log: Interactions) -> np.ndarray:
    rating = checked(log).rating
    if rating is None:
        raise DataError("the log has no ratings: name its rating column, or take a recipe of events, as bpr")
    if not np.isfinite(rating).all():
        raise DataError("some ratings are missing or not finite: drop those rows by clean.drop_bad_ratings")
    return rating
