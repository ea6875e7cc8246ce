"""EASE: an autoencoder without a hidden layer, in closed form.

Steck 2019, "Embarrassingly shallow autoencoders for sparse data", WWW 2019,
https://arxiv.org/abs/1905.03375, equations 2-8:

    min |X - XB|² + λ|B|²  with diag(B) = 0;   P = (XᵀX + λI)⁻¹,  B_ij = -P_ij / P_jj

EDLAE adds to each item's λ a share of its own count, Λ = λI + p / (1 - p) dMat(diag(XᵀX)): what a linear
autoencoder learns whose inputs are dropped with probability p. Steck 2020, "Autoencoders that don't overfit
towards the identity", NeurIPS 2020, equations 4, 8 and 9,
https://papers.nips.cc/paper/2020/hash/e33d974aae13e4d877477d51d8bafdc4-Abstract.html.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.linalg import get_lapack_funcs

from rezoo.devices.backend import pick
from rezoo.models.factorization.item_item import (
    BLOCK,
    MATRICES,
    ItemItem,
    by_rows,
    check,
    gram,
    num_taken,
    variables,
)
from rezoo.models.factorization.item_lists import taken, weighed, weights

HOST_MATRICES = 2
"""Of N × N that a fit on a CPU holds at once: the one that is inverted in place, and a copy for JAX."""


class Penalty(NamedTuple):
    """What is added to the Gramian's diagonal."""

    l2: float
    share: float
    """Of the diagonal itself."""


class EASE(ItemItem):
    """Score = (x B)_item of the binary history x; `weight` is Bᵀ.

    A fit to 46,340 items takes 16 GiB on a CPU and 24 GiB on an accelerator. Every question reads all of B;
    `item_lists.shortened` keeps the strongest weights alone, for large catalogues.
    """


def fit(
    history: Int[Array | np.ndarray, " U L"],
    num_items: int,
    *,
    l2: float = 500.0,
    dropout: float = 0.0,
    user_exponent: float = 0.0,
    memory: float | None = None,
) -> dict[str, Any]:
    """The variables of `EASE(num_items)`, from each user's items (0 = padding).

    On a CPU LAPACK inverts in place: less memory, and a third of the time of solving for each item.

    Args:
      history: one row per user; items that come twice count once.
      num_items: rows of the catalogue, 0 included.
      l2: λ, in numbers of interactions.
      dropout: p of EDLAE, in [0, 1).
      user_exponent: a of (n / n_u)^a, by which the row of X of a user with n_u items is multiplied, n being
        their mean: those who took much weigh less.
      memory: GiB that N × N matrices may take, two on a CPU and three elsewhere; those that are free if not
        given.

    Raises:
      ValueError: if that is not enough, if the history is empty, or an argument is out of range.
    """
    penalty = checked_penalty(l2, dropout)
    known = check(history, num_items, memory, pick(cpu=HOST_MATRICES, accelerator=MATRICES))
    solve = pick(cpu=_on_host, accelerator=_on_device)
    return variables(solve(known, num_items, penalty, user_exponent))


def checked_penalty(l2: float, dropout: float) -> Penalty:
    """What dropout adds is a share p / (1 - p) of the items' counts.

    Raises:
      ValueError: if λ is not positive, or p not in [0, 1).

    >>> checked_penalty(10.0, 0.5)
    Penalty(l2=10.0, share=1.0)
    """
    if not 0 < l2 < np.inf:
        raise ValueError(f"l2 must be greater than 0, but is {l2}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), but is {dropout}")
    return Penalty(l2, dropout / (1 - dropout))


def penalised(
    gram: Float[Array, " *B M M"], l2: Float[Array, ""], share: Float[Array, ""]
) -> Float[Array, " *B M M"]:
    """The Gramian, or each of several, with the penalty on its diagonal.

    >>> penalised(jnp.ones((2, 2)), jnp.float32(3.0), jnp.float32(1.0)).tolist()
    [[5.0, 1.0], [1.0, 5.0]]
    """
    place = jnp.arange(gram.shape[-1])
    return gram.at[..., place, place].multiply(1 + share).at[..., place, place].add(l2)


def _on_host(
    history: np.ndarray, num_items: int, penalty: Penalty, user_exponent: float
) -> Float[Array, " N N"]:
    x = weighed(taken(history, num_items), user_exponent).astype(np.float32)
    by_item = x.T.tocsr()
    weight = np.empty((num_items, num_items), np.float32)
    blocks = [slice(start, min(start + BLOCK, num_items)) for start in range(0, num_items, BLOCK)]
    for rows in blocks:
        weight[rows] = (by_item[rows] @ x).toarray()
    diagonal = np.einsum("ii->i", weight)  # a view
    diagonal *= 1 + penalty.share
    diagonal += penalty.l2
    factorise, invert = get_lapack_funcs(("potrf", "potri"), (weight,))
    # Of the transpose, which is the same matrix, as LAPACK counts by columns.
    factor, failed = factorise(weight.T, lower=True, clean=False, overwrite_a=True)
    if not failed:
        _, failed = invert(factor, lower=True, overwrite_c=True)
    if failed:
        raise ValueError(f"l2={penalty.l2} is too small to invert in float32: take a larger one")
    scale = -1 / diagonal
    for rows in blocks:  # of P the upper triangle is there
        square = weight[rows, rows]
        square[:] = np.triu(square) + np.triu(square, 1).T
        weight[rows.stop :, rows] = weight[rows, rows.stop :].T
        weight[rows] *= scale[rows, None]
    diagonal[:] = 0.0
    return jax.device_put(weight)  # jnp.asarray would make a second copy


def _on_device(
    history: np.ndarray, num_items: int, penalty: Penalty, user_exponent: float
) -> Float[Array, " N N"]:
    weight = jnp.asarray(weights(num_taken(history), user_exponent), jnp.float32)
    return _solve(gram(jnp.asarray(history), num_items, weight), *map(jnp.float32, penalty))


@jax.jit(donate_argnums=0)
def _solve(g: Float[Array, " N N"], l2: Float[Array, ""], share: Float[Array, ""]) -> Float[Array, " N N"]:
    n = len(g)
    factor = jax.lax.linalg.cholesky(penalised(g, l2, share), symmetrize_input=False)

    def rows_of(row: Array) -> Array:
        """Bᵀ_ij = -P_ij / P_ii, as P is symmetric; 0 for item 0, which nobody took."""
        unit = jax.nn.one_hot(row, n).T
        p = jax.scipy.linalg.cho_solve((factor, True), unit).T
        place = jnp.arange(len(row))
        b = -p / p[place, row][:, None]
        return b.at[place, row].set(0.0)

    return by_rows(rows_of, n)
