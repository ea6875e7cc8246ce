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

from rezoo.models.factorization.item_item import ItemItem, by_rows, check, gram, variables


class EASE(ItemItem):
    """Score = (x B)_item of the binary history x; `weight` is Bᵀ. A fit to 46,340 items takes 24 GiB."""


def fit(
    history: Int[Array | np.ndarray, " U L"],
    num_items: int,
    *,
    l2: float = 500.0,
    memory: float | None = None,
) -> dict[str, Any]:
    """The variables of `EASE(num_items)`, from each user's items (0 = padding).

    Args:
      history: one row per user; items that come twice count once.
      num_items: rows of the catalogue, 0 included.
      l2: λ, in numbers of interactions.
      memory: GiB that three N × N matrices may take; those that are free if not given.

    Raises:
      ValueError: if that is not enough, if the history is empty, or if λ is not positive.
    """
    if not l2 > 0:
        raise ValueError(f"l2 must be greater than 0, but is {l2}")
    known = jnp.asarray(check(history, num_items, memory))
    return variables(_solve(gram(known, num_items, jnp.ones(len(known))), jnp.float32(l2)))


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
