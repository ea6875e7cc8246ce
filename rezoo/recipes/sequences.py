"""Recipes of session models: what comes next."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from rezoo import losses, objectives
from rezoo.data import batches
from rezoo.data.interactions import Interactions
from rezoo.errors import DataError
from rezoo.models import GRU4Rec, SASRec
from rezoo.recipes.fitting import LARGE, past, train
from rezoo.serving.bundle import Saved

SAMPLE = 2048
"""Items of a sampled softmax."""


def gru4rec(
    log: Interactions,
    key: jax.Array,
    *,
    dim: int = 64,
    length: int = 50,
    num_epochs: int = 10,
    rate: float = 2e-3,
    **run: Any,
) -> Saved:
    """What comes next, by a recurrent network over each customer's events."""
    model = GRU4Rec(log.num_items, dim, dropout=0.3)
    return _next_item(log, key, model, length, rate=rate, num_epochs=num_epochs, **run)


def sasrec(
    log: Interactions,
    key: jax.Array,
    *,
    dim: int = 64,
    length: int = 50,
    num_epochs: int = 20,
    rate: float = 1e-3,
    **run: Any,
) -> Saved:
    """What comes next, by self-attention over each customer's events."""
    model = SASRec(log.num_items, dim, num_blocks=2, num_heads=1, max_length=length, dropout=0.2)
    return _next_item(log, key, model, length, rate=rate, num_epochs=num_epochs, **run)


def _next_item(log: Interactions, key: jax.Array, model: nn.Module, length: int, **how: Any) -> Saved:
    """A session model that is trained on the event after each event of a customer."""
    history = past(log, length)
    data = batches.next_items(log, history.shape[1])
    if not bool(data.where.any()):
        raise DataError(
            "no customer of the log has two events, so nothing follows anything: give a longer log"
        )
    objective = objectives.next_item_softmax(model)
    if log.num_items > LARGE:
        bought = jnp.asarray(np.bincount(log.item, minlength=log.num_items), jnp.float32)
        objective = objectives.next_item_sampled(model, losses.softmax_cross_entropy, bought, SAMPLE)
    variables = train(key, model, objective, data, batch_size=64 if log.num_users <= LARGE else 512, **how)
    return Saved(model, variables, log.users, log.items, history=history)
