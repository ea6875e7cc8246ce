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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from rezoo.data.arrow import Columns, from_arrow
from rezoo.data.delimited import HEAD, read_text, utf8
from rezoo.data.errors import DataError
from rezoo.data.interactions import Interactions, from_columns


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
        return from_arrow(table, "Arrow table")
    if hasattr(table, "to_arrow"):
        return from_arrow(table.to_arrow(), "polars table")
    if hasattr(table, "columns") and hasattr(table, "to_numpy"):
        return from_arrow(pa.Table.from_pandas(table, preserve_index=False), "pandas table")
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
        return read_text(head, file, path, kind, names, delimiter, text)
    content = _content(file, member)
    if kind in (".parquet", ".pq"):
        return _read_parquet(io.BytesIO(content), path)
    content = utf8(content, encoding, path)
    return read_text(content[:HEAD], content, path, kind, names, delimiter, text)


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
        return from_arrow(pyarrow.parquet.read_table(file, pre_buffer=False), name)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{name} is no complete Parquet file ({error}): write or fetch it again") from error


def _read_tfds(folder: Path) -> Columns:
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(str(folder))
    chunks = [chunk for split in builder.info.splits for chunk in builder.as_data_source(split)]  # pyright: ignore[reportCallIssue]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def text_lines(path: str | Path, *, encoding: str | None = None) -> list[str]:
    """The lines of a text file, `.gz` or `archive.zip!member`, without blank ones at the end.

    Raises:
      DataError: if the file is missing, empty or damaged.
    """
    archive, _, member = str(path).partition("!")
    if not Path(archive).is_file():
        raise DataError(f"{path}: there is no such file. Looked in {Path(archive).absolute().parent}")
    content = utf8(_content(Path(archive), member), encoding, Path(archive).name)
    if not content.strip():
        raise DataError(f"{path}: the file is empty")
    lines = content.decode("utf-8").splitlines()
    while not lines[-1].strip():
        lines.pop()
    return lines
