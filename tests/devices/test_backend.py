"""What is done in two ways, one for a CPU and one for an accelerator, is the same in both."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rezoo import arrays, losses, sampling
from rezoo.data.batches import queries
from rezoo.devices import backend
from rezoo.devices.backend import pick
from rezoo.losses import catalogue
from rezoo.models.factorization import alternation, ials
from rezoo.nn import recurrent


@pytest.fixture
def accelerated(monkeypatch):
    """`accelerated()`: from here on programs are made as for an accelerator."""

    def switch():
        for module in (catalogue, sampling, alternation, arrays, recurrent):
            monkeypatch.setattr(module, "pick", lambda *, cpu, accelerator: accelerator)

    return switch


def test_the_backend_picks():
    assert (pick(cpu="cpu", accelerator="other") == "cpu") == (jax.default_backend() == "cpu")


def close(ours, theirs):
    chex.assert_trees_all_close(ours, theirs, rtol=2e-5, atol=2e-6)


def test_searches_find_the_same(accelerated):
    row, column = np.unique(np.random.default_rng(0).integers(0, 30, (2, 200)), axis=1)
    offset = jnp.asarray(np.searchsorted(row, np.arange(31)))
    asked = jnp.arange(30).repeat(30), jnp.tile(jnp.arange(30), 30)
    cumulative = arrays.cumulative(jax.random.uniform(jax.random.key(0), (1000,)))
    find = lambda: arrays.find(offset, jnp.asarray(column), *asked, longest=30)  # noqa: E731
    draw = lambda: arrays.draw(jax.random.key(1), cumulative, (50, 2))  # noqa: E731
    before = find(), draw()
    accelerated()
    chex.assert_trees_all_equal(before, (find(), draw()))


@pytest.mark.parametrize("cell", [recurrent.GRU, recurrent.LSTM])
def test_recurrent_states_are_the_same(cell, accelerated):
    x = jax.random.normal(jax.random.key(0), (3, 13, 4))
    layer = cell(5)
    variables = layer.init(jax.random.key(1), x, layer.initial(3))
    run = lambda: layer.apply(variables, x, layer.initial(3))  # noqa: E731
    before = run()
    accelerated()
    close(run(), before)


def test_the_catalogue_softmax_is_the_same(accelerated):
    state, table = (jax.random.normal(jax.random.key(n), (rows, 8)) for n, rows in enumerate((6, 1300)))
    target = jnp.array([1, 700, 1299, 5, 600, 2])

    def both():
        return jax.value_and_grad(lambda s, t: losses.catalogue_softmax(s, t, target).mean(), argnums=(0, 1))(
            state, table
        )

    before = both()
    accelerated()
    close(both(), before)


def test_ials_fits_the_same(accelerated):
    user, item = np.random.default_rng(0).integers(1, 40, (2, 600))
    fit = lambda: ials.fit(jax.random.key(0), user, item, 40, 40, 4, num_epochs=3)  # noqa: E731
    before = fit()
    accelerated()
    chex.assert_trees_all_close(fit(), before, rtol=1e-3, atol=1e-4)


def test_negatives_are_no_positives_and_uniform_over_the_others(accelerated):
    """User 1 knows half of the items, user 2 all but one, user 3 all."""
    known = [(1, i) for i in range(1, 11)] + [(2, i) for i in range(1, 20)] + [(3, i) for i in range(1, 21)]
    positives = sampling.positives_by_user(*np.array(known).T, 4)
    accelerated()
    sampler = sampling.reject_positives(sampling.uniform(21), positives, 21)
    user = jnp.repeat(jnp.array([1, 2, 3]), 2000)
    query = queries(user)
    drawn = np.asarray(jax.jit(sampler, static_argnums=3)(jax.random.key(0), query, user, 2))
    first, second, third = drawn.reshape(3, -1)
    share = np.bincount(first, minlength=21)[11:] / len(first)
    assert abs(share - 0.1).max() < 0.02 and share.sum() == 1
    assert set(second) == {20} and set(third) == {0}


def test_a_container_may_take_less_than_the_machine_has(tmp_path, monkeypatch):
    monkeypatch.setattr(backend, "GROUP", tmp_path)
    whole = backend.free_memory()
    assert whole > 1e8
    (tmp_path / "memory.current").write_text("3000000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert backend.free_memory() > 0.5 * whole
    (tmp_path / "memory.max").write_text("5000000\n")
    assert backend.free_memory() == backend.SHARE * 2_000_000
