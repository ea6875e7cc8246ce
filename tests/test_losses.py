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
LISTWISE = {
    "softmax_cross_entropy": losses.softmax_cross_entropy,
    "bpr": losses.bpr,
    "bpr_max": losses.bpr_max,
    "top1_max": losses.top1_max,
}
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


def test_bpr_max_and_top1_max_equal_their_formulas_in_numpy():
    s, negatives = 0.7, np.array([0.2, -1.0, 2.0])
    w = np.exp(negatives) / np.exp(negatives).sum()
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    score, label = jnp.array([s, *negatives]), jnp.array([1.0, 0, 0, 0])
    expected = -np.log((w * sigmoid(s - negatives)).sum()) + 0.5 * (w * negatives**2).sum()
    np.testing.assert_allclose(losses.bpr_max(score, label, penalty=0.5), expected, rtol=1e-5)
    expected = (w * (sigmoid(negatives - s) + sigmoid(negatives**2))).sum()
    np.testing.assert_allclose(losses.top1_max(score, label), expected, rtol=1e-5)


def catalogue(rows=6, items=23, dim=5, seed=0):
    rng = np.random.default_rng(seed)
    state = jnp.asarray(rng.normal(size=(2, rows // 2, dim)) * 2, jnp.float32)
    table = jnp.asarray(rng.normal(size=(items, dim)), jnp.float32)
    return state, table, jnp.asarray(rng.integers(1, items, (2, rows // 2)), jnp.int32)


def plain_catalogue(state, table, target):
    score = jnp.einsum("...d,nd->...n", state, table)
    label = jax.nn.one_hot(target, len(table))
    where = jnp.broadcast_to(jnp.arange(len(table)) > 0, score.shape)
    return losses.softmax_cross_entropy(score, label, where=where)


@pytest.mark.parametrize("chunk", [1, 4, 23, 100])
def test_the_catalogue_softmax_equals_the_plain_one_with_its_gradients(chunk):
    state, table, target = catalogue()
    slope = jnp.array([[1.0, 0.0, 2.0], [0.5, -1.0, 3.0]])

    def both(loss):
        return jax.value_and_grad(lambda s, t: (slope * loss(s, t)).sum(), argnums=(0, 1))(state, table)

    ours = both(lambda s, t: losses.catalogue_softmax(s, t, target, chunk=chunk))
    theirs = both(lambda s, t: plain_catalogue(s, t, target))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), ours, theirs)


def test_the_catalogue_softmax_stands_vmap_and_extreme_scores():
    state, table, target = catalogue()
    tables = jnp.stack([table, 300 * table])
    loss = lambda t: losses.catalogue_softmax(state, t, target, chunk=4)  # noqa: E731
    many = jax.vmap(loss)(tables)
    np.testing.assert_allclose(many, jnp.stack([loss(t) for t in tables]), rtol=1e-5)
    np.testing.assert_allclose(many[1], plain_catalogue(state, tables[1], target), rtol=1e-5)
    assert np.isfinite(jax.grad(lambda t: loss(t).sum())(tables[1])).all()


def test_the_catalogue_softmax_of_a_million_items_needs_little_beside_the_tables():
    shapes = [jax.ShapeDtypeStruct(s, t) for s, t in (((512, 64), "f4"), ((10**6, 64), "f4"), ((512,), "i4"))]

    def value(state, table, target):
        return losses.catalogue_softmax(state, table, target).mean()

    compiled = jax.jit(jax.value_and_grad(value, argnums=(0, 1))).lower(*shapes).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 1e9
