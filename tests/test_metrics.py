import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata
from sklearn import metrics as sk

from rezoo import metrics

RANKING = [
    metrics.hr,
    metrics.recall,
    metrics.precision,
    metrics.mrr,
    metrics.ndcg,
    metrics.average_precision,
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
    np.testing.assert_allclose(metrics.target_ranks(score, target), expected)


def test_masked_candidates_do_not_compete():
    score = jnp.array([[5.0, 4.0, 3.0, 3.0], [1.0, 2.0, 3.0, 4.0]])
    where = jnp.array([[False, True, True, True], [True, True, True, False]])
    found = metrics.target_ranks(score, jnp.array([[2, 1], [0, 2]], jnp.int32), where=where)
    np.testing.assert_allclose(found, [[2.5, 1.0], [3.0, 1.0]])
    np.testing.assert_allclose(metrics.ranks(score, where=where)[1], [3, 2, 1, 4])


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
    }


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([1, 3, 6]).flatmap(lambda n: st.sets(st.integers(1, 30), min_size=n, max_size=n)),
    st.sampled_from([1, 2, 5, 12]),
    st.sampled_from([0, 3]),
)
def test_ranking_metrics_equal_the_formulae(ranks, k, padding):
    rank = jnp.asarray([*ranks, *[1] * padding], jnp.float32)
    where = jnp.asarray([True] * len(ranks) + [False] * padding)
    for metric in RANKING:
        found = metric(rank, where=where, k=k)
        np.testing.assert_allclose(found, by_hand(ranks, k)[metric.__name__], rtol=1e-5, atol=1e-7)


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


def test_everything_jits_and_vmaps():
    score, label, where = (jnp.asarray(x) for x in draws())
    two = jax.vmap(lambda s: jax.jit(metrics.auc)(s, label, where=where))(jnp.stack([score, -score]))
    np.testing.assert_allclose(two[0] + two[1], 1.0, rtol=1e-5)
