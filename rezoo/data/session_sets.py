"""Session data sets of the literature: published training sessions and test prefixes."""

import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rezoo.data.errors import DataError
from rezoo.data.sessions import Sessions


class SessionSet(NamedTuple):
    """A session data set of the literature, as `load_npz` reads it."""

    train: Sessions
    test: Sessions
    """Every prefix of every test session."""
    target: np.ndarray
    """int32: the item that follows each of them."""
    num_items: int
    """Rows of an item table, id 0 included."""


def load_npz(path: str | Path) -> SessionSet:
    """Read diginetica or yoochoose from an npz of `train_items`, `train_offsets` and `test_*`, `test_labels`.

    Raises:
      DataError: if the file is not there, damaged, or lacks an array.
    """
    names = ("train_items", "train_offsets", "test_items", "test_offsets", "test_labels")
    try:
        with open(path, "rb") as raw, np.load(raw) as file:  # NumPy leaks what it opens if it fails
            items, offsets, test_items, test_offsets, target = (file[name] for name in names)
    except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not a session file with {', '.join(names)} ({error})") from error
    train = Sessions(items.astype(np.int32), offsets.astype(np.int64))
    test = Sessions(test_items.astype(np.int32), test_offsets.astype(np.int64))
    for part in (train, test):
        if part.offsets[0] != 0 or part.offsets[-1] != len(part.items) or (part.lengths < 0).any():
            raise DataError(f"{path}: the offsets do not fit the items; make the file again")
    top = max(part.max(initial=0) for part in (items, test_items, target))
    return SessionSet(train, test, target.astype(np.int32), int(top) + 1)
