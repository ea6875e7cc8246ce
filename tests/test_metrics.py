from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy, rankdata
from sklearn import metrics as sk

from rezoo import metrics

RANKING = [
    metrics.hr,
    metrics.recall,
    metrics.precision,
    metrics.mrr,
    metrics.ndcg,
    metrics.average_precision,
    metrics.average_precision_of_all,
    metrics.r_precision,
]


def draws(n=200, seed=0, ties=True):
    rng = np.random.default_rng(seed)
    score = np.round(rng.normal(size=n), 1 if ties else 9).astype(np.float32)
    label = (rng.random(n) < 0.3).astype(np.float32)
    return score, label, rng.random(n) < 0.8


def test_ratings_and_log_loss_equal_scikit_learn():
    score, label, where = draws()
    kept = (score[where], label[where])
    arrays = [jnp.asarray(x) for x in (score, label)]
    np.testing.assert_allclose(
        metrics.rmse(*arrays, where=jnp.asarray(where)), sk.root_mean_squared_error(*kept), rtol=1e-5
    )
    np.testing.assert_allclose(
        metrics.mae(*arrays, where=jnp.asarray(where)), sk.mean_absolute_error(*kept), rtol=1e-5
    )
    p = 1 / (1 + np.exp(-score.astype(float)))
    np.testing.assert_allclose(metrics.log_loss(*arrays), sk.log_loss(label, p), rtol=1e-5)


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_auc_equals_scikit_learn(seed, ties):
    score, label, where = draws(seed=seed, ties=ties)
    expected = sk.roc_auc_score(label[where], score[where])
    found = metrics.auc(jnp.asarray(score), jnp.asarray(label), where=jnp.asarray(where))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_auc_of_one_class_or_of_a_constant_is_a_half():
    assert float(metrics.auc(jnp.arange(3.0), jnp.ones(3))) == 0.5
    assert float(metrics.auc(jnp.zeros(4), jnp.array([0.0, 1.0, 1.0, 0.0]))) == 0.5


def test_gauc_is_the_weighted_mean_of_users_with_both_classes():
    score, label, _ = draws()
    user = np.random.default_rng(1).integers(0, 30, 200)
    label[user == 3] = 1.0
    areas, weights = [], []
    for u in range(30):
        mine = user == u
        if 0 < label[mine].sum() < mine.sum():
            areas.append(sk.roc_auc_score(label[mine], score[mine]))
            weights.append(mine.sum())
    found, count = metrics.gauc(jnp.asarray(score), jnp.asarray(label), jnp.asarray(user), 30)
    np.testing.assert_allclose(found, np.average(areas, weights=weights), rtol=1e-5)
    assert int(count) == len(areas) < 30


@settings(max_examples=50, deadline=None)
@given(  # few lengths, as each is compiled
    st.sampled_from([1, 2, 5, 12]).flatmap(lambda n: st.lists(st.integers(-3, 3), min_size=n, max_size=n))
)
def test_ranks_equal_scipys_mean_ranks(values):
    score = jnp.asarray(values, jnp.float32)
    expected = rankdata(-np.asarray(values), method="average")
    np.testing.assert_allclose(metrics.ranks(score), expected)
    target = jnp.arange(len(values), dtype=jnp.int32)
    np.testing.assert_allclose(jax.jit(metrics.target_ranks)(score, target), expected)


def test_masked_candidates_do_not_compete():
    score = jnp.array([[5.0, 4.0, 3.0, 3.0], [1.0, 2.0, 3.0, 4.0]])
    where = jnp.array([[False, True, True, True], [True, True, True, False]])
    found = metrics.target_ranks(score, jnp.array([[2, 1], [0, 2]], jnp.int32), where=where)
    np.testing.assert_allclose(found, [[2.5, 1.0], [3.0, 1.0]])
    np.testing.assert_allclose(metrics.ranks(score, where=where)[1], [3, 2, 1, 4])


@partial(jax.jit, static_argnames="k")
def all_values(rank, where, k):
    return {metric.__name__: metric(rank, where=where, k=k) for metric in [*RANKING, metrics.dcg]}


def by_hand(ranks, k):
    """The textbook's formulae on the ranks of one user's targets, without ties."""
    hits = sorted(r for r in ranks if r <= k)
    ideal = sum(1 / np.log2(place + 1) for place in range(1, min(len(ranks), k) + 1))
    return {
        "hr": float(bool(hits)),
        "recall": len(hits) / len(ranks),
        "precision": len(hits) / k,
        "mrr": 1 / hits[0] if hits else 0.0,
        "ndcg": sum(1 / np.log2(r + 1) for r in hits) / ideal,
        "average_precision": sum((n + 1) / r for n, r in enumerate(hits)) / min(len(ranks), k),
        "average_precision_of_all": sum((n + 1) / r for n, r in enumerate(hits)) / len(ranks),
        "r_precision": sum(r <= min(len(ranks), k) for r in ranks) / len(ranks),
        "dcg": sum(1 / np.log2(r + 1) for r in hits),
    }


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([1, 3, 8]).flatmap(lambda n: st.sets(st.integers(1, 30), min_size=n, max_size=n)),
    st.sampled_from([1, 5, 12]),
)
def test_ranking_metrics_equal_the_formulae(ranks, k):
    padding = 8 - len(ranks)  # one shape, as each is compiled
    rank = jnp.asarray([*ranks, *[1] * padding], jnp.float32)
    where = jnp.asarray([True] * len(ranks) + [False] * padding)
    for name, found in all_values(rank, where, k=k).items():
        np.testing.assert_allclose(found, by_hand(ranks, k)[name], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("k", [1, 3, 10])
def test_ndcg_equals_scikit_learn_with_graded_gains(k):
    rng = np.random.default_rng(0)
    score, grade = rng.permutation(10).astype(np.float32)[None], rng.integers(0, 4, (1, 10))
    found = metrics.ndcg(metrics.ranks(jnp.asarray(score)), k=k, gain=jnp.asarray(2.0**grade - 1))
    np.testing.assert_allclose(found, sk.ndcg_score(2.0**grade - 1, score, k=k), rtol=1e-5)


@pytest.mark.parametrize("metric", RANKING)
def test_a_constant_scorer_does_not_look_good(metric):
    rank = metrics.target_ranks(jnp.zeros((1, 1000)), jnp.array([[17]], jnp.int32))
    np.testing.assert_allclose(rank, 500.5)
    assert float(metric(rank, k=100)[0]) == 0.0


@pytest.mark.parametrize("metric", RANKING)
def test_users_without_targets_are_0_and_not_nan(metric):
    rank, where = jnp.ones((2, 3)), jnp.array([[False] * 3, [True] * 3])
    value = metric(rank, where=where, k=5)
    assert float(value[0]) == 0.0 and np.isfinite(value).all()
    mean, count = metrics.mean_over_users(value, where.any(axis=1))
    assert float(mean) == float(value[1]) and int(count) == 1
    assert float(metrics.mean_over_users(value, jnp.zeros(2, bool))[0]) == 0.0


def test_beyond_accuracy_by_hand():
    ids = jnp.array([[1, 2], [1, 3], [1, 0]], jnp.int32)
    np.testing.assert_allclose(metrics.coverage(ids, 6), 3 / 5)
    exposure = np.array([3, 1, 1, 0, 0])
    expected = np.abs(exposure[:, None] - exposure[None]).sum() / (2 * 5 * exposure.sum())
    np.testing.assert_allclose(metrics.gini(ids, 6), expected, rtol=1e-6)
    popularity = jnp.array([0.0, 8, 4, 2, 1, 1]) / 16
    np.testing.assert_allclose(metrics.mean_popularity(ids, popularity), (3 * 8 + 4 + 2) / 16 / 5, rtol=1e-6)
    np.testing.assert_allclose(metrics.novelty(ids, popularity), (3 * 1 + 2 + 3) / 5, rtol=1e-6)
    vector = jnp.array([[0.0, 0], [1, 0], [0, 2], [3, 3]])
    np.testing.assert_allclose(
        metrics.intra_list_diversity(ids, vector), (1 + 1 - np.sqrt(0.5)) / 2, rtol=1e-6
    )


BAD = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, 2.0, 3e38)


@partial(jax.jit, static_argnames="k")
def ranks_and_values(score, target, competes, counted, propensity, k):
    rank = metrics.target_ranks(score, target, where=competes, counted=counted)
    weighted = [partial(m, propensity=propensity) for m in (metrics.debiased_recall, metrics.debiased_ndcg)]
    masks = counted, metrics.distinct(target, counted)
    return rank, [metric(rank, where=where, k=k) for metric in [*RANKING, *weighted] for where in masks]


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), k=st.sampled_from([1, 2, 5]), masked=st.booleans())
def test_any_scores_and_any_targets_give_metrics_between_0_and_1(seed, k, masked):
    rng = np.random.default_rng(seed)
    score, target = rng.choice(BAD, (4, 7)).astype(np.float32), rng.integers(-2, 9, (4, 6)).astype(np.int32)
    competes, counted = (rng.random(shape) < (0.8 if masked else 1) for shape in (score.shape, target.shape))
    propensity = rng.random((4, 6)).astype(np.float32) + 0.1
    arrays = [jnp.asarray(x) for x in (score, target, competes, counted, propensity)]
    rank, values = ranks_and_values(*arrays, k=k)
    np.testing.assert_array_equal(rank, ranks_by_hand(score, target, competes, counted))
    assert all((value >= 0).all() and (value <= 1 + 1e-6).all() for value in jax.device_get(values))


def ranks_by_hand(score, target, competes, counted):
    rank, competes = np.full(target.shape, np.inf), competes.copy()
    asked = np.argwhere(counted & (target >= 0) & (target < score.shape[1]))
    competes[asked[:, 0], target[tuple(asked.T)]] = True
    for row, column in asked:
        place = target[row, column]
        first = place not in target[row, :column][counted[row, :column]]
        if first and not np.isnan(mine := score[row, place]):
            others = np.delete(score[row], place)[np.delete(competes[row], place)]
            rank[row, column] = 1 + (others > mine).sum() + (others == mine).sum() / 2
    return rank


@pytest.mark.parametrize("metric", RANKING)
def test_a_broken_model_hits_nothing(metric):
    target = jnp.array([[1], [5], [99], [-3]], jnp.int32)
    for score in (jnp.full((4, 6), jnp.nan), jnp.zeros((4, 6)).at[:, 1].set(jnp.nan).at[:, 5].set(jnp.nan)):
        assert np.isinf(metrics.target_ranks(score, target)).all()
        assert (metric(metrics.target_ranks(score, target), k=6) == 0).all()
    constant = metrics.target_ranks(jnp.full((4, 6), jnp.inf), target)
    np.testing.assert_array_equal(constant[:, 0], [3.5, 3.5, np.inf, np.inf])


def test_a_nan_is_worse_than_minus_infinity_and_than_what_is_masked():
    score = jnp.array([jnp.nan, -jnp.inf, 1.0, 2.0])
    assert metrics.ranks(score).tolist() == [np.inf, 3, 2, 1]
    where = jnp.array([True, True, True, False])
    assert metrics.ranks(score, where=where).tolist()[:3] == [np.inf, 2, 1]


def test_targets_that_tie_across_the_last_place_share_the_places_that_are_left():
    rank = metrics.target_ranks(jnp.array([[9.0, 5.0, 5.0, 5.0, 1.0]]), jnp.array([[0, 1, 2, 3]], jnp.int32))
    assert rank.tolist() == [[1, 3, 3, 3]]
    np.testing.assert_allclose(metrics.precision(rank, k=3), 1.0, rtol=1e-6)
    np.testing.assert_allclose(metrics.recall(rank, k=3), 3 / 4)
    np.testing.assert_allclose(metrics.dcg(rank, k=3), 1 + 2 / np.log2(4))
    np.testing.assert_allclose(metrics.average_precision(rank, k=3), (1 + 2 / 3 * (2 + 3 + 4) / 3) / 3)


def test_a_nan_score_loses_every_pair_of_the_auc():
    nan, some = np.nan, [0.0, 1.0, 0.0, 1.0]
    cases = [
        ([0.1, nan, 0.3, nan], 0.0),
        ([nan] * 4, 0.0),
        ([0.1, 0.2, nan, 0.4], 0.5),
        ([0.1, nan, 0.3, 0.4], 0.5),
    ]
    for score, expected in cases:
        score, label = jnp.array(score), jnp.array(some)
        assert float(metrics.auc(score, label)) == expected
        assert float(metrics.gauc(score, label, jnp.ones(4, jnp.int32), 2)[0]) == expected
    masked = metrics.auc(
        jnp.array([0.1, nan, jnp.inf]), jnp.array([0.0, 1.0, 1.0]), where=jnp.array([True, False, True])
    )
    assert float(masked) == 1.0
    assert float(metrics.auc(jnp.array([nan, 1.0]), jnp.ones(2))) == 0.0
    for metric in (metrics.auc, metrics.rmse, metrics.mae, metrics.log_loss):
        assert np.isnan(metric(jnp.zeros(2), jnp.array([1.0, nan])))
    for metric in (metrics.rmse, metrics.mae, metrics.log_loss):
        assert np.isnan(metric(jnp.array([1.0, nan]), jnp.zeros(2)))
    assert float(metrics.log_loss(jnp.array([jnp.inf, -jnp.inf]), jnp.array([1.0, 0.0]))) == 0.0
    assert float(metrics.log_loss(jnp.array([jnp.inf, 0.0]), jnp.zeros(2))) > 1e37


def test_entropy_tail_and_serendipity_equal_scipy_and_counting():
    rng = np.random.default_rng(0)
    ids, count = rng.integers(-1, 12, (20, 5)), rng.zipf(1.5, 10)
    real = (ids > 0) & (ids < 10)
    exposure = np.bincount(ids[real], minlength=10)
    asked = jnp.asarray(ids, jnp.int32)
    np.testing.assert_allclose(metrics.shannon_entropy(asked, 10), entropy(exposure, base=2), rtol=1e-5)
    np.testing.assert_allclose(metrics.coverage(asked, 10), (exposure > 0).sum() / 9)
    count[0], order = 0, np.argsort(-count[1:], kind="stable") + 1
    head = order[: np.searchsorted(np.cumsum(count[order]), 0.8 * count.sum()) + 1]
    tail = metrics.long_tail(count)
    assert sorted(np.flatnonzero(tail)) == sorted(set(range(1, 10)) - set(head.tolist()))
    lists = [[i for i in row if 0 < i < 10] for row in ids]
    share = np.mean([np.mean([i not in head for i in row]) for row in lists if row])
    np.testing.assert_allclose(metrics.tail_share(asked, tail), share, rtol=1e-5)
    target, expected = rng.integers(0, 10, (20, 3)), rng.integers(0, 10, (20, 4))
    lists = [[i for i in row if i > 0] for row in ids]
    hits = [
        np.mean([i in t and i not in e for i in row])
        for row, t, e in zip(lists, target, expected, strict=True)
        if row
    ]
    found = metrics.serendipity(asked, jnp.asarray(target, jnp.int32), jnp.asarray(expected, jnp.int32))
    np.testing.assert_allclose(found, np.mean(hits), rtol=1e-5)


def test_debiased_metrics_equal_their_formulae_and_with_equal_propensities_the_plain_ones():
    rank, p = jnp.array([[1.0, 4.0, 30.0, 2.0]]), jnp.array([[0.5, 0.1, 0.2, 1.0]])
    where = jnp.array([[True, True, True, False]])
    hit, weight = np.array([1, 1, 0]), np.array([2, 10, 5])
    found = metrics.debiased_recall(rank, propensity=p, where=where, k=10)
    np.testing.assert_allclose(found, (weight * hit).sum() / weight.sum(), rtol=1e-6)
    gained = 2 / np.log2(2) + 10 / np.log2(5)
    ideal = 10 / np.log2(2) + 5 / np.log2(3) + 2 / np.log2(4)
    np.testing.assert_allclose(
        metrics.debiased_ndcg(rank, propensity=p, where=where, k=10), gained / ideal, rtol=1e-6
    )
    alike = metrics.propensities(jnp.array([5, 1, 9]), power=0.0)[jnp.zeros((1, 4), jnp.int32)]
    np.testing.assert_allclose(
        metrics.debiased_recall(rank, propensity=alike, k=10), metrics.recall(rank, k=10), rtol=1e-6
    )


def test_dcg_and_average_precision_equal_scikit_learn():
    rng = np.random.default_rng(0)
    score, label = (
        rng.permutation(30).astype(np.float32)[None],
        (rng.random((1, 30)) < 0.3).astype(np.float32),
    )
    rank, where = metrics.ranks(jnp.asarray(score)), jnp.asarray(label) > 0
    expected = sk.average_precision_score(label[0], score[0])
    np.testing.assert_allclose(metrics.average_precision_of_all(rank, where=where)[0], expected, rtol=1e-5)
    for k in (3, 30):
        np.testing.assert_allclose(
            metrics.dcg(rank, where=where, k=k)[0], sk.dcg_score(label, score, k=k), rtol=1e-5
        )


def test_everything_jits_and_vmaps():
    score, label, where = (jnp.asarray(x) for x in draws())
    two = jax.vmap(lambda s: jax.jit(metrics.auc)(s, label, where=where))(jnp.stack([score, -score]))
    np.testing.assert_allclose(two[0] + two[1], 1.0, rtol=1e-5)


@pytest.mark.parametrize("metric", RANKING)
@pytest.mark.parametrize("rank", [0.0, -3.0, np.nan])
def test_ranks_begin_at_1(metric, rank):
    ranks, where = jnp.array([[1.0, rank]]), jnp.array([[True, False]])
    with pytest.raises(ValueError, match=f"there is the rank {rank}: ranks begin at 1"):
        metric(ranks, k=5)
    assert metric(ranks, where=where, k=5).tolist() == metric(ranks[:, :1], k=5).tolist()


@pytest.mark.parametrize("count", [-3.0, np.nan])
def test_counts_are_numbers_of_events(count):
    for of_counts in (metrics.long_tail, metrics.propensities):
        with pytest.raises(ValueError, match=r"count = .*: give a finite number of 0 or more"):
            of_counts(jnp.array([0.0, count, 5.0]))
    for of_lists in (metrics.coverage, metrics.gini, metrics.shannon_entropy):
        with pytest.raises(ValueError, match="num_items = 0: give 1 or more"):
            of_lists(jnp.array([[1]]), 0)
