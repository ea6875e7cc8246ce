"""EASE: an autoencoder without a hidden layer, in closed form.

Steck 2019, "Embarrassingly shallow autoencoders for sparse data", WWW 2019,
https://arxiv.org/abs/1905.03375, equations 2-8:

    min |X - XB|² + λ|B|²  with diag(B) = 0;   P = (XᵀX + λI)⁻¹,  B_ij = -P_ij / P_jj
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.linalg import get_lapack_funcs

from rezoo.devices.backend import pick
from rezoo.models.factorization.item_item import BLOCK, MATRICES, ItemItem, by_rows, check, gram, variables
from rezoo.models.factorization.item_lists import Matrix, taken

HOST_MATRICES = 2
"""Of N × N that a fit on a CPU holds at once: the one that is inverted in place, and a copy for JAX."""


class EASE(ItemItem):
    """Score = (x B)_item of the binary history x; `weight` is Bᵀ.

    A fit to 46,340 items takes 16 GiB on a CPU and 24 GiB on an accelerator.
    """


def fit(
    history: Int[Array | np.ndarray, " U L"],
    num_items: int,
    *,
    l2: float = 500.0,
    memory: float | None = None,
) -> dict[str, Any]:
    """The variables of `EASE(num_items)`, from each user's items (0 = padding).

    On a CPU LAPACK inverts in place: less memory, and a third of the time of solving for each item.

    Args:
      history: one row per user; items that come twice count once.
      num_items: rows of the catalogue, 0 included.
      l2: λ, in numbers of interactions.
      memory: GiB that N × N matrices may take, two on a CPU and three elsewhere; those that are free if not
        given.

    Raises:
      ValueError: if that is not enough, if the history is empty, or if λ is not positive.
    """
    if not l2 > 0:
        raise ValueError(f"l2 must be greater than 0, but is {l2}")
    known = check(history, num_items, memory, pick(cpu=HOST_MATRICES, accelerator=MATRICES))
    return variables(pick(cpu=_on_host, accelerator=_on_device)(known, num_items, l2))


def _on_host(history: np.ndarray, num_items: int, l2: float) -> Float[Array, " N N"]:
    x: Matrix = taken(history, num_items).astype(np.float32)
    by_item = x.T.tocsr()
    weight = np.empty((num_items, num_items), np.float32)
    blocks = [slice(start, min(start + BLOCK, num_items)) for start in range(0, num_items, BLOCK)]
    for rows in blocks:
        weight[rows] = (by_item[rows] @ x).toarray()
    diagonal = np.einsum("ii->i", weight)  # a view
    diagonal += l2
    factorise, invert = get_lapack_funcs(("potrf", "potri"), (weight,))
    # Of the transpose, which is the same matrix, as LAPACK counts by columns.
    factor, failed = factorise(weight.T, lower=True, clean=False, overwrite_a=True)
    if not failed:
        _, failed = invert(factor, lower=True, overwrite_c=True)
    if failed:
        raise ValueError(f"l2={l2} is too small to invert in float32: take a larger one")
    scale = -1 / diagonal
    for rows in blocks:  # of P the upper triangle is there
        square = weight[rows, rows]
        square[:] = np.triu(square) + np.triu(square, 1).T
        weight[rows.stop :, rows] = weight[rows, rows.stop :].T
        weight[rows] *= scale[rows, None]
    diagonal[:] = 0.0
    return jax.device_put(weight)  # jnp.asarray would make a second copy


def _on_device(history: np.ndarray, num_items: int, l2: float) -> Float[Array, " N N"]:
    known = jnp.asarray(history)
    return _solve(gram(known, num_items, jnp.ones(len(known))), jnp.float32(l2))


@jax.jit(donate_argnums=0)
def _solve(g: Float[Array, " N N"], l2: Float[Array, ""]) -> Float[Array, " N N"]:
    n = len(g)
    diagonal = jnp.arange(n)
    factor = jax.lax.linalg.cholesky(g.at[diagonal, diagonal].add(l2), symmetrize_input=False)

    def rows_of(row: Array) -> Array:
        """Bᵀ_ij = -P_ij / P_ii, as P is symmetric; 0 for item 0, which nobody took."""
        unit = jax.nn.one_hot(row, n).T
        p = jax.scipy.linalg.cho_solve((factor, True), unit).T
        place = jnp.arange(len(row))
        b = -p / p[place, row][:, None]
        return b.at[place, row].set(0.0)

    return by_rows(rows_of, n)
