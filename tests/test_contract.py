"""What every model must do. A new model is one more line in CASES."""

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from rezoo import evaluation, losses, objectives, sampling, training
from rezoo.models import MF, NARM, STAMP, BiasedMF, Caser, GRU4Rec, NeuMF, NextItNet, SASRec, SVDpp, WideDeep
from rezoo.nn.recurrent import LSTM
from rezoo.nn.similarity import cosine
from rezoo.types import Batch, Query

USERS, ITEMS, L = 7, 11, 5
CATALOGUE = {
    "category": jnp.arange(ITEMS, dtype=jnp.int32) % 4,
    "price": jnp.linspace(0.0, 1.0, ITEMS),
}
SIZES = {"user": USERS, "item": ITEMS, "age": 4, "genres": 5, "category": 4}


class Case(NamedTuple):
    model: nn.Module
    objective: str = "pointwise"
    constants: Any = {}


CASES = {
    "MF": Case(MF(USERS, ITEMS, 4), "pairwise"),
    "BiasedMF": Case(BiasedMF(USERS, ITEMS, 4, mean=3.0)),
    "SVDpp": Case(SVDpp(USERS, ITEMS, 4, mean=3.0)),
    "NeuMF": Case(NeuMF(USERS, ITEMS, 4, (8, 4), dropout=0.3), "pairwise"),
    "WideDeep": Case(
        WideDeep(SIZES, (("age", "category"),), 13, 4, (8,), dropout=0.3), constants={"catalogue": CATALOGUE}
    ),
    "GRU4Rec": Case(GRU4Rec(ITEMS, 4, dropout=0.3), "next_item"),
    "GRU4Rec-2-LSTM-tied": Case(GRU4Rec(ITEMS, 4, 2, LSTM, tied=True), "next_item"),
    "NARM": Case(NARM(ITEMS, 4, 5, dropout=0.3), "next_item_softmax"),
    "NARM-cosine": Case(NARM(ITEMS, 4, 5, similarity=cosine(8.0)), "next_item_softmax"),
    "STAMP": Case(STAMP(ITEMS, 4, dropout=0.3), "next_item_softmax"),
    "SASRec": Case(SASRec(ITEMS, 4, num_heads=2, max_length=L, dropout=0.3), "next_item_softmax"),
    "Caser": Case(Caser(ITEMS, 4, USERS, 3, 2, 2, dropout=0.3), "next_item_softmax"),
    "NextItNet": Case(NextItNet(ITEMS, 4, (1, 2), 2, dropout=0.3), "next_item_softmax"),
}
every_model = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def queries(rows: int, seed: int = 0) -> Query:
    """Random users with histories of 0 … L events, padded on the right."""
    rng = np.random.default_rng(seed)
    history = rng.integers(1, ITEMS, (rows, L))
    history[np.arange(L) >= rng.integers(0, L + 1, rows)[:, None]] = 0
    features = {
        "age": jnp.asarray(rng.integers(0, 4, rows), jnp.int32),
        "genres": jnp.asarray(rng.integers(0, 5, (rows, 3)), jnp.int32),
        "hour": jnp.asarray(rng.random(rows), jnp.float32),
    }
    return Query(
        jnp.asarray(rng.integers(0, USERS, rows), jnp.int32), jnp.asarray(history, jnp.int32), features
    )


def batch_for(case: Case, rows: int = 16, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    query = queries(rows, seed)
    if case.objective.startswith("next_item"):
        following = jnp.roll(query.history, -1, axis=1).at[:, -1].set(0)
        return Batch(query, following, (following > 0).astype(jnp.float32), following > 0)
    item = jnp.asarray(rng.integers(1, ITEMS, rows), jnp.int32)
    label = jnp.asarray(rng.integers(0, 2, rows), jnp.float32)
    return Batch(query, item, label, jnp.ones(rows, bool))


def objective_for(case: Case):
    return {
        "pointwise": lambda: objectives.pointwise(case.model, losses.logistic),
        "pairwise": lambda: objectives.sampled(case.model, losses.bpr, sampling.uniform(ITEMS), 2),
        "next_item_softmax": lambda: objectives.next_item_softmax(case.model, chunk=4),
        "next_item": lambda: objectives.next_item(case.model, losses.softmax_cross_entropy),
    }[case.objective]()


def state_for(case: Case, optimizer: optax.GradientTransformation, seed: Any = 0):
    return training.init_state(
        jax.random.key(seed), case.model, optimizer, batch_for(case), constants=case.constants
    )


@functools.cache
def variables_of(name: str):
    """Variables with no zeros left in them, so that biases and tables all speak."""
    state = state_for(CASES[name], optax.sgd(0.1))
    leaves, tree = jax.tree.flatten(state.params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noisy = [leaf + 0.3 * jax.random.normal(key, leaf.shape) for leaf, key in zip(leaves, keys, strict=True)]
    return {"params": jax.tree.unflatten(tree, noisy), **state.constants}


every_scorer = pytest.mark.parametrize("name", CASES)


@every_scorer
def test_pairs_slates_and_the_whole_catalogue_agree(name):
    model, variables, query = CASES[name].model, variables_of(name), queries(6)
    whole = evaluation.score_all(model, variables, query)
    assert whole.shape == (6, ITEMS)
    slate = jnp.tile(jnp.arange(ITEMS, dtype=jnp.int32), (6, 1))
    np.testing.assert_allclose(model.apply(variables, query, slate), whole, rtol=1e-4, atol=1e-5)
    item = jnp.array([1, 4, 2, 0, 10, 3], jnp.int32)
    pairs = model.apply(variables, query, item)
    np.testing.assert_allclose(pairs, whole[jnp.arange(6), item], rtol=1e-4, atol=1e-5)
    assert np.ptp(np.asarray(whole)) > 0


@every_scorer
def test_encode_and_table_give_the_score(name):
    model, variables, query = CASES[name].model, variables_of(name), queries(6)
    if not hasattr(model, "encode"):
        pytest.skip("not a retriever")
    inner = model.apply(variables, query, method="encode") @ model.apply(variables, method="table").T
    slate = jnp.tile(jnp.arange(ITEMS, dtype=jnp.int32), (6, 1))
    np.testing.assert_allclose(inner, model.apply(variables, query, slate), rtol=1e-4, atol=1e-5)


@every_scorer
def test_each_prefix_is_the_encoding_of_the_history_so_far(name):
    model, variables, query = CASES[name].model, variables_of(name), queries(6)
    if not hasattr(model, "prefixes"):
        pytest.skip("not a session model")
    prefixes = model.apply(variables, query, method="prefixes")
    for t in range(L):
        so_far = query._replace(history=query.history.at[:, t + 1 :].set(0))
        encoded = model.apply(variables, so_far, method="encode")
        real = np.asarray(query.history[:, t] > 0)
        np.testing.assert_allclose(prefixes[real, t], encoded[real], rtol=1e-4, atol=1e-5)


@every_scorer
def test_the_unknown_gets_a_finite_score(name):
    model, variables = CASES[name].model, variables_of(name)
    nobody = jax.tree.map(jnp.zeros_like, queries(3))
    score = model.apply(variables, nobody, jnp.array([0, 1, 2], jnp.int32))
    assert np.isfinite(score).all()
    beyond = model.apply(
        variables, nobody._replace(user=nobody.user + USERS + 5), jnp.array([0, 1, 2], jnp.int32)
    )
    np.testing.assert_allclose(beyond, score, rtol=1e-5)
    new = model.apply(variables, nobody, jnp.full(3, ITEMS + 3, jnp.int32))
    np.testing.assert_allclose(new, jnp.broadcast_to(score[0], 3), rtol=1e-5)


@every_scorer
def test_scoring_is_repeatable_and_training_draws_dropout(name):
    model, variables, query = CASES[name].model, variables_of(name), queries(6)
    item = jnp.arange(1, 7, dtype=jnp.int32)
    np.testing.assert_array_equal(model.apply(variables, query, item), model.apply(variables, query, item))
    if getattr(model, "dropout", 0.0) > 0:
        dropped = model.apply(variables, query, item, rngs={"dropout": jax.random.key(0)})
        assert not np.allclose(dropped, model.apply(variables, query, item))


@every_model
def test_training_lowers_the_loss(case):
    optimizer = optax.adam(0.05)
    step = training.make_step(objective_for(case), optimizer)
    state, history = jax.jit(lambda s: training.fit(step, s, batch_for(case), num_epochs=40, batch_size=8))(
        state_for(case, optimizer)
    )
    assert np.mean(history["loss"][-5:]) < 0.9 * float(history["loss"][0])
    assert not bool(state.halted)


@every_model
def test_rows_that_do_not_count_change_nothing(case):
    batch = batch_for(case)
    rows = jnp.arange(16) >= 10
    masked = batch._replace(where=batch.where & ~rows.reshape(-1, *[1] * (batch.item.ndim - 1)))
    other = batch_for(case, seed=5)
    swapped = jax.tree.map(
        lambda a, b: jnp.where(rows.reshape(-1, *[1] * (a.ndim - 1)), b, a),
        masked._replace(where=jnp.zeros(()) * masked.where),
        other._replace(where=jnp.zeros(()) * other.where),
    )._replace(where=masked.where)
    step = training.make_step(objective_for(case), optax.sgd(0.1))
    if case.objective == "pairwise" or getattr(case.model, "dropout", 0.0):
        pass  # the same key draws the same negatives and the same dropout in both
    one, _ = step(state_for(case, optax.sgd(0.1)), masked)
    two, _ = step(state_for(case, optax.sgd(0.1)), swapped)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), one.params, two.params)


@every_model
def test_a_batch_of_padding_alone_moves_nothing(case):
    batch = jax.tree.map(jnp.zeros_like, batch_for(case))
    state = state_for(case, optax.sgd(0.1))
    new, metrics = training.make_step(objective_for(case), optax.sgd(0.1))(state, batch)
    assert float(metrics["loss"]) == 0.0 and not bool(new.halted)
    jax.tree.map(np.testing.assert_array_equal, new.params, state.params)


@every_model
def test_a_vmapped_study_equals_single_runs(case):
    def train(seed, rate):
        optimizer = optax.adam(rate)
        step = training.make_step(objective_for(case), optimizer)
        return training.fit(
            step, state_for(case, optimizer, seed), batch_for(case), num_epochs=2, batch_size=8
        )

    seeds, rates = jnp.array([3, 4]), jnp.array([0.01, 0.03])
    _, many = jax.jit(jax.vmap(jax.vmap(train, (0, None)), (None, 0)))(seeds, rates)
    _, one = jax.jit(train)(seeds[1], rates[0])
    np.testing.assert_allclose(many["loss"][0, 1], one["loss"], rtol=1e-4)


@every_model
def test_a_mesh_of_devices_gives_the_single_devices_step(case):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    step = training.make_step(objective_for(case), optax.sgd(0.1))
    batch = batch_for(case)
    alone, _ = jax.jit(step)(state_for(case, optax.sgd(0.1)), batch)
    sharded = jax.device_put(batch, NamedSharding(mesh, PartitionSpec("data")))
    state = jax.device_put(state_for(case, optax.sgd(0.1)), NamedSharding(mesh, PartitionSpec()))
    together, _ = jax.jit(step)(state, sharded)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), together.params, alone.params
    )


@every_model
def test_training_and_scoring_lower_for_every_platform(case):
    platforms = ("cpu", "cuda", "tpu")
    optimizer = optax.adam(0.01)
    state, batch = state_for(case, optimizer), batch_for(case)
    step = training.make_step(objective_for(case), optimizer)

    def plain(state, batch):
        state, metrics = step(state._replace(key=jax.random.wrap_key_data(state.key)), batch)
        return state.params, metrics

    plain_state = state._replace(key=jax.random.key_data(state.key))
    assert jax.export.export(jax.jit(plain), platforms=platforms)(plain_state, batch).platforms == platforms
    score = functools.partial(evaluation.score_all, case.model)
    assert jax.export.export(jax.jit(score), platforms=platforms)(state.variables, batch.query)


def test_a_longer_catalogue_scores_new_products_from_their_features():
    case, variables = CASES["WideDeep"], variables_of("WideDeep")
    longer = {
        "category": jnp.append(CATALOGUE["category"], jnp.array([1, 2], jnp.int32)),
        "price": jnp.append(CATALOGUE["price"], jnp.array([0.2, 0.9])),
    }
    new = jnp.tile(jnp.array([ITEMS, ITEMS + 1], jnp.int32), (4, 1))
    score = case.model.apply({**variables, "catalogue": longer}, queries(4), new)
    assert np.isfinite(score).all() and (np.abs(score[:, 0] - score[:, 1]) > 1e-4).all()
