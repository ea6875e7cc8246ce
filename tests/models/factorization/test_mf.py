import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import apply

from rezoo.data.batches import queries
from rezoo.models.factorization import MF, BiasedMF

USERS, ITEMS = 5, 7


def query(*users):
    return queries(users)


def start(model, seed=0):
    variables = model.init(jax.random.key(seed), query(1), jnp.array([1], jnp.int32))
    leaves, tree = jax.tree.flatten({"params": variables["params"]})
    keys = jax.random.split(jax.random.key(seed + 1), len(leaves))
    return tree.unflatten([jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)])


def table(variables, name):
    (leaf,) = jax.tree.leaves(variables["params"][name])
    return np.asarray(leaf)


@pytest.mark.parametrize("model", [MF(USERS, ITEMS, 3), BiasedMF(USERS, ITEMS, 3, mean=3.5)])
class TestRetriever:
    def test_encode_and_table_give_the_score(self, model):
        variables = start(model)
        asked = query(0, 1, 4)
        every = jnp.broadcast_to(jnp.arange(ITEMS), (3, ITEMS))
        vectors = apply(model, variables, asked, method="encode")
        items = apply(model, variables, method="table")
        score = apply(model, variables, asked, every)
        np.testing.assert_allclose(vectors @ items.T, score, rtol=1e-5, atol=1e-5)

    def test_pairs_and_slates_agree(self, model):
        variables = start(model)
        asked, item = query(1, 2, 3), jnp.array([4, 5, 6], jnp.int32)
        slate = jnp.stack([item, jnp.ones_like(item)], axis=1)
        pairs = apply(model, variables, asked, item)
        assert pairs.shape == (3,)
        np.testing.assert_allclose(apply(model, variables, asked, slate)[:, 0], pairs, rtol=1e-6)

    def test_an_id_beyond_the_table_is_unknown(self, model):
        variables = start(model)
        beyond = apply(model, variables, query(USERS + 9), jnp.array([ITEMS + 9], jnp.int32))
        unknown = apply(model, variables, query(0), jnp.array([0], jnp.int32))
        np.testing.assert_allclose(beyond, unknown)


def test_mf_is_the_formula():
    variables = start(MF(USERS, ITEMS, 3))
    p, q, b = (table(variables, name) for name in ("user", "item", "item_bias"))
    score = MF(USERS, ITEMS, 3).apply(variables, query(2, 3), jnp.array([1, 6], jnp.int32))
    expected = [sum(p[u, d] * q[i, d] for d in range(3)) + b[i, 0] for u, i in [(2, 1), (3, 6)]]
    np.testing.assert_allclose(score, expected, rtol=1e-5)


def test_biased_mf_is_the_formula():
    model = BiasedMF(USERS, ITEMS, 3, mean=3.5)
    variables = start(model)
    p, q = table(variables, "user"), table(variables, "item")
    b_u, b_i = table(variables, "user_bias"), table(variables, "item_bias")
    score = apply(model, variables, query(2), jnp.array([[1, 6]], jnp.int32))
    expected = [[3.5 + b_u[2, 0] + b_i[i, 0] + p[2] @ q[i] for i in (1, 6)]]
    np.testing.assert_allclose(score, expected, rtol=1e-5)


def test_the_mean_can_be_traced():
    variables = start(BiasedMF(USERS, ITEMS, 3, mean=0.0))

    def score(mean):
        return BiasedMF(USERS, ITEMS, 3, mean=mean).apply(variables, query(1), jnp.array([1], jnp.int32))[0]

    means = jnp.array([1.0, 3.0])
    np.testing.assert_allclose(jnp.diff(jax.jit(jax.vmap(score))(means)), [2.0], rtol=1e-5)
