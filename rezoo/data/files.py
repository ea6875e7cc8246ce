"""Reading logs from files and tables: `read` for interactions, `read_table` for any columns.

| kind | told by | columns |
| --- | --- | --- |
| CSV, TSV, `;`, `|` | .csv .tsv .txt | header, or names given with `names` |
| MovieLens `::` | .dat | user, item, rating, timestamp unless `names` says other |
| Parquet | .parquet .pq | its own |
| RecBole | .inter .user .item | header `name:type` |
| TFDS, prepared in column chunks | a folder with dataset_info.json | its own |
| pandas, polars, Arrow, dict | the object | its own |

A name that ends in .gz is decompressed; `archive.zip!member` names a file inside an archive.
"""

import codecs
import gzip
import io
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from pyarrow import csv

from rezoo.data.errors import DataError
from rezoo.data.interactions import Interactions, from_columns

MOVIELENS = ("user_id", "item_id", "rating", "timestamp")
Columns = dict[str, np.ndarray]
HEAD = 2**20
"""Bytes that are looked at to tell how a text file is written."""


def read(
    table: Any,
    *,
    names: Sequence[str] | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    text: Sequence[str] = (),
    **roles: Any,
) -> Interactions:
    """A log from a file or a table; `roles` are those of `interactions.from_columns`.

    >>> log = read({"user": ["ann", "bob"], "item": [7, 7], "stars": [5, 3]})
    >>> log.users.decode(log.user).tolist()
    ['ann', 'bob']
    """
    source = str(table) if isinstance(table, str | Path) else type(table).__name__
    return from_columns(
        read_table(table, names=names, delimiter=delimiter, encoding=encoding, text=text),
        source=Path(source).name,
        **roles,
    )


def read_table(
    table: Any,
    *,
    names: Sequence[str] | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    text: Sequence[str] = (),
) -> Columns:
    """The columns of a file or a table, by name.

    Args:
      table: a path, or a pandas, polars, Arrow or dict table.
      names: of the columns, for a text file without a header.
      delimiter: between columns of a text file; found in its first lines if not given.
      text: columns of a text file that stay text although they look like numbers ("007").
      encoding: of a text file; UTF-8 (a byte order mark is dropped), or Latin-1 where that fails.

    Raises:
      DataError: if the file is missing, empty, truncated, ragged or not of its kind.
    """
    if isinstance(table, str | Path):
        return _read_path(str(table), names, delimiter, encoding, text)
    if isinstance(table, Mapping):
        return {str(name): np.asarray(column) for name, column in table.items()}
    if isinstance(table, pa.Table):
        return _from_arrow(table, "Arrow table")
    if hasattr(table, "to_arrow"):
        return _from_arrow(table.to_arrow(), "polars table")
    if hasattr(table, "columns") and hasattr(table, "to_numpy"):
        return _from_arrow(pa.Table.from_pandas(table, preserve_index=False), "pandas table")
    raise DataError(
        f"{type(table).__name__} is no table: give a path, a dict of columns, pandas, polars or Arrow"
    )


def _read_path(
    path: str,
    names: Sequence[str] | None,
    delimiter: str | None,
    encoding: str | None,
    text: Sequence[str],
) -> Columns:
    archive, _, member = path.partition("!")
    file = Path(archive)
    if not file.exists():
        raise DataError(f"{path}: there is no such file. Looked in {file.absolute().parent}")
    if (file / "dataset_info.json").exists():
        return _read_tfds(file)
    if file.is_dir():
        inside = sorted(entry.name for entry in file.iterdir())[:5]
        raise DataError(
            f"{path} is a folder: name a file in it, such as {', '.join(inside) or '(it is empty)'}"
        )
    kind = Path(member or archive.removesuffix(".gz")).suffix.lower()
    if kind in (".parquet", ".pq") and not member:
        return _read_parquet(file, file.name)
    if encoding is None and file.suffix not in (".gz", ".zip") and _streams(file):
        with file.open("rb") as stream:
            head = stream.read(HEAD)
        return _read_text(head, file, path, kind, names, delimiter, text)
    content = _content(file, member)
    if kind in (".parquet", ".pq"):
        return _read_parquet(io.BytesIO(content), path)
    content = _utf8(content, encoding, path)
    return _read_text(content[:HEAD], content, path, kind, names, delimiter, text)


def _streams(file: Path) -> bool:
    """Whether a file can be parsed from disk as it is: UTF-8 without `::` or a byte order mark."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with file.open("rb") as stream:
        head = stream.read(HEAD)
        if b"::" in head or b"\0" in head or head.startswith(codecs.BOM_UTF8) or not head.strip():
            return False
        try:
            while head:
                decoder.decode(head, final=len(head) < HEAD)
                head = stream.read(HEAD)
        except UnicodeDecodeError:
            return False
    return True


def _content(file: Path, member: str) -> bytes:
    """The bytes of a file, decompressed."""
    try:
        if member or file.suffix == ".zip":
            with zipfile.ZipFile(file) as archive:
                inside = [name for name in archive.namelist() if not name.endswith("/")]
                if not member and len(inside) == 1:
                    member = inside[0]
                if member not in inside:
                    raise DataError(
                        f"{file.name} holds {', '.join(inside[:8])}: name one as {file.name}!{inside[0]}"
                    )
                return archive.read(member)
        if file.suffix == ".gz":
            with gzip.open(file) as stream:
                return stream.read()
        return file.read_bytes()
    except (zipfile.BadZipFile, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{file.name} is damaged or cut short ({error}): fetch it again") from error


def _read_parquet(file: Any, name: str) -> Columns:
    try:
        # Buffering the file in advance would hold it in memory beside the columns.
        return _from_arrow(pyarrow.parquet.read_table(file, pre_buffer=False), name)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{name} is no complete Parquet file ({error}): write or fetch it again") from error


def _read_text(
    head: bytes,
    content: bytes | Path,
    path: str,
    kind: str,
    names: Sequence[str] | None,
    delimiter: str | None,
    text: Sequence[str],
) -> Columns:
    """Columns of UTF-8 text, in memory or on disk, that starts with `head`."""
    name = Path(path).name
    if not head.strip():
        raise DataError(f"{path}: the file is empty")
    if kind in (".inter", ".user", ".item") and delimiter is None:
        delimiter = "\t"
    first = head.partition(b"\n")[0].decode("utf-8", "replace").strip("\r\n")
    delimiter = delimiter or _sniff(first, kind)
    if delimiter == "::":
        content = content.read_bytes() if isinstance(content, Path) else content
        _require_no(content, b"\t", name)
        content, delimiter = content.replace(b"::", b"\t"), "\t"
        names = names or MOVIELENS
    if names is None:
        header = [word.strip().strip('"') for word in first.split(delimiter)]
        doubled = sorted({word for word in header if header.count(word) > 1})
        if doubled:
            raise DataError(f"{name}: the header names {', '.join(map(repr, doubled))} twice; rename one")
        if all(_is_number(word) for word in header):
            raise DataError(
                f"{name}: the first line, {first[:60]!r}, looks like data. If the file has no header, give "
                f"names=[…] for its {len(header)} columns."
            )
    if names is None and len(head) < HEAD and not head.partition(b"\n")[2].strip():
        raise DataError(f"{name}: there is a header ({first[:60]!r}) and no rows")
    columns = _parse(content, b'"' in head, name, delimiter, names, text)
    if kind in (".inter", ".user", ".item"):
        columns = {column.partition(":")[0]: values for column, values in columns.items()}
    return columns


def _parse(
    content: bytes | Path,
    quoted: bool,
    name: str,
    delimiter: str,
    names: Sequence[str] | None,
    text: Sequence[str],
) -> Columns:
    """The columns of UTF-8 text, read block by block so that little more than the result is held."""
    bad: list[str] = []

    def ragged(row: csv.InvalidRow) -> str:
        bad.append(
            f"{name}, row {row.number or '?'}: {row.actual_columns} columns where {row.expected_columns} are "
            f"expected: {row.text[:80]!r}. Correct the row, or give the right delimiter (now {delimiter!r})."
        )
        return "error"

    options = dict(
        read_options=csv.ReadOptions(column_names=list(names) if names else None, block_size=2**24),
        parse_options=csv.ParseOptions(
            delimiter=delimiter,
            quote_char='"' if quoted or delimiter != "\t" else False,
            newlines_in_values=quoted,
            invalid_row_handler=ragged,
        ),
        convert_options=csv.ConvertOptions(
            strings_can_be_null=False, column_types={column: pa.string() for column in text}
        ),
    )

    def source() -> Any:
        return pa.BufferReader(content) if isinstance(content, bytes) else str(content)

    try:
        try:
            return _joined(csv.open_csv(source(), **options), name)
        except pa.ArrowInvalid:  # a column's kind changes after its first block, or the row is bad
            bad.clear()
            return _from_arrow(csv.read_csv(source(), **options), name)
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        why = bad[0] if bad else f"{name} cannot be read as text with delimiter {delimiter!r}: {error}"
        raise DataError(why) from error


def _joined(blocks: Iterable[pa.RecordBatch], name: str) -> Columns:
    """The columns of all blocks, whole numbers in 32 bits where they fit."""
    parts: dict[str, list[np.ndarray]] = {}
    for block in blocks:
        for column, values in _from_arrow(pa.Table.from_batches([block]), name).items():
            if values.dtype == np.int64 and np.abs(values).max(initial=0) < 2**31:
                values = values.astype(np.int32)
            parts.setdefault(column, []).append(values)
    return {column: np.concatenate(parts.pop(column)) for column in list(parts)}


def _sniff(first: str, kind: str) -> str:
    """The delimiter of the first line: the one that makes most columns."""
    if "::" in first:
        return "::"
    found = {mark: first.count(mark) for mark in (",", "\t", ";", "|")}
    best = max(found, key=lambda mark: found[mark])
    return best if found[best] else ("\t" if kind == ".tsv" else " " if " " in first.strip() else ",")


def _utf8(content: bytes, encoding: str | None, name: str) -> bytes:
    """The text as UTF-8, without a byte order mark."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = encoding or "utf-16"
    if b"\0" in content[:4096] and encoding is None:
        raise DataError(
            f"{name} is no text file (it has zero bytes): name its kind by its ending, such as .parquet"
        )
    try:
        if encoding is None:
            content.decode("utf-8")
            return content.removeprefix(b"\xef\xbb\xbf")
        return content.decode(encoding).encode("utf-8")
    except UnicodeDecodeError as error:
        if encoding is None:
            return content.decode("latin-1").encode("utf-8")
        raise DataError(f"{name} is not in {encoding}: byte {error.start} cannot be read") from error
    except LookupError as error:
        raise DataError(f"{name}: there is no encoding {encoding!r}") from error


def _from_arrow(table: pa.Table, name: str) -> Columns:
    names = table.column_names
    doubled = sorted({column for column in names if names.count(column) > 1})
    if doubled:
        raise DataError(f"{name}: there are two columns {', '.join(map(repr, doubled))}; rename one")
    columns = {}
    for column in names:
        columns[column] = _to_numpy(table.column(column))
        table = table.drop_columns([column])
    return columns


def _to_numpy(column: pa.ChunkedArray) -> np.ndarray:
    """Numbers and times as they are, missing numbers as NaN, everything else as text or objects."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return column.cast(pa.timestamp("us")).to_numpy()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind):
        return column.cast(pa.string()).fill_null("").to_numpy().astype(str)
    return column.to_numpy()


def _read_tfds(folder: Path) -> Columns:
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(str(folder))
    chunks = [chunk for split in builder.info.splits for chunk in builder.as_data_source(split)]  # pyright: ignore[reportCallIssue]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _require_no(content: bytes, mark: bytes, name: str) -> None:
    if mark in content:
        raise DataError(f"{name} has both '::' and tabs: give the delimiter")


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def text_lines(path: str | Path, *, encoding: str | None = None) -> list[str]:
    """The lines of a text file, `.gz` or `archive.zip!member`, without blank ones at the end.

    Raises:
      DataError: if the file is missing, empty or damaged.
    """
    archive, _, member = str(path).partition("!")
    if not Path(archive).is_file():
        raise DataError(f"{path}: there is no such file. Looked in {Path(archive).absolute().parent}")
    content = _utf8(_content(Path(archive), member), encoding, Path(archive).name)
    if not content.strip():
        raise DataError(f"{path}: the file is empty")
    return content.decode("utf-8").rstrip().splitlines()
