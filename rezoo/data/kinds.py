"""The types of columns that were read as text: integers, numbers or text."""

# pyright: reportAttributeAccessIssue=false
# (the functions of pyarrow.compute are made when it is imported)

from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rezoo.data import arrow, spelling
from rezoo.data.missing import is_nothing
from rezoo.data.table import Rows, row_at
from rezoo.errors import DataError

Part = np.ndarray | pa.Array
"""What a block of a column is: integers, floats, or text as it stands."""


class Spelt(NamedTuple):
    """Types of columns that are given before they are read."""

    text: Collection[str]
    """Columns that stay text."""
    is_id: Callable[[str], bool]
    """Whether a column holds ids, which are whole numbers or text: "1.10" and "1.1" are two."""
    decimal: str | None
    """The decimal mark, if it was given."""
    commas: bool
    """Whether a comma may be a decimal mark, as it does not separate columns."""
    header: list[str] | None
    """The words of the header, which must not come again."""


def columns(
    blocks: Callable[[], Iterable[pa.RecordBatch]], spelt: Spelt, name: str, rows: Rows
) -> tuple[dict[str, np.ndarray], int]:
    """The columns of all blocks, and their rows. They are read a second time if a column changes its kind.

    Raises:
      DataError: if the header comes again.
    """
    parts: dict[str, list[Part]] = {}
    marks: dict[str, str] = {}
    count = 0
    for block in blocks():
        for column, values in zip(block.schema.names, block.columns, strict=True):
            held = parts.setdefault(column, [])
            known = column in spelt.text or (held and isinstance(held[-1], pa.Array) and not _open(held[-1]))
            held.append(values if known else _part(column, values, spelt, marks))
        _refuse_header(block, spelt.header, parts, name, rows, count)
        count += block.num_rows
    changed = [column for column, held in parts.items() if _changes(held)]
    if changed:
        return columns(blocks, spelt._replace(text={*spelt.text, *changed}), name, rows)
    return {column: _joined(parts.pop(column)) for column in list(parts)}, count


def _part(column: str, values: pa.Array, spelt: Spelt, marks: dict[str, str]) -> Part:
    whole = spelling.integers(values)
    if whole is not None:
        small = whole.min(initial=0) >= -(2**31) and whole.max(initial=0) < 2**31
        return whole.astype(np.int32) if small else whole
    if spelt.is_id(column):
        return values
    mark = marks.get(column) or spelt.decimal
    if mark is None and spelt.commas and spelling.decimal_comma(values):
        mark = marks[column] = ","
    found = spelling.floats(values, mark or ".")
    return values if found is None else found


def _changes(held: list[Part]) -> bool:
    """Whether numbers were made of some blocks whose text is needed after all."""
    floats = any(isinstance(part, np.ndarray) and part.dtype.kind == "f" for part in held)
    text = any(isinstance(part, pa.Array) and not _open(part) for part in held)
    large = any(isinstance(part, np.ndarray) and part.dtype == np.int64 and _beyond(part) for part in held)
    return floats and (text or large)


def _joined(held: list[Part]) -> np.ndarray:
    numbers = [part for part in held if isinstance(part, np.ndarray)]
    if len(numbers) == len(held):
        return np.concatenate(numbers)
    if any(part.dtype.kind == "f" for part in numbers):
        return np.concatenate(
            [part if isinstance(part, np.ndarray) else np.full(len(part), np.nan) for part in held]
        )
    text = [part if isinstance(part, pa.Array) else pc.cast(pa.array(part), pa.string()) for part in held]
    return arrow.texts(pa.chunked_array(text, pa.string()))


def _open(part: pa.Array) -> bool:
    """Whether a block of text has only words for missing values, which may be missing numbers."""
    return all(map(is_nothing, part[:1].to_pylist())) and all(
        is_nothing(word) for word in part.unique().to_pylist()
    )


def _beyond(part: np.ndarray) -> bool:
    return max(-int(part.min(initial=0)), int(part.max(initial=0))) > spelling.EXACT


def _refuse_header(
    block: pa.RecordBatch,
    header: list[str] | None,
    parts: dict[str, list[Part]],
    name: str,
    rows: Rows,
    before: int,
) -> None:
    if header is None or isinstance(next(iter(parts.values()))[-1], np.ndarray):
        return
    same = pc.equal(block.column(0), header[0])
    for values, word in zip(block.columns[1:], header[1:], strict=True):
        if not pc.any(same).as_py():
            return
        same = pc.and_(same, pc.equal(values, word))
    found = np.flatnonzero(same.to_numpy(zero_copy_only=False))
    if len(found):
        raise DataError(
            f"{name}, {row_at(before + int(found[0]), rows)}: the header stands here again, as when files "
            f"are joined ({len(found)} times). Delete the row{'s' * (len(found) > 1)}."
        )
