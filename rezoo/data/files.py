"""Reading logs from files and tables: `read` for interactions, `read_table` for any columns.

| kind | known by | columns |
| --- | --- | --- |
| CSV, TSV, `;`, `|` | any other ending | header, or names given with `names` |
| MovieLens `::` | `::` in the first line | user, item, rating, timestamp unless `names` says other |
| JSON or Python dicts, one a line | .json .jsonl .ndjson, or a first `{` | the keys of the objects |
| Parquet | .parquet .pq | its own |
| RecBole | header `name:type` | its names; `token` stays text |
| TFDS, prepared in column chunks | a folder with dataset_info.json | its own |
| pandas, polars, Arrow, dict | the object | its own |

A name that ends in .gz, .bz2 or .xz is decompressed, into no more than half of the free memory;
`archive.zip!member` names a file inside an archive.

Ids of a text file are text, as they stand in it, unless every one is written as that integer would be:
"0101" and "101" are two products, and so are "1.10" and "1.1". Other columns are numbers where every
value is one, and text otherwise ("007" is not a number). Words that stand for a missing value
(`missing.WORDS`: NULL, nan, NA, an empty cell …) become missing numbers; missing ids raise an error that
counts them, and `clean.drop_missing` drops and reports their rows.
"""

import io
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from rezoo.data import arrow, contents, encodings, jsonlines, nested, objects, prepared, roles
from rezoo.data.delimited import Wanted, facts, read_text
from rezoo.data.interactions import Interactions, from_columns
from rezoo.data.table import Table
from rezoo.errors import DataError

IDS = ("user", "item", "session")
"""Roles whose columns hold ids."""


def read(
    table: Any,
    *,
    names: Sequence[str] | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    text: Sequence[str] = (),
    quotes: bool | None = None,
    decimal: str | None = None,
    explode: str | None = None,
    **chosen: Any,
) -> Interactions:
    """A log from a file or a table; `chosen` are the roles, and other arguments of `from_columns`.

    >>> log = read({"user": ["ann", "bob"], "item": [7, 7], "stars": [5, 3]})
    >>> log.users.decode(log.user).tolist()
    ['ann', 'bob']
    """
    source = str(table) if isinstance(table, str | Path) else type(table).__name__
    columns = read_table(
        table,
        names=names,
        delimiter=delimiter,
        encoding=encoding,
        text=text,
        quotes=quotes,
        decimal=decimal,
        explode=explode,
        ids=[chosen[role] for role in IDS if chosen.get(role)],
    )
    return from_columns(columns, source=Path(source).name, **chosen)


def read_table(
    table: Any,
    *,
    names: Sequence[str] | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    text: Sequence[str] = (),
    quotes: bool | None = None,
    decimal: str | None = None,
    explode: str | None = None,
    ids: Collection[str] = (),
) -> Table:
    """The columns of a file or a table, by name.

    Args:
      table: a path, or a pandas, polars, Arrow or dict table.
      names: of the columns, for a text file without a header.
      delimiter: between columns of a text file; found in its first lines if not given.
      encoding: of a text file; if not given UTF-8, UTF-16, or Latin-1 where that is plain.
      text: columns of a text file that stay text although they look like numbers.
      quotes: whether quotation marks of a text file enclose text; found if not given.
      decimal: the decimal mark of a text file, "." or ","; found if not given.
      explode: a column of lists, each value of which becomes a row; objects in it become columns.
      ids: columns of a text file that hold ids, beside those whose names `roles.ALIASES` knows; names that
        are not there are left out.

    Raises:
      DataError: if the file is missing, empty, damaged, ragged, not what its ending says, or too large.

    >>> {name: column.tolist() for name, column in read_table({"user": ["ann"], "price": [2.5]}).items()}
    {'user': ['ann'], 'price': [2.5]}
    """
    if decimal not in (None, ".", ","):
        raise DataError(f"decimal={decimal!r} is not a decimal mark: give '.' or ','")
    wanted = Wanted(
        names,
        delimiter,
        tuple(text),
        quotes,
        decimal,
        lambda name: name in ids or _plays(name, IDS),
        lambda name: name in ids or _plays(name, tuple(roles.ALIASES)),
    )
    columns = (
        _read_path(str(table), encoding, wanted) if isinstance(table, str | Path) else objects.read(table)
    )
    columns = columns if explode is None else nested.explode(columns, explode)
    for name in text:
        if name not in columns:
            raise DataError(f"there is no column {name!r}; there are {list(columns)}")
    return columns


def _plays(name: str, some: tuple[str, ...]) -> bool:
    """Whether a column's name is a known name of one of the roles."""
    return any(roles.recognised(name, role) is not None for role in some)


def _read_path(path: str, encoding: str | None, wanted: Wanted) -> Table:
    file, member = contents.split(path)
    if (file / "dataset_info.json").exists():
        return Table(prepared.read(file))
    if file.is_dir():
        inside = sorted(entry.name for entry in file.iterdir())[:5]
        raise DataError(
            f"{path} is a folder: name a file in it, such as {', '.join(inside) or '(it is empty)'}"
        )
    kind = contents.kind(file, member or (contents.member_of(file) if file.suffix.lower() == ".zip" else ""))
    contents.refuse(kind, path)
    packed = contents.is_packed(file, member)
    if kind in (".parquet", ".pq"):
        return Table(_read_parquet(io.BytesIO(contents.read(file, member)) if packed else file, file.name))
    name = Path(path).name
    if encoding is None and not packed and _streams(file):
        with file.open("rb") as stream:
            if not jsonlines.is_json(stream.read(2**16), kind):
                stream.seek(0)
                return read_text(file, name, facts(_pieces(stream)), wanted)
    content = encodings.utf8(contents.read(file, member), encoding, name)
    if jsonlines.is_json(content[: 2**16], kind):
        return jsonlines.read(content, name)
    return read_text(content, name, facts([content]), wanted)


def _streams(file: Path) -> bool:
    """Whether a file can be parsed from disk as it is: UTF-8 without `::` or a byte order mark."""
    with file.open("rb") as stream:
        head = stream.read(2**20)
        if b"::" in head or head.startswith(b"\xef\xbb\xbf") or not head.strip():
            return False
        stream.seek(0)
        return encodings.is_utf8(_pieces(stream))


def _pieces(stream: io.BufferedReader) -> Iterator[bytes]:
    while piece := stream.read(contents.PIECE):
        yield piece


def _read_parquet(file: Any, name: str) -> dict[str, np.ndarray]:
    try:
        with pyarrow.parquet.ParquetFile(file, pre_buffer=False) as opened:
            size = 8 * opened.metadata.num_rows * len(opened.schema_arrow)
            if size > contents.room():
                raise DataError(
                    f"{name} says that it has {size // 8:,} values, which is more than the memory"
                )
        # Buffering the file in advance would hold it in memory beside the columns.
        return arrow.from_arrow(pyarrow.parquet.read_table(file, pre_buffer=False), name)
    except DataError:
        raise
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise DataError(f"{name} is not a complete Parquet file ({error}): make it again") from error


def text_lines(path: str | Path, *, encoding: str | None = None) -> list[str]:
    r"""The lines of a text file, packed or plain, without blank ones at the end; they end in \n or \r\n.

    Raises:
      DataError: if the file is missing, empty or damaged.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
    ...     _ = file.write("1 2\n1 3\n\n"), file.flush()
    ...     text_lines(file.name)
    ['1 2', '1 3']
    """
    file, member = contents.split(str(path))
    if file.is_dir():
        raise DataError(f"{path} is a folder: name a file in it")
    content = encodings.utf8(contents.read(file, member), encoding, file.name)
    if not content.strip():
        raise DataError(f"{path}: the file is empty")
    lines = content.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    while not lines[-1].strip():
        lines.pop()
    return lines
