"""Files whose rows are no table: libFM's sparse features and SASRec's sequences."""

from pathlib import Path

import numpy as np

from rezoo.data.errors import DataError
from rezoo.data.files import text_lines


def read_libfm(path: str | Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of libFM text, `label feature:value feature:value …`, with as many features in every row.

    Returns:
      Labels `[n]` float32, feature ids `[n F]` int32 and their values `[n F]` float32.

    Raises:
      DataError: if a row has no label, another number of features or a word that is no pair.
    """
    lines = text_lines(path)
    name = Path(str(path)).name
    width = len(lines[0].split()) - 1
    label = np.empty(len(lines), np.float32)
    feature, value = np.empty((len(lines), width), np.int32), np.empty((len(lines), width), np.float32)
    for row, line in enumerate(lines):
        words = line.split()
        if len(words) != width + 1:
            raise DataError(
                f"{name}, row {row + 1}: {len(words) - 1} features where the first row has {width}. Rows of "
                "different lengths are not read; give absent features the value 0."
            )
        try:
            label[row] = float(words[0])
            for column, word in enumerate(words[1:]):
                index, _, number = word.partition(":")
                feature[row, column], value[row, column] = int(index), float(number)
        except (ValueError, OverflowError):
            raise DataError(f"{name}, row {row + 1}: {line[:60]!r} is not `label feature:value …`") from None
    return label, feature, value


def read_sequences(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Users and items in order, from SASRec's `user item` a line or S3-Rec's `user item item …`.

    Returns:
      Parallel columns user `[n]` and item `[n]`, as integers; the order of the file is the order
      of time.

    Raises:
      DataError: if a line has no item or a word is no whole number above 0 (0 is padding).
    """
    users: list[int] = []
    items: list[int] = []
    name = Path(str(path)).name
    for row, line in enumerate(text_lines(path)):
        try:
            user, *rest = map(int, line.split())
        except ValueError:
            raise DataError(f"{name}, row {row + 1}: {line[:60]!r} is not whole numbers and blanks") from None
        if not rest:
            raise DataError(f"{name}, row {row + 1}: user {user} has no item; drop the line")
        if min(user, *rest) < 1:
            raise DataError(
                f"{name}, row {row + 1}: ids start at 1, as 0 is padding, but there is {min(rest)}"
            )
        users += [user] * len(rest)
        items += rest
    return np.array(users, np.int64), np.array(items, np.int64)
