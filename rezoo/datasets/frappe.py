"""Frappe: which app somebody uses in which context, as clicks with negatives.

Baltrunas, Church, Karatzoglou, Oliver: Frappe: Understanding the Usage and Perception of Mobile App
Recommendations In-The-Wild, 2015, https://arxiv.org/abs/1505.03014; with two negatives for each use
and the split of Neural Factorization Machines, https://arxiv.org/abs/1708.05027, section 4.1.
"""

import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rezoo.data.formats import read_libfm
from rezoo.datasets import folders
from rezoo.errors import DataError

URL = "https://github.com/hexiangnan/neural_factorization_machine/tree/master/data/frappe"
FIRST = {
    "user": 0, "item": 957, "daytime": 5039, "weekday": 5046, "isweekend": 5053, "homework": 5055,
    "cost": 5058, "weather": 5060, "country": 5069, "city": 5149,
}  # fmt: skip
"""The first feature number of each column; the last column ends before `END`."""
END = 5382
SIZES = dict(zip(FIRST, np.diff([*FIRST.values(), END]).tolist(), strict=True))


class Clicks(NamedTuple):
    """One part. Ids are dense from 1."""

    columns: dict[str, np.ndarray]
    """int32 `[n]`: `user`, `item` and the eight of the context."""
    label: np.ndarray
    """float32 `[n]`: 1 for a use, 0 for a negative."""


class Frappe(NamedTuple):
    """The three parts."""

    train: Clicks
    valid: Clicks
    test: Clicks
    resampled: bool
    """Whether the negatives of `train` were drawn here, as its official file was not there."""

    @property
    def sizes(self) -> dict[str, int]:
        """Rows of each column's table, 0 included."""
        return {name: count + 1 for name, count in SIZES.items()}


def load(manual_dir: str | Path | None = None) -> Frappe:
    """Read `frappe.zip`, whose members are `frappe.train.libfm`, `.validation.` and `.test.`.

    If the first is missing, `frappe.train.rebuilt.libfm` is read in its place, and `resampled` is True.
    Members may be in a folder inside the zip.

    Args:
      manual_dir: the folder that holds the zip, or a subfolder `frappe` with it; the folder that
        REZOO_DATA names if not given.

    Raises:
      DataError: if the zip or a member is not there, damaged, or not Frappe.
    """
    file = folders.find("frappe.zip", manual_dir=manual_dir, below="frappe", source=f"{URL} (as a zip)")
    try:
        with zipfile.ZipFile(file) as archive:
            members = {Path(name).name: name for name in archive.namelist()}
    except zipfile.BadZipFile as error:
        raise DataError(f"{file}: not a complete zip file ({error}); make it again from {URL}") from error
    resampled = "frappe.train.libfm" not in members
    names = ["train.rebuilt" if resampled else "train", "validation", "test"]
    for name in names:
        if f"frappe.{name}.libfm" not in members:
            raise DataError(f"{file}: no frappe.{name}.libfm in it; add it from {URL}")
    train, valid, test = (_read(file, members[f"frappe.{name}.libfm"]) for name in names)
    return Frappe(train, valid, test, resampled)


def _read(file: Path, member: str) -> Clicks:
    label, feature, _ = read_libfm(f"{file}!{member}")
    if feature.shape[1] != len(FIRST):
        raise DataError(f"{member}: rows have {feature.shape[1]} features; Frappe has {len(FIRST)} columns")
    first = np.array(list(FIRST.values()))
    dense = (feature - first[None] + 1).astype(np.int32)
    wrong = (dense < 1) | (dense > np.array(list(SIZES.values()))[None])
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        name = list(FIRST)[column]
        raise DataError(
            f"{member}, row {row + 1}: {feature[row, column]} is not a feature of {name!r}; these are "
            f"{FIRST[name]} … {FIRST[name] + SIZES[name] - 1}"
        )
    columns = {name: np.ascontiguousarray(dense[:, n]) for n, name in enumerate(FIRST)}
    return Clicks(columns, (label > 0).astype(np.float32))
