import functools
import operator

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import eight_devices
from hypothesis import given
from hypothesis import strategies as st

from rezoo import losses, objectives, training
from rezoo.data.batches import pairs
from rezoo.models import MF
from rezoo.models.session import gru4rec
from rezoo.nn.embedding import Embed
from rezoo.training import row_sparse
from rezoo.training.row_sparse.rounding import stochastic
from rezoo.training.row_sparse.step import RowState, update_rows
from rezoo.types import Batch, Query

USERS, ITEMS, ROWS = 9, 13, 40
PAIRS = {
    "sgd": (optax.sgd, row_sparse.sgd),
    "adagrad": (optax.adagrad, row_sparse.adagrad),
}


class Model(nn.Module):
    """Two tables, one of them looked up twice in a pass, beside a dense layer."""

    num_users: int = USERS
    num_items: int = ITEMS
    tied: bool = False

    def setup(self):
        self.user = Embed(self.num_users, 4)
        self.item = Embed(self.num_items, 4)
        self.mix = nn.Dense(4)

    def __call__(self, query, item):
        state = self.mix(self.user(query.user)) + self.item(query.history).sum(axis=1)
        score = (state * self.item(item)).sum(axis=-1)
        return score + (state @ self.item.table().T).mean(axis=-1) if self.tied else score


def data(rows=ROWS, users=USERS, items=ITEMS, seed=0):
    """Rows with id 0, an id beyond the table, and many an id more than once."""
    rng = np.random.default_rng(seed)
    user, item, history = (
        jnp.asarray(rng.integers(0, high + 1, shape), jnp.int32)
        for high, shape in ((users, rows), (items, rows), (items, (rows, 3)))
    )
    label = jnp.asarray(rng.normal(size=rows), jnp.float32)
    return Batch(Query(user, history, {}), item, label, jnp.asarray(rng.random(rows) < 0.9))


def objective(model, weight=0.01):
    return objectives.l2(objectives.pointwise(model, losses.squared), weight)


def sparse(rows, model=None, batch=None, dense=None, key=0):
    model, dense = model or Model(), dense or optax.sgd(0.1)
    state = row_sparse.init_state(jax.random.key(key), model, dense, rows, data() if batch is None else batch)
    return row_sparse.make_step(objective(model), dense, rows), state


def close(a, b, rtol=1e-5, atol=1e-7):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=atol), a, b)


def kept(state):
    """The row optimizer's state, by table."""
    return {path: rows.optimizer for path, rows in state.opt_state.rows.items()}


def run(step, state, steps):
    batches = jax.tree.map(lambda *x: jnp.stack(x), *(data(seed=seed) for seed in range(steps)))
    return jax.jit(lambda state: jax.lax.scan(step, state, batches))(state)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("steps", [1, 7])
def test_sgd_and_adagrad_are_those_of_optax(name, steps):
    optimizer, rows = (make(0.1) for make in PAIRS[name])
    ours, state = sparse(rows, dense=optimizer)
    start = training.init_state(jax.random.key(0), Model(), optimizer, data())
    close(state.params, start.params, 0, 0)
    new, metrics = run(ours, state, steps)
    expected, expected_metrics = run(training.make_step(objective(Model()), optimizer), start, steps)
    close(new.params, expected.params)
    close(metrics, expected_metrics)
    assert int(new.step) == steps and not bool(new.halted)


def test_sums_of_duplicates_are_exact():
    """With numbers that need no rounding, dense and row-sparse SGD agree to the last bit."""

    class Sum(nn.Module):
        @nn.compact
        def __call__(self, query, item):
            return Embed(ITEMS, 4, nn.initializers.ones, name="item")(item).sum(axis=-1)

    def loss(score, label, *, where):
        return jnp.where(where, score * jnp.round(4 * label), 0)

    batch = data()._replace(where=jnp.ones(ROWS, bool).at[32:].set(False))
    value = objectives.pointwise(Sum(), loss)
    state = row_sparse.init_state(jax.random.key(0), Sum(), optax.sgd(0.5), row_sparse.sgd(0.5), batch)
    start = training.init_state(jax.random.key(0), Sum(), optax.sgd(0.5), batch)
    new, _ = row_sparse.make_step(value, optax.sgd(0.5), row_sparse.sgd(0.5))(state, batch)
    expected, _ = training.make_step(value, optax.sgd(0.5))(start, batch)
    np.testing.assert_array_equal(new.params["item"]["embedding"], expected.params["item"]["embedding"])


@given(  # few lengths, as each is compiled
    st.sampled_from([1, 2, 7, 20]).flatmap(lambda n: st.lists(st.integers(0, 7), min_size=n, max_size=n))
)
def test_sum_by_id(ids):
    values = np.arange(2.0 * len(ids), dtype=np.float32).reshape(-1, 2)
    total, here, slot = row_sparse.sum_by_id(jnp.array(ids), jnp.array(values), jnp.full(8, 999))
    assert sorted(np.array(ids)[here]) == sorted(set(ids))
    for place, (row, stands) in enumerate(zip(ids, here, strict=True)):
        expected = values[np.array(ids) == row].sum(axis=0) if stands else 0
        np.testing.assert_array_equal(total[place], expected)
    assert slot.shape == (8,)


def test_row_wise_adagrad_by_hand():
    table, grad = np.ones((5, 2), np.float32), np.array([[3.0, 4.0]], np.float32)
    rule = row_sparse.row_wise_adagrad(0.1)
    state = rule.init(jnp.array(table))
    assert state.shape == (5,)
    move, total = rule.update(jnp.array(grad), state[:1] + 1.0, jnp.int32(1))
    np.testing.assert_allclose(total, [13.5])
    np.testing.assert_allclose(move, -0.1 * grad / np.sqrt(13.5), rtol=1e-6)


def test_momentum_is_that_of_gru4recs_authors():
    """Looked-up rows move as the dense optimizer moves them; an absent row rests and keeps its momentum."""
    rng = np.random.default_rng(0)
    table, grads = rng.normal(size=(3, 2)), rng.normal(size=(4, 3, 2))
    seen = [[0, 1, 2], [0, 2], [0, 1, 2], [1, 2]]
    rule = row_sparse.momentum(row_sparse.adagrad(0.1, 0.0, 1e-6), 0.5)
    dense = gru4rec.adagrad(0.1, 0.5)
    state, dense_state = rule.init(jnp.array(table)), dense.init(jnp.array(table))
    total, m = np.zeros((3, 2)), np.zeros((3, 2))
    for step, (grad, rows) in enumerate(zip(grads, seen, strict=True), start=1):
        total[rows] += grad[rows] ** 2
        m[rows] = 0.5 * m[rows] - 0.1 * grad[rows] / np.sqrt(total[rows] + 1e-6)
        at = jnp.array(rows)
        old = jax.tree.map(operator.itemgetter(at), state)
        move, new = rule.update(jnp.asarray(grad[rows], jnp.float32), old, jnp.int32(step))
        state = jax.tree.map(lambda leaf, rows, at=at: leaf.at[at].set(rows), state, new)
        np.testing.assert_allclose(move, m[rows], rtol=1e-5)
        if step == 1:
            dense_move, _ = dense.update(jnp.asarray(grad, jnp.float32), dense_state)
            np.testing.assert_allclose(dense_move, move, rtol=1e-5)
    close(state, (total.astype(np.float32), m.astype(np.float32)))


def test_rows_with_momentum_are_trained():
    rule = row_sparse.momentum(row_sparse.sgd(0.1), 0.9)
    step, state = sparse(rule)
    new, _ = jax.jit(step)(state, data())
    plain, start = sparse(row_sparse.sgd(0.1))
    expected, _ = jax.jit(plain)(start, data())
    close(new.params, expected.params)  # nothing to go on along yet
    again, _ = jax.jit(step)(new, data())
    assert np.any(kept(again)["item/embedding"][1] != kept(new)["item/embedding"][1])


def test_lazy_adams_epsilon_stands_beside_the_corrected_moment():
    grad, rule = np.array([[1e-6, 3.0]], np.float32), row_sparse.lazy_adam(0.1, eps=1e-4)
    move, _ = rule.update(jnp.array(grad), rule.init(jnp.zeros((1, 2))), jnp.int32(1))
    np.testing.assert_allclose(move, -0.1 * grad / (grad + 1e-4), rtol=1e-5)


def test_lazy_adam_is_adam_where_every_row_is_seen_and_lets_absent_rows_rest():
    every = data(rows=ITEMS)._replace(item=jnp.arange(ITEMS))
    every = every._replace(query=every.query._replace(user=jnp.arange(ITEMS) % USERS))
    step, state = sparse(row_sparse.lazy_adam(0.1), dense=optax.adam(0.1))
    dense_step = training.make_step(objective(Model()), optax.adam(0.1))
    dense_state = training.init_state(jax.random.key(0), Model(), optax.adam(0.1), data())
    for _ in range(3):
        state, _ = jax.jit(step)(state, every)
        dense_state, _ = jax.jit(dense_step)(dense_state, every)
    close(state.params, dense_state.params, rtol=1e-4, atol=1e-5)

    one = jax.tree.map(lambda x: jnp.full_like(x, 2), every)._replace(where=every.where, label=every.label)
    new, _ = jax.jit(step)(state, one)
    for name in ("user", "item"):
        for a, b in zip(
            jax.tree.leaves((state.params[name], kept(state)[f"{name}/embedding"])),
            jax.tree.leaves((new.params[name], kept(new)[f"{name}/embedding"])),
            strict=True,
        ):
            moved = np.any(np.asarray(a != b).reshape(len(a), -1), axis=1)
            assert np.flatnonzero(moved).tolist() == [2]


def test_a_table_used_as_a_whole_is_refused_by_name():
    step, state = sparse(row_sparse.sgd(0.1), Model(tied=True))
    with pytest.raises(ValueError, match=r"whole table 'item/embedding'.*dense=\['item'\]"):
        jax.jit(step)(state, data())


def test_a_table_left_to_the_dense_optimizer_is_trained_as_ever():
    model, optimizer = Model(tied=True), optax.sgd(0.1)
    rows = row_sparse.sgd(0.1)
    state = row_sparse.init_state(jax.random.key(0), model, optimizer, rows, data(), dense=["item"])
    assert list(state.opt_state.rows) == ["user/embedding"]
    new, _ = row_sparse.make_step(objective(model), optimizer, rows)(state, data())
    start = training.init_state(jax.random.key(0), model, optimizer, data())
    expected, _ = training.make_step(objective(model), optimizer)(start, data())
    close(new.params, expected.params)


def test_an_unknown_table_is_refused():
    with pytest.raises(ValueError, match=r"no table.*'itme'.*user/embedding"):
        row_sparse.init_state(
            jax.random.key(0), Model(), optax.sgd(0.1), row_sparse.sgd(0.1), data(), dense=["itme"]
        )


def test_an_objective_that_does_not_tell_its_rows_is_refused():
    def silent(variables, key, batch):
        value, aux = objective(Model())(variables, key, batch)
        return value, aux._replace(sown={})

    _, state = sparse(row_sparse.sgd(0.1))
    with pytest.raises(ValueError, match="row_ids"):
        row_sparse.make_step(silent, optax.sgd(0.1), row_sparse.sgd(0.1))(state, data())


def test_a_loss_that_is_not_finite_writes_no_row_and_halts():
    step, state = sparse(row_sparse.lazy_adam(0.1))
    state, _ = step(state, data())
    bad, _ = jax.jit(step)(state, data()._replace(label=jnp.full(ROWS, jnp.nan), where=jnp.ones(ROWS, bool)))
    assert bool(bad.halted)
    for name in ("user", "item"):
        close(bad.params[name], state.params[name], 0, 0)
    close(kept(bad), kept(state), 0, 0)
    after, _ = jax.jit(step)(bad, data(seed=1))
    close((after.params, kept(after), after.step), (bad.params, kept(bad), bad.step), 0, 0)


def test_an_update_that_is_not_finite_halts():
    endless = row_sparse.RowOptimizer(lambda table: (), lambda grad, state, step: (jnp.inf * grad, state))
    step, state = sparse(endless)
    new, _ = jax.jit(step)(state, data())
    assert bool(new.halted)


def test_rates_and_seeds_are_vmapped():
    def train(seed, rate):
        rows, dense = row_sparse.lazy_adam(rate), optax.adam(rate)
        state = row_sparse.init_state(jax.random.key(seed), Model(), dense, rows, data())
        return training.epoch(row_sparse.make_step(objective(Model()), dense, rows), state, data(), 16)

    seeds, rates = jnp.arange(2), jnp.array([0.1, 0.01, jnp.nan])
    grid = jax.jit(jax.vmap(jax.vmap(train, (0, None)), (None, 0)))
    states, metrics = grid(seeds, rates)
    assert states.halted.tolist() == [[False, False], [False, False], [True, True]]
    for member in np.ndindex(2, 2):
        single, single_metrics = jax.jit(train)(seeds[member[1]], rates[member[0]])
        among = jax.tree.map(operator.itemgetter(member), (states.params, metrics))
        close(among, (single.params, single_metrics), atol=1e-6)


@functools.cache
def memory(rows, scanned):
    model, optimizer = Model(rows, rows), row_sparse.lazy_adam(0.1)
    batch = data(256, rows, rows)
    step, _ = sparse(optimizer, model, batch)
    state = jax.eval_shape(lambda: sparse(optimizer, model, batch)[1])
    if scanned:
        many = jax.tree.map(lambda x: jnp.stack([x] * 3), batch)
        compiled = jax.jit(lambda s, b: jax.lax.scan(step, s, b), donate_argnums=0).lower(state, many)
    else:
        compiled = jax.jit(step, donate_argnums=0).lower(state, batch)
    return compiled.compile().memory_analysis()


@pytest.mark.parametrize("scanned", [False, True])
def test_tables_are_updated_in_place_whatever_their_size(scanned):
    few, many = memory(10_000, scanned), memory(1_000_000, scanned)
    tables = 2 * 1_000_000 * 4 * 4 * 3
    assert many.alias_size_in_bytes >= tables
    assert many.temp_size_in_bytes <= few.temp_size_in_bytes + 4096


@eight_devices
def test_a_mesh_of_eight_devices_gives_the_single_devices_result():
    step, state = sparse(row_sparse.lazy_adam(0.1))
    expected, _ = jax.jit(step)(state, data())
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    new, _ = jax.jit(step, out_shardings=whole)(jax.device_put(state, whole), jax.device_put(data(), spread))
    close(new.params, expected.params, atol=1e-6)
    close(kept(new), kept(expected), atol=1e-6)


def test_the_step_lowers_for_every_platform():
    step, state = sparse(row_sparse.lazy_adam(0.1))
    raw = jax.random.key_data(state.key)

    def on_raw_key(state, key, batch):
        new, metrics = step(state._replace(key=jax.random.wrap_key_data(key)), batch)
        return new._replace(key=None), metrics

    exported = jax.export.export(jax.jit(on_raw_key), platforms=("cpu", "cuda", "tpu"))(
        state._replace(key=None), raw, data()
    )
    assert set(exported.platforms) == {"cpu", "cuda", "tpu"}


def in_bfloat16(batch=None):
    rows, model = row_sparse.sgd(0.1), Model()
    start = row_sparse.init_state(
        jax.random.key(0), model, optax.sgd(0.1), rows, batch or data(), table_dtype=jnp.bfloat16
    )
    return row_sparse.make_step(objective(model), optax.sgd(0.1), rows), start


def test_small_updates_add_up_in_a_table_of_bfloat16_that_the_nearest_numbers_would_lose():
    table, ids = jnp.ones((64, 64), jnp.bfloat16), jnp.arange(64)
    state = RowState((), jnp.zeros(64, jnp.int32))
    grad = jnp.full((64, 64), 1e-3)  # a quarter of the way to the next smaller number
    frozen = jnp.array(False)

    def move(table, key):
        how = ids, grad, False, jnp.int32(1), frozen, key
        new, _, _ = update_rows(row_sparse.sgd(1.0), table, state, *how)
        return new, None

    found, _ = jax.jit(lambda keys: jax.lax.scan(move, table, keys))(jax.random.split(jax.random.key(0), 200))
    assert found.dtype == jnp.bfloat16
    # 200 roundings, each off by less than 2⁻⁸ and unbiased, of 4,096 numbers
    np.testing.assert_allclose(np.asarray(found, np.float64).mean(), 0.8, atol=1e-3)
    nearest = table
    for _ in range(200):
        nearest = (nearest.astype(jnp.float32) - grad).astype(jnp.bfloat16)
    assert (nearest == 1).all()


def test_a_rounded_number_is_one_of_the_two_around_it():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=4096) * 2.0 ** rng.integers(-100, 100, 4096)).astype(np.float32)
    low = x.view(np.uint32) & np.uint32(0xFFFF0000)
    around = low.view(np.float32), (low + np.uint32(0x10000)).view(np.float32)
    rounded = np.asarray(stochastic(jax.random.key(0), jnp.asarray(x)), np.float32)
    assert ((rounded == around[0]) | (rounded == around[1])).all()
    share = (np.abs(x.astype(float)) - np.abs(around[0])) / (
        np.abs(around[1].astype(float)) - np.abs(around[0])
    )
    np.testing.assert_allclose((rounded == around[1]).mean(), share.mean(), atol=0.02)


def test_what_is_not_finite_or_needs_no_rounding_stays():
    x = jnp.array([np.inf, -np.inf, np.nan, 0.0, -1.5, 2.0**127])
    np.testing.assert_array_equal(stochastic(jax.random.key(0), x).astype(jnp.float32), x)


def test_a_table_of_bfloat16_is_trained_by_row_and_rounded_by_the_number_of_the_step():
    step, start = in_bfloat16()
    assert start.params["item"]["embedding"].dtype == jnp.bfloat16
    assert start.params["mix"]["kernel"].dtype == jnp.float32
    new, _ = jax.jit(step)(start, data())
    again, _ = jax.jit(step)(start, data())
    close(new.params, again.params, 0, 0)
    other, _ = jax.jit(step)(start._replace(step=start.step + 1), data())
    assert (new.params["item"]["embedding"] != other.params["item"]["embedding"]).any()
    plain, wide = sparse(row_sparse.sgd(0.1))
    wide = wide._replace(params=jax.tree.map(lambda x: x.astype(jnp.float32), start.params))
    exact, _ = jax.jit(plain)(wide, data())
    for name in ("user", "item"):
        a, b = new.params[name]["embedding"].astype(jnp.float32), exact.params[name]["embedding"]
        np.testing.assert_allclose(a, b, rtol=2**-7, atol=0)
    close(new.params["mix"], exact.params["mix"])
    seen = np.unique(np.append(data().item, data().query.history))
    unseen = [row for row in range(ITEMS) if row not in seen]
    same = (new.params["item"]["embedding"] == start.params["item"]["embedding"])[jnp.array(unseen, int)]
    assert same.all()


def test_nothing_is_drawn_for_tables_of_float32():
    step, start = sparse(row_sparse.sgd(0.1))
    low, low_start = in_bfloat16()
    texts = [jax.jit(one).lower(state, data()).as_text() for one, state in ((step, start), (low, low_start))]
    assert ["bf16" in text for text in texts] == [False, True]


def test_other_types_of_tables_are_refused():
    with pytest.raises(ValueError, match="table_dtype = float16: give float32 or bfloat16"):
        row_sparse.init_state(
            jax.random.key(0), Model(), optax.sgd(0.1), row_sparse.sgd(0.1), data(), table_dtype=jnp.float16
        )


@pytest.mark.parametrize(
    ("made", "name", "value"),
    [
        (row_sparse.sgd, "learning_rate", -1.0),
        (functools.partial(row_sparse.adagrad, 0.1), "initial_accumulator", -1.0),
        (functools.partial(row_sparse.row_wise_adagrad, 0.1), "eps", float("nan")),
        (functools.partial(row_sparse.lazy_adam, 0.1), "b1", 1.0),
        (functools.partial(row_sparse.momentum, row_sparse.sgd(0.1)), "decay", float("nan")),
    ],
)
def test_an_optimizers_numbers_that_cannot_be_are_refused(made, name, value):
    with pytest.raises(ValueError, match=f"{name} = {value}: give"):
        made(**{name: value})
    jax.jit(lambda number: (made(**{name: number}), number)[1])(value)


def test_optimizers_in_the_other_order_and_a_state_of_all_parameters_are_refused(untyped):
    batch = pairs([1], [2])
    model, dense, rows = MF(3, 5, dim=2), optax.sgd(0.1), row_sparse.sgd(0.1)
    objective = objectives.pointwise(model, losses.squared)
    for build in (
        lambda: row_sparse.make_step(objective, rows, dense),
        lambda: row_sparse.init_state(jax.random.key(0), model, rows, dense, batch),
    ):
        with pytest.raises(ValueError, match=r"give one of row_sparse, .* after that of all other"):
            build()
    state = training.init_state(jax.random.key(0), model, dense, batch)
    with pytest.raises(ValueError, match=r"give one of row_sparse\.init_state"):
        row_sparse.make_step(objective, dense, rows)(state, batch)
