"""The softmax over a whole catalogue, without the array of batch × catalogue."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from rezoo.arrays import at_least_1, at_least_float32
from rezoo.devices.backend import pick
from rezoo.devices.meshes import layout, lookup
from rezoo.devices.sharding.items import place_of
from rezoo.losses.masks import bounded

SCORES = 2**27
"""Of a chunk, on an accelerator."""


def catalogue_softmax(
    state: Float[Array, " *B D"],
    table: Float[Array, " N D"],
    target: Int[Array, " *B"],
    *,
    chunk: int | None = None,
) -> Float[Array, " *B"]:
    """Cross entropy in little memory: ln Σ_i exp <s, v_i> - <s, v_target> over items i ≥ 1.

    The scores are made `chunk` items at a time, once for the value with a running log-sum-exp
    (Milakov and Gimelshein 2018, https://arxiv.org/abs/1805.02867) and once more for the gradient,
    so that no array has both the batch and the catalogue as axes. A chunk that stays in the cache
    makes this faster than the plain loss, too. A bias is one more column of the table, beside a
    column of ones of the states.

    Args:
      state: the queries.
      table: a row per item; row 0 belongs to no item.
      target: the items that came, ≥ 1; for 0, and for ids that have no row, which are taken for it, the value
        means nothing and is to be masked.
      chunk: items at a time; None: 512 on a CPU, whose cache keeps the scores of as many, and on an
        accelerator, which wants few and large products, as many as make 2²⁷ scores (512 MiB).

    Raises:
      ValueError: if there is not one target for each state.

    >>> state, table = jnp.zeros((2, 3)), jnp.ones((5, 3))  # all scores alike, of four items
    >>> print(catalogue_softmax(state, table, jnp.array([1, 4])).round(4))
    [1.3863 1.3863]
    """
    if target.shape != state.shape[:-1]:
        raise ValueError(
            f"target {list(target.shape)}, state {list(state.shape)}: give one target for each state"
        )
    at_least_1(chunk=chunk)
    flat = state.reshape(-1, state.shape[-1])
    known = jnp.where((target > 0) & (target < len(table)), target, 0).ravel()
    value: Array = _catalogue_softmax(flat, table, known, chunk or _items_at_once(target.size))
    return value.reshape(target.shape)


def spread_softmax(
    state: Float[Array, " T D"],
    own: Float[Array, " R D"],
    target: Int[Array, " T"],
    *,
    num_items: int,
    axis: str,
    chunk: int | None = None,
) -> Float[Array, " T"]:
    """`catalogue_softmax` over items that are spread over devices: on each of them, in `jax.shard_map`.

    A device sums e^score over its own items; the logarithms of these sums are sent, and no score is.

    Args:
      state: all queries, the same on every device.
      own: the vectors of this device's items, as `nn.spread.own_vectors` makes them.
      target: the items that came, whichever device has them.
      num_items: rows of the catalogue, item 0 included.
      axis: of the mesh, along which items are spread.
      chunk: items at a time, as there.
    """
    at_least_1(chunk=chunk)
    device, devices = jax.lax.axis_index(axis), jax.lax.axis_size(axis)
    items = jnp.where(device == 0, 1, 0), -((device - num_items) // devices)
    log_sum = _log_sum(state, own, *items, chunk or _items_at_once(target.size))
    top = jax.lax.pmax(jax.lax.stop_gradient(log_sum), axis)
    place = place_of(target, axis)
    exact = at_least_float32(state.dtype)
    score = bounded((state.astype(exact) * own[jnp.maximum(place, 0)]).sum(axis=-1))
    share = jnp.exp(log_sum - top), jnp.where(place < 0, 0.0, score)
    total, score = jax.lax.psum(share, axis)
    return top + jnp.log(total) - score


def _items_at_once(queries: int) -> int:
    return pick(cpu=512, accelerator=max(512, SCORES // max(queries, 1)))


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _catalogue_softmax(
    state: Float[Array, " T D"], table: Float[Array, " N D"], target: Int[Array, " T"], chunk: int
) -> Float[Array, " T"]:
    return _catalogue_forward(state, table, target, chunk)[0]


def _chunk_of(
    state: Array, table: Array, number: Array, size: int, first: Any = 1, end: Any = None
) -> tuple[Array, Float[Array, " c D"], Float[Array, " T c"]]:
    """(first place, rows, scores) of a chunk; -inf where no item is, and for those of the chunk before.

    The last chunk reaches back into the one before it, so that all have one size. There are items at the
    places from `first` to `end`, or to the last.
    """
    start = jnp.minimum(number * size, table.shape[0] - size)
    rows = lax.dynamic_slice_in_dim(table, start, size)
    place = start + jnp.arange(size)
    new = place >= jnp.maximum(number * size, first)
    if end is not None:
        new &= place < end
    return start, rows, jnp.where(new[None], bounded(_product(state, rows.T)), -jnp.inf)


def _product(a: Array, b: Array, **options: Any) -> Array:
    """Their product, of numbers as they are, summed in float32 at least."""
    return jnp.matmul(a, b, preferred_element_type=at_least_float32(a.dtype), **options)


def _running(state: Array, table: Array, chunk: int, *items: Array) -> Float[Array, " T"]:
    """The log-sum-exp of the scores; the smallest number where there is no item."""
    size = min(chunk, table.shape[0])

    def add(number: Array, running: tuple[Array, Array]) -> tuple[Array, Array]:
        top, total = running
        score = _chunk_of(state, table, number, size, *items)[2]
        higher = jnp.maximum(top, score.max(axis=1))
        return higher, total * jnp.exp(top - higher) + jnp.exp(score - higher[:, None]).sum(axis=1)

    zero = jnp.zeros_like(state[:, 0], at_least_float32(state.dtype))
    least = jnp.finfo(zero.dtype)
    start = jnp.full_like(zero, least.min), zero
    top, total = lax.fori_loop(0, -(-table.shape[0] // size), add, start)
    return top + jnp.log(jnp.maximum(total, least.tiny))


def _gradients(
    chunk: int,
    state: Array,
    table: Array,
    log_sum: Array,
    slope: Array,
    start: tuple[Array, Array],
    *items: Array,
) -> tuple[Array, Array]:
    """Those of the log-sum-exp by states and table, added to `start`, in the types of both."""
    size, whole = min(chunk, table.shape[0]), layout(state)
    # On a CPU a product whose left side is read by columns takes twice the time: hence the barriers.
    columns = lax.optimization_barrier(state.T)

    def add(number: Array, gradients: tuple[Array, Array]) -> tuple[Array, Array]:
        of_state, of_table = gradients
        start, rows, score = _chunk_of(state, table, number, size, *items)
        share = (slope[:, None] * jnp.exp(score - log_sum[:, None])).astype(state.dtype)
        more = lax.optimization_barrier(
            _product(columns, share, out_sharding=whole)
        ).T + lax.dynamic_slice_in_dim(of_table, start, size)
        return of_state + _product(share, rows), lax.dynamic_update_slice_in_dim(of_table, more, start, 0)

    of_state, of_table = lax.fori_loop(0, -(-table.shape[0] // size), add, start)
    return of_state.astype(state.dtype), of_table.astype(table.dtype)


def _catalogue_forward(state: Array, table: Array, target: Array, chunk: int) -> tuple[Array, tuple]:
    log_sum = _running(state, table, chunk)
    exact = at_least_float32(state.dtype)
    own = bounded((state.astype(exact) * lookup(table, target)).sum(axis=-1))
    return log_sum - own, (state, table, target, log_sum)


def _catalogue_backward(chunk: int, saved: tuple, slope: Array) -> tuple[Array, Array, None]:
    state, table, target, log_sum = saved
    of_state = -slope[:, None] * lookup(table, target)
    zeros = jnp.zeros_like(table, of_state.dtype)
    of_table = zeros.at[target].add(-slope[:, None] * state, out_sharding=layout(state))
    return *_gradients(chunk, state, table, log_sum, slope, (of_state, of_table)), None


_catalogue_softmax.defvjp(_catalogue_forward, _catalogue_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def _log_sum(
    state: Float[Array, " T D"],
    table: Float[Array, " R D"],
    first: Int[Array, ""],
    end: Int[Array, ""],
    chunk: int,
) -> Float[Array, " T"]:
    return _running(state, table, chunk, first, end)


def _log_sum_forward(state: Array, table: Array, first: Array, end: Array, chunk: int) -> tuple[Array, tuple]:
    log_sum = _running(state, table, chunk, first, end)
    return log_sum, (state, table, first, end, log_sum)


def _log_sum_backward(chunk: int, saved: tuple, slope: Array) -> tuple[Array, Array, None, None]:
    state, table, first, end, log_sum = saved
    exact = at_least_float32(state.dtype)
    start = jnp.zeros_like(state, exact), jnp.zeros_like(table, exact)
    return *_gradients(chunk, state, table, log_sum, slope, start, first, end), None, None


_log_sum.defvjp(_log_sum_forward, _log_sum_backward)
