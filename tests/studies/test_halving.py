"""Halving on members whose scores are known: a point learns `slope` each unit, from `-start`."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import same

from rezoo import losses, objectives, training
from rezoo.data.batches import pairs
from rezoo.models import BiasedMF
from rezoo.studies import halving, sweep

GRID = {"slope": jnp.array([1.0, 2.0, 3.0, 4.0, 5.0]), "start": jnp.array([0.0, 0.0, 9.0, 9.0, 9.0])}


def init(key, slope, start):
    return {"value": -start, "noise": jax.random.uniform(key), "key": key}


def more(state, slope, start):
    value = state["value"] + slope
    return {**state, "value": value}, value + 0.01 * state["noise"]


def test_the_better_ones_go_on_and_the_others_stop_costing():
    found = halving.search(init, more, sweep.keys(3), GRID, rungs=[2, 3, 6])
    # After 2 units the scores are 2, 4, -3, -1, 1; after 3 of points 0, 1 and 4: 3, 6, 6.
    assert found.units.tolist() == [3, 6, 2, 2, 6]
    assert found.survivors.tolist() == [4, 1]
    assert {name: float(column[0]) for name, column in found.best.items()} == {"slope": 5.0, "start": 9.0}
    noise = jax.vmap(jax.random.uniform)(sweep.keys(3))
    np.testing.assert_allclose(found.score[:, 0] - 0.01 * noise[0], [3, 12, -3, -1, 21], rtol=1e-5)
    assert found.history.shape == (5, 3, 6) and found.score.shape == (5, 3)
    assert np.isfinite(found.history).sum(2).tolist() == [[n] * 3 for n in found.units]
    np.testing.assert_array_equal(found.state["value"], [[21.0] * 3, [12.0] * 3])


@pytest.mark.parametrize("limits", [{"at_once": 1}, {"at_once": 4}])
def test_members_some_at_a_time_are_the_members_side_by_side(limits):
    whole = halving.search(init, more, sweep.keys(2), GRID, rungs=[1, 3])
    parts = halving.search(init, more, sweep.keys(2), GRID, rungs=[1, 3], **limits)
    assert same(whole._replace(seconds=0), parts._replace(seconds=0))


def test_a_member_that_is_not_a_number_loses():
    def breaking(state, slope, start):
        state, score = more(state, slope, start)
        return state, jnp.where((slope == 5) & (state["noise"] > 0.5), jnp.nan, score)

    noise = jax.vmap(jax.random.uniform)(sweep.keys(4))
    assert 0 < int((noise > 0.5).sum()) < 4
    found = halving.search(init, breaking, sweep.keys(4), GRID, rungs=[4, 8])
    assert found.units.tolist() == [8, 8, 4, 8, 4] and float(found.best["slope"][0]) == 4.0
    with pytest.raises(FloatingPointError, match="every point diverged"):
        halving.search(init, lambda s, slope, start: (s, jnp.nan * slope), sweep.keys(1), GRID, rungs=[1, 2])


def test_each_rung_is_one_program_for_those_who_are_left():
    traced = []

    def counted(state, slope, start):
        traced.append(0)
        return more(state, slope, start)

    halving.search(init, counted, sweep.keys(2), GRID, rungs=[1, 2, 4])
    assert len(traced) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rungs": [2, 2]}, "rungs are numbers"),
        ({"rungs": []}, "rungs are numbers"),
        ({"eta": 1.0}, "eta must be above 1"),
        ({"grid": {}}, "the grid has no column"),
        ({"grid": {"slope": jnp.ones(2), "start": jnp.ones(3)}}, "must have one length"),
    ],
)
def test_bad_input_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        halving.search(init, more, sweep.keys(1), **({"grid": GRID, "rungs": [1, 2]} | change))


def test_another_search_starts_over_beside_the_first_and_says_so(tmp_path, caplog):
    first = halving.search(init, more, sweep.keys(1), GRID, rungs=[1, 2], folder=tmp_path)
    other = {name: column + 1 for name, column in GRID.items()}
    second = halving.search(init, more, sweep.keys(1), other, rungs=[1, 2], folder=tmp_path)
    assert "differs in members: starting over" in caplog.text
    assert float(second.best["slope"][0]) == 3.0 and len(list(tmp_path.iterdir())) == 2
    again = halving.search(init, more, sweep.keys(1), GRID, rungs=[1, 2], folder=tmp_path)
    assert same(again._replace(seconds=0), first._replace(seconds=0))
    assert len(caplog.records) == 1


def mf_search(folder):
    """A real search: biased MF by Adam, 4 rates × 2 seeds."""
    rng = np.random.default_rng(0)
    user, item = rng.integers(1, 30, (2, 400))
    data = pairs(user, item, rng.integers(1, 6, 400))
    model = BiasedMF(30, 30, 4, mean=3.0)
    objective = objectives.pointwise(model, losses.squared)

    def begin(key, rate):
        return training.init_state(key, model, optax.adam(rate), data)

    def unit(state, rate):
        step = training.make_step(objective, optax.adam(rate))
        state, metrics = training.epoch(step, state, data, 64)
        return state, -metrics["loss"]

    grid = sweep.draw(jax.random.key(1), 4, rate=sweep.log_uniform(1e-3, 1e-1))
    return halving.search(begin, unit, sweep.keys(2), grid, rungs=[1, 2, 4], folder=folder)


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from rezoo.studies import resuming
import studies.test_halving as test_halving
save = resuming.checkpoint.save
def killing(folder, rung, tree):
    save(folder, rung, tree)
    if rung == 2:
        os.kill(os.getpid(), signal.SIGKILL)
resuming.checkpoint.save = killing
test_halving.mf_search(Path(sys.argv[2]))
"""


@pytest.mark.slow
def test_a_search_killed_and_resumed_ends_bit_for_bit_the_same(tmp_path):
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parents[1]), str(tmp_path)]
    killed = subprocess.run(command, env=os.environ, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(list(tmp_path.glob("*/rung-*"))) == 2
    resumed, whole = mf_search(tmp_path), mf_search(None)
    assert same(resumed._replace(seconds=0), whole._replace(seconds=0))
    assert whole.units.tolist().count(4) == 1
