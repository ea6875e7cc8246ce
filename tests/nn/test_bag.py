import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rezoo.nn import bag
from rezoo.nn.embedding import Embed


@pytest.mark.parametrize("rows_per_id", [0, 10**6], ids=["gathered", "whole table"])
def test_both_ways_give_the_sum_of_the_rows_and_its_gradient(rows_per_id, monkeypatch):
    monkeypatch.setattr(bag, "ROWS_PER_ID", rows_per_id)
    ids = jnp.array([[1, 3, 3, 0], [4, 9, 0, 0]], jnp.int32)  # 3 comes twice, 9 is beyond the table
    weight = jnp.array([[0.5, 1.0, 2.0, 7.0], [1.0, 1.0, 1.0, 1.0]])
    layer = bag.Bag(5, 3)
    params = layer.init(jax.random.key(0), ids, weight)["params"]
    table = np.asarray(params["rows"]["embedding"])
    oracle = np.stack([0.5 * table[1] + 3.0 * table[3], table[4]])
    np.testing.assert_allclose(layer.apply({"params": params}, ids, weight), oracle, rtol=1e-5)
    grad = jax.grad(lambda p: layer.apply({"params": p}, ids, weight).sum())(params)["rows"]["embedding"]
    np.testing.assert_allclose(
        grad, np.array([0.0, 0.5, 0.0, 3.0, 1.0])[:, None] * np.ones((5, 3)), rtol=1e-6
    )


@pytest.mark.parametrize("rows_per_id", [0, 10**6], ids=["gathered", "whole table"])
@pytest.mark.parametrize("shape", [(2,), (2, 3)])
def test_both_ways_give_the_inner_products(rows_per_id, shape, monkeypatch):
    monkeypatch.setattr(bag, "ROWS_PER_ID", rows_per_id)
    ids = jnp.asarray(np.resize([4, 9, 1], shape), jnp.int32)
    state = jax.random.normal(jax.random.key(1), (2, 3))
    rows = Embed(5, 3)
    variables = rows.init(jax.random.key(0), ids)
    out = rows.apply(variables, state, ids, method=lambda rows, s, i: bag.inner_with_rows(s, rows, i))
    table = np.asarray(variables["params"]["embedding"])
    known = np.where(np.asarray(ids) < 5, ids, 0)
    oracle = (np.asarray(state).reshape(2, *[1] * (len(shape) - 1), 3) * table[known]).sum(-1)
    np.testing.assert_allclose(out, oracle, rtol=1e-5)


def test_few_ids_are_gathered_and_many_are_not():
    assert bag.gathers(50, 3707) and not bag.gathers(60, 3707)
