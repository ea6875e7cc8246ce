import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from rezoo import sweep


def train(key, rate, l2=0.0):
    return {"score": rate * jax.random.normal(key) + l2}


def test_a_study_is_every_point_with_every_seed():
    grid = sweep.product(rate=[1.0, 2.0, 3.0], l2=[0.0, 10.0])
    result = sweep.study(train, sweep.keys(4), grid)["score"]
    assert result.shape == (6, 4)
    for g in range(6):
        for s in range(4):
            alone = train(jax.random.key(s), grid["rate"][g], grid["l2"][g])["score"]
            np.testing.assert_allclose(result[g, s], alone, rtol=1e-6)


@pytest.mark.parametrize("at_once", [1, 3, 100])
@pytest.mark.parametrize("grid", [None, {"rate": jnp.array([1.0, 2.0]), "l2": jnp.array([0.0, 5.0])}])
def test_members_after_one_another_are_the_members_side_by_side(at_once, grid):
    def one(key, rate=1.0, l2=0.0):
        return {"key": jax.random.fold_in(key, 1), **train(jax.random.fold_in(key, 2), rate, l2)}

    expected = sweep.study(one, sweep.keys(4), grid)
    result = sweep.study(one, sweep.keys(4), grid, at_once=at_once)
    np.testing.assert_allclose(result["score"], expected["score"], rtol=1e-6)
    assert bool((result["key"] == expected["key"]).all())


def test_fewer_than_one_at_once_are_refused():
    with pytest.raises(ValueError, match="at_once must be 1 or more"):
        sweep.study(train, sweep.keys(1), {"rate": jnp.ones(2)}, at_once=0)


def test_a_study_of_seeds_alone():
    result = sweep.study(lambda key: train(key, 1.0), sweep.keys([7, 8]))["score"]
    np.testing.assert_allclose(result[1], jax.random.normal(jax.random.key(8)), rtol=1e-6)


@pytest.mark.parametrize("at_once", [None, 2])
def test_a_study_compiles_once(at_once):
    traces = []

    def counted(key, rate):
        traces.append(0)
        return train(key, rate)

    sweep.study(counted, sweep.keys(3), {"rate": jnp.arange(16.0)}, at_once=at_once)
    assert len(traces) == 1


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match=r"'l2': 3.*'rate': 2|'rate': 2.*'l2': 3"):
        sweep.study(train, sweep.keys(1), {"rate": jnp.ones(2), "l2": jnp.ones(3)})


def test_summary_against_scipy_and_without_members_that_diverged():
    values = np.random.default_rng(0).normal(size=(2, 6))
    summary = sweep.summarise(values)
    np.testing.assert_allclose(summary.standard_error, stats.sem(values, axis=-1))
    values[0, 3] = np.inf
    summary = sweep.summarise(values)
    np.testing.assert_allclose(summary.mean[0], np.delete(values[0], 3).mean())
    np.testing.assert_allclose(summary.standard_error[0], stats.sem(np.delete(values[0], 3)))
    assert summary.count.tolist() == [5, 6] and np.isnan(summary.values[0, 3])
    assert np.isnan(sweep.summarise([1.0]).standard_error)
