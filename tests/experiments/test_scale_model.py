import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments"))

import scale_model
from protocols import counted
from protocols.spread_steps import problem
from scale_model import Cluster, Counts, Machines, Torus, exchange_seconds

H100 = scale_model.CLUSTERS["h100"]


def test_an_exchange_is_bound_by_the_slower_of_two_ways():
    assert exchange_seconds(800.0, Machines(8, 8, 10.0, 1.0)) == 70.0  # to seven others of one machine
    assert exchange_seconds(1600.0, Machines(16, 8, 10.0, 1.0)) == 800.0  # half of it to the other machine
    assert exchange_seconds(1600.0, Machines(16, 8, 0.5, 1.0)) == 1400.0


def test_an_exchange_on_a_torus_is_bound_by_its_longest_side():
    assert exchange_seconds(8.0, Torus((8,), 1.0)) == 8.0  # four devices send four bytes each over two links
    assert exchange_seconds(8.0, Torus((8, 2, 2), 1.0)) == exchange_seconds(8.0, Torus((8,), 1.0))
    assert exchange_seconds(8.0, Torus((4, 4), 1.0)) == 4.0


def test_a_step_is_at_best_the_longer_of_its_times_and_at_worst_their_sum():
    cluster = Cluster("two", 2, 1e9, 100.0, Machines(2, 2, 10.0, 1.0))
    told = scale_model.predicted(cluster, Counts(sent=40.0, moved=100.0, collectives=3.0), 6, start_us=1e6)
    assert told["ms of memory"] == 1000 and told["ms of network"] == 1000 * (2.0 + 3.0)
    assert told["ms at best"] == 5000 and told["ms"] == 6000 and told["pairs per second"] == 2.0


def test_tables_of_a_device_are_its_share():
    one = H100._replace(devices=1)
    assert scale_model.tables(one, 100, 0, 2)["GB of tables"] == pytest.approx(100 * 16 / 1e9)
    half = scale_model.tables(one._replace(devices=2), 7, 9, 4)["share of memory"]
    assert half == pytest.approx(scale_model.tables(one, 7, 9, 4)["share of memory"] / 2)


def test_memory_counts_the_rows_that_move_not_their_table():
    ids, rows = jnp.arange(3), jnp.ones((3, 32))

    def bytes_of(function, rows_of_table):
        return counted.memory_bytes(function, jnp.ones((rows_of_table, 32)), ids, rows)

    def read(table, ids, rows):
        return table.at[ids].get(mode="promise_in_bounds")

    def write(table, ids, rows):
        return table.at[ids].set(rows, mode="promise_in_bounds")

    def add(table, ids, rows):
        return table.at[ids].add(rows, mode="promise_in_bounds")

    index, moved = 3 * 4, 3 * 32 * 4
    assert bytes_of(read, 9) == bytes_of(read, 90) == index + 2 * moved
    assert bytes_of(write, 9) == bytes_of(write, 90) == index + 2 * moved
    assert bytes_of(add, 9) == bytes_of(add, 90) == index + 3 * moved
    narrow = counted.memory_bytes(lambda x, ids: x[ids], jnp.ones(9), ids)
    assert narrow == index + 3 * 4 + 3 * counted.BURST


def test_memory_counts_what_every_device_does_once():
    mesh = jax.make_mesh((8,), ("data",), (AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("data")
    sort = jax.shard_map(jnp.sort, mesh=mesh, in_specs=spec, out_specs=spec)
    whole = counted.memory_bytes(jnp.sort, jnp.ones(8), devices=8)
    assert counted.memory_bytes(sort, jnp.ones(64), devices=8) == 8 * whole == 2 * counted.SORTING * 8 * 4
    with pytest.raises(ValueError, match="a loop"):
        counted.memory_bytes(lambda x: jax.lax.fori_loop(0, 3, lambda _, x: x + 1, x), 1.0)


def test_memory_of_a_step_does_not_depend_on_rows_and_grows_with_pairs():
    def moved(users, each, width=8):
        given = problem(users, 100, width, each)
        return counted.memory_bytes(given.step, given.state, given.batch, devices=8)

    assert moved(1_000, 16) == moved(1_000_000, 16)
    assert 1.5 < moved(1_000, 64) / moved(1_000, 32) <= 2.0
