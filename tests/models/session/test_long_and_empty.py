"""Histories longer than a model has positions, and rows of padding: finite states and slopes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import mostly_slow

from rezoo import objectives
from rezoo.data.batches import queries
from rezoo.models import HSTU, BERT4Rec, LRURec, SASRec, eSASRec
from rezoo.types import Batch

MODELS = {
    "SASRec": SASRec(9, 4, num_blocks=1, max_length=3),
    "eSASRec": eSASRec(9, 4, num_blocks=1, max_length=3),
    "HSTU": HSTU(9, 4, num_blocks=1, max_length=3),
    "BERT4Rec": BERT4Rec(9, 4, num_blocks=1, max_length=3),
    "LRURec": LRURec(9, 4, num_blocks=1),
}
HISTORY = jnp.array([[1, 2, 3, 4, 5, 6, 7], [8, 9, 12, 1, 0, 0, 0], [0] * 7])
"""More than there are positions, ids that the model does not know, nothing."""


@pytest.mark.parametrize("name", mostly_slow(MODELS, ()))
def test_long_histories_unknown_ids_and_padding_give_numbers(name):
    model, query = MODELS[name], queries(history=HISTORY)
    batch = Batch(query, jnp.roll(HISTORY, -1, 1), jnp.ones((3, 7)), jnp.roll(HISTORY, -1, 1) > 0)
    if name == "BERT4Rec":
        batch, objective = batch._replace(where=HISTORY > 0), objectives.cloze(model, 0.5)
    else:
        objective = objectives.next_item_softmax(model)

    def everything():
        variables = model.init(jax.random.key(0), query, batch.item)
        states = model.apply(variables, query, method="encode")
        return states, jax.value_and_grad(objective, has_aux=True)(variables, jax.random.key(1), batch)

    states, found = jax.jit(everything)()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((states, found)))
    assert states.shape[0] == 3 and np.abs(states[0] - states[1]).max() > 1e-4
