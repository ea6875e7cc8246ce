"""What recipes share: checks of a log, negatives, and training by Adam."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import optax

from rezoo import sampling, training
from rezoo.arrays import at_least_1
from rezoo.data import sessions
from rezoo.data.interactions import Interactions
from rezoo.errors import DataError
from rezoo.training import loop, row_sparse
from rezoo.types import Batch, Objective, Sampler, TrainState, Variables

LARGE = 20_000
"""Rows of tables above which only those of a batch are trained, and a softmax is over a sample."""


def train(
    key: jax.Array,
    model: nn.Module,
    objective: Objective,
    data: Batch,
    *,
    rate: float,
    num_epochs: int,
    batch_size: int = 4096,
    by_row: bool = False,
    constants: Mapping[str, Any] | None = None,
    **run: Any,
) -> Variables:
    """The variables after `num_epochs` of Adam.

    Args:
      key: of the start, the order of rows, negatives and dropout.
      model: what is trained.
      objective: its loss.
      data: a row for each event, or for each customer.
      rate: the learning rate.
      num_epochs: passes over the data.
      batch_size: rows of a batch at most; of short data fewer, so that an epoch has some twenty steps.
      by_row: whether only those rows of tables are trained that a batch has.
      constants: collections that the model reads and that are not trained, such as `catalogue`.
      run: arguments of `training.loop.run`, such as `progress` and `folder`.

    Raises:
      rezoo.training.loop.Diverged: if the loss or a parameter is not finite.
    """
    dense, lazy = optax.adam(rate), row_sparse.lazy_adam(rate)
    if by_row:
        state = row_sparse.init_state(key, model, dense, lazy, data, constants=constants)
        step = row_sparse.make_step(objective, dense, lazy)
    else:
        state = training.init_state(key, model, dense, data, constants=constants)
        step = training.make_step(objective, dense)
    size = batch(len(data.item), batch_size)
    run = {"description": type(model).__name__, "rows": int(data.where.sum())} | run
    epoch = partial(training.epoch, step, batch_size=size)
    return repeat(epoch, state, data, num_epochs, **run).variables


def repeat(
    epoch: Callable[[TrainState, Any], Any], state: TrainState, data: Any, num_epochs: int, **run: Any
) -> TrainState:
    """The state after `num_epochs` of `epoch(state, data)`; `run` are arguments of `training.loop.run`."""
    compiled = jax.jit(epoch, donate_argnums=0)
    return loop.run(lambda state: compiled(state, data), state, num_epochs, **run).state


def batch(rows: int, most: int) -> int:
    """Rows of a batch: of a short log fewer, so that an epoch has some twenty steps."""
    return min(most, max(rows // 20, 16))


def checked(log: Interactions) -> Interactions:
    """The log, which has rows."""
    if not log.num_rows:
        raise DataError("the log is empty: a recipe needs events to learn from")
    return log


def past(log: Interactions, length: int | None = None) -> np.ndarray:
    """The newest items of each user, all if no length is given: `[num_users L]`, L no longer than needed.

    Raises:
      ValueError: if the length is no whole number of 1 or more.
      DataError: if the log is empty.
    """
    at_least_1(length=length)
    longest = int(np.bincount(checked(log).user).max())
    return sessions.histories(log, longest if length is None else min(length, longest))


def is_large(log: Interactions) -> bool:
    """Whether the tables of users and items are so long that only the rows of a batch are trained."""
    return checked(log).num_users + log.num_items > LARGE


def unbought(log: Interactions) -> Sampler:
    """Negatives of a user: any items that they did not take."""
    positives = sampling.positives_by_user(log.user, log.item, log.num_users)
    return sampling.reject_positives(sampling.uniform(log.num_items), positives, log.num_items)
