"""The bytes of a file, unpacked if it is compressed, and never more of them than memory holds."""

import bz2
import contextlib
import gzip
import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rezoo.errors import DataError

UNPACK = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
PACKED = (*UNPACK, ".zip")
BINARY = {".xlsx": "pandas.read_excel", ".xls": "pandas.read_excel", ".ods": "pandas.read_excel"}
BINARY |= {".feather": "pyarrow.feather.read_table", ".arrow": "pyarrow.feather.read_table"}
BINARY |= {".orc": "pyarrow.orc.read_table", ".pkl": "pandas.read_pickle", ".h5": "pandas.read_hdf"}
BINARY |= {".7z": "", ".rar": "", ".tar": "", ".tgz": "", ".zst": ""}
"""File endings that rezoo does not read, and what reads them."""
PIECE = 2**24
DAMAGED = (zipfile.BadZipFile, gzip.BadGzipFile, EOFError, zlib.error, lzma.LZMAError, OSError, ValueError)


def split(path: str) -> tuple[Path, str]:
    """The file and the member that `FILE` or `ARCHIVE!MEMBER` names.

    Raises:
      DataError: if there is no such file.
    """
    archive, _, member = path.partition("!")
    file = Path(path) if Path(path).exists() else Path(archive)
    if not file.exists():
        raise DataError(f"{path}: there is no such file. Looked in {file.absolute().parent}")
    return file, "" if file == Path(path) else member


def kind(file: Path, member: str) -> str:
    """The ending that tells what a file holds, in lower case, such as ".csv" of "log.CSV.gz"."""
    name = Path(member or file)
    while name.suffix.lower() in UNPACK:
        name = name.with_suffix("")
    return name.suffix.lower()


def refuse(kind: str, path: str) -> None:
    """Raise a DataError if files of an ending are not read here."""
    if kind in BINARY:
        how = f"read it with {BINARY[kind]} and give the table" if BINARY[kind] else "unpack it"
        raise DataError(f"{path}: {kind} files are not read here: {how}, or save it as CSV or Parquet")


def is_packed(file: Path, member: str) -> bool:
    """Whether a file has to be unpacked."""
    return bool(member) or file.suffix.lower() in PACKED


def read(file: Path, member: str) -> bytes:
    """The bytes, unpacked.

    Raises:
      DataError: if the file is damaged, is an archive of several files of which none is named, or
        unpacks to more than `room` bytes.
    """
    try:
        with _opened(file, member) as stream:
            return _bounded(stream, file.name)
    except DataError:
        raise
    except RuntimeError as error:  # of zipfile: encrypted, or compressed by a method that it does not know
        raise DataError(f"{file.name} cannot be unpacked ({error}): unpack it yourself") from error
    except MemoryError as error:
        raise DataError(f"{file.name} is larger than the memory: unpack it and read it in parts") from error
    except DAMAGED as error:
        raise DataError(f"{file.name} is damaged or cut short ({error}): fetch it again") from error


def member_of(file: Path, member: str = "") -> str:
    """The member of a zip that is named, or its only one.

    Raises:
      DataError: if there is no such member, or more than one.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            inside = [name for name in archive.namelist() if not name.endswith("/")]
    except DAMAGED as error:
        raise DataError(f"{file.name} is damaged or cut short ({error}): fetch it again") from error
    seen = [name for name in inside if not name.startswith("__MACOSX/")]
    if not member and len(seen) == 1:
        return seen[0]
    if not inside:
        raise DataError(f"{file.name} is an archive without files: fetch it again")
    if member not in inside:
        raise DataError(f"{file.name} holds {', '.join(inside[:8])}: name one as {file.name}!{inside[0]}")
    return member


def room() -> int:
    """Bytes that one file may take in memory: half of what is free, as its columns take the other half."""
    with contextlib.suppress(OSError), open("/proc/meminfo") as lines:
        free = next((int(line.split()[1]) for line in lines if line.startswith("MemAvailable")), 0)
        if free:
            return 1024 * free // 2
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4


@contextlib.contextmanager
def _opened(file: Path, member: str) -> Iterator[Any]:
    with contextlib.ExitStack() as stack:
        name = Path(file)
        stream: Any = stack.enter_context(file.open("rb"))
        if member or file.suffix.lower() == ".zip":
            name = Path(member_of(file, member))
            stream = stack.enter_context(stack.enter_context(zipfile.ZipFile(stream)).open(str(name)))
        while name.suffix.lower() in UNPACK:
            stream = stack.enter_context(UNPACK[name.suffix.lower()](stream))
            name = name.with_suffix("")
        yield stream


def _bounded(stream: Any, name: str) -> bytes:
    pieces, total, bound = [], 0, room()
    while piece := stream.read(PIECE):
        pieces.append(piece)
        total += len(piece)
        if total > bound:
            raise DataError(
                f"{name} unpacks to more than {bound:,} bytes, half of the memory that is free. If that is "
                "what you expect, unpack it and read it in parts, or on a larger machine."
            )
    whole = b"".join(pieces)
    if whole[257:262] == b"ustar":
        raise DataError(f"{name} holds a tar archive: unpack it with tar and name a file of it")
    return whole
