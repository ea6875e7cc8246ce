import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import eight_devices
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import PartitionSpec

from rezoo.devices.sharding import all_to_all, gather_ids
from rezoo.devices.sharding.layout import by_holder, by_id

pytestmark = eight_devices
ROWS, WIDTH, EACH = 21, 3, 5
TABLE = np.random.default_rng(0).normal(size=(ROWS, WIDTH)).astype(np.float32)
ROUTES = {"gather_ids": gather_ids(), "all_to_all": all_to_all()}


def mesh():
    return jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))


@partial(jax.jit, static_argnums=0)
def there_and_back(name, ids, grads):
    """Rows of ids `[8 × EACH]`, the sums of gradients by row, and how many ids had no place."""
    route = ROUTES[name] if isinstance(name, str) else name

    def local(table, ids, grads):
        fetched = route.fetch(table[0], ids, "data")
        own, back = route.push(grads, fetched.trip, "data")
        summed = jnp.zeros_like(table[0]).at[own].add(back, mode="drop")
        return fetched.rows, summed[None], jax.lax.psum(fetched.overflow, "data")

    spread = PartitionSpec("data")
    places = {"in_specs": (spread, spread, spread), "out_specs": (spread, spread, PartitionSpec())}
    rows, summed, overflow = jax.shard_map(local, mesh=mesh(), **places)(
        by_holder(jnp.asarray(TABLE), 8), ids, grads
    )
    return rows, by_id(summed, ROWS), overflow


@pytest.mark.parametrize("name", ROUTES)
@given(st.lists(st.integers(-1, ROWS - 1), min_size=8 * EACH, max_size=8 * EACH), st.integers(0, 9))
@settings(max_examples=50)
def test_a_route_brings_each_ids_row_and_takes_its_gradient_back(name, ids, seed):
    ids = np.array(ids, np.int32)
    grads = np.random.default_rng(seed).normal(size=(len(ids), WIDTH)).astype(np.float32)
    rows, summed, overflow = there_and_back(name, jnp.asarray(ids), jnp.asarray(grads))
    real = ids >= 0
    np.testing.assert_array_equal(np.asarray(rows)[real], TABLE[ids[real]])
    expected = np.zeros_like(TABLE)
    np.add.at(expected, ids[real], grads[real])
    np.testing.assert_allclose(summed, expected, atol=1e-5)
    assert int(overflow) == 0


def test_an_id_without_a_place_is_counted_once():
    narrow = all_to_all(spare=-4.0)
    ids = np.tile(np.array([0, 8, 16, 8, 0], np.int32), 8)  # three rows of the first device
    _, _, overflow = there_and_back(narrow, jnp.asarray(ids), jnp.zeros((len(ids), WIDTH)))
    assert int(overflow) == 8


def test_what_is_sent_is_counted():
    few, many = (route.sent(4096, 64, 8) for route in ROUTES.values())
    assert few == 4 * 4096 * 129 * 7
    assert many == 4 * math.ceil(512 + 4 * 512**0.5 + 4) * 129 * 7
    assert ROUTES["gather_ids"].sent(4, 64, 2) < ROUTES["all_to_all"].sent(64, 64, 2)
