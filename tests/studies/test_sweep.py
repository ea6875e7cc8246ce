import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from rezoo.studies import halving, sweep


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


def test_a_seed_that_comes_twice_is_refused():
    with pytest.raises(ValueError, match=r"seeds are \[0, 3, 3\]: give each of them once"):
        sweep.keys([0, 3, 3])


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
    with pytest.raises(ValueError, match=r"'l2': .3.*'rate': .2|'rate': .2.*'l2': .3"):
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


def test_random_points_lie_in_their_ranges_and_stay_when_an_axis_is_added():
    axes = {"rate": sweep.log_uniform(1e-4, 1e-1), "l2": sweep.uniform(-1.0, 3.0)}
    grid = sweep.draw(jax.random.key(0), 4000, **axes)
    assert stats.kstest(np.log10(grid["rate"]), "uniform", (-4, 3)).pvalue > 0.001
    assert stats.kstest(grid["l2"], "uniform", (-1, 4)).pvalue > 0.001
    assert abs(np.corrcoef(grid["rate"], grid["l2"])[0, 1]) < 0.05
    alone = sweep.draw(jax.random.key(0), 4000, rate=axes["rate"])
    np.testing.assert_array_equal(alone["rate"], grid["rate"])


@pytest.mark.parametrize("axis", [sweep.uniform, sweep.log_uniform])
def test_ranges_that_are_none_are_refused(axis):
    with pytest.raises(ValueError, match="low is 2"):
        axis(2.0, 1.0)
    with pytest.raises(ValueError, match="starts above 0"):
        sweep.log_uniform(0.0, 1.0)


def test_the_best_point_is_a_grid_for_the_last_study():
    grid = {"rate": jnp.array([1.0, 2.0, 3.0]), "l2": jnp.array([4.0, 5.0, 6.0])}
    chosen = sweep.best(grid, [[0.0, 1.0], [9.0, np.nan], [2.0, 0.0]])
    assert {name: column.tolist() for name, column in chosen.items()} == {"rate": [3.0], "l2": [6.0]}
    assert sweep.study(train, sweep.keys(2), chosen)["score"].shape == (1, 2)
    assert sweep.ranking([[1.0], [2.0], [np.inf], [2.0]]).tolist() == [1, 3, 0, 2]
    with pytest.raises(FloatingPointError, match="every point diverged"):
        sweep.best(grid, np.full((3, 1), np.nan))


def test_a_study_that_does_not_fit_side_by_side_runs_in_parts(caplog):
    def wide(key, rate=1.0):
        return rate * jnp.sort(jax.random.normal(key, (1000, 1000)), axis=0).sum()

    grid = {"rate": jnp.array([1.0, 2.0, 3.0])}
    whole = sweep.study(wide, sweep.keys(2), grid)
    parts = sweep.study(wide, sweep.keys(2), grid, memory=30e6)
    np.testing.assert_allclose(parts, whole, rtol=1e-5)
    assert parts.shape == (3, 2) and "6 members side by side take" in caplog.text


def test_a_study_keeps_its_results_in_a_folder(tmp_path):
    grid = {"rate": jnp.array([1.0, 2.0, 3.0])}
    first = sweep.study(train, sweep.keys(2), grid, at_once=4, folder=tmp_path)["score"]

    again = sweep.study(train, sweep.keys(2), grid, at_once=4, folder=tmp_path)["score"]
    np.testing.assert_array_equal(first, again)
    assert len(list(tmp_path.iterdir())) == 1
    seeds_alone = sweep.study(lambda key: train(key, 1.0), sweep.keys(2), folder=tmp_path / "other")["score"]
    np.testing.assert_allclose(seeds_alone, first[0], rtol=1e-6)


def test_what_is_no_grid_is_an_error():
    for grid in ({"rate": 0.1}, {"rate": jnp.zeros(0)}, {"rate": jnp.zeros(2), "l2": jnp.zeros(3)}):
        with pytest.raises(ValueError, match="must have one length"):
            sweep.checked(grid)
    assert sweep.keys(np.int64(2)).shape == (2,)
    with pytest.raises(ValueError, match="no seed"):
        sweep.keys(0)
    for wrong in ((0, 8), (4, 0), (4, 8, 1.0)):
        with pytest.raises(ValueError, match=r"= \S+: give"):
            halving.rungs(*wrong)


@pytest.mark.parametrize("score", [np.ones((2, 3)), np.ones(3), np.ones((3, 0))])
def test_the_scores_are_those_of_the_grid(score):
    with pytest.raises(ValueError, match="the score is"):
        sweep.best({"rate": jnp.array([0.1, 0.2, 0.3])}, score)
