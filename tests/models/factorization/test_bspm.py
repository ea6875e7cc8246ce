"""BSPM against its equation, written with dense matrices in NumPy."""

import numpy as np
import pytest
from helpers import score_all

from rezoo.data.batches import queries
from rezoo.models import BSPM
from rezoo.models.factorization import bspm

USERS, ITEMS = 40, 17


@pytest.mark.parametrize("exponents", [(0.5, 0.5), (0.3, 0.4)])
@pytest.mark.parametrize("factors", [5, ITEMS - 1])
def test_bspm_is_a_runge_kutta_step_of_its_equation(factors, exponents):
    """Histories have repeats, one has nothing, and one item is nobody's."""
    rng = np.random.default_rng(0)
    history = rng.integers(1, ITEMS - 1, (USERS, 7))
    history[np.arange(7) >= rng.integers(1, 8, USERS)[:, None]] = 0
    history[3] = 0
    x = (history[:, :, None] == np.arange(ITEMS)).any(1) * (np.arange(ITEMS) > 0)

    a, b = exponents
    of_user, of_item = np.maximum(x.sum(1), 1), x.sum(0)
    inverse = np.where(of_item > 0, np.maximum(of_item, 1.0) ** -b, 0.0)
    normed = of_user[:, None] ** -a * x * inverse[None]
    s = normed.T @ normed / np.linalg.norm(normed, 2) ** 2
    low = np.linalg.eigh(s)[1][:, -factors:]
    beta, time = 0.2, 2.5

    def slope(y):
        return -y @ s

    y = x @ s + beta * ((x * inverse[None]) @ low) @ (low.T * of_item[None] ** b)
    k1 = slope(y)
    k2 = slope(y + time / 2 * k1)
    k3 = slope(y + time / 2 * k2)
    expected = y + time / 6 * (k1 + 2 * k2 + 2 * k3 + slope(y + time * k3))

    variables = bspm.fit(history, ITEMS, factors=factors, user_exponent=a, item_exponent=b)
    model = BSPM(ITEMS, factors, beta=beta, sharpening=time)
    found = score_all(model, variables, queries(history=history))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["beta", "sharpening"])
def test_weights_below_0_are_refused(name):
    variables = bspm.fit(np.array([[1, 2, 0], [2, 3, 1], [3, 4, 0]]), 5, factors=2)
    with pytest.raises(ValueError, match=f"{name} = -1.0: give a finite number of 0 or more"):
        score_all(BSPM(5, 2, **{name: -1.0}), variables, queries(history=[[4]]))
