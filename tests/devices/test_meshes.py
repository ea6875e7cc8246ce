"""Training and evaluation with the batch spread over a mesh of devices, as on a single device.

What each model does there is tested in `test_contract.py`.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import eight_devices
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from rezoo import evaluation, losses, objectives, sampling, training
from rezoo.devices import meshes
from rezoo.models import MF
from rezoo.training import row_sparse
from rezoo.types import Batch, Query

pytestmark = eight_devices
USERS, ITEMS, ROWS = 7, 11, 16
MODEL = MF(USERS, ITEMS, 4)
# Not Adam: its first step is the gradient's sign, which is chance where a gradient is 0 but for rounding.
SGD = optax.sgd(0.1)


def mesh():
    return jax.make_mesh((8,), ("data",), axis_types=(AxisType.Explicit,))


def spread(tree):
    return jax.device_put(tree, NamedSharding(mesh(), PartitionSpec("data")))


def whole(tree):
    return jax.device_put(tree, NamedSharding(mesh(), PartitionSpec()))


def close(a, b):
    chex.assert_trees_all_close(a, b, rtol=1e-5, atol=1e-6)


def some_rows():
    rng = np.random.default_rng(0)
    user, item, history, label = (
        jnp.asarray(rng.integers(low, high, shape), jnp.int32)
        for low, high, shape in ((0, USERS, ROWS), (1, ITEMS, ROWS), (0, ITEMS, (ROWS, 5)), (0, 2, ROWS))
    )
    return Batch(Query(user, history, {}), item, label.astype(jnp.float32), jnp.arange(ROWS) < ROWS - 2)


BATCH = some_rows()
COUNT = jnp.arange(ITEMS, dtype=jnp.float32)
LOG_Q = sampling.log_popularity(np.asarray(COUNT))
SQUARED = objectives.l2(objectives.pointwise(MODEL, losses.squared), 0.1, {"item": COUNT})
STEPS = {
    "in batch": objectives.in_batch(MODEL, losses.sampled_softmax, log_q=LOG_Q),
    "sampled": objectives.sampled(MODEL, losses.sampled_softmax, sampling.uniform(ITEMS), 3, log_q=LOG_Q),
}
PAIRS = sampling.positives_by_user(np.asarray(BATCH.query.user), np.asarray(BATCH.item), USERS)
SAMPLERS = {
    "uniform": sampling.uniform(ITEMS),
    "popularity": sampling.popularity(np.asarray(COUNT)),
    "others' positives": sampling.in_batch(),
    "fixed": sampling.fixed(jnp.arange(4 * USERS, dtype=jnp.int32).reshape(USERS, 4)),
    "excluding": sampling.reject_positives(sampling.uniform(ITEMS), PAIRS, ITEMS),
}
ASKED = {
    "evaluate": lambda v, q: evaluation.evaluate(
        MODEL, v, q, q.history, exclude=q.history[:, :2], k=(3,), block=5, propensity=COUNT + 1
    ),
    "ranks": lambda v, q: evaluation.ranks(MODEL, v, q, q.history, block=8),
    "sampled": lambda v, q: evaluation.evaluate_sampled(
        MODEL, v, q, q.history[:, 0], q.history[:, 1:], k=(3,), block=8
    ),
    "recommend": lambda v, q: evaluation.recommend(
        MODEL, v, q, 4, exclude=q.history[:, :2], block=8, item_block=4
    ),
}


def state_of(init=training.init_state, *more):
    return jax.jit(lambda: init(jax.random.key(0), MODEL, SGD, *more, BATCH))()


def test_draws_are_the_single_devices():
    def draws(query, item):
        key = jax.random.key(0)
        of = {name: jax.random.fold_in(key, number) for number, name in enumerate(SAMPLERS)}
        return {name: sampler(of[name], query, item, 3) for name, sampler in SAMPLERS.items()}

    draws = jax.jit(draws)
    close(draws(*spread((BATCH.query, BATCH.item))), draws(BATCH.query, BATCH.item))


@pytest.mark.parametrize("name", STEPS)
def test_a_step_with_drawn_negatives_is_the_single_devices(name):
    step = jax.jit(training.make_step(STEPS[name], SGD))
    close(step(whole(state_of()), spread(BATCH))[0].params, step(state_of(), BATCH)[0].params)


@pytest.mark.parametrize("size", [8, 6])
def test_an_epoch_is_the_single_devices(size):
    step = training.make_step(SQUARED, SGD)
    epoch = jax.jit(lambda state, batch: training.epoch(step, state, batch, size))
    (state, means), (expected, alone) = epoch(whole(state_of()), spread(BATCH)), epoch(state_of(), BATCH)
    close((state.params, means), (expected.params, alone))


def test_a_row_sparse_epoch_is_the_single_devices():
    rows = row_sparse.sgd(0.1)
    state, step = state_of(row_sparse.init_state, rows), row_sparse.make_step(SQUARED, SGD, rows)
    epoch = jax.jit(lambda state, batch: training.epoch(step, state, batch, 8)[0].params)
    close(epoch(whole(state), spread(BATCH)), epoch(state, BATCH))


@pytest.mark.parametrize("name", ASKED)
def test_rankings_and_lists_are_the_single_devices(name):
    variables, ask = state_of().variables, jax.jit(ASKED[name])
    close(ask(whole(variables), spread(BATCH.query)), ask(variables, BATCH.query))


def test_ratings_and_clicks_are_the_single_devices():
    @jax.jit
    def of(variables, batch):
        clicks = evaluation.evaluate_clicks(MODEL, variables, batch, block=8)
        return clicks, evaluation.evaluate_ratings(MODEL, variables, batch, clip=(0.0, 1.0), block=5)

    variables = state_of().variables
    close(of(whole(variables), spread(BATCH)), of(variables, BATCH))


def test_lists_outside_of_jit_are_the_single_devices():
    variables = state_of().variables
    ids, score = evaluation.recommend(MODEL, whole(variables), spread(BATCH.query), 4)
    close((ids, score), evaluation.recommend(MODEL, variables, BATCH.query, 4))
    assert meshes.parts(ids) == 8


def test_blocks_have_the_same_rows_of_every_device():
    x = jnp.arange(24.0)
    for block in (1, 5, 9, 100):
        doubled = jax.jit(lambda x, block=block: meshes.in_blocks(lambda x: x * 2, x, block))(spread(x))
        np.testing.assert_array_equal(doubled, x * 2)
        assert meshes.parts(doubled) == 8
