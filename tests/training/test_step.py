import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rezoo import losses, objectives, training
from rezoo.data.batches import pairs
from rezoo.models import MF
from rezoo.training import bucketed, row_sparse
from rezoo.types import Aux, Target, TrainState


class Dot(nn.Module):
    """The smallest model with a user and an item table."""

    @nn.compact
    def __call__(self, query, item):
        user = self.param("user", nn.initializers.normal(1.0), (5, 2))
        items = self.param("item", nn.initializers.normal(1.0), (7, 2))
        return (user[query.user] * items[item]).sum(-1)


def objective(variables, key, batch):
    score = Dot().apply(variables, batch.query, batch.item)
    value = jnp.where(batch.where, (score - batch.label) ** 2, 0).sum() / batch.where.sum()
    return value, Aux({"loss": value, "rows": batch.where.sum() * 1.0}, {})


def data(rows=23, seed=0):
    rng = np.random.default_rng(seed)
    return pairs(rng.integers(1, 5, rows), rng.integers(1, 7, rows), rng.normal(size=rows))


def start(optimizer, key=0, rows=23):
    return training.init_state(jax.random.key(key), Dot(), optimizer, data(rows))


def dense_step():
    optimizer = optax.sgd(0.1)
    return start(optimizer), training.make_step(objective, optimizer)


def sparse_step():
    dense, rows, model = optax.sgd(0.1), row_sparse.sgd(0.1), MF(5, 7, 2)
    state = row_sparse.init_state(jax.random.key(0), model, dense, rows, data())
    return state, row_sparse.make_step(objectives.pointwise(model, losses.squared), dense, rows)


def test_a_step_is_the_optimizers_step_on_the_objectives_gradient():
    state = start(optax.sgd(0.1))
    grads = jax.grad(lambda p: objective({"params": p}, None, data())[0])(state.params)
    new, metrics = training.make_step(objective, optax.sgd(0.1))(state, data())
    expected = jax.tree.map(lambda p, g: p - 0.1 * g, state.params, grads)
    chex.assert_trees_all_close(new.params, expected, rtol=1e-6)
    assert int(new.step) == 1 and not bool(new.halted) and float(metrics["loss"]) > 0


@settings(max_examples=30)
@given(n=st.sampled_from([1, 2, 3, 31, 64, 65, 1000, 2999]), seed=st.integers(0, 2**31))
def test_shuffle_is_a_permutation(n, seed):
    order = np.asarray(training.shuffle(jax.random.key(seed), n))
    np.testing.assert_array_equal(np.sort(order), np.arange(n))


def test_shuffle_sends_each_row_everywhere_and_neighbours_apart():
    keys = jax.random.split(jax.random.key(0), 4000)
    orders = np.asarray(jax.vmap(lambda key: training.shuffle(key, 13))(keys))
    counts = np.stack([(orders == row).sum(0) for row in range(13)])
    expected = 4000 / 13
    chi2 = ((counts - expected) ** 2 / expected).sum()
    assert chi2 < 144 + 6 * np.sqrt(2 * 144)
    steps = np.diff(np.asarray(training.shuffle(jax.random.key(1), 100_000)))
    assert abs(np.corrcoef(steps[:-1], steps[1:])[0, 1] + 0.5) < 0.02


def test_an_epoch_sees_every_row_once():
    seen = []

    def step(state, batch):
        jax.debug.callback(lambda *x: seen.append(x), batch.label, batch.where, ordered=True)
        return state._replace(step=state.step + 1), {"loss": batch.where.sum() * 1.0}

    rows = data()
    state, metrics = jax.jit(lambda s: training.epoch(step, s, rows, 5))(start(optax.sgd(0.1)))
    jax.effects_barrier()
    labels = np.concatenate([label[where] for label, where in seen])
    np.testing.assert_allclose(np.sort(labels), np.sort(np.asarray(rows.label)))
    assert int(state.step) == 5
    np.testing.assert_allclose(metrics["loss"], (4 * 5 * 5 + 3 * 3) / 23, rtol=1e-6)


@pytest.mark.parametrize(("rows", "batch_size"), [(0, 5), (3, 0)])
def test_an_epoch_of_nothing_is_refused(rows, batch_size):
    with pytest.raises(ValueError, match=f"{rows} rows to learn from in batches of {batch_size}"):
        training.epoch(lambda state, batch: (state, {}), start(optax.sgd(0.1)), data(rows), batch_size)


def test_a_batch_is_a_whole_number_of_rows(untyped):
    with pytest.raises(ValueError, match=r"batch_size = 2\.5: give 1 or more, a whole number"):
        training.epoch(lambda state, batch: (state, {}), start(optax.sgd(0.1)), data(), 2.5)
    with pytest.raises(ValueError, match="batch_size = -4: give 1 or more"):
        training.num_steps(10, -4)


@pytest.mark.parametrize(("rows", "batch_size"), [(23, 5), (20, 5), (4, 5)])
def test_an_epoch_has_as_many_steps_as_it_says(rows, batch_size):
    step = training.make_step(objective, optax.sgd(0.1))
    state, _ = training.epoch(step, start(optax.sgd(0.1)), data(rows), batch_size)
    assert int(state.step) == training.num_steps(rows, batch_size)


def test_vmapped_seeds_equal_single_runs():
    def train(key, rate):
        optimizer = optax.adam(rate)
        step = training.make_step(objective, optimizer)
        state = training.init_state(key, Dot(), optimizer, data())
        return training.fit(step, state, data(), num_epochs=3, batch_size=4)

    keys = jax.vmap(jax.random.key)(jnp.array([3, 4]))
    rates = jnp.array([0.01, 0.1])
    many, history = jax.jit(jax.vmap(jax.vmap(train, (0, None)), (None, 0)))(keys, rates)
    assert history["loss"].shape == (2, 2, 3)
    for r in range(2):
        for k in range(2):
            one, _ = jax.jit(train)(jax.random.key(3 + k), rates[r])
            jax.tree.map(
                lambda a, b, r=r, k=k: np.testing.assert_allclose(a[r, k], b, rtol=2e-5, atol=1e-6),
                many.params,
                one.params,
            )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_run_halts_at_the_first_number_that_is_not_finite(bad):
    rows = data()
    rows = rows._replace(label=rows.label.at[7].set(bad))
    step = training.make_step(objective, optax.sgd(0.1))
    state, _ = training.epoch(step, start(optax.sgd(0.1)), rows, 1)
    assert bool(state.halted)
    order = list(np.asarray(training.shuffle(training.shuffle_key(start(optax.sgd(0.1))), 23)))
    assert int(state.step) == order.index(7) + 1
    again, _ = step(state, data())
    chex.assert_trees_all_equal(again.params, state.params)
    assert int(again.step) == int(state.step)


def test_a_halted_member_leaves_the_others_of_a_study_untouched():
    def train(scale):
        rows = data()
        rows = rows._replace(label=rows.label * scale)
        step = training.make_step(objective, optax.sgd(0.1))
        return training.fit(step, start(optax.sgd(0.1)), rows, num_epochs=2, batch_size=4)

    states, history = jax.vmap(train)(jnp.array([1.0, jnp.inf]))
    alone, _ = train(jnp.float32(1.0))
    np.testing.assert_array_equal(states.halted, [False, True])
    np.testing.assert_allclose(states.params["user"][0], alone.params["user"], rtol=1e-5)
    assert np.isfinite(history["loss"][0]).all()


@pytest.mark.parametrize("make", [dense_step, sparse_step])
def test_labels_of_another_shape_are_refused_and_not_broadcast(make):
    state, step = make()
    for wrong in (data()._replace(label=jnp.zeros((23, 1))), data()._replace(where=jnp.ones((1, 23), bool))):
        with pytest.raises(ValueError, match=r"item \[23\].*(label \[23, 1\]|where \[1, 23\])"):
            step(state, wrong)
    task = {"buy": Target(jnp.zeros(23), jnp.ones((23, 1), bool))}
    with pytest.raises(ValueError, match=r"buy where \[23, 1\]"):
        step(state, data()._replace(tasks=task))


@pytest.mark.parametrize("make", [dense_step, sparse_step])
def test_what_does_not_count_may_be_nan_and_does_not_halt_a_run(make):
    state, step = make()
    where = jnp.arange(23) % 3 > 0
    gaps = data()._replace(where=where, label=jnp.where(where, data().label, jnp.nan))
    gaps = gaps._replace(query=gaps.query._replace(features={"age": jnp.where(where, 1.0, jnp.nan)}))
    clean = gaps._replace(label=jnp.where(where, gaps.label, 7.0))
    clean = clean._replace(query=clean.query._replace(features={"age": jnp.ones(23)}))
    (new, told), (same, _) = step(state, gaps), step(state, clean)
    assert not bool(new.halted) and np.isfinite(told["loss"])
    chex.assert_trees_all_equal(new.params, same.params)
    assert bool(step(state, gaps._replace(where=jnp.ones(23, bool)))[0].halted)


def test_epochs_are_not_below_0():
    state = TrainState({}, {}, (), jax.random.key(0), jnp.int32(0), jnp.bool_(False))
    rows, told = pairs([1], [1]), "num_epochs = -1: give 0 or more, a whole number"
    with pytest.raises(ValueError, match=told):
        training.fit(lambda state, batch: (state, {}), state, rows, num_epochs=-1, batch_size=1)
    with pytest.raises(ValueError, match=told):
        bucketed.fit(lambda state, batch: (state, {}), state, (rows,), num_epochs=-1, ratings_per_batch=1)
