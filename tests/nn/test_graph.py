import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rezoo.nn.graph import WIDTHS, neighbours, sums


@pytest.mark.parametrize("longest", [1, WIDTHS[-1], WIDTHS[-1] ** 2 + 5])
def test_sums_are_those_of_the_adjacency_matrix_whatever_the_number_of_neighbours(longest):
    rng = np.random.default_rng(0)
    count = np.append(0, np.unique(np.append(rng.integers(0, longest + 1, 20), longest)))
    node = rng.permutation(np.repeat(np.arange(len(count)), count))
    neighbour = rng.integers(1, 50, len(node))
    matrix = np.zeros((len(count), 50))
    np.add.at(matrix, (node, neighbour), 1)
    x = rng.normal(size=(50, 3)).astype(np.float32)
    x[0] = 0
    found = jax.jit(sums)(neighbours(node, neighbour, len(count)), jnp.array(x))
    np.testing.assert_allclose(found, matrix @ x, rtol=1e-4, atol=1e-4)


def test_without_edges_every_sum_is_0():
    nothing = np.zeros(0, np.int64)
    assert (sums(neighbours(nothing, nothing, 4), jnp.zeros((1, 3))) == 0).all()
