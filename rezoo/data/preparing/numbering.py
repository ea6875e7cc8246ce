"""Dense ids of raw ones: what a chunk counts, how counts are merged, and the map or the hash in the end.

A raw id has a key of 64 bits, so that a chunk of a log is numbers from the moment it is read.
"""

# pyright: reportAttributeAccessIssue=false
# (the functions of pyarrow.compute are made when it is imported)

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike

from rezoo.data import log_columns
from rezoo.data.columns import plain
from rezoo.data.missing import is_missing
from rezoo.data.place import Place
from rezoo.data.preparing.groups import groups
from rezoo.errors import DataError


class Counted(NamedTuple):
    """Raw ids, each once."""

    key: np.ndarray
    """int64."""
    raw: pa.Array
    count: np.ndarray
    """int64: rows."""
    first: np.ndarray
    """int64: the first row."""


class Numbers(NamedTuple):
    """Dense ids by key."""

    key: np.ndarray
    """int64, ascending."""
    dense: np.ndarray
    """int32."""


class Hashed(NamedTuple):
    """In the place of `Ids` where ids are numbered by a hash: all are known, and some share a number."""

    slots: int
    kind: str
    """Of the raw ids of the log: "int64" or "large_string"."""

    @property
    def size(self) -> int:
        """Rows of a table for these ids: one for each slot, and one for the unknown."""
        return self.slots + 1

    def encode(self, raw: ArrayLike) -> np.ndarray:
        """Dense int32 ids `[n]`; 0 where one is missing.

        Raises:
          DataError: if the log has integers and one of these is none.

        >>> Hashed(1000, "int64").encode([1, 2, 1]).tolist()
        [466, 111, 466]
        """
        values = plain(raw)
        missing = is_missing(values)
        try:
            words = pa.array(values[~missing]).cast(pa.type_for_alias(self.kind))
        except pa.ArrowException as error:
            raise DataError(f"the ids of the log are {self.kind}: {error}") from error
        dense = np.zeros(len(values), np.int32)
        dense[~missing] = slot(keys(words), self.slots)
        return dense


class Collisions(NamedTuple):
    """What hashing mixes up."""

    ids: int
    """Distinct raw ids."""
    shared: int
    """Those that share their slot with another."""
    rows: int
    """Rows of the shared ones."""

    @property
    def rate(self) -> float:
        """The share of ids that are not told apart from another."""
        return self.shared / max(self.ids, 1)


def keys(raw: pa.Array) -> np.ndarray:
    """int64 `[n]`: integers themselves, and of text a BLAKE2b digest of 64 bits of its UTF-8.

    >>> keys(pa.array([7, 9])).tolist(), keys(pa.array(["ann"])).tolist()
    ([7, 9], [-6488803333072012659])
    """
    if pa.types.is_integer(raw.type):
        return raw.to_numpy()
    words = raw.cast(pa.large_binary()).to_pylist()
    digests = b"".join(hashlib.blake2b(word, digest_size=8).digest() for word in words)
    return np.frombuffer(digests, "<i8").astype(np.int64)


def counted(
    values: np.ndarray, code: np.ndarray, row: np.ndarray, kind: pa.DataType, place: Place
) -> tuple[np.ndarray, Counted]:
    """The key of each of a chunk's rows, and the distinct ids with their counts.

    Args:
      values: distinct raw ids.
      code: of each row, which of them it has.
      row: its number in the log.
      kind: the type of the ids.
      place: the column, for errors.

    Raises:
      DataError: as `log_columns.ids`, or if an integer is beyond 64 bits.

    >>> key, found = counted(np.array([7, 5]), np.array([0, 1, 0]), np.array([1, 2, 3]), pa.int64(), Place())
    >>> key.tolist(), found.raw.to_pylist(), found.count.tolist(), found.first.tolist()
    ([7, 5, 7], [7, 5], [2, 1], [1, 2])
    """
    count, first = np.bincount(code, minlength=len(values)), np.zeros(len(values), np.int64)
    first[code[::-1]] = row[::-1]  # the last one that is written is the first row
    there = np.flatnonzero(count)
    count, first = count[there], first[there]
    ids = log_columns.ids(values[there], place._replace(row=first))
    try:
        raw = pa.array(ids).cast(kind)
    except pa.ArrowException as error:
        raise DataError(f"{place}: an id is beyond 64 bits ({error}); give the ids as text") from error
    key = np.zeros(len(values), np.int64)
    key[there] = keys(raw)
    return key[code], Counted(key[there], raw, count, first)


def by_bucket(one: Any, role: str, slots: int, buckets: int) -> Iterator[tuple[int, Counted]]:
    """Counts of a chunk as it was read, by bucket. Ids that share a slot are in one bucket."""
    found = one.ids[role]
    for bucket, index in groups(slot(found.key, slots or 2**31 - 1) % buckets):
        yield bucket, Counted(found.key[index], found.raw.take(index), found.count[index], found.first[index])


def merge(pieces: Iterable[Counted]) -> Counted:
    """Sums of counts, ordered by key.

    Raises:
      DataError: if two texts have one key.

    >>> parts = [Counted(np.array([5]), pa.array([5]), np.array([1]), np.array([row])) for row in (3, 1)]
    >>> merge(parts).count.tolist(), merge(parts).first.tolist()
    ([2], [1])
    """
    every = list(pieces)
    key, count, first = (np.concatenate([piece[n] for piece in every]) for n in (0, 2, 3))
    order = np.lexsort((first, key))
    key, count, first = key[order], count[order], first[order]
    raw = pa.concat_arrays([piece.raw for piece in every]).take(pa.array(order))
    again = key[1:] == key[:-1]
    if len(other := np.flatnonzero(again & ~np.asarray(pc.equal(raw[1:], raw[:-1])).astype(bool))):
        one, two = raw[int(other[0])].as_py(), raw[int(other[0]) + 1].as_py()
        raise DataError(f"the ids {one!r} and {two!r} have the same 64-bit key: number the ids")
    start = np.flatnonzero(np.concatenate([[True], ~again])[: len(key)])
    summed = np.add.reduceat(count, start) if len(start) else count
    return Counted(key[start], raw.take(pa.array(start)), summed, first[start])


def in_order(by_frequency: bool, pieces: Iterable[Counted]) -> tuple[Numbers, pa.Array]:
    """Dense ids 1, 2 … of all ids, and their raw ids in that order, as `Ids.fit` numbers them.

    >>> raw, rows = pa.array(["b", "a"]), np.array([1, 2])
    >>> found = Counted(keys(raw), raw, count=rows, first=rows)
    >>> numbers, raw = in_order(True, [found])
    >>> encode(numbers, keys(pa.array(["b", "a"]))).tolist(), raw.to_pylist()
    ([2, 1], ['a', 'b'])
    """
    none = np.zeros(0, np.int64)
    found = list(pieces) or [Counted(none, pa.array([], pa.int64()), none, none)]
    every = merge(found)
    order = np.lexsort((every.first, -every.count) if by_frequency else (every.first,))
    if len(order) >= np.iinfo(np.int32).max:
        raise DataError(f"there are {len(order):,} ids, more than int32 holds: give Plan(user_slots=…)")
    dense = np.empty(len(order), np.int32)
    dense[order] = np.arange(1, len(order) + 1)
    return Numbers(every.key, dense), every.raw.take(pa.array(order))


def encode(numbers: Numbers | int, key: np.ndarray) -> np.ndarray:
    """int32 dense ids of keys that were counted, by their map, or by a hash of so many slots."""
    if isinstance(numbers, int):
        return slot(key, numbers)
    return numbers.dense[np.searchsorted(numbers.key, key)]


def slot(key: np.ndarray, slots: int) -> np.ndarray:
    """int32 1 … `slots` of keys, by the finalizer of SplitMix64 (https://doi.org/10.1145/2660193.2660195).

    >>> slot(np.array([1, 2, 1]), 1000).tolist()
    [466, 111, 466]
    """
    bits = key.view(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (1 + (bits ^ (bits >> np.uint64(31))) % np.uint64(slots)).astype(np.int32)


def collisions(found: Counted, slots: int) -> Collisions:
    """Of the ids of one bucket that was merged.

    >>> ids = np.arange(3)
    >>> collisions(Counted(ids, pa.array(ids), ids + 1, ids), slots=1)
    Collisions(ids=3, shared=3, rows=6)
    """
    _, place, number = np.unique(slot(found.key, slots), return_inverse=True, return_counts=True)
    shared = number[place] > 1
    return Collisions(len(found.key), int(shared.sum()), int(found.count[shared].sum()))


def added(many: Iterable[Collisions]) -> Collisions:
    """Of all buckets."""
    total = np.array([(0, 0, 0), *many]).sum(axis=0)
    return Collisions(*total.tolist())
