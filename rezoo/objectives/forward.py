"""A model in training, and the mean of what counts."""

from collections.abc import Callable
from functools import partial
from inspect import signature
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rezoo.arrays import across, same_rows
from rezoo.devices.meshes import lookup
from rezoo.types import Batch, Loss, Variables

Weights = Callable[[Batch], Array]
"""`batch -> how much each row [B], or each element of the loss, counts`, such as a column of the query
or what an item's popularity says of its chance to be seen: `lambda batch: 1 / propensity[batch.item]`."""

WRITABLE = ("batch_stats", "rows", "row_ids", "penalty")
"""Collections that a model may write while it trains."""


def of_model(model: nn.Module, method: str, objective: str) -> None:
    """Check that a model has the method that an objective asks for.

    Raises:
      ValueError: if it has not; it names what the model can be trained by.

    >>> from rezoo.models import BERT4Rec
    >>> of_model(BERT4Rec(9), "prefixes", "next_item")
    Traceback (most recent call last):
    ValueError: BERT4Rec has no `prefixes`, which next_item asks for: it is trained by objectives.cloze
    """
    if hasattr(model, method):
        return
    ways = {
        "prefixes": "objectives.next_item, next_item_softmax or next_item_sampled",
        "hidden_states": "objectives.cloze",
        "likelihoods": "objectives.next_item_likelihood",
    }
    fit = next((way for name, way in ways.items() if hasattr(model, name)), "objectives of pairs or rows")
    raise ValueError(
        f"{type(model).__name__} has no `{method}`, which {objective} asks for: it is trained by {fit}"
    )


def forward(
    model: nn.Module,
    variables: Variables,
    key: jax.Array,
    *inputs: Any,
    method: Any = None,
    where: Bool[Array, " B *C"] | None = None,
) -> Any:
    """The model in training, with a key for dropout: its output, and the collections that it wrote.

    `where` is given to the model in the collection `batch`, for models that compute statistics of a
    batch.

    Raises:
      ValueError: if a column of the query, the items or `where` have another number of rows than the others.

    >>> from rezoo.data.batches import queries
    >>> from rezoo.models import Popularity
    >>> query = queries(rows=2)
    >>> variables = {"params": {"count": jnp.array([0.0, 2.0, 1.0])}}
    >>> score, written = forward(Popularity(3), variables, jax.random.key(0), query, jnp.array([1, 2]))
    >>> score.tolist()
    [2.0, 1.0]
    """
    same_rows(**dict(zip(("query", "item"), inputs, strict=False)), where=where)
    variables = variables if where is None else {**variables, "batch": {"where": where}}
    return model.apply(variables, *inputs, rngs={"dropout": key}, mutable=WRITABLE, method=method)


def item_vectors(model: Any, item: Int[Array, " *S"]) -> Float[Array, " *S D"]:
    """The rows of `table()` of some items; where the model has `vectors`, no other row is touched.

    Args:
      model: a `Retriever`, bound to its variables: called inside of a method of `forward`.
      item: dense ids.
    """
    return model.vectors(item) if hasattr(model, "vectors") else lookup(model.table(), item)


def of_one(loss: Loss) -> Loss:
    """`loss` of lists of one positive each: one of pairs then looks at n of them in place of n².

    >>> from rezoo import losses
    >>> of_one(losses.bpr).keywords, of_one(losses.logistic) is losses.logistic
    ({'positives': 1}, True)
    """
    return partial(loss, positives=1) if "positives" in signature(loss).parameters else loss


def mean(
    value: Float[Array, " *B"],
    where: Bool[Array, " *C"],
    weight: Float[Array, " *D"] | None = None,
) -> Float[Array, ""]:
    """Mean of a loss over what counts: elements if it is pointwise, lists if it is listwise.

    With weights Σ weight × loss over how many count, not over the sum of the weights: a batch of heavy
    rows counts for more than one of light rows, and the expectation over batches is that of all data.

    Args:
      value: the loss, of the shape of `where` or without its last axis.
      where: which elements count; a list counts if any of its elements does.
      weight: of the loss's shape, or without some of its last axes.

    Raises:
      ValueError: if the shapes do not go together.

    >>> value, where = jnp.array([1.0, 3.0, 99.0]), jnp.array([True, True, False])
    >>> float(mean(value, where)), float(mean(value, where, jnp.array([1.0, 0.0, 1.0])))
    (2.0, 0.5)
    """
    if value.shape not in (where.shape, where.shape[:-1]):
        raise ValueError(
            f"the loss has the shape {list(value.shape)}, but what it is of has {list(where.shape)}: give a "
            "value for each element, or one for each list"
        )
    count = where if value.shape == where.shape else where.any(axis=-1)
    if weight is not None:
        if value.shape[: weight.ndim] != weight.shape:
            raise ValueError(
                f"the weights have the shape {list(weight.shape)}, the loss {list(value.shape)}: give one "
                "for each row, or for each value of the loss"
            )
        value = value * jnp.where(
            count, across(weight, value), 0.0
        )  # masked before: a NaN gets into the gradient
    return jnp.where(count, value, 0.0).sum() / jnp.maximum(count.sum(), 1)


def weight_of(weights: Weights | None, batch: Batch) -> Array | None:
    """The weights of a batch, if there are any."""
    return None if weights is None else weights(batch)
