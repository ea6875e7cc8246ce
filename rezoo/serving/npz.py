"""Arrays in an npz file, of which nothing is believed before it is checked.

NumPy's format, neither compressed nor pickled, so that arrays are as large as their file. What NumPy
has no type for, such as bfloat16, is stored as integers of the same width, and its type is noted.
"""

import math
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import jax.numpy as jnp
import numpy as np

from rezoo.errors import DataError

EXTENDED = {name: jnp.dtype(name) for name in ("bfloat16", "float8_e4m3fn", "float8_e5m2")}
"""Types that NumPy's format does not know."""
BROKEN = (
    OSError,
    ValueError,
    RuntimeError,
    EOFError,
    OverflowError,
    MemoryError,
    struct.error,
    zipfile.BadZipFile,
)
"""What zipfile and NumPy raise for a file that is not whole."""
DEEPEST = 50
"""Parts of an array's path."""
_HEADER = re.compile(
    rb"\{'descr': '[<|](b1|[iu][1248]|f[248]|U\d{1,9})', 'fortran_order': (?:True|False), "
    rb"'shape': \(((?:\d{1,10}, ?)*(?:\d{1,10})?)\), \} *\n"
)


def write(path: Path, arrays: Mapping[str, Any]) -> dict[str, str]:
    """Write arrays, or what can be made arrays of; the types by name that `read` has to be given.

    Raises:
      DataError: if one is not of numbers or text.
    """
    stored, types = {}, {}
    for name, one in arrays.items():
        try:
            array = np.asarray(one)
        except (TypeError, ValueError) as error:
            raise DataError(f"{name} cannot be saved: {error}") from error
        if array.dtype.name in EXTENDED:
            types[name] = array.dtype.name
            array = array.view(f"u{array.dtype.itemsize}")
        if array.dtype.kind not in "biufU" or array.dtype == np.longdouble:
            raise DataError(f"{name} is of type {array.dtype}, which cannot be saved: give numbers or text")
        stored[name] = array.astype(array.dtype.newbyteorder("<"), copy=False)
    np.savez(path, allow_pickle=False, **stored)
    return types


def read(path: Path, types: Mapping[str, str]) -> dict[str, np.ndarray]:
    """What `write` wrote, with the types that it returned.

    Raises:
      DataError: if it is not such a file.
    """
    if not path.is_file():
        raise DataError(f"{path} is damaged: it is missing, or is not a file")
    try:
        with zipfile.ZipFile(path) as opened:
            members = {info.filename.removesuffix(".npy"): info for info in _checked(opened, path)}
            if unknown := sorted(set(types) - set(members)):
                raise DataError(f"{path} has no array {unknown[0]!r}")
            return {name: _array(opened, info, types.get(name)) for name, info in members.items()}
    except DataError:
        raise
    except BROKEN as error:
        raise DataError(f"{path} is damaged ({type(error).__name__}: {error})") from error


def _checked(opened: zipfile.ZipFile, path: Path) -> list[zipfile.ZipInfo]:
    """The members, if they are what `write` makes and no larger than the file."""
    members, size = opened.infolist(), path.stat().st_size
    names = [info.filename for info in members]
    if len(set(names)) < len(names) or not all(name.endswith(".npy") for name in names):
        raise DataError(f"{path} holds files that are not arrays, or one twice")
    if any(info.compress_type != zipfile.ZIP_STORED for info in members):
        raise DataError(f"{path} is compressed, which arrays of a saved model are not")
    if sum(info.file_size for info in members) > size:
        raise DataError(f"{path} has {size} bytes, fewer than the arrays that it claims to hold")
    for info in members:
        _check_header(opened, info)
    return members


def _check_header(opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
    """Type and shape are those of so many bytes."""
    with opened.open(info) as file:
        start = file.read(10)
        length = int.from_bytes(start[8:], "little")
        found = _HEADER.fullmatch(file.read(length)) if start[:8] == b"\x93NUMPY\x01\x00" else None
    if found is None:
        raise DataError(f"{info.filename}: no array of numbers or text")
    kind, shape = found[1].decode(), [int(axis) for axis in found[2].split(b",") if axis.strip()]
    itemsize = int(kind[1:]) * (4 if kind[0] == "U" else 1)
    expected = 10 + length + itemsize * math.prod(shape)
    if not itemsize or max(shape, default=0) >= 2**31 or expected != info.file_size:
        raise DataError(f"{info.filename} has {info.file_size} bytes, which cannot be {shape} of {kind}")


def _array(opened: zipfile.ZipFile, info: zipfile.ZipInfo, kind: str | None) -> np.ndarray:
    with opened.open(info) as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
    if kind is None:
        return array
    if kind not in EXTENDED or array.dtype != np.dtype(f"u{EXTENDED[kind].itemsize}"):
        raise DataError(f"{info.filename} is {array.dtype}, which cannot be {kind!r}")
    return array.view(EXTENDED[kind])


def flat(tree: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The arrays of nested mappings by their path, below `name`; what stands in a path is quoted."""
    found = {}
    for key, value in tree.items():
        path = f"{name}/{quote(str(key), safe='')}"
        found |= flat(value, path) if isinstance(value, Mapping) else {path: value}
    return found


def nested(arrays: Mapping[str, Any], name: str, *, quoted: bool) -> dict[str, Any]:
    """What `flat` made flat.

    Raises:
      DataError: if a path is also that of a mapping, or is too long.
    """
    tree: dict[str, Any] = {}
    for path, array in arrays.items():
        first, *parts = path.split("/")
        if first != name:
            continue
        if not 1 <= len(parts) <= DEEPEST:
            raise DataError(f"{path[:80]} is not the path of an array")
        parts = [unquote(part) for part in parts] if quoted else parts
        at = tree
        for part in parts[:-1]:
            at = at.setdefault(part, {})
            if not isinstance(at, dict):
                raise DataError(f"{path} lies in an array")
        if parts[-1] in at:
            raise DataError(f"{path} is there twice")
        at[parts[-1]] = array
    return tree
