import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rezoo.data import batches, contents, sessions
from rezoo.data.interactions import from_columns
from rezoo.data.packing import next_item, pack
from rezoo.data.sessions import Sessions
from rezoo.datasets import session_sets
from rezoo.errors import DataError

every = settings(max_examples=60)
lists = st.lists(st.lists(st.integers(1, 9), max_size=8), min_size=1, max_size=12)


def made(rows):
    lengths = [len(row) for row in rows]
    return Sessions(
        np.array([item for row in rows for item in row], np.int32),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.arange(len(rows), dtype=np.int32),
        np.arange(len(rows)) * 10,
    )


def split(these):
    return [these.items[a:b].tolist() for a, b in zip(these.offsets, these.offsets[1:], strict=False)]


def padded(row, length):
    row = row[-length:]
    return row + [0] * (length - len(row))


@st.composite
def logs(draw):
    n = draw(st.integers(1, 40))
    columns = {
        name: draw(st.lists(st.integers(1, top), min_size=n, max_size=n))
        for name, top in (("user", 4), ("item", 9), ("session", 6))
    }
    time = draw(st.lists(st.integers(0, 30), min_size=n, max_size=n))
    return from_columns(columns | {"time": [10**9 + t for t in time]}, unit="s")


@every
@given(data=logs())
def test_by_id(data):
    found = sessions.by_id(data)
    expected = []
    for session in range(1, data.session.max() + 1):
        rows = np.flatnonzero(data.session == session)
        rows = sorted(rows, key=lambda row: (data.timestamp[row], row))
        expected.append(data.item[rows].tolist())
        assert found.start[session - 1] == data.timestamp[rows[0]]
        assert found.user[session - 1] == data.user[rows[0]]
    assert split(found) == expected


@every
@given(data=logs(), gap=st.integers(0, 10))
def test_by_gap(data, gap):
    found = sessions.by_gap(data, gap)
    expected = []
    for user in range(1, data.num_users):
        rows = np.flatnonzero(data.user == user)
        previous = None
        for row in sorted(rows, key=lambda row: (data.timestamp[row], row)):
            if previous is None or data.timestamp[row] - previous > gap * 1_000_000:
                expected.append([])
            expected[-1].append(int(data.item[row]))
            previous = data.timestamp[row]
    assert split(found) == expected


def test_the_unknown_is_left_out():
    data = from_columns(
        {"user": [1, 2, 2], "item": [1, 2, 3], "session": [1, 2, 3], "time": [5, 6, 7]}, unit="s"
    )
    data = data._replace(user=np.array([0, 1, 1], np.int32), item=np.array([1, 0, 3], np.int32))
    assert split(sessions.by_gap(data)) == [[3]] and split(sessions.by_id(data)) == [[1], [3]]
    assert sessions.histories(data, 2).tolist() == [[0, 0], [3, 0], [0, 0]]


def test_what_the_log_must_have():
    data = from_columns({"user": [1], "item": [1]})
    with pytest.raises(DataError, match="names no sessions"):
        sessions.by_id(data)
    with pytest.raises(DataError, match="no times"):
        sessions.by_gap(data)


@every
@given(rows=lists, length=st.integers(1, 6))
def test_pad_newest_and_take(rows, length):
    these = made(rows)
    assert sessions.pad(these, length).tolist() == [padded(row, length) for row in rows]
    assert split(these.newest(length)) == [row[-length:] for row in rows]
    some = these.take(np.arange(len(rows))[::-2])
    assert split(some) == rows[::-2] and some.user.tolist() == list(range(len(rows)))[::-2]
    assert split(these.take(these.lengths > 2)) == [row for row in rows if len(row) > 2]


@every
@given(rows=lists, length=st.integers(1, 6))
def test_next_items(rows, length):
    batch = sessions.next_item_batch(made(rows), length)
    for row, history, target in zip(rows, batch.history.tolist(), batch.target.tolist(), strict=True):
        row = row[-(length + 1) :]
        assert history == padded(row[:-1], length) and target == padded(row[1:], length)
    np.testing.assert_array_equal(batch.where, batch.target > 0)


@every
@given(rows=lists, length=st.integers(1, 6))
def test_prefixes(rows, length):
    history, target = sessions.prefixes(made(rows), length)
    expected = [(padded(row[:t], length), row[t]) for row in rows for t in range(1, len(row))]
    assert list(zip(history.tolist(), target.tolist(), strict=True)) == expected
    assert history.dtype == target.dtype == np.int32
    several = made(rows)
    columns = {"twice": 2 * several.items, "both": np.stack([several.items, 3 * several.items], axis=1)}
    told = sessions.prefix_columns(several._replace(columns=columns), length)
    np.testing.assert_array_equal(told["twice"], 2 * history)
    np.testing.assert_array_equal(told["both"], np.stack([history, 3 * history], axis=2))


@every
@given(data=logs(), length=st.integers(1, 6))
def test_histories(data, length):
    rows = sessions.histories(data, length)
    assert rows.shape == (data.num_users, length) and not rows[0].any()
    for user in range(1, data.num_users):
        order = sorted(np.flatnonzero(data.user == user), key=lambda row: (data.timestamp[row], row))
        assert rows[user].tolist() == padded(data.item[order].tolist(), length)


@every
@given(rows=lists, length=st.integers(1, 6))
def test_pack_loses_and_mixes_nothing(rows, length):
    packed = pack(made(rows), length)
    found = []
    for items, segment, position in zip(*packed, strict=True):
        np.testing.assert_array_equal(segment == 0, items == 0)
        for number in range(1, segment.max() + 1):
            where = segment == number
            assert where.any() and (np.diff(np.flatnonzero(where)) == 1).all()
            assert position[where].tolist() == list(range(where.sum()))
            found.append(items[where].tolist())
    assert sorted(found) == sorted(row[-length:] for row in rows if row)


@every
@given(rows=lists, length=st.integers(1, 6))
def test_packed_next_items_are_those_of_one_session_a_row(rows, length):
    packed, alone = next_item(made(rows), length), sessions.next_item_batch(made(rows), length)
    found = []
    for history, target, where, segment in zip(*packed, strict=True):
        np.testing.assert_array_equal(where, segment > 0)
        for number in range(1, segment.max(initial=0) + 1):
            found.append((history[segment == number].tolist(), target[segment == number].tolist()))
    expected = [(h[w].tolist(), t[w].tolist()) for h, t, w in zip(*alone, strict=True) if w.any()]
    assert sorted(found) == sorted(expected)


def test_pack_wastes_little():
    rng = np.random.default_rng(0)
    lengths = np.minimum(1 + rng.geometric(0.25, 2000), 40)
    these = Sessions(np.ones(lengths.sum(), np.int32), np.append(0, np.cumsum(lengths)))
    for length in (10, 20, 50):
        assert (pack(these, length).segment == 0).mean() < 0.1 < (sessions.pad(these, length) == 0).mean()


def test_npz(tmp_path):
    arrays = {"train_items": [5, 6, 7], "train_offsets": [0, 2, 3], "test_items": [9], "test_offsets": [0, 1]}
    np.savez(tmp_path / "a.npz", **arrays, test_labels=[8])
    read = session_sets.read_npz(tmp_path / "a.npz")
    assert split(read.train) == [[5, 6], [7]] and split(read.test) == [[9]]
    assert read.target.tolist() == [8] and read.num_items == 10
    np.savez(tmp_path / "b.npz", **arrays)
    np.savez(tmp_path / "c.npz", **arrays | {"train_offsets": [0, 2]}, test_labels=[8])
    (tmp_path / "d.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:200])
    (tmp_path / "e.npz").write_bytes(b"")
    np.save(tmp_path / "f.npy", np.arange(3))
    (tmp_path / "f.npy").rename(tmp_path / "f.npz")
    for bad in ("b", "c", "d", "e", "f", "missing"):
        with pytest.raises(DataError, match=rf"{bad}\.npz: "):
            session_sets.read_npz(tmp_path / f"{bad}.npz")


def test_published_pickles(tmp_path, monkeypatch):
    monkeypatch.delenv("REZOO_DATA", raising=False)
    folder = tmp_path / "diginetica"
    folder.mkdir()
    with pytest.raises(DataError, match=r"all_train_seq\.txt is not in"):
        session_sets.load("diginetica", tmp_path)
    (folder / "all_train_seq.txt").write_bytes(pickle.dumps([[5, 6], [7]]))
    test = folder / "test.txt"
    test.write_bytes(pickle.dumps(([[9], [9, 5]], [5, 8]), 2))
    read = session_sets.load("diginetica", tmp_path)
    assert split(read.train) == [[5, 6], [7]] and split(read.test) == [[9], [9, 5]]
    assert read.target.tolist() == [5, 8] and read.num_items == 10
    whole, code, short = test.read_bytes(), pickle.dumps(print), pickle.dumps(([[9]], [5, 8]))
    for content, message in (
        (whole[:-9], "test.txt"), (b"", "test.txt"), (b"1 2 3", "test.txt"), (code, "builtins.print"),
        (pickle.dumps([3]), "test.txt"), (short, "1 test sessions but 2 labels"),
    ):  # fmt: skip
        test.write_bytes(content)
        with pytest.raises(DataError, match=message):
            session_sets.load("diginetica", tmp_path)


ARRAYS = {"train_items": [5, 6, 7], "train_offsets": [0, 2, 3], "test_items": [9], "test_offsets": [0, 1]}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"train_items": [5, 2**32 + 1, 7]}, "the id 4294967297"),
        ({"test_labels": [0]}, "the id 0"),
        ({"train_items": [5.0, 6.5, 7]}, "row of integers"),
        ({"train_items": [[5, 6, 7]]}, "row of integers"),
        ({"test_items": np.array([2**64 - 1], np.uint64)}, "the id 18446744073709551615"),
        ({"train_items": [], "train_offsets": [0]}, "no sessions to train on"),
        ({"train_offsets": np.zeros(0, int)}, "offsets do not fit"),
    ],
)
def test_npz_with_ids_that_are_none(tmp_path, arrays, message):
    whole = {name: np.array(array) for name, array in (ARRAYS | {"test_labels": [8]} | arrays).items()}
    whole["train_items"] = whole["train_items"] if len(whole["train_items"]) else np.zeros(0, int)
    np.savez(tmp_path / "a.npz", **whole)
    with pytest.raises(DataError, match=message):
        session_sets.read_npz(tmp_path / "a.npz")


def test_files_that_stand_for_more_than_they_hold(tmp_path, monkeypatch):
    row = list(range(1, 1001))
    (tmp_path / "all_train_seq.txt").write_bytes(pickle.dumps([row] * 100_000))
    (tmp_path / "test.txt").write_bytes(pickle.dumps(([[9]], [5])))
    with pytest.raises(DataError, match="100,000,000 items in"):
        session_sets.read_published(tmp_path)
    np.savez_compressed(tmp_path / "a.npz", **ARRAYS, test_labels=np.zeros(2**20, int))
    monkeypatch.setattr(contents, "room", lambda: 2**20)
    with pytest.raises(DataError, match="half of the memory"):
        session_sets.read_npz(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "name, trained, instances, tested, num_items",
    [("diginetica", 186_670, 719_470, 60_858, 43_098), ("yoochoose1_64", 116_167, 369_859, 55_898, 37_484)],
)
def test_real_sets_have_the_published_sizes(data_folder, name, trained, instances, tested, num_items):
    read = session_sets.load(name, data_folder)
    assert (read.train.num_sessions, read.test.num_sessions, read.num_items) == (trained, tested, num_items)
    assert len(sessions.prefixes(read.train, 20)[1]) == instances
    assert (pack(read.train, 20).segment == 0).mean() < 0.01


def test_session_sets_are_found_by_any_name_and_others_list_what_there_is(tmp_path, monkeypatch):
    monkeypatch.delenv("REZOO_DATA", raising=False)
    arrays = dict(
        train_items=[1, 2, 3], train_offsets=[0, 3], test_items=[1], test_offsets=[0, 1], test_labels=[2]
    )
    (tmp_path / "shop").mkdir()
    np.savez(tmp_path / "mine.npz", **arrays)
    np.savez(tmp_path / "shop" / "shop.npz", **arrays)
    np.savez(tmp_path / "other.npz", a=[1])
    assert session_sets.available(tmp_path) == ["mine", "shop"]
    assert session_sets.load("mine", tmp_path).num_items == session_sets.load("shop", tmp_path).num_items == 4
    with pytest.raises(DataError, match=r"no session set 'retailrocket' in .*; there are mine, shop"):
        session_sets.load("retailrocket", tmp_path)


def test_columns_go_with_their_events_and_bad_ones_are_refused():
    table = {"user": [1, 1, 2, 1, 2], "item": [7, 8, 9, 7, 8], "time": [30, 10, 20, 20, 25]}
    log = from_columns(table, unit="s")
    columns = {"type": [3, 1, 4, 2, 5], "time": sessions.seconds(log), "price": np.arange(5.0)}
    whole = sessions.by_user(log, columns=columns)
    assert whole.columns["type"].tolist() == [1, 2, 3, 4, 5] and whole.columns["price"].dtype == np.float32
    assert whole.columns["time"].tolist() == [10, 20, 30, 20, 25]
    cut = sessions.by_gap(log, 9, columns=columns)
    assert cut.take(np.array([1, 0])).columns["type"].tolist() == [2, 1]
    assert whole.newest(2).columns["type"].tolist() == [2, 3, 4, 5]
    assert sessions.pad(whole, 2, "type").tolist() == [[2, 3], [4, 5]]
    assert sessions.histories(log, 2, of=columns["type"]).tolist() == [[0, 0], [2, 3], [4, 5]]
    for packed in (False, True):
        features = batches.next_items(whole, 3, packed=packed).query.features
        assert sorted(features["type"][features["type"] > 0].tolist()) == [1, 2, 4]  # the last tell nothing
    for wrong, said in (
        (["view"] * 5, r"'type' is <U4 \[5\]: give a number for each of 5 rows; texts become"),
        ([1, 2], r"'type' is int64 \[2\]: give a number for each of 5 rows"),
        (log.timestamp * 1000, r"'type' has integers .* beyond int32: give times in seconds"),
    ):
        with pytest.raises(DataError, match=said):
            sessions.by_user(log, columns={"type": wrong})
    with pytest.raises(DataError, match="'type' is a feature and a column of events"):
        batches.next_items(whole, 3, features={"type": np.zeros(2)})
    with pytest.raises(DataError, match="the log has no times"):
        sessions.seconds(log._replace(timestamp=None))


def test_sessions_that_are_numbered_for_each_user_are_not_one(caplog):
    table = {"user": ["a", "a", "b", "b", "a"], "session": [1, 1, 1, 1, 2], "item": [5, 6, 7, 8, 9]}
    made = sessions.by_id(from_columns(table))
    assert made.lengths.tolist() == [2, 2, 1] and made.user.tolist() == [1, 2, 1]
    assert "1 sessions are those of several users, such as 1: each user's is a session" in caplog.text


def test_padded_rows_and_columns_are_what_they_are_said_to_be():
    made = sessions.of_padded(np.array([[5, 6, 0]]), np.array([3]))
    with pytest.raises(DataError, match=r"no column 'type'; they have \[\]"):
        sessions.pad(made, 2, "type")
    with pytest.raises(DataError, match=r"rows \[1, 2\] are not \[S L\] of item ids, 0 and above"):
        sessions.of_padded(np.array([[5, -1]]))
    with pytest.raises(DataError, match=r"user has shape \[2\] for 1 rows"):
        sessions.of_padded(np.array([[5]]), np.array([1, 2]))
