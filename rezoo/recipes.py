"""Recipes: from a log to a model that answers, with settings that serve most logs.

    log = files.read("purchases.csv")
    model = recipes.bpr(log, jax.random.key(0))
    answers.recommend(model, ["ann"], 10)           # user, rank, item, score

Each recipe is a plain function `recipe(log, key, **settings) -> Saved`, made to be copied and changed.
`popularity`, `buy_again`, `item_knn`, `ease`, `ials`, `bpr`, `neumf`, `gru4rec` and `sasrec` learn from
events alone; `biased_mf` and `svdpp` predict ratings. What a recipe returns can be kept by
`rezoo.serving.saved.save`. `key` is that of all randomness; recipes without randomness ignore it.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from rezoo import losses, objectives, sampling, training
from rezoo.data import batches, sessions
from rezoo.data.interactions import Interactions
from rezoo.data.times import SECOND
from rezoo.errors import DataError
from rezoo.models import (
    EASE,
    IALS,
    MF,
    BiasedMF,
    GRU4Rec,
    ItemKNN,
    NeuMF,
    Popularity,
    SASRec,
    SVDpp,
    TopFreq,
)
from rezoo.models.baselines import popularity as counts
from rezoo.models.baselines import top_freq
from rezoo.models.factorization import ease as closed_form
from rezoo.models.factorization import ials as alternating_least_squares
from rezoo.models.factorization import item_knn as nearest
from rezoo.serving.bundle import Saved
from rezoo.training import bucketed, row_sparse
from rezoo.types import Batch, Objective, Variables

LARGE = 20_000
"""Rows of tables above which only those of a batch are trained, and a softmax is over a sample."""
DAY = 86_400 * SECOND
"""In the unit of a log's timestamps."""


def popularity(log: Interactions, key: jax.Array) -> Saved:
    """What is bought most, the same for everybody.

    >>> from rezoo.data.interactions import from_columns
    >>> from rezoo.serving import answers
    >>> log = from_columns({"user": ["ann", "ann", "bob"], "item": ["tea", "cup", "tea"]})
    >>> answers.recommend(popularity(log, jax.random.key(0)), ["bob"], 1)["item"].tolist()
    ['tea']
    """
    variables = counts.fit(_checked(log).item, log.num_items)
    return Saved(Popularity(log.num_items), variables, log.users, log.items)


def buy_again(log: Interactions, key: jax.Array, *, half_life: float | None = None) -> Saved:
    """What this customer bought most, then what is popular: hard to beat where people buy again.

    Args:
      log: events, of all time.
      key: not used.
      half_life: in days; an event of this age counts half. All events count the same if not given.

    Raises:
      DataError: if the log is empty, or there is a half-life and the log has no times.
    """
    age = None
    if half_life is not None:
        if log.timestamp is None:
            raise DataError("half_life is in days, but the log has no times: name its time column")
        age = (log.timestamp.max(initial=0) - log.timestamp) / DAY
    sizes = log.num_users, log.num_items
    variables = top_freq.fit(_checked(log).user, log.item, *sizes, age=age, half_life=half_life)
    model = TopFreq(*sizes, len(variables["params"]["item"]))
    return Saved(model, variables, log.users, log.items)


def item_knn(log: Interactions, key: jax.Array, *, neighbours: int = 100, length: int = 200) -> Saved:
    """Items that the same customers bought, by the cosine of the items (`models.factorization.item_knn`)."""
    past = _past(log, length)
    variables = nearest.fit(past[1:], log.num_items, neighbours=neighbours)
    return Saved(ItemKNN(log.num_items), variables, log.users, log.items, history=past)


def ease(log: Interactions, key: jax.Array, *, l2: float = 500.0, length: int = 200) -> Saved:
    """A linear model of all pairs of items, in closed form; holds N × N numbers for N items."""
    past = _past(log, length)
    variables = closed_form.fit(past[1:], log.num_items, l2=l2)
    return Saved(EASE(log.num_items), variables, log.users, log.items, history=past)


def ials(log: Interactions, key: jax.Array, *, dim: int = 64, num_epochs: int = 16) -> Saved:
    """Matrix factorization of all pairs of a customer and an item, by alternating least squares."""
    sizes = _checked(log).num_users, log.num_items, dim
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
) -> Saved:
    """Matrix factorization that ranks what a customer bought above what they did not (BPR)."""
    model = MF(_checked(log).num_users, log.num_items, dim)
    objective = objectives.l2(objectives.sampled(model, losses.bpr, _unbought(log), 2), l2)
    data = batches.pairs(log.user, log.item)
    variables = _train(key, model, objective, data, rate, num_epochs, 4096, by_row=_large(log))
    return Saved(model, variables, log.users, log.items)


def neumf(
    log: Interactions,
    key: jax.Array,
    *,
    dim: int = 32,
    num_epochs: int = 20,
    rate: float = 2e-3,
    l2: float = 1e-4,
) -> Saved:
    """A network beside a product of embeddings (NCF), with four sampled negatives for each event."""
    model = NeuMF(_checked(log).num_users, log.num_items, dim, (2 * dim, dim, dim // 2))
    objective = objectives.l2(objectives.sampled(model, losses.logistic, _unbought(log), 4), l2)
    data = batches.pairs(log.user, log.item)
    variables = _train(key, model, objective, data, rate, num_epochs, 4096, by_row=_large(log))
    return Saved(model, variables, log.users, log.items)


def biased_mf(
    log: Interactions,
    key: jax.Array,
    *,
    dim: int = 64,
    num_epochs: int = 40,
    rate: float = 4e-3,
    l2: float = 0.1,
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
    variables = _train(key, model, objective, data, rate, num_epochs, 1024, by_row=_large(log))
    return Saved(model, variables, log.users, log.items, clip=(float(rating.min()), float(rating.max())))


def svdpp(
    log: Interactions,
    key: jax.Array,
    *,
    dim: int = 64,
    num_epochs: int = 50,
    rate: float = 0.02,
    l2: float = 0.1,
) -> Saved:
    """Ratings by SVD++: `biased_mf`, and which items a customer rated.

    Raises:
      DataError: if the log is empty or has no ratings.
    """
    rating = _ratings(log)
    model = SVDpp(log.num_users, log.num_items, dim, float(rating.mean()))
    data, size = batches.by_user((log.user, log.item, rating)), _batch_size(log.num_rows, 4096)
    optimizer = optax.adam(optax.linear_schedule(rate, 0.0, num_epochs * bucketed.num_steps(data, size)))
    weight = {"user": l2, "item": 2 * l2, "implicit": 10 * l2, "user_bias": l2 / 10, "item_bias": l2}
    step = training.make_step(objectives.l2(objectives.pointwise(model, losses.squared), weight), optimizer)
    fit = jax.jit(partial(bucketed.fit, step, num_epochs=num_epochs, ratings_per_batch=size))
    state, _ = fit(training.init_state(key, model, optimizer, data[0]), data)
    clip = float(rating.min()), float(rating.max())
    return Saved(model, state.variables, log.users, log.items, clip=clip, history=_past(log))


def gru4rec(
    log: Interactions,
    key: jax.Array,
    *,
    dim: int = 64,
    length: int = 50,
    num_epochs: int = 10,
    rate: float = 2e-3,
) -> Saved:
    """What comes next, by a recurrent network over each customer's events."""
    model = GRU4Rec(log.num_items, dim, dropout=0.3)
    return _next_item(log, key, model, length, num_epochs, rate)


def sasrec(
    log: Interactions,
    key: jax.Array,
    *,
    dim: int = 64,
    length: int = 50,
    num_epochs: int = 20,
    rate: float = 1e-3,
) -> Saved:
    """What comes next, by self-attention over each customer's events."""
    model = SASRec(log.num_items, dim, num_blocks=2, num_heads=1, max_length=length, dropout=0.2)
    return _next_item(log, key, model, length, num_epochs, rate)


def _next_item(
    log: Interactions, key: jax.Array, model: nn.Module, length: int, num_epochs: int, rate: float
) -> Saved:
    """A session model that is trained on the event after each event of a customer."""
    data = batches.next_items(_checked(log), length)
    if not bool(data.where.any()):
        raise DataError(
            "no customer of the log has two events, so nothing follows anything: give a longer log"
        )
    objective = objectives.next_item_softmax(model)
    if log.num_items > LARGE:
        bought = jnp.asarray(np.bincount(log.item, minlength=log.num_items), jnp.float32)
        objective = objectives.next_item_sampled(model, losses.softmax_cross_entropy, bought, 2048)
    variables = _train(key, model, objective, data, rate, num_epochs, 64 if len(data.item) <= LARGE else 512)
    return Saved(model, variables, log.users, log.items, history=sessions.histories(log, length))


def _train(
    key: jax.Array,
    model: nn.Module,
    objective: Objective,
    data: Batch,
    rate: float,
    num_epochs: int,
    batch_size: int,
    *,
    by_row: bool = False,
) -> Variables:
    """`num_epochs` of Adam; of large tables only the rows of a batch are trained."""
    dense, lazy = optax.adam(rate), row_sparse.lazy_adam(rate)
    if by_row:
        state = row_sparse.init_state(key, model, dense, lazy, data)
        step = row_sparse.make_step(objective, dense, lazy)
    else:
        state = training.init_state(key, model, dense, data)
        step = training.make_step(objective, dense)
    size = _batch_size(len(data.item), batch_size)
    epoch = jax.jit(lambda state, data: training.epoch(step, state, data, size), donate_argnums=0)
    for _ in range(num_epochs):
        state, _ = epoch(state, data)
    if bool(state.halted):
        raise FloatingPointError(
            f"the loss of {type(model).__name__} is not finite: take a lower rate than {rate}"
        )
    return state.variables


def _batch_size(rows: int, most: int) -> int:
    """Rows of a batch: of a short log fewer, so that an epoch has some twenty steps."""
    return min(most, max(rows // 20, 16))


def _checked(log: Interactions) -> Interactions:
    """The log, which has rows."""
    if not log.num_rows:
        raise DataError("the log is empty: a recipe needs events to learn from")
    return log


def _ratings(log: Interactions) -> np.ndarray:
    rating = _checked(log).rating
    if rating is None:
        raise DataError("the log has no ratings: name its rating column, or take a recipe of events, as bpr")
    if not np.isfinite(rating).all():
        raise DataError("some ratings are missing or not finite: drop those rows by clean.drop_bad_ratings")
    return rating


def _past(log: Interactions, length: int | None = None) -> np.ndarray:
    """The newest items of each user, all if no length is given: `[num_users L]`, L no longer than needed."""
    longest = int(np.bincount(_checked(log).user).max())
    return sessions.histories(log, longest if length is None else min(length, longest))


def _large(log: Interactions) -> bool:
    return log.num_users + log.num_items > LARGE


def _unbought(log: Interactions) -> Any:
    """Negatives of a user: any items that they did not take."""
    positives = sampling.positives_by_user(log.user, log.item, log.num_users)
    return sampling.reject_positives(sampling.uniform(log.num_items), positives, log.num_items)
