"""The softmax over a whole catalogue, without the array of batch × catalogue."""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from rezoo.arrays import at_least_1
from rezoo.devices.backend import pick
from rezoo.devices.meshes import layout, lookup
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
      target: the items that came, ≥ 1; for 0 the value means nothing and is to be masked.
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
    if chunk is None:
        chunk = pick(cpu=512, accelerator=max(512, SCORES // max(target.size, 1)))
    value: Array = _catalogue_softmax(state.reshape(-1, state.shape[-1]), table, target.ravel(), chunk)
    return value.reshape(target.shape)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _catalogue_softmax(
    state: Float[Array, " T D"], table: Float[Array, " N D"], target: Int[Array, " T"], chunk: int
) -> Float[Array, " T"]:
    return _catalogue_forward(state, table, target, chunk)[0]


def _chunk_of(
    state: Array, table: Array, number: Array, size: int
) -> tuple[Array, Float[Array, " c D"], Float[Array, " T c"]]:
    """(first item, rows, scores) of a chunk; -inf for item 0 and for those of the chunk before.

    The last chunk reaches back into the one before it, so that all have one size.
    """
    start = jnp.minimum(number * size, table.shape[0] - size)
    rows = lax.dynamic_slice_in_dim(table, start, size)
    new = start + jnp.arange(size) >= jnp.maximum(number * size, 1)
    return start, rows, jnp.where(new[None], bounded(state @ rows.T), -jnp.inf)


def _catalogue_forward(state: Array, table: Array, target: Array, chunk: int) -> tuple[Array, tuple]:
    size = min(chunk, table.shape[0])

    def add(number: Array, running: tuple[Array, Array]) -> tuple[Array, Array]:
        top, total = running
        score = _chunk_of(state, table, number, size)[2]
        higher = jnp.maximum(top, score.max(axis=1))
        return higher, total * jnp.exp(top - higher) + jnp.exp(score - higher[:, None]).sum(axis=1)

    start = jnp.full_like(state[:, 0], jnp.finfo(state.dtype).min), jnp.zeros_like(state[:, 0])
    top, total = lax.fori_loop(0, -(-table.shape[0] // size), add, start)
    log_sum = top + jnp.log(total)
    own = bounded((state * lookup(table, target)).sum(axis=-1))
    return log_sum - own, (state, table, target, log_sum)


def _catalogue_backward(chunk: int, saved: tuple, slope: Array) -> tuple[Array, Array, None]:
    state, table, target, log_sum = saved
    size, whole = min(chunk, table.shape[0]), layout(state)
    # On a CPU a product whose left side is read by columns takes twice the time: hence the barriers.
    columns = lax.optimization_barrier(state.T)

    def add(number: Array, gradients: tuple[Array, Array]) -> tuple[Array, Array]:
        of_state, of_table = gradients
        start, rows, score = _chunk_of(state, table, number, size)
        share = slope[:, None] * jnp.exp(score - log_sum[:, None])
        more = lax.optimization_barrier(
            jnp.matmul(columns, share, out_sharding=whole)
        ).T + lax.dynamic_slice_in_dim(of_table, start, size)
        return of_state + share @ rows, lax.dynamic_update_slice_in_dim(of_table, more, start, 0)

    of_state = -slope[:, None] * lookup(table, target)
    of_table = jnp.zeros_like(table).at[target].add(-slope[:, None] * state, out_sharding=whole)
    return *lax.fori_loop(0, -(-table.shape[0] // size), add, (of_state, of_table)), None


_catalogue_softmax.defvjp(_catalogue_forward, _catalogue_backward)
