"""The softmax over items that are spread over eight devices, beside that over one."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import eight_devices, init_state, noisy
from jax.sharding import AxisType

from rezoo import objectives, training
from rezoo.data import batches
from rezoo.devices import sharding
from rezoo.models import STAMP, GRU4Rec, SASRec
from rezoo.types import Batch

pytestmark = [eight_devices, pytest.mark.slow]
FEATURES = {"item_features": {"category": 4, "price": None}, "id_dropout": 0.0}
CATALOGUE = {"category": jnp.arange(19, dtype=jnp.int32) % 4, "price": jnp.linspace(0.0, 1.0, 19)}
MODELS = {
    "SASRec": (SASRec(19, 4, max_length=5), {}),
    "GRU4Rec-5": (GRU4Rec(5, 4), {}),
    "GRU4Rec-features": (GRU4Rec(19, 4, tied=True, **FEATURES), {"catalogue": CATALOGUE}),
    "STAMP": (STAMP(19, 4), {}),
}


def mesh():
    return jax.make_mesh((8,), ("data",), (AxisType.Auto,))


def sessions(num_items, rows=5):
    rng = np.random.default_rng(0)
    item = rng.integers(1, num_items, (rows, 6)) * (np.arange(6) <= rng.integers(1, 6, (rows, 1)))
    query, target = batches.queries(history=item[:, :-1]), jnp.asarray(item[:, 1:], jnp.int32)
    return Batch(query, target, jnp.ones(target.shape), target > 0)


def placed(state, optimizer):
    params = sharding.sharded(state.params, sharding.rules(state.variables)["params"], mesh())
    return state._replace(params=params, opt_state=optimizer.init(params))


@pytest.mark.parametrize("name", MODELS)
def test_the_softmax_over_spread_items_trains_as_on_one_device(name):
    model, constants = MODELS[name]
    batch, optimizer = sessions(model.num_items), optax.sgd(0.5)
    state = init_state(jax.random.key(0), model, optimizer, batch, constants=constants)
    state = state._replace(params=noisy(state.params, 0.3))
    one = jax.jit(training.make_step(objectives.next_item_softmax(model, chunk=4), optimizer))
    spread = objectives.next_item_softmax(model, chunk=2, mesh=mesh())
    many = jax.jit(training.make_step(spread, optimizer))
    alone, together = state, placed(state, optimizer)
    for _ in range(2):
        alone, expected = one(alone, batch)
        together, metrics = many(together, batch)
        np.testing.assert_allclose(metrics["loss"], expected["loss"], rtol=1e-5)
    specs = sharding.rules(state.variables)["params"]
    params = sharding.whole(together.params, specs, state.params)
    chex.assert_trees_all_close(params, alone.params, rtol=1e-4, atol=1e-5)


def test_dropout_is_drawn_on_each_device():
    model = GRU4Rec(19, 4, dropout=0.5, item_features={"category": 4, "price": None}, id_dropout=0.5)
    batch, optimizer = sessions(19), optax.sgd(0.5)
    state = init_state(jax.random.key(0), model, optimizer, batch, constants={"catalogue": CATALOGUE})
    step = jax.jit(training.make_step(objectives.next_item_softmax(model, mesh=mesh()), optimizer))
    new, first = step(placed(state, optimizer), batch)
    _, second = step(placed(state, optimizer)._replace(step=jnp.int32(7)), batch)
    assert not bool(new.halted) and float(first["loss"]) != float(second["loss"])
