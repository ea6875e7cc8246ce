import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import eight_devices, same
from jax.sharding import NamedSharding, PartitionSpec

from rezoo.devices import sharding
from rezoo.errors import DataError

pytestmark = eight_devices


def mesh(devices):
    return jax.make_mesh((devices,), ("data",), devices=jax.devices()[:devices])


def state(rows=21):
    table = jnp.asarray(np.random.default_rng(0).normal(size=(rows, 3)), jnp.float32)
    return {"item": table, "seen": jnp.arange(rows) % 3 == 0, "key": jax.random.key(3), "step": jnp.int32(5)}


SPREAD, WHOLE = PartitionSpec("data"), PartitionSpec()
SPECS = {"item": SPREAD, "seen": SPREAD, "key": WHOLE, "step": WHOLE}


def test_any_number_of_devices_goes_on_from_a_checkpoint(tmp_path):
    placed, shapes = sharding.sharded(state(), SPECS, mesh(8)), jax.eval_shape(state)
    for step, devices in enumerate((6, 1, 8)):
        sharding.save(tmp_path, step, placed, SPECS, shapes, {"epoch": step})
        placed, notes = sharding.restore(tmp_path, SPECS, shapes, mesh(devices))
        assert notes == {"epoch": step}
        assert same(placed, sharding.sharded(state(), SPECS, mesh(devices)))
    assert same(sharding.whole(placed, SPECS, shapes), state())


def test_rows_that_nobody_asks_for_do_not_make_a_checkpoint_another(tmp_path):
    """`init_spread` draws the rows beyond the last id, too."""
    specs, like = PartitionSpec("data"), jnp.zeros(9)
    full = jax.device_put(jnp.ones((8, 2)), NamedSharding(mesh(8), specs))
    sharding.save(tmp_path, 0, full, specs, like)
    found, _ = sharding.restore(tmp_path, specs, like, mesh(2))
    np.testing.assert_array_equal(found, [[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]])


def test_another_catalogue_and_a_damaged_table_are_refused(tmp_path):
    assert sharding.restore(tmp_path, SPECS, state(), mesh(2)) is None
    sharding.save(tmp_path, 1, sharding.sharded(state(), SPECS, mesh(8)), SPECS, state())
    with pytest.raises(DataError, match="has 21 rows of item, this run 22"):
        sharding.restore(tmp_path, SPECS, state(22), mesh(2))
    for file in tmp_path.rglob("d/*"):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        sharding.restore(tmp_path, SPECS, state(), mesh(2))
