"""The parts that a log is split into."""

from typing import NamedTuple

import numpy as np

from rezoo.data.interactions import Interactions
from rezoo.errors import DataError


class Split(NamedTuple):
    """Row numbers, int64, in ascending order."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray

    def of(self, log: Interactions) -> tuple[Interactions, Interactions, Interactions]:
        """The rows of the three parts; ids stay as they are."""
        return log.take(self.train), log.take(self.valid), log.take(self.test)


def parts(part: np.ndarray) -> Split:
    """The split in which row n is in part[n]: 0 train, 1 valid, 2 test; other rows are left out.

    >>> [rows.tolist() for rows in parts(np.array([0, 2, 1, 0]))]
    [[0, 3], [2], [1]]
    """
    return Split(*(np.flatnonzero(part == number) for number in range(3)))


def check_count(name: str, number: int, least: int) -> None:
    """Refuse what is no whole number, or below the `least`.

    >>> check_count("k", 1, 2)
    Traceback (most recent call last):
    rezoo.errors.DataError: k=1: give 2 or more, a whole number
    """
    whole = isinstance(number, int | np.integer) and not isinstance(number, bool)
    if not whole or number < least:
        raise DataError(f"{name}={number}: give {least} or more, a whole number")


def check_shares(valid: float, test: float) -> None:
    """Refuse shares that leave nothing for training."""
    if not (valid >= 0 and test >= 0 and valid + test < 1):
        raise DataError(f"shares valid={valid} and test={test} must be ≥ 0 and leave something for training")
