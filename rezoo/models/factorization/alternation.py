"""A half of an alternation: one side's vectors, each in closed form, while the other side's are fixed.

On one device, or over the devices of a mesh, of which each solves for the rows that it holds.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int
from scipy import sparse

from rezoo.arrays import ranges
from rezoo.devices import sharding
from rezoo.devices.backend import cores, pick
from rezoo.models.factorization.least_squares import Solver, Systems, full_precision

PIECE = 32, 64
"""A row's interactions come in pieces of at least and at most so many, the last one filled up."""
NUMBERS = 2**20, 2**24
"""Numbers (interactions × width) gathered at once: 4 MiB, which stay in the cache; 64 on an accelerator."""
ROUTES = sharding.gather_ids(), sharding.all_to_all()


class Weights(NamedTuple):
    """The objective's constants."""

    unobserved: float | Array = 0.1
    """α, the weight of a pair that was not observed; .1 to 1 in the paper."""
    l2: float | Array = 0.003
    """λ; .001 to .01 in the paper. It must be less than `largest_l2`, which falls as the catalogue grows: a
    tenth of that, and less, is where to look."""
    exponent: float | Array = 1.0
    """ν: 0 is one λ for all rows, 1 is λ in proportion to how much a row is used."""


class Blocks(NamedTuple):
    """What is solved at once: all pieces of some rows."""

    others: Int[Array | np.ndarray, " K P L"]
    """What the rows interacted with, 0 = padding."""
    row: Int[Array | np.ndarray, " K P"]
    """Whose piece it is, as a place in `ids`."""
    ids: Int[Array | np.ndarray, " K R"]
    """The rows of the block, 0 = none."""


class Pieces(NamedTuple):
    """How interactions are cut."""

    length: int
    """Of a piece."""
    at_once: int
    """Pieces of a block; the longest row has no more."""


def pieces_of(row: np.ndarray, dim: int) -> Pieces:
    """Pieces about as long as a row has interactions: short ones are little filled up, long ones are fast."""
    counts = np.bincount(row)
    mean = len(row) / max(np.count_nonzero(counts), 1)
    length = int(np.clip(2 ** round(np.log2(max(mean, 1))), *PIECE))
    most = pick(cpu=NUMBERS[0], accelerator=NUMBERS[1]) // (length * dim)
    return Pieces(length, max(most, -(-int(counts.max(initial=0)) // length)))


def blocks_of(row: np.ndarray, other: np.ndarray, cut: Pieces) -> Blocks:
    """The interactions of each row in pieces, and these in blocks."""
    counts = np.bincount(row)
    ids = np.flatnonzero(counts)
    counts = counts[ids]
    pieces, at_once = -(-counts // cut.length), cut.at_once
    end = np.cumsum(pieces)
    first = [0]  # row of each block
    while first[-1] < len(ids):
        before = end[first[-1]] - pieces[first[-1]]
        first.append(int(np.searchsorted(end, before + at_once, side="right")))
    sizes = np.diff(first)
    block = np.repeat(np.arange(len(sizes)), sizes)
    start = (end - pieces) - (end - pieces)[np.asarray(first[:-1], int)][block]  # first piece, in its block
    others = np.zeros((len(sizes), at_once * cut.length), np.int32)
    rows = sizes.max(initial=1)
    row_of = np.full((len(sizes), at_once), rows - 1, np.int32)
    id_of = np.zeros((len(sizes), rows), np.int32)
    place = ranges(np.zeros_like(sizes), sizes)
    id_of[block, place] = ids
    row_of[np.repeat(block, pieces), ranges(start, pieces)] = np.repeat(place, pieces)
    in_order = sparse.csr_array((other, (row, np.arange(len(row))))).data  # of the rows, in linear time
    others[np.repeat(block, counts), ranges(start * cut.length, counts)] = in_order
    others = others.reshape(len(sizes), at_once, cut.length)
    return Blocks(others, row_of, id_of)


def penalty(count: Int[Array, " R"], others: int, weights: Weights) -> Float[Array, " R"]:
    """λ (interactions + α (rows of the other side))^ν, with `others` rows there, 0 included."""
    return weights.l2 * (count + weights.unobserved * (others - 1)) ** weights.exponent


def parts_of(blocks: Blocks) -> list[Blocks]:
    """Blocks as `half` wants them: on a CPU as many parts as it has cores, filled up with empty blocks."""
    number = len(blocks.ids)
    each = -(-number // pick(cpu=cores(), accelerator=1))
    full = [np.pad(leaf, ((0, -number % each), *[(0, 0)] * (leaf.ndim - 1))) for leaf in blocks]
    return [Blocks(*(leaf[at : at + each] for leaf in full)) for at in range(0, number, each)]


def half(parts: Sequence[Blocks], weights: Weights, solve: Solver) -> Callable[[Array, Array], Array]:
    """`(fixed [N D], start [M D]) -> [M D]`: the vectors of all rows while the other side's are fixed.

    `fixed[0]` is 0. Each part has a thread of its own, as XLA solves many small systems one by one on
    a CPU; their program is compiled once, at the first call.
    """
    # Made arrays here, as what is set for a thread, such as wider numbers, is not for those that it starts.
    weights = jax.tree.map(jnp.asarray, weights)
    ids, program = [blocks.ids for blocks in parts], None

    def solved(fixed: Float[Array, " N D"], start: Float[Array, " M D"]) -> Float[Array, " M D"]:
        nonlocal program
        every = _gramian(fixed, weights.unobserved)
        if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((fixed, start, weights))):
            vectors = [_vectors(fixed, every, start, blocks, weights, solve) for blocks in parts]
        else:
            run = program = program or _vectors.lower(fixed, every, start, parts[0], weights, solve).compile()
            jax.block_until_ready((fixed, every, start))  # as all that waits for one array runs in one thread

            def of(blocks: Blocks) -> Array:
                return jax.block_until_ready(run(fixed, every, start, blocks, weights))

            with ThreadPoolExecutor(len(parts)) as pool:
                vectors = list(pool.map(of, parts))
        return _placed(vectors, start, ids)

    return solved


@jax.jit
@full_precision
def _gramian(fixed: Array, weight: float | Array) -> Array:
    """That of a side's vectors, weighted."""
    return weight * fixed.T @ fixed


@partial(jax.jit, static_argnums=5)
@full_precision
def _vectors(
    fixed: Array, every: Array, start: Array, blocks: Blocks, weights: Weights, solve: Solver
) -> Array:
    """Those of the blocks' rows."""
    rows = _reader(fixed)
    return jax.lax.map(
        lambda block: _solved(rows(block.others), len(fixed), every, start, block, weights, solve), blocks
    )


def _reader(table: Float[Array, " N D"]) -> Callable[[Int[Array, " P L"]], Float[Array, " P L D"]]:
    """`ids -> table[ids]`, for many ids.

    On a CPU rows are copied as numbers of 16 bits: XLA's program copies up to 80 numbers of a row one by one,
    but twice as many halves by wide instructions, in half the time.
    """
    if pick(cpu=False, accelerator=True) or table.dtype.itemsize < 4:
        return lambda ids: table[ids]
    halves = jax.lax.bitcast_convert_type(table, jnp.uint16)
    flat, shape = halves.reshape(len(table), -1), halves.shape[1:]

    def read(ids: Array) -> Array:
        found = jax.lax.optimization_barrier(flat[ids])  # not one by one again, in a program with the next
        return jax.lax.bitcast_convert_type(found.reshape(*ids.shape, *shape), table.dtype)

    return read


def spread(
    tables: tuple[Float[Array, " M D"], Float[Array, " N D"]],
    pairs: tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    weights: Weights,
    num_epochs: int,
    solve: Solver,
    mesh: Mesh,
    axis: str,
) -> tuple[Float[Array, " n Q D"], Float[Array, " n R D"]]:
    """Both sides' vectors after some alternations, spread over the devices of a mesh.

    Args:
      tables: of both sides, at the start.
      pairs: for each side, its rows and those of the other side, of each pair.
      weights: α, λ, ν.
      num_epochs: alternations.
      solve: of the systems.
      mesh: the devices.
      axis: of the mesh.

    Raises:
      ValueError: if the mesh has no such axis.
    """
    mesh, spec = sharding.axis_of(mesh, axis), PartitionSpec(axis)
    of_p, of_q = (_spread_blocks(*side, tables[0].shape[1], mesh, axis) for side in pairs)
    users, items = map(len, tables)
    for routes in (ROUTES, ROUTES[:1]):
        half = jax.jit(_spread_half(solve, routes, mesh, axis), static_argnames="others")
        p, q = sharding.sharded(tables, (spec, spec), mesh)
        lost = jnp.int32(0)
        for _ in range(num_epochs):
            p, no_place = half(q, p, of_p, weights, others=items)
            q, more = half(p, q, of_q, weights, others=users)
            lost += no_place + more
        if not lost:  # or by the route on which every id has a place
            break
    return p, q


def _spread_blocks(row: np.ndarray, other: np.ndarray, dim: int, mesh: Mesh, axis: str) -> Blocks:
    """`blocks_of` the rows that each device holds, whose ids are their places there, from 1: `[n K …]`."""
    devices, cut = mesh.shape[axis], pieces_of(row, dim)
    own = (row % devices == device for device in range(devices))
    each = [blocks_of(row[mine] // devices + 1, other[mine], cut) for mine in own]

    def stacked(*leaves: np.ndarray) -> np.ndarray:
        most = np.max([leaf.shape for leaf in leaves], axis=0)
        return np.stack([np.pad(leaf, [(0, n) for n in most - leaf.shape]) for leaf in leaves])

    return sharding.spread(jax.tree.map(stacked, *each), mesh, axis)


def _spread_half(solve: Solver, routes: Sequence[sharding.Route], mesh: Mesh, axis: str) -> Any:
    """`half` of tables that are spread over devices; beside its vectors, how many ids found no place."""
    spec, everywhere = PartitionSpec(axis), PartitionSpec()

    @full_precision
    def half(fixed: Array, start: Array, blocks: Blocks, weights: Weights, others: int) -> Any:
        ids, width = blocks.others[0, 0].size, fixed.shape[-1]
        route = sharding.cheapest(routes, ids, width, mesh.shape[axis])

        def local(fixed: Array, start: Array, blocks: Blocks, weights: Weights) -> tuple[Array, Array]:
            start, blocks = jnp.pad(start[0], ((1, 0), (0, 0))), jax.tree.map(lambda leaf: leaf[0], blocks)
            every = weights.unobserved * jax.lax.psum(fixed[0].T @ fixed[0], axis)

            def solved(block: Blocks) -> tuple[Array, Array]:
                ids = jnp.where(block.others > 0, block.others, -1).ravel()
                (found,) = sharding.together([route.fetch(fixed[0], ids, axis)], axis)
                seen = found.rows.reshape(*block.others.shape, width)
                return _solved(seen, others, every, start, block, weights, solve), found.overflow

            vectors, overflow = jax.lax.map(solved, blocks)
            return _placed([vectors], start, [blocks.ids])[None, 1:], jax.lax.psum(overflow.sum(), axis)

        places = {"in_specs": (spec, spec, spec, everywhere), "out_specs": (spec, everywhere)}
        return jax.shard_map(local, mesh=mesh, **places, check_vma=False)(fixed, start, blocks, weights)

    return half


def _solved(
    seen: Array, others: int, every: Array, start: Array, block: Blocks, weights: Weights, solve: Solver
) -> Array:
    """The vectors of a block's rows, of those that they interacted with."""
    count = jax.ops.segment_sum((block.others > 0).sum(1), block.row, len(block.ids))
    systems = Systems(seen, jnp.asarray(block.row), every, penalty(count, others, weights))
    return solve(systems, start[block.ids])


@jax.jit
def _placed(vectors: Sequence[Array], start: Array, ids: Sequence[Array]) -> Array:
    """The vectors of all rows of the ids, all others and that of 0 being 0."""
    rows = jnp.concatenate([part.ravel() for part in ids])
    values = jnp.concatenate([part.reshape(-1, start.shape[1]) for part in vectors])
    return jnp.zeros_like(start).at[rows].set(values).at[0].set(0.0)
