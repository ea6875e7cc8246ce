import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rezoo import evaluation
from rezoo.models import MF
from rezoo.models.baselines import Popularity, popularity
from rezoo.types import Batch, Query

USERS, ITEMS = 9, 23


class Table(nn.Module):
    """Scores looked up in a matrix: a scorer that is no retriever."""

    num_items: int = ITEMS

    @nn.compact
    def __call__(self, query: Query, item: jax.Array) -> jax.Array:
        scores = self.param("scores", nn.initializers.normal(1.0), (USERS, ITEMS))
        row = query.user.reshape(-1, *[1] * (item.ndim - 1))
        return scores.at[jnp.broadcast_to(row, item.shape), item].get(mode="fill", fill_value=-5.0)


def ask(user):
    user = jnp.asarray(user, jnp.int32)
    return Query(user, jnp.zeros((len(user), 0), jnp.int32), {})


def problem(seed=0, ties=False):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(USERS, ITEMS)).astype(np.float32)
    scores = np.round(scores) if ties else scores
    target = np.zeros((USERS, 3), np.int32)
    seen = np.zeros((USERS, 5), np.int32)
    for user in range(1, USERS):
        items = rng.permutation(np.arange(1, ITEMS))
        count = int(rng.integers(0, 4))
        target[user, :count] = items[:count]
        seen[user, : 5 - user % 3] = items[5 : 10 - user % 3]
    return scores, target, seen


def expected(scores, target, seen, k):
    """HR, NDCG and recall by sorting, one user at a time, ties in the middle."""
    rows = []
    for user in range(USERS):
        wanted = target[user][target[user] > 0]
        if not len(wanted):
            continue
        allowed = [i for i in range(1, ITEMS) if i not in seen[user] or i in wanted]
        ranks = []
        for item in wanted:
            better = sum(scores[user, j] > scores[user, item] for j in allowed)
            same = sum(scores[user, j] == scores[user, item] for j in allowed if j != item)
            ranks.append(1 + better + same / 2)
        hits = [r for r in ranks if r <= k]
        ideal = sum(1 / np.log2(p + 1) for p in range(1, min(len(wanted), k) + 1))
        gain = sum(1 / np.log2(r + 1) for r in hits) / ideal
        rows.append((bool(hits), gain, len(hits) / len(wanted)))
    return np.mean(rows, axis=0), len(rows)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("block", [2, 100])
def test_evaluate_equals_counting_by_hand(ties, block):
    scores, target, seen = problem(ties=ties)
    variables = {"params": {"scores": jnp.asarray(scores)}}
    found = evaluation.evaluate(
        Table(),
        variables,
        ask(np.arange(USERS)),
        jnp.asarray(target),
        exclude=jnp.asarray(seen),
        k=(4, 10),
        block=block,
    )
    for k in (4, 10):
        (hr, ndcg, recall), users = expected(scores, target, seen, k)
        np.testing.assert_allclose(
            [found[f"hr@{k}"], found[f"ndcg@{k}"], found[f"recall@{k}"]], [hr, ndcg, recall], rtol=1e-5
        )
    assert int(found["users"]) == users and int(found["users_without_target"]) == USERS - users > 0


def test_an_id_below_0_is_padding():
    scores, target, seen = problem()
    variables = {"params": {"scores": jnp.asarray(scores)}}
    query, model = ask(np.arange(USERS)), Table()
    found, same = (
        evaluation.ranks(model, variables, query, jnp.asarray(t), exclude=jnp.asarray(e))
        for t, e in ((target, seen), (np.where(target > 0, target, -1), np.where(seen > 0, seen, -1)))
    )
    np.testing.assert_array_equal(np.asarray(found)[target > 0], np.asarray(same)[target > 0])


def test_a_constant_scorer_has_no_hits():
    model, variables = Popularity(500), popularity.fit(np.zeros(3, np.int64), 500)
    found = evaluation.evaluate(model, variables, ask([1, 2]), jnp.array([[3], [4]], jnp.int32), k=(10,))
    assert float(found["hr@10"]) == 0.0


def test_the_sampled_protocol_ranks_the_target_among_its_negatives():
    scores, _, _ = problem()
    variables = {"params": {"scores": jnp.asarray(scores)}}
    target = jnp.array([5, 6, 0], jnp.int32)
    negatives = jnp.array([[1, 2, 3, 0], [7, 8, 9, 10], [1, 2, 3, 4]], jnp.int32)
    found = evaluation.evaluate_sampled(Table(), variables, ask([1, 2, 3]), target, negatives, k=(2,))
    ranks = [
        1 + sum(scores[u, n] > scores[u, t] for n in row if n)
        for u, t, row in ((1, 5, [1, 2, 3]), (2, 6, [7, 8, 9, 10]))
    ]
    np.testing.assert_allclose(found["hr@2"], np.mean([r <= 2 for r in ranks]))
    assert int(found["users"]) == 2


def test_ratings_and_clicks_over_batches_in_blocks():
    scores, _, _ = problem()
    variables = {"params": {"scores": jnp.asarray(scores)}}
    user, item = np.array([1, 2, 3, 4, 5]), jnp.array([3, 4, 5, 6, 7], jnp.int32)
    label = jnp.array([1.0, 0.0, 1.0, 0.0, 1.0])
    batch = Batch(ask(user), item, label, jnp.array([True, True, True, True, False]))
    mine = scores[user[:4], np.asarray(item)[:4]]
    found = evaluation.evaluate_ratings(Table(), variables, batch, block=2)
    np.testing.assert_allclose(found["rmse"], np.sqrt(np.mean((mine - label[:4]) ** 2)), rtol=1e-5)
    clipped = evaluation.evaluate_ratings(Table(), variables, batch, clip=(0.0, 1.0))
    np.testing.assert_allclose(clipped["mae"], np.mean(np.abs(np.clip(mine, 0, 1) - label[:4])), rtol=1e-5)
    clicks = evaluation.evaluate_clicks(Table(), variables, batch)
    expected_auc = np.mean([(mine[a] > mine[b]) for a in (0, 2) for b in (1, 3)])
    np.testing.assert_allclose(clicks["auc"], expected_auc)


@pytest.mark.parametrize("item_block", [4, 100])
@pytest.mark.parametrize("retriever", [False, True])
def test_recommend_gives_the_best_that_may_be_recommended(item_block, retriever):
    model = MF(USERS, ITEMS, 4) if retriever else Table()
    query = ask(np.arange(USERS))
    variables = model.init(jax.random.key(0), query, query.user)
    variables = jax.tree.map(lambda x: x + 0.3 * jax.random.normal(jax.random.key(1), x.shape), variables)
    _, _, seen = problem()
    ids, scores = evaluation.recommend(
        model, variables, query, 6, exclude=jnp.asarray(seen), block=4, item_block=item_block
    )
    whole = np.array(evaluation.score_all(model, variables, query))
    whole[:, 0] = -np.inf
    np.put_along_axis(whole, seen, -np.inf, axis=1)
    best = np.argsort(-whole, axis=1)[:, :6]
    np.testing.assert_array_equal(ids, best)
    np.testing.assert_allclose(scores, np.take_along_axis(whole, best, axis=1), rtol=1e-5)


def test_recommend_more_than_there_is_ends_with_nothing():
    variables = popularity.fit(np.array([1, 1, 3]), 5)
    ids, scores = evaluation.recommend(
        Popularity(5), variables, ask([1]), 8, exclude=jnp.array([[2]], jnp.int32)
    )
    assert ids[0].tolist()[:3] == [1, 3, 4] and ids[0].tolist()[3:] == [0] * 5
    assert np.isneginf(scores[0, 3:]).all() and scores[0, :2].tolist() == [2.0, 1.0]


def test_recommendation_takes_memory_for_a_block_whatever_the_catalogue():
    def temporary(num_items):
        model = MF(10, num_items, 8)
        query = jax.eval_shape(lambda: ask(np.zeros(64)))
        shapes = jax.eval_shape(model.init, jax.random.key(0), query, query.user)
        compiled = (
            jax.jit(lambda v, q: evaluation.recommend(model, v, q, 10, block=16, item_block=1024))
            .lower(shapes, query)
            .compile()
        )
        return compiled.memory_analysis().temp_size_in_bytes

    small, large = temporary(20_000), temporary(200_000)
    assert large - small < 200_000 * 9 * 4 * 1.5  # the table with its bias column, and no scores


def test_a_model_that_hides_its_catalogue_is_asked_for_it():
    class Silent(nn.Module):
        @nn.compact
        def __call__(self, query, item):
            return item * 1.0

    with pytest.raises(ValueError, match="Silent has neither"):
        evaluation.score_all(Silent(), {}, ask([1]))
    assert evaluation.score_all(Silent(), {}, ask([1]), num_items=4).shape == (1, 4)


def test_evaluation_vmaps_over_members():
    scores, target, _ = problem()
    params = {"scores": jnp.stack([jnp.asarray(scores), -jnp.asarray(scores)])}
    many = jax.vmap(
        lambda p: evaluation.evaluate(Table(), {"params": p}, ask(np.arange(USERS)), jnp.asarray(target))
    )(params)
    one = evaluation.evaluate(
        Table(), {"params": {"scores": -jnp.asarray(scores)}}, ask(np.arange(USERS)), jnp.asarray(target)
    )
    np.testing.assert_allclose(many["ndcg@10"][1], one["ndcg@10"], rtol=1e-6)
