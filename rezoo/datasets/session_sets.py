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

from rezoo.arrays import offsets_of
from rezoo.data import contents
from rezoo.data.ids import dense
from rezoo.data.sessions import Sessions
from rezoo.datasets import folders
from rezoo.errors import DataError

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
    """Read `diginetica`, `yoochoose1_64` or any other set in one of the two forms.

    Args:
      name: of the data set.
      manual_dir: a folder with a subfolder `name` that holds `all_train_seq.txt` and `test.txt` as published,
        or `<name>.npz` of the arrays that `read_npz` wants; the folder that REZOO_DATA names if not given.

    Raises:
      DataError: if the files are not there or damaged.
    """
    archive, text = f"{name}.npz", f"{name}/all_train_seq.txt"
    there = available(manual_dir)
    if name not in there and there:
        raise DataError(
            f"there is no session set {name!r} in {folders.searched(manual_dir)}; there are "
            f"{', '.join(there)}"
        )
    file = folders.find(archive, text, manual_dir=manual_dir, below=name, source=URL)
    return read_npz(file) if file.name == archive else read_published(file.parent)


def available(manual_dir: str | Path | None = None) -> list[str]:
    """The names that `load` reads there: by npz files with its arrays, and by folders as published."""
    found = set()
    for folder in folders.named(manual_dir):
        for file in [*folder.glob("*.npz"), *folder.glob("*/*.npz")]:
            if file.parent in (folder, folder / file.stem) and _has_arrays(file):
                found.add(file.stem)
        found |= {file.parent.name for file in folder.glob("*/all_train_seq.txt")}
    return sorted(found)


def read_published(folder: str | Path) -> SessionSet:
    """Read the pickles `all_train_seq.txt` (sessions) and `test.txt` (prefixes, labels) of a folder.

    Nothing but lists and numbers is unpickled: such a file cannot run code.

    Raises:
      DataError: if a file is not there, damaged, or something else.
    """
    train, test = Path(folder) / "all_train_seq.txt", Path(folder) / "test.txt"
    train = _unpickled(train, lambda rows, most: _sessions(rows, most, folder))
    prefixes, target = _unpickled(
        test, lambda pair, most: (_sessions(pair[0], most, folder), dense(list(pair[1]), f"{test}, labels"))
    )
    return _checked(folder, train, prefixes, target)


def read_npz(path: str | Path) -> SessionSet:
    """Read an npz of `train_items`, `train_offsets`, `test_items`, `test_offsets` and `test_labels`.

    Raises:
      DataError: if the file is not there, damaged, or lacks an array.
    """
    try:
        _refuse_bomb(path)
        with open(path, "rb") as raw, np.load(raw) as file:  # NumPy leaks what it opens if it fails
            items, offsets, test_items, test_offsets, target = (file[name] for name in ARRAYS)
    except DataError:
        raise
    except Exception as error:  # a damaged file makes NumPy and zipfile raise errors of every kind
        raise DataError(f"{path}: not a session file with {', '.join(ARRAYS)} ({error})") from error
    return _checked(
        path,
        Sessions(dense(items, f"{path}, train_items"), _offsets(offsets, path)),
        Sessions(dense(test_items, f"{path}, test_items"), _offsets(test_offsets, path)),
        dense(target, f"{path}, test_labels"),
    )


def _refuse_bomb(path: str | Path) -> None:
    """Check that no array claims to be longer than its bytes, and that all of them fit into memory."""
    with zipfile.ZipFile(path) as archive:
        members = {member.filename: member for member in archive.infolist()}
        if sum(member.file_size for member in members.values()) > contents.room():
            raise DataError(f"{path}: its arrays take more than half of the memory that is free")
        for name in ARRAYS:
            with archive.open(f"{name}.npy") as file:
                version = np.lib.format.read_magic(file)
                header = (
                    np.lib.format.read_array_header_1_0
                    if version == (1, 0)
                    else np.lib.format.read_array_header_2_0
                )
                shape, _, kind = header(file)
            if (
                len(shape) != 1
                or kind.kind not in "iu"
                or shape[0] * kind.itemsize > members[f"{name}.npy"].file_size
            ):
                raise DataError(f"{path}: {name} must be a row of integers, but is {kind} of shape {shape}")


def _offsets(offsets: np.ndarray, path: str | Path) -> np.ndarray:
    if not len(offsets) or offsets.max() > np.iinfo(np.int64).max:
        raise DataError(f"{path}: the offsets do not fit the items; make the file again")
    return offsets.astype(np.int64)


def _checked(place: str | Path, train: Sessions, test: Sessions, target: np.ndarray) -> SessionSet:
    for part in (train, test):
        if part.offsets[0] != 0 or part.offsets[-1] != len(part.items) or (part.lengths < 0).any():
            raise DataError(f"{place}: the offsets do not fit the items; make the file again")
    if test.num_sessions != len(target):
        raise DataError(f"{place}: {test.num_sessions} test sessions but {len(target)} labels")
    if not len(train.items) or not len(target):
        raise DataError(f"{place}: there are no sessions to train on, or none to test")
    top = max(part.max(initial=0) for part in (train.items, test.items, target))
    return SessionSet(train, test, target, int(top) + 1)


def _has_arrays(file: Path) -> bool:
    try:
        with zipfile.ZipFile(file) as archive:
            return {f"{name}.npy" for name in ARRAYS} <= set(archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


class _Numbers(pickle.Unpickler):
    """Refuses all but numbers, strings, lists, tuples and dicts."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        raise pickle.UnpicklingError(f"it holds {module_name}.{global_name}")


def _unpickled(path: Path, use: Callable[[Any, int], Any]) -> Any:
    """`use(content, size)` of a pickled file; it holds at most one number for each of its bytes."""
    try:
        with open(path, "rb") as file:
            return use(_Numbers(file).load(), path.stat().st_size)
    except DataError:
        raise
    except Exception as error:  # "other exceptions may also be raised", says pickle of damaged files
        raise DataError(f"{path}: not a file of SR-GNN's sessions ({error}); fetch {URL}") from error


def _sessions(rows: Sequence[Sequence[int]], most: int, place: str | Path) -> Sessions:
    lengths = [len(row) for row in rows]
    if sum(lengths) > most:
        raise DataError(
            f"{place}: {sum(lengths):,} items in {most:,} bytes: the same list is repeated. Such a file "
            "is not one of the published ones"
        )
    return Sessions(dense([item for row in rows for item in row], str(place)), offsets_of(np.array(lengths)))
