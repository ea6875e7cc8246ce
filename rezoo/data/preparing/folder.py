"""The folder of a prepared log: parts of columns, sessions, id maps and a manifest.

    manifest.json                       what is there, how it was made, the report of cleaning
    users.parquet, items.parquet        raw ids; the first one has the dense id 1
    train/part-00000.parquet …          and valid, test: rows in the order of the raw log
    train_sessions/part-00000.parquet   and so on: `items` (lists), `user`, `start`; by user and time

The manifest is written last: a folder without one is not complete.
"""

import contextlib
import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from rezoo.data import sessions
from rezoo.data.arrow import to_numpy
from rezoo.data.ids import Ids
from rezoo.data.interactions import Interactions
from rezoo.data.preparing import notes
from rezoo.data.preparing.groups import Counts, join
from rezoo.data.preparing.notes import Notes
from rezoo.data.preparing.numbering import Collisions, Hashed
from rezoo.data.preparing.plan import PARTS, ROLES, Chunk, Plan
from rezoo.data.preparing.raw import Raw
from rezoo.data.reports import Reason, Report
from rezoo.data.stream_parts import opened
from rezoo.data.times import ORDER
from rezoo.errors import DataError
from rezoo.storage import fingerprint

VERSION, MANIFEST = 1, "manifest.json"
NOBODY = Ids(np.zeros(0, np.int64))
Written = tuple[str, int]
"""The folder of a part, and its rows."""


class Prepared(NamedTuple):
    """What a manifest says, and the id maps."""

    users: Ids | Hashed
    """`users.size` is the number of rows of a user table; likewise `items`."""
    items: Ids | Hashed
    rows: dict[str, int]
    """Of the folders: "train", "valid", "test", and their "…_sessions"."""
    cuts: tuple[int, ...]
    """The times, in microseconds, from which on rows are for validation, and for testing."""
    report: Report
    collisions: dict[str, Collisions]
    """Of "user" and "item", where these are numbered by a hash."""
    fingerprint: str
    """Of the raw log and the plan."""
    ordered: bool = False
    """Whether the times are numbers of an order."""


def empty(folder: str) -> None:
    """Raise a DataError if a folder has files, so that parts of two logs are never mixed."""
    system, place = opened(folder)
    system.create_dir(place, recursive=True)
    if found := system.get_file_info(fs.FileSelector(place)):
        raise DataError(f"{folder}: has files, such as {found[0].base_name}: name a folder that is empty")


def write_part(one: tuple[tuple[str, int], Iterable[Chunk]], folder: str, plan: Plan) -> Written:
    """Write the chunks of a part, in the order of the log."""
    (name, number), chunks = one
    rows = join(chunks)
    _write(pa.table(rows), folder, f"{name}/part-{number:05}.parquet", plan.group)
    return name, len(rows["row"])


def write_sessions(one: tuple[tuple[str, int], Iterable[Chunk]], folder: str, plan: Plan) -> Written:
    """Write the sessions of a bucket of users."""
    (name, number), chunks = one
    rows = join(chunks)
    log = Interactions(rows["user"], rows["item"], None, rows.get("timestamp"), None, {}, NOBODY, NOBODY)
    gap = plan.sessions
    made = sessions.by_gap(log, gap) if isinstance(gap, int | float) else sessions.by_user(log)
    columns = {"items": pa.ListArray.from_arrays(pa.array(made.offsets, pa.int32()), pa.array(made.items))}
    columns |= {"user": made.user} | ({} if made.start is None else {"start": made.start})
    _write(pa.table(columns), folder, f"{name}_sessions/part-{number:05}.parquet", plan.group)
    return f"{name}_sessions", made.num_sessions


def write_ids(raw: pa.Array | None, left: Mapping[str, Counts], folder: str, role: str) -> pa.Array | None:
    """Write the raw ids that are left, unless they are hashed; returns those that there were."""
    if raw is not None:
        kept = raw.take(pa.array(left[role][0] - 1))
        _write(pa.table({"raw": kept}), folder, f"{role}s.parquet", 1 << 20)
    return raw


def finish(
    plan: Plan,
    folder: str,
    found: Raw,
    dropped: Notes,
    cuts: list[int],
    left: Mapping[str, Counts],
    users: pa.Array | None,
    items: pa.Array | None,
    user_collisions: Collisions | None,
    item_collisions: Collisions | None,
    written: Iterable[Written],
) -> None:
    """Write the manifest.

    Raises:
      NothingLeft: if no row is left.
    """
    report = notes.report(dropped, {"user": users, "item": items}, left)
    rows: dict[str, int] = dict.fromkeys(PARTS, 0)
    for name, count in written:
        rows[name] = rows.get(name, 0) + count
    both = {"user": user_collisions, "item": item_collisions}
    hashed = {role: shared for role, shared in both.items() if shared is not None}
    content = {
        "version": VERSION,
        "fingerprint": fingerprint.of(found.identity, json.dumps(plan._asdict())),
        "rows": rows,
        "cuts": cuts,
        "sizes": {role: (plan.slots(role) or len(left[role][0])) + 1 for role in ROLES},
        "hashed": {
            role: {
                **shared._asdict(),
                "rate": shared.rate,
                "slots": plan.slots(role),
                "kind": found.kinds[role],
            }
            for role, shared in hashed.items()
        },
        "report": {**report._asdict(), "reasons": [reason._asdict() for reason in report.reasons]},
        "plan": plan._asdict(),
    }
    system, place = opened(folder)
    with _stream(system, f"{place}/{MANIFEST}") as stream:
        stream.write((json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def load(folder: str) -> Prepared:
    """What was prepared; rows are read by `stream_parts`, or by `read` where they fit into memory.

    Raises:
      DataError: if the folder has no manifest of this version.
    """
    system, place = opened(folder)
    try:
        with system.open_input_stream(f"{place}/{MANIFEST}") as stream:
            content = json.loads(stream.read())
    except (OSError, ValueError) as error:
        raise DataError(f"{folder}: has no whole {MANIFEST} ({error}); prepare the log again") from error
    if content.get("version") != VERSION:
        raise DataError(f"{folder}: {MANIFEST} has version {content.get('version')}, not {VERSION}")
    maps = {role: _ids(system, place, role, content["hashed"].get(role)) for role in ROLES}
    shared = {
        role: Collisions(one["ids"], one["shared"], one["rows"]) for role, one in content["hashed"].items()
    }
    report = content["report"]
    reasons = [Reason(**reason) for reason in report["reasons"]]
    return Prepared(
        maps["user"],
        maps["item"],
        content["rows"],
        tuple(content["cuts"]),
        Report(report["before"], report["after"], reasons),
        shared,
        content["fingerprint"],
        content["plan"]["unit"] == ORDER,
    )


def read(folder: str, part: str) -> Interactions:
    """The rows of "train", "valid" or "test" as a log in memory, as `split.of(log)` gives it.

    Ids that are slots of a hash are their own raw ids.

    Raises:
      DataError: if the folder has no manifest, or no such part.
    """
    made = load(folder)
    if part not in PARTS:
        raise DataError(f"{folder}: part {part!r} is not one of {', '.join(PARTS)}")
    users, items = (
        Ids(np.arange(1, ids.size)) if isinstance(ids, Hashed) else ids for ids in (made.users, made.items)
    )
    if not made.rows.get(part):
        none = np.zeros(0, np.int32)
        return Interactions(none, none, None, None, None, {}, users, items, np.zeros(0, np.int64))
    system, place = opened(folder)
    table = pq.read_table(f"{place}/{part}", filesystem=system)
    columns = {name: to_numpy(table[name]) for name in table.column_names}
    user, item, row = (columns.pop(name) for name in ("user", "item", "row"))
    rating, timestamp = (columns.pop(name, None) for name in ("rating", "timestamp"))
    return Interactions(user, item, rating, timestamp, None, columns, users, items, row, made.ordered)


def _ids(system: Any, place: str, role: str, hashed: Mapping[str, Any] | None) -> Ids | Hashed:
    if hashed is not None:
        return Hashed(hashed["slots"], hashed["kind"])
    raw = to_numpy(pq.read_table(f"{place}/{role}s.parquet", filesystem=system)["raw"])
    return Ids(raw.astype(str) if raw.dtype.kind == "O" else raw)


def _write(table: pa.Table, folder: str, name: str, group: int) -> None:
    system, place = opened(folder)
    path = f"{place}/{name}"
    system.create_dir(path.rpartition("/")[0], recursive=True)
    with _stream(system, path) as stream:
        pq.write_table(table, stream, row_group_size=group)


@contextlib.contextmanager
def _stream(system: Any, path: str) -> Iterator[Any]:
    """A file that takes its name when it is whole: a runner may write a part twice, or be killed."""
    parent, _, name = path.rpartition("/")
    partial = f"{parent}/.{name}.{uuid.uuid4().hex}"
    with system.open_output_stream(partial) as stream:
        yield stream
    system.move(partial, path)
