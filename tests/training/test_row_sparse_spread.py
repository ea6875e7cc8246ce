import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import eight_devices
from jax.sharding import AxisType, PartitionSpec

from rezoo import losses, objectives
from rezoo.data.batches import pairs
from rezoo.devices import sharding
from rezoo.models import MF
from rezoo.training import loop, row_sparse
from rezoo.training.row_sparse import spread

MODEL = MF(13, 22, dim=4)
BATCH = pairs(np.arange(16) % 12 + 1, np.arange(16) + 1, np.arange(16) % 2)
OPTIMIZERS = optax.adam(0.01), row_sparse.lazy_adam(0.05)
OBJECTIVE = objectives.pointwise(MODEL, losses.logistic)


def mesh(devices):
    return jax.make_mesh((devices,), ("data",), (AxisType.Auto,), devices=jax.devices()[:devices])


def started(devices):
    state = row_sparse.init_state(jax.random.key(0), MODEL, *OPTIMIZERS, BATCH)
    return sharding.sharded(state, row_sparse.rules(state), mesh(devices))


@pytest.mark.slow
@eight_devices
def test_a_run_goes_on_with_another_number_of_devices():
    alone = row_sparse.init_state(jax.random.key(0), MODEL, *OPTIMIZERS, BATCH)
    specs = row_sparse.rules(alone)
    one_step = jax.jit(row_sparse.make_step(OBJECTIVE, *OPTIMIZERS))
    state = alone
    for devices in (8, 4, 1):
        on = mesh(devices)
        step = jax.jit(row_sparse.make_step(OBJECTIVE, *OPTIMIZERS, row_sparse.spread_over(on)))
        placed, _ = step(sharding.sharded(state, specs, on), sharding.spread(BATCH, on))
        state = jax.device_get(sharding.whole(placed, specs, alone))
        alone, _ = one_step(alone, BATCH)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), state.params, alone.params
    )


@eight_devices
def test_a_loop_goes_on_with_another_number_of_devices(tmp_path):
    logical = jax.eval_shape(lambda: row_sparse.init_state(jax.random.key(0), MODEL, *OPTIMIZERS, BATCH))

    def train(devices, num_epochs, folder=None):
        on, made = mesh(devices), []
        step = jax.jit(row_sparse.make_step(OBJECTIVE, *OPTIMIZERS, row_sparse.spread_over(on)))

        def start():
            made.append(devices)
            return started(devices)

        kept = row_sparse.checkpoints_over(on, logical)
        how = {"monitor": lambda m: -m["loss"], "folder": folder, "identity": "MF", "checkpoints": kept}
        run = loop.run(
            lambda state: step(state, sharding.spread(BATCH, on)), start, num_epochs, save_every=0.0, **how
        )
        specs = row_sparse.rules(logical)
        best = sharding.whole(run.best, specs.variables, logical.variables)
        return made, jax.device_get((sharding.whole(run.state.params, specs.params, logical.params), best))

    whole = train(8, 4)[1]
    assert train(8, 2, tmp_path)[0] == [8, 8]  # for its shapes, and to begin
    assert train(4, 3, tmp_path)[0] == [4]
    made, parts = train(1, 4, tmp_path)
    assert made == [1]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), parts, whole)


@eight_devices
def test_each_device_draws_its_own_rows():
    alone = started(8)
    state = row_sparse.init_spread(jax.random.key(0), MODEL, *OPTIMIZERS, BATCH, mesh(8))
    for made, placed in zip(jax.tree.leaves(state), jax.tree.leaves(alone), strict=True):
        assert (made.shape, made.dtype, made.sharding) == (placed.shape, placed.dtype, placed.sharding)
    item = np.asarray(state.params["item"]["embedding"])
    assert not item[0, 0].any()
    drawn = item.reshape(-1, 4)[1:]
    assert len(np.unique(drawn[:, 0])) == len(drawn) and 0.03 < drawn.std() < 0.07
    step = row_sparse.make_step(OBJECTIVE, *OPTIMIZERS, row_sparse.spread_over(mesh(8)))
    assert not bool(jax.jit(step)(state, sharding.spread(BATCH, mesh(8)))[0].halted)


@eight_devices
def test_spread_tables_of_bfloat16_are_rounded_on_each_device():
    low = {"table_dtype": jnp.bfloat16}
    step = row_sparse.make_step(OBJECTIVE, *OPTIMIZERS, row_sparse.spread_over(mesh(8)))
    state = row_sparse.init_spread(jax.random.key(0), MODEL, *OPTIMIZERS, BATCH, mesh(8), **low)
    before = np.asarray(state.params["item"]["embedding"], np.float32)
    new, _ = jax.jit(step)(state, sharding.spread(BATCH, mesh(8)))
    after = np.asarray(new.params["item"]["embedding"], np.float32)
    assert new.params["item"]["embedding"].dtype == jnp.bfloat16 and not bool(new.halted)
    moved = np.abs(after - before)[np.abs(after - before) > 0]
    np.testing.assert_allclose(moved.mean(), 0.05, rtol=0.02)  # the first step of Adam is its rate


@eight_devices
def test_rows_are_drawn_in_blocks(monkeypatch):
    monkeypatch.setattr(spread, "BLOCK", 2)
    state = row_sparse.init_spread(jax.random.key(0), MF(13, 40, dim=4), *OPTIMIZERS, BATCH, mesh(8))
    item = np.asarray(state.params["item"]["embedding"])  # five rows of each device
    assert not item[0, 0].any() and len(np.unique(item.reshape(-1, 4)[:, 0])) == 40


@eight_devices
def test_an_overflow_writes_nothing_and_ends_the_run_with_what_to_do():
    on = mesh(8)
    batch = pairs(np.ones(64, int), np.ones(64, int) * 8 * np.arange(64) % 16 + 1)
    narrow = sharding.all_to_all(spare=-4.0)
    item = jnp.asarray(np.arange(64) % 2 * 8 + 1, jnp.int32)  # two rows of one device
    step = jax.jit(row_sparse.make_step(OBJECTIVE, *OPTIMIZERS, row_sparse.spread_over(on, routes=[narrow])))
    state = started(8)
    before = jax.device_get(state.params)

    def epoch(state):
        return step(state, sharding.spread(batch._replace(item=item), on))

    after, metrics = epoch(state)
    assert bool(after.halted) and int(metrics["overflow"]) == 16  # of both tables of items, on each device
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(after.params), before)
    with pytest.raises(loop.Diverged, match=r"16.*found no place.*spare"):
        loop.run(epoch, state, num_epochs=1)


def test_rules_say_where_each_array_lies_and_describe_its_bytes():
    variables = MODEL.init(jax.random.key(0), BATCH.query, BATCH.item)
    specs = sharding.rules(variables, dense=["item_bias"])
    assert specs["params"]["item"]["embedding"] == PartitionSpec("data")
    assert specs["params"]["item_bias"]["embedding"] == PartitionSpec()
    told = sharding.describe(variables, specs, 8)
    assert "params/user/embedding       13 × 4  by row along data" in told
    assert told.splitlines()[-1].split()[-4] == str(4 * (2 * 4 + 3 * 4 + 22))


def test_a_mesh_without_the_axis_and_rows_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match=r"no axis 'rows'.*data"):
        row_sparse.spread_over(mesh(1), axis="rows")


@eight_devices
def test_a_batch_that_the_devices_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="8 devices"):
        sharding.spread(pairs([1, 2], [1, 2]), mesh(8))
