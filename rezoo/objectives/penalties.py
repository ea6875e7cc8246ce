"""What is added to a loss: squared rows, or what the model sowed."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict
from jaxtyping import Array, Bool, Float, Shaped

from rezoo.arrays import at_least_0
from rezoo.devices.meshes import everywhere, layout
from rezoo.nn.embedding import rows_or_zero
from rezoo.objectives.forward import mean
from rezoo.types import Aux, Batch, Objective, Variables


def l2(
    objective: Objective,
    weight: float | Array | Mapping[str, float | Array],
    counts: Mapping[str, Shaped[Array, " N"] | np.ndarray] | None = None,
) -> Objective:
    """`objective` plus `weight` × the squared rows that the batch looked up, per observation.

    This is the regularisation of the matrix factorization papers: λ (|p_u|² + |q_i|² + …) for each observed
    (u, i), so that rows are regularised in proportion to how often they are used. It makes no difference
    whether a user's ratings come as pairs or in one row: a user looked up once for a row of n ratings
    counts n times. The rows of a history count once per query. What is looked up once for the whole batch
    counts for each observation: items that all rows have beside their own, as in `shared`, and what the
    vectors of a whole catalogue are made of. A table that is used whole, without a lookup, has no penalty:
    that of a tied softmax, and an autoencoder's where its rows of ids are so long that a product with all of
    the table is faster (`nn.bag`).

    A table that has `counts` is regularised as in DIN, mini-batch-aware, instead (Zhou 2018,
    https://arxiv.org/abs/1706.06978, equations 4-6): λ Σ_j |w_j|² / n_j over the ids j that the batch
    looks up, each once, so that frequent rows are regularised less. It is not divided by the batch's size.

    Args:
      objective: any objective whose model looks its embeddings up with `nn.embedding.Embed`.
      weight: λ, or a λ for each table by the name of its module; tables left out have none.
      counts: n_j, how often each id occurs in all the data, by the name of a table's module. An id
        whose count is 0 has no penalty: give padding none.

    Raises:
      ValueError: if a weight is below 0, or there are weights or counts of a table that the model does not
        look up.

    >>> from rezoo import losses, objectives
    >>> from rezoo.data.batches import pairs
    >>> from rezoo.models import MF
    >>> batch = pairs([1], [2])
    >>> objective = l2(objectives.pointwise(MF(3, 3, dim=2), losses.squared), {"user": 0.1})
    >>> ones = jax.tree.map(jnp.ones_like, MF(3, 3, dim=2).init(jax.random.key(0), batch.query, batch.item))
    >>> value, _ = jax.jit(objective)(ones, jax.random.key(1), batch)
    >>> print(value.round(4))  # (1 + 1 + 1 - 1)² + 0.1 × (1² + 1²)
    4.2
    """
    at_least_0(**(weight if isinstance(weight, Mapping) else {"weight": weight}))

    def regularised(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Aux]:
        value, aux = objective(variables, key, batch)
        sown: list[dict[Any, Any]] = [flatten_dict(aux.sown.get(name, {})) for name in ("rows", "row_ids")]
        rows, ids = sown
        weights = weight if isinstance(weight, Mapping) else {}
        for what, given in (("counts", counts or {}), ("weights", weights)):
            if unknown := set(given) - {name for path in rows for name in path[:-1]}:
                tables = sorted("/".join(path[:-1]) for path in rows)
                raise ValueError(
                    f"{what} for {sorted(unknown)}, of which no row is looked up; tables that are: {tables}"
                )
        penalty = jnp.zeros((), value.dtype)
        for path, calls in rows.items():
            count = next((n for name, n in (counts or {}).items() if name in path), None)
            if count is None:
                squares = _each_lookup(calls, batch.where)
            else:
                squares = _each_id(calls, ids[*path[:-1], "embedding"], batch.where, count)
            penalty += _weight_of(path, weight) * squares
        return value + penalty, aux

    return regularised


def penalised(objective: Objective, weight: float | Array) -> Objective:
    """`objective` plus `weight` × what the model sowed in `penalty`, such as Mult-VAE's KL.

    The model sows a value per row of the batch, `[B]`; rows that do not count are left out of the mean.

    >>> from rezoo.data.batches import queries
    >>> nobody = queries(rows=2)
    >>> batch = Batch(nobody, jnp.array([1, 2]), jnp.ones(2), jnp.ones(2, bool))
    >>> sown = {"penalty": {"kl": (jnp.array([2.0, 4.0]),)}}  # by a model, a value for each row
    >>> objective = lambda variables, key, batch: (jnp.float32(1), Aux({}, sown))
    >>> float(penalised(objective, 0.5)({}, jax.random.key(0), batch)[0])  # 1 + ½ × 3
    2.5
    """
    at_least_0(weight=weight)

    def whole(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Aux]:
        value, aux = objective(variables, key, batch)
        counted = batch.where.reshape(len(batch.where), -1).any(axis=1)
        sown = jax.tree.leaves(aux.sown.get("penalty", {}))
        penalty = sum(
            (mean(jnp.where(counted, rows, 0.0), counted) for rows in sown), jnp.zeros((), value.dtype)
        )
        return value + weight * penalty, aux._replace(metrics=aux.metrics | {"penalty": penalty})

    return whole


def _weight_of(path: tuple[str, ...], weight: Any) -> Any:
    if not isinstance(weight, Mapping):
        return weight
    return sum(value for name, value in weight.items() if name in path)


def _each_lookup(calls: Sequence[Array], where: Bool[Array, " B *C"]) -> Float[Array, ""]:
    """The squares of all rows looked up, in one call or several, per observation."""
    squares = [
        jnp.dot(_served(rows, where).ravel(), jnp.square(rows).sum(-1).ravel(), out_sharding=layout(rows))
        for rows in calls
    ]
    return jnp.stack(squares).sum() / jnp.maximum(where.sum(), 1)


def _each_id(
    calls: Sequence[Array], ids: Sequence[Array], where: Bool[Array, " B *C"], count: Array | np.ndarray
) -> Float[Array, ""]:
    """Σ_j |w_j|² / n_j over the ids of all calls, each once: its lookups share it."""
    calls, ids, where = everywhere((calls, ids, where))
    square = jnp.concatenate([jnp.square(rows).sum(-1).ravel() for rows in calls])
    real = jnp.concatenate([(_served(rows, where) > 0).ravel() for rows in calls])
    flat = jnp.concatenate([one.ravel() for one in ids])
    lookups = jnp.zeros(len(count), square.dtype).at[flat].add(real)
    parts = rows_or_zero(lookups * jnp.asarray(count), flat)
    held = real & (parts > 0)
    return (jnp.where(held, square, 0.0) / jnp.where(held, parts, 1.0)).sum()


def _served(rows: Float[Array, " A *S D"], where: Bool[Array, " B *C"]) -> Float[Array, " A *S"]:
    """How many observations each looked-up row serves: those of its batch row, or the one beside it.

    A is B, or 1 for lookups that serve the whole batch.
    """
    lookups = rows.shape[:-1]
    if lookups == where.shape:
        return where.astype(rows.dtype)
    if lookups[0] == 1 < len(where):
        return jnp.broadcast_to(where.sum(), lookups).astype(rows.dtype)
    count = where.reshape(len(where), -1).sum(axis=1)
    count = count if len(lookups) == 1 else jnp.minimum(count, 1)
    return jnp.broadcast_to(count.reshape(-1, *[1] * (len(lookups) - 1)), lookups).astype(rows.dtype)
