"""SessionRanker: its equations, any session model as its encoder, and the three ways to train it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import apply, noisy

from rezoo import losses, objectives, training
from rezoo.data import batches
from rezoo.models import (
    HSTU,
    NARM,
    SRGNN,
    STAMP,
    TIGER,
    BERT4Rec,
    Caser,
    GRU4Rec,
    LRURec,
    NextItNet,
    RepeatExplore,
    SASRec,
    SessionRanker,
    eSASRec,
)
from rezoo.models.ranking.session_ranker import Factors
from rezoo.types import Batch

N = 9
HISTORY = np.array([[3, 1, 4, 0], [2, 7, 5, 8], [0, 0, 0, 0], [6, 0, 0, 0]])
ROWS = batches.pairs([1, 2, 0, 3], [5, 1, 2, 8], [1.0, 0, 1, 0], history=HISTORY)
GRU = partial(GRU4Rec, N, 3)
ENCODERS = {
    "GRU4Rec": GRU,
    "NARM": partial(NARM, N, 4, hidden=5),
    "STAMP": partial(STAMP, N, 4),
    "SRGNN": partial(SRGNN, N, 4),
    "SASRec": partial(SASRec, N, 4, max_length=4),
    "eSASRec": partial(eSASRec, N, 4, num_blocks=1, num_heads=2, max_length=4),
    "HSTU": partial(HSTU, N, 4, num_blocks=1, num_heads=2, max_length=4),
    "BERT4Rec": partial(BERT4Rec, N, 8, num_blocks=1, max_length=4),
    "LRURec": partial(LRURec, N, 4, num_blocks=1),
    "NextItNet": partial(NextItNet, N, 4, dilations=(1,), kernel=2),
    "Caser": partial(Caser, N, 4, num_users=0, window=3, horizontal=2, vertical=2),
}


def started(model, batch=ROWS):
    return noisy(jax.jit(model.init)(jax.random.key(0), batch.query, batch.item)["params"], 0.3)


def test_factors_are_the_inner_product_of_state_and_item_with_their_biases():
    model = SessionRanker({"item": N, "user": 4}, GRU, 2, head=Factors, mean=3.5)
    params = started(model)
    found = apply(model, {"params": params}, ROWS.query, ROWS.item)
    state = np.asarray(apply(GRU(), {"params": params["session"]}, ROWS.query, method="encode"))
    table = np.asarray(apply(GRU(), {"params": params["session"]}, method="table"))
    params = jax.device_get(params)
    r = np.concatenate([state, params["columns"]["user"]["embedding"][np.asarray(ROWS.query.user)]], axis=1)
    e = params["items"]["item"]["embedding"][np.asarray(ROWS.item)]
    head = params["decoder"]
    user = r @ head["row"]["kernel"] + head["row"]["bias"]
    item = e @ head["each"]["kernel"] + head["each"]["bias"]
    expected = 3.5 + (user[:, :2] * item[:, :2]).sum(1) + user[:, 2] + item[:, 2]
    expected = expected + head["match"] * (state * table[np.asarray(ROWS.item)]).sum(1)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ENCODERS)
def test_any_session_model_is_an_encoder(name):
    model = SessionRanker({"item": N}, ENCODERS[name], 2)
    shapes = jax.eval_shape(model.init, jax.random.key(0), ROWS.query, ROWS.item)
    alone = jax.eval_shape(ENCODERS[name]().init, jax.random.key(0), ROWS.query, ROWS.item)
    taken = {path for path, _ in jax.tree.leaves_with_path(shapes["params"]["session"])}
    assert taken and taken <= {path for path, _ in jax.tree.leaves_with_path(alone["params"])}
    assert jax.eval_shape(model.apply, shapes, ROWS.query, ROWS.item).shape == (4,)


def test_the_encoder_reads_the_models_catalogue():
    encoder = partial(GRU4Rec, N, 3, item_features={"price": None})
    model = SessionRanker({"item": N}, encoder, 2)
    catalogue = {"price": jnp.linspace(0.0, 1.0, N)}
    state = training.init_state(
        jax.random.key(0), model, optax.sgd(0.1), ROWS, constants={"catalogue": catalogue}
    )
    params = noisy(state.params, 0.3)

    def scores(catalogue):
        return np.asarray(apply(model, {"params": params, "catalogue": catalogue}, ROWS.query, ROWS.item))

    def own_scores(catalogue):
        own = {"params": params["session"], "catalogue": catalogue}
        return np.asarray(apply(encoder(), own, ROWS.query, ROWS.item))

    dearer = {"price": catalogue["price"] + 1}
    assert np.abs(own_scores(dearer) - own_scores(catalogue)).max() > 1e-3
    assert np.abs(scores(dearer) - scores(catalogue)).max() > 1e-3


def test_a_frozen_session_model_stays_and_the_others_learn():
    model = SessionRanker({"item": N}, GRU, 2)
    optimizer = training.frozen(optax.sgd(0.1), "session")
    state = training.init_state(jax.random.key(0), model, optimizer, ROWS)
    step = jax.jit(training.make_step(objectives.pointwise(model, losses.logistic), optimizer))
    after, _ = step(state, ROWS)
    jax.tree.map(np.testing.assert_array_equal, after.params["session"], state.params["session"])
    moved = [
        not np.array_equal(a, b)
        for a, b in zip(
            jax.tree.leaves(after.params["decoder"]), jax.tree.leaves(state.params["decoder"]), strict=True
        )
    ]
    assert any(moved)
    with pytest.raises(ValueError, match="no part 'sesion' to freeze"):
        training.frozen(optax.sgd(0.1), "sesion").init(state.params)


@pytest.mark.parametrize("newest", [None, 1, 2])
def test_the_second_task_is_the_softmax_of_the_events_that_follow(newest):
    model = SessionRanker({"item": N}, GRU, 2)
    params = started(model)
    rows = ROWS._replace(where=jnp.array([True, True, True, False]))
    objective = objectives.with_next_item(model, losses.logistic, 0.5, newest=newest)
    value, aux = jax.jit(objective)({"params": params}, jax.random.key(1), rows)
    own = {"params": params["session"]}
    states = np.asarray(apply(GRU(), own, ROWS.query, method="prefixes"))
    scores = states @ np.asarray(apply(GRU(), own, method="table"))[1:].T
    each = []
    for b in range(2):  # of the others one has no event, and one does not count
        events = HISTORY[b][HISTORY[b] > 0]
        for t in range(len(events) - 1)[-newest if newest else None :]:
            s = scores[b, t].astype(np.float64)
            each.append(np.log(np.exp(s).sum()) - s[events[t + 1] - 1])
    assert len(each) == {None: 5, 1: 2, 2: 4}[newest]
    np.testing.assert_allclose(aux.metrics["next_item"], np.mean(each), rtol=1e-5)
    first, _ = jax.jit(objectives.pointwise(model, losses.logistic))(
        {"params": params}, jax.random.key(1), rows
    )
    np.testing.assert_allclose(value, float(first) + 0.5 * np.mean(each), rtol=1e-5)


def test_what_cannot_be_asked_is_said():
    nobody = SessionRanker({"item": N}, None, 2)
    with pytest.raises(ValueError, match="give encoder=, features of the query"):
        jax.eval_shape(nobody.init, jax.random.key(0), ROWS.query, ROWS.item)
    both_ways = SessionRanker({"item": N}, ENCODERS["BERT4Rec"], 2)
    variables = jax.eval_shape(both_ways.init, jax.random.key(0), ROWS.query, ROWS.item)
    with pytest.raises(ValueError, match="no part `session` with `prefixes`"):
        jax.eval_shape(
            objectives.with_next_item(both_ways, losses.logistic), variables, jax.random.key(1), ROWS
        )


def test_histories_too_short_for_a_second_task_leave_the_first():
    short = Batch(ROWS.query._replace(history=ROWS.query.history[:, :1]), *ROWS[1:])
    model = SessionRanker({"item": N}, GRU, 2)
    params = started(model, short)
    _, aux = jax.jit(objectives.with_next_item(model, losses.logistic))(
        {"params": params}, jax.random.key(1), short
    )
    assert float(aux.metrics["next_item"]) == 0.0 and np.isfinite(aux.metrics["score"])


def test_the_encoder_makes_a_session_model_of_the_same_items():
    for model in (
        SessionRanker({"item": N + 1}, GRU, 2),
        RepeatExplore(N + 1, GRU, dim=2),
        SessionRanker({"item": N}, GRU(), 2),
        SessionRanker({"item": N}, partial(TIGER, (2, 2)), 2),
    ):
        with pytest.raises(ValueError, match=r"items, the model|give what makes one|has no `encode`"):
            jax.eval_shape(model.init, jax.random.key(0), ROWS.query, ROWS.item)
