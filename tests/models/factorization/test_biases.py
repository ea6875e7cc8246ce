import jax.numpy as jnp
import numpy as np
import pytest

from rezoo.data.batches import pairs, queries
from rezoo.models.factorization import biases
from rezoo.types import Batch


def ratings(rows=400, users=20, items=15, seed=0):
    rng = np.random.default_rng(seed)
    user, item = rng.integers(1, users, rows), rng.integers(1, items, rows)
    label = 3 + rng.normal(size=users)[user] + rng.normal(size=items)[item] + 0.1 * rng.normal(size=rows)
    return user, item, label.astype(np.float32)


def batch(user, item, label, where=None):
    rows = pairs(user, item, label)
    return rows if where is None else rows._replace(where=jnp.array(where))


def test_alternation_solves_the_ridge_regression():
    user, item, label = ratings()
    fitted = biases.fit(batch(user, item, label), 20, 15, user_damping=3.0, item_damping=2.0, rounds=200)
    design = np.concatenate([np.eye(20)[user], np.eye(15)[item]], axis=1)
    penalty = np.diag([3.0] * 20 + [2.0] * 15)
    solved = np.linalg.solve(design.T @ design + penalty, design.T @ (label - label.mean()))
    np.testing.assert_allclose(fitted["user_bias"], solved[:20], atol=1e-4)
    np.testing.assert_allclose(fitted["item_bias"], solved[20:], atol=1e-4)


def test_rows_that_do_not_count_change_nothing():
    user, item, label = ratings()
    keep = np.arange(400) % 3 > 0
    masked = biases.fit(batch(user, item, np.where(keep, label, np.nan), keep), 20, 15)
    dropped = biases.fit(batch(user[keep], item[keep], label[keep]), 20, 15)
    for name in ("mean", "user_bias", "item_bias"):
        np.testing.assert_allclose(masked[name], dropped[name], rtol=1e-4, atol=1e-5)


def test_the_unknown_are_scored_by_the_mean():
    data = batch(*ratings())
    fitted = biases.fit(data, 25, 18)
    query = queries([0, 24, 99])
    score = biases.score(fitted, query, jnp.array([[0, 17], [17, 99], [0, 0]], jnp.int32))
    np.testing.assert_allclose(score, np.full((3, 2), fitted["mean"]))


def test_pairs_and_slates_agree():
    user = np.repeat(np.arange(1, 6), 4)
    item, label = np.tile(np.arange(1, 5), 5), np.linspace(1, 5, 20).astype(np.float32)
    of_pairs = biases.fit(batch(user, item, label), 6, 5)
    query = queries(jnp.arange(1, 6))
    square = [jnp.array(x).reshape(5, 4) for x in (item, label)]
    slates = biases.fit(Batch(query, *square, jnp.ones((5, 4), bool)), 6, 5)
    np.testing.assert_allclose(of_pairs["item_bias"], slates["item_bias"], rtol=1e-5)
    np.testing.assert_allclose(of_pairs["user_bias"], slates["user_bias"], rtol=1e-5, atol=1e-6)


def test_numbers_that_cannot_be_are_refused():
    for name, value in (("user_damping", -1.0), ("item_damping", np.nan), ("rounds", 0)):
        with pytest.raises(ValueError, match=f"{name} = {value}: give"):
            biases.fit(batch(*ratings()), 20, 15, **{name: value})
