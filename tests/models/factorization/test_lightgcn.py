"""LightGCN against powers of the dense adjacency matrix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import apply, made, noisy, score_all

from rezoo import losses, objectives, sampling
from rezoo.data.batches import pairs, queries
from rezoo.models import LightGCN
from rezoo.models.factorization import lightgcn
from rezoo.nn.similarity import cosine

USERS, ITEMS, DIM = 9, 40, 4
RNG = np.random.default_rng(0)
USER, ITEM = RNG.integers(0, USERS - 1, 150), RNG.integers(0, ITEMS - 1, 150)  # the last of each has no edge
MODEL = LightGCN(USERS, ITEMS, DIM, num_layers=3)
ASKED = queries(np.arange(USERS))


def variables(model=MODEL, graph=None):
    constants = {"graph": graph or lightgcn.graph(USER, ITEM, USERS, ITEMS)}
    item = jnp.zeros(USERS, jnp.int32)
    return {"params": noisy(made(model, constants, ASKED, item), 0.5), **constants}


def dense(users, items, layers=3):
    """The vectors of all nodes, from the matrix of equation 8."""
    real = (USER > 0) & (ITEM > 0)
    r = np.zeros((len(users), len(items)))
    r[USER[real], ITEM[real]] = 1
    a = np.block([[np.zeros((len(users),) * 2), r], [r.T, np.zeros((len(items),) * 2)]])
    degree = a.sum(1)
    scale = np.divide(1, np.sqrt(degree), out=np.zeros_like(degree), where=degree > 0)
    a = scale[:, None] * a * scale[None]
    e = np.concatenate([users, items])
    mean = sum(np.linalg.matrix_power(a, k) @ e for k in range(layers + 1)) / (layers + 1)
    return mean[: len(users)], mean[len(users) :]


def tables(variables):
    return (np.asarray(variables["params"][name]["embedding"], np.float64) for name in ("user", "item"))


def test_scores_are_those_of_the_dense_matrix():
    given = variables()
    users, items = dense(*tables(given))
    np.testing.assert_allclose(score_all(MODEL, given, ASKED), users @ items.T, rtol=1e-4, atol=1e-5)


def test_the_gradient_is_that_of_the_dense_matrix():
    """Of one score: what its two vectors are made of, by the same matrix."""
    given = variables()

    def score(params):
        return MODEL.apply({**given, "params": params}, queries([2]), jnp.array([3]))[0]

    slope = jax.jit(jax.grad(score))(given["params"])
    users, items = dense(*tables(given))
    of_user, of_item = np.zeros((USERS, DIM)), np.zeros((ITEMS, DIM))
    of_user[2], of_item[3] = items[3], users[2]
    for name, expected in zip(("user", "item"), dense(of_user, of_item), strict=True):
        np.testing.assert_allclose(slope[name]["embedding"], expected, rtol=1e-4, atol=1e-5)


def test_propagated_vectors_score_the_same_and_are_not_trained_by():
    given = variables()
    ready = lightgcn.propagated(MODEL, given)
    whole = score_all(MODEL, given, ASKED)
    np.testing.assert_allclose(score_all(MODEL, ready, ASKED), whole, rtol=1e-5, atol=1e-6)
    other = {**ready, "params": jax.tree.map(jnp.zeros_like, ready["params"])}
    np.testing.assert_allclose(score_all(MODEL, other, ASKED), whole, rtol=1e-5, atol=1e-6)
    item = jnp.arange(USERS)
    trained = apply(MODEL, other, ASKED, item, rngs={"dropout": jax.random.key(0)})
    np.testing.assert_array_equal(trained, np.zeros(USERS))
    assert not score_all(MODEL, lightgcn.propagated(MODEL, other), ASKED).any()


def test_a_penalty_is_of_the_vectors_before_propagation():
    given, batch = variables(), pairs([1, 2], [3, 5])
    plain = objectives.sampled(MODEL, losses.bpr, sampling.fixed(jnp.full((USERS, 1), 7)), 1)
    held = objectives.l2(plain, 0.1)

    def penalty(variables):
        key = jax.random.key(0)
        return held(variables, key, batch)[0] - plain(variables, jax.random.clone(key), batch)[0]

    user, item = tables(given)
    squares = (user[[1, 2]] ** 2).sum() + (item[[3, 5, 7, 7]] ** 2).sum()
    np.testing.assert_allclose(jax.jit(penalty)(given), 0.1 * squares / 2, rtol=1e-3)


def test_by_cosine_every_score_is_within_its_scale():
    model = LightGCN(USERS, ITEMS, DIM, similarity=cosine(3.0))
    score = np.abs(score_all(model, variables(model), ASKED))
    assert 2 < score.max() <= 3 + 1e-5


def test_a_graph_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="item 38 is beyond num_items=38"):
        lightgcn.graph(np.array([1]), np.array([38]), USERS, 38)
    with pytest.raises(ValueError, match=r"reads the collection `graph`"):
        MODEL.init(jax.random.key(0), ASKED, jnp.zeros(USERS, jnp.int32))
    small = lightgcn.graph(np.array([1]), np.array([1]), 2, ITEMS)
    with pytest.raises(ValueError, match="the graph has 2 users, 0 included, fewer than the model's 9"):
        MODEL.apply({**variables(), "graph": small}, ASKED, jnp.zeros(USERS, jnp.int32))
