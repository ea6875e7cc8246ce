"""gSASRec: SASRec by `losses.gbce`."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from helpers import apply, init, noisy

from rezoo import losses, objectives
from rezoo.data.batches import queries
from rezoo.models import SASRec
from rezoo.types import Batch

ITEMS, NEGATIVES = 9, 4


def test_gsasrec_is_its_equation():
    model, history = SASRec(ITEMS, 4, num_blocks=1), jnp.array([[1, 2, 5, 4], [3, 7, 0, 0]])
    target = jnp.array([[2, 5, 4, 0], [7, 0, 0, 0]])
    batch = Batch(queries(history=history), target, jnp.ones((2, 4)), target > 0)
    params = noisy(init(model, batch.query, target[:, 0]), 0.3)
    alpha, t = NEGATIVES / (ITEMS - 2), 0.75
    loss, only = partial(losses.gbce, rate=alpha, t=t), jnp.zeros(ITEMS).at[5].set(1.0)
    objective = objectives.next_item_sampled(model, loss, only, NEGATIVES, corrected=False)
    value, _ = jax.jit(objective)(params, jax.random.key(0), batch)
    states, table = (
        np.asarray(part, np.float64)
        for part in (
            apply(model, params, batch.query, method="prefixes"),
            params["params"]["item"]["embedding"],
        )
    )
    score, beta, terms = states @ table.T, alpha * (t * (1 - 1 / alpha) + 1 / alpha), []
    for place in zip(*np.nonzero(np.asarray(batch.where)), strict=True):
        positive = int(target[place])
        terms.append(-np.log((1 / (1 + np.exp(-score[place][positive]))) ** beta))
        if positive != 5:  # a negative that is the target itself does not count
            terms += [-np.log(1 - 1 / (1 + np.exp(-score[place][5])))] * NEGATIVES
    np.testing.assert_allclose(value, np.mean(terms), rtol=1e-5)
