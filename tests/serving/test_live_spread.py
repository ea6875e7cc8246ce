"""Open sessions over items that are spread over eight devices, beside those over one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import eight_devices, init, noisy
from jax.sharding import AxisType

from rezoo.data import batches
from rezoo.devices import sharding
from rezoo.models import MF, GRU4Rec, NeuMF
from rezoo.serving import live

pytestmark = eight_devices
ITEMS, SLOTS, LENGTH = 19, 4, 5


def mesh():
    return jax.make_mesh((8,), ("data",), (AxisType.Auto,))


def variables_of(model):
    query = batches.queries([1], [[1, 2]])
    return {"params": noisy(init(model, query, jnp.ones(1, jnp.int32))["params"], 0.3)}


def placed(variables):
    return sharding.sharded(variables, sharding.rules(variables), mesh())


@pytest.mark.parametrize(
    "model", [MF(7, ITEMS, 4), pytest.param(GRU4Rec(ITEMS, 4), marks=pytest.mark.slow)], ids=["MF", "GRU4Rec"]
)
def test_sessions_over_spread_items_get_the_lists_of_one_device(model):
    variables, events = variables_of(model), np.array([[3, 9, 2], [5, ITEMS, 1], [ITEMS + 2, 7, 7]])
    slot, exclude = jnp.array([2, 0, -1], jnp.int32), jnp.array([[3], [0], [4]], jnp.int32)
    found = {}
    for where, arrays, options in (("one", variables, {}), ("eight", placed(variables), {"mesh": mesh()})):
        served = live.serve(model, arrays, **options)
        sessions = live.start(model, served, SLOTS, length=LENGTH)
        sessions = live.begin(model, served, sessions, slot, batches.queries([3, 1, 0], [[6], [0], [0]]))
        observe = jax.jit(functools.partial(live.observe, model))
        for item in jnp.asarray(events.T, jnp.int32):
            sessions = observe(served, sessions, slot, item)
        ask = jax.jit(functools.partial(live.recommend, model, k=6, **options))
        found[where] = ask(served, sessions, slot, exclude=exclude)
    np.testing.assert_array_equal(found["eight"][0], found["one"][0])
    np.testing.assert_allclose(found["eight"][1], found["one"][1], rtol=1e-5, atol=1e-5)


def test_a_mesh_is_given_to_both_or_neither():
    model = MF(7, ITEMS, 4)
    served = live.serve(model, placed(variables_of(model)), mesh=mesh())
    sessions, slot = live.start(model, served, SLOTS), jnp.array([1], jnp.int32)
    with pytest.raises(ValueError, match="mesh= is the one of `serve`"):
        live.recommend(model, served, sessions, slot, 2)
    with pytest.raises(ValueError, match="no device has the scores of all items"):
        live.scores(model, served, sessions, slot)
    with pytest.raises(ValueError, match="is spread over 8 devices, but the mesh has 4"):
        four = jax.make_mesh((4,), ("data",), devices=jax.devices()[:4])
        live.recommend(model, served, sessions, slot, 2, mesh=four)
    with pytest.raises(ValueError, match="NeuMF has no"):
        live.serve(NeuMF(7, ITEMS, 4), {"params": {}}, mesh=mesh())
