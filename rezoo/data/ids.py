"""Maps from raw ids to dense ones and back."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike

from rezoo.data.errors import DataError
from rezoo.data.raw import plain


class Ids:
    """Raw ids of any type, and the dense ids 1, 2, 3 … that stand for them; 0 is the unknown.

    >>> ids = Ids.fit(np.array(["b", "a", "b"]))
    >>> ids.encode(np.array(["a", "b", "new"])).tolist()
    [2, 1, 0]
    >>> ids.decode(np.array([2, 1])).tolist()
    ['a', 'b']
    """

    def __init__(self, raw: np.ndarray):
        """`raw[0]` is the raw id of dense id 1."""
        self.raw = raw

    @classmethod
    def fit(cls, raw: ArrayLike) -> "Ids":
        """Number the distinct ids in the order in which they first come."""
        values = plain(raw)
        return cls(pa.array(values).unique().to_numpy(zero_copy_only=False).astype(values.dtype))

    @property
    def size(self) -> int:
        """Rows of a table for these ids: their number and one for the unknown."""
        return len(self.raw) + 1

    def encode(self, raw: ArrayLike) -> np.ndarray:
        """Dense int32 ids; 0 for what is not known. Numbers and text are compared as text."""
        values = plain(raw)
        if (values.dtype.kind == "U") != (self.raw.dtype.kind == "U"):
            return Ids(self.raw.astype(str)).encode(values.astype(str))
        if values.dtype.kind == "f":
            whole = values == np.floor(values)
            return np.where(whole, self.encode(np.where(whole, values, 0).astype(np.int64)), 0).astype(
                np.int32
            )
        known, flat = pa.array(self.raw), values.ravel()
        dense = np.empty(flat.shape, np.int32)
        block = max(1 << 20, 4 * self.size)  # so that long columns are not held four times over
        for at in range(0, len(flat), block):
            some = pa.array(flat[at : at + block]).cast(known.type)
            place = pc.index_in(some, value_set=known)  # pyright: ignore[reportAttributeAccessIssue]
            dense[at : at + block] = place.fill_null(-1).to_numpy() + 1
        return dense.reshape(values.shape)

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

    def only(self, dense: np.ndarray) -> tuple["Ids", np.ndarray]:
        """The map of those ids alone that occur in `dense`, and for each dense id here its new one.

        >>> ids, new = Ids(np.array(["a", "b", "c"])).only(np.array([3, 0, 1]))
        >>> ids.raw.tolist(), new.tolist()
        (['a', 'c'], [0, 1, 0, 2])
        """
        old = np.unique(dense[dense > 0])
        new = np.zeros(self.size, np.int32)
        new[old] = np.arange(1, len(old) + 1)
        return Ids(self.raw[old - 1]), new

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ids) and np.array_equal(self.raw, other.raw)

    __hash__ = None  # type: ignore[assignment]
