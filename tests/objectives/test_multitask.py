"""Several tasks at once: what each adds to the loss, and how they are weighed."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import init_state

from rezoo import evaluation, losses, objectives, training
from rezoo.data.batches import queries
from rezoo.models import ESMM, PLE, MMoE, SharedBottom
from rezoo.objectives import weighting
from rezoo.types import Batch, Target

TASKS = ("buys", "stars")
LOSSES = {"buys": losses.logistic, "stars": losses.squared}
MODEL = SharedBottom({"color": 4}, TASKS, 3, widths=(6,), tower=(4,))


def batch_of(stars=None, known=None, rows=8):
    rng = np.random.default_rng(0)
    color = jnp.asarray(rng.integers(0, 4, rows), jnp.int32)
    query = queries(features={"color": color})
    every = jnp.ones(rows, bool)
    buys = jnp.asarray(rng.integers(0, 2, rows), jnp.float32)
    stars = jnp.asarray(rng.integers(1, 6, rows), jnp.float32) if stars is None else stars
    tasks = {"buys": Target(buys, every), "stars": Target(stars, every if known is None else known)}
    return Batch(query, jnp.zeros(rows, jnp.int32), buys, every, tasks)


def state_of(model=MODEL, optimizer=None):
    return init_state(jax.random.key(0), model, optimizer or optax.sgd(0.1), batch_of())


def value_and_grad(objective, state, batch):
    def value(params):
        return objective({"params": params}, jax.random.key(1), batch)[0]

    return jax.jit(jax.value_and_grad(value))(state.params)


def test_the_loss_is_the_weighted_sum_of_each_tasks_mean():
    batch, state = batch_of(known=jnp.arange(8) < 3), state_of()
    score = evaluation.predict_tasks(MODEL, state.variables, batch)
    buys = np.mean(losses.logistic(score["buys"], batch.tasks["buys"].label))
    stars = np.mean((np.asarray(score["stars"]) - np.asarray(batch.tasks["stars"].label))[:3] ** 2)
    objective = objectives.multi_task(MODEL, LOSSES, {"stars": 0.25})
    value, aux = objective(state.variables, jax.random.key(1), batch)
    np.testing.assert_allclose(value, buys + 0.25 * stars, rtol=1e-5)
    np.testing.assert_allclose(aux.metrics["stars"], stars, rtol=1e-5)


@pytest.mark.parametrize(
    "weights",
    [None, weighting.uncertainty, weighting.gradient_norm(), weighting.gradient_norm(0.5), weighting.pcgrad],
)
def test_a_task_without_a_label_adds_nothing_and_no_nan(weights):
    nothing = jnp.full(8, jnp.nan), jnp.zeros(8, bool)
    state = weighting.with_log_variances(state_of(), optax.sgd(0.1), TASKS)
    value, grad = value_and_grad(objectives.multi_task(MODEL, LOSSES, weights), state, batch_of(*nothing))
    alone, alone_grad = value_and_grad(
        objectives.multi_task(MODEL, {"buys": losses.logistic}, weights), state, batch_of()
    )
    np.testing.assert_allclose(value, alone, rtol=1e-6)
    chex.assert_trees_all_close(grad, alone_grad, rtol=1e-4, atol=1e-7)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grad))
    assert not np.any(grad["stars_tower"]["output"]["kernel"])


@pytest.mark.parametrize("weights", [None, weighting.uncertainty, weighting.gradient_norm(0.5)])
def test_no_label_at_all_moves_nothing(weights):
    batch = batch_of()._replace(where=jnp.zeros(8, bool))
    state = weighting.with_log_variances(state_of(), optax.sgd(0.1), TASKS)
    value, grad = value_and_grad(objectives.multi_task(MODEL, LOSSES, weights), state, batch)
    assert float(value) == 0 and not any(np.any(leaf) for leaf in jax.tree.leaves(grad))


def test_a_ranking_head_beside_a_regression_head_on_slates():
    slate = jnp.tile(jnp.arange(4, dtype=jnp.int32), (3, 1))
    query = queries(rows=3)
    relevant = jnp.zeros((3, 4)).at[:, 1].set(1.0)
    every = jnp.ones((3, 4), bool)
    tasks = {"buys": Target(relevant, every), "stars": Target(3 * relevant, every)}
    model = SharedBottom({"item": 4}, TASKS, 3, widths=(6,), tower=(4,))
    batch, optimizer = Batch(query, slate, relevant, every, tasks), optax.adam(0.03)
    objective = objectives.multi_task(model, {"buys": losses.softmax_cross_entropy, "stars": losses.squared})
    step = training.make_step(objective, optimizer)
    state = training.init_state(jax.random.key(0), model, optimizer, batch)
    state, _ = training.fit(step, state, batch, num_epochs=300, batch_size=3)
    score = evaluation.predict_tasks(model, state.variables, batch)
    np.testing.assert_allclose(score["stars"], 3 * relevant, atol=0.05)
    assert (score["buys"].argmax(1) == 1).all() and jax.nn.softmax(score["buys"])[0, 1] > 0.95


def test_uncertainty_learns_the_variance_of_each_task():
    # With its loss fixed at L, a task's L / σ² + ln σ is least at σ² = 2 L.
    batch = batch_of()
    learnt = {"buys": jnp.log(2 * 0.3), "stars": jnp.log(2 * 4.0)}
    values = {"buys": jnp.float32(0.3), "stars": jnp.float32(4.0)}

    def total(learnt):
        return weighting.uncertainty(values, batch, {"params": {"log_variance": learnt}}, None)

    np.testing.assert_allclose(total(learnt), 1 + 0.5 * np.log(2 * 0.3 * 2 * 4.0), rtol=1e-5)
    jax.tree.map(lambda g: np.testing.assert_allclose(g, 0, atol=1e-6), jax.grad(total)(learnt))


def test_gradient_norm_gives_every_task_the_same_pull():
    batch, state = batch_of(), state_of()
    key = jax.random.key(1)
    gradients = objectives.task_gradients(MODEL, LOSSES, state.variables, key, batch)
    norms = [optax.tree.norm(gradient) for gradient in weighting.shared(gradients).values()]
    assert norms[1] > 3 * norms[0]
    _, grad = value_and_grad(objectives.multi_task(MODEL, LOSSES, weighting.gradient_norm()), state, batch)
    weight = np.array([1 / norms[0], 1 / norms[1]])
    weight *= 2 / weight.sum()
    expected = jax.tree.map(lambda a, b: weight[0] * a + weight[1] * b, *gradients.values())
    chex.assert_trees_all_close(grad, expected, rtol=1e-3, atol=1e-6)


def test_gradient_norm_gives_more_to_the_task_that_has_learnt_less():
    # Two tasks with the losses 1 and 4, from 2 and 4: rates 1/2 and 1, relative to their mean 2/3 and 4/3.
    gradients = {
        "buys": {
            "bottom": jnp.array([3.0, 4.0]),
            "buys_tower": jnp.array([9.0]),
            "stars_tower": jnp.zeros(1),
        },
        "stars": {"bottom": jnp.array([0.0, 1.0]), "buys_tower": jnp.zeros(1), "stars_tower": jnp.ones(1)},
    }
    values = {"buys": jnp.float32(1.0), "stars": jnp.float32(4.0)}
    for alpha in (0.5, 2.0):
        weigh = weighting.gradient_norm(alpha, {"buys": 2.0, "stars": 4.0})
        slope = jax.grad(lambda v, weigh=weigh: weigh(v, batch_of(), {}, lambda: gradients))(values)
        expected = np.array([(2 / 3) ** alpha / 5, (4 / 3) ** alpha / 1])
        expected *= 2 / expected.sum()
        np.testing.assert_allclose([slope["buys"], slope["stars"]], expected, rtol=1e-5)


def test_pcgrad_is_the_papers_algorithm_at_the_shared_parameters():
    rng = np.random.default_rng(0)
    tasks = ("click", "buy", "stars")
    common = dict(zip(tasks, rng.normal(size=(3, 5)), strict=True))
    gradients = {
        task: {"bottom": jnp.asarray(common[task], jnp.float32)}
        | {f"{other}_tower": jnp.full(2, float(other == task)) for other in tasks}
        for task in tasks
    }
    expected, conflicts = np.zeros(5), 0
    for task in tasks:
        g = common[task].copy()
        for other in tasks:
            if other != task and g @ common[other] < 0:
                g -= (g @ common[other]) / (common[other] @ common[other]) * common[other]
                conflicts += 1
        expected += g
    assert conflicts >= 2
    params = jax.tree.map(lambda x: x + 1.0, gradients["click"])
    flat = {task: jax.tree.map(jax.lax.stop_gradient, gradient) for task, gradient in gradients.items()}

    def value(params):
        losses = {t: sum(jnp.vdot(flat[t][name], params[name]) for name in params) for t in tasks}
        return weighting.pcgrad(losses, batch_of(), {"params": params}, lambda: gradients)

    total, slope = jax.value_and_grad(value)(params)
    np.testing.assert_allclose(slope["bottom"], expected, rtol=1e-5)
    assert all(slope[f"{task}_tower"].tolist() == [1.0, 1.0] for task in tasks)  # a task's own stay
    plain = sum(float(jnp.vdot(flat[t][name], params[name])) for t in tasks for name in params)
    np.testing.assert_allclose(total, plain, rtol=1e-5)


def test_pcgrad_of_a_model_leaves_tasks_that_agree_as_they_are():
    batch, state = batch_of(), state_of()
    losses_of = {"buys": losses.squared, "stars": losses.squared}
    batch = batch._replace(tasks=dict.fromkeys(TASKS, batch.tasks["stars"]))
    key = jax.random.key(1)
    gradients = objectives.task_gradients(MODEL, losses_of, state.variables, key, batch)
    cosine = weighting.conflict(MODEL, losses_of, state.variables, jax.random.key(1), batch)[
        "cosine buys stars"
    ]
    _, grad = value_and_grad(objectives.multi_task(MODEL, losses_of, weighting.pcgrad), state, batch)
    plain = jax.tree.map(jnp.add, *gradients.values())
    changed = float(optax.tree.norm(jax.tree.map(jnp.subtract, grad, plain)))
    assert (changed > 1e-4) == (float(cosine) < 0)


def test_shared_is_what_two_tasks_have_a_gradient_at():
    one, none = jnp.array([1.0, 0.0]), jnp.zeros(2)
    gradients = {
        "click": {"inputs": one, "click_tower": one, "conversion_tower": none},
        "purchase": {"inputs": 2 * one, "click_tower": 3 * one, "conversion_tower": 4 * one},
    }
    found = weighting.shared(gradients)
    expected = {
        "click": {"inputs": [1, 0], "click_tower": [1, 0], "conversion_tower": [0, 0]},
        "purchase": {"inputs": [2, 0], "click_tower": [3, 0], "conversion_tower": [0, 0]},
    }
    assert jax.tree.map(lambda leaf: leaf.tolist(), found) == expected
    without = {**gradients, "click": jax.tree.map(jnp.zeros_like, gradients["click"])}
    chex.assert_trees_all_equal(weighting.shared(without), without)
    diverged = {**gradients, "click": jax.tree.map(lambda leaf: leaf * jnp.nan, gradients["click"])}
    assert all(np.isnan(leaf).any() for leaf in jax.tree.leaves(weighting.shared(diverged)["click"]))


def own_modules(model, tasks):
    """The names of the modules at which one task alone has a gradient."""
    batch, key = batch_of(), jax.random.key(0)
    batch = batch._replace(tasks=dict.fromkeys(tasks, batch.tasks["buys"]))
    variables = jax.jit(partial(model.init, method="tasks"))(key, batch.query, batch.item)
    loss = dict.fromkeys(tasks, losses.logistic)
    gradients = jax.jit(partial(objectives.task_gradients, model, loss))(variables, key, batch)
    found = weighting.shared(gradients)[tasks[0]]
    return {name for name, tree in found.items() if not any(np.any(leaf) for leaf in jax.tree.leaves(tree))}


@pytest.mark.parametrize(
    ("model", "tasks", "own"),
    [
        (MODEL, TASKS, ["{}_tower"]),
        (MMoE({"color": 4}, TASKS, 3, experts=2, widths=(6,), tower=(4,)), TASKS, ["{}_tower", "{}_gate"]),
        # From the second level on a task hears of the other's experts of the first.
        (
            PLE(
                {"color": 4},
                TASKS,
                3,
                levels=2,
                num_task_experts=1,
                num_shared_experts=1,
                widths=(6,),
                tower=(4,),
            ),
            TASKS,
            ["{}_tower", "{}_gate_0", "{}_gate_1", "{}_experts_1"],
        ),
        (ESMM({"color": 4}, 3, widths=(6,)), ("purchase", "click"), ["conversion_tower"]),
    ],
    ids=["SharedBottom", "MMoE", "PLE", "ESMM"],
)
def test_what_is_a_tasks_own_in_each_model(model, tasks, own):
    assert own_modules(model, tasks) == {name.format(task) for name in own for task in tasks}


def test_conflict_is_the_cosine_at_the_shared_parameters():
    batch, state = batch_of(), state_of()
    same = {"buys": losses.logistic}
    gradients = objectives.task_gradients(MODEL, LOSSES, state.variables, jax.random.key(1), batch)
    a, b = (
        np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves([g["bottom"], g["inputs"]])])
        for g in gradients.values()
    )
    found = weighting.conflict(MODEL, LOSSES, state.variables, jax.random.key(1), batch)
    np.testing.assert_allclose(
        found["cosine buys stars"], a @ b / np.linalg.norm(a) / np.linalg.norm(b), rtol=1e-4
    )
    assert weighting.conflict(MODEL, same, state.variables, jax.random.key(1), batch) == {}


def test_steps_in_order_pay_for_what_rises_from_one_to_the_next():
    batch, state = batch_of(), state_of()
    plain = objectives.multi_task(MODEL, LOSSES)
    scores = MODEL.apply(state.variables, batch.query, batch.item, method="tasks")
    buys, stars = (1 / (1 + np.exp(-np.asarray(scores[task], np.float64))) for task in TASKS)
    where = np.asarray(batch.where)
    for steps, rise in ((TASKS, stars - buys), (TASKS[::-1], buys - stars)):
        objective = objectives.in_order(MODEL, LOSSES, steps, 2.0)
        value, aux = jax.jit(objective)(state.variables, jax.random.key(1), batch)
        expected = np.maximum(rise, 0)[where].mean()
        np.testing.assert_allclose(aux.metrics["order"], expected, rtol=1e-4, atol=1e-7)
        without, _ = jax.jit(plain)(state.variables, jax.random.key(1), batch)
        np.testing.assert_allclose(value, without + 2 * expected, rtol=1e-5)
    with pytest.raises(ValueError, match="two steps or more"):
        objectives.in_order(MODEL, LOSSES, ["buys"])
    with pytest.raises(ValueError, match="'star', but the model has only"):
        objectives.in_order(MODEL, LOSSES, ["buys", "star"])(state.variables, jax.random.key(0), batch)


def test_what_is_misspelt_is_named():
    batch, state = batch_of(), state_of()
    with pytest.raises(ValueError, match=r"\['star'\], which have no loss"):
        objectives.multi_task(MODEL, LOSSES, {"star": 1.0})
    with pytest.raises(ValueError, match="'star', but the model has only"):
        objectives.multi_task(MODEL, {"star": losses.squared})(state.variables, jax.random.key(0), batch)
    with pytest.raises(ValueError, match=r"'stars', but batch\.tasks has only"):
        without = batch._replace(tasks={"buys": batch.tasks["buys"]})
        objectives.multi_task(MODEL, LOSSES)(state.variables, jax.random.key(0), without)
    with pytest.raises(ValueError, match="with_log_variances"):
        objectives.multi_task(MODEL, LOSSES, weighting.uncertainty)(state.variables, jax.random.key(0), batch)


def test_every_experts_dropout_is_its_own():
    model = MMoE({"color": 4}, TASKS, 3, experts=2, widths=(50,), tower=(4,), dropout=0.5)
    batch = batch_of()
    params = model.init(jax.random.key(0), batch.query, batch.item)["params"]
    kernel = params["experts"]["experts"]["Dense_0"]["kernel"]
    assert kernel.shape == (2, 3, 50) and np.abs(kernel[0] - kernel[1]).max() > 0.1
