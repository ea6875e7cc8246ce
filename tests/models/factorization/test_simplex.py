"""SimpleX against its equations in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import apply, init, noisy

from rezoo.data.batches import queries
from rezoo.models import SimpleX
from rezoo.models.factorization import simplex

USERS, ITEMS, DIM = 5, 7, 3
HISTORY = [[1, 4, 6], [5, 0, 0], [0, 0, 0]]
ASKED = queries([2, 3, 1], HISTORY)
SLATE = jnp.array([[1, 2], [6, 3], [4, 5]], jnp.int32)


def attention(kind, params, user, items):
    if kind is simplex.Mean:
        return np.full(len(items), 1 / len(items))
    key = np.tanh(items @ params["weigh"]["key"]["kernel"] + params["weigh"]["key"]["bias"])
    asked = user if kind is simplex.UserAttention else params["weigh"]["query"]["kernel"][:, 0]
    e = np.exp(key @ asked)
    return e / e.sum()


@pytest.mark.parametrize("kind", [simplex.Mean, simplex.UserAttention, simplex.SelfAttention])
def test_simplex_is_its_equation(kind):
    model = SimpleX(USERS, ITEMS, DIM, gamma=0.3, weights=kind)
    params = jax.tree.map(np.asarray, noisy(init(model, ASKED, SLATE)["params"], 0.5))
    score = apply(model, {"params": params}, ASKED, SLATE)
    user, item = (params[name]["embedding"] for name in ("user", "item"))
    for row, history in enumerate(HISTORY):
        taken = item[[j for j in history if j]]
        e_u = user[int(ASKED.user[row])]
        mean = attention(kind, params, e_u, taken) @ taken if len(taken) else np.zeros(DIM)
        h = 0.3 * e_u + 0.7 * mean @ params["map"]["kernel"]
        for place, i in enumerate(np.asarray(SLATE[row])):
            cosine = h @ item[i] / np.linalg.norm(h) / np.linalg.norm(item[i])
            np.testing.assert_allclose(score[row, place], cosine, rtol=1e-4, atol=1e-5)


def test_with_gamma_1_it_is_matrix_factorization_that_reads_no_history():
    model = SimpleX(USERS, ITEMS, DIM, gamma=1.0)
    variables = init(model, ASKED, SLATE)
    assert set(variables["params"]) == {"user", "item"}
    other = ASKED._replace(history=ASKED.history[::-1])
    np.testing.assert_array_equal(
        apply(model, variables, ASKED, SLATE), apply(model, variables, other, SLATE)
    )
