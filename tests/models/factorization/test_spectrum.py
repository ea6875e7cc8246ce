"""Leading eigenvectors against NumPy's, where values are close and where rank is lacking."""

import numpy as np
import pytest
from scipy import sparse

from rezoo.models.factorization.spectrum import leading


@pytest.mark.parametrize(("users", "items", "factors"), [(300, 200, 20), (90, 300, 40), (60, 40, 40)])
def test_they_are_the_singular_vectors_of_the_largest_values(users, items, factors):
    rng = np.random.default_rng(0)
    x = sparse.random_array((users, items), density=0.1, rng=rng, data_sampler=lambda size: np.ones(size))
    vectors, values = leading(x, factors)
    _, of_numpy, right = np.linalg.svd(x.toarray())
    np.testing.assert_allclose(values, of_numpy[:factors] ** 2, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(factors), atol=1e-5)
    apart = factors // 2  # a gap to the next value leaves the span of those before it certain
    span, expected = vectors[:, :apart] @ vectors[:, :apart].T, right[:apart].T @ right[:apart]
    np.testing.assert_allclose(span, expected, atol=2e-3)


def test_a_matrix_of_less_rank_has_values_of_zero():
    x = sparse.csr_array(np.outer([1.0, 2.0, 0.0, 1.0], [1.0, 0.0, 1.0]))
    vectors, values = leading(x, 3)
    np.testing.assert_allclose(values, [12.0, 0.0, 0.0], atol=1e-4)
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(np.abs(vectors[:, 0]), [0.5**0.5, 0.0, 0.5**0.5], atol=1e-5)
