"""Maps from raw ids to dense ones and back."""

# pyright: reportAttributeAccessIssue=false
# (the functions of pyarrow.compute are made when it is imported)

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike

from rezoo.data import log_columns
from rezoo.data.columns import COLLECTIONS, as_array, plain
from rezoo.data.missing import is_missing
from rezoo.data.place import Place
from rezoo.data.spelling import WHOLE
from rezoo.errors import DataError


class Ids:
    """Raw ids of any type, and the dense ids 1, 2, 3 … that stand for them; 0 is the unknown.

    >>> ids = Ids.fit(np.array(["b", "a", "b"]))
    >>> ids.encode(np.array(["a", "b", "new"])).tolist()
    [2, 1, 0]
    >>> ids.decode(np.array([2, 1])).tolist()
    ['a', 'b']
    """

    def __init__(self, raw: np.ndarray, names: np.ndarray | None = None):
        """`raw[0]` is the raw id of dense id 1, and `names[0]` its name for people, if there are names."""
        self.raw = raw
        self.names = names

    @classmethod
    def fit(cls, raw: ArrayLike, *, by_frequency: bool = False) -> "Ids":
        """Number the distinct ids in the order of their first appearance, or the most frequent ones first.

        Ids that are equally frequent stand in the order of their first appearance. Whole floats are integers.

        Raises:
          DataError: if an id is a fraction or NaN, or neither a number nor a text.

        >>> Ids.fit(["b", "a", "c", "a"], by_frequency=True).raw.tolist()
        ['a', 'b', 'c']
        """
        values = plain(raw)
        if values.dtype.kind not in "biuU" and not all(isinstance(value, str) for value in values.tolist()):
            values = log_columns.ids(values, Place("ids", "raw"))
        kind = str if values.dtype.kind == "O" else values.dtype
        found = pa.array(values).value_counts()
        distinct = found.field("values").to_numpy(zero_copy_only=False).astype(kind)
        if not by_frequency:
            return cls(distinct)
        return cls(distinct[np.argsort(-found.field("counts").to_numpy(), kind="stable")])

    @property
    def size(self) -> int:
        """Rows of a table for these ids: their number and one for the unknown."""
        return len(self.raw) + 1

    def encode(self, raw: ArrayLike) -> np.ndarray:
        """Dense int32 ids, of the shape of `raw`; 0 for what is not known.

        Where these ids are integers, "12", " 12", "12.0" and 12.0 are 12, and "012" is not; where they
        are text, 12 and 12.0 are "12". Blanks around a text count only if the ids have them.
        """
        array = as_array(raw)
        if array.dtype.kind == "O" and len(array) and isinstance(array[0], list | tuple | np.ndarray):
            try:
                array = np.asarray(raw)
            except ValueError:
                raise DataError("ids are lists of different lengths: give them one after the other") from None
        return self._encode(plain(array.ravel())).reshape(array.shape)

    def _encode(self, values: np.ndarray) -> np.ndarray:
        if values.dtype.kind == "O":
            one = next(value for value in values.tolist() if isinstance(value, COLLECTIONS))
            raise DataError(f"an id is a {type(one).__name__}, {one!r}: give a number or a text for each")
        if values.dtype.kind == "f":
            whole = np.isfinite(values) & (values == np.floor(values)) & (np.abs(values) < 2.0**53)
            return np.where(whole, self._encode(np.where(whole, values, 0).astype(np.int64)), 0)
        if values.dtype.kind == "u" and values.max(initial=0) > np.iinfo(np.int64).max:
            values = values.astype(str)
        numbers = self.raw.dtype.kind in "iub"
        if values.dtype.kind not in "UO":
            return self._same(values if numbers else values.astype(str))
        words = pa.array(values, pa.large_string())
        if numbers:
            coded = words.dictionary_encode()
            return self._spelt(coded.dictionary)[coded.indices.to_numpy()]
        dense = self._same(words)
        unknown = dense == 0
        if unknown.any():
            dense[unknown] = self._same(pc.utf8_trim_whitespace(words.filter(pa.array(unknown))))
        return dense

    def _spelt(self, words: pa.Array) -> np.ndarray:
        """Dense ids of the integers that some texts spell, 0 for other texts."""
        found = [WHOLE.fullmatch(word) for word in words.to_pylist()]
        numbers = [int(match[1]) if match and len(match[1]) < 20 else None for match in found]
        fits = np.array([number is not None and -(2**63) <= number < 2**63 for number in numbers], bool)
        whole = np.array([n if fit else 0 for n, fit in zip(numbers, fits, strict=True)], np.int64)
        return np.where(fits, self._same(whole), 0)

    def _same(self, values: np.ndarray | pa.Array) -> np.ndarray:
        """Dense ids of values of the kind of these ids."""
        narrow = self.raw.dtype.kind in "iub" and self.raw.max(initial=0) <= np.iinfo(np.int64).max
        known = pa.array(
            self.raw.astype(np.int64, copy=False) if narrow else self.raw
        )  # so that any integer fits
        dense = np.empty(len(values), np.int32)
        block = max(1 << 20, 4 * self.size)  # so that long columns are not held four times over
        for at in range(0, len(values), block):
            some = values[at : at + block]
            some = (some if isinstance(some, pa.Array) else pa.array(some)).cast(known.type)
            dense[at : at + block] = pc.index_in(some, value_set=known).fill_null(-1).to_numpy() + 1
        return dense

    def finder(self) -> Callable[[Any], int]:
        """A function that does for one id what `encode` does for many, thousands of times faster.

        >>> find = Ids(np.array([7, 5])).finder()
        >>> find(5), find("7"), find("07"), find(7.0), find(None)
        (2, 1, 0, 1, 0)
        """
        place = {raw: n for n, raw in enumerate(self.raw.tolist(), 1)}
        numbers = self.raw.dtype.kind in "iub"

        def find(raw: Any) -> int:
            if isinstance(raw, str) and not numbers:
                return place.get(raw, 0) or place.get(raw.strip(), 0)
            if isinstance(raw, float | np.floating):
                raw = int(raw) if np.isfinite(raw) and raw == np.floor(raw) and abs(raw) < 2.0**53 else None
            if isinstance(raw, bool | np.bool_ | int | np.integer):
                return place.get(int(raw) if numbers else str(raw), 0)
            found = WHOLE.fullmatch(raw) if isinstance(raw, str) else None
            return place.get(int(found[1]), 0) if found and len(found[1]) < 20 else 0

        return find

    def decode(self, dense: ArrayLike) -> np.ndarray:
        """Raw ids, of any shape.

        Raises:
          DataError: if an id is 0 (unknown) or beyond the map.
        """
        dense = np.asarray(dense)
        bad = dense[(dense < 1) | (dense > len(self.raw))]
        if bad.size:
            raise DataError(f"id {bad.flat[0]} has no raw id: dense ids here are 1 … {len(self.raw)}")
        return self.raw[dense - 1]

    def name(self, dense: ArrayLike) -> np.ndarray:
        """The names of dense ids, of any shape; raw ids as text where there are no names.

        Raises:
          DataError: if an id is 0 (unknown) or beyond the map.
        """
        raw = self.decode(dense)
        return raw.astype(str) if self.names is None else self.names[np.asarray(dense) - 1]

    def named(self, dense: np.ndarray, names: ArrayLike) -> "Ids":
        """The same ids with names: of an id the name of its last row, "" where no row has one.

        >>> ids = Ids(np.array([7, 5])).named(np.array([1, 2, 1]), ["te", "cup", "tea"])
        >>> ids.names.tolist(), ids.name([2]).tolist()
        (['tea', 'cup'], ['cup'])
        """
        values = as_array(names)
        given = (dense > 0) & ~is_missing(values)
        own = np.full(self.size, "", object)
        own[dense[given]] = values[given]
        return Ids(self.raw, own[1:].astype(str))

    def only(self, dense: np.ndarray) -> tuple["Ids", np.ndarray]:
        """The map of the ids that occur in `dense`, and for each dense id here its new one.

        >>> ids, new = Ids(np.array(["a", "b", "c"])).only(np.array([3, 0, 1]))
        >>> ids.raw.tolist(), new.tolist()
        (['a', 'c'], [0, 1, 0, 2])
        """
        old = np.unique(dense[dense > 0])
        new = np.zeros(self.size, np.int32)
        new[old] = np.arange(1, len(old) + 1)
        return Ids(self.raw[old - 1], None if self.names is None else self.names[old - 1]), new

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ids) and np.array_equal(self.raw, other.raw)

    __hash__ = None  # type: ignore[assignment]


def dense(values: ArrayLike, place: str, low: int = 1) -> np.ndarray:
    """int32 of ids that are dense already, checked before they are cast: 2³² + 1 must not become 1.

    Raises:
      DataError: if they are not integers, or one is below `low` or beyond int32; `place` is what it calls
        them.

    >>> dense([1, 2], "my ids").dtype
    dtype('int32')
    """
    array = plain(values)
    if array.size == 0:
        return np.zeros(array.shape, np.int32)
    if array.dtype.kind not in "iu":
        raise DataError(f"{place}: ids are of type {array.dtype}; give whole numbers within 64 bits")
    bad = array[(array < low) | (array > np.iinfo(np.int32).max)]
    if bad.size:
        raise DataError(f"{place}: there is the id {bad.flat[0]}; ids are {low} … {np.iinfo(np.int32).max}")
    return array.astype(np.int32)
