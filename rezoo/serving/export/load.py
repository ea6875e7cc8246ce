"""Asks an exported model by raw ids. It needs jax and numpy, and flatbuffers, with which `jax.export` reads.

    model = Model("shop")                                       # this file lies in that folder, too
    model.recommend(["ann", "bob"], k=10)                       # for each user [(item, score), …], best first
    model.predict(["ann", "ann"], ["tea", "cup"])               # on the scale of the training data

    sessions = model.start(1000)                                # if model.sessions: live sessions by slot
    sessions = model.begin(sessions, [7], ["ann"])
    sessions = model.observe(sessions, [7], ["tea"])
    model.next_items(sessions, [7], k=10)

Unknown users are answered with the prior, unknown items of histories are left out. A program is compiled
at the first call with each number of rows: ask in batches of a few sizes. `features` are given as fitted,
integers and floats; those of known users are in the folder.

A model that reads columns of events, such as their type and time, is given them beside each history, and
beside each item that is observed, likewise as fitted, times in seconds, 0 where they are unknown. Which they
are stands in manifest.json, "events", with the type and shape of one value:

    model.recommend(["ann"], histories=[["tea", "cup"]], events={"type": [[1, 3]]})
    sessions = model.observe(sessions, [7], ["tea"], events={"type": [1]})

A file that has not the size and the SHA-256 that manifest.json states is refused, and loading unpickles
nothing and executes no Python of the folder. Asking runs the folder's programs, which are XLA's: they
compute, and call nothing outside of XLA. Who can write the manifest can write its sums, too: take folders
from where you take code.
"""

import hashlib
import io
import json
import re
import struct
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.export
import numpy as np

FORMAT = 2
"""The newest that is read. 1, without columns of events, is read, too."""
MOST = 2**22
"""Bytes of manifest.json."""
CALLS = {"shape_assertion", "stablehlo.dynamic_reduce_window"}
"""The custom calls that programs may have: JAX's check of arguments' shapes, an operation of open shape."""
BROKEN = (OSError, ValueError, LookupError, TypeError, AttributeError, AssertionError, RuntimeError)
BROKEN += (ArithmeticError, MemoryError, struct.error, zipfile.BadZipFile)
"""What Python, NumPy, flatbuffers and JAX raise for content that is not what it should be."""


class Model:
    """An exported model, loaded.

    Raises:
      ValueError: if the folder is not whole, or is of another format.
    """

    def __init__(self, folder: str | Path):
        try:
            self._load(Path(folder))
        except BROKEN as error:
            raise ValueError(f"{folder} is not an exported model that this can read: {error}") from error

    def _load(self, folder: Path) -> None:
        self.manifest = json.loads(read(folder / "manifest.json"))
        if (found := self.manifest["format"]) not in range(1, FORMAT + 1):
            raise ValueError(
                f"it has format {found}, and this reads 1 … {FORMAT}: use the load.py of that folder"
            )
        files = self.manifest["files"]
        stored = arrays(read(folder / "ids.npz", files["ids.npz"]))
        variables = arrays(read(folder / "variables.npz", files["variables.npz"]))
        for name, kind in self.manifest["types"].items():
            variables[name] = variables[name].view(jax.numpy.dtype(kind))
        self.items, self.names = stored["items"], stored.get("item_names")
        self._user, self._item = finder(stored["users"]), finder(self.items)
        self._events = {
            name: (np.dtype(kind), tuple(shape))
            for name, (kind, shape) in self.manifest.get("events", {}).items()
        }
        rating = {"history_rating": (np.dtype("float32"), ())} if self.manifest["rates_history"] else {}
        self._of_each = self._events | rating
        past = {name: f"history_columns/{name}" for name in self._events}
        past |= {name: name for name in ("history", "history_rating")}
        self._past = {name: stored[at] for name, at in past.items() if at in stored}
        self._columns = {
            name: stored[f"user_columns/{name}"]
            for name in self.manifest["features"]
            if f"user_columns/{name}" in stored
        }
        programs = [name for name in PROGRAMS if f"{name}.jax" in files]
        self.programs = {
            name: program(read(folder / f"{name}.jax", files[f"{name}.jax"]), DONATED.get(name, ()))
            for name in programs
        }
        self.sessions = "observe" in programs
        self._served = {"variables": jax.device_put(variables), "table": None}
        if "table" in programs:
            self._served["table"] = self.programs["table"](self._served["variables"])

    def recommend(
        self, users: Sequence[Any], k: int = 10, *, exclude: Sequence | None = None, **question: Any
    ) -> list[list[tuple[Any, float]]]:
        """For each user the k best items and their scores, without those of `exclude`, a list for each user;
        `question` as of `query`.
        """
        query = self.query(users, **question)
        return self._lists(self.programs["recommend"](self._served, query, self._hidden(exclude, users)), k)

    def predict(self, users: Sequence[Any], items: Sequence[Any], **question: Any) -> np.ndarray:
        """The prediction for each pair: float32 `[n]`."""
        query, asked = self.query(users, **question), dense(self._item, items)
        if len(asked) != len(query["user"]):
            raise ValueError(f"there are {len(query['user'])} users and {len(asked)} items: give pairs")
        return np.asarray(self.programs["predict"](self._served, query, asked))

    def encode(self, users: Sequence[Any], **question: Any) -> np.ndarray:
        """Each user's vector `[n D]`, whose inner product with an item's is the score: for a vector index."""
        return np.asarray(self.programs["encode"](self._served, self.query(users, **question)))

    def start(self, slots: int) -> dict[str, Any]:
        """So many sessions, of nobody and without an event."""
        shapes = self.manifest["sessions"].items()
        empty = {name: np.zeros((slots, *shape), kind) for name, (kind, shape) in shapes}
        nothing = [[]] * slots
        events = dict.fromkeys(self._events, nothing)
        return self.begin(empty, range(slots), [None] * slots, histories=nothing, events=events)

    def begin(self, sessions: Any, slots: Sequence[int], users: Sequence[Any], **question: Any) -> Any:
        """The sessions after new ones began at these slots; those that are given may not be used again."""
        query, where = self.query(users, **question), place(sessions, slots)
        if len(where) != len(query["user"]):
            raise ValueError(
                f"there are {len(where)} slots and {len(query['user'])} users: give one for each"
            )
        return self.programs["begin"](self._served, sessions, where, query)

    def observe(
        self,
        sessions: Any,
        slots: Sequence[int],
        items: Sequence[Any],
        *,
        events: Mapping[str, Any] | None = None,
    ) -> Any:
        """The sessions after one more event in each of these slots, which differ from each other.

        `events` are fitted columns, a value for each item, for models that read them.

        Raises:
          ValueError: if a column that the model reads is not there, or not as it reads it.
        """
        told = self._named(events, "a value for each item, events={%r: […]}")
        columns = {name: of_events(name, told[name], len(items), *self._events[name]) for name in told}
        where, seen = place(sessions, slots), dense(self._item, items)
        if len(where) != len(seen):
            raise ValueError(f"there are {len(where)} slots and {len(seen)} items: give one for each")
        given = [where, seen, *([columns] if columns else [])]
        return self.programs["observe"](self._served, sessions, *given)

    def next_items(
        self, sessions: Any, slots: Sequence[int], k: int = 10, *, exclude: Sequence | None = None
    ) -> list[list[tuple[Any, float]]]:
        """For each of these sessions the k best items and their scores."""
        where, hidden = place(sessions, slots, again=True), self._hidden(exclude, slots)
        return self._lists(self.programs["next_items"](self._served, sessions, where, hidden), k)

    def query(
        self,
        users: Sequence[Any],
        *,
        histories: Sequence[Sequence[Any]] | None = None,
        ratings: Sequence[Sequence[float]] | None = None,
        events: Mapping[str, Any] | None = None,
        features: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """What programs call `query`.

        Args:
          users: raw ids.
          histories: raw item ids of each one's past, oldest first; those of the folder by default.
          ratings: those of each one's past, for models that read them.
          events: fitted columns of the events of each one's past, for models that read them, by name.
          features: fitted features by name, a row for each user; known users have those of the folder.

        Raises:
          ValueError: if the model reads a history, a column of its events or a feature that is not there, or
            such a column is not as the model reads it.
        """
        user, features = dense(self._user, users), features or {}
        if histories is not None:
            past = self._lined(lists(histories, len(user)), self._told(ratings, events))
        elif events is not None or ratings is not None:
            what = "events" if ratings is None else "ratings"
            raise ValueError(f"{what} are of no histories: give histories=[[…], …] too")
        elif self._past:
            past = {name: one[user] for name, one in self._past.items()}
        elif self.manifest["reads_history"]:
            raise ValueError(f"{self.manifest['model']} reads a history: give histories=[[…], …]")
        else:
            past = self._lined([[]] * len(user), dict.fromkeys(self._of_each, [[]] * len(user)))
        columns = {name: self._column(name, user, features) for name in self.manifest["features"]}
        columns |= {name: past[name] for name in self._of_each}
        return {"user": user, "history": past["history"], "features": columns}

    def _column(self, name: str, user: np.ndarray, features: Mapping[str, Any]) -> np.ndarray:
        kind, shape = self.manifest["features"][name]
        column, stored = np.zeros((len(user), *shape), kind), self._columns.get(name)
        if name in features:
            column[:] = fitted(name, features[name], column.shape, kind, "users")
        elif stored is None:
            raise ValueError(f"the model reads {name!r} of each question: give features={{{name!r}: …}}")
        else:
            column[:] = stored[0]
        if stored is not None:
            column[user > 0] = stored[user[user > 0]]
        return column

    def _told(self, ratings: Any, events: Mapping[str, Any] | None) -> dict[str, Any]:
        """What the model reads of each event beside its item, by name, as lists beside the histories."""
        told = self._named(events, "lists of them beside the histories, events={%r: [[…], …]}")
        if self.manifest["rates_history"]:
            if ratings is None:
                raise ValueError(
                    f"{self.manifest['model']} reads the ratings of histories: give ratings=[[…], …]"
                )
            told["history_rating"] = ratings
        return told

    def _named(self, events: Mapping[str, Any] | None, what: str) -> dict[str, Any]:
        """The columns of events that the model reads, of those that are given."""
        if missing := [name for name in self._events if name not in (events or {})]:
            raise ValueError(
                f"{self.manifest['model']} reads the columns {', '.join(missing)} of each event: give "
                f"{what % missing[0]}, 0 where they are unknown"
            )
        return {name: (events or {})[name] for name in self._events}

    def _lined(self, histories: Sequence[Sequence[Any]], told: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Lists as rows, padded with 0 at the end, without the items that are unknown."""
        width, kinds = max([1, *map(len, histories)]), {"history": (np.dtype("int32"), ()), **self._of_each}
        made = {
            name: np.zeros((len(histories), width, *shape), kind) for name, (kind, shape) in kinds.items()
        }
        for name, lists in told.items():
            if list(map(len, lists)) != list(map(len, histories)):
                raise ValueError(f"{name} must be as many as the histories, and each as long as its history")
        for n, raw in enumerate(histories):
            ids = dense(self._item, raw)
            row = {name: of_events(name, told[name][n], len(raw), *kinds[name]) for name in told}
            for name, values in (row | {"history": ids}).items():
                made[name][n, : np.count_nonzero(ids)] = values[ids > 0]
        return made

    def _hidden(self, exclude: Sequence | None, rows: Sequence) -> np.ndarray:
        given = [[]] * len(rows) if exclude is None else lists(exclude, len(rows))
        items = [dense(self._item, one) for one in given]
        hidden = np.zeros((len(items), max([1, *map(len, items)])), np.int32)
        for row, one in zip(hidden, items, strict=True):
            row[: len(one)] = one
        return hidden

    def _lists(self, found: tuple[Any, Any], k: int) -> list[list[tuple[Any, float]]]:
        if k not in range(1, self.manifest["k"] + 1):
            raise ValueError(f"k = {k}: lists of 1 … {self.manifest['k']} were exported")
        ids, scores = (np.asarray(one)[:, :k].tolist() for one in found)
        return [
            [(self.items[n - 1].item(), score) for n, score in zip(row, best, strict=True) if n > 0]
            for row, best in zip(ids, scores, strict=True)
        ]


PROGRAMS = ("table", "recommend", "predict", "encode", "begin", "observe", "next_items")
DONATED = {"begin": (1,), "observe": (1,)}
"""The sessions are written in place."""


def read(file: Path, known: Mapping[str, Any] | None = None) -> bytes:
    """A file's bytes, if they are those of the manifest."""
    if not file.is_file():
        raise ValueError(f"{file.name} is missing")
    size, most = file.stat().st_size, MOST if known is None else known["bytes"]
    if size > most or (known is not None and size != most):
        raise ValueError(f"{file.name} has {size} bytes, not the {most} that are expected: copy it again")
    data = file.read_bytes()
    if known is not None and hashlib.sha256(data).hexdigest() != known["sha256"]:
        raise ValueError(f"{file.name} was altered, or is damaged: copy it again, or export the model again")
    return data


def arrays(data: bytes) -> dict[str, np.ndarray]:
    """The arrays of an npz file, none larger than the file."""
    found = {}
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        for info in file.infolist():
            if info.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{info.filename} is compressed")
            stream = io.BytesIO(file.read(info))
            if np.lib.format.read_magic(stream) != (1, 0):
                raise ValueError(f"{info.filename} is no array")
            shape, columns_first, kind = np.lib.format.read_array_header_1_0(stream)
            array = np.frombuffer(stream.getbuffer()[stream.tell() :], kind)  # refuses objects
            name = info.filename.removesuffix(".npy")
            found[name] = array.reshape(shape, order="F" if columns_first else "C")
    return found


def program(data: bytes, donated: tuple[int, ...]) -> Callable[..., Any]:
    """An exported program, compiled at the first call with each shape."""
    exported = jax.export.deserialize(bytearray(data))
    if strange := set(re.findall(r'custom_call @"?([^"(\s]+)', exported.mlir_module())) - CALLS:
        raise ValueError(f"a program calls {', '.join(sorted(strange))}, which no exported model does")
    return jax.jit(exported.call, donate_argnums=donated)


def finder(raw: np.ndarray) -> Callable[[Any], int]:
    """From a raw id to its number, 0 if it is unknown.

    Where the ids are integers, "12", " 12", "12.0" and 12.0 are 12, and "012" is not; where they are text, 12
    and 12.0 are "12", and blanks around a text count only if the ids have them.
    """
    number = {one: n for n, one in enumerate(raw.tolist(), 1)}
    integers = raw.dtype.kind in "iub"

    def find(one: Any) -> int:
        if isinstance(one, float | np.floating):
            one = int(one) if abs(one) < 2.0**53 and one == int(one) else None
        if isinstance(one, bool | np.bool_ | int | np.integer):
            return number.get(int(one) if integers else str(one), 0)
        if not isinstance(one, str):
            return 0
        if integers:
            found = re.fullmatch(r"\s*(-?(?:0|[1-9][0-9]*))(?:\.0+)?\s*", one)
            return number.get(int(found[1]), 0) if found and len(found[1]) < 20 else 0
        return number.get(one, 0) or number.get(one.strip(), 0)

    return find


def dense(find: Callable[[Any], int], raw: Sequence[Any]) -> np.ndarray:
    """The numbers of raw ids."""
    if isinstance(raw, str | bytes):
        raise ValueError(f"{raw!r} is one id: give a list")
    return np.array([find(one) for one in raw], np.int32)


def lists(given: Sequence[Any], count: int) -> list[Any]:
    """A list of raw ids for each row."""
    rows = list(given)
    if any(isinstance(one, str | bytes) or not hasattr(one, "__len__") for one in [given, *rows]):
        raise ValueError("an id stands where a list is expected: give lists of ids, such as [['a', 'b'], []]")
    if len(rows) != count:
        raise ValueError(f"there are {count} users and {len(rows)} lists of items: give one to each")
    return rows


def of_events(name: str, values: Any, count: int, kind: np.dtype, shape: tuple) -> np.ndarray:
    """What a column has of so many events, as programs take it: `[count …]`."""
    return fitted(name, values, (count, *shape), kind, "events")


def fitted(name: str, values: Any, shape: tuple, kind: Any, of: str) -> np.ndarray:
    """A fitted column of users or of events, of the shape and type that programs take."""
    kind = np.dtype(kind)
    try:
        array = np.asarray(values) if shape[0] else np.asarray(values).reshape(shape)
    except ValueError:  # lists of different lengths
        array = np.asarray(None)
    whole = kind.kind == "i"
    most = float(np.iinfo(kind).max if whole else np.finfo(kind).max)
    fits = array.shape == shape and array.dtype.kind in ("biu" if whole else "biuf")
    if shape[0] and not (fits and (np.abs(array.astype(float)) <= most).all()):  # a NaN is not
        raise ValueError(
            f"the column {name!r} of {of} is {array.dtype} {list(array.shape)}: give {kind} "
            f"{list(shape)}, as fitted, finite and within its type, 0 where it is unknown"
        )
    return array.astype(kind)


def place(sessions: Any, slots: Sequence[int], *, again: bool = False) -> np.ndarray:
    """Slots as programs take them: one below 0 or beyond the last is nobody's, and takes nothing.

    One may come `again` where nothing is written.
    """
    where = np.asarray(slots)
    if where.ndim != 1 or (len(where) and where.dtype.kind not in "iu"):
        raise ValueError(f"slots are {where.tolist()}: give a list of whole numbers")
    count = len(next(iter(sessions.values())))
    real = where[(where >= 0) & (where < count)]
    if not again and len(np.unique(real)) < len(real):
        raise ValueError(f"slots are {where.tolist()}: give each of them once")
    return np.where((where >= 0) & (where < count), where, -1).astype(np.int32)
