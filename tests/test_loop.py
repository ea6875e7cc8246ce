import os
import random
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rezoo import loop, training
from rezoo.types import Aux, Batch, Query, TrainState


def objective(variables, key, batch):
    noise = 0.1 * jax.random.normal(key, batch.label.shape)
    value = jnp.square(variables["params"]["w"][batch.item] + noise - batch.label).mean()
    return value, Aux({"loss": value}, {})


def problem(seed=0, rate=0.1):
    rng = np.random.default_rng(0)
    item = jnp.array(rng.integers(1, 5, 40), jnp.int32)
    query = Query(jnp.zeros(40, jnp.int32), jnp.zeros((40, 0), jnp.int32), {})
    data = Batch(query, item, jnp.array(rng.normal(size=40), jnp.float32), jnp.ones(40, bool))
    optimizer = optax.adam(rate)
    params = {"w": jnp.zeros(5)}
    state = TrainState(
        params, {}, optimizer.init(params), jax.random.key(seed), jnp.int32(0), jnp.bool_(False)
    )
    step = training.make_step(objective, optimizer)
    return state, jax.jit(lambda s: training.epoch(step, s, data, 8), donate_argnums=0)


def same(a, b):
    a, b = a._replace(key=jax.random.key_data(a.key)), b._replace(key=jax.random.key_data(b.key))
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_history_has_every_epoch_and_the_best_is_kept():
    state, epoch = problem()
    target = jnp.array([0.0, 0.2, 0.2, 0.2, 0.2])
    evaluate = jax.jit(lambda v: {"error": jnp.square(v["params"]["w"] - target).sum()})
    result = loop.run(epoch, state, 12, evaluate=evaluate, monitor=lambda m: -m["error"])
    assert result.history["loss"].shape == (12,)
    best = int(np.argmin(result.history["error"]))
    assert int(result.best_epoch) == best + 1
    np.testing.assert_allclose(evaluate(result.best)["error"], result.history["error"][best], rtol=1e-6)


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
    state, epoch = problem(seed=9)
    resumed = loop.run(epoch, state, 6, folder=tmp_path / "run", save_every=0.0)
    same(resumed.state, straight.state)
    np.testing.assert_array_equal(resumed.history["loss"], straight.history["loss"])
    assert resumed.seconds > 0


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    state, epoch = problem()
    loop.run(epoch, state, 1, folder=tmp_path)
    wider = state._replace(params={"w": jnp.zeros(7), "v": jnp.zeros(2)}, key=jax.random.key(0))
    with pytest.raises(ValueError, match="another model"):
        loop.run(
            epoch,
            jax.tree.map(jnp.array, wider._replace(opt_state=(), step=jnp.int32(0), halted=jnp.bool_(0))),
            3,
            folder=tmp_path,
        )


def test_divergence_names_the_step_and_the_parameters():
    state, epoch = problem(rate=float("inf"))
    with pytest.raises(loop.Diverged, match=r"step 1 of epoch 1.*w: \d of 5 values, first in rows"):
        loop.run(epoch, state, 3)


SCRIPT = """
import sys
sys.path[:0] = sys.argv[2:]
from test_loop import problem
from rezoo import loop
import numpy as np, time
state, epoch = problem()
def slow(s):
    time.sleep(0.05)
    return epoch(s)
print("ready", flush=True)
result = loop.run(slow, state, 25, folder=sys.argv[1] + "/run", save_every=0.0)
np.savez(sys.argv[1] + "/end.npz", loss=result.history["loss"], **result.state.params)
"""


def test_a_run_killed_at_random_moments_ends_as_if_never_killed(tmp_path):
    here = os.path.dirname(__file__)
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), here, os.path.dirname(here)]
    draw = random.Random(0)
    kills = 0
    while kills < 3:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout and process.stdout.readline() == b"ready\n"
            time.sleep(draw.uniform(0.3, 2.0))
            if process.poll() is not None:
                break
            process.send_signal(signal.SIGKILL)
        kills += 1
    assert kills > 0
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    state, epoch = problem()
    straight = loop.run(epoch, state, 25)
    with np.load(tmp_path / "end.npz") as end:
        np.testing.assert_array_equal(end["w"], straight.state.params["w"])
        np.testing.assert_array_equal(end["loss"], straight.history["loss"])
