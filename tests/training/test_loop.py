import gc
import os
import shutil

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rezoo import training
from rezoo.data.batches import pairs
from rezoo.storage import checkpoint, durable
from rezoo.training import loop
from rezoo.types import Aux, TrainState


def objective(variables, key, batch):
    noise = 0.1 * jax.random.normal(key, batch.label.shape)
    value = jnp.square(variables["params"]["w"][batch.item] + noise - batch.label).mean()
    return value, Aux({"loss": value}, {})


def problem(seed=0, rate=0.1, data_seed=0):
    rng = np.random.default_rng(data_seed)
    data = pairs(np.zeros(40, int), rng.integers(1, 5, 40), rng.normal(size=40))
    optimizer = optax.adam(rate)
    params = {"w": jnp.zeros(5)}
    state = TrainState(
        params, {}, optimizer.init(params), jax.random.key(seed), jnp.int32(0), jnp.bool_(False)
    )
    step = training.make_step(objective, optimizer)
    return state, jax.jit(lambda s: training.epoch(step, s, data, 8), donate_argnums=0)


def same(a, b):
    a, b = a._replace(key=jax.random.key_data(a.key)), b._replace(key=jax.random.key_data(b.key))
    chex.assert_trees_all_equal(a, b)


def test_history_has_every_epoch_and_the_best_is_kept():
    state, epoch = problem()
    target = jnp.array([0.0, 0.2, 0.2, 0.2, 0.2])
    evaluate = jax.jit(lambda v: {"error": jnp.square(v["params"]["w"] - target).sum()})
    result = loop.run(epoch, state, 12, evaluate=evaluate, monitor=lambda m: -m["error"])
    assert result.history["loss"].shape == (12,)
    best = int(np.argmin(result.history["error"]))
    assert int(result.best_epoch) == best + 1
    np.testing.assert_allclose(evaluate(result.best)["error"], result.history["error"][best], rtol=1e-6)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"patience": 3}, "patience= waits for a better monitor="),
        ({"patience": 0, "monitor": lambda m: -m["loss"]}, "patience = 0: give 1 or more"),
        ({"num_epochs": -1}, "num_epochs = -1: give 0 or more, a whole number"),
        ({"monitor": lambda m: np.nan * m["loss"]}, "the monitor is NaN after epoch 1"),
    ],
)
def test_what_cannot_choose_or_end_is_refused(given, told):
    state, epoch = problem()
    with pytest.raises(ValueError, match=told):
        loop.run(epoch, state, **{"num_epochs": 2, **given})


def test_members_whose_monitor_is_nan_are_never_best():
    def epoch(state):
        return state._replace(step=state.step + 1), {"x": jnp.array([jnp.nan, 1.0])}

    keys = jax.random.split(jax.random.key(0))
    start = TrainState({"w": jnp.zeros(2)}, {}, (), keys, jnp.zeros(2, int), jnp.zeros(2, bool))
    result = loop.run(epoch, start, 2, monitor=lambda m: m["x"])
    assert result.best_epoch.tolist() == [0, 1]


def test_it_stops_when_nothing_improves():
    state, epoch = problem()
    result = loop.run(
        epoch, state, 50, evaluate=lambda v: {"x": jnp.float32(1)}, monitor=lambda m: m["x"], patience=3
    )
    assert int(result.best_epoch) == 1 and len(result.history["x"]) == 4


def test_a_stopped_run_goes_on_to_the_same_end(tmp_path):
    state, epoch = problem()
    straight = loop.run(epoch, state, 6)
    state, epoch = problem()
    loop.run(epoch, state, 2, folder=tmp_path / "run", save_every=0.0)
    state, epoch = problem()
    resumed = loop.run(epoch, state, 6, folder=tmp_path / "run", save_every=0.0)
    same(resumed.state, straight.state)
    np.testing.assert_array_equal(resumed.history["loss"], straight.history["loss"])
    assert resumed.seconds > 0


def test_a_start_that_is_made_when_it_is_needed(tmp_path):
    def start():
        made.append(problem()[0])
        return made[-1]

    straight, made = loop.run(problem()[1], problem()[0], 4), []
    with pytest.raises(ValueError, match="give identity="):
        loop.run(problem()[1], start, 2, folder=tmp_path)
    for num_epochs in (2, 4):
        last = loop.run(problem()[1], start, num_epochs, folder=tmp_path, identity="x")
    same(last.state, straight.state)
    assert len(made) == 2  # once for its shapes


def test_another_data_set_starts_over_beside_the_first_and_says_so(tmp_path, caplog):
    def run(folder, data_seed):
        state, epoch = problem(data_seed=data_seed)
        return loop.run(epoch, state, 2, folder=folder)

    monday = run(tmp_path, 0)
    assert not caplog.records
    tuesday = run(tmp_path, 1)
    assert [record.getMessage().count("differs in data: starting over") for record in caplog.records] == [1]
    same(tuesday.state, run(None, 1).state)
    again = run(tmp_path, 0)
    assert len(caplog.records) == 1 and again.seconds == monday.seconds


def test_the_fingerprint_knows_what_is_other():
    def parts(evaluate=lambda v: {"error": v["params"]["w"].sum()}, monitor=lambda m: -m["loss"], **change):
        watch = {"patience": change.pop("patience", None), "identity": change.pop("identity", None)}
        state, epoch = problem(**change)
        return loop._parts(epoch, state, evaluate, monitor, **watch)

    def other(**change):
        changed = parts(**change)
        return {name for name in whole | changed if whole.get(name) != changed.get(name)}

    whole, error, sign = parts(), 1.0, -1
    assert other() == set()
    assert other(data_seed=1) == {"data"}
    assert other(rate=0.2) == {"program"}
    assert other(seed=1) == {"start"}
    assert other(evaluate=lambda v: {"error": error - v["params"]["w"].sum()}) == {"evaluation"}
    target, target_too = np.zeros(5), np.ones(5)
    hosted = parts(evaluate=lambda v: {"error": float((v["params"]["w"] - target).sum())})["evaluation"]
    assert (
        hosted
        != parts(evaluate=lambda v: {"error": float((v["params"]["w"] - target_too).sum())})["evaluation"]
    )
    assert other(monitor=lambda m: m["loss"]) == {"evaluation"}
    assert other(monitor=lambda m: sign * m["loss"]) == {"evaluation"}
    assert other(patience=1) == {"evaluation"}


def test_a_program_that_is_written_otherwise_is_the_same_run(tmp_path):
    state, epoch = problem()
    first = loop.run(epoch, state, 2, folder=tmp_path)
    state, epoch = problem()
    again = loop.run(lambda s: epoch(s), state, 2, folder=tmp_path)
    assert again.seconds == first.seconds and len(list(tmp_path.iterdir())) == 1


def test_an_epoch_that_is_no_program_needs_an_identity(tmp_path):
    state, epoch = problem()

    def hosted(state):
        assert int(state.step) >= 0
        return epoch(state)

    with pytest.raises(TypeError, match=r"identity=rezoo\.storage\.fingerprint\.of"):
        loop.run(hosted, state, 2, folder=tmp_path)
    first = loop.run(hosted, state, 2, folder=tmp_path, identity="monday")
    again = loop.run(hosted, problem()[0], 2, folder=tmp_path, identity="monday")
    other = loop.run(hosted, problem()[0], 2, folder=tmp_path, identity="tuesday")
    assert first.seconds == again.seconds != other.seconds


def test_a_folder_that_holds_more_epochs_is_refused(tmp_path):
    state, epoch = problem()
    loop.run(epoch, state, 3, folder=tmp_path)
    with pytest.raises(ValueError, match="holds 3 epochs of this run, more than 2"):
        loop.run(epoch, problem()[0], 2, folder=tmp_path)


def test_a_second_process_in_the_folder_is_told_of_the_first(tmp_path):
    state, epoch = problem()

    def hosted(state):
        with pytest.raises(durable.BusyError, match=f"process {os.getpid()} works in this folder"):
            loop.run(epoch, problem()[0], 1, folder=tmp_path, identity="it")
        return epoch(state)

    loop.run(hosted, state, 1, folder=tmp_path, identity="it")


def test_a_finished_run_is_not_saved_again(tmp_path):
    state, epoch = problem()
    first = loop.run(epoch, state, 2, folder=tmp_path)
    (step,) = tmp_path.glob("*/2")
    made = step.stat().st_ino, step.stat().st_mtime_ns
    again = loop.run(epoch, problem()[0], 2, folder=tmp_path)
    same(again.state, first.state)
    assert (step.stat().st_ino, step.stat().st_mtime_ns) == made


DAMAGES = [
    lambda file: file.unlink(),
    lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    lambda file: file.write_bytes(bytes(255 - byte for byte in file.read_bytes())),
]


# Orbax leaves coroutines behind when a file cannot be read.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore:coroutine")
@pytest.mark.parametrize("pattern", ["_CHECKPOINT_METADATA", "state/_METADATA", "state/**/d/*"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_says_so(tmp_path, pattern, caplog):
    state, epoch = problem()
    straight = loop.run(epoch, state, 4, folder=tmp_path / "whole", save_every=0.0)
    for n, damage in enumerate(DAMAGES):
        shutil.copytree(tmp_path / "whole", tmp_path / str(n))
        for file in (tmp_path / str(n)).glob(f"*/4/{pattern}"):
            damage(file)
        caplog.clear()
        resumed = loop.run(epoch, problem()[0], 5, folder=tmp_path / str(n), save_every=0.0)
        assert "the checkpoint of step 4 is damaged; going on from step 3" in caplog.text
        np.testing.assert_array_equal(resumed.history["loss"][:4], straight.history["loss"])
        again = loop.run(epoch, problem()[0], 5, folder=tmp_path / str(n))
        same(again.state, resumed.state)
    gc.collect()  # of the coroutines, while their warnings are ignored


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    checkpoint.save(tmp_path, 1, {"w": jnp.zeros(7), "v": jnp.zeros(2)})
    with pytest.raises(ValueError, match="another model"):
        checkpoint.restore(tmp_path, {"w": jnp.zeros(5)})


def test_divergence_names_the_step_and_the_parameters():
    state, epoch = problem(rate=float("inf"))
    with pytest.raises(loop.Diverged, match=r"step 1 of epoch 1.*w: \d of 5 values, first in rows"):
        loop.run(epoch, state, 3)
