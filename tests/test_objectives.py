from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from rezoo import losses, metrics, objectives, sampling
from rezoo.models import DIN, MF
from rezoo.types import Batch, Query

MODEL = MF(6, 9, 4)


def pairs(user, item, where=None):
    user, item = (jnp.asarray(ids, jnp.int32) for ids in (user, item))
    where = jnp.ones(len(user), bool) if where is None else jnp.asarray(where)
    return Batch(Query(user, jnp.zeros((len(user), 0), jnp.int32), {}), item, jnp.ones(len(user)), where)


def variables(batch):
    return MODEL.init(jax.random.key(0), batch.query, batch.item)


BATCH = pairs([1, 2, 3, 4, 5], [3, 7, 3, 1, 8], [True, True, True, True, False])


def test_a_sampled_list_knows_how_often_each_item_was_to_be_expected():
    """ln (n Q) of the negatives, 0 of the positive; a negative that is the positive does not count."""
    negatives = jnp.array([[3, 4], [3, 4], [1, 2], [5, 6], [5, 6]], jnp.int32)
    log_q = jnp.log(jnp.arange(1.0, 10.0) / 45)

    def loss(score, label, *, where, log_q):
        np.testing.assert_array_equal(label, [[1, 0, 0]] * 5)
        np.testing.assert_array_equal(where, [[1, 0, 1], [1, 1, 1], [1, 1, 1], [1, 1, 1], [0, 0, 0]])
        expected = np.log(2 * (np.asarray(negatives) + 1) / 45)
        np.testing.assert_allclose(log_q, np.c_[np.zeros(5), expected], rtol=1e-5, atol=1e-6)
        return losses.sampled_softmax(score, label, log_q=log_q, where=where)

    objective = objectives.sampled(MODEL, loss, lambda *_: negatives, 2, log_q=log_q)
    assert np.isfinite(objective(variables(BATCH), jax.random.key(1), BATCH)[0])


@pytest.mark.parametrize("corrected", [False, True])
def test_in_batch_softmax_is_that_over_the_batch_without_accidental_hits(corrected):
    log_q = jnp.log(jnp.arange(1.0, 10.0) / 45)
    loss = losses.sampled_softmax if corrected else losses.softmax_cross_entropy
    objective = objectives.in_batch(MODEL, loss, log_q=log_q if corrected else None)
    value, _ = objective(variables(BATCH), jax.random.key(1), BATCH)
    slate = jnp.broadcast_to(BATCH.item[None], (5, 5))
    score = np.asarray(MODEL.apply(variables(BATCH), BATCH.query, slate))
    item, terms = np.asarray(BATCH.item), []
    for row in range(4):
        others = [c for c in range(4) if item[c] != item[row]]
        shift = np.log(3) + np.asarray(log_q)[item[others]] if corrected else 0.0
        logits = np.array([score[row, row], *(score[row, others] - shift)])
        terms.append(-log_softmax(logits)[0])
    np.testing.assert_allclose(value, np.mean(terms), rtol=1e-5)


def test_in_batch_of_one_row_has_no_choice():
    alone = pairs([1, 2], [3, 4], [True, False])
    objective = objectives.in_batch(
        MODEL, losses.sampled_softmax, log_q=sampling.log_popularity(np.ones(9), 1.0)
    )
    value, grad = jax.value_and_grad(lambda v: objective(v, jax.random.key(0), alone)[0])(variables(alone))
    assert float(value) == 0.0 and all((leaf == 0).all() for leaf in jax.tree.leaves(grad))


@pytest.mark.parametrize(
    "loss",
    [
        partial(losses.gbce, rate=0.3),
        partial(losses.bpr_max, positives=1),
        losses.lambda_rank,
        losses.smooth(metrics.recall, k=1),
    ],
    ids=["gbce", "bpr_max", "lambda_rank", "smooth"],
)
def test_losses_of_every_kind_reach_the_parameters(loss):
    objective = objectives.sampled(MODEL, loss, sampling.uniform(9), 3)
    grad = jax.grad(lambda v: objective(v, jax.random.key(0), BATCH)[0])(variables(BATCH))
    touched = np.asarray(jnp.abs(grad["params"]["user"]["embedding"]).sum(1) > 0)
    np.testing.assert_array_equal(touched, [False, True, True, True, True, False])


HISTORY = Batch(
    Query(jnp.zeros(4, jnp.int32), jnp.array([[3, 3, 0], [5, 1, 3], [2, 0, 0], [4, 4, 4]], jnp.int32), {}),
    jnp.array([1, 2, 5, 4], jnp.int32),
    jnp.ones(4),
    jnp.array([True, True, True, False]),
)


def test_with_counts_each_id_of_a_batch_is_held_once_and_the_less_the_more_often_it_occurs():
    model, count = DIN({"item": 6, "user": 3}, 3, (4,)), np.array([0, 7, 1, 40, 2, 0])
    batch = HISTORY._replace(query=HISTORY.query._replace(user=jnp.array([1, 1, 2, 2], jnp.int32)))
    variables = model.init(jax.random.key(0), batch.query, batch.item)
    plain = objectives.pointwise(model, losses.logistic)
    held = objectives.l2(plain, {"item": 0.3, "user": 0.1}, {"item": count})

    def penalty(params):
        whole = {**variables, "params": params}
        return held(whole, jax.random.key(1), batch)[0] - plain(whole, jax.random.key(1), batch)[0]

    value, grad = jax.jit(jax.value_and_grad(penalty))(variables["params"])
    item = np.asarray(variables["params"]["items"]["item"]["embedding"])
    user = np.asarray(variables["params"]["profile"]["user"]["embedding"])
    met = [1, 2, 3]  # not 4, which is met in the masked row alone; 5 and padding are said never to occur
    expected = 0.3 * sum(np.square(item[j]).sum() / count[j] for j in met)
    expected += 0.1 * (2 * np.square(user[1]).sum() + np.square(user[2]).sum()) / 3
    np.testing.assert_allclose(value, expected, rtol=1e-3)
    slope = np.zeros_like(item)
    slope[met] = 0.3 * 2 * item[met] / count[met, None]
    np.testing.assert_allclose(grad["items"]["item"]["embedding"], slope, rtol=1e-3, atol=1e-6)


def test_counts_of_a_table_that_is_not_looked_up_are_refused():
    held = objectives.l2(objectives.pointwise(MODEL, losses.squared), 0.1, {"itm": np.ones(9)})
    with pytest.raises(ValueError, match=r"\['itm'\], which no table.*'item', 'item_bias', 'user'"):
        held(variables(BATCH), jax.random.key(0), BATCH)
