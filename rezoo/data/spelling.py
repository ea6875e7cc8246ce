"""Numbers written as text: integers exactly as they would be printed, other numbers, or none."""

# pyright: reportAttributeAccessIssue=false
# (the functions of pyarrow.compute are made when it is imported)

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rezoo.data.missing import WORDS

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?", re.ASCII | re.IGNORECASE)
_DESTROYED = r"^-?\d([.,]\d+)?[eE]\+\d{2,}$"
WHOLE = re.compile(r"\s*(-?(?:0|[1-9][0-9]*))(?:\.0+)?\s*")
"""An id that is an integer, in its only spelling but for blanks around it and zeros behind a point."""
EXACT = 2**53
"""Whole numbers up to this one are told apart as float64."""


def is_number(word: str) -> bool:
    """Whether a text is a number, in ASCII digits.

    >>> [is_number(word) for word in ("12", "-1.5e3", "½", "1_000")]
    [True, True, False, False]
    """
    return _NUMBER.fullmatch(word.strip()) is not None


def integers(text: pa.Array) -> np.ndarray | None:
    """int64, if every value is written exactly as that integer would be written; else None.

    >>> integers(pa.array(["12", "-3"]))
    array([12, -3])
    >>> [integers(pa.array([word])) for word in ("012", "+1", "12.0", " 1", "-0", "")]
    [None, None, None, None, None, None]
    """
    start, length, letters = _letters(text)
    if not len(start) or not length.all() or not (((letters > 47) & (letters < 58)) | (letters == 45)).all():
        return None
    first = letters[start]
    signed = first == ord("-")
    if ((first == ord("0")) & (length > 1)).any() or (signed & (length == 1)).any():
        return None
    if signed.any() and (letters[start[signed] + 1] == ord("0")).any():
        return None
    try:
        return pc.cast(text, pa.int64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:  # a sign inside, or beyond int64
        return None


def whole(words: np.ndarray) -> np.ndarray:
    """Texts, those of whole numbers with zeros behind a point without them, as ids of integers are spelt.

    >>> whole(np.array(["12.0", "a", "012.0", "1.5", " 7 "])).tolist()
    ['12', 'a', '012.0', '1.5', '7']
    """
    found = [WHOLE.fullmatch(word) for word in words.tolist()]
    return np.array([match[1] if match else word for match, word in zip(found, words.tolist(), strict=True)])


def floats(text: pa.Array, decimal: str = ".") -> np.ndarray | None:
    """float64, NaN where missing, if all other values are numbers that float64 holds exactly; else None.

    Digits with a leading zero ("007") are no number, nor are whole numbers too large to be told apart.

    >>> floats(pa.array(["1.5", "NULL", "2"]))
    array([1.5, nan, 2. ])
    >>> floats(pa.array(["1,5"]), decimal=",")
    array([1.5])
    """
    words = text
    if decimal == ",":
        if pc.any(pc.match_substring(text, ".")).as_py():
            return None
        words = pc.replace_substring(text, ",", ".")
    values = _cast(words)
    if values is None:
        words = pc.utf8_trim_whitespace(words)
        words = pc.if_else(pc.is_in(words, value_set=pa.array(sorted(WORDS), words.type)), "nan", words)
        values = _cast(words)
    if values is None or np.isnan(values).all() or _leads_with_zero(words):
        return None
    large = np.isfinite(values) & (np.abs(values) >= EXACT)
    if large.any() and pc.any(pc.match_substring_regex(words.filter(pa.array(large)), r"^[+-]?\d+$")).as_py():
        return None
    return values


def decimal_comma(text: pa.Array) -> bool:
    """Whether numbers are written with a decimal comma, and cannot be taken for thousands ("1,234")."""
    words = text.filter(pc.match_substring(text, ","))
    numbers = pc.match_substring_regex(words, r"^\s*[+-]?\d*,\d+\s*$")
    thousands = pc.match_substring_regex(words, r"^\s*[+-]?[1-9]\d{0,2},\d{3}\s*$")
    return len(words) > 0 and pc.all(numbers).as_py() and not pc.all(thousands).as_py()


def destroyed(text: pa.Array) -> str | None:
    """The first value that a spreadsheet rounded, such as "4.00638E+12"."""
    found = text.filter(pc.match_substring_regex(text, _DESTROYED))
    return found[0].as_py() if len(found) else None


def _cast(words: pa.Array) -> np.ndarray | None:
    try:
        return pc.cast(words, pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        return None


def _leads_with_zero(words: pa.Array) -> bool:
    start, length, letters = _letters(words)
    sign = np.zeros(len(start), np.int64)
    filled = length > 0
    sign[filled] = np.isin(letters[start[filled]], (ord("-"), ord("+")))
    at, long = start + sign, length - sign > 1
    second = letters[at[long] + 1]
    return bool(((letters[at[long]] == ord("0")) & (second >= ord("0")) & (second <= ord("9"))).any())


def _letters(text: pa.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where each value starts in the bytes of all, its length, and the bytes."""
    wide = pa.types.is_large_string(text.type)
    _, offsets, data = text.buffers()
    if offsets is None or not len(text):
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.uint8)
    ends = np.frombuffer(offsets, np.int64 if wide else np.int32)[text.offset : text.offset + len(text) + 1]
    start = ends[:-1].astype(np.int64) - ends[0]
    letters = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]] if data is not None else np.zeros(0, np.uint8)
    return start, np.diff(ends), letters
