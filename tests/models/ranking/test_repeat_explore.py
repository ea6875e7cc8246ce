"""RepeatExplore: its equations, any session model as its encoder, and what its encoder alone cannot learn."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import apply, noisy, score_all

from rezoo import losses, objectives, training
from rezoo.data import batches, sessions
from rezoo.models import HSTU, NARM, STAMP, BERT4Rec, GRU4Rec, RepeatExplore, SASRec
from rezoo.types import Batch

N = 9
HISTORY = np.array([[3, 1, 3, 4, 0], [2, 7, 5, 8, 2], [0, 0, 0, 0, 0], [6, 6, 6, 0, 0]])
ASKED = batches.queries(history=HISTORY)
ALL = jax.device_put(np.tile(np.arange(N, dtype=np.int32), (4, 1)))
GRU = partial(GRU4Rec, N, 3)
MODEL = RepeatExplore(N, GRU, 4, places=3)


@pytest.fixture(scope="module")
def params():
    return noisy(jax.jit(MODEL.init)(jax.random.key(0), ASKED, ALL)["params"], 0.5)


def encoders_own(params, method, *inputs):
    return np.asarray(apply(GRU(), {"params": params["session"]}, *inputs, method=method), np.float64)


def by_hand(params, history, state, table):
    """α of each event, and the score of every item, of one session."""
    p = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    each = []
    for t, item in enumerate(history):
        hidden = state @ p["of_state"]["kernel"] + p["of_state"]["bias"]
        hidden = hidden + table[item] @ p["of_event"]["kernel"]
        hidden = hidden + p["from_start"]["embedding"][1 + min(t, 2)]
        hidden = hidden + p["from_end"]["embedding"][1 + min(len(history) - 1 - t, 2)]
        each.append(state @ table[item] + (np.tanh(hidden) @ p["weight"]["kernel"])[0])
    alpha = np.exp(each) / np.exp(each).sum()
    found = alpha @ table[history]
    mode = np.tanh(np.concatenate([state, found]) @ p["of_mode"]["kernel"] + p["of_mode"]["bias"])
    mode = (mode @ p["mode"]["kernel"])[0]
    score = table @ state
    for item in set(history):
        score[item] = np.log(np.exp(each)[history == item].sum()) + mode
    return alpha, score


def test_it_is_the_equations_by_hand(params):
    state, table = encoders_own(params, "encode", ASKED), encoders_own(params, "table")
    found = np.asarray(score_all(MODEL, {"params": params}, ASKED))
    shares = np.asarray(apply(MODEL, {"params": params}, ASKED, method="attention"))
    for row, history in enumerate(HISTORY):
        events = history[history > 0]
        if len(events) == 0:  # explored: the scores of the encoder
            np.testing.assert_allclose(found[row], table @ state[row], rtol=1e-5, atol=1e-6)
            assert (shares[row] == 0).all()
            continue
        alpha, score = by_hand(params, events, state[row], table)
        np.testing.assert_allclose(found[row], score, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(shares[row, : len(events)], alpha, rtol=1e-4, atol=1e-6)
        assert (shares[row, len(events) :] == 0).all()


def test_its_softmax_is_the_papers_mixture(params):
    state, table = encoders_own(params, "encode", ASKED), encoders_own(params, "table")
    score = np.asarray(score_all(MODEL, {"params": params}, ASKED), np.float64)[:, 1:]
    given = np.exp(score) / np.exp(score).sum(1, keepdims=True)
    shares = np.asarray(apply(MODEL, {"params": params}, ASKED, method="attention"), np.float64)
    for row in (0, 1, 3):
        inside = np.isin(np.arange(1, N), HISTORY[row])
        explored = np.where(inside, 0.0, np.exp(table[1:] @ state[row]))
        again = np.array([shares[row][HISTORY[row] == item].sum() for item in range(1, N)])
        repeat = given[row][inside].sum()  # P(repeat), between 0 and 1
        assert 0.001 < repeat < 0.999
        mixture = repeat * again + (1 - repeat) * explored / explored.sum()
        np.testing.assert_allclose(given[row], mixture, rtol=1e-4, atol=1e-7)


def test_it_begins_as_its_encoder():
    params = jax.jit(MODEL.init)(jax.random.key(0), ASKED, ALL)["params"]
    own = encoders_own(params, "encode", ASKED) @ encoders_own(params, "table").T
    times = (HISTORY[:, :, None] == np.arange(N)).sum(1)
    times[:, 0] = 1
    expected = own + np.log(np.maximum(times, 1))
    np.testing.assert_allclose(score_all(MODEL, {"params": params}, ASKED), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "encoder",
    [
        partial(NARM, N, 4, hidden=5),
        partial(STAMP, N, 4),
        partial(SASRec, N, 4, max_length=5),
        partial(HSTU, N, 4, num_blocks=1, num_heads=2, max_length=5),
        partial(BERT4Rec, N, 8, num_blocks=1, max_length=5),
    ],
    ids=lambda encoder: encoder.func.__name__,
)
def test_any_session_model_is_an_encoder(encoder):
    model = RepeatExplore(N, encoder, 4)
    shapes = jax.eval_shape(model.init, jax.random.key(0), ASKED, ALL)
    alone = jax.eval_shape(encoder().init, jax.random.key(0), ASKED, ALL)
    taken = {path for path, _ in jax.tree.leaves_with_path(shapes["params"]["session"])}
    assert taken and taken <= {path for path, _ in jax.tree.leaves_with_path(alone["params"])}
    assert jax.eval_shape(model.apply, shapes, ASKED, ALL).shape == (4, N)
    nothing = ASKED._replace(history=ASKED.history[:, :0])
    assert jax.eval_shape(model.apply, shapes, nothing, ALL).shape == (4, N)


def test_columns_of_events_are_the_encoders():
    model = RepeatExplore(N, partial(GRU4Rec, N, 3, event_features={"type": 3}), 4)
    kinds = (HISTORY > 0) * np.array([1, 2, 1, 2, 1])
    query = batches.queries(history=HISTORY, features={"type": kinds})
    params = noisy(jax.jit(model.init)(jax.random.key(0), query, ALL)["params"], 0.5)
    others = batches.queries(history=HISTORY, features={"type": np.where(kinds > 0, 3 - kinds, 0)})
    one, two = (np.asarray(score_all(model, {"params": params}, each)) for each in (query, others))
    changed = np.abs(one - two).max(axis=1) > 1e-4
    assert changed.tolist() == [True, True, False, True]


@pytest.mark.parametrize("events", [0, 2])
def test_a_history_of_any_width_says_the_same(params, events):
    whole = HISTORY * (np.arange(5) < events)
    short, long = (batches.queries(history=rows) for rows in (whole[:, :events], whole))
    one, two = (score_all(MODEL, {"params": params}, each) for each in (short, long))
    np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)


def returning(rng, count, num_items):
    """Sessions of three items that differ, after which the first comes back."""
    three = rng.permuted(np.tile(np.arange(1, num_items), (count, 1)), axis=1)[:, :3]
    return sessions.of_padded(np.concatenate([three, three[:, :1]], axis=1))


def test_it_learns_what_comes_back_where_its_encoder_does_not():
    size, rng = 61, np.random.default_rng(0)
    learnt, asked = returning(rng, 300, size), returning(rng, 200, size)
    history, target = sessions.prefixes(learnt, 4)
    slate = jnp.tile(jnp.arange(size, dtype=jnp.int32), (len(target), 1))
    label = (slate == target[:, None]).astype(jnp.float32)
    rows = Batch(batches.queries(history=history), slate, label, slate > 0)
    history, target = sessions.prefixes(asked, 4)
    query, last = batches.queries(history=history), np.arange(len(target)) % 3 == 2
    encoder = partial(GRU4Rec, size, 16, tied=True)

    def chances(model):
        optimizer = optax.adam(0.02)
        step = training.make_step(objectives.pointwise(model, losses.softmax_cross_entropy), optimizer)

        def train(rows):
            state = training.init_state(jax.random.key(0), model, optimizer, rows)
            return training.fit(step, state, rows, num_epochs=15, batch_size=100)[0].params

        score = score_all(model, {"params": jax.jit(train)(rows)}, query)
        return np.asarray(jax.nn.softmax(score[:, 1:]))

    alone, head = chances(encoder()), chances(RepeatExplore(size, encoder, 16))
    right = [(each.argmax(1) + 1 == target)[last].mean() for each in (alone, head)]
    assert right[1] > 0.95 and right[0] < 0.6
    inside = (history[:, :, None] == np.arange(1, size)).any(1)
    repeat = (head * inside).sum(1)  # P(repeat): before the third click all is explored
    assert repeat[last].mean() > 0.9 and repeat[~last].mean() < 0.1
