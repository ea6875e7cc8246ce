import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rezoo import evaluation, losses, objectives, training
from rezoo.data.batches import queries
from rezoo.models.rating.autorec import IAutoRec, UAutoRec, ratings_of
from rezoo.types import Batch, Query

USER = np.array([1, 1, 2, 3, 3, 3])
ITEM = np.array([1, 2, 2, 1, 4, 3])
RATING = np.array([5.0, 3.0, 1.0, 4.0, 2.0, 5.0])
USERS, ITEMS = 6, 6  # user 4 and item 5 have no rating; user 5 and item 0 neither


def rows(row, column, size) -> Batch:
    """A row of observed ratings for each of `size` users (or items), those without any included."""
    ids, rating = ratings_of(row, column, RATING, size)
    query = Query(jnp.arange(size, dtype=jnp.int32), ids, {"history_rating": rating})
    return Batch(query, ids, rating, ids > 0)


def trained(num_columns: int, data: Batch):
    model = UAutoRec(num_columns, 4, mean=3.0)
    optimizer = optax.chain(optax.add_decayed_weights(1e-3), optax.adam(0.05))
    step = training.make_step(objectives.pointwise(model, losses.squared), optimizer)
    state = training.init_state(jax.random.key(0), model, optimizer, data)
    return model, *jax.jit(lambda s: training.fit(step, s, data, num_epochs=150, batch_size=4))(state)


def test_it_fits_what_was_rated_and_rows_without_ratings_are_finite():
    data = rows(USER, ITEM, USERS)
    model, state, history = trained(ITEMS, data)
    assert float(history["loss"][-1]) < 0.1 < float(history["loss"][0]) and not bool(state.halted)
    score = np.asarray(evaluation.score_all(model, state.variables, data.query))
    np.testing.assert_allclose(score[USER, ITEM], RATING, atol=0.5)
    assert np.isfinite(score).all()
    np.testing.assert_array_equal(score[4], score[5])  # nobody without ratings is told from another


def test_an_item_without_ratings_gets_the_mean_when_weights_decay():
    _, state, _ = trained(ITEMS, rows(USER, ITEM, USERS))
    model = UAutoRec(ITEMS, 4, mean=3.0)
    score = evaluation.score_all(model, state.variables, rows(USER, ITEM, USERS).query)
    np.testing.assert_allclose(score[:, 5], 3.0, atol=0.1)


def test_item_autorec_is_user_autorec_of_the_transposed_matrix():
    by_item = rows(ITEM, USER, ITEMS)
    turned, state, _ = trained(USERS, by_item)
    rater, rating = by_item.query.history, by_item.label
    variables = {**state.variables, "catalogue": {"rater": rater, "rating": rating}}
    nobody = {"history": jnp.zeros((USERS, 0), jnp.int32), "features": {}}
    query = Query(user=jnp.arange(USERS, dtype=jnp.int32), **nobody)
    score = evaluation.score_all(IAutoRec(USERS, 4, mean=3.0), variables, query)
    transposed = evaluation.score_all(turned, state.variables, by_item.query)
    np.testing.assert_allclose(score, transposed.T, rtol=1e-5)
    assert np.isfinite(score).all()


def test_a_new_item_is_scored_from_its_ratings_without_training():
    _, state, _ = trained(USERS, by_item := rows(ITEM, USER, ITEMS))
    rater, rating = by_item.query.history, by_item.label
    longer = {"rater": jnp.concatenate([rater, rater[1:2]]), "rating": jnp.concatenate([rating, rating[1:2]])}
    query = queries(jnp.arange(1, USERS))
    slate = jnp.tile(jnp.array([1, ITEMS], jnp.int32), (USERS - 1, 1))
    score = IAutoRec(USERS, 4, mean=3.0).apply({**state.variables, "catalogue": longer}, query, slate)
    np.testing.assert_allclose(score[:, 0], score[:, 1], rtol=1e-6)


def test_implicit_events_count_one():
    data = rows(USER, ITEM, USERS)
    model, state, _ = trained(ITEMS, data)
    ones = data.query._replace(features={"history_rating": (data.item > 0).astype(jnp.float32)})
    bare = data.query._replace(features={})
    np.testing.assert_array_equal(
        evaluation.score_all(model, state.variables, bare), evaluation.score_all(model, state.variables, ones)
    )


def test_ratings_and_units_drop_out_in_training_alone():
    data = rows(USER, ITEM, USERS)
    plain, dropping = UAutoRec(ITEMS, 4), UAutoRec(ITEMS, 4, dropout=0.5)
    variables = plain.init(jax.random.key(0), data.query, data.item)
    score = plain.apply(variables, data.query, data.item)
    np.testing.assert_array_equal(dropping.apply(variables, data.query, data.item), score)
    rngs = [{"dropout": jax.random.key(seed)} for seed in (1, 2)]
    one, other = (dropping.apply(variables, data.query, data.item, rngs=rng) for rng in rngs)
    assert not np.allclose(one, other) and not np.allclose(one, score)


@pytest.mark.parametrize("second", [3.0, 5.0])
def test_a_pair_that_is_rated_twice_is_refused_as_its_ratings_would_add_up(second):
    row, column, rating = np.array([2, 1, 1, 1]), np.array([4, 7, 4, 7]), np.array([1.0, 5.0, 2.0, second])
    with pytest.raises(ValueError, match=f"row 1 rates column 7 twice, 5 and {second:g}: .*drop_duplicates"):
        ratings_of(row, column, rating, 3)
