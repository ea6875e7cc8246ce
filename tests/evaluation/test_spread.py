"""Lists and ranks over tables that are spread over eight devices, beside those over one."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import eight_devices, init, noisy
from jax.sharding import AxisType

from rezoo import evaluation
from rezoo.data import batches
from rezoo.devices import sharding
from rezoo.models import (
    MF,
    NARM,
    STAMP,
    BiasedMF,
    Caser,
    FeatureMF,
    GRU4Rec,
    NeuMF,
    NextItNet,
    SASRec,
    SVDpp,
    TwoTower,
    YouTubeDNN,
)
from rezoo.types import Query

pytestmark = eight_devices
USERS, ITEMS, ROWS = 7, 19, 13
FEATURES = {"category": 4, "price": None}
CATALOGUE = {
    "category": jnp.arange(ITEMS + 3, dtype=jnp.int32) % 4,
    "price": jnp.linspace(0.0, 1.0, ITEMS + 3),
}
MODELS = {
    "MF": (MF(USERS, ITEMS, 4), {}),
    "FeatureMF": (FeatureMF(USERS, ITEMS, {"age": 3}, FEATURES, 4), CATALOGUE),
    "SASRec": (SASRec(ITEMS, 4, max_length=5), {}),
    "BiasedMF": (BiasedMF(USERS, ITEMS, 4, mean=3.0), {}),
    "SVDpp": (SVDpp(USERS, ITEMS, 4), {}),
    "TwoTower": (TwoTower({"item": ITEMS, "category": 4, "age": 3}, 4, (6, 5)), CATALOGUE),
    "YouTubeDNN": (YouTubeDNN(ITEMS, {"age": 3}, 4, (6,)), {}),
    "GRU4Rec": (GRU4Rec(ITEMS, 4), {}),
    "GRU4Rec-features": (GRU4Rec(ITEMS, 4, tied=True, item_features=FEATURES), CATALOGUE),
    "STAMP": (STAMP(ITEMS, 4), {}),
    "NARM": (NARM(ITEMS, 4, hidden=5), {}),
    "Caser": (Caser(ITEMS, 4, num_users=USERS, window=3, horizontal=2, vertical=2), {}),
    "NextItNet": (NextItNet(ITEMS, 4, dilations=(1, 2), kernel=2), {}),
}
ALWAYS = {"MF", "FeatureMF", "SASRec"}


def mesh(devices=8, axis="data"):
    return jax.make_mesh((devices,), (axis,), (AxisType.Auto,), devices=jax.devices()[:devices])


def queries(rows=ROWS):
    rng = np.random.default_rng(0)
    history = rng.integers(0, ITEMS, (rows, 5))
    query = batches.queries(rng.integers(0, USERS, rows), history)
    return query._replace(features={"age": jnp.asarray(rng.integers(0, 3, rows), jnp.int32)})


def variables_of(model: nn.Module, catalogue: dict):
    query = queries(1)
    made = init(model, query, jnp.ones(1, jnp.int32)) if not catalogue else None
    if made is None:
        made = model.apply(
            {"catalogue": catalogue},
            query,
            jnp.ones(1, jnp.int32),
            rngs={"params": jax.random.key(0)},
            mutable=["params"],
        )[1]
    return {"params": noisy(made["params"], 0.3), **({"catalogue": catalogue} if catalogue else {})}


def placed(variables, on=None, **rules):
    on = on or mesh()
    return sharding.sharded(variables, sharding.rules(variables, axis=on.axis_names[0], **rules), on)


def same_lists(one, many):
    np.testing.assert_array_equal(many[0], one[0])
    np.testing.assert_allclose(many[1], one[1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in ALWAYS else pytest.mark.slow) for n in MODELS]
)
def test_lists_and_ranks_are_those_of_one_device(name):
    model, catalogue = MODELS[name]
    variables, query = variables_of(model, catalogue), queries()
    spread = placed(variables)
    rng = np.random.default_rng(1)
    exclude, target = (jnp.asarray(rng.integers(0, ITEMS, (ROWS, width)), jnp.int32) for width in (4, 3))
    options = {"exclude": exclude, "block": 8}
    one = evaluation.recommend(model, variables, query, 5, item_block=8, **options)
    many = evaluation.recommend(model, spread, query, 5, item_block=2, mesh=mesh(), **options)
    same_lists(one, many)
    one = evaluation.evaluate(model, variables, query, target, **options)
    many = evaluation.evaluate(model, spread, query, target, mesh=mesh(), **options)
    for metric, value in one.items():
        np.testing.assert_allclose(many[metric], value, rtol=1e-5, err_msg=metric)
