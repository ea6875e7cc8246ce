"""GRU4Rec beside what its official code does: session-parallel training, its optimizer, its losses."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import apply, init

from rezoo import losses, objectives, training
from rezoo.arrays import offsets_of
from rezoo.data import packing
from rezoo.data.batches import queries
from rezoo.data.sessions import Sessions
from rezoo.models import GRU4Rec
from rezoo.models.session import gru4rec
from rezoo.nn.recurrent import GRU, LSTM
from rezoo.types import Batch

ITEMS, LANES = 9, 3


def some_sessions() -> Sessions:
    rng = np.random.default_rng(0)
    length = rng.integers(2, 7, 20)
    return Sessions(rng.integers(1, ITEMS, length.sum()).astype(np.int32), offsets_of(length))


def batch(made: Sessions) -> Batch:
    history, target, where, segment = map(jnp.asarray, packing.next_item(made, 6))
    query = queries(history=history, features={"segment": segment})
    return Batch(query, target, where.astype(jnp.float32), where)


def session_parallel(made: Sessions):
    """Lanes as in Hidasi 2016, section 3.1.1: (inputs, targets, whether a session begins) of each step."""
    waiting = [made.items[a:b] for a, b in zip(made.offsets[:-1], made.offsets[1:], strict=True)]
    lanes = [waiting.pop(0) for _ in range(LANES)]
    at, begins = [0] * LANES, [True] * LANES
    while True:
        for lane in range(LANES):
            if at[lane] + 1 == len(lanes[lane]):
                lanes[lane] = waiting.pop(0) if waiting else np.zeros(10**6, np.int32)
                at[lane], begins[lane] = 0, True
        events = [(lane[t], lane[t + 1]) for lane, t in zip(lanes, at, strict=True)]
        if not any(target for _, target in events):
            return
        yield *map(np.array, zip(*events, strict=True)), np.array(begins)
        at, begins = [t + 1 for t in at], [False] * LANES


@pytest.mark.parametrize("cell", [GRU, LSTM])
def test_session_parallel_steps_give_the_loss_of_one_pass(cell):
    made, model = some_sessions(), GRU4Rec(ITEMS, 4, num_layers=2, cell=cell)
    rows = batch(made)
    variables = jax.tree.map(lambda x: 3 * x, init(model, rows.query, rows.item[:, 0]))
    one_pass, _ = objectives.next_item_softmax(model)(variables, jax.random.key(0), rows)

    nobody = queries(history=jnp.zeros((LANES, 1), jnp.int32))
    empty = apply(model, variables, nobody, method="begin")
    table, carry, total, count = apply(model, variables, method="table"), empty, 0.0, 0
    for item, target, begins in session_parallel(made):
        carry = jax.tree.map(lambda new, old: jnp.where(begins[:, None], new, old), empty, carry)  # noqa: B023
        carry = apply(model, variables, carry, jnp.asarray(item), method="step")
        score = apply(model, variables, carry, method="state") @ table[1:].T
        value = optax.softmax_cross_entropy_with_integer_labels(score, jnp.maximum(target - 1, 0))
        total, count = total + float(value[target > 0].sum()), count + int((target > 0).sum())
    assert count == int(rows.where.sum())
    np.testing.assert_allclose(total / count, one_pass, rtol=1e-5)


def test_its_optimizer_is_adagrad_with_momentum():
    optimizer = gru4rec.adagrad(0.1, momentum=0.5)
    theta, squares, velocity = np.array([1.0, -2.0, 3.0]), np.zeros(3), np.zeros(3)
    params = jnp.asarray(theta)
    state = optimizer.init(params)
    for gradient in np.random.default_rng(0).normal(size=(4, 3)) * [1.0, 0.1, 0.0]:
        updates, state = optimizer.update(jnp.asarray(gradient), state)
        params = optax.apply_updates(params, updates)
        squares += gradient**2
        velocity = 0.5 * velocity - 0.1 * gradient / np.sqrt(squares + 1e-6)
        theta = theta + velocity
    np.testing.assert_allclose(params, theta, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("loss", [losses.bpr_max, losses.top1_max])
def test_ranking_losses_see_scores_as_they_are_where_no_correction_is_asked(loss):
    model, rows = GRU4Rec(ITEMS, 4), batch(some_sessions())
    variables = jax.tree.map(lambda x: 3 * x, init(model, rows.query, rows.item[:, 0]))
    only = jnp.zeros(ITEMS).at[5].set(1.0)  # what is drawn is known: item 5, six times
    value, _ = objectives.next_item_sampled(model, loss, only, 6, corrected=False)(
        variables, jax.random.key(0), rows
    )
    score = apply(model, variables, rows.query, method="prefixes") @ apply(model, variables, method="table").T
    target = np.asarray(rows.item)
    expected = []
    for place in zip(*np.nonzero(np.asarray(rows.where)), strict=True):
        own, other = score[place][target[place]], score[place][5]
        listed = jnp.array([own, *[other] * 6])
        where = jnp.array([True, *[target[place] != 5] * 6])
        expected.append(float(loss(listed, jnp.array([1.0, *[0.0] * 6]), where=where)))
    np.testing.assert_allclose(value, np.mean(expected), rtol=1e-4)


def test_it_learns_by_them():
    """A step along a ring: after training the next item is at the top of most lists."""
    walk = (np.arange(6)[None] + np.arange(40)[:, None]) % (ITEMS - 1) + 1
    made = Sessions(walk.ravel().astype(np.int32), np.arange(0, walk.size + 1, 6))
    model, rows = GRU4Rec(ITEMS, 16), batch(made)
    objective = objectives.next_item_sampled(model, losses.bpr_max, jnp.ones(ITEMS), 5, corrected=False)
    optimizer = gru4rec.adagrad(0.1, momentum=0.1)
    state = training.init_state(jax.random.key(0), model, optimizer, rows)
    step = training.make_step(objective, optimizer)
    state, _ = jax.jit(lambda state: training.fit(step, state, rows, num_epochs=40, batch_size=10))(state)
    score = apply(model, state.variables, rows.query, method="prefixes")
    score = score @ apply(model, state.variables, method="table").T
    found = np.asarray(score[..., 1:].argmax(-1) + 1) == np.asarray(rows.item)
    assert found[np.asarray(rows.where)].mean() > 0.9
