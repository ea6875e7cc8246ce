import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rezoo.data import clean, scale
from rezoo.data.interactions import from_columns
from rezoo.errors import DataError


def log(user, item, **columns):
    return from_columns({"user": user, "item": item, **columns}, unit="order")


def test_duplicates_keep_the_last_by_time():
    data = log([1, 1, 2, 1], [5, 5, 5, 6], rating=[1, 2, 3, 4], time=[20, 10, 5, 7])
    left, report = clean.drop_duplicates(data)
    assert left.rating.tolist() == [1, 3, 4]
    assert report.before == 4 and report.after == 3 and report.reasons[0].rows == 1
    assert "row 2: user 1, item 5" in str(report)
    left, _ = clean.drop_duplicates(data, keep="first")
    assert left.rating.tolist() == [2, 3, 4]


def test_bad_ratings_go_with_their_reason():
    data = log([1, 2, 3, 4], [5, 6, 7, 8], rating=[np.nan, 4, 9, np.inf])
    left, report = clean.drop_bad_ratings(data, low=1.0, high=5.0)
    assert left.rating.tolist() == [4]
    assert [reason.rows for reason in report.reasons] == [2, 1]
    assert "item 7, 9" in str(report) and "NaN or infinite" in str(report)


@settings(max_examples=60)
@given(
    pairs=st.lists(st.tuples(st.integers(1, 8), st.integers(1, 8)), min_size=1, max_size=60),
    users=st.integers(1, 4),
    items=st.integers(1, 4),
)
def test_k_core_is_a_core_and_the_largest(pairs, users, items):
    data = log([u for u, _ in pairs], [i for _, i in pairs])
    kept = list(pairs)
    while True:
        fewer = [
            (u, i)
            for u, i in kept
            if sum(a == u for a, _ in kept) >= users and sum(b == i for _, b in kept) >= items
        ]
        if len(fewer) == len(kept):
            break
        kept = fewer
    if not kept:
        with pytest.raises(clean.NothingLeft, match=f"nothing is left.*items with fewer than {items}"):
            clean.k_core(data, users=users, items=items)
        return
    left, report = clean.k_core(data, users=users, items=items)
    found = list(zip(left.users.raw[left.user - 1], left.items.raw[left.item - 1], strict=True))
    assert found == kept and report.after == len(kept) and report.before == len(pairs)
    assert report.before - report.after == sum(reason.rows for reason in report.reasons)


def test_short_sessions_go():
    data = from_columns({"session": [1, 2, 2], "item": [5, 6, 7]})
    left, report = clean.min_session_length(data)
    assert left.item.tolist() == [2, 3] and report.reasons[0].rows == 1
    with pytest.raises(DataError, match="no sessions"):
        clean.min_session_length(log([1], [1]))


def test_reindex_numbers_what_is_left_and_names_what_is_not():
    data, first = clean.k_core(log([7, 7, 8, 9, 9], [1, 2, 1, 1, 2]), users=2)
    left, report = clean.reindex(data)
    assert left.users.raw.tolist() == [7, 9] and left.user.tolist() == [1, 1, 2, 2]
    assert left.users.decode(left.user).tolist() == [7, 7, 9, 9]
    assert "1 users have no rows left" in str(report) and report.reasons[0].examples == ["8"]
    assert (first + report).before == 5


def test_missing_values_of_a_table():
    table = {
        "user": np.array(["a", "", "c", "d"]),
        "price": np.array([1.0, 2.0, np.nan, 4.0]),
        "when": np.array(["2020-01-01"] * 3 + ["NaT"], "datetime64[s]"),
    }
    left, report = clean.drop_missing(table, ["user", "price", "when"])
    assert left["user"].tolist() == ["a"] and [reason.rows for reason in report.reasons] == [1, 1, 1]
    with pytest.raises(DataError, match="no column 'colour'"):
        clean.drop_missing(table, ["colour"])


def test_steps_add_up():
    data = log([1, 1, 2, 3], [5, 5, 6, 6], rating=[3, 4, 99, 2])
    left, report = clean.steps(
        data,
        clean.drop_duplicates,
        lambda d: clean.drop_bad_ratings(d, low=1.0, high=5.0),
        clean.reindex,
    )
    assert report.before == 4 and report.after == left.num_rows == 2
    assert "4 rows, 2 dropped, 2 left" in str(report)


@example([0.0, 1e-45], True)
@given(st.lists(st.floats(-100, 100, width=32), min_size=2, max_size=20), st.booleans())
def test_scales_go_both_ways(values, standardise):
    rating = np.array(values, np.float32)
    both_ways = scale.centred(rating, standardise=standardise)
    np.testing.assert_allclose(both_ways.invert(both_ways.apply(rating)), rating, atol=1e-3)
    assert abs(both_ways.apply(rating).mean()) < 1e-3


def test_centring_refuses_what_is_not_finite():
    with pytest.raises(DataError, match="drop_bad_ratings"):
        scale.centred(np.array([1.0, np.nan]))


def test_rows_are_the_files_after_every_step_and_order():
    time = [1_600_000_000 + t for t in (50, 10, 40, 20, 30, 60)]
    table = {
        "user": np.array(["", "a", "a", "b", "b", "b"]),
        "item": np.array([1, 5, 5, 6, 7, 7]),
        "time": time,
    }
    table, first = clean.drop_missing(table | {"rating": np.array([1, 2, 3, 4, 99.0, 5])}, ["user"])
    data = from_columns(table).sort_by_time()
    assert data.row_numbers.tolist() == [2, 4, 5, 3, 6]
    data, report = clean.steps(
        data, clean.drop_duplicates, lambda d: clean.drop_bad_ratings(d, low=1.0, high=5.0), report=first
    )
    assert "row 2: user a, item 5; row 5: user b, item 7" in str(report)
    assert data.row.tolist() == [4, 3, 6] and report.before == 6 and report.after == 3
    table = {"user": [1, 2, 3], "item": [1, 2, 3], "rating": [99, 4, 77]}
    _, report = clean.drop_bad_ratings(from_columns(table).take(np.array([2, 1])), low=1.0, high=5.0)
    assert report.reasons[0].examples == ["row 3: user 3, item 3, 77"]


def test_words_for_nobody_are_counted():
    users = ["u0", "NULL", "nan", "None", "NULL", r"\N", " ", "", "<NA>", "NA", "N/A", "Nancy", "null"]
    table, report = clean.drop_missing({"user": np.array(users), "item": np.arange(len(users))}, ["user"])
    assert table["user"].tolist() == ["u0", "Nancy"]
    assert "2 'NULL'" in report.reasons[0].why and "2 empty" in report.reasons[0].why
    mixed = np.array(["a", None, float("nan"), b"NULL", 5, pd.NA, pd.NaT], object)
    left, _ = clean.drop_missing({"user": mixed}, ["user"])
    assert left["user"].tolist() == ["a", 5]


def test_cleaning_that_leaves_nothing_says_what_was_asked():
    data = log([1, 2, 3, 3], [1, 2, 3, 3])
    with pytest.raises(clean.NothingLeft) as error:
        clean.steps(data, clean.drop_duplicates, lambda d: clean.k_core(d, users=2, items=5))
    assert "users with fewer than 2 rows or items with fewer than 5" in str(error.value)
    assert "4 rows, 4 dropped, 0 left" in str(error.value) and "1 repeats" in str(error.value)
    with pytest.raises(clean.NothingLeft, match="without a value of 'user': 1 'NULL'"):
        clean.drop_missing({"user": np.array(["NULL"])}, ["user"])
    with pytest.raises(clean.NothingLeft, match="fewer than 9 events"):
        clean.min_session_length(from_columns({"session": [1, 1], "item": [1, 2]}), length=9)
