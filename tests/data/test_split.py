import numpy as np
import pytest
from hypothesis import assume, settings
from hypothesis import given as given_data
from hypothesis import strategies as st

from rezoo.data import clean, split, times
from rezoo.data.interactions import from_columns
from rezoo.errors import DataError


def log(user, item=None, time=None, **columns):
    columns |= {} if time is None else {"time": time}
    return from_columns({"user": user, "item": user if item is None else item, **columns}, unit="s")


@st.composite
def logs(draw, min_size=2):
    """A log with few users, items and times, so that there are ties and users with one row."""
    n = draw(st.integers(min_size, 60))
    user, item, time = (draw(st.lists(st.integers(1, top), min_size=n, max_size=n)) for top in (8, 10, 12))
    return log(user, item, [10**9 + t for t in time])


shares = st.sampled_from([0.0, 0.1, 0.25, 0.4])
test_shares = st.sampled_from([0.0, 0.1, 0.25, 0.55])
seeds = st.integers(0, 5)
every = settings(max_examples=60)


def is_partition(parts, n):
    rows = np.concatenate(parts)
    assert all(part.dtype == np.int64 and (np.diff(part) > 0).all() for part in parts)
    np.testing.assert_array_equal(np.sort(rows), np.arange(n))


@every
@given_data(data=logs(), valid=shares, test=test_shares, seed=seeds)
def test_ratio(data, valid, test, seed):
    parts = split.ratio(data, valid=valid, test=test, seed=seed)
    is_partition(parts, data.num_rows)
    assert len(parts.test) == min(round(data.num_rows * test), data.num_rows - 1)
    again = split.ratio(data, valid=valid, test=test, seed=np.random.default_rng(seed))
    np.testing.assert_array_equal(parts.test, again.test)


@every
@given_data(data=logs(), valid=shares, test=test_shares, seed=seeds)
def test_ratio_per_user(data, valid, test, seed):
    parts = split.ratio_per_user(data, valid=valid, test=test, seed=seed)
    is_partition(parts, data.num_rows)
    for user in np.unique(data.user):
        count = (data.user == user).sum()
        assert (data.user[parts.train] == user).any()
        assert (data.user[parts.test] == user).sum() == min(round(count * test), count - 1)


def test_ratio_depends_on_the_seed_and_is_not_the_order_of_the_rows():
    data = log(np.arange(100))
    first, second = split.ratio(data, seed=1).test, split.ratio(data, seed=2).test
    assert not np.array_equal(first, second) and not np.array_equal(first, np.arange(80, 100))


@every
@given_data(data=logs(), k=st.integers(2, 6), seed=seeds)
def test_k_fold(data, k, seed):
    if k > data.num_rows:
        with pytest.raises(DataError, match="folds"):
            split.k_fold(data, k, seed)
        return
    folds = split.k_fold(data, k, seed)
    is_partition([np.sort(fold.test) for fold in folds], data.num_rows)
    for fold in folds:
        is_partition(fold, data.num_rows)
    assert np.ptp([len(fold.test) for fold in folds]) <= 1


def test_given_folds():
    folds = split.given(np.array([2, 0, 1, 2]))
    assert [fold.test.tolist() for fold in folds] == [[2], [0, 3]]
    assert [fold.train.tolist() for fold in folds] == [[0, 1, 3], [1, 2]]


@every
@given_data(data=logs(), share=shares, seed=seeds)
def test_hold_out_takes_from_training_alone(data, share, seed):
    before = split.ratio(data, test=0.25)
    after = split.hold_out(before, share, seed)
    is_partition(after, data.num_rows)
    np.testing.assert_array_equal(after.test, before.test)
    assert len(after.valid) == min(round(len(before.train) * share), len(before.train) - 1)


@every
@given_data(data=logs(), valid=st.booleans())
def test_leave_one_out(data, valid):
    parts = split.leave_one_out(data, valid=valid)
    is_partition(parts, data.num_rows)
    for user in np.unique(data.user):
        rows = sorted(np.flatnonzero(data.user == user), key=lambda row: (data.timestamp[row], row))
        expected = [rows.pop()] if len(rows) > 1 else []
        assert [row for row in parts.test if data.user[row] == user] == expected
        expected = [rows.pop()] if valid and len(rows) > 1 else []
        assert [row for row in parts.valid if data.user[row] == user] == expected


def test_leave_one_out_without_times_takes_the_order_of_the_file():
    assert split.leave_one_out(log([1, 2, 1, 2, 1, 3])).test.tolist() == [3, 4]


def test_leave_one_out_ignores_nobody():
    data = log([1, 1, 2, 2])
    data = data._replace(user=np.array([1, 1, 0, 0], np.int32))
    assert split.leave_one_out(data).test.tolist() == [1]


@every
@given_data(data=logs(), valid=shares, test=test_shares)
def test_by_time_has_no_future_in_training(data, valid, test):
    try:
        parts = split.by_time(data, valid=valid, test=test)
    except DataError:
        assume(False)
    is_partition(parts, data.num_rows)
    for early, late in ((parts.train, parts.valid), (parts.train, parts.test), (parts.valid, parts.test)):
        assert data.timestamp[early].max(initial=0) < data.timestamp[late].min(initial=2**60)
    assert len(parts.test) >= round(data.num_rows * test)


def test_at_time():
    parts = split.at_time(log([1, 2, 3, 4], time=[9, 5, 7, 1]), test=7, valid=5)
    assert [part.tolist() for part in parts] == [[3], [1], [0, 2]]
    assert split.at_time(log([1, 2], time=[9, 5]), test=7).train.tolist() == [1]
    assert split.at_time(log([1, 2, 3], time=[9.25, 9.5, 9.75]), test=9.5).test.tolist() == [1, 2]


@every
@given_data(
    data=logs(),
    windows=st.integers(1, 3),
    width=st.integers(1, 3),
    history=st.none() | st.integers(1, 6),
)
def test_rolling(data, windows, width, history):
    time = data.timestamp // times.SECOND
    if np.ptp(time) + 1 <= windows * width:
        with pytest.raises(DataError, match="leave nothing before"):
            split.rolling(data, windows=windows, width=width)
        return
    folds = split.rolling(data, windows=windows, width=width, history=history)
    assert len(folds) == windows
    last = np.flatnonzero(time > time.max() - windows * width)
    np.testing.assert_array_equal(np.sort(np.concatenate([fold.test for fold in folds])), last)
    for number, fold in enumerate(folds):
        start = time.max() + 1 - (windows - number) * width
        oldest = -1 if history is None else start - history
        np.testing.assert_array_equal(fold.train, np.flatnonzero((time < start) & (time >= oldest)))
        assert (time[fold.test] >= start).all() and (time[fold.test] < start + width).all()


@every
@given_data(data=logs(), valid=shares, test=test_shares, seed=seeds, column=st.sampled_from(["user", "item"]))
def test_cold_is_cold(data, valid, test, seed, column):
    ids = getattr(data, column)
    assume(len(np.unique(ids)) > 1)
    cold = split.cold_users if column == "user" else split.cold_items
    parts = cold(data, valid=valid, test=test, seed=seed)
    is_partition(parts, data.num_rows)
    held = [set(ids[part].tolist()) for part in parts]
    assert not (held[0] & held[1] or held[0] & held[2] or held[1] & held[2])
    assert len(held[2]) == round(len(np.unique(ids)) * test)


@every
@given_data(data=logs(), seed=seeds, shift=st.integers(1, 9))
def test_what_is_fitted_on_training_does_not_know_the_test_rows(data, seed, shift):
    parts = split.ratio(data, test=0.4, seed=seed)
    other = data.item.copy()
    other[parts.test] = 1 + (other[parts.test] + shift) % (data.num_items - 1)
    train, _, test = split.refit_ids(*parts.of(data))
    altered, _, _ = split.refit_ids(*parts.of(data._replace(item=other)))
    np.testing.assert_array_equal(train.item, altered.item)
    assert train.items == altered.items and train.num_items == altered.num_items
    assert np.bincount(train.item, minlength=train.num_items)[1:].all(), "an id that training has not"
    known = np.isin(data.item[parts.test], data.item[parts.train])
    np.testing.assert_array_equal(test.item > 0, known)
    decoded = data.items.raw[data.item[parts.test][known] - 1]
    np.testing.assert_array_equal(test.items.decode(test.item[known]), decoded)


def test_nobody_is_not_a_cold_user():
    data = log([1, 2, 3, 4])
    data = data._replace(user=np.array([0, 0, 1, 2], np.int32))
    assert {0, 1} <= set(split.cold_users(data, test=0.5).train.tolist())


def test_bad_requests():
    timeless = log([1, 1, 2])
    with pytest.raises(DataError, match="4 folds of 3 rows"):
        split.k_fold(timeless, 4)
    with pytest.raises(DataError, match="leave nothing before"):
        split.rolling(log([1, 2], time=[5, 7]), windows=2, width=2)
    for bad in (dict(test=1.0), dict(test=-0.1), dict(valid=0.5, test=0.5), dict(test=float("nan"))):
        with pytest.raises(DataError, match="leave something for training"):
            split.ratio(timeless, **bad)
    for time in (split.by_time, split.rolling, split.at_time):
        needs = {split.rolling: dict(windows=1, width=1), split.at_time: dict(test=0)}.get(time, {})
        with pytest.raises(DataError, match="no times"):
            time(timeless, **needs)
    with pytest.raises(DataError, match="too much alike"):
        split.by_time(log([1, 2, 3], time=[5, 5, 5]))
    with pytest.raises(DataError, match="only one"):
        split.cold_users(log([1, 1], [1, 2]))
    with pytest.raises(DataError, match="id maps"):
        split.refit_ids(timeless, log([5]))


@every
@given_data(data=logs(), test=st.integers(0, 3), valid=st.integers(0, 3))
def test_leave_last_takes_the_last_of_each_user(data, test, valid):
    parts = split.leave_last(data, test=test, valid=valid)
    part = np.zeros(data.num_rows, int)
    part[parts.valid], part[parts.test] = 1, 2
    for user in range(1, data.num_users):
        rows = sorted(np.flatnonzero(data.user == user), key=lambda row: (data.timestamp[row], row))
        tests = min(test, len(rows) - 1)
        valids = min(valid, len(rows) - 1 - tests)
        assert part[rows].tolist() == [0] * (len(rows) - tests - valids) + [1] * valids + [2] * tests


@every
@given_data(data=logs(), valid=shares, test=test_shares)
def test_latest_per_user_is_a_ratio_of_each_user_without_its_future(data, valid, test):
    parts, random = (
        split.latest_per_user(data, valid=valid, test=test),
        split.ratio_per_user(data, valid=valid, test=test),
    )
    for mine, other in zip(parts, random, strict=True):
        assert np.bincount(data.user[mine]).tolist() == np.bincount(data.user[other]).tolist()
    for user in range(1, data.num_users):
        early, middle, late = (data.timestamp[rows[data.user[rows] == user]] for rows in parts)
        assert early.max() <= min(middle.min(initial=2**62), late.min(initial=2**62))
        assert middle.max(initial=0) <= late.min(initial=2**62)


def test_what_a_split_of_each_user_must_be_asked_for():
    with pytest.raises(DataError, match="test=-1"):
        split.leave_last(log([1, 2]), test=-1)
    with pytest.raises(DataError, match="must be ≥ 0 and leave something"):
        split.latest_per_user(log([1, 2]), test=1.0)
    nobody = log([1, 1, 1])._replace(user=np.zeros(3, np.int32))
    assert split.leave_last(nobody).test.tolist() == []


def test_files_of_one_split_get_one_id_map_and_keep_their_names():
    train = from_columns({"user": ["a", "b"], "item": [7, 5], "title": ["tea", "cup"]})
    test = from_columns({"user": ["b", "c"], "item": ["5", "09"]})
    train, test = split.share_ids(train, test)
    assert train.items == test.items and train.items.raw.tolist() == ["7", "5", "09"]
    assert train.items.names.tolist() == ["tea", "cup", ""]
    assert (train.user.tolist(), test.user.tolist(), test.item.tolist()) == ([1, 2], [2, 3], [2, 3])


def test_a_log_without_rows_has_no_past():
    with pytest.raises(DataError, match="no row is older"):
        split.by_time(log([1], time=[5]).take(np.zeros(0, int)))


def test_ids_of_several_spellings_are_shared():
    logs = log([12, 7], [1, 2]), from_columns({"user": ["12.0", "ann"], "item": ["2.0", "1"]})
    numbers, texts = split.share_ids(*logs)
    assert numbers.user.tolist() == [1, 2] and texts.user.tolist() == [1, 3]
    assert numbers.item.tolist() == [1, 2] and texts.item.tolist() == [2, 1]
    assert numbers.users.raw.tolist() == ["12", "7", "ann"]


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda log: split.leave_last(log, test=0.2), r"test=0\.2: give 0 or more, a whole number"),
        (lambda log: split.leave_last(log, valid=float("nan")), "valid=nan: give 0 or more"),
        (lambda log: split.k_fold(log, 2.5), r"k=2\.5: give 2 or more, a whole number"),
        (
            lambda log: split.given(np.array([0.5, 1.0])),
            "fold is float64 .2.: give a whole number for each row",
        ),
        (lambda log: split.given(np.array([0, 0])), "where it is in no test part, 1 or more where it is"),
        (lambda log: split.at_time(log, test=5, valid=7), "valid = 7 comes after test = 5: give an earlier"),
        (lambda log: split.at_time(log, test=1.7e12), "is not a time: give seconds since 1970, UTC"),
        (lambda log: split.at_time(log, test=float("nan")), "test = nan is not a time"),
        (
            lambda log: split.rolling(log, windows=1, width=1, history=-3),
            "history = -3: give a length of time",
        ),
        (lambda log: split.rolling(log, windows=1, width=float("inf")), "width = inf: give a length of time"),
        (
            lambda log: split.by_time(log, valid=0.3, test=0.3),
            "no row is for validation: those before the test",
        ),
        (lambda log: clean.k_core(log, users=2.5), r"users=2\.5: give 1 or more, a whole number"),
    ],
)
def test_a_split_is_not_of_something_else_than_was_asked(ask, told, untyped):
    with pytest.raises(DataError, match=told):
        ask(log([1, 1, 1], time=[10**9, 10**9 + 5, 10**9 + 5]))
