"""A score, and beside it what its session model was made for."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo import losses
from rezoo.arrays import at_least_0, at_least_1, same_shape
from rezoo.nn.embedding import has_row
from rezoo.objectives.forward import forward, mean
from rezoo.types import Aux, Batch, Loss, Objective, Query, Variables


def with_next_item(
    model: nn.Module,
    loss: Loss,
    weight: float | Array = 1.0,
    *,
    newest: int | None = None,
    chunk: int | None = None,
) -> Objective:
    """`pointwise`, plus `weight` × the `next_item_softmax` of the model's session model over the history.

    Two tasks of one encoder: the score of `batch.item`, and after each event of `batch.query.history` the
    event that follows it there. Rows that do not count do so in neither.

    Args:
      model: with a `SessionModel` as its part `session`, such as `SessionRanker`.
      loss: of elements or of lists, for the scores.
      weight: of the second task; the first one's is 1.
      newest: learn the second task of so many events at the end of each history, where those before are
        also in other rows; of all if not given.
      chunk: as in `losses.catalogue_softmax`.

    Raises:
      ValueError: if `weight` or `newest` is out of its range; of the objective, if the model has no part
        `session`, or this no `prefixes`.

    >>> from functools import partial
    >>> from rezoo.data.batches import pairs
    >>> from rezoo.models import GRU4Rec, SessionRanker
    >>> model = SessionRanker({"item": 5}, partial(GRU4Rec, 5, 2), 2)
    >>> batch = pairs([0], [3], [1.0], history=[[1, 2]])
    >>> zeros = jax.tree.map(jnp.zeros_like, model.init(jax.random.key(0), batch.query, batch.item))
    >>> value, aux = jax.jit(with_next_item(model, losses.squared, 0.5))(zeros, jax.random.key(1), batch)
    >>> print(aux.metrics["score"], aux.metrics["next_item"].round(4), value.round(4))  # 1², ln 4
    1.0 1.3863 1.6931
    """
    at_least_0(weight=weight)
    at_least_1(newest=newest)

    def outputs(module: Any, query: Query, item: Array) -> tuple[Array, Array, Array]:
        session = getattr(module, "session", None)
        if not hasattr(session, "prefixes"):
            raise ValueError(
                f"{type(module).__name__} has no part `session` with `prefixes`, so no next item can be "
                "learnt: give it a session model that knows its state after every event as encoder="
            )
        return module(query, item), session.prefixes(query), session.table()  # pyright: ignore[reportOptionalMemberAccess]

    def objective(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Aux]:
        inputs = batch.query, batch.item
        (score, states, table), sown = forward(
            model, variables, key, *inputs, where=batch.where, method=outputs
        )
        same_shape(score=score, label=batch.label, where=batch.where)
        first = mean(loss(score, batch.label, where=batch.where), batch.where)
        states, following = _last(states, batch.query.history, newest)
        counts = (
            has_row(following, len(table)) & batch.where.reshape(len(batch.where), -1).any(axis=1)[:, None]
        )
        states = jnp.where(counts[..., None], states, 0.0)
        second = mean(losses.catalogue_softmax(states, table, following, chunk=chunk), counts)
        total = first + weight * second
        return total, Aux({"loss": total, "score": first, "next_item": second}, sown)

    return objective


def _last(
    states: Float[Array, " B L D"], history: Int[Array, " B L"], newest: int | None
) -> tuple[Float[Array, " B T D"], Int[Array, " B T"]]:
    """The states before the newest events of each history, or before all but the first, and these events."""
    length = history.shape[1]
    count = (history > 0).sum(axis=1, keepdims=True)
    size = length - 1 if newest is None else min(newest, length - 1)
    place = (jnp.maximum(count - size, 1) if newest is not None else 1) + jnp.arange(max(size, 0))[None]
    place = jnp.broadcast_to(place, (len(history), place.shape[1]))
    real = place < count
    following = jnp.where(real, jnp.take_along_axis(history, jnp.where(real, place, 0), axis=1), 0)
    before = jnp.where(real, place - 1, 0)
    return jnp.take_along_axis(states, before[..., None], axis=1), following
