"""Events that are hidden, and told from what stands before and after them."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from rezoo import losses
from rezoo.arrays import above_0, same_shape, shares
from rezoo.devices.meshes import along
from rezoo.nn import sequence
from rezoo.nn.embedding import has_row
from rezoo.objectives.forward import Weights, forward, mean, of_model, weight_of
from rezoo.types import Aux, Batch, Objective, Query, Variables


def cloze(
    model: nn.Module,
    share: float = 0.2,
    *,
    last: float = 0.1,
    chunk: int | None = None,
    weights: Weights | None = None,
) -> Objective:
    """The items of hidden events, each against the whole catalogue (Sun 2019, BERT4Rec,
    https://arxiv.org/abs/1904.06690, equation 9, with the cross entropy's mean over the hidden events).

    Of each row's events `share` are hidden, at least one, drawn in every step; in `last` of the rows just the
    last event is, as where the next item is asked for (section 3.6). Takes batches whose `where` says which
    events of the history may be hidden, `[B L]`; their items are not read. Give it whole histories:

        query = batches.queries(history=sessions.pad(train, length))
        data = Batch(query, query.history, jnp.ones(query.history.shape), query.history > 0)

    or, where most are shorter than `length`, several in a row, which leaves less padding to compute:

        rows = packing.pack(train, length)
        query = batches.queries(history=rows.items, features={"segment": rows.segment})

    The table is used as a whole, so it is not trained row by row.

    Args:
      model: has `hidden_states(query, hidden)`, such as `BERT4Rec`.
      share: of a row's events, above 0 and at most 1.
      last: share of the rows of which only the last event is hidden; in packed rows that of each session.
      chunk: as for `losses.catalogue_softmax`.
      weights: how much each row `[B]`, or each event `[B L]`, counts; see `mean`.

    Raises:
      ValueError: if a share is out of its range; of the objective, if `where` has another shape than
        the history.

    >>> from rezoo.data.batches import queries
    >>> from rezoo.models import BERT4Rec
    >>> model = BERT4Rec(num_items=5, dim=2, num_blocks=1)
    >>> query = queries(history=[[1, 2, 3, 0]])
    >>> batch = Batch(query, query.history, jnp.ones((1, 4)), query.history > 0)
    >>> variables = jax.jit(model.init)(jax.random.key(0), query, batch.item[:, 0])
    >>> variables = jax.tree.map(jnp.zeros_like, variables)
    >>> print(jax.jit(cloze(model))(variables, jax.random.key(1), batch)[0].round(4))  # four items: ln 4
    1.3863
    """
    of_model(model, "hidden_states", "cloze")
    above_0(share=share)
    shares(share=share, last=last)

    def states(module: Any, query: Query, hidden: Array, place: Array) -> tuple[Array, Array]:
        state = module.hidden_states(query, hidden)
        return jnp.take_along_axis(state, place[..., None], axis=1), module.table()

    def objective(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Aux]:
        history = batch.query.history
        same_shape(history=history, where=batch.where)
        draw_key, model_key = jax.random.split(key)
        may, segment = batch.where & (history > 0), sequence.segments(batch.query)
        hidden, place, real = hide(draw_key, may, segment, share, last)
        inputs = batch.query, hidden, place
        (state, table), sown = forward(model, variables, model_key, *inputs, method=states)
        target = jnp.take_along_axis(history, place, axis=1)
        real &= has_row(target, len(table))
        state = jnp.where(real[..., None], state, 0.0)
        weight = weight_of(weights, batch)
        if weight is not None and weight.ndim == 2:
            weight = jnp.take_along_axis(weight, place, axis=1)
        value = mean(losses.catalogue_softmax(state, table, target, chunk=chunk), real, weight)
        return value, Aux({"loss": value}, sown)

    return objective


def hide(
    key: jax.Array, may: Bool[Array, " B L"], segment: Int[Array, " B L"], share: float, last: float
) -> tuple[Bool[Array, " B L"], Int[Array, " B M"], Bool[Array, " B M"]]:
    """Which events are hidden, of those that may be; where these stand; and which of the M places are any.

    M is `share` of L, so that no more places than can be hidden are scored.

    >>> may, one = jnp.array([[True, True, True, False]]), jnp.array([[1, 1, 1, 0]])
    >>> hidden, place, any_there = hide(jax.random.key(0), may, one, 0.5, 1.0)
    >>> hidden.tolist(), place.tolist(), any_there.tolist()
    ([[False, False, True, False]], [[2, 0]], [[True, False]])
    """
    size, length = may.shape
    row_key, event_key = jax.random.split(key)
    only_last = along(jax.random.uniform(row_key, (size, 1)) < last, may)
    may = may & ((jnp.pad(segment[:, 1:], ((0, 0), (0, 1))) != segment) | ~only_last)
    place = along(jax.random.uniform(event_key, (size, length)), may)
    order = jnp.argsort(jnp.where(may, place, 2.0), axis=1)
    events = may.sum(axis=1, keepdims=True)
    some = jnp.maximum(jnp.round(share * events), 1).astype(events.dtype)
    most = min(max(round(share * length), 1), length)
    count = jnp.minimum(jnp.minimum(jnp.where(only_last, events, some), events), most)
    return jnp.argsort(order, axis=1) < count, order[:, :most], jnp.arange(most)[None] < count
