"""What has the same shapes is traced once: each further trace would be a further compilation."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import init

from rezoo import evaluation, losses, objectives, training
from rezoo.data import batches
from rezoo.data.ids import Ids
from rezoo.models import MF, GRU4Rec, NeuMF
from rezoo.serving import answers, live
from rezoo.serving.bundle import Saved
from rezoo.training import bucketed, loop, row_sparse

USERS, ITEMS, ROWS = 7, 9, 23
MODEL = MF(USERS, ITEMS, dim=2)
OBJECTIVE = objectives.pointwise(MODEL, losses.squared)


@pytest.fixture(autouse=True)
def counter():
    chex.clear_trace_counter()


def log():
    rng = np.random.default_rng(0)
    return rng.integers(1, USERS, ROWS), rng.integers(1, ITEMS, ROWS), rng.normal(size=ROWS)


def dense():
    optimizer, data = optax.adam(0.1), batches.pairs(*log())
    step = chex.assert_max_traces(training.make_step(OBJECTIVE, optimizer), n=1)
    state = training.init_state(jax.random.key(0), MODEL, optimizer, data)
    return state, lambda state: training.epoch(step, state, data, 5)


def by_row():
    optimizers, data = (optax.adam(0.1), row_sparse.lazy_adam(0.1)), batches.pairs(*log())
    step = chex.assert_max_traces(row_sparse.make_step(OBJECTIVE, *optimizers), n=1)
    state = row_sparse.init_state(jax.random.key(0), MODEL, *optimizers, data)
    return state, lambda state: training.epoch(step, state, data, 5)


def by_user():
    optimizer, buckets = optax.adam(0.1), batches.by_user(log())
    step = chex.assert_max_traces(training.make_step(OBJECTIVE, optimizer), n=len(buckets))
    state = training.init_state(jax.random.key(0), MODEL, optimizer, buckets[0])
    return state, lambda state: bucketed.epoch(step, state, buckets, 5)


@pytest.mark.parametrize("make", [dense, by_row, by_user])
def test_a_run_traces_its_step_once_for_each_shape_and_its_evaluation_once(make):
    state, epoch = make()

    def evaluate(variables):
        return evaluation.evaluate(MODEL, variables, batches.queries([1, 2]), jnp.ones((2, 1), jnp.int32))

    evaluate = jax.jit(chex.assert_max_traces(evaluate, n=1))
    result = loop.run(jax.jit(epoch, donate_argnums=0), state, 4, evaluate=evaluate)
    assert result.history["loss"].shape == (4,)


def test_a_second_trace_of_a_step_is_found():
    state, epoch = dense()
    jax.jit(lambda state: epoch(state)).lower(state)
    with pytest.raises(AssertionError, match="traced > 1 times"):
        jax.jit(lambda state: epoch(state)).lower(state)


def counted(n):
    """A model whose score may be traced n times, its variables and data."""

    class Counted(NeuMF):
        __call__ = chex.assert_max_traces(NeuMF.__call__, n=n)

    model, data = Counted(USERS, ITEMS, dim=2, widths=(2,)), batches.pairs(*log())
    return model, init(NeuMF(USERS, ITEMS, dim=2, widths=(2,)), data.query, data.item), data


def test_evaluation_outside_of_jit_traces_a_model_once():
    model, variables, data = counted(1)
    target = data.item[:, None]
    for call in (
        lambda v: evaluation.predict(model, v, data),
        lambda v: evaluation.evaluate(model, v, data.query, target),
        lambda v: evaluation.evaluate_sampled(model, v, data.query, data.item, target),
        lambda v: evaluation.recommend(model, v, data.query, 3),
    ):
        chex.clear_trace_counter()
        answer = call(variables)
        chex.assert_trees_all_equal_shapes(call(jax.tree.map(lambda x: x + 1, variables)), answer)


def test_answers_in_raw_ids_trace_a_model_once():
    model, variables, _ = counted(2)  # once for what it reads of a question, once for its answers
    raw = [
        Ids(np.array([f"{kind} {n}" for n in range(1, rows)])) for kind, rows in (("u", USERS), ("i", ITEMS))
    ]
    shop = Saved(model, variables, *raw)
    for call in (
        lambda user, item: answers.predict(shop, [user, "u 1"], [item, "i 2"]),
        lambda user, item: answers.recommend(shop, [user, "u 1"], 3, exclude=[[item], []]),
    ):
        chex.clear_trace_counter()
        for user in range(2, USERS):
            call(f"u {user}", f"i {user + 1}")


def test_a_live_session_traces_an_event_and_an_answer_once():
    model = GRU4Rec(ITEMS, dim=2)
    variables = init(model, batches.queries(history=[[1, 2]]), jnp.ones(1, jnp.int32))
    served = live.serve(model, variables)
    sessions = live.start(model, served, 3)
    observe = jax.jit(chex.assert_max_traces(live.observe, n=1), static_argnums=0)
    recommend = jax.jit(chex.assert_max_traces(live.recommend, n=1), static_argnums=0, static_argnames="k")
    for item in range(1, ITEMS):
        sessions = observe(model, served, sessions, jnp.array([item % 3]), jnp.array([item]))
        recommend(model, served, sessions, jnp.array([item % 3]), k=2)
