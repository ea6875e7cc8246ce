import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import rax
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from rezoo import losses

POINTWISE = {
    "squared": losses.squared,
    "absolute": losses.absolute,
    "huber": losses.huber,
    "logistic": losses.logistic,
}
LISTWISE = {"softmax_cross_entropy": losses.softmax_cross_entropy, "bpr": losses.bpr}
ALL = POINTWISE | LISTWISE
every_loss = pytest.mark.parametrize("loss", ALL.values(), ids=ALL)
every_listwise = pytest.mark.parametrize("loss", LISTWISE.values(), ids=LISTWISE)


def lists(rows=5, length=6, seed=0):
    rng = np.random.default_rng(seed)
    score = jnp.asarray(rng.normal(size=(rows, length)) * 3, jnp.float32)
    label = jnp.asarray(rng.integers(0, 2, (rows, length)), jnp.float32)
    where = jnp.asarray(rng.random((rows, length)) < 0.7)
    return score, label, where


def test_hand_values():
    score, label = jnp.array([2.0, -1.0]), jnp.array([0.0, 1.0])
    np.testing.assert_allclose(losses.squared(score, label), [4, 4])
    np.testing.assert_allclose(losses.absolute(score, label), [2, 2])
    np.testing.assert_allclose(losses.huber(score, label, delta=0.5), [0.5 * 1.75, 0.5 * 1.75])
    np.testing.assert_allclose(losses.huber(score, jnp.array([1.9, -1.0]), delta=0.5), [0.005, 0], rtol=1e-4)
    np.testing.assert_allclose(losses.logistic(score, label), np.log1p(np.exp([2, 1])), rtol=1e-6)
    np.testing.assert_allclose(losses.softmax_cross_entropy(score, label), np.log(1 + np.exp(3.0)), rtol=1e-6)
    np.testing.assert_allclose(losses.bpr(score, label), np.log1p(np.exp(3.0)), rtol=1e-6)
    np.testing.assert_allclose(losses.bpr(score, jnp.ones(2)), 0.0)


def test_logistic_equals_optax_and_softmax_equals_optax():
    score, label, _ = lists()
    np.testing.assert_allclose(
        losses.logistic(score, label), optax.sigmoid_binary_cross_entropy(score, label), rtol=1e-5, atol=1e-6
    )
    share = label / jnp.maximum(label.sum(1, keepdims=True), 1)
    np.testing.assert_allclose(
        losses.softmax_cross_entropy(score, share), optax.softmax_cross_entropy(score, share), rtol=1e-5
    )


def test_listwise_losses_equal_rax_on_masked_lists():
    score, label, where = lists()
    for row in range(len(score)):
        arguments = dict(scores=score[row], labels=label[row], where=where[row], reduce_fn=jnp.sum)
        ours = losses.softmax_cross_entropy(score[row], label[row], where=where[row])
        np.testing.assert_allclose(ours, rax.softmax_loss(**arguments), rtol=1e-4, atol=1e-5)
        pairs = ((label[row][:, None] > label[row][None]) & where[row][:, None] & where[row][None]).sum()
        ours = losses.bpr(score[row], label[row], where=where[row]) * pairs
        np.testing.assert_allclose(ours, rax.pairwise_logistic_loss(**arguments), rtol=1e-4, atol=1e-5)


@every_listwise
def test_masked_elements_are_as_if_dropped(loss):
    score, label, where = lists()
    for row in range(len(score)):
        kept = np.flatnonzero(np.asarray(where[row]))
        np.testing.assert_allclose(
            loss(score[row], label[row], where=where[row]),
            loss(score[row][kept], label[row][kept]),
            rtol=1e-5,
        )


@pytest.mark.parametrize("loss", POINTWISE.values(), ids=POINTWISE)
def test_pointwise_losses_are_0_where_masked_and_alone_elsewhere(loss):
    score, label, where = lists()
    masked = loss(score, label, where=where)
    assert (masked[~where] == 0).all()
    np.testing.assert_array_equal(masked[where], loss(score, label)[where])


@every_listwise
@settings(max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_the_order_of_the_list_does_not_matter(loss, seed):
    score, label, where = lists(1, 6, seed)
    order = np.random.default_rng(seed).permutation(6)
    one = loss(score[0], label[0], where=where[0])
    np.testing.assert_allclose(one, loss(score[0][order], label[0][order], where=where[0][order]), rtol=1e-5)


@every_loss
def test_batches_equal_loops_and_vmap(loss):
    score, label, where = lists()
    whole = loss(score, label, where=where)
    loop = jnp.stack([loss(score[row], label[row], where=where[row]) for row in range(len(score))])
    np.testing.assert_allclose(whole, loop, rtol=1e-5)
    mapped = jax.vmap(lambda s, y, w: loss(s, y, where=w))(score, label, where)
    np.testing.assert_allclose(whole, mapped, rtol=1e-5)


@every_loss
def test_nothing_to_count_is_0_without_a_nan_in_the_gradient(loss):
    score, label, _ = lists()
    where = jnp.zeros(score.shape, bool)
    value, grad = jax.value_and_grad(lambda s: loss(s, label, where=where).sum())(score)
    assert float(value) == 0.0 and (grad == 0).all()


@every_loss
def test_extreme_scores_stay_finite(loss):
    score = jnp.array([1e4, -1e4, 0.0, 1e4])
    label = jnp.array([0.0, 1.0, 1.0, 0.0])
    for where in (None, jnp.array([True, True, False, True])):
        value, grad = jax.value_and_grad(lambda s, w=where: loss(s, label, where=w).sum())(score)
        assert np.isfinite(value) and np.isfinite(grad).all() and float(value) > 0


@every_loss
def test_gradients_equal_finite_differences(loss):
    score, label, where = lists(2, 4, seed=3)
    check_grads(
        lambda s: loss(jnp.asarray(s), label, where=where).sum(),
        (score,),
        order=1,
        modes="rev",
        eps=1e-2,
        rtol=2e-2,
    )
