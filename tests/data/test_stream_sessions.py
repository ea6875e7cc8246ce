from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rezoo.arrays import offsets_of
from rezoo.data import batches, packing, stream_sessions
from rezoo.data.sessions import Sessions
from rezoo.errors import DataError

GROUP, LENGTH = 20, 8


def drawn(count=130):
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 15, count)
    return Sessions(rng.integers(1, 90, lengths.sum()).astype(np.int32), offsets_of(lengths))


@pytest.fixture
def folder(tmp_path):
    """130 sessions in two parts, of row groups of 20, and of 10 at the end of each."""
    sessions = drawn()
    lists = pa.ListArray.from_arrays(pa.array(sessions.offsets, pa.int32()), pa.array(sessions.items))
    for n, rows in enumerate((slice(0, 70), slice(70, 130))):
        pq.write_table(pa.table({"items": lists[rows]}), tmp_path / f"{n}.parquet", row_group_size=GROUP)
    return str(tmp_path)


def read(folder, process=(0, 1), chunks=4, **options):
    return stream_sessions.steps(stream_sessions.find(folder, LENGTH), chunks, process=process, **options)


def rows(columns):
    """The packed rows that are not padding, in an order of their own."""
    stacked = np.stack([columns[name] for name in ("history", "target", "segment")], axis=1)
    return sorted(stacked[columns["where"].any(axis=1)].tolist())


def test_packed_rows_are_those_of_each_row_group_in_memory(folder):
    sessions, log = drawn(), stream_sessions.find(folder, LENGTH)
    groups = [(0, 20), (20, 40), (40, 60), (60, 70), (70, 90), (90, 110), (110, 130)]
    packed = [packing.next_item(sessions.take(np.arange(*group)), LENGTH) for group in groups]
    assert log.rows == max(len(one.history) for one in packed)
    for epoch in (list(read(folder)), list(read(folder, seed=1))):
        assert {column.shape for step in epoch for column in step.values()} == {(4 * log.rows, LENGTH)}
        found = {name: np.concatenate([step[name] for step in epoch]) for name in epoch[0]}
        assert rows(found) == sorted(row for one in packed for row in rows(one._asdict()))
        np.testing.assert_array_equal(found["where"], found["target"] > 0)
    assert not np.array_equal(epoch[0]["history"], next(iter(read(folder)))["history"])


def test_a_log_of_one_row_group_is_packed_as_in_memory(tmp_path):
    sessions = drawn()
    lists = np.split(sessions.items, sessions.offsets[1:-1])
    pq.write_table(pa.table({"clicks": pa.array(lists, pa.large_list(pa.int64()))}), tmp_path / "0.parquet")
    log = stream_sessions.find(str(tmp_path), LENGTH, column="clicks")
    (columns,) = stream_sessions.steps(log, 1)
    expected = batches.next_items(sessions, LENGTH, packed=True)
    assert columns["history"].shape == expected.query.history.shape
    assert rows(columns) == rows(packing.next_item(sessions, LENGTH)._asdict())
    made = stream_sessions.batch(columns)
    assert made.label.sum() == expected.label.sum() and made.item.dtype == expected.item.dtype
    assert set(made.query.features) == {"segment"}


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
    expected = [step["history"].tolist() for step in first]
    again = iter(read(folder, num_epochs=2))
    again.set_state(position)
    assert [step["history"].tolist() for step in again] == expected and len(expected) == 4 - done


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
