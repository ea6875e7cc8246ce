"""Each loss against numbers worked out by hand, in NumPy, or by other libraries."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import rax

from rezoo import losses, metrics
from rezoo.losses.masks import largest


def lists(rows=5, length=6, seed=0, grades=3):
    rng = np.random.default_rng(seed)
    score = jnp.asarray(rng.normal(size=(rows, length)) * 2, jnp.float32)
    label = jnp.asarray(rng.integers(0, grades, (rows, length)), jnp.float32)
    where = jnp.asarray(rng.random((rows, length)) < 0.7)
    return score, label, where


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, float)))


def test_hand_values_of_pointwise_losses():
    score, label = jnp.array([2.0, -1.0]), jnp.array([0.0, 1.0])
    np.testing.assert_allclose(losses.squared(score, label), [4, 4])
    np.testing.assert_allclose(losses.absolute(score, label), [2, 2])
    np.testing.assert_allclose(losses.huber(score, label, delta=0.5), [0.5 * 1.75, 0.5 * 1.75])
    np.testing.assert_allclose(losses.huber(score, jnp.array([1.9, -1.0]), delta=0.5), [0.005, 0], rtol=1e-4)
    np.testing.assert_allclose(losses.logistic(score, label), np.log1p(np.exp([2, 1])), rtol=1e-6)
    beta = 0.1 * (0.75 * (1 - 1 / 0.1) + 1 / 0.1)
    expected = [np.log1p(np.exp(2)), -beta * np.log(sigmoid(-1))]
    np.testing.assert_allclose(losses.gbce(score, label, rate=0.1, t=0.75), expected, rtol=1e-6)
    np.testing.assert_allclose(losses.gbce(score, label, rate=0.1, t=0.0), losses.logistic(score, label))


def test_gbce_is_its_formula_in_float64_far_out_and_so_is_its_slope():
    score = np.array([-300.0, -30.0, -1.0, 0.0, 1.0, 30.0, 300.0])
    for label in (1.0, 0.0):
        for rate, t in ((256 / 12_100, 0.75), (0.5, 1.0), (0.1, 0.0)):
            beta = rate * (t * (1 - 1 / rate) + 1 / rate)
            weight, sign = (beta, 1.0) if label else (1.0, -1.0)
            expected = weight * np.log1p(np.exp(-sign * score))
            given = jnp.asarray(score, jnp.float32), jnp.full(7, label)
            loss = partial(losses.gbce, rate=rate, t=t)
            np.testing.assert_allclose(loss(*given), expected, rtol=1e-5, atol=1e-38)
            slope = jax.grad(lambda s, y: loss(s, y).sum())(*given)  # noqa: B023
            np.testing.assert_allclose(
                slope, -sign * weight / (1 + np.exp(sign * score)), rtol=1e-5, atol=1e-38
            )


def test_hand_values_of_a_pair():
    score, label = jnp.array([2.0, -1.0]), jnp.array([0.0, 1.0])
    p = sigmoid(3.0)
    expected = {
        losses.softmax_cross_entropy: np.log(1 + np.exp(3.0)),
        losses.list_mle: np.log(1 + np.exp(3.0)),
        losses.listnet: sigmoid(1) * np.log(1 + np.exp(3.0)) + sigmoid(-1) * np.log(1 + np.exp(-3.0)),
        losses.bpr: np.log1p(np.exp(3.0)),
        losses.hinge: 4.0,
        losses.warp: 4.0,
        partial(losses.warp, scale=3.0): 4.0 * (1 + 1 / 2 + 1 / 3),
        losses.smooth_auc: p,
        losses.top1: p + sigmoid(4.0),
        losses.top1_max: p + sigmoid(4.0),
        losses.bpr_max: np.log1p(np.exp(3.0)) + 4.0,
        losses.lambda_rank: (1 - 1 / np.log2(3)) * np.log1p(np.exp(3.0)),
        losses.approx_ndcg: 1 - 1 / np.log2(2 + p),
        losses.approx_mrr: 1 - 1 / (1 + p),
        losses.smooth_rank: 1 - (sigmoid(-9.0) + sigmoid(9.0) / np.log2(3)),
        losses.bound(metrics.mrr): 1 - 1 / 5,
        losses.smooth(metrics.hr, k=1): 1 - sigmoid(1.5 - 1 - p),
        losses.bound(metrics.hr, k=1): 1 - 2 * (1.5 - 5),
        partial(losses.ccl, weight=3.0): 2.0 + 3 * (2.0 - 0.9),
        losses.hardest(losses.bpr): np.log1p(np.exp(3.0)),
    }
    for loss, value in expected.items():
        np.testing.assert_allclose(loss(score, label), value, rtol=1e-5, err_msg=str(loss))
    assert losses.pairwise_logistic is losses.bpr


def test_the_strongest_opponents_count_most_in_the_max_losses():
    score, label = jnp.array([0.5, 2.0, -1.0, 0.0]), jnp.array([1.0, 0.0, 0.0, 0.0])
    r = np.array([2.0, -1.0, 0.0])
    share = np.exp(r) / np.exp(r).sum()
    top1 = (share * (sigmoid(r - 0.5) + sigmoid(r**2))).sum()
    bpr = -np.log((share * sigmoid(0.5 - r)).sum()) + 0.7 * (share * r**2).sum()
    np.testing.assert_allclose(losses.top1_max(score, label), top1, rtol=1e-5)
    np.testing.assert_allclose(losses.bpr_max(score, label, regularisation=0.7), bpr, rtol=1e-5)


def test_the_hardest_negatives_alone_are_trained_against():
    score = np.array([[0.5, 2.0, -1.0, 9.0, 0.0], [0.5, -1.0, 3.0, 1.0, 2.0]], np.float32)
    label = jax.device_put((np.arange(5) == 0) * np.ones_like(score))
    where = jax.device_put(score < 9)
    for k, chosen in (1, [[1], [2]]), (2, [[1, 4], [2, 4]]), (9, [[1, 2, 4], [1, 2, 3, 4]]):
        loss = losses.hardest(losses.bpr, k)
        total = jax.value_and_grad(lambda s, loss=loss: loss(s, label, where=where).sum())
        value, slope = jax.jit(total)(score)
        rows = zip(score, chosen, strict=True)
        expected = sum(np.log1p(np.exp(row[at] - row[0])).mean() for row, at in rows)
        np.testing.assert_allclose(value, expected, rtol=1e-6)
        assert [np.flatnonzero(row).tolist() for row in np.asarray(slope)] == [[0, *at] for at in chosen]
    with pytest.raises(ValueError, match="k = 0"):
        losses.hardest(losses.bpr, 0)


def test_warp_weighs_by_the_harmonic_number_of_its_violators():
    score, label = jnp.array([0.0, 0.5, -0.5, -2.0, 1.0]), jnp.array([1.0, 0.0, 0.0, 0.0, 1.0])
    first = (1 + 1 / 2) * (1.5 + 0.5) / 2
    second = 1.0 * 0.5
    np.testing.assert_allclose(losses.warp(score, label), (first + second) / 2, rtol=1e-6)


@pytest.mark.parametrize(
    "loss",
    [losses.bpr, losses.hinge, losses.smooth_auc, losses.warp, losses.top1, losses.top1_max, losses.bpr_max],
)
def test_a_bound_on_the_positives_saves_work_and_changes_nothing(loss):
    score, _, where = lists(4, 9)
    label = jnp.zeros(score.shape).at[jnp.arange(4), jnp.array([0, 3, 8, 5])].set(1.0)
    for mask in (None, where):
        expected = loss(score, label, where=mask)
        np.testing.assert_allclose(loss(score, label, where=mask, positives=1), expected, rtol=1e-6)
    graded = lists(4, 9)[1]
    np.testing.assert_allclose(
        loss(score, graded, where=where, positives=8), loss(score, graded, where=where), rtol=1e-5
    )


@pytest.mark.parametrize("k", [1, 3, 7])
def test_the_largest_are_found_as_by_jax(k):
    value = lists(40, 7)[1].at[3].set(-jnp.inf).at[4, 2:].set(-jnp.inf)
    value = value.at[5, 4].set(jnp.inf).at[6, 1].set(jnp.nan)
    np.testing.assert_array_equal(largest(value, k), jax.lax.top_k(value, k)[1])


def test_list_mle_is_the_probability_of_the_order():
    score, label = jnp.array([0.3, -1.0, 2.0]), jnp.array([2.0, 1.0, 0.0])
    e = np.exp(np.asarray(score))
    expected = -np.log(e[0] / e.sum() * e[1] / e[1:].sum())
    np.testing.assert_allclose(losses.list_mle(score, label), expected, rtol=1e-5)


def test_sampled_softmax_has_the_gradient_of_the_full_softmax_which_it_lacks_without_log_q():
    rng = np.random.default_rng(0)
    score = jnp.asarray(rng.normal(size=50), jnp.float32)
    q = np.exp(rng.normal(size=50))
    q /= q.sum()
    drawn = rng.choice(50, (1000, 300), p=q)
    full = jax.grad(lambda s: losses.softmax_cross_entropy(s, jax.nn.one_hot(7, 50)))(score)

    def of_sample(s, correct):
        slate = jnp.concatenate([jnp.full((len(drawn), 1), 7), jnp.asarray(drawn)], axis=1)
        label = jnp.zeros(slate.shape).at[:, 0].set(1.0)
        where = (slate != 7).at[:, 0].set(True)
        expected = jnp.log(jnp.asarray(q * 300, jnp.float32)).at[7].set(0.0)
        log_q = expected[slate] if correct else jnp.zeros(slate.shape)
        return losses.sampled_softmax(s[slate], label, log_q=log_q, where=where).mean()

    near, far = (jax.grad(of_sample)(score, correct) for correct in (True, False))
    error = [float(jnp.abs(g - full).sum()) for g in (near, far)]
    assert error[0] < 0.1 * error[1], error


def test_optax_has_the_same_logistic_and_softmax():
    score, label, _ = lists(grades=2)
    np.testing.assert_allclose(
        losses.logistic(score, label), optax.sigmoid_binary_cross_entropy(score, label), rtol=1e-5, atol=1e-6
    )
    share = label / jnp.maximum(label.sum(1, keepdims=True), 1)
    np.testing.assert_allclose(
        losses.softmax_cross_entropy(score, share), optax.softmax_cross_entropy(score, share), rtol=1e-5
    )


def test_rax_has_the_same_losses():
    score, label, where = lists()
    distinct = jnp.asarray(np.random.default_rng(1).permuted(np.tile(np.arange(6.0), (5, 1)), axis=1))
    distinct = distinct.astype(jnp.float32)
    weights = partial(rax.dcg_lambdaweight, normalize=True)
    soft = partial(rax.utils.approx_ranks, step_fn=jax.nn.sigmoid)
    hinged = partial(rax.utils.approx_ranks, step_fn=lambda x: jax.nn.relu(x + 1))
    for row in range(len(score)):
        s, y, w = score[row], label[row], where[row]
        every = dict(scores=s, where=w, reduce_fn=jnp.sum)
        given, yes = every | dict(labels=y), (y > 0).astype(jnp.float32)
        pairs = max(int(((y[:, None] > y[None]) & w[:, None] & w[None]).sum()), 1)
        some = float((w & (y > 0)).any())
        found_and_expected = {
            "squared": (losses.squared(s, y, where=w).sum(), rax.pointwise_mse_loss(**given)),
            "logistic": (
                losses.logistic(s, yes, where=w).sum(),
                rax.pointwise_sigmoid_loss(**every, labels=yes),
            ),
            "softmax": (losses.softmax_cross_entropy(s, y, where=w), rax.softmax_loss(**given)),
            "bpr": (losses.bpr(s, y, where=w) * pairs, rax.pairwise_logistic_loss(**given)),
            "hinge": (losses.hinge(s, y, where=w) * pairs, rax.pairwise_hinge_loss(**given)),
            "auc": (losses.smooth_auc(s, y, where=w) * pairs, rax.pairwise_soft_zero_one_loss(**given)),
            "lambda_rank": (
                losses.lambda_rank(s, y, where=w) * 6,
                rax.pairwise_logistic_loss(**given, lambdaweight_fn=weights),
            ),
            "list_mle": (
                losses.list_mle(s, distinct[row], where=w),
                rax.listmle_loss(**every, labels=distinct[row]),
            ),
            "approx_ndcg": (losses.approx_ndcg(s, y, where=w), some - rax.ndcg_metric(**given, rank_fn=soft)),
            "approx_mrr": (losses.approx_mrr(s, y, where=w), some - rax.mrr_metric(**given, rank_fn=soft)),
            "bound_mrr": (
                losses.bound(metrics.mrr)(s, y, where=w),
                some - rax.mrr_metric(**given, rank_fn=hinged),
            ),
            "bound_ndcg": (
                losses.bound(metrics.ndcg, gain=losses.exponential_gain)(s, y, where=w),
                some - rax.ndcg_metric(**given, rank_fn=hinged),
            ),
        }
        for name, (found, expected) in found_and_expected.items():
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5, err_msg=name)


METRICS = [
    metrics.hr,
    metrics.recall,
    metrics.precision,
    metrics.mrr,
    metrics.ndcg,
    metrics.average_precision,
]


@pytest.mark.parametrize("metric", METRICS)
def test_smooth_metrics_become_the_metric_as_the_temperature_falls(metric):
    score, label, where = lists(20, 8, grades=2)
    rank = metrics.ranks(score, where=where)
    target = where & (label > 0)
    expected = jnp.where(target.any(1), 1 - metric(rank, where=target, k=3), 0)
    found = losses.smooth(metric, k=3, temperature=1e-4)(score, label, where=where)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_smooth_rank_becomes_ndcg_as_the_temperature_falls():
    score, label, where = lists(20, 8)
    gain = jnp.where(where, losses.exponential_gain(label), 0)
    rank = metrics.ranks(score, where=where)
    for k in (3, 8):
        expected = jnp.where(gain.any(1), 1 - metrics.ndcg(rank, where=where, k=k, gain=gain), 0)
        found = losses.smooth_rank(score, label, where=where, k=k, temperature=1e-6)
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("metric", METRICS)
def test_bounds_bound(metric):
    score, label, where = lists(200, 8, grades=2)
    score = jnp.round(score)  # with ties
    rank = metrics.ranks(score, where=where)
    target = where & (label > 0)
    for k in (1, 3, 8):
        exact = jnp.where(target.any(1), 1 - metric(rank, where=target, k=k), 0)
        assert (losses.bound(metric, k=k)(score, label, where=where) >= exact - 1e-6).all()


def test_ndcg_weights_are_what_a_swap_does_to_ndcg():
    score, label, where = (x[0] for x in lists(1, 6, seed=4))
    for k in (3, 6):
        weight = losses.ndcg_weights(score, label, where=where, k=k)
        rank = np.asarray(metrics.ranks(score, where=where))
        gain = jnp.where(where, losses.exponential_gain(label), 0)

        def ndcg(rank, k=k, gain=gain):
            return float(metrics.ndcg(jnp.asarray(rank), where=where, k=k, gain=gain))

        for i, j in itertools.combinations(range(6), 2):
            swapped = rank.copy()
            swapped[[i, j]] = rank[[j, i]]
            change = abs(ndcg(swapped) - ndcg(rank)) if where[i] and where[j] else 0
            np.testing.assert_allclose(weight[i, j], change, atol=1e-6)


@pytest.mark.parametrize("given", [{"rate": 256.0}, {"rate": 0.0}, {"rate": np.nan}, {"rate": 0.5, "t": 1.5}])
def test_gbce_wants_shares(given):
    with pytest.raises(ValueError, match=r"(rate|t) = .*: give"):
        losses.gbce(jnp.zeros(2), jnp.ones(2), **given)


PAIR = jnp.array([1.0, 0.0]), jnp.array([1.0, 0.0])


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("loss", "name"),
    [
        (losses.smooth_auc, "temperature"),
        (losses.soft_ranks, "temperature"),
        (losses.approx_ndcg, "temperature"),
        (losses.approx_mrr, "temperature"),
        (losses.smooth_rank, "temperature"),
        (losses.huber, "delta"),
        (losses.warp, "scale"),
        (losses.warp, "margin"),
        (losses.hinge, "margin"),
        (losses.ccl, "margin"),
        (losses.ccl, "weight"),
        (losses.bpr_max, "regularisation"),
    ],
)
def test_a_number_of_which_a_loss_makes_nan_or_0_is_refused(loss, name, value):
    """Traced ones are left alone; a margin may be of either sign, and what weighs may be 0."""
    scores = PAIR[:1] if loss is losses.soft_ranks else PAIR
    if (name == "margin" and np.isfinite(value)) or (name in ("weight", "regularisation") and value == 0):
        assert np.isfinite(loss(*scores, **{name: value})).all()
        return
    with pytest.raises(ValueError, match=rf"{name} = {value}: give a finite number"):
        jax.jit(lambda: loss(*scores, **{name: value}))()
    jax.jit(lambda number: loss(*scores, **{name: number}))(value)
