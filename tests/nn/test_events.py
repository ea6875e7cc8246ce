"""Columns of events, in every session model: where a history works, they do, and they tell nothing else."""

import functools
import json

import chex
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import apply, eight_devices, init, init_state, mostly_slow, noisy, score_all
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from rezoo import evaluation, losses, objectives, training
from rezoo.arrays import across, offsets_of
from rezoo.data import batches
from rezoo.data.sessions import Sessions
from rezoo.devices import sharding
from rezoo.evaluation import explain
from rezoo.models import (
    HSTU,
    NARM,
    SRGNN,
    STAMP,
    BERT4Rec,
    Caser,
    GRU4Rec,
    LRURec,
    NextItNet,
    SASRec,
    SessionRanker,
    eSASRec,
)
from rezoo.nn import events
from rezoo.nn.events import TimeGap
from rezoo.serving import model_json
from rezoo.training import row_sparse
from rezoo.types import Query

ITEMS, L = 9, 6
FEATURES = {"type": 4, "tags": 3, "price": None, "time": TimeGap}
KINDS = {
    "GRU4Rec": functools.partial(GRU4Rec, ITEMS, 4, num_layers=2),
    "SASRec": functools.partial(SASRec, ITEMS, 4, num_heads=2, max_length=4),
    "NARM": functools.partial(NARM, ITEMS, 4, hidden=5),
    "STAMP": functools.partial(STAMP, ITEMS, 4, max_norm=1.0),
    "SRGNN": functools.partial(SRGNN, ITEMS, 4),
    "eSASRec": functools.partial(eSASRec, ITEMS, 4, num_blocks=1, max_length=L),
    "HSTU": functools.partial(HSTU, ITEMS, 4, num_blocks=1, max_length=4, time="time"),
    "LRURec": functools.partial(LRURec, ITEMS, 4, num_blocks=1),
    "Caser": functools.partial(Caser, ITEMS, 4, window=3, horizontal=2, vertical=2),
    "NextItNet": functools.partial(NextItNet, ITEMS, 4, dilations=(1, 2), kernel=2),
    "BERT4Rec": functools.partial(BERT4Rec, ITEMS, 4, num_blocks=1, max_length=4),
}
WITH_PREFIXES = [name for name in KINDS if name != "BERT4Rec"]


def of_models(names):
    return pytest.mark.parametrize(
        "name",
        mostly_slow(names, ("GRU4Rec", "SASRec")),
        scope="module",
    )


every_model, every_session_model = of_models(KINDS), of_models(WITH_PREFIXES)


def columns_of(rng, shape):
    """Random columns, some of them unknown; times go back now and then."""
    return {
        "type": rng.integers(0, 4, shape).astype(np.int32),
        "tags": rng.integers(0, 3, (*shape, 2)).astype(np.int32),
        "price": rng.normal(size=shape).astype(np.float32),
        "time": (rng.integers(0, 5, shape) * rng.integers(1, 10**6, shape)).astype(np.int32),
    }


def queries(rows=8, seed=0):
    """Histories of 0 … L events, whose columns have values behind their end, too."""
    rng = np.random.default_rng(seed)
    history = rng.integers(1, ITEMS, (rows, L)).astype(np.int32)
    history[np.arange(L) >= np.arange(rows)[:, None] % (L + 1)] = 0
    return batches.queries(history=history, features=columns_of(rng, history.shape))


@functools.cache
def model(name):
    return KINDS[name](event_features=FEATURES)


@functools.cache
def variables(name):
    asked = queries()
    return {"params": noisy(init(model(name), asked, asked.history[:, 0])["params"], 0.3)}


def with_columns(query, change):
    columns = {name: change(column) for name, column in query.features.items()}
    return query._replace(features=columns)


@every_model
def test_unknown_columns_add_nothing_and_no_features_are_no_parameters(name):
    plain, params = KINDS[name](), variables(name)["params"]
    without = {key: value for key, value in params.items() if key != "event"}
    fresh = jax.eval_shape(plain.init, jax.random.key(0), queries(), queries().history[:, 0])["params"]
    assert jax.tree.map(jnp.shape, fresh) == jax.tree.map(jnp.shape, without)
    nothing = with_columns(queries(), jnp.zeros_like)
    expected = score_all(plain, {"params": without}, nothing)  # HSTU's attention reads the times, too
    beyond = nothing._replace(features=nothing.features | {"type": nothing.features["type"] + 9})
    for unknown in (nothing, beyond):
        np.testing.assert_array_equal(score_all(model(name), variables(name), unknown), expected)


@every_model
def test_each_column_tells_something_and_what_is_behind_the_end_tells_nothing(name):
    query = queries()
    score = np.asarray(score_all(model(name), variables(name), query))
    real = np.asarray(query.history) > 0
    cut = with_columns(query, lambda x: jnp.where(across(real, x), x, jnp.zeros_like(x)))
    np.testing.assert_allclose(score_all(model(name), variables(name), cut), score, rtol=1e-5, atol=1e-6)
    for column in FEATURES:
        without = query._replace(features=query.features | {column: 0 * query.features[column]})
        lost = np.abs(np.asarray(score_all(model(name), variables(name), without)) - score).max()
        assert lost > 1e-4, column


@every_session_model
def test_each_prefix_is_the_encoding_of_the_events_so_far_and_hears_of_no_later_one(name):
    query = queries()
    prefixes = np.asarray(apply(model(name), variables(name), query, method="prefixes"))
    for t in range(L):
        now = np.arange(L) <= t
        so_far = query._replace(history=jnp.where(now[None], query.history, 0))
        others = with_columns(so_far, lambda x, now=now: jnp.where(across(now[None], x), x, 1 + x))
        encoded = np.asarray(apply(model(name), variables(name), others, method="encode"))
        real = np.asarray(query.history)[:, t] > 0
        np.testing.assert_allclose(prefixes[real, t], encoded[real], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_hidden_event_does_not_tell_its_columns():
    query, hidden = queries(), jnp.arange(L)[None] % 3 == jnp.arange(8)[:, None] % 3
    one, params = model("BERT4Rec"), variables("BERT4Rec")
    states = jax.jit(lambda query: one.apply(params, query, hidden, method="hidden_states"))
    others = with_columns(query, lambda x: jnp.where(across(hidden, x), 1 + x, x))
    np.testing.assert_array_equal(states(query), states(others))
    others = with_columns(query, lambda x: jnp.where(across(~hidden, x), 1 + x, x))
    assert np.abs(states(query) - states(others)).max() > 1e-3


def some_sessions(seed=0):
    rng = np.random.default_rng(seed)
    length = rng.integers(1, L + 2, 40)
    items = rng.integers(1, ITEMS, length.sum()).astype(np.int32)
    return Sessions(items, offsets_of(length), columns=columns_of(rng, items.shape))


@every_session_model
def test_packed_rows_teach_what_padded_rows_teach(name):
    padded, packed = (batches.next_items(some_sessions(), L, packed=packed) for packed in (False, True))
    assert len(packed.item) < len(padded.item)
    objective = jax.jit(jax.value_and_grad(objectives.next_item_softmax(model(name)), has_aux=True))
    one, two = (objective(variables(name), jax.random.key(1), rows) for rows in (padded, packed))
    np.testing.assert_allclose(one[0][0], two[0][0], rtol=1e-5)
    chex.assert_trees_all_close(one[1], two[1], rtol=1e-4, atol=1e-6)
    assert np.abs(one[1]["params"]["event"]["feature"]["type"]["embedding"][1:]).min() > 0


@every_model
def test_it_is_rebuilt_from_what_is_saved_of_it(name):
    described = json.dumps(model_json.describe(model(name)))
    rebuilt = model_json.rebuild(json.loads(described), ITEMS)
    assert rebuilt.event_features == FEATURES and json.dumps(model_json.describe(rebuilt)) == described


@eight_devices
@every_model
def test_an_explicit_mesh_an_export_and_a_list_read_columns(name):
    query = queries()
    ids, scores = evaluation.recommend(model(name), variables(name), query, 3, block=3)
    whole = np.asarray(score_all(model(name), variables(name), query))
    np.testing.assert_allclose(scores, np.take_along_axis(whole, np.asarray(ids), 1), rtol=1e-4, atol=1e-5)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Explicit,))
    placed = jax.device_put(query, NamedSharding(mesh, PartitionSpec("data")))
    everywhere = jax.device_put(variables(name), NamedSharding(mesh, PartitionSpec()))
    jax.eval_shape(functools.partial(evaluation.score_all, model(name)), everywhere, placed)
    rows, places = jax.export.symbolic_shape("rows, places")
    shapes = events.each(
        query, FEATURES, lambda x: jax.ShapeDtypeStruct((rows, places, *x.shape[2:]), x.dtype)
    )
    shapes = shapes._replace(user=jax.ShapeDtypeStruct((rows,), jnp.int32))
    score = functools.partial(evaluation.score_all, model(name))
    exported = jax.export.export(jax.jit(score))(variables(name), shapes)
    np.testing.assert_allclose(exported.call(variables(name), query), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@eight_devices
@pytest.mark.parametrize("name", ["GRU4Rec", "HSTU", "SRGNN"])
def test_a_step_over_eight_devices_is_that_of_one(name):
    batch, optimizers = batches.next_items(some_sessions(), L), (optax.sgd(0.1), row_sparse.adagrad(0.1))
    batch = jax.tree.map(lambda x: x[:16], batch)
    objective = objectives.next_item_sampled(model(name), losses.softmax_cross_entropy, jnp.ones(ITEMS), 4)
    init = functools.partial(row_sparse.init_state, jax.random.key(0), model(name), *optimizers, batch)
    state = jax.jit(init)()
    alone, metrics = jax.jit(row_sparse.make_step(objective, *optimizers))(state, batch)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    specs = row_sparse.rules(state)
    step = jax.jit(row_sparse.make_step(objective, *optimizers, row_sparse.spread_over(mesh)))
    many, together = step(sharding.sharded(state, specs, mesh), sharding.spread(batch, mesh))
    np.testing.assert_allclose(together["loss"], metrics["loss"], rtol=1e-5)
    many = sharding.whole(many, specs, state)
    chex.assert_trees_all_close(many.params, alone.params, rtol=1e-4, atol=1e-5)
    explicit = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Explicit,))
    dense = training.make_step(objectives.next_item_softmax(model(name)), optimizers[0])
    state = jax.eval_shape(lambda: training.init_state(jax.random.key(0), model(name), optimizers[0], batch))
    everywhere = functools.partial(jax.ShapeDtypeStruct, sharding=NamedSharding(explicit, PartitionSpec()))
    placed = jax.tree.map(lambda x: everywhere(x.shape, x.dtype), state)
    jax.eval_shape(dense, placed, jax.device_put(batch, NamedSharding(explicit, PartitionSpec("data"))))


@pytest.mark.parametrize("kind", [GRU4Rec, pytest.param(SASRec, marks=pytest.mark.slow)])
def test_types_help_where_what_follows_depends_on_them(kind):
    """After a view comes the item above, after a purchase the one below, which items alone do not tell."""
    rng = np.random.default_rng(0)
    bought = rng.integers(0, 2, (80, 8))
    items = np.cumsum(np.where(bought, -1, 1), axis=1) + rng.integers(0, 8, (80, 1))
    items = 1 + np.concatenate([items[:, :1] - np.where(bought[:, :1], -1, 1), items], axis=1)[:, :8] % 8
    made = Sessions(
        items.ravel().astype(np.int32),
        np.arange(0, items.size + 1, 8),
        columns={"type": (1 + bought).ravel().astype(np.int32)},
    )
    rows, found = batches.next_items(made, 7), {}
    for features in ({}, {"type": 3}):
        one, optimizer = kind(ITEMS, 16, event_features=features), optax.adam(0.02)
        step = training.make_step(objectives.next_item_softmax(one), optimizer)
        state = init_state(jax.random.key(0), one, optimizer, rows)
        fit = functools.partial(training.fit, step, num_epochs=30, batch_size=20)
        state, _ = jax.jit(lambda state, fit=fit: fit(state, rows))(state)
        rank = evaluation.ranks(one, state.variables, rows.query, rows.item[:, -1:])
        found[len(features)] = float(np.mean(np.asarray(rank) == 1))
    assert found[1] > 0.95 and found[0] < 0.8


def test_gaps_are_those_of_neighbours_and_count_as_forward():
    module = TimeGap(1)
    time = jnp.array([[100, 160, 100, 0, 100, 160, 161]])
    segment = jnp.array([[1, 1, 1, 1, 1, 1, 2]])
    params = {"params": {"gap": {"embedding": jnp.arange(130.0)[:, None]}}}
    gap = module.apply(params, time, segment)[0, :, 0]
    minute = 1 + 13
    assert gap.tolist() == [0, minute, minute, 0, 0, minute, 0]
    nan = module.apply(params, jnp.array([[1.5, jnp.nan, 3.0, 63.0]]), jnp.ones((1, 4), jnp.int32))
    assert nan[0, :, 0].tolist() == [0, 0, 0, minute]
    now = module.apply(params, jnp.array([[1_900_000_000, 1_900_000_060]]), jnp.ones((1, 2), jnp.int32))
    assert now[0, 1, 0] == minute  # integers are exact, however large


def test_a_column_that_is_missing_or_has_another_shape_is_named():
    one, query = GRU4Rec(ITEMS, 4, event_features=FEATURES), queries()

    def asked(**columns):
        features = {name: x for name, x in (query.features | columns).items() if x is not None}
        return one.init(jax.random.key(0), query._replace(features=features), query.history[:, 0])

    with pytest.raises(ValueError, match="no column of the feature 'type'"):
        asked(type=None)
    with pytest.raises(ValueError, match=r"'type' has the shape \[8, 5\]: give a value for .* \[8, 6\]"):
        asked(type=query.features["type"][:, 1:])
    with pytest.raises(ValueError, match="'type' is float32; the model takes integers below 4"):
        asked(type=query.features["price"])
    with pytest.raises(ValueError, match="'time' must have the time of each event: there is no such"):
        asked(time=None)
    with pytest.raises(ValueError, match=r"'time' must have the time of each event: its shape is \[8\]"):
        asked(time=query.user)
    with pytest.raises(ValueError, match="reads the columns type, tags, price, time of each event"):
        apply(one, variables("GRU4Rec"), [jnp.zeros((8, 4))] * 2, query.history[:, 0], method="step")


def test_a_ranker_gives_columns_of_events_to_its_encoder_alone_and_explains_events_with_them():
    encoder = functools.partial(GRU4Rec, ITEMS, 4, event_features={"type": 4})
    one = SessionRanker({"item": ITEMS, "age": 3}, encoder, 4)
    query = queries()
    query = query._replace(
        features={"type": query.features["type"], "age": jnp.arange(8, dtype=jnp.int32) % 3}
    )
    params = {"params": noisy(init(one, query, query.history[:, 0])["params"], 0.3)}
    assert events.names(one) == ("type",) and list(params["params"]["columns"]) == ["age"]
    item = jnp.ones((8, 2), jnp.int32)
    lost = np.asarray(explain.leave_one_out(one, params, query, item))
    shorter = events.each(query, ["type"], lambda x: x[:, 1:])
    expected = apply(one, params, query, item) - apply(one, params, shorter, item)
    np.testing.assert_allclose(lost[:, :, 0], expected, rtol=1e-4, atol=1e-6)


def test_a_query_is_cut_with_its_columns():
    query = Query(
        jnp.zeros(2, jnp.int32),
        jnp.array([[1, 2, 3], [4, 0, 0]]),
        {"type": jnp.array([[3, 2, 1], [1, 9, 9]]), "tags": jnp.ones((2, 3, 2)), "age": jnp.array([1, 2])},
    )
    last = events.newest(query, ["type", "tags"], 2)
    assert last.history.tolist() == [[2, 3], [4, 0]] and last.features["type"].tolist() == [[2, 1], [1, 0]]
    assert last.features["tags"][..., 0].tolist() == [[1, 1], [1, 0]]
    none = events.hidden(query, ["type"], jnp.array([[True, False, False]] * 2))
    assert none.features["type"].tolist() == [[0, 2, 1], [0, 9, 9]]
    assert none.history.tolist() == query.history.tolist()


def state(model, query):
    return apply(model, init(model, query, query.user), query, method="encode")


def test_times_of_few_bits_and_gaps_beyond_them_are_what_they_say():
    model, history = GRU4Rec(9, 4, event_features={"time": TimeGap}), jnp.array([[1, 2]])

    def at(*time, kind=jnp.int32):
        return state(model, batches.queries(history=history, features={"time": jnp.array([time], kind)}))

    np.testing.assert_array_equal(at(-20_000, 20_000, kind=jnp.int16), at(-20_000, 20_000))
    np.testing.assert_array_equal(at(-100, 100, kind=jnp.int8), at(-100, 100))
    far = at(-1_500_000_000, 1_700_000_000)  # 3.2e9 s, beyond int32
    np.testing.assert_array_equal(far, at(-1_500_000_000, 1_700_000_000, kind=jnp.float32))
    assert np.abs(far - at(1, 1_094_967_296)).max() > 1e-6


@pytest.mark.parametrize("kind", ["event_features", "user_features"])
def test_a_number_that_is_nan_is_unknown_and_has_a_gradient(kind):
    model = GRU4Rec(9, 4, **{kind: {"price": None}})

    def ask(number):
        price = jnp.array([[1.0, 2.0, number]] if kind == "event_features" else [number])
        return batches.queries(history=[[1, 2, 0]], features={"price": price})

    values = init(model, ask(0.0), jnp.array([1]))
    target, where = jnp.array([[2, 3, 0]]), jnp.array([[True, True, False]])

    def learnt(number):
        batch = batches.Batch(ask(number), target, jnp.ones((1, 3)), where)
        objective = objectives.next_item_softmax(model)
        return jax.jit(jax.value_and_grad(lambda v: objective(v, jax.random.key(1), batch)[0]))(values)

    chex.assert_trees_all_equal(learnt(float("nan")), learnt(0.0))
