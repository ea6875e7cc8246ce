import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rezoo.nn.embedding import Embed

TABLE = jnp.arange(12, dtype=jnp.float32).reshape(4, 3)
VARIABLES = {"params": {"embedding": TABLE}}


def test_an_id_reads_its_row_and_an_id_that_is_not_in_the_table_reads_that_of_the_unknown():
    rows = Embed(4, 3).apply(VARIABLES, jnp.array([[0, 3], [4, 1_000_000], [-1, -9]]))
    np.testing.assert_array_equal(rows, np.array(TABLE)[[[0, 3], [0, 0], [0, 0]]])


def test_each_call_sows_its_rows_and_ids_when_asked():
    def twice(embed, ids):
        return embed(ids), embed(ids[:1])

    ids = jnp.array([2, 9])
    _, sown = Embed(4, 3).apply(VARIABLES, ids, method=twice, mutable=["rows", "row_ids"])
    assert [x.tolist() for x in sown["row_ids"]["embedding"]] == [[2, 0], [2]]
    assert [x.shape for x in sown["rows"]["rows"]] == [(2, 3), (1, 3)]


def test_sowing_costs_nothing_where_nobody_reads_it():
    ids = jnp.array([1, 2])

    def plain(table):
        return table[jnp.where(ids < 4, ids, 0)]

    def sowing(table):
        return Embed(4, 3).apply({"params": {"embedding": table}}, ids, mutable=["rows", "row_ids"])[0]

    flops = [jax.jit(f).lower(TABLE).compile().cost_analysis()["bytes accessed"] for f in (plain, sowing)]
    assert flops[0] == flops[1]


def test_init_makes_the_table_and_nothing_else():
    variables = Embed(4, 3).init(jax.random.key(0), jnp.array([1]))
    assert jax.tree.map(jnp.shape, variables) == {"params": {"embedding": (4, 3)}}


class Twice(nn.Module):
    """Looks two lists of ids up in one table."""

    @nn.compact
    def __call__(self, *ids):
        table = Embed(4, 3, name="table")
        return [table(one) for one in ids]


def test_rows_that_are_given_take_the_place_of_the_table():
    ids = jnp.array([1, 1, 3]), jnp.array([[2], [9]])
    given = jnp.ones((3, 3)), jnp.full((2, 1, 3), 2.0)
    variables = {"given_rows": {"table": {"embedding": given}}}
    rows, sown = Twice().apply(variables, *ids, mutable=["row_ids"])
    jax.tree.map(np.testing.assert_array_equal, rows, list(given))
    known = [one.tolist() for one in sown["row_ids"]["table"]["embedding"]]
    assert known == [[1, 1, 3], [[2], [0]]]


def test_where_no_rows_are_given_only_the_ids_are_told():
    rows, sown = Twice().apply(
        {"given_rows": {"table": {"embedding": ()}}}, jnp.array([1, 7]), mutable=["row_ids"]
    )
    assert not rows[0].any() and sown["row_ids"]["table"]["embedding"][0].tolist() == [1, 0]


def test_the_whole_table_is_not_there_where_rows_are_given():
    with pytest.raises(ValueError, match=r"whole table.*init_state"):
        Embed(4, 3).apply({"given_rows": {"embedding": ()}}, method="table")
