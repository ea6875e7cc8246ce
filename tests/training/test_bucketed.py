import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rezoo import losses, objectives, training
from rezoo.data import batches
from rezoo.models.factorization import BiasedMF
from rezoo.training import bucketed
from rezoo.types import Aux, TrainState


def ratings(users=30, items=40, seed=0):
    rng = np.random.default_rng(seed)
    rows = [(u, i) for u in range(1, users) for i in rng.permutation(items - 1)[: 1 + u % 25] + 1]
    user, item = np.array(rows).T
    order = rng.permutation(len(rows))
    return user[order], item[order], rng.normal(size=len(rows)).astype(np.float32)


def triples(buckets):
    out = []
    for b in buckets:
        user, item, label, where = (np.asarray(x) for x in (b.query.user, b.item, b.label, b.where))
        user = np.broadcast_to(user[:, None], item.shape)
        out += list(zip(user[where].tolist(), item[where].tolist(), label[where].tolist(), strict=True))
    return out


@pytest.mark.parametrize("growth", [1.1, 1.3, 2.0])
def test_every_rating_stands_once_in_some_bucket(growth):
    rows = ratings()
    buckets = batches.by_user(rows, growth=growth)
    expected = [(int(u), int(i), float(x)) for u, i, x in zip(*rows, strict=True)]
    assert sorted(triples(buckets)) == sorted(expected)
    for b in buckets:
        np.testing.assert_array_equal(b.query.history, b.item)
        lengths = np.asarray(b.where.sum(axis=1))
        assert lengths.max() == b.item.shape[1] and lengths.max() <= max(growth * lengths.min(), 1)


def test_held_out_ratings_are_scored_beside_the_known_history():
    user, item, rating = ratings()
    held = np.arange(len(user)) % 4 == 0
    known = tuple(column[~held] for column in (user, item, rating))
    asked = tuple(column[held] for column in (user, item, rating))
    buckets = batches.by_user(asked, known)
    assert len(triples(buckets)) == held.sum()
    for b in buckets:
        for u, seen in zip(np.asarray(b.query.user), np.asarray(b.query.history), strict=True):
            assert sorted(seen[seen > 0]) == sorted(known[1][known[0] == u])


def test_a_user_without_history_has_an_empty_one():
    (bucket,) = batches.by_user(([7], [3], [1.0]), ([2], [3], [1.0]))
    np.testing.assert_array_equal(bucket.query.user, [7])
    assert not np.asarray(bucket.query.history).any() and bool(bucket.where.all())


def counting_step(state, batch):
    seen = state.params.at[batch.query.user[:, None], batch.item].add(batch.where)
    total = {"loss": (batch.label * batch.where).sum() / jnp.maximum(batch.where.sum(), 1)}
    return state._replace(params=seen, step=state.step + 1), total


def start(params, seed=0):
    key = jax.random.key(seed)
    return TrainState(params, {}, (), key, jnp.int32(0), jnp.bool_(False))


@pytest.mark.parametrize("size", [1, 40, 10_000])
def test_an_epoch_sees_every_rating_once(size):
    rows = ratings()
    buckets = batches.by_user(rows)
    epoch = jax.jit(lambda state: bucketed.epoch(counting_step, state, buckets, size))
    state, metrics = epoch(start(jnp.zeros((30, 40))))
    expected = np.zeros((30, 40))
    np.add.at(expected, rows[:2], 1)
    np.testing.assert_array_equal(state.params, expected)
    np.testing.assert_allclose(metrics["loss"], rows[2].mean(), rtol=1e-4)


def test_epochs_differ_in_order_and_repeat_from_the_same_state():
    buckets = batches.by_user(ratings())

    def step(state, batch):
        mark = batch.query.user[0].astype(jnp.float32) * (state.step + 1)
        return state._replace(params=state.params + mark, step=state.step + 1), {"loss": mark}

    epoch = jax.jit(lambda state: bucketed.epoch(step, state, buckets, 20))
    first, _ = epoch(start(jnp.float32(0)))
    again, _ = epoch(start(jnp.float32(0)))
    other, _ = epoch(start(jnp.float32(0), seed=1))
    assert float(first.params) == float(again.params) != float(other.params)


def test_buckets_take_turns_evenly():
    which, turn = (np.asarray(x) for x in bucketed.turns([2, 8]))
    assert sorted(zip(which, turn, strict=True)) == [(0, 0), (0, 1)] + [(1, n) for n in range(8)]
    assert np.flatnonzero(which == 0)[0] in (1, 2, 3) and np.flatnonzero(which == 0)[1] in (6, 7, 8)
    assert (np.diff(turn[which == 1]) > 0).all()


def test_seeds_can_be_vmapped():
    buckets = batches.by_user(ratings(), growth=5.0)

    def objective(variables, key, batch):
        score = variables["params"][batch.query.user][:, None] + 0 * batch.label
        value = ((score - batch.label) ** 2 * batch.where).sum() / jnp.maximum(batch.where.sum(), 1)
        return value, Aux({"loss": value}, {})

    step = training.make_step(objective, optax.sgd(0.1))

    def train(key):
        state = TrainState(
            jnp.zeros(30), {}, optax.sgd(0.1).init(jnp.zeros(30)), key, jnp.int32(0), jnp.bool_(False)
        )
        return bucketed.epoch(step, state, buckets, 40)[0].params

    many = jax.jit(jax.vmap(train))(jax.vmap(jax.random.key)(jnp.arange(2)))
    np.testing.assert_allclose(many[1], jax.jit(train)(jax.random.key(1)), rtol=1e-5, atol=1e-6)


def test_a_user_in_one_row_is_penalised_as_a_user_in_many_rows():
    user, item, rating = ratings()
    rows = batches.pairs(user, item, rating)
    model = BiasedMF(30, 40, 3)
    variables = {"params": model.init(jax.random.key(0), rows.query, rows.item)["params"]}
    weight = {"user": 0.5, "item": 0.25, "user_bias": 2.0, "item_bias": 4.0}
    objective = objectives.l2(objectives.pointwise(model, losses.squared), weight)
    value = jax.jit(lambda batch: objective(variables, jax.random.key(0), batch)[0])
    expected = value(rows)
    buckets = batches.by_user((user, item, rating), growth=5.0)
    parts = [float(value(bucket)) * np.asarray(bucket.where).sum() for bucket in buckets]
    np.testing.assert_allclose(sum(parts) / len(user), expected, rtol=1e-5)


def test_fit_is_epoch_after_epoch():
    buckets = batches.by_user(ratings(), growth=3.0)
    state = start(jnp.zeros((30, 40)))
    fitted, history = bucketed.fit(
        counting_step,
        state,
        buckets,
        lambda variables: {"seen": variables["params"].sum()},
        num_epochs=2,
        ratings_per_batch=40,
    )
    for _ in range(2):
        state, metrics = bucketed.epoch(counting_step, state, buckets, 40)
    np.testing.assert_array_equal(fitted.params, state.params)
    assert int(fitted.step) == int(state.step) == 2 * bucketed.num_steps(buckets, 40)
    np.testing.assert_allclose(history["loss"][-1], metrics["loss"], rtol=1e-6)
    np.testing.assert_allclose(history["seen"], len(ratings()[0]) * np.array([1, 2]))


def test_nobody_and_batches_of_nothing_are_refused():
    buckets = batches.by_user(ratings())
    step, state = (lambda state, batch: (state, {})), TrainState({}, {}, (), jax.random.key(0), 0, False)
    state = state._replace(step=jnp.int32(0))
    with pytest.raises(ValueError, match="ratings_per_batch = 0: give 1 or more"):
        bucketed.epoch(step, state, buckets, 0)
    for none in ([], [jax.tree.map(lambda x: x[:0], buckets[0])]):
        with pytest.raises(ValueError, match="there is nobody to learn from in a bucket"):
            bucketed.epoch(step, state, none, 10)
