"""What a request may hold: checked by the same table that describes it in /openapi.json."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from rezoo.errors import DataError

MOST_TEXT, MOST_FEATURES, MOST_FILTERS, MOST_COUNTS = 200, 100, 20, 5
ID = {"oneOf": [{"type": "string", "minLength": 1, "maxLength": MOST_TEXT}, {"type": "integer"}]}


class Field(NamedTuple):
    """One value of a request."""

    kind: str
    """`text`, `id`, `ids`, `number`, `numbers`, `count`, `counts`, `flag`, `features` or `filters`."""
    doc: str
    required: bool = False
    most: int = 0
    """Of a count, or of the number of ids or numbers."""
    by_query: bool = True
    """Whether GET can give it, in the address."""


SCHEMAS: dict[str, dict[str, Any]] = {
    "text": {"type": "string", "minLength": 1, "maxLength": MOST_TEXT},
    "id": ID,
    "ids": {"type": "array", "items": ID},
    "number": {"type": "number"},
    "count": {"type": "integer", "minimum": 0},
    "flag": {"type": "boolean"},
    "features": {"type": "object", "maxProperties": MOST_FEATURES},
    "numbers": {"type": "array", "items": {"type": "number"}},
    "counts": {
        "type": "object",
        "maxProperties": MOST_COUNTS,
        "additionalProperties": {"type": "integer", "minimum": 1},
    },
    "filters": {
        "type": "object",
        "maxProperties": MOST_FILTERS,
        "additionalProperties": {
            "oneOf": [
                {"type": ["string", "number", "boolean"]},
                {"type": "array", "items": {"type": ["string", "number", "boolean"]}},
                {
                    "type": "object",
                    "properties": {"min": {"type": "number"}, "max": {"type": "number"}},
                    "additionalProperties": False,
                    "minProperties": 1,
                },
            ]
        },
    },
}
FLAGS = {"1": True, "true": True, "0": False, "false": False}
WHOLE = re.compile(r"-?[0-9]{1,9}")


def schema(fields: Mapping[str, Field]) -> dict[str, Any]:
    """The JSON schema of an object with these fields.

    >>> schema({"k": Field("count", "Places of the list.", most=100)})["properties"]["k"]["maximum"]
    100
    """
    properties = {}
    for name, field in fields.items():
        properties[name] = SCHEMAS[field.kind] | {"description": field.doc}
        if field.kind in ("count", "ids", "numbers") and field.most:
            properties[name]["maximum" if field.kind == "count" else "maxItems"] = field.most
    required = [name for name, field in fields.items() if field.required]
    shape = {"type": "object", "properties": properties, "additionalProperties": False}
    return shape | ({"required": required} if required else {})


def from_json(values: Any, fields: Mapping[str, Field]) -> dict[str, Any]:
    """The values of a JSON object, as they should be.

    Raises:
      DataError: if a value is missing, unknown, of another kind, or out of range; names it.

    >>> from_json({"k": 3}, {"k": Field("count", "Places of the list.", most=100)})
    {'k': 3}
    """
    if not isinstance(values, dict):
        raise DataError(f"the body is {_kind(values)}: send a JSON object")
    for name in values:
        if name not in fields:
            raise DataError(f"there is no field {name[:50]!r}; there are {', '.join(fields)}")
    for name, field in fields.items():
        if field.required and values.get(name) is None:
            raise DataError(f"the field {name!r} is missing: {field.doc}")
    return {name: _checked(name, value, fields[name]) for name, value in values.items() if value is not None}


def from_query(values: Mapping[str, str], fields: Mapping[str, Field]) -> dict[str, Any]:
    """The values of an address, whose ids of one list stand between commas.

    Raises:
      DataError: as `from_json`.

    >>> from_query({"history": "tea,cup"}, {"history": Field("ids", "Items.", most=9)})
    {'history': ['tea', 'cup']}
    """
    known = {name: field for name, field in fields.items() if field.by_query}
    read: dict[str, Any] = {}
    for name, text in values.items():
        kind = known[name].kind if name in known else "text"
        if kind == "count" and WHOLE.fullmatch(text):
            read[name] = int(text)
        elif kind == "flag" and text.lower() in FLAGS:
            read[name] = FLAGS[text.lower()]
        elif kind == "filters":
            read[name] = _object_in(name, text)
        else:
            read[name] = text.split(",") if kind == "ids" else text
    return from_json(read, known)


def _checked(name: str, value: Any, field: Field) -> Any:
    """The value, if it is of the field's kind."""
    if field.kind == "ids":
        if not isinstance(value, list) or len(value) > field.most:
            many = len(value) if isinstance(value, list) else _kind(value)
            raise DataError(f"{name} is {many}: give a list of {field.most} ids at most")
        return [_checked(name, one, Field("id", field.doc)) for one in value]
    if field.kind == "numbers":
        if not isinstance(value, list) or len(value) > field.most:
            raise DataError(f"{name} is {_shown(value)}: give a list of {field.most} numbers at most")
        return [_checked(name, one, Field("number", field.doc)) for one in value]
    if field.kind == "filters":
        if not isinstance(value, dict) or len(value) > MOST_FILTERS:
            raise DataError(f"{name} is {_kind(value)}: give an object with {MOST_FILTERS} columns at most")
        for column, one in value.items():
            parts = one if isinstance(one, list) else [*one.values()] if isinstance(one, dict) else [one]
            numbers = [part for part in parts if isinstance(part, int | float)]
            if not all(isinstance(part, str | int | float) for part in parts) or not all(
                math.isfinite(_float(number)) for number in numbers
            ):
                raise DataError(
                    f"{name}: {column[:50]!r} is {_shown(one)}: give a value, a list of values, or an object "
                    "of min and max"
                )
        return value
    if field.kind == "counts":
        if not isinstance(value, dict) or len(value) > MOST_COUNTS:
            raise DataError(f"{name} is {_kind(value)}: give an object with {MOST_COUNTS} columns at most")
        for column, one in value.items():
            if type(one) is not int or one < 1:
                raise DataError(f"{name}: {column[:50]!r} is {_shown(one)}: give a whole number of 1 or more")
        return value
    if field.kind == "count":
        if type(value) is not int or not 0 <= value <= field.most:
            raise DataError(f"{name} is {_shown(value)}: give a whole number from 0 to {field.most}")
    elif field.kind == "flag":
        if not isinstance(value, bool):
            raise DataError(f"{name} is {_shown(value)}: give true or false")
    elif field.kind == "number":
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(_float(value)):
            raise DataError(f"{name} is {_shown(value)}: give a number")
        return float(value)
    elif field.kind == "features":
        if not isinstance(value, dict) or len(value) > MOST_FEATURES:
            raise DataError(f"{name} is {_kind(value)}: give an object of {MOST_FEATURES} features at most")
        for feature, one in value.items():
            if not all(map(_is_plain, one if isinstance(one, list) else [one])):
                raise DataError(
                    f"{name}: {feature[:50]!r} is {_shown(one)}: give a text, a number, true, false, null, "
                    "or a list of these"
                )
    elif field.kind == "id" and type(value) is int:
        if abs(value) >= 2**63:
            raise DataError(f"{name} is {_shown(value)}: an id has 64 bits at most")
    elif not isinstance(value, str) or not 0 < len(value) <= MOST_TEXT or not _writable(value):
        or_number = " or a whole number" if field.kind == "id" else ""
        raise DataError(f"{name} is {_shown(value)}: give a text of 1 to {MOST_TEXT} characters{or_number}")
    return value


def _is_plain(value: Any) -> bool:
    """Whether a feature may have this value."""
    if isinstance(value, str):
        return _writable(value)
    return value is None or (isinstance(value, int | float) and abs(_float(value)) < 2.0**63)


def _object_in(name: str, text: str) -> Any:
    """The JSON that stands in an address."""
    try:
        return json.loads(text, parse_constant=float, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise DataError(f"{name} is {_shown(text)}: give a JSON object") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, none of whose names comes twice."""
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a name comes twice")
    return found


def _float(value: int | float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _writable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _shown(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 50 else text[:47] + "…"
