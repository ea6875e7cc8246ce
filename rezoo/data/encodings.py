"""The encoding of a text file: UTF-8 and UTF-16 are recognised, Western European where it is unambiguous.

Bytes that are not UTF-8 may be in any of a hundred encodings, and a wrong guess is noticed only when a
product's name is displayed. So Latin-1 (or Windows-1252) is assumed only if letters beyond ASCII stand alone
between ASCII ones, as accented letters do, and the log says so; otherwise the caller has to give the
encoding.
"""

import codecs
import contextlib
import logging
import re
from collections.abc import Iterable

from rezoo.errors import DataError

_log = logging.getLogger(__name__)

SAMPLE = 2**20
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
PACKED = ((b"\x1f\x8b", ".gz"), (b"PK\3\4", ".zip"), (b"PAR1", ".parquet"), (b"BZh", ".bz2"))
_OTHERS = ("gb18030", "big5", "shift_jis", "euc_kr", "cp1251", "cp1250", "cp1252")
_SIGN = rb"[\x80-\x84\x86-\x90\x94\x95\x98-\xa0\xa2-\xaa\xac-\xba\xbc-\xbe\xd7\xf7]"
_ODD = re.compile(rb"%b(?=[A-Za-z\xc0-\xff])|(?<=[\xc0-\xff])%b" % (_SIGN, _SIGN))
"""A sign such as ¤ beside a letter, which in other encodings is a letter itself."""


def utf8(content: bytes, encoding: str | None, name: str) -> bytes:
    """The text as UTF-8, without a byte order mark.

    Raises:
      DataError: if it is not a text, not in the `encoding` that is given, or if its encoding is ambiguous.
    """
    for mark, ending in PACKED:
        if content.startswith(mark):
            raise DataError(f"{name} is a {ending} file, by its first bytes: give it that ending")
    encoding = encoding or _found(content[:SAMPLE])
    if encoding is None:
        _refuse_zero(content, name)
    try:
        if encoding is None:
            content.decode("utf-8")
        else:
            content = content.decode(encoding).encode("utf-8").removeprefix(codecs.BOM_UTF8)
    except UnicodeDecodeError as error:
        if encoding is not None:
            raise DataError(f"{name} is not in {encoding}: byte {error.start} cannot be read") from error
        western = _western(content, error.start, name)
        _log.warning("%s is not UTF-8: read as %s; if letters are wrong, give its encoding=…", name, western)
        return content.decode(western).encode("utf-8")
    except (LookupError, UnicodeError) as error:
        raise DataError(f"{name}: there is no encoding {encoding!r}, or the text is not in it") from error
    _refuse_zero(content, name)
    return content


def _refuse_zero(content: bytes, name: str) -> None:
    if (zero := content.find(b"\0")) >= 0:
        raise DataError(
            f"{name} is not a text file (row {_row(content, zero)} has zero bytes): name its kind by its "
            "ending, such as .parquet, or give its encoding"
        )


def _row(content: bytes, at: int) -> int:
    return content.count(b"\n", 0, at) + 1


def _found(head: bytes) -> str | None:
    """The encoding that a byte order mark or the places of zero bytes show."""
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        half = head[first::2]
        if len(half) > 1 and half.count(0) > 0.4 * len(half) and head[1 - first :: 2].count(0) == 0:
            return encoding
    return None


def _western(content: bytes, at: int, name: str) -> str:
    """Latin-1 or Windows-1252, if accents stand alone between ASCII letters."""
    runs = re.findall(rb"[\x80-\xff]+", content[at : at + SAMPLE])
    alone = sum(len(run) == 1 for run in runs)
    long = sum(len(run) > 2 for run in runs)
    if 2 * alone >= len(runs) and 20 * long <= len(runs) and not _ODD.search(content, at):
        encoding = "cp1252" if re.search(rb"[\x80-\x9f]", content) else "latin-1"
        with contextlib.suppress(UnicodeDecodeError):
            content.decode(encoding)
            return encoding
    readings = []
    for encoding in _OTHERS:
        try:
            readings.append(f"{runs[0].decode(encoding)!r} in {encoding}")
        except UnicodeDecodeError:
            continue
    raise DataError(
        f"{name} is not UTF-8, and its encoding is ambiguous: give encoding=…. Row {_row(content, at)} "
        f"would have {', '.join(readings) or 'no text in any usual one'}"
    )


def is_utf8(pieces: Iterable[bytes]) -> bool:
    """Whether the pieces of a file are UTF-8 without zero bytes."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for piece in pieces:
            if b"\0" in piece:
                return False
            decoder.decode(piece)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True
