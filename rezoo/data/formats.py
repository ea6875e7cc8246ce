"""Files whose rows are not a table: libFM's sparse features, SASRec's sequences, LightGCN's lists."""

import logging
import re
from pathlib import Path

import numpy as np

from rezoo.data.files import text_lines
from rezoo.data.spelling import is_number
from rezoo.errors import DataError

_log = logging.getLogger(__name__)
_WHOLE = re.compile(r"\d{1,19}", re.ASCII)


def read_libfm(path: str | Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""Rows of libFM text, `label feature:value feature:value …`, with as many features in every row.

    Returns:
      Labels `[n]` float32, feature ids `[n F]` int32 and their values `[n F]` float32.

    Raises:
      DataError: if a row has no label, another number of features or a word that is not a pair.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w") as file:
    ...     _ = file.write("1 4:1 7:0.5\n"), file.flush()
    ...     [column.tolist() for column in read_libfm(file.name)]
    [[1.0], [[4, 7]], [[1.0, 0.5]]]
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
            if not is_number(words[0]):
                raise ValueError
            label[row] = float(words[0])
            for column, word in enumerate(words[1:]):
                index, _, number = word.partition(":")
                if not (_WHOLE.fullmatch(index) and is_number(number)):
                    raise ValueError
                feature[row, column], value[row, column] = int(index), float(number)
        except (ValueError, OverflowError):
            raise DataError(f"{name}, row {row + 1}: {line[:60]!r} is not `label feature:value …`") from None
    return label, feature, value


def read_sequences(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    r"""Users and items in order, from SASRec's `user item` a line or S3-Rec's `user item item …`.

    Where users or items start at 0, which is padding here, each of them is given as one more, and a
    warning in the log says so.

    Returns:
      Parallel columns user `[n]` and item `[n]`, as integers from 1; the order of the file is the
      order of time.

    Raises:
      DataError: if a line has no item or a word is not a whole number of 64 bits from 0.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w") as file:
    ...     _ = file.write("1 7 8\n2 7\n"), file.flush()
    ...     [column.tolist() for column in read_sequences(file.name)]
    [[1, 1, 2], [7, 8, 7]]
    """
    name = Path(str(path)).name
    user, item, empty = _lists(path)
    if empty:
        row, line = empty[0]
        raise DataError(f"{name}, row {row}: user {line.strip() or '?'} has no item; drop the line")
    return _from_one(user, "users", name), _from_one(item, "items", name)


def read_lists(path: str | Path) -> dict[str, np.ndarray]:
    r"""The columns `user` and `item` of `user item item …` a line, for `interactions.from_columns`.

    The ids are those of the file. A user without items, as some published files have them, has no row.

    Raises:
      DataError: if a line is empty, or a word is not a whole number of 64 bits from 0; it names the row.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w") as file:
    ...     _ = file.write("0 7 8\n1\n2 7\n"), file.flush()
    ...     {name: column.tolist() for name, column in read_lists(file.name).items()}
    {'user': [0, 0, 2], 'item': [7, 8, 7]}
    """
    name = Path(str(path)).name
    user, item, empty = _lists(path)
    if blank := [row for row, line in empty if not line.strip()]:
        raise DataError(f"{name}, row {blank[0]}: the line is empty; give a user and their items, or drop it")
    return {"user": _integers(user, "users", name), "item": _integers(item, "items", name)}


def _lists(path: str | Path) -> tuple[list[int], list[int], list[tuple[int, str]]]:
    """Users and items of `user item item …` a line, and the number and text of lines without an item."""
    users: list[int] = []
    items: list[int] = []
    empty: list[tuple[int, str]] = []
    name = Path(str(path)).name
    for row, line in enumerate(text_lines(path), 1):
        words = line.split()
        for word in words:
            if not _WHOLE.fullmatch(word):
                what = "is below 0" if word.startswith("-") else "is not whole numbers and blanks"
                raise DataError(f"{name}, row {row}: {word!r} of {line[:60]!r} {what}")
        if len(words) < 2:
            empty.append((row, line))
            continue
        user, *rest = map(int, words)
        users += [user] * len(rest)
        items += rest
    return users, items, empty


def _integers(values: list[int], what: str, name: str) -> np.ndarray:
    try:
        return np.array(values, np.int64)
    except OverflowError:
        raise DataError(f"{name}: {max(values)} is among the {what}; ids have 64 bits") from None


def _from_one(values: list[int], what: str, name: str) -> np.ndarray:
    ids = _integers(values, what, name)
    if ids.min() > 0:
        return ids
    _log.warning("%s: %s start at 0, which is padding; each is taken as one more", name, what)
    return ids + 1
