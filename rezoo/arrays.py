"""Helpers for arrays, of general use: checks of shapes, ranges, searches, the best of a row.

`offsets_of`, `ranges` and `distinct_pairs` are NumPy's, for the host; `across` is of both kinds; the others
are JAX's.

The checks look at shapes only: they work under `jit` and `vmap`, where they run once, while the function is
traced. `chex.disable_asserts()` turns those of shapes off.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from rezoo.devices.backend import pick
from rezoo.devices.meshes import lookup
from rezoo.errors import DataError

AnyArray = TypeVar("AnyArray", Array, np.ndarray)
BLOCK = 2**16
"""Weights of a block of `Cumulative`."""


def at_least_float32(dtype: Any) -> Any:
    """The type in which sums of numbers of this type are computed.

    >>> at_least_float32(jnp.bfloat16).name, at_least_float32(jnp.float64).name
    ('float32', 'float64')
    """
    return jnp.promote_types(dtype, jnp.float32)


def products(axes: str, a: Float[Array, " ..."], b: Float[Array, " ..."]) -> Float[Array, " ..."]:
    """`jnp.einsum` of two arrays, summed in float32 at least.

    >>> products("bd,nd->bn", jnp.ones((1, 3), jnp.bfloat16), jnp.ones((2, 3), jnp.bfloat16)).dtype.name
    'float32'
    """
    return jnp.einsum(axes, a, b, preferred_element_type=at_least_float32(a.dtype))


def softmax(score: Float[Array, " *S N"], where: Bool[Array, " *W"] | None = None) -> Float[Array, " *S N"]:
    """`jax.nn.softmax` over the last axis, computed in float32 at least, in the type of the scores.

    Among those of `where`, if it is given: 0 for all others, and for all where there is none.

    >>> softmax(jnp.zeros(4, jnp.bfloat16)).dtype.name
    'bfloat16'
    >>> softmax(jnp.zeros((2, 2)), where=jnp.array([[True, False], [False, False]])).tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """
    if where is not None:
        return jnp.where(where, softmax(jnp.where(where, score, -1e9)), 0.0)
    return jax.nn.softmax(score.astype(at_least_float32(score.dtype))).astype(score.dtype)


def same_shape(**arrays: Any) -> None:
    """Check that arrays match element by element; those that are None are left out.

    Without the check, `[n]` and `[n, 1]` would be broadcast to `[n, n]`, and the result would be wrong.

    Raises:
      ValueError: if their shapes differ.

    >>> same_shape(score=jnp.zeros(3), label=jnp.zeros((3, 1)))
    Traceback (most recent call last):
    ValueError: shapes differ: score [3], label [3, 1]; give all of them one shape, such as by reshape(-1)
    """
    _check(chex.assert_equal_shape, arrays, "give all of them one shape, such as by reshape(-1)")


def same_lists(**arrays: Any) -> None:
    """Check that arrays differ in their last axis only: `[*B N]` and `[*B T]`.

    Raises:
      ValueError: if another axis differs.

    >>> same_lists(score=jnp.zeros((2, 9)), target=jnp.zeros((1, 3)))
    Traceback (most recent call last):
    ValueError: shapes differ: score [2, 9], target [1, 3]; give all axes but the last the same lengths
    """

    def check(leaves: Sequence[Any]) -> None:
        chex.assert_equal_rank(leaves)
        chex.assert_equal_shape_prefix(leaves, -1)

    _check(check, arrays, "give all axes but the last the same lengths")


def same_rows(**trees: Any) -> None:
    """Check that all arrays of some trees have the same number of rows, such as those of a query.

    Raises:
      ValueError: if the lengths of their first axes differ.

    >>> same_rows(query={"user": jnp.zeros(1), "age": jnp.zeros(3)}, item=jnp.zeros(3))
    Traceback (most recent call last):
    ValueError: shapes differ: query['age'] [3], query['user'] [1], item [3]; give all the same number of rows
    """
    check = partial(chex.assert_equal_shape_prefix, prefix_len=1)
    _check(check, trees, "give all the same number of rows")


def one_axis(**arrays: Any) -> None:
    """Check that arrays are `[n]`.

    Raises:
      ValueError: if one of them has fewer or more axes.

    >>> one_axis(popularity=jnp.zeros((3, 1)))
    Traceback (most recent call last):
    ValueError: wrong number of axes: popularity [3, 1]; give one axis, such as by reshape(-1)
    """
    check = partial(chex.assert_rank, expected_ranks=1)
    _check(check, arrays, "give one axis, such as by reshape(-1)", "wrong number of axes")


def at_least_1(**numbers: int | None) -> None:
    """Check lengths of lists and other counts; None and traced numbers are left out.

    Raises:
      ValueError: if one of them is no whole number, or below 1.

    >>> at_least_1(k=0)
    Traceback (most recent call last):
    ValueError: k = 0: give 1 or more, a whole number
    """
    _whole(1, numbers)


def whole_at_least_0(**numbers: int | None) -> None:
    """Check counts that may be 0; None and traced numbers are left out.

    Raises:
      ValueError: if one of them is no whole number, or below 0.

    >>> whole_at_least_0(num_epochs=-1)
    Traceback (most recent call last):
    ValueError: num_epochs = -1: give 0 or more, a whole number
    """
    _whole(0, numbers)


def _whole(least: int, numbers: Mapping[str, Any]) -> None:
    for name, number in numbers.items():
        if number is None or isinstance(number, Tracer):
            continue
        try:
            fits = not isinstance(number, bool) and operator.index(number) >= least
        except TypeError:
            fits = False
        if not fits:
            raise ValueError(f"{name} = {number}: give {least} or more, a whole number")


def finite(**numbers: float | Array | None) -> None:
    """Check exponents and other numbers of either sign; None and traced numbers are left out.

    Raises:
      ValueError: if one of them is infinite or NaN.

    >>> finite(alpha=float("inf"))
    Traceback (most recent call last):
    ValueError: alpha = inf: give a finite number
    """
    _all(numbers, np.isfinite, "a finite number")


def above_0(**numbers: float | Array | None) -> None:
    """Check scales and what else may not vanish; None and traced numbers are left out.

    Raises:
      ValueError: if one of them is 0 or less, infinite or NaN.

    >>> above_0(stddev=0.0)
    Traceback (most recent call last):
    ValueError: stddev = 0.0: give a finite number above 0
    """
    _all(numbers, lambda number: (number > 0) & np.isfinite(number), "a finite number above 0")


def at_least_0(**numbers: float | int | Array | np.ndarray | None) -> None:
    """Check weights and other finite numbers; None and traced numbers are left out.

    Raises:
      ValueError: if one of them is below 0, infinite or NaN.

    >>> at_least_0(l2=float("nan"))
    Traceback (most recent call last):
    ValueError: l2 = nan: give a finite number of 0 or more
    """
    _all(numbers, lambda number: (number >= 0) & np.isfinite(number), "a finite number of 0 or more")


def shares(**numbers: float | Array | None) -> None:
    """Check shares and probabilities; None and traced numbers are left out.

    Raises:
      ValueError: if one of them is below 0, above 1 or NaN.

    >>> shares(head=80.0)
    Traceback (most recent call last):
    ValueError: head = 80.0: give a share from 0 to 1
    """
    _all(numbers, lambda number: (number >= 0) & (number <= 1), "a share from 0 to 1")


def below_1(**numbers: float | Array | None) -> None:
    """Check shares that may not be the whole, such as what is kept; None and traced numbers are left out.

    Raises:
      ValueError: if one of them is below 0, 1 or more, or NaN.

    >>> below_1(decay=1.0)
    Traceback (most recent call last):
    ValueError: decay = 1.0: give a share from 0 to below 1
    """
    _all(numbers, lambda number: (number >= 0) & (number < 1), "a share from 0 to below 1")


def _all(numbers: Mapping[str, Any], holds: Callable[[np.ndarray], Any], wanted: str) -> None:
    for name, number in numbers.items():
        if number is not None and not isinstance(number, Tracer) and not np.all(holds(np.asarray(number))):
            raise ValueError(f"{name} = {number}: give {wanted}")


def in_table(name: str, ids: Any, rows: int) -> None:
    """Check that a table of so many rows, 0 included, has those of some dense ids; traced ones are left out.

    Raises:
      ValueError: if it has not; it names the largest id.

    >>> in_table("user", np.array([2, 7]), 5)
    Traceback (most recent call last):
    ValueError: user 7 is beyond num_users=5, which counts 0 too: give more
    """
    if not isinstance(ids, Tracer) and (most := np.max(np.asarray(ids), initial=0)) >= rows:
        raise ValueError(f"{name} {most} is beyond num_{name}s={rows}, which counts 0 too: give more")


def int32_of(name: str, values: Any) -> Int[Array | np.ndarray, " ..."]:
    """`values` as int32, where no number is altered by that.

    Raises:
      DataError: if they are no array of whole numbers within int32.

    >>> int32_of("user", [2.0, 5.0]).tolist()
    [2, 5]
    >>> int32_of("user", [2**32 + 5])
    Traceback (most recent call last):
    rezoo.errors.DataError: user has 4294967301, which is beyond int32: give dense ids, such as those of a log
    """
    if isinstance(values, Tracer) or (isinstance(values, jax.Array) and values.dtype == jnp.int32):
        return values.astype(jnp.int32)
    try:
        array = np.asarray(values)
    except ValueError:
        raise DataError(f"{name} has rows of several lengths: fill them up with 0 at the end") from None
    if array.dtype == np.int32:
        return array
    if array.dtype.kind not in "biuf" and array.size:
        raise DataError(f"{name} is {array.dtype}: give dense ids, such as those of a log")
    with np.errstate(invalid="ignore"):
        made = array.astype(np.int32)
    if (other := array[made != array]).size:
        what = "not a whole number" if other[0] != np.trunc(other[0]) else "beyond int32"
        raise DataError(f"{name} has {other[0]}, which is {what}: give dense ids, such as those of a log")
    return made


def ids_of(**given: Any) -> list[Any]:
    """Columns of ids by `int32_of`, None as it is.

    Raises:
      DataError: if one is no array of whole numbers within int32, which JAX would cut to other ids.

    >>> ids_of(user=[2.0, 5.0], exclude=None)
    [array([2, 5], dtype=int32), None]
    """
    return [None if ids is None else int32_of(name, ids) for name, ids in given.items()]


def _check(
    check: Callable[[Sequence[Any]], None], trees: dict[str, Any], advice: str, wrong: str = "shapes differ"
) -> None:
    """`check` of all arrays; its error as one that names each array and says what to do."""
    try:
        check(jax.tree.leaves(list(trees.values())))
    except AssertionError:
        shapes = [
            f"{name}{jax.tree_util.keystr(path)} {list(leaf.shape)}"
            for name, tree in trees.items()
            for path, leaf in jax.tree.leaves_with_path(tree)
        ]
        raise ValueError(f"{wrong}: {', '.join(shapes)}; {advice}") from None


def offsets_of(lengths: np.ndarray) -> np.ndarray:
    """Where each of some sequences starts, laid end to end; at last their whole length."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def ranges(start: np.ndarray, length: np.ndarray) -> np.ndarray:
    """`length[0]` numbers counted up from `start[0]`, then `length[1]` from `start[1]` …"""
    return np.arange(length.sum()) + np.repeat(start - offsets_of(length)[:-1], length)


def distinct_pairs(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of two columns of ids, each once, ascending by the first id and then by the second.

    They are sorted: NumPy's `unique` looks for them in a table of hashes, which takes ten times as long where
    most pairs differ.

    Raises:
      ValueError: if the columns differ in length, or an id is below 0.

    >>> print(*distinct_pairs(np.array([2, 1, 2, 2]), np.array([5, 4, 3, 5])))
    [1 2 2] [4 3 5]
    """
    same_shape(first=first, second=second)
    if min(np.min(first, initial=0), np.min(second, initial=0)) < 0:
        raise ValueError("a pair has an id below 0: leave it out")
    width = int(np.max(second, initial=0)) + 1
    code = np.sort(np.asarray(first, np.int64) * width + second)
    return np.divmod(code[np.diff(code, prepend=-1) > 0], width)


def find(
    offset: Int[Array, " S"],
    column: Int[Array, " M"],
    row: Int[Array, " *B"],
    wanted: Int[Array, " *B"],
    *,
    longest: int | None = None,
) -> Int[Array, " *B"]:
    """Where the pair (row, wanted) stands in `column`, -1 if nowhere; binary search.

    Row r of the S - 1 rows has the columns `column[offset[r]:offset[r + 1]]`, ascending;
    none has more than `longest`, if that is known.

    >>> offset, column = jnp.array([0, 2, 2, 3]), jnp.array([4, 7, 5])
    >>> find(offset, column, jnp.array([0, 1, 2]), jnp.array([7, 4, 5])).tolist()
    [1, -1, 2]
    """
    size = column.shape[0]
    if size == 0:
        return jnp.full(row.shape, -1, jnp.int32)

    def halve(_: Array, span: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = span
        middle = (low + high) // 2
        right = (lookup(column, middle) < wanted) & (low < high)
        return jnp.where(right, middle + 1, low), jnp.where(right, high, middle)

    end = lookup(offset, row + 1)
    span = lookup(offset, row), end
    halvings = (longest or size).bit_length()
    low, _ = jax.lax.fori_loop(0, halvings, halve, span, unroll=pick(cpu=1, accelerator=halvings))
    found = (low < end) & (lookup(column, jnp.minimum(low, size - 1)) == wanted)
    return jnp.where(found, low, -1).astype(jnp.int32)


class Cumulative(NamedTuple):
    """Cumulative sums of weights, in blocks of `BLOCK`: what `draw` looks its places up in."""

    blocks: Float[Array, " S"]
    """Over whole blocks."""
    within: Float[Array, " S K"]
    """Over the weights of each block; the last block is filled up with weights of 0."""


def cumulative(weight: Float[Array, " N"]) -> Cumulative:
    """The sums of these weights."""
    width = min(BLOCK, len(weight))
    within = jnp.cumsum(jnp.pad(weight, (0, -len(weight) % width)).reshape(-1, width), axis=1)
    return Cumulative(jnp.cumsum(within[:, -1]), within)


def draw(key: jax.Array, sums: Cumulative, shape: tuple[int, ...]) -> Int[Array, " ..."]:
    """Places drawn with replacement in proportion to weights, of which the cumulative sums are given.

    A random number of 23 bits cannot tell ten million places apart, so a long list is drawn from in two
    steps: a block, then a place in it.

    >>> int(draw(jax.random.key(0), cumulative(jnp.array([0.0, 3.0, 0.0])), ()))
    1
    """
    count, width = sums.within.shape
    if count == 1:
        return _drawn(key, sums.within[0], shape)
    block_key, key = jax.random.split(key)
    block = _drawn(block_key, sums.blocks, shape)
    point = jax.random.uniform(key, shape, sums.within.dtype) * sums.within[block, -1]

    def halve(n: Array, found: Array) -> Array:
        ahead = found + (width >> (n + 1))
        return jnp.where(sums.within[block, ahead - 1] <= point, ahead, found)

    found = jax.lax.fori_loop(0, width.bit_length() - 1, halve, jnp.zeros(shape, jnp.int32))
    return block * width + found


def _drawn(key: jax.Array, sums: Float[Array, " N"], shape: tuple[int, ...]) -> Int[Array, " ..."]:
    point = jax.random.uniform(key, shape, sums.dtype, maxval=sums[-1])
    method = pick(cpu="scan", accelerator="scan_unrolled")
    return jnp.searchsorted(sums, point.ravel(), side="right", method=method).reshape(shape)


def across(value: AnyArray, like: Any) -> AnyArray:
    """`value` `[*S]` with axes of length 1 after its own, so that it goes along with an array `[*S …]`.

    Such as a value of each row, `[B]`, or a mask of the events of each, `[B L]`; NumPy's or JAX's.

    >>> bias, score = jnp.array([1.0, 2.0]), jnp.zeros((2, 3))
    >>> (across(bias, score) + score).tolist()
    [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]]
    >>> across(np.ones((2, 5)), np.zeros((2, 5, 3, 4))).shape
    (2, 5, 1, 1)
    """
    return value.reshape(*value.shape, *(1,) * (like.ndim - value.ndim))


def best_of(
    item: Int[Array, " B C"], score: Float[Array, " B C"], k: int
) -> tuple[Int[Array, " B k"], Float[Array, " B k"]]:
    """The k best of each query's items, best first; id 0 and score -inf where none is left.

    An item whose score is -inf or NaN is not among them, and k may be more than there are items.
    """
    place, top = best_places(score, k)
    return jnp.where(jnp.isneginf(top), 0, jnp.take_along_axis(item, place, axis=1)), top


def best_places(score: Float[Array, " B C"], k: int) -> tuple[Int[Array, " B k"], Float[Array, " B k"]]:
    """Where the k best of each row's scores are, best first; place 0 and score -inf where none is left."""
    score = jnp.where(jnp.isnan(score), -jnp.inf, score)
    top, place = jax.lax.top_k(score, min(k, score.shape[1]))
    beyond = ((0, 0), (0, k - top.shape[1]))
    place = jnp.pad(jnp.where(jnp.isneginf(top), 0, place), beyond)
    return place, jnp.pad(top, beyond, constant_values=-jnp.inf)
