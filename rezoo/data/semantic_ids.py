"""Items as short rows of digits that tell what they are like: semantic ids, for models that write an item.

Rajput et al.: Recommender Systems with Generative Retrieval, NeurIPS 2023, https://arxiv.org/abs/2305.05065,
section 3.1. A vector of an item's content is rounded to the nearest of some centres, the rest of it to the
nearest of others, and so on: the numbers of the centres are the first digits. One more digit tells apart the
items that have all of them in common.

    books = semantic_ids.fit(vectors[seen], levels=3, size=64, key=key)  # centres, from known items
    catalogue = semantic_ids.catalogue(books, vectors, room=256)         # {"code": [N 4]}
    trie = semantic_ids.trie(catalogue["code"])                          # of the items that there are

The centres are those of k-means of what the levels before left (residual k-means, one of the quantisers that
the paper compares its own with, which is `data.rq_vae`). A new item is rounded by the same centres, so that
it needs no training, and its last digit is the first that is free: the codes of the items before it stay.

Digits count from 1; 0 is a digit of the unknown item alone.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from rezoo.arrays import at_least_1, offsets_of
from rezoo.errors import DataError

Vectors = Float[Array | np.ndarray, " *S"]
"""A row for each item, `[n V]`."""
Codes = Int[np.ndarray, " N D"]


def fit(
    vectors: Vectors, levels: int, size: int, key: Key[Array, ""], *, iterations: int = 50
) -> Float[Array, " levels size V"]:
    """The centres of each level, by k-means of what the levels before left of the vectors.

    The first centres are drawn as k-means++ does (Arthur and Vassilvitskii 2007). A centre that no vector is
    nearest to stays where it was.

    Args:
      vectors: of items to learn from.
      levels: digits, without the one that tells equal items apart.
      size: centres of each level.
      key: of the first centres.
      iterations: of Lloyd's algorithm.

    Raises:
      DataError: if there are fewer vectors than centres, or one of them has a number that is not finite.
      ValueError: if there are no levels or centres.

    >>> vectors = np.array([[0.0, 0.0], [0.0, 1.0], [8.0, 0.0], [8.0, 1.0]])
    >>> books = fit(vectors, 2, 2, jax.random.key(0))
    >>> sorted(books[0].tolist()), sorted(books[1].tolist())
    ([[0.0, 0.5], [8.0, 0.5]], [[0.0, -0.5], [0.0, 0.5]])
    """
    at_least_1(levels=levels, size=size)
    rows = checked(vectors)
    if len(rows) < size:
        raise DataError(f"size = {size} centres of {len(rows)} vectors: give size={len(rows)} or less")
    return _fit(jnp.asarray(rows), key, levels=levels, size=size, iterations=iterations)


@partial(jax.jit, static_argnames=("levels", "size", "iterations"))
def _fit(vectors: Array, key: Array, *, levels: int, size: int, iterations: int) -> Array:
    def level(left: Array, key: Array) -> tuple[Array, Array]:
        centres = _first_centres(left, size, key)
        centres = jax.lax.fori_loop(0, iterations, lambda _, centres: _moved(left, centres), centres)
        return left - centres[_nearest(left, centres)], centres

    return jax.lax.scan(level, vectors, jax.random.split(key, levels))[1]


def _first_centres(vectors: Array, size: int, key: Array) -> Array:
    """k-means++: each is a vector, drawn by its squared distance to the nearest of those before it."""

    def draw(nearest: Array, key: Array) -> tuple[Array, Array]:
        centre = vectors[jax.random.categorical(key, jnp.log(nearest))]
        return jnp.minimum(nearest, jnp.square(vectors - centre[None]).sum(1)), centre

    return jax.lax.scan(draw, jnp.ones(len(vectors)), jax.random.split(key, size))[1]


def _nearest(vectors: Array, centres: Array) -> Array:
    """|c|² - 2⟨x, c⟩ has its minimum where |x - c|² has.

    Both are seen from the centres' middle, as far from 0 rounding hides how squares differ.
    """
    middle = centres.mean(0)[None]
    x, c = vectors - middle, centres - middle
    return jnp.argmin(jnp.square(c).sum(1)[None] - 2 * x @ c.T, axis=1)


def _moved(vectors: Array, centres: Array) -> Array:
    """Each centre in the mean of the vectors that it is nearest to."""
    of = _nearest(vectors, centres)
    total = jnp.zeros_like(centres).at[of].add(vectors)
    count = jnp.zeros(len(centres)).at[of].add(1.0)[:, None]
    return jnp.where(count > 0, total / jnp.maximum(count, 1.0), centres)


def assign(
    books: Float[Array | np.ndarray, " levels size V"], vectors: Vectors
) -> Int[np.ndarray, " n levels"]:
    """The digits of each vector, from 1: the nearest centre of each level, of what those before left.

    Raises:
      DataError: if there are no vectors, they have another width than the centres, or one has a number that
        is not finite.

    >>> books = np.array([[[0.0], [8.0]], [[-1.0], [1.0]]], np.float32)
    >>> assign(books, np.array([[9.1], [0.5], [-2.0]])).tolist()
    [[2, 2], [1, 2], [1, 1]]
    """
    rows = checked(vectors)
    if rows.shape[1] != books.shape[2]:
        raise DataError(
            f"vectors of width {rows.shape[1]}, centres of {books.shape[2]}: give those of one fit"
        )
    return 1 + np.asarray(_nearest_digits(jnp.asarray(books), jnp.asarray(rows)), np.int32).T


def nearest_digits(
    books: Float[Array, " levels size V"], vectors: Float[Array, " n V"]
) -> Int[Array, " levels n"]:
    """The centre of each level that is nearest to what those before left, from 0.

    >>> nearest_digits(jnp.array([[[0.0], [8.0]], [[-1.0], [1.0]]]), jnp.array([[9.1], [0.5]])).tolist()
    [[1, 0], [1, 1]]
    """

    def level(left: Array, centres: Array) -> tuple[Array, Array]:
        digit = _nearest(left, centres)
        return left - centres[digit], digit

    return jax.lax.scan(level, vectors, books)[1]


_nearest_digits = jax.jit(nearest_digits)


def checked(vectors: Vectors) -> Float[np.ndarray, " n V"]:
    """The vectors in float32.

    Raises:
      DataError: if they are not a row for each item, or one of them has a number that is not finite.

    >>> checked(np.array([[1.0, 2.0]])).dtype.name
    'float32'
    """
    rows = np.asarray(vectors, np.float32)
    if rows.ndim != 2 or 0 in rows.shape:
        raise DataError(f"vectors {list(rows.shape)}: give a row of numbers for each item, [n V]")
    if len(bad := np.flatnonzero(~np.isfinite(rows).all(axis=1))):
        raise DataError(
            f"vectors, row {bad[0]} has a number that is not finite, as have {len(bad)} rows in all: "
            "leave these items out, or fill in what is missing"
        )
    return rows


def numbered(codes: Codes, room: int) -> Int[np.ndarray, " N E"]:
    """The codes with one more digit: how many rows before have the same one, and 1.

    Args:
      codes: rows of digits from 1; a row of 0 stays one.
      room: the largest digit.

    Raises:
      DataError: if more rows than that have a code in common.

    >>> numbered(np.array([[0, 0], [4, 1], [4, 2], [4, 1]]), room=2).tolist()
    [[0, 0, 0], [4, 1, 1], [4, 2, 1], [4, 1, 2]]
    """
    codes = np.asarray(codes, np.int32)
    of = np.unique(codes, axis=0, return_inverse=True)[1].reshape(-1)
    order = np.argsort(of, kind="stable")
    starts = offsets_of(np.bincount(of))[:-1]
    last = np.empty(len(codes), np.int32)
    last[order] = 1 + np.arange(len(codes)) - starts[of[order]]
    last = np.where(codes.any(axis=1), last, 0)
    if last.max(initial=0) > room:
        row = int(last.argmax())
        raise DataError(
            f"{last[row]} items have the code {codes[row].tolist()}, and there is room for {room}: give "
            f"room={last[row]} or more, more levels, or centres that tell more of them apart"
        )
    return np.concatenate([codes, last[:, None]], axis=1).astype(np.int32)


def catalogue(
    books: Float[Array | np.ndarray, " levels size V"], vectors: Float[Array | np.ndarray, " N V"], room: int
) -> dict[str, Int[np.ndarray, " N D"]]:
    """The collection `catalogue` of models that write codes: a row of digits for each item id, each its own.

    Args:
      books: as `fit` made them.
      vectors: by item id; row 0, the unknown's, is not read, and its digits are 0.
      room: items that may have all digits but the last in common.

    Raises:
      DataError: as of `assign` and `numbered`.

    >>> books = np.array([[[0.0], [8.0]]], np.float32)
    >>> catalogue(books, np.array([[np.nan], [7.0], [9.0], [1.0]]), room=2)["code"].tolist()
    [[0, 0], [2, 1], [2, 2], [1, 1]]
    """
    digits = assign(books, np.asarray(vectors)[1:])
    return {"code": numbered(np.pad(digits, ((1, 0), (0, 0))), room)}


class Trie(NamedTuple):
    """The codes that there are, digit by digit.

    Node n of a level has the children `offset[n]` to `offset[n + 1]` of the next one, in the order of their
    digits. The root is node 0 of level 0.
    """

    offset: tuple[Int[np.ndarray, " nodes"], ...]
    """Of each level, where the children of each node begin; at last how many there are."""
    digit: tuple[Int[np.ndarray, " children"], ...]
    """Of each level, the digits of its nodes' children."""
    item: Int[np.ndarray, " leaves"]
    """Whose code ends in each child of the last level."""
    leaf: Int[np.ndarray, " N"]
    """Where the code of each item ends; -1 for one without a code."""
    parent: Int[np.ndarray, " leaves"]
    """The node that each leaf is a child of."""


def trie(code: Codes) -> Trie:
    """The trie of a column `code` of `catalogue`; items with a digit 0 are not in it.

    Raises:
      DataError: if two items have one code, or none has any.

    >>> made = trie(np.array([[0, 0], [2, 1], [2, 3], [1, 1]]))
    >>> [digits.tolist() for digits in made.digit], made.item.tolist()
    ([[1, 2], [1, 1, 3]], [3, 1, 2])
    """
    code = np.asarray(code, np.int32)
    item = np.flatnonzero((code > 0).all(axis=1)).astype(np.int32)
    if not len(item):
        raise DataError("no item has a code: digits count from 1")
    item = item[np.lexsort(code[item].T[::-1])]
    rows, node, offset, digit = code[item], np.zeros(len(item), np.int32), [], []
    parent, begins = node, np.arange(len(item)) == 0
    for column in rows.T:
        begins = begins | (np.diff(column, prepend=column[:1]) != 0)
        parent, node = node, np.cumsum(begins).astype(np.int32) - 1
        offset.append(offsets_of(np.bincount(parent[begins])).astype(np.int32))
        digit.append(column[begins])
    if not begins.all():
        at = int(np.flatnonzero(~begins)[0])
        raise DataError(
            f"items {item[at - 1]} and {item[at]} have the code {rows[at].tolist()}: "
            "add a digit by `numbered`"
        )
    leaf = np.full(len(code), -1, np.int32)
    leaf[item] = np.arange(len(item))
    return Trie(tuple(offset), tuple(digit), item, leaf, parent)
