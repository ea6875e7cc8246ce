"""What is true of every loss, whatever it measures."""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import eight_devices
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from rezoo import losses, metrics


def corrected(score, label, *, where=None):
    return losses.sampled_softmax(score, label, log_q=0.3 - label, where=where)


POINTWISE = {
    "squared": losses.squared,
    "absolute": losses.absolute,
    "huber": losses.huber,
    "logistic": losses.logistic,
    "gbce": partial(losses.gbce, rate=0.1),
    "weighted_logistic": losses.weighted_logistic,
}
CHOICE = {
    "softmax_cross_entropy": losses.softmax_cross_entropy,
    "listnet": losses.listnet,
    "sampled_softmax": corrected,
    "list_mle": losses.list_mle,
    "ccl": partial(losses.ccl, margin=-0.5, weight=2.0),
}
PAIRS = {
    "bpr": losses.bpr,
    "hinge": losses.hinge,
    "smooth_auc": losses.smooth_auc,
    "warp": losses.warp,
    "top1": losses.top1,
    "top1_max": losses.top1_max,
    "bpr_max": losses.bpr_max,
    "bpr_of_6": partial(losses.bpr, positives=6),
    "hardest(bpr)": losses.hardest(losses.bpr, 2),
    "lambda_rank": losses.lambda_rank,
    "lambda_rank@2": partial(losses.lambda_rank, k=2),
}
WITHOUT_CUTOFF = {
    "approx_ndcg": losses.approx_ndcg,
    "approx_mrr": losses.approx_mrr,
    "smooth_rank": losses.smooth_rank,
    "smooth_rank@2": partial(losses.smooth_rank, k=2),
    "smooth(map)": losses.smooth(metrics.average_precision),
    "bound(ndcg)": losses.bound(metrics.ndcg, gain=losses.exponential_gain),
    "bound(map@2)": losses.bound(metrics.average_precision, k=2),
    "bound(recall@2)": losses.bound(metrics.recall, k=2),
}
CUT_OFF = {
    f"smooth({metric.__name__}@2)": losses.smooth(metric, k=2)
    for metric in (metrics.hr, metrics.recall, metrics.precision, metrics.mrr, metrics.ndcg)
}
LISTWISE = CHOICE | PAIRS | WITHOUT_CUTOFF | CUT_OFF
ALL = POINTWISE | LISTWISE


def over(cases):
    return pytest.mark.parametrize("loss", cases.values(), ids=cases)


def lists(rows=5, length=6, seed=0, grades=3):
    """Scores apart from each other by 0.15 or more, so that no order hangs on rounding."""
    rng = np.random.default_rng(seed)
    step = np.argsort(rng.random((rows, length)), axis=1) - length / 2
    score = jnp.asarray(step * 0.65 + rng.random((rows, length)) * 0.5, jnp.float32)
    label = jnp.asarray(rng.integers(0, grades, (rows, length)), jnp.float32)
    where = jnp.asarray(rng.random((rows, length)) < 0.7)
    return score, label, where


@functools.cache
def compiled(loss):
    """The loss, compiled once for all tests that call it on lists of one shape."""
    return jax.jit(lambda score, label, where: loss(score, label, where=where))


@functools.cache
def compiled_gradient(loss):
    def total(score, label, where):
        return loss(score, label, where=where).sum()

    return jax.jit(jax.value_and_grad(total))


def call(loss, score, label, where=None):
    return compiled(loss)(score, label, where)


def value_and_grad(loss, score, label, where=None):
    return compiled_gradient(loss)(score, label, where)


def test_every_public_loss_is_tested_here():
    helpers = {
        "exponential_gain",
        "ndcg_weights",
        "soft_ranks",
        "smooth",
        "bound",
        "pairwise_logistic",
        "hardest",
    }
    of_states = {"catalogue_softmax"}  # has no list of scores, and a file of its own: test_catalogue.py
    assert set(losses.__all__) - helpers - of_states <= {name.split("@")[0] for name in ALL}


@over(LISTWISE)
def test_masked_elements_are_as_if_dropped(loss):
    score, label, _ = lists()
    kept = jnp.array([0, 2, 3, 5])
    where = jnp.broadcast_to(jnp.isin(jnp.arange(6), kept)[None], score.shape)
    whole, part = call(loss, score, label, where), call(loss, score[:, kept], label[:, kept])
    np.testing.assert_allclose(whole, part, rtol=1e-5, atol=1e-6)


@over(LISTWISE)
def test_what_is_masked_has_no_say(loss):
    score, label, where = lists()
    changed = jnp.where(where, score, 77.0), jnp.where(where, label, 5.0)
    np.testing.assert_array_equal(call(loss, score, label, where), call(loss, *changed, where))


@eight_devices
@over(ALL)
def test_lists_that_are_spread_over_devices_stay_where_they_are(loss):
    mesh = jax.make_mesh((8,), ("data",), (AxisType.Auto,))
    spread = jax.device_put(lists(rows=16), NamedSharding(mesh, PartitionSpec("data")))
    program = compiled_gradient(loss).lower(*spread).compile().as_text()
    assert "all-reduce" in program  # of the sum
    assert "all-gather" not in program and "all-to-all" not in program


@over(POINTWISE)
def test_pointwise_losses_are_0_where_masked_and_alone_elsewhere(loss):
    score, label, where = lists(grades=2)
    masked = loss(score, label, where=where)
    assert (masked[~where] == 0).all()
    np.testing.assert_array_equal(masked[where], loss(score, label)[where])


@over(ALL)
@settings(max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_the_order_of_the_list_does_not_matter(loss, seed):
    score, label, where = lists(5, 6, seed)
    order = np.random.default_rng(seed).permutation(6)
    one = call(loss, score, label, where)
    one = one[:, order] if one.shape == score.shape else one
    other = call(loss, score[:, order], label[:, order], where[:, order])
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@over(ALL)
def test_batches_equal_loops_and_vmap(loss):
    score, label, where = lists()
    whole = call(loss, score, label, where)
    loop = jnp.stack([call(loss, score[row], label[row], where[row]) for row in range(len(score))])
    np.testing.assert_allclose(whole, loop, rtol=1e-5, atol=1e-6)
    mapped = jax.vmap(compiled(loss))(score, label, where)
    np.testing.assert_allclose(whole, mapped, rtol=1e-5, atol=1e-6)


@over(ALL)
def test_nothing_to_count_is_0_without_a_nan_in_the_gradient(loss):
    score, label, _ = lists()
    value, grad = value_and_grad(loss, score, label, jnp.zeros(score.shape, bool))
    assert float(value) == 0.0 and (grad == 0).all()


@over(ALL)
def test_extreme_scores_stay_finite(loss):
    score = jnp.tile(jnp.array([1e4, -1e4, 0.0, 1e4, 0.0, 0.0]), (5, 1))
    label = jnp.tile(jnp.array([0.0, 1.0, 1.0, 0.0, 0.0, 0.0]), (5, 1))
    for kept in ([1, 1, 1, 1, 1, 1], [1, 1, 0, 1, 0, 1]):
        value, grad = value_and_grad(loss, score, label, jnp.tile(jnp.array(kept, bool), (5, 1)))
        assert np.isfinite(value) and np.isfinite(grad).all() and float(value) > 0


FINITE = np.array([0, 1e-38, 1, -1, 1e4, -1e4, 2e19, -2e19, 3e38, -3e38], np.float32)


@over(ALL)
@settings(max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_any_finite_scores_give_a_finite_value_and_gradient_whatever_is_masked(loss, seed):
    rng = np.random.default_rng(seed)
    label, where = rng.integers(0, 3, (5, 6)).astype(np.float32), rng.random((5, 6)) < rng.random()
    score, nothing = rng.choice(FINITE, (5, 6)), rng.choice([np.nan, np.inf, -np.inf], (5, 6))
    arrays = [np.where(where, x, nothing) for x in (score, label)]
    value, grad = value_and_grad(loss, *(jnp.asarray(x, jnp.float32) for x in arrays), jnp.asarray(where))
    assert np.isfinite(value) and np.isfinite(grad).all() and (np.asarray(grad)[~where] == 0).all()


def test_a_score_beyond_the_bound_is_drawn_back():
    assert float(jax.grad(lambda s: losses.squared(s, jnp.zeros(())))(jnp.float32(-3e38))) < 0
    assert not np.isfinite(losses.squared(jnp.array([jnp.inf]), jnp.zeros(1))).any()
    half = jnp.array([6e4, -6e4], jnp.float16)
    assert np.isfinite(losses.logistic(half, jnp.zeros(2, jnp.float16))).all()


@over(ALL)
def test_gradients_equal_finite_differences(loss):
    score, label, where = lists(seed=3)
    _, grad = value_and_grad(loss, score, label, where)
    for seed in range(5):
        way = jnp.asarray(np.random.default_rng(seed).normal(size=score.shape), jnp.float32)
        ahead, behind = (call(loss, score + e * way, label, where).sum() for e in (0.01, -0.01))
        np.testing.assert_allclose((ahead - behind) / 0.02, jnp.vdot(grad, way), rtol=2e-2, atol=2e-2)


@over(LISTWISE)
@pytest.mark.parametrize("grade", [0.0, 1.0])
def test_a_list_of_one_teaches_nothing(loss, grade):
    value, grad = value_and_grad(loss, jnp.array([0.7]), jnp.array([grade]))
    assert (grad == 0).all()
    if loss not in CUT_OFF.values():  # a soft cut-off keeps a rank of 1 a little out
        assert float(value) == 0.0


@over(PAIRS | {"list_mle": losses.list_mle})
def test_constant_labels_have_no_order_to_learn(loss):
    score, _, where = lists()
    for grade in (0.0, 2.0):
        value, grad = value_and_grad(loss, score, jnp.full(score.shape, grade), where)
        assert float(value) == 0.0 and (grad == 0).all()


@over(WITHOUT_CUTOFF | CUT_OFF)
def test_lists_without_a_relevant_element_have_no_relevance_to_learn(loss):
    score, _, where = lists()
    value, grad = value_and_grad(loss, score, jnp.zeros(score.shape), where)
    assert float(value) == 0.0 and (grad == 0).all()


@over({name: loss for name, loss in LISTWISE.items() if name not in ("top1", "top1_max", "bpr_max")})
def test_a_better_order_costs_less(loss):
    label = jnp.tile(jnp.array([2.0, 1.0, 0.0, 0.0, 0.0, 0.0]), (5, 1))
    good = jnp.tile(jnp.array([2.0, 1.0, 0.0, -1.0, -2.0, -3.0]), (5, 1))
    costs = [call(loss, score, label, jnp.ones((5, 6), bool)) for score in (good, -good)]
    assert (costs[0] < costs[1]).all()
