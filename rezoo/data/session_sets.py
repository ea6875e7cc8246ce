"""Session data sets of the literature: published training sessions and test prefixes.

Diginetica and Yoochoose 1/64 as SR-GNN (Wu 2019, https://arxiv.org/abs/1811.00855) prepared them; the files
stand in the repositories of many papers, such as the one of `URL`.
"""

import pickle
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rezoo.data import folders
from rezoo.data.errors import DataError
from rezoo.data.sessions import Sessions, offsets_of

URL = "https://github.com/CCIIPLab/GCE-GNN/tree/master/datasets"
ARRAYS = ("train_items", "train_offsets", "test_items", "test_offsets", "test_labels")


class SessionSet(NamedTuple):
    """A session data set of the literature, as `load` reads it."""

    train: Sessions
    test: Sessions
    """Every prefix of every test session."""
    target: np.ndarray
    """int32: the item that follows each of them."""
    num_items: int
    """Rows of an item table, id 0 included."""


def load(name: str, manual_dir: str | Path | None = None) -> SessionSet:
    """Read `diginetica` or `yoochoose1_64`.

    Args:
      name: of the data set.
      manual_dir: a folder with a subfolder `name` that holds `all_train_seq.txt` and `test.txt` as published,
        or `<name>.npz` of the arrays that `read_npz` wants; the folder that REZOO_DATA names if not given.

    Raises:
      DataError: if the files are not there or damaged.
    """
    archive, text = f"{name}.npz", f"{name}/all_train_seq.txt"
    file = folders.find(archive, text, manual_dir=manual_dir, below=name, source=URL)
    return read_npz(file) if file.name == archive else read_published(file.parent)


def read_published(folder: str | Path) -> SessionSet:
    """Read the pickles `all_train_seq.txt` (sessions) and `test.txt` (prefixes, labels) of a folder.

    Nothing but lists and numbers is unpickled: such a file cannot run code.

    Raises:
      DataError: if a file is not there, damaged, or something else.
    """
    train, test = Path(folder) / "all_train_seq.txt", Path(folder) / "test.txt"
    prefixes, target = _unpickled(test, lambda pair: (_sessions(pair[0]), np.array(pair[1], np.int32)))
    return _checked(folder, _unpickled(train, _sessions), prefixes, target)


def read_npz(path: str | Path) -> SessionSet:
    """Read an npz of `train_items`, `train_offsets`, `test_items`, `test_offsets` and `test_labels`.

    Raises:
      DataError: if the file is not there, damaged, or lacks an array.
    """
    try:
        with open(path, "rb") as raw, np.load(raw) as file:  # NumPy leaks what it opens if it fails
            items, offsets, test_items, test_offsets, target = (file[name] for name in ARRAYS)
    except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not a session file with {', '.join(ARRAYS)} ({error})") from error
    train = Sessions(items.astype(np.int32), offsets.astype(np.int64))
    test = Sessions(test_items.astype(np.int32), test_offsets.astype(np.int64))
    return _checked(path, train, test, target.astype(np.int32))


def _checked(place: str | Path, train: Sessions, test: Sessions, target: np.ndarray) -> SessionSet:
    for part in (train, test):
        if part.offsets[0] != 0 or part.offsets[-1] != len(part.items) or (part.lengths < 0).any():
            raise DataError(f"{place}: the offsets do not fit the items; make the file again")
    if test.num_sessions != len(target):
        raise DataError(f"{place}: {test.num_sessions} test sessions but {len(target)} labels")
    top = max(part.max(initial=0) for part in (train.items, test.items, target))
    return SessionSet(train, test, target, int(top) + 1)


class _Numbers(pickle.Unpickler):
    """Refuses all but numbers, strings, lists, tuples and dicts."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        raise pickle.UnpicklingError(f"it holds {module_name}.{global_name}")


def _unpickled(path: Path, use: Callable[[Any], Any]) -> Any:
    try:
        with open(path, "rb") as file:
            return use(_Numbers(file).load())
    except (OSError, EOFError, IndexError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise DataError(f"{path}: not a file of SR-GNN's sessions ({error}); fetch {URL}") from error


def _sessions(rows: Sequence[Sequence[int]]) -> Sessions:
    items = np.array([item for row in rows for item in row], np.int32)
    return Sessions(items, offsets_of(np.array([len(row) for row in rows])))
