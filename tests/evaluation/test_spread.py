"""Lists and ranks over tables that are spread over eight devices, beside those over one."""

import re

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
from rezoo.devices.sharding.layout import by_holder
from rezoo.models import (
    GMF,
    IALS,
    MF,
    NARM,
    STAMP,
    BiasedMF,
    DeepFM,
    FeatureMF,
    GRU4Rec,
    MMoE,
    MultDAE,
    NeuMF,
    SASRec,
    SVDpp,
    TwoTower,
)
from rezoo.types import Batch

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
    "GMF": (GMF(USERS, ITEMS, 4), {}),
    "IALS": (IALS(USERS, ITEMS, 4), {}),
    "SVDpp": (SVDpp(USERS, ITEMS, 4), {}),
    "TwoTower": (TwoTower({"item": ITEMS, "category": 4, "age": 3}, 4, (6, 5)), CATALOGUE),
    "GRU4Rec": (GRU4Rec(ITEMS, 4), {}),
    "GRU4Rec-features": (GRU4Rec(ITEMS, 4, tied=True, item_features=FEATURES), CATALOGUE),
    "STAMP": (STAMP(ITEMS, 4), {}),
    "NARM": (NARM(ITEMS, 4, hidden=5), {}),
}


def mesh(devices=8, axis="data", kind=AxisType.Auto):
    return jax.make_mesh((devices,), (axis,), (kind,), devices=jax.devices()[:devices])


def queries(rows=ROWS):
    rng = np.random.default_rng(0)
    history = np.where(np.arange(5) < rng.integers(0, 6, (rows, 1)), rng.integers(1, ITEMS, (rows, 5)), 0)
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


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
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


def broken(num_items: int):
    """Variables of MF with ties, a NaN and an infinite score."""
    model = MF(USERS, num_items, 4)
    zeros = jax.tree.map(jnp.zeros_like, init(model, queries(1), jnp.ones(1, jnp.int32)))
    bias = np.zeros((num_items, 1), np.float32)
    bias[num_items // 2 :: 2] = 1.0
    bias[[1, 2, num_items - 1], 0] = np.nan, -np.inf, 1.0
    return model, {"params": {**zeros["params"], "item_bias": {"embedding": jnp.asarray(bias)}}}


@pytest.mark.parametrize(
    ("num_items", "k"),
    [(19, 7), *(pytest.param(*sizes, marks=pytest.mark.slow) for sizes in ((5, 3), (19, 30)))],
)
def test_ties_and_broken_scores_are_those_of_one_device(num_items, k):
    model, variables = broken(num_items)
    spread, query = placed(variables), queries(3)
    exclude = jnp.array([[0, 3], [num_items - 1, 3], [-1, num_items + 8]], jnp.int32)
    target = jnp.array([[3, 3, 0], [1, 2, num_items], [4, -1, 3]], jnp.int32)
    with (
        pytest.warns(UserWarning, match="ids of exclude"),
        pytest.warns(UserWarning, match="3 scores are NaN"),
    ):
        one = evaluation.recommend(model, variables, query, k, exclude=exclude)
    with (
        pytest.warns(UserWarning, match="ids of exclude"),
        pytest.warns(UserWarning, match="3 scores are NaN"),
    ):
        many = evaluation.recommend(model, spread, query, k, exclude=exclude, mesh=mesh())
    same_lists(one, many)
    with pytest.warns(UserWarning):
        one = evaluation.evaluate(model, variables, query, target, exclude=exclude)
    with pytest.warns(UserWarning):
        many = evaluation.evaluate(model, spread, query, target, exclude=exclude, mesh=mesh())
    assert {metric: float(value) for metric, value in many.items()} == pytest.approx(
        {metric: float(value) for metric, value in one.items()}
    )


def test_ranks_leave_out_rows_to_spare_and_axes_have_any_name():
    model, variables = MF(USERS, ITEMS, 4), variables_of(MF(USERS, ITEMS, 4), {})
    on, target = mesh(4, "rows", AxisType.Explicit), jnp.arange(ROWS, dtype=jnp.int32)[:, None] + 1
    one = evaluation.ranks(model, variables, queries(), target, num_items=9)
    spread = placed(variables, on, dense=["item_bias"])
    many = evaluation.ranks(model, spread, queries(), target, num_items=jnp.int32(9), mesh=on, axis="rows")
    np.testing.assert_array_equal(many, one)
    assert np.isinf(many[8:]).all()


def test_what_is_sent_does_not_grow_with_the_catalogue():
    def sent(num_items):
        model, on = MF(USERS, num_items, 4), mesh()
        shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), queries(1), jnp.ones(1, jnp.int32)))
        spread = jax.eval_shape(lambda: jax.tree.map(lambda x: by_holder(jnp.zeros(x.shape), 8), shapes))
        ask = jax.jit(lambda variables, query: evaluation.recommend(model, variables, query, 3, mesh=on))
        text = ask.lower(spread, queries(8)).compile().as_text()
        kinds = "all-to-all|all-gather|all-reduce|reduce-scatter"
        return re.findall(rf"= (.*?) (?:{kinds})(?:-start)?\(", text)

    few, many = sent(800), sent(800_000)
    assert few and [re.sub(r"\{.*?\}", "", one) for one in few] == [
        re.sub(r"\{.*?\}", "", one) for one in many
    ]


def test_what_cannot_be_done_is_said():
    model, variables = MF(USERS, ITEMS, 4), variables_of(MF(USERS, ITEMS, 4), {})
    spread, query = placed(variables), queries(2)
    with pytest.raises(ValueError, match=r"item/embedding.*mesh="):
        evaluation.recommend(model, spread, query, 2)
    with pytest.raises(ValueError, match="over 8 devices, but the mesh has 4"):
        evaluation.ranks(model, spread, query, jnp.ones((2, 1), jnp.int32), mesh=mesh(4))
    with pytest.raises(ValueError, match="no axis 'data', but rows"):
        evaluation.evaluate(model, spread, query, jnp.ones((2, 1), jnp.int32), mesh=mesh(8, "rows"))
    with pytest.raises(ValueError, match=r"NeuMF has no `vectors\(item\)`.*whole"):
        evaluation.recommend(NeuMF(USERS, ITEMS, 4), {"params": {}}, query, 2, mesh=mesh())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "method"),
    [
        (NeuMF(USERS, ITEMS, 4), evaluation.evaluate_ratings),
        (DeepFM({"user": USERS, "item": ITEMS, "age": 3}, 4, widths=(5,)), evaluation.evaluate_clicks),
        (MMoE({"user": USERS, "item": ITEMS, "age": 3}, ["a", "b"], 4, experts=2), evaluation.predict_tasks),
    ],
    ids=["NeuMF", "DeepFM", "MMoE"],
)
def test_scores_of_any_model_are_those_of_one_device(model, method):
    variables, query = variables_of(model, {}), queries()
    item = jnp.arange(ROWS, dtype=jnp.int32) + 5
    batch = Batch(query, item, (item % 2).astype(jnp.float32), item < 15)
    one, many = method(model, variables, batch), method(model, placed(variables), batch, mesh=mesh(), block=8)
    for name, value in one.items():
        np.testing.assert_allclose(many[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


def test_a_target_among_negatives_has_the_rank_of_one_device():
    model, variables = broken(ITEMS)
    target = jnp.array([3, 12, ITEMS + 2], jnp.int32)
    negatives = jnp.array([[2, 12, 0], [12, 18, 1], [4, -1, ITEMS]], jnp.int32)
    asked = model, variables, queries(3), target, negatives
    with pytest.warns(UserWarning):
        one = evaluation.evaluate_sampled(*asked)
    with pytest.warns(UserWarning):
        many = evaluation.evaluate_sampled(model, placed(variables), *asked[2:], mesh=mesh())
    for metric, value in one.items():
        np.testing.assert_allclose(many[metric], value, rtol=1e-5, err_msg=metric)


def test_a_table_that_is_used_as_a_whole_is_named():
    model = MultDAE(ITEMS, 6)
    variables = model.init(jax.random.key(0), queries(1), jnp.ones(1, jnp.int32))
    batch = Batch(queries(2), jnp.ones(2, jnp.int32), jnp.ones(2), jnp.ones(2, bool))
    with pytest.raises(ValueError, match=r"whole table.*sharding\.rules"):
        evaluation.predict(model, placed(variables), batch, mesh=mesh())
