from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import apply, init
from hypothesis import given
from hypothesis import strategies as st

from rezoo.arrays import offsets_of
from rezoo.data import batches, packing, stream_sessions
from rezoo.data.sessions import Sessions
from rezoo.errors import DataError
from rezoo.models import GRU4Rec
from rezoo.nn.events import TimeGap

GROUP, LENGTH = 20, 8
EVENTS = ["time", "type", "price", "tags"]


def drawn(count=130):
    """Sessions whose times go back now and then, and some of whose columns are unknown."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 15, count)
    total = lengths.sum()
    columns = {
        "type": rng.integers(0, 4, total).astype(np.int32),
        "time": (rng.integers(0, 5, total) * rng.integers(-(2**20), 2**28, total)).astype(np.int32),
        "price": rng.normal(size=total).astype(np.float32),
        "tags": rng.integers(0, 3, (total, 2)).astype(np.int32),
    }
    return Sessions(rng.integers(1, 90, total).astype(np.int32), offsets_of(lengths), columns=columns)


def table_of(sessions):
    """Lists of the items and of each column, in other types than those of training."""
    arrays = {
        "items": pa.array(sessions.items),
        "type": pa.array(sessions.columns["type"].astype(np.uint8)),
        "time": pa.array(sessions.columns["time"].astype(np.int64)),
        "price": pa.array(sessions.columns["price"].astype(np.float64)),
        "tags": pa.FixedSizeListArray.from_arrays(pa.array(sessions.columns["tags"].ravel()), 2),
    }
    offsets = pa.array(sessions.offsets, pa.int32())
    return pa.table({name: pa.ListArray.from_arrays(offsets, one) for name, one in arrays.items()})


@pytest.fixture
def folder(tmp_path):
    """130 sessions in two parts, of row groups of 20, and of 10 at the end of each."""
    table = table_of(drawn())
    for n, part in enumerate((table[:70], table[70:])):
        pq.write_table(part, tmp_path / f"{n}.parquet", row_group_size=GROUP)
    return str(tmp_path)


def read(folder, process=(0, 1), chunks=4, events=EVENTS, **options):
    log = stream_sessions.find(folder, LENGTH, events=events)
    return stream_sessions.steps(log, chunks, process=process, **options)


def rows(columns, names=("history", "target", "segment", *EVENTS)):
    """The packed rows that are not padding, in an order of their own."""
    real = columns["where"].any(axis=1)
    return sorted(zip(*(columns[name][real].tolist() for name in names), strict=True))


def in_memory(sessions):
    data = batches.next_items(sessions, LENGTH, packed=True)
    made = {"history": data.query.history, "target": data.item, "where": data.where, **data.query.features}
    return {name: np.asarray(column) for name, column in made.items()}


def test_packed_rows_are_those_of_each_row_group_in_memory(folder):
    sessions, log = drawn(), stream_sessions.find(folder, LENGTH)
    groups = [(0, 20), (20, 40), (40, 60), (60, 70), (70, 90), (90, 110), (110, 130)]
    packed = [in_memory(sessions.take(np.arange(*group))) for group in groups]
    assert log.rows == max(len(one["history"]) for one in packed)
    for epoch in (list(read(folder)), list(read(folder, seed=1))):
        assert {column.shape[:2] for step in epoch for column in step.values()} == {(4 * log.rows, LENGTH)}
        found = {name: np.concatenate([step[name] for step in epoch]) for name in epoch[0]}
        assert rows(found) == sorted(row for one in packed for row in rows(one))
        for name in EVENTS:
            assert found[name].dtype == packed[0][name].dtype and not found[name][~found["where"]].any()
        np.testing.assert_array_equal(found["where"], found["target"] > 0)
    assert not np.array_equal(epoch[0]["history"], next(iter(read(folder)))["history"])


def test_columns_that_are_not_named_are_not_read(folder):
    plain = next(iter(read(folder, events=())))
    assert set(plain) == set(packing.PackedNextItem._fields)
    for name, column in next(iter(read(folder))).items():
        np.testing.assert_array_equal(column, plain.get(name, column))


def test_a_log_of_one_row_group_is_packed_as_in_memory(tmp_path):
    sessions = drawn()
    lists = np.split(sessions.items, sessions.offsets[1:-1])
    pq.write_table(pa.table({"clicks": pa.array(lists, pa.large_list(pa.int64()))}), tmp_path / "0.parquet")
    log = stream_sessions.find(str(tmp_path), LENGTH, column="clicks")
    (columns,) = stream_sessions.steps(log, 1)
    expected = batches.next_items(sessions, LENGTH, packed=True)
    assert columns["history"].shape == expected.query.history.shape
    names = "history", "target", "segment"
    assert rows(columns, names) == rows(packing.next_item(sessions, LENGTH)._asdict(), names)
    made = stream_sessions.batch(columns)
    assert made.label.sum() == expected.label.sum() and made.item.dtype == expected.item.dtype
    assert set(made.query.features) == {"segment"}


def test_a_batch_has_the_columns_that_a_model_reads(tmp_path):
    sessions = drawn()
    pq.write_table(table_of(sessions), tmp_path / "0.parquet")
    (columns,) = read(str(tmp_path), chunks=1)
    made, expected = stream_sessions.batch(columns), batches.next_items(sessions, LENGTH, packed=True)
    model = GRU4Rec(90, 4, event_features={"type": 4, "price": None, "tags": 3, "time": TimeGap})
    variables = init(model, expected.query, expected.item)
    score = [np.asarray(apply(model, variables, one.query, method="prefixes")) for one in (made, expected)]
    found, wanted = (one.sum(axis=(0, 1)) for one in score)  # over rows in any order
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_lists_of_times_are_read_as_seconds(tmp_path):
    moments = np.array(["2024-05-01T12:00:00.9", "1969-12-31T23:59:58.5", "2024-05-01"], "datetime64[ns]")
    for unit, zone in (("ms", None), ("ns", "Europe/Paris")):
        lists = pa.ListArray.from_arrays([0, 3], pa.array(moments).cast(pa.timestamp(unit, zone)))
        pq.write_table(pa.table({"items": [[5, 6, 7]], "time": lists}), tmp_path / "0.parquet")
        (columns,) = stream_sessions.steps(stream_sessions.find(str(tmp_path), 2, events=["time"]), 1)
        assert columns["time"].tolist() == [[1_714_564_800, -2]] and columns["time"].dtype == np.int32


@pytest.mark.parametrize("count", [2, 4])
def test_processes_share_the_rows_of_one(folder, count):
    each = [read(folder, (n, count), num_epochs=2) for n in range(count)]
    for one, *shares in zip(read(folder, num_epochs=2), *each, strict=True):
        for name, column in one.items():
            np.testing.assert_array_equal(np.concatenate([share[name] for share in shares]), column)


@pytest.mark.parametrize("done", [0, 1, 3, 4])
def test_a_position_is_where_reading_goes_on(folder, done):
    first = iter(read(folder, num_epochs=2))
    list(islice(first, done))
    position = first.get_state()
    expected = [every(step) for step in first]
    again = iter(read(folder, num_epochs=2))
    again.set_state(position)
    assert [every(step) for step in again] == expected and len(expected) == 4 - done


def every(step):
    return {name: column.tolist() for name, column in step.items()}


@given(st.lists(st.integers(0, 12), min_size=1, max_size=60), st.integers(1, 9))
def test_rows_are_counted_as_they_are_packed(lengths, length):
    lengths = np.array(lengths)
    sessions = Sessions(np.ones(lengths.sum(), np.int32), offsets_of(lengths))
    assert packing.rows_needed(lengths, length) == len(packing.pack(sessions, length).items)


def test_what_is_wrong_is_named(folder, tmp_path):
    (bad := tmp_path / "bad").mkdir()
    with pytest.raises(DataError, match="1 event or more"):
        stream_sessions.find(folder, 0)
    log = stream_sessions.find(folder, LENGTH, rows=3)
    with pytest.raises(DataError, match=r"row group \d: its sessions fill \d+ rows, more than rows=3"):
        list(stream_sessions.steps(log, 1))
    for items, match in {
        "1 2": "sessions are lists of item ids",
        (("a",),): "sessions are lists of item ids",
        ((1, 0), (2,)): "there is the id 0",
        ((1, None), (2,)): "a list or an item is missing",
        (None, (2,)): "a list or an item is missing",
    }.items():
        pq.write_table(
            pa.table({"items": pa.array(items if isinstance(items, tuple) else [items])}), bad / "0.parquet"
        )
        with pytest.raises(DataError, match=match):
            list(stream_sessions.steps(stream_sessions.find(str(bad), 4), 1))


@pytest.mark.parametrize(
    ("column", "match"),
    [
        (pa.array([["a", "b"], ["c"]]), "'type' is list<.*string>; a column of events is lists of numbers"),
        (pa.array([3, 4]), "'type' is int64; a column of events is lists"),
        (pa.array([[1, 2], [3, 4]]), "row 1, column 'type': 2 values for the 1 items in 'items'"),
        (pa.array([[1, 2], None]), "row 1, column 'type': 0 values for the 1 items"),
        (pa.array([[1, None], [3]]), "column 'type': a value is missing; write 0"),
        (pa.array([[1, 2**40], [3]]), "0.parquet, row group 0: column 'type' has integers .* beyond int32"),
    ],
)
def test_a_column_of_events_that_cannot_be_read_is_named(tmp_path, column, match):
    pq.write_table(pa.table({"items": pa.array([[1, 2], [3]]), "type": column}), tmp_path / "0.parquet")
    with pytest.raises(DataError, match=match):
        list(stream_sessions.steps(stream_sessions.find(str(tmp_path), 4, events=["type"]), 1))


def test_a_column_that_the_parts_do_not_have_or_a_step_has_itself_is_refused(folder):
    with pytest.raises(DataError, match=r"0.parquet: no column 'colour'; there are items, type, time"):
        stream_sessions.find(folder, LENGTH, events=["type", "colour"])
    for name in ("items", "segment", "where"):
        with pytest.raises(DataError, match=f"'{name}' cannot be a column of events"):
            stream_sessions.find(folder, LENGTH, events=[name])
