import jax
import jax.numpy as jnp
import numpy as np
from helpers import apply, init

from rezoo.models.factorization import BiasedMF, SVDpp
from rezoo.types import Query

USERS, ITEMS, DIM = 5, 7, 3
MODEL = SVDpp(USERS, ITEMS, DIM, mean=3.5)


def query(users, history):
    return Query(jnp.array(users, jnp.int32), jnp.array(history, jnp.int32).reshape(len(users), -1), {})


def start():
    variables = init(MODEL, query([1], [[1]]), jnp.array([1], jnp.int32))
    leaves, tree = jax.tree.flatten({"params": variables["params"]})
    keys = jax.random.split(jax.random.key(1), len(leaves))
    return tree.unflatten([jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)])


def table(variables, name):
    (leaf,) = jax.tree.leaves(variables["params"][name])
    return np.asarray(leaf)


def test_svdpp_is_the_formula():
    variables = start()
    p, q, y = (table(variables, name) for name in ("user", "item", "implicit"))
    b_u, b_i = table(variables, "user_bias"), table(variables, "item_bias")
    score = apply(
        MODEL, variables, query([2, 3], [[1, 4, 6], [5, 0, 0]]), jnp.array([[1, 2], [6, 3]], jnp.int32)
    )
    for row, (u, seen) in enumerate([(2, [1, 4, 6]), (3, [5])]):
        for column, i in enumerate([[1, 2], [6, 3]][row]):
            taste = p[u] + len(seen) ** -0.5 * sum(y[j] for j in seen)
            expected = 3.5 + b_u[u, 0] + b_i[i, 0] + q[i] @ taste
            np.testing.assert_allclose(score[row, column], expected, rtol=1e-5)


def test_without_history_it_is_biased_mf():
    variables = start()
    params = {name: value for name, value in variables["params"].items() if name != "implicit"}
    item = jnp.array([[1, 2], [6, 0]], jnp.int32)
    plain = BiasedMF(USERS, ITEMS, DIM, mean=3.5).apply({"params": params}, query([2, 0], [[], []]), item)
    for history in ([[], []], [[0, 0, 0], [0, 0, 0]]):
        np.testing.assert_allclose(apply(MODEL, variables, query([2, 0], history), item), plain, rtol=1e-6)


def test_history_is_a_set_to_which_padding_adds_nothing():
    variables, item = start(), jnp.array([4], jnp.int32)
    score = apply(MODEL, variables, query([1], [[2, 5]]), item)
    for same in ([[5, 2]], [[0, 2, 0, 5, 0]]):
        np.testing.assert_allclose(apply(MODEL, variables, query([1], same), item), score, rtol=1e-5)
    assert abs(apply(MODEL, variables, query([1], [[2, 6]]), item) - score)[0] > 1e-3


def test_encode_and_table_give_the_score():
    variables = start()
    asked = query([0, 1, 4], [[1, 2], [3, 0], [0, 0]])
    every = jnp.broadcast_to(jnp.arange(ITEMS), (3, ITEMS))
    vectors = apply(MODEL, variables, asked, method="encode")
    items = apply(MODEL, variables, method="table")
    np.testing.assert_allclose(vectors @ items.T, apply(MODEL, variables, asked, every), rtol=1e-5, atol=1e-5)
