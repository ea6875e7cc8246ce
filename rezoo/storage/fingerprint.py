"""Fingerprints of runs, studies and experiments: a folder of results is reused only by the same one.

A fingerprint is a few named parts, such as `{"data": …, "arguments": …, "code": …}`, each a digest.
Every fingerprint has a folder of its own inside the one that the user gives, so results of
other data, other hyper-parameters or other code are never reused.
"""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import inspect
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from types import CodeType
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from rezoo.devices import processes
from rezoo.storage import durable

PARTS = "fingerprint.json"
"""The file in a folder that holds its parts."""
_log = logging.getLogger(__name__)


def of(*things: Any) -> str:
    """A digest of pytrees of arrays, keys, numbers and text: their structure, types, shapes and values.

    >>> of({"rate": 0.1}) == of({"rate": 0.1}), of({"rate": 0.1}) == of({"rate": 0.2})
    (True, False)

    Raises:
      TypeError: for a leaf that is none of these.
    """
    leaves, structure = jax.tree.flatten(things)
    digest = hashlib.blake2b(str(structure).encode(), digest_size=16)
    for leaf in leaves:
        for piece in _pieces(leaf):
            digest.update(piece)
    return digest.hexdigest()


def program(function: Callable[..., Any], *arguments: Any) -> dict[str, str]:
    """What a function of arrays computes: its operations (part `program`) and the arrays it holds (`data`).

    It is traced, not run, and only shapes and types of `arguments` count. Code that results in the
    same operations has the same fingerprint, however it is written.

    Raises:
      TypeError: if it cannot be traced, as it needs the values on the host.
    """
    try:
        closed = jax.make_jaxpr(function)(*arguments)
    except (jax.errors.JAXTypeError, jax.errors.JAXIndexError) as error:
        raise TypeError(
            "this function cannot be traced, so its identity has to be given: "
            "identity=rezoo.storage.fingerprint.of(…), of the data and settings that it reads"
        ) from error
    text = re.sub(r" at 0x[0-9a-f]+", "", str(closed))  # of Python functions in it
    text = re.sub(r"frozenset\(\{(.*?)\}\)", lambda found: str(sorted(found[1].split(", "))), text)
    arrays = list(_constants(closed))
    scalars = [value for value in arrays if np.ndim(value) == 0]
    return {"program": of(text, scalars), "data": of([value for value in arrays if np.ndim(value)])}


def code(function: Any) -> str:
    """A digest of a Python function that cannot be traced: its bytecode and what it holds.

    Of what it holds, by closure, by default or as a global of its module, other functions, arrays, numbers
    and text count, dataclasses by their fields, modules and classes by their names; lists, in which a
    function takes notes, only for the arrays in them.
    """
    return of(list(_held(function, getattr(function, "__module__", ""), set())))


@cache
def versions() -> str:
    """Of the packages that decide how a program is computed."""
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("rezoo", "jax", "jaxlib"))


def source(*files: str | Path) -> str:
    """A digest of the text of rezoo, of these files, and of `versions`."""
    own = sorted(Path(__file__).parent.rglob("*.py"))
    return of(versions(), [Path(file).read_bytes() for file in (*own, *files)])


def content(*places: str | Path) -> str:
    """A digest of the bytes of files, and of the files in folders."""
    digests = []
    for place in map(Path, places):
        files = sorted(filter(Path.is_file, place.rglob("*"))) if place.is_dir() else [place]
        for file in files:
            with file.open("rb") as handle:
                digest = hashlib.file_digest(handle, "blake2b").hexdigest()
            digests += [str(file.relative_to(place)), digest]
    return of(digests)


@contextlib.contextmanager
def own(folder: str | Path | None, parts: Callable[[], Mapping[str, str]]) -> Iterator[Path | None]:
    """The folder (see `place`) of these parts, locked for this process; None without a folder.

    Of several processes (`rezoo.devices.processes`), all call it, and process 0 locks it for them.

    Raises:
      rezoo.storage.durable.BusyError: if another process holds it.
      OSError: if it cannot be written to.
    """
    if not folder:
        yield None
        return
    if not processes.first():
        processes.wait_for_all("folder")
        yield place(folder, parts())
        return
    where = place(folder, parts())
    with durable.lock(where):
        processes.wait_for_all("folder")
        yield where


def place(folder: str | Path, parts: Mapping[str, str]) -> Path:
    """The folder inside `folder` that belongs to the fingerprint, made if it is not there.

    If it has to be made beside those of others, a line of the log names it, the one that is most like it,
    and the parts in which they differ.

    Raises:
      OSError: if it cannot be written to.
    """
    own = Path(folder) / of(dict(parts))[:12]
    if (own / PARTS).exists():
        return own
    own.mkdir(parents=True, exist_ok=True)
    others = [(_difference(file, parts), file.parent) for file in own.parent.glob(f"*/{PARTS}")]
    if others:
        names, other = min(others, key=lambda found: (len(found[0]), found[1]))
        _log.warning("%s differs in %s: starting over, in %s", other, " and ".join(names), own)
    with durable.file(own / PARTS) as partial:
        partial.write_text(json.dumps(dict(parts), indent=1) + "\n", "utf-8")
    return own


def _difference(file: Path, parts: Mapping[str, str]) -> list[str]:
    try:
        held = json.loads(file.read_text("utf-8"))
    except ValueError:
        return [*parts]
    return [name for name in dict.fromkeys([*parts, *held]) if parts.get(name) != held.get(name)]


def _pieces(leaf: Any) -> Iterator[Any]:
    if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        yield str(leaf.dtype).encode()
        leaf = jax.random.key_data(leaf)
    if isinstance(leaf, jax.Array | np.ndarray | np.generic):
        array = np.asarray(leaf)
        yield f"{array.dtype}{array.shape}".encode()
        if array.dtype == object:
            yield repr(array.tolist()).encode()
        else:
            yield np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    elif isinstance(leaf, str | bytes | bool | int | float | complex | Path):
        yield f"{type(leaf).__name__} {leaf!r}".encode()
    else:
        raise TypeError(f"a fingerprint is made of arrays, numbers and text, but not of {leaf!r}")


def _held(thing: Any, home: str, seen: set[int]) -> Iterator[Any]:
    """The pieces that `code` is made of; of functions from other modules than `home`, no globals."""
    thing = inspect.unwrap(thing) if callable(thing) else thing
    if id(thing) in seen:
        return
    if inspect.isfunction(thing):
        seen.add(id(thing))
        yield from (thing.__qualname__, *_bytecode(thing.__code__))
        held = inspect.getclosurevars(thing)
        around = held.globals if thing.__module__ == home else {}
        inside = [held.nonlocals, around, thing.__defaults__, thing.__kwdefaults__]
    elif inspect.ismethod(thing) or isinstance(thing, partial):
        inside = [thing.__func__] if inspect.ismethod(thing) else [thing.func, thing.args, thing.keywords]
    else:
        if inspect.ismodule(thing) or inspect.isclass(thing):
            yield f"{getattr(thing, '__module__', '')} {thing.__name__}"
            return
        if dataclasses.is_dataclass(thing):
            seen.add(id(thing))
            yield f"{type(thing).__module__} {type(thing).__qualname__}"
            for field in dataclasses.fields(thing):
                yield field.name
                yield from _held(getattr(thing, field.name, None), home, seen)
            return
        notes = isinstance(thing, list)
        kinds = jax.Array | np.ndarray if notes else jax.Array | np.ndarray | str | bytes | int | float
        yield from (value for value in jax.tree.leaves(thing) if isinstance(value, kinds))
        return
    for value in (value for part in inside for value in jax.tree.leaves(part, is_leaf=_is_list)):
        yield from _held(value, home, seen)


def _is_list(thing: Any) -> bool:
    return isinstance(thing, list)


def _bytecode(compiled: CodeType) -> Iterator[Any]:
    yield from (compiled.co_code, *compiled.co_names)
    for constant in compiled.co_consts:
        constant = sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant
        yield from _bytecode(constant) if isinstance(constant, CodeType) else [repr(constant)]


def _constants(thing: Any) -> Iterator[Any]:
    """The arrays in a program and in the programs that it calls."""
    if isinstance(thing, ClosedJaxpr):
        yield from thing.consts
        thing = thing.jaxpr
    if isinstance(thing, Jaxpr):
        for equation in thing.eqns:
            yield from (value.val for value in equation.invars if isinstance(value, Literal))
            for value in equation.params.values():
                yield from _constants(value)
    elif isinstance(thing, tuple | list):
        for value in thing:
            yield from _constants(value)
