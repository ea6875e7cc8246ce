"""What is added to a loss: squared rows, or what the model sowed."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rezoo.objectives.forward import mean
from rezoo.types import Aux, Batch, Objective, Variables


def l2(objective: Objective, weight: float | Array | Mapping[str, float | Array]) -> Objective:
    """`objective` plus `weight` × the squared rows that the batch looked up, per observation.

    This is the regularisation of the matrix factorization papers: λ (|p_u|² + |q_i|² + …) for each
    observed (u, i), so that popular rows are held as often as they are used. It makes no difference
    whether a user's ratings come as pairs or in one row: a user looked up once for a row of n
    ratings counts n times. The rows of a history count once per query.

    Args:
      objective: any objective whose model looks its embeddings up with `nn.embedding.Embed`.
      weight: λ, or a λ for each table by the name of its module; tables left out have none.
    """

    def regularised(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Aux]:
        value, aux = objective(variables, key, batch)
        size = jnp.maximum(batch.where.sum(), 1)
        penalty = sum(
            _weight_of(path, weight) * jnp.vdot(_served(rows, batch.where), jnp.square(rows).sum(-1)) / size
            for path, rows in jax.tree.leaves_with_path(aux.sown.get("rows", {}))
        )
        return value + penalty, aux

    return regularised


def penalised(objective: Objective, weight: float | Array) -> Objective:
    """`objective` plus `weight` × what the model sowed in `penalty`, such as Mult-VAE's KL.

    The model sows a value per row of the batch, `[B]`; rows that do not count are left out of the mean.
    """

    def whole(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Aux]:
        value, aux = objective(variables, key, batch)
        counted = batch.where.reshape(len(batch.where), -1).any(axis=1)
        sown = jax.tree.leaves(aux.sown.get("penalty", {}))
        penalty = sum((mean(jnp.where(counted, rows, 0.0), counted) for rows in sown), jnp.zeros(()))
        return value + weight * penalty, aux._replace(metrics=aux.metrics | {"penalty": penalty})

    return whole


def _weight_of(path: tuple[Any, ...], weight: Any) -> Any:
    if not isinstance(weight, Mapping):
        return weight
    names = [getattr(entry, "key", None) for entry in path]
    return sum(value for name, value in weight.items() if name in names)


def _served(rows: Float[Array, " B *S D"], where: Bool[Array, " B *C"]) -> Float[Array, " B *S"]:
    """How many observations each looked-up row serves: those of its batch row, or the one beside it."""
    lookups = rows.shape[:-1]
    if lookups == where.shape:
        return where.astype(rows.dtype)
    count = where.reshape(len(where), -1).sum(axis=1)
    count = count if len(lookups) == 1 else jnp.minimum(count, 1)
    return jnp.broadcast_to(count.reshape(-1, *[1] * (len(lookups) - 1)), lookups).astype(rows.dtype)
