"""What a step makes of its batch before an objective sees it."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from rezoo.arrays import across, same_shape
from rezoo.types import Batch


def masked(batch: Batch) -> Batch:
    """The batch with 0 for whatever does not count: labels, and columns of numbers of rows that are padding.

    So a NaN that stands for a missing label, or in a padded row, reaches neither loss nor gradient.

    Raises:
      ValueError: if `item`, `label` and `where`, or a task's `label` and `where`, differ in shape.

    >>> from rezoo.data.batches import queries
    >>> query = queries(rows=2)
    >>> batch = Batch(query, jnp.array([1, 2]), jnp.array([5.0, jnp.nan]), jnp.array([True, False]))
    >>> masked(batch).label.tolist()
    [5.0, 0.0]
    """
    same_shape(item=batch.item, label=batch.label, where=batch.where)
    for name, (label, where) in batch.tasks.items():
        same_shape(**{"where": batch.where, f"{name} label": label, f"{name} where": where})
    counts = batch.where.reshape(len(batch.where), -1).any(axis=1)

    def kept(column: Array) -> Array:
        if not jnp.issubdtype(column.dtype, jnp.floating):
            return column
        return jnp.where(across(counts, column), column, 0)

    return batch._replace(
        query=batch.query._replace(features=jax.tree.map(kept, batch.query.features)),
        label=jnp.where(batch.where, batch.label, 0),
        tasks={
            name: one._replace(label=jnp.where(one.where & batch.where, one.label, 0))
            for name, one in batch.tasks.items()
        },
    )
