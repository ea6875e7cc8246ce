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

from rezoo.devices.sharding import all_to_all, gather_ids, together
from rezoo.devices.sharding.layout import by_holder, by_id

pytestmark = eight_devices
ROWS, WIDTH, EACH = 21, 3, 5
TABLE = np.random.default_rng(0).normal(size=(ROWS, WIDTH)).astype(np.float32)
ROUTES = {"gather_ids": gather_ids(), "all_to_all": all_to_all()}


def mesh():
    return jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))


@partial(jax.jit, static_argnums=0)
def there_and_back(name, ids, grads, table=TABLE):
    """Rows of ids, the sums of gradients by row, how many had no place, and how often each row came back."""
    route = ROUTES[name] if isinstance(name, str) else name

    def local(table, ids, grads):
        (fetched,) = together([route.fetch(table[0], ids, "data")], "data")
        ((own, back, _),) = together([route.push(grads, fetched.trip, "data")], "data")
        summed = jnp.zeros_like(table[0]).at[own].add(back, mode="drop")
        came = jnp.zeros(len(table[0]), int).at[own].add(1, mode="drop")
        lost = jax.lax.psum(jnp.stack([fetched.overflow, fetched.unmerged]), "data")
        return fetched.rows, summed[None], lost, came[None]

    spread = PartitionSpec("data")
    places = {"in_specs": (spread, spread, spread), "out_specs": (spread, spread, PartitionSpec(), spread)}
    rows, summed, lost, came = jax.shard_map(local, mesh=mesh(), **places)(
        by_holder(jnp.asarray(table), 8), ids, grads
    )
    return rows, by_id(summed, len(table)), lost, by_id(came, len(table))


@pytest.mark.parametrize("name", ROUTES)
@given(st.lists(st.integers(-1, ROWS - 1), min_size=8 * EACH, max_size=8 * EACH), st.integers(0, 9))
@settings(max_examples=50)
def test_a_route_brings_each_ids_row_and_takes_its_gradient_back(name, ids, seed):
    ids = np.array(ids, np.int32)
    grads = np.random.default_rng(seed).normal(size=(len(ids), WIDTH)).astype(np.float32)
    rows, summed, lost, _ = there_and_back(name, jnp.asarray(ids), jnp.asarray(grads))
    real = ids >= 0
    np.testing.assert_array_equal(np.asarray(rows)[real], TABLE[ids[real]])
    expected = np.zeros_like(TABLE)
    np.add.at(expected, ids[real], grads[real])
    np.testing.assert_allclose(summed, expected, atol=1e-5)
    assert lost.tolist() == [0, 0]


def test_an_id_without_a_place_is_counted_once():
    narrow = all_to_all(spare=-4.0)
    ids = np.tile(np.array([0, 8, 16, 8, 0], np.int32), 8)  # three rows of the first device
    # Each device sends two of them, of which one is merged.
    lost = there_and_back(narrow, jnp.asarray(ids), jnp.zeros((len(ids), WIDTH)))[2]
    assert lost.tolist() == [8, 1]


def test_rows_that_several_devices_want_are_merged_where_most_places_stay_empty():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(4000, WIDTH)).astype(np.float32)
    ids = rng.integers(0, 4000, 8 * 16).astype(np.int32)
    ids[::4] = 8  # of all devices
    grads = rng.normal(size=(len(ids), WIDTH)).astype(np.float32)
    route = all_to_all()
    rows, summed, lost, came = there_and_back(route, jnp.asarray(ids), jnp.asarray(grads), table)
    np.testing.assert_array_equal(rows, table[ids])
    expected = np.zeros_like(table)
    np.add.at(expected, ids, grads)
    np.testing.assert_allclose(summed, expected, atol=1e-5)
    assert lost.tolist() == [0, 0]
    np.testing.assert_array_equal(came, np.bincount(np.unique(ids), minlength=4000))


def test_a_row_without_a_place_to_be_merged_is_counted():
    narrow = all_to_all(spare=-1.0)  # of 16 ids, 5 places on the way to each device, and there 16
    ids = np.full((8, 16), -1, np.int32)
    ids[:, :5] = np.arange(40).reshape(8, 5) * 8  # rows of the first device
    table = np.zeros((800, WIDTH), np.float32)
    _, _, lost, _ = there_and_back(narrow, jnp.asarray(ids.ravel()), jnp.zeros((ids.size, WIDTH)), table)
    assert lost.tolist() == [0, 24]


def test_what_is_sent_is_counted():
    few, many = (route.sent(4096, 64, 8) for route in ROUTES.values())
    assert few == 4 * 4096 * 129 * 7
    assert many == 4 * math.ceil(512 + 4 * 512**0.5 + 4) * 129 * 7
    assert ROUTES["gather_ids"].sent(4, 64, 2) < ROUTES["all_to_all"].sent(64, 64, 2)
