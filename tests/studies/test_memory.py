import gc
import logging
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import mostly_slow, same

from rezoo.studies import memory, resuming, sweep


def wide(key, rate):
    """A member that needs about 16 MB besides its result."""
    x = jax.random.normal(key, (1000, 1000))
    return {"sum": rate * jnp.sort(x, axis=0).sum(1)[:3], "key": key}


MEMBERS = (sweep.keys(6), jnp.arange(6.0))


def test_members_that_do_not_fit_run_in_parts_that_do_and_the_log_says_so(caplog):
    whole = memory.run_members(wide, *MEMBERS)
    with caplog.at_level(logging.WARNING):
        parts = memory.run_members(wide, *MEMBERS, memory=50e6)
    np.testing.assert_allclose(parts["sum"], whole["sum"], rtol=1e-6)
    assert bool((parts["key"] == whole["key"]).all())
    assert "6 members side by side take" in caplog.text and "MiB are free" in caplog.text


def test_what_is_planned_is_what_the_compiler_says():
    one = memory.needed(memory._compiled(wide, MEMBERS, 1, False))
    six = memory.needed(memory._compiled(wide, MEMBERS, 6, False))
    assert 8e6 < one < 32e6 and six > 4 * one
    assert memory.free_memory() > 1e8


def test_a_member_that_does_not_fit_alone_is_refused():
    with pytest.raises(MemoryError, match=r"one member takes .* MiB .* smaller batch"):
        memory.run_members(wide, *MEMBERS, memory=1e6)


def test_results_that_do_not_fit_together_are_refused():
    with pytest.raises(MemoryError, match="return less from the function"):
        memory.run_members(lambda key: jax.random.normal(key, (100_000,)), sweep.keys(50), memory=4e6)


@pytest.mark.parametrize("at_once", mostly_slow([1, 4, None], [None]))
def test_a_study_that_broke_off_goes_on_and_ends_the_same(tmp_path, at_once, monkeypatch):
    whole = memory.run_members(wide, *MEMBERS, at_once=at_once)
    calls, save = [], resuming.checkpoint.save

    def breaking(*args):
        save(*args)
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(resuming.checkpoint, "save", breaking)
    if at_once is not None:
        with pytest.raises(KeyboardInterrupt):
            memory.run_members(wide, *MEMBERS, at_once=at_once, folder=tmp_path)
    again = memory.run_members(wide, *MEMBERS, at_once=at_once, folder=tmp_path)
    assert len(calls) == {1: 6, 4: 2, None: 1}[at_once]
    assert same(again, whole)
    assert same(memory.run_members(wide, *MEMBERS, at_once=at_once, folder=tmp_path), whole)
    assert len(calls) == {1: 6, 4: 2, None: 1}[at_once]


def test_another_study_starts_over_beside_the_first_and_says_so(tmp_path, caplog):
    def scaled(data, key, rate):
        return rate * data + jax.random.uniform(key)

    studies = {
        "data": (partial(scaled, jnp.arange(3.0)), *MEMBERS),
        "in data": (partial(scaled, jnp.array([0.0, 1.0, 3.0])), *MEMBERS),
        "in program": (lambda key, rate: scaled(jnp.arange(3.0), key, rate + 1), *MEMBERS),
        "in members": (partial(scaled, jnp.arange(3.0)), MEMBERS[0], MEMBERS[1] + 1),
    }
    results = {}
    for named, study in studies.items():
        results[named] = memory.run_members(*study, folder=tmp_path)
        np.testing.assert_array_equal(results[named], memory.run_members(*study))
        assert named == "data" or named in caplog.records[-1].getMessage()
    assert len(list(tmp_path.iterdir())) == 4 and len(caplog.records) == 3
    np.testing.assert_array_equal(memory.run_members(*studies["data"], folder=tmp_path), results["data"])
    assert len(caplog.records) == 3


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore:coroutine")
def test_a_damaged_part_is_computed_again(tmp_path, caplog):
    def square(x):
        return x**2

    whole = memory.run_members(square, jnp.arange(6.0), at_once=3, folder=tmp_path)
    next(tmp_path.glob("*/members-000003/0/_CHECKPOINT_METADATA")).write_text("")
    for _ in range(2):
        np.testing.assert_array_equal(
            memory.run_members(square, jnp.arange(6.0), at_once=3, folder=tmp_path), whole
        )
    assert [record.getMessage().count("members-000003 is damaged") for record in caplog.records] == [1]
    gc.collect()  # of the coroutines, while their warnings are ignored


def test_donated_members_are_overwritten():
    state = jnp.arange(6.0)
    result = memory.run_members(lambda x, y: (x + y, x), state, jnp.ones(6), donate=True)
    np.testing.assert_array_equal(result[0], np.arange(6.0) + 1)
    assert state.is_deleted()
