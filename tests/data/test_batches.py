import numpy as np
import pytest

from rezoo.data import batches, sessions
from rezoo.data.interactions import from_columns
from rezoo.errors import DataError

LOG = from_columns(
    {
        "user": ["ann", "bob", "ann", "ann"],
        "item": [30, 10, 20, 30],
        "rating": [5.0, 3.0, 1.0, 2.0],
        "timestamp": [4, 1, 2, 3],
    },
    unit="order",
)


def test_pairs_are_the_rows_of_the_log():
    data = batches.pairs(LOG.user, LOG.item, LOG.rating)
    assert data.query.user.tolist() == LOG.user.tolist() and data.item.tolist() == LOG.item.tolist()
    assert data.label.tolist() == [5.0, 3.0, 1.0, 2.0] and data.where.all()
    assert data.query.history.shape == (4, 0) and data.query.features == {}
    assert batches.pairs(LOG.user, LOG.item).label.tolist() == [1.0] * 4


def test_next_items_of_a_log_are_those_of_its_users_in_time():
    data = batches.next_items(LOG, 4)
    assert data.query.user.tolist() == [1, 2]
    assert data.query.history.tolist() == [[3, 1, 0, 0], [0, 0, 0, 0]]
    assert data.item.tolist() == [[1, 1, 0, 0], [0, 0, 0, 0]]
    assert (np.asarray(data.where) == (np.asarray(data.item) > 0)).all()
    packed = batches.next_items(sessions.by_user(LOG), 4, packed=True)
    assert packed.item.tolist() == [[1, 1, 0, 0]] and packed.query.features["segment"].tolist() == [
        [1, 1, 0, 0]
    ]


def test_users_have_all_their_ratings():
    rows = [row for bucket in batches.by_user(LOG) for row in zip(*map(np.asarray, bucket[1:3]), strict=True)]
    assert sorted((item.tolist(), label.tolist()) for item, label in rows) == [
        ([1, 3, 1], [5.0, 1.0, 2.0]),
        ([2], [3.0]),
    ]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: batches.queries(), "rows="),
        (lambda: batches.queries([1, 2], history=[[1]]), "differ"),
        (lambda: batches.pairs(LOG.user, LOG.item, [1.0]), "each of 4 users"),
        (lambda: batches.pairs(LOG.user, LOG.item, features={"age": [1]}), "differ"),
        (lambda: batches.next_items(LOG, 3, packed=True, features={"age": [1, 2]}), "packed=False"),
    ],
)
def test_what_does_not_fit_is_said(call, message):
    with pytest.raises(DataError, match=message):
        call()


def test_padded_rows_and_sessions_are_the_same():
    rows = sessions.pad(sessions.by_user(LOG), 5)
    assert (sessions.pad(sessions.of_padded(rows), 5) == rows).all()


def test_a_test_part_asks_for_its_items_and_leaves_out_those_of_training():
    train, test = LOG.take(np.array([0, 1, 2])), LOG.take(np.array([3]))._replace(item=np.array([0]))
    held = batches.held_out(train, test)
    assert held.query.user.tolist() == [1] and held.query.history.tolist() == [[3, 1]]  # in the order of time
    assert held.exclude.tolist() == [[3, 1]] and held.target.tolist() == [[-1]]
    with pytest.raises(DataError, match="1 rows of the test part are of users"):
        batches.held_out(train, test._replace(user=np.array([0])))
    with pytest.raises(DataError, match="no rows"):
        batches.held_out(train, test.take(np.zeros(0, int)))
    with pytest.raises(DataError, match="share_ids"):
        batches.held_out(train, from_columns({"user": ["ann"], "item": [5]}))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"history": [[0, 0, 3, 5]]}, "behind a 0 in row 0"),
        ({"history": [[3, 5, 0], [3, 0, 5]]}, "behind a 0 in row 1"),
        ({"history": [[3, 5, 0], [3, -1, 5]]}, "history has the id -1 in row 1"),
        ({"features": {"type": ["view", "buy"]}}, "the column 'type' is <U4 .*: give a number for each row"),
        ({"features": {"type": [None, 1]}}, "the column 'type' is object"),
        ({"features": {"age": 3}}, r"the column 'age' is int64 \[\]"),
        ({"features": {"age": [[1, 2], [3]]}}, "the column 'age' has rows of several lengths"),
        ({"features": {"day": np.array(["2020-01-01"], "M8[D]")}}, "the column 'day' is datetime64"),
        ({"history": np.array([[2**32 + 5, 7]])}, "history has 4294967301, which is beyond int32"),
        ({"history": np.array([[3.0, 7.9]])}, "history has 7.9, which is not a whole number"),
        ({"history": np.array([[3.0, np.nan]])}, "history has nan"),
        ({"history": [["a", "b"]]}, "history is <U1: give dense ids"),
        ({"history": [3, 3, 2]}, r"history has the shape \[3\]: give it \[B L\]"),
        ({"history": np.zeros((1, 2, 3), int)}, r"the shape \[1, 2, 3\]"),
        ({"history": [[1, 2], [3]]}, "history has rows of several lengths"),
        ({"user": 5}, r"user has the shape \[\]: give it \[B\]"),
        ({"user": np.array([2**32 + 5])}, "user has 4294967301"),
        (
            {"user": [1], "features": {"time": np.array([1_700_000_000_000])}},
            "column 'time' has 17",
        ),
    ],
)
def test_a_query_alters_nothing(given, told):
    with pytest.raises(DataError, match=told):
        batches.queries(**given)


def test_ids_of_other_types_are_what_they_were():
    for kind in (np.int64, np.uint8, np.float64):
        asked = batches.queries(np.array([2, 3], kind), np.array([[5, 0], [7, 8]], kind))
        assert asked.user.dtype == asked.history.dtype == np.int32
        assert asked.user.tolist() == [2, 3] and asked.history.tolist() == [[5, 0], [7, 8]]
    assert batches.queries([], np.zeros((0, 0))).history.shape == (0, 0)
    with pytest.raises(DataError, match=r"item has 2\.5"):
        batches.pairs([1], [2.5])
    with pytest.raises(DataError, match="beyond int32"):
        sessions.of_padded(np.array([[2**32 + 5, 1]]))


@pytest.mark.parametrize("packed", [False, True])
def test_no_column_is_named_as_that_of_packed_rows(packed):
    log = sessions.by_user(LOG, columns={"segment": [1, 2, 3, 4]})
    with pytest.raises(DataError, match="'segment' is that of packed rows"):
        batches.next_items(log, 3, packed=packed)
    with pytest.raises(DataError, match="'segment' is that of packed rows"):
        batches.next_items(LOG, 3, features={"segment": [1, 2]})


def test_an_order_tells_no_seconds():
    for ask in (sessions.seconds, sessions.by_gap):
        with pytest.raises(DataError, match='as those of a log of unit="order"'):
            ask(LOG)


@pytest.mark.parametrize("growth", [1.0, -2.0, float("nan")])
def test_buckets_that_do_not_grow_are_refused(growth):
    with pytest.raises(ValueError, match=f"growth = {growth}: give a number above 1"):
        batches.by_user(([1], [5], [1.0]), growth=growth)


@pytest.mark.parametrize("length", [0, -1])
def test_histories_have_a_length(length):
    with pytest.raises(ValueError, match=f"length = {length}: give 1 or more"):
        batches.next_items(LOG, length)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (([1, 2], [3, 4], [1.0, np.nan]), "rows: the rating of row 1 is nan: leave out rows without one"),
        (([1, 2], [3], [1.0, 2.0]), "have not a user, an item and a rating for each row"),
        (([], [], []), "have not a user, an item and a rating"),
        (([-1], [3], [1.0]), "rows: user has an id below 0"),
    ],
)
def test_what_would_teach_nothing_is_refused(rows, told):
    with pytest.raises(DataError, match=told):
        batches.by_user(rows)
