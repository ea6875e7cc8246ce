import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import init_state

from rezoo import evaluation, training
from rezoo.data.batches import queries
from rezoo.models import CFGAN
from rezoo.nn.bag import multi_hot
from rezoo.objectives import adversarial
from rezoo.training import alternating
from rezoo.types import Batch

ITEMS = 9
HISTORY = jnp.array([[1, 2, 3], [2, 3, 0], [6, 7, 8], [7, 8, 0], [0, 0, 0]], jnp.int32)
MODEL = CFGAN(ITEMS, generator_widths=(8,), discriminator_widths=(6,))
OPTIMIZERS = {"generator": optax.adam(0.02), "discriminator": optax.adam(0.01)}


def data() -> Batch:
    real = HISTORY > 0
    return Batch(queries(history=HISTORY), HISTORY, real.astype(jnp.float32), real)


def steps(partial=0.5, zeros=0.5, alpha=0.5):
    mask = adversarial.zero_mask(partial)
    return {
        "discriminator": alternating.only(
            "discriminator", adversarial.discriminator(MODEL, mask), OPTIMIZERS["discriminator"]
        ),
        "generator": alternating.only(
            "generator",
            adversarial.generator(MODEL, mask, adversarial.zero_mask(zeros), alpha),
            OPTIMIZERS["generator"],
        ),
    }


def start():
    return init_state(jax.random.key(0), MODEL, alternating.parts(OPTIMIZERS), data())


@pytest.mark.parametrize("name, other", [("generator", "discriminator"), ("discriminator", "generator")])
def test_a_step_of_one_network_leaves_the_other_and_its_optimizer_alone(name, other):
    before = start()
    after, _ = jax.jit(steps()[name])(before, data())
    chex.assert_trees_all_equal(after.params[other], before.params[other])
    chex.assert_trees_all_equal(after.opt_state[other], before.opt_state[other])
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), after.params[name], before.params[name])
    assert any(jax.tree.leaves(moved)) and int(after.step) == 1


def test_one_scan_alternates_as_a_python_loop_does():
    in_turn = alternating.in_turn(*steps().values())
    scanned, metrics = jax.jit(lambda s: training.fit(in_turn, s, data(), num_epochs=3, batch_size=5))(
        start()
    )
    assert set(metrics) == {"discriminator_loss", "generator_loss"} and int(scanned.step) == 6
    state = start()
    for _ in range(3):
        order = training.shuffle(training.shuffle_key(state), 5)
        batch = training.take(data(), order)
        for step in steps().values():
            state, _ = jax.jit(step)(state, batch)
    chex.assert_trees_all_close(scanned.params, state.params, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "partial, zeros, alpha", [(0.0, 0.5, 0.5), (0.5, 0.5, 0.0), (0.5, 0.5, 0.5)], ids=["ZR", "PM", "ZP"]
)
def test_the_generator_learns_what_was_bought(partial, zeros, alpha):
    step = alternating.in_turn(*steps(partial, zeros, alpha).values())
    state, history = jax.jit(lambda s: training.fit(step, s, data(), num_epochs=200, batch_size=5))(start())
    assert not bool(state.halted) and all(np.isfinite(column).all() for column in history.values())
    score = np.asarray(evaluation.score_all(MODEL, state.variables, data().query))
    assert np.isfinite(score).all()
    for row, bought in ((0, [1, 2, 3]), (2, [6, 7, 8])):
        others = np.setdiff1d(np.arange(1, ITEMS), bought)
        assert score[row, bought].mean() > score[row, others].mean()


def test_zero_masking_takes_its_share_of_what_was_not_bought():
    real = multi_hot(jnp.tile(HISTORY, (400, 1)), MODEL.num_items)
    taken = np.asarray(adversarial.zero_mask(0.25)(jax.random.key(0), real))
    assert not (taken * np.asarray(real)).any() and not taken[:, 0].any()
    assert abs(taken[:, 1:].sum() / (1 - np.asarray(real)[:, 1:]).sum() - 0.25) < 0.02
    assert not np.asarray(adversarial.zero_mask(0.0)(jax.random.key(1), real)).any()


def test_rows_that_do_not_count_move_nothing():
    padded = data()._replace(where=jnp.zeros((5, 3), bool))
    for step in steps().values():
        state, metrics = step(start(), padded)
        chex.assert_trees_all_equal(state.params, start().params)
        assert all(float(value) == 0.0 for value in metrics.values())


def test_a_joint_update_is_refused():
    with pytest.raises(ValueError, match="in turn"):
        alternating.parts(OPTIMIZERS).update({}, {})


def test_every_part_has_an_optimizer_and_every_name_is_a_part():
    params = dict(start().params)
    name = min(OPTIMIZERS)
    with pytest.raises(ValueError, match=f"optimizers for {name}, and the model's parts are"):
        alternating.parts({name: OPTIMIZERS[name]}).init(params)
    step = alternating.only("critic", lambda *_: None, OPTIMIZERS[name])
    with pytest.raises(ValueError, match="there is no part 'critic' to train: there are"):
        step(start(), data())
    with pytest.raises(ValueError, match="there is no step to take"):
        alternating.in_turn()
