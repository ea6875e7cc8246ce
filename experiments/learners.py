"""The recommenders that `your_log.py` compares: what each is made of, and what a fit of it costs."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from rezoo import losses, objectives, sampling, training
from rezoo.data import batches
from rezoo.data.interactions import Interactions
from rezoo.data.packing import padded
from rezoo.models import MF, CoOccurrence, GRU4Rec, Popularity, TopFreq
from rezoo.models.baselines import cooccurrence, popularity, top_freq
from rezoo.training import loop, row_sparse
from rezoo.types import Batch, Objective, Query, Variables

HISTORY = 50
RATE = 2e-3
LARGE = 20_000
"""Rows of tables above which only those of a batch are trained, and a softmax is over a sample."""


class Learner(NamedTuple):
    """A model of a log."""

    model: nn.Module
    fit: Callable[..., Variables]
    """(key, what it is fitted for, folder of checkpoints, progress) -> the model's variables."""
    timed: Callable[[], float] = float
    """Seconds that one fit will take, as a few steps of it take; 0 where nothing is random."""


def most_bought(log: Interactions, epochs: int) -> Learner:
    """What is bought most."""
    fitted = popularity.fit(log.item, log.num_items)
    return Learner(Popularity(log.num_items), lambda *_, **__: fitted)


def bought_next(log: Interactions, epochs: int) -> Learner:
    """What others bought next."""
    fitted = cooccurrence.fit(latest(log, np.unique(log.user)), log.num_items, window=5)
    return Learner(
        CoOccurrence(log.num_items, len(fitted["params"]["follower"]), memory=5), lambda *_, **__: fitted
    )


def bought_before(log: Interactions, epochs: int) -> Learner:
    """What this customer bought most, then what is bought most."""
    fitted = top_freq.fit(log.user, log.item, log.num_users, log.num_items)
    model = TopFreq(log.num_users, log.num_items, len(fitted["params"]["item"]))
    return Learner(model, lambda *_, **__: fitted)


def factors(log: Interactions, epochs: int) -> Learner:
    """Matrix factorization by BPR."""
    count = log.num_items
    model = MF(log.num_users, count, 64)
    known = sampling.positives_by_user(log.user, log.item, log.num_users)
    data = batches.pairs(log.user, log.item)

    def objective(arrays: Any) -> Objective:
        positives = known._replace(offset=arrays[0], item=arrays[1])
        sampler = sampling.reject_positives(sampling.uniform(count), positives, count)
        return objectives.l2(objectives.sampled(model, losses.bpr, sampler, 2), 0.002)

    by_row = log.num_users + count > LARGE
    return learner(model, objective, (known.offset, known.item), data, 4096, epochs, by_row=by_row)


def recurrent(log: Interactions, epochs: int) -> Learner:
    """A recurrent network over each user's history."""
    users = np.unique(log.user)
    history = latest(log, users)
    following = jnp.asarray(history[:, 1:])
    real = following > 0
    data = Batch(
        Query(jnp.asarray(users), jnp.asarray(history[:, :-1]), {}), following, real.astype(jnp.float32), real
    )
    model = GRU4Rec(log.num_items, 64, dropout=0.3)
    bought = jnp.asarray(np.bincount(log.item, minlength=log.num_items), jnp.float32)

    def objective(bought: Any) -> Objective:
        if log.num_items > LARGE:
            return objectives.next_item_sampled(model, losses.softmax_cross_entropy, bought, 2048)
        return objectives.next_item_softmax(model)

    return learner(model, objective, bought, data, 64 if len(users) <= LARGE else 512, epochs)


def learner(
    model: nn.Module,
    objective: Callable[[Any], Objective],
    arrays: Any,
    data: Batch,
    size: int,
    epochs: int,
    *,
    by_row: bool = False,
) -> Learner:
    """A model that is trained by Adam; data and arrays are arguments of what is compiled, not in it."""
    dense, lazy = optax.adam(RATE), row_sparse.lazy_adam(RATE)

    def init(key: jax.Array) -> Any:
        if by_row:
            return row_sparse.init_state(key, model, dense, lazy, data)
        return training.init_state(key, model, dense, data)

    @partial(jax.jit, donate_argnums=0)
    def epoch(state: Any, data: Batch, arrays: Any) -> Any:
        if by_row:
            step = row_sparse.make_step(objective(arrays), dense, lazy)
        else:
            step = training.make_step(objective(arrays), dense)
        return training.epoch(step, state, data, size)

    def fit(key: jax.Array, purpose: str, *, folder: Path, progress: Any) -> Variables:
        run = loop.run(
            lambda state: epoch(state, data, arrays),
            init(key),
            epochs,
            folder=folder / purpose.replace(" ", "-"),
            progress=progress,
            description=f"{type(model).__name__}, {purpose}",
            rows=int(data.where.sum()),
        )
        return run.best

    def timed() -> float:
        few = jax.tree.map(lambda column: column[: 4 * size], data)
        state, _ = jax.block_until_ready(epoch(init(jax.random.key(0)), few, arrays))
        begin = monotonic()
        jax.block_until_ready(epoch(state, few, arrays))
        a_step = (monotonic() - begin) / training.num_steps(len(few.item), size)
        return a_step * training.num_steps(len(data.item), size) * epochs

    return Learner(model, fit, timed)


def latest(log: Interactions, users: np.ndarray) -> np.ndarray:
    """The last items of each user, oldest first, padded at the end: `[U HISTORY]`."""
    backwards = np.flatnonzero(np.isin(log.user, users))[::-1]
    order = np.argsort(log.user[backwards], kind="stable")
    counts = np.bincount(log.user[backwards])
    since = np.arange(len(order)) - (np.cumsum(counts) - counts)[log.user[backwards][order]]
    rows = np.sort(backwards[order[since < HISTORY]])
    items = padded(users, log.user[rows], log.item[rows])[0]
    return np.pad(items, ((0, 0), (0, HISTORY - items.shape[1]))).astype(np.int32)
