"""The functions of chunks, in the order of the pipeline but without Beam: equal to the log in memory."""

import json
import random
import sys

import big_logs
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from big_logs import PLAN

from rezoo.data import beam, stream_parts
from rezoo.data.preparing import cuts, folder, notes, numbering, raw, steps
from rezoo.data.preparing.plan import ROLES, Plan, from_json
from rezoo.data.reports import NothingLeft
from rezoo.errors import DataError


def shuffled(elements):
    """In the order in which a runner may give them."""
    elements = list(elements)
    random.Random(0).shuffle(elements)
    return elements


def grouped(pairs):
    """What GroupByKey does."""
    found = {}
    for key, value in shuffled(pairs):
        found.setdefault(key, []).append(value)
    return list(found.items())


def prepare(log, place, plan):
    """`beam.prepare` of lists."""
    found = raw.find(log, plan)
    folder.empty(place)
    rows = dict(raw.rows_of(path, found, plan) for path in found.texts)
    read = [one for group in found.groups for one in raw.group(group, found, plan)]
    read = shuffled(read + [one for path in found.texts for one in raw.text(path, found, plan, rows)])
    numbers, raws, shared = {}, {}, {}
    for role in ROLES:
        slots = plan.slots(role)
        pieces = grouped(one for r in read for one in numbering.by_bucket(r, role, slots, plan.buckets))
        merged = [numbering.merge(pieces) for _, pieces in pieces]
        numbers[role], raws[role] = (slots, None) if slots else numbering.in_order(plan.by_frequency, merged)
        shared[role] = numbering.added(numbering.collisions(one, slots) for one in merged) if slots else None
    noted = [steps.to_dense(one, plan, numbers["user"], numbers["item"]) for one in read]
    dropped = [found for _, found in noted]
    if plan.duplicates:
        pairs = grouped(one for chunk, _ in noted for one in steps.for_repeats(chunk, plan.buckets))
        gone = dict(grouped(one for pair in pairs for one in steps.repeats(pair, plan)))
        pieces = grouped(one for chunk, _ in noted for one in steps.by_chunk(chunk, plan))
        noted = [
            steps.without((number, {"rows": some, "gone": gone.get(number, [])}), plan)
            for number, some in pieces
        ]
        dropped += [found for _, found in noted]
    if plan.users > 1 or plan.items > 1:
        core = steps.whole_log()
        for _ in range(plan.rounds + 1):
            total = steps.add_counts(steps.remaining(steps.pairs(chunk), core) for chunk, _ in noted)
            core = steps.next_round(total, core, plan)
        noted = [steps.in_core(chunk, core, plan) for chunk, _ in noted]
        dropped += [found for _, found in noted]
    chunks = [chunk for chunk, _ in noted]
    left = steps.add_counts(steps.rows_by_id(chunk) for chunk in chunks)
    between = cuts.given(plan) if plan.is_split and plan.test_from is not None else []
    if plan.is_split and plan.test_from is None:
        spans = cuts.whole(cuts.span(chunk) for chunk in chunks)
        bins = cuts.total(cuts.histogram(chunk, spans) for chunk in chunks)
        between = cuts.found(plan, spans, bins, [cuts.near(chunk, spans, bins, plan) for chunk in chunks])
    parts = [part for chunk in chunks for part in cuts.by_part(steps.renumbered(chunk, left, plan), between)]
    by_part = grouped(one for part in parts for one in steps.for_writing(part, plan.part))
    written = [folder.write_part(one, place, plan) for one in by_part]
    if plan.sessions is not None:
        by_user = grouped(one for part in parts for one in steps.for_sessions(part, left, plan))
        written += [folder.write_sessions(one, place, plan) for one in by_user]
    known = [folder.write_ids(raws[role], left, place, role) for role in ROLES]
    all_notes = notes.merge(dropped)
    folder.finish(
        plan, place, found, all_notes, between, left, *known, shared["user"], shared["item"], written
    )


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return big_logs.write(tmp_path_factory.mktemp("log") / "raw", pa.table(big_logs.columns()))


@pytest.mark.parametrize(
    "plan",
    [
        PLAN,
        PLAN._replace(duplicates="first", by_frequency=False, users=1, items=1, sessions="user", buckets=1),
        PLAN._replace(valid=0.0, test=0.0, test_from=1_600_500_000, valid_from=1_600_400_000.5, users=1),
        PLAN._replace(duplicates=None, ratings=None, valid=0.0, test=0.0, last="2020-09-20"),
        PLAN._replace(user_slots=40, item_slots=1000, duplicates=None),
    ],
    ids=["all", "first", "times", "no split", "hashed"],
)
def test_chunks_give_what_memory_gives(log, tmp_path, plan):
    prepare(log, str(tmp_path / "out"), plan)
    made = big_logs.check(log, str(tmp_path / "out"), plan)
    assert made.report.after == sum(made.rows[name] for name in ("train", "valid", "test")) > 100
    if plan.user_slots:
        users = len(set(big_logs.columns()["customer"]) - {None, "NULL"})
        assert made.users.size == 41 and 40 < made.collisions["user"].ids <= users
        assert made.collisions["user"].shared > 40 > made.collisions["item"].shared
        train, table = folder.read(str(tmp_path / "out"), "train"), big_logs.columns()
        for role, ids in (("customer", made.users), ("product", made.items)):
            dense = train.user if role == "customer" else train.item
            np.testing.assert_array_equal(ids.encode(table[role][train.row_numbers - 1]), dense)
        assert made.items.encode(np.array(["1001", None])).tolist() == [made.items.encode([1001])[0], 0]
        with pytest.raises(DataError, match="ids of the log are int64"):
            made.items.encode(["tea"])


def test_what_is_written_is_streamed(log, tmp_path):
    prepare(log, place := str(tmp_path / "out"), PLAN)
    with pytest.raises(DataError, match="'tests' is not one of train, valid, test"):
        folder.read(place, "tests")
    parts = stream_parts.find(f"{place}/train", ["user", "item", "price"])
    assert parts.rows == 10 and max(size for _, _, size in parts.groups) == 10
    read = list(stream_parts.steps(parts, 2))
    total = sum(int(one["where"].sum()) for one in read)
    assert total == folder.load(place).rows["train"] == folder.read(place, "train").num_rows
    with pytest.raises(DataError, match=r"has files, such as .*: name a folder that is empty"):
        prepare(log, place, PLAN)
    assert big_logs.check(log, place, PLAN).fingerprint == folder.load(place).fingerprint


def test_csv_parts_are_the_same_log(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "csv").mkdir()
    table = pa.table(big_logs.columns()).drop_columns(["price"])
    table = table.set_column(0, "customer", table["customer"].fill_null(""))
    table = table.set_column(1, "product", table["product"].cast(pa.string()))
    for n in range(3):
        part = table.slice(n * 300, 300)
        pq.write_table(part, tmp_path / "raw" / f"{n}.parquet")
        pa.csv.write_csv(part, tmp_path / "csv" / f"{n}.csv")
    plan = PLAN._replace(extra=(), types=(("when", "float64"),))
    prepare(str(tmp_path / "csv"), str(tmp_path / "out"), plan)
    big_logs.check(str(tmp_path / "raw"), str(tmp_path / "out"), plan)
    with pytest.raises(DataError, match="column 'when': No type alias for real"):
        raw.find(str(tmp_path / "csv"), plan._replace(types=(("when", "real"),)))
    (tmp_path / "csv" / "3.csv").write_text("customer,product,when,stars\nann,7,soon,5\n")
    with pytest.raises(DataError, match=r"3\.csv: cannot be read as CSV with the columns"):
        prepare(str(tmp_path / "csv"), str(tmp_path / "again"), plan)


def test_keys_that_are_not_unique_are_refused():
    pieces = [
        numbering.Counted(np.ones(1, np.int64), pa.array([name]), np.ones(1, int), np.ones(1, int))
        for name in "ab"
    ]
    with pytest.raises(DataError, match="the ids 'a' and 'b' have the same 64-bit key"):
        numbering.merge(pieces)


def test_what_a_plan_asks_is_checked(log, tmp_path):
    for change, match in {
        ("timestamp", None): "a split by time needs times",
        ("sessions", "day"): "neither 'user' nor the seconds",
        ("rating", None): "limits of ratings need",
        ("duplicates", "newest"): "is not 'first'",
        ("test", 0.9): "leave something for training",
        ("test_from", 5): "not both",
        ("valid_from", 5): "valid_from needs test_from",
        ("sessions", float("nan")): "neither 'user' nor the seconds",
        ("sessions", -1): "neither 'user' nor the seconds",
        ("unit", "order"): "gives the order alone",
        ("chunk", 0): "give 1 or more",
        ("part", 65): "must be a multiple",
        ("item_slots", 2**31): "or 0 for a map",
        ("extra", ("customer",)): "not a number",
        ("unit", None): "give the unit of numbers",
        ("user", "shopper"): "no column 'shopper'",
    }.items():
        with pytest.raises(DataError, match=match):
            raw.find(log, PLAN._replace(**dict([change])))
    with pytest.raises(DataError, match=r"after 1 rounds .*: give Plan\(rounds=2\)"):
        prepare(log, str(tmp_path / "few"), PLAN._replace(rounds=1))
    with pytest.raises(NothingLeft, match="nothing is left"):
        prepare(log, str(tmp_path / "none"), PLAN._replace(users=500, valid=0.0, test=0.0))
    with pytest.raises(DataError, match=r"none: has no whole manifest\.json"):
        folder.load(str(tmp_path / "none"))


def test_a_plan_is_read_from_json():
    assert from_json(json.dumps(PLAN._asdict())) == PLAN and from_json("{}") == Plan()
    for text, match in {
        "{": "is not JSON",
        "[]": "not an object",
        '{"usr": 1}': "plan",
        '{"users": "5"}': "users",
    }.items():
        with pytest.raises(DataError, match=match):
            from_json(text)


def test_without_beam_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'rezoo\[beam\]'"):
        beam.prepare(None, "raw", "out", PLAN)
