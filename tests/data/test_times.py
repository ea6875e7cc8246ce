"""Times of every kind: microseconds that keep what the file has, or a question that names the row."""

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rezoo.data import clean, files, sessions, split, times
from rezoo.data.interactions import from_columns
from rezoo.data.place import ROW, Place
from rezoo.errors import DataError

BASE = 1_600_000_000_000_000  # 2020-09-13T12:26:40Z

READ = {
    "seconds": ([1_600_000_000], {}, 0),
    "milliseconds": ([1_600_000_000_123], {}, 123_000),
    "microseconds": ([1_600_000_000_123_456], {}, 123_456),
    "nanoseconds": ([1_600_000_000_123_456_789], {}, 123_456),
    "fractions of a second": ([1_600_000_000.25], {}, 250_000),
    "fractions of a millisecond": ([1_600_000_000_000.5], {}, 500),
    "a given unit": ([1_600_000_000_123], dict(unit="ms"), 123_000),
    "a few numbers among text": (["1600000000", "1600000000"], {}, 0),
    "nanoseconds as text": (["1600000000123456789"], {}, 123_456),
    "decimals as text": (["1600000000.250"], {}, 250_000),
    "unsigned": (np.array([1_600_000_000], np.uint64), {}, 0),
    "Z": (["2020-09-13T12:26:40.123Z"], {}, 123_000),
    "UTC": (["2020-09-13 12:26:40 UTC"], {}, 0),
    "UTC, fractions": (["2020-09-13 12:26:40.5 UTC"], {}, 500_000),
    "no zone": (["2020-09-13 12:26:40"], {}, 0),
    "offsets": (["2020-09-13T14:26:40+02:00", "2020-09-13T07:56:40-0430", "2020-09-13 13:26:40+01"], {}, 0),
    "nine digits": (["2020-09-13T12:26:40.123456789Z", "2020-09-13T12:26:40.123456Z"], {}, 123_456),
    "compact": (["20200913T122640Z"], {}, 0),
    "slashes, year first": (["2020/9/13 12:26:40"], {}, 0),
    "blanks": ([" 2020-09-13 12:26:40 "], {}, 0),
    "RFC 2822": (["Sun, 13 Sep 2020 14:26:40 +0200"], {}, 0),
    "a named month": (["September 13, 2020 12:26:40 PM"], {}, 0),
    "day first": (["13.09.2020 12:26:40"], {}, 0),
    "month first": (["9/13/2020 12:26:40 PM"], {}, 0),
    "a format": (["13/09/20 12h26 40"], dict(time_format="%d/%m/%y %Hh%M %S"), 0),
    "a format with a zone and a fraction": (
        ["13 Sep 2020 02.26.40,5 PM +0200"],
        dict(time_format="%d %b %Y %I.%M.%S,%f %p %z"),
        500_000,
    ),
    "numbers with a format": ([20200913122640], dict(time_format="%Y%m%d%H%M%S"), 0),
    "datetime64": (np.array(["2020-09-13T12:26:40.123456789"], "datetime64[ns]"), {}, 123_456),
}


@pytest.mark.parametrize(("values", "how", "more"), READ.values(), ids=READ)
def test_what_is_read(values, how, more):
    assert set(times.microseconds(np.asarray(values), **how).tolist()) == {BASE + more}


def test_dates_alone_are_midnight():
    day = BASE // 86_400_000_000 * 86_400_000_000
    for text, how in (("2020-09-13", {}), ("9/13/2020", {}), ("20200913", dict(time_format="%Y%m%d"))):
        assert times.microseconds(np.array([text]), **how).tolist() == [day]
    assert times.microseconds(np.array([20200913.0]), time_format="%Y%m%d").tolist() == [day]


def test_noon_and_midnight():
    hours = ["1/13/2020 12:00 AM", "1/13/2020 1:00 AM", "1/13/2020 12:00 PM", "1/13/2020 11:00 p.m."]
    read = times.microseconds(np.array(hours)).astype("datetime64[us]").astype("datetime64[h]")
    assert read.astype(str).tolist() == [f"2020-01-13T{hour}" for hour in ("00", "01", "12", "23")]


def test_one_day_beyond_the_twelfth_decides_for_the_column():
    read = times.microseconds(np.array(["03/04/2024 8:05", "25/04/2024 8:05"])).astype("datetime64[us]")
    assert read.astype("datetime64[D]").astype(str).tolist() == ["2024-04-03", "2024-04-25"]
    read = times.microseconds(np.array(["03/04/2024 8:05", "04/25/2024 8:05"])).astype("datetime64[us]")
    assert read.astype("datetime64[D]").astype(str).tolist() == ["2024-03-04", "2024-04-25"]
    same = times.microseconds(np.array(["11/11/2019 9:05:58 AM"])).astype("datetime64[us]")  # either way
    assert str(same.astype("datetime64[s]")[0]) == "2019-11-11T09:05:58"


ODD = {
    "either day or month": (["03/04/2024", "05/06/2024"], {}, "03/04/2024 in row 1 .* time_format='%d/%m/%Y"),
    "both orders": (["25/04/2024", "04/25/2024"], {}, "day comes first .*25/04/2024 in row 1.*row 2"),
    "with and without a zone": (["2020-09-13T12:26:40Z", "2020-09-13 12:26:40"], {}, "offset .*row 1.*row 2"),
    "a header in the middle": (["1600000000", "1600000001", "time"], {}, "row 3, .*'time' is not a time"),
    "a header among dates": (["2020-09-13", "time"], {}, "row 2, .*'time' is not a time"),
    "no such day": (["2020-02-28", "2020-02-30"], {}, "row 2, .*'2020-02-30' is not a time"),
    "no such hour": (["13.09.2020 24:00"], {}, "row 1, .*is not a time"),
    "no such half": (["9/13/2020 13:00 PM"], {}, "row 1, .*is not a time"),
    "an empty cell": (["2020-09-13", ""], {}, "row 2, .*time is missing"),
    "a word for nothing": (["1600000000", "NULL"], {}, "row 2, .*time is missing .NULL."),
    "NaN": ([1.6e9, np.nan], {}, "row 2, .*time is missing"),
    "NaT": (np.array(["2020-09-13", "NaT"], "datetime64[s]"), {}, "row 2, .*time is missing"),
    "infinity": ([1.6e9, np.inf], {}, "row 2, .*inf is not a time"),
    "1e300": ([1e300, 1.6e9], {}, "row 1, .*1e.300 is not a time"),
    "1e300 alone": ([1e300], {}, "row 1, .*1e.300 is not a time"),
    "2⁶³": (np.array([1_600_000_000, 2**63], np.uint64), {}, "row 2, .*9223372036854775808 is not a time"),
    "too late for its unit": ([1_600_000_000, 2**62], dict(unit="s"), "row 2, .*is not a time"),
    "seconds and milliseconds": ([1_600_000_000, 1_600_000_000_000], {}, "row 2, .*0000000000 is not a time"),
    "another format": (["13.09.2020", "2020-09-13"], dict(time_format="%d.%m.%Y"), "row 2, .*is not a time"),
    "truth values": ([True], {}, "not a kind of time"),
    "an unknown unit": ([5], dict(unit="weeks"), "unit 'weeks' is not one of"),
    "an unknown directive": (["x"], dict(time_format="%Y %Q"), "'%Q' is not known"),
    "a format without a year": (["x"], dict(time_format="%d.%m."), "must name the year"),
    "fractions of an order": ([1.5], dict(unit="order"), "row 1.*not a whole number"),
    "weeks": ([1, 5, 53], {}, "1970-01-01T00:00:01 .1 in row 1. to .*53 in row 3.*unit='order'"),
    "dates as numbers": ([20200913, 20200914], {}, "1970-08-22.*time_format='%Y%m%d'"),
    "0 for nothing": ([0, 1_600_000_000], {}, "1970-01-01T00:00:00 .0 in row 1.*drop_bad_times"),
    "a placeholder": (["2020-09-13", "1900-01-01"], {}, "1900-01-01T00:00:00 .*row 2.*time_format='ISO8601'"),
    "a far future": (np.array(["9999-12-31", "2020-01-01"], "datetime64[s]"), {}, "row 1.*unit='us'"),
}


@pytest.mark.parametrize(("values", "how", "message"), ODD.values(), ids=ODD)
def test_what_is_asked_or_refused(values, how, message):
    with pytest.raises(DataError, match=message):
        times.microseconds(np.asarray(values), **how)


def test_who_says_how_times_are_written_is_not_asked():
    assert times.microseconds(np.array([1, 53]), unit="s").tolist() == [1_000_000, 53_000_000]
    assert times.microseconds(np.array([3, 1]), unit="order").tolist() == [3, 1]
    assert times.microseconds(np.array(["7", "5"]), unit="order").tolist() == [7, 5]
    old = times.microseconds(np.array(["1900-01-01"]), time_format="ISO8601").astype("datetime64[us]")
    assert str(old.astype("datetime64[D]")[0]) == "1900-01-01"


def test_rows_are_named_as_the_file_counts_them():
    place = Place("log.csv", "when", np.array([17, 40]))
    with pytest.raises(DataError, match=r"log.csv, row 40, column 'when': 'soon'"):
        times.microseconds(np.array(["2020-09-13", "soon"]), place=place)


ZONES = st.integers(-14 * 4, 14 * 4).map(lambda quarters: timezone(timedelta(minutes=15 * quarters)))
MOMENTS = st.datetimes(datetime(1971, 1, 2), datetime(2099, 12, 30), timezones=ZONES)


@settings(max_examples=60)
@given(st.lists(MOMENTS, min_size=1, max_size=5), st.sampled_from(["T", " "]))
def test_any_iso_text_is_read_as_python_reads_it(moments, between):
    texts = np.array([moment.isoformat(between) for moment in moments])
    ticks = [(moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) for moment in moments]
    assert times.microseconds(texts).tolist() == ticks
    odd = np.append(texts, "soon")  # the way of a column that is not all of one kind
    found = times.read(odd)
    assert found.value[:-1].tolist() == ticks and found.unread.tolist() == [False] * len(ticks) + [True]


FORMATS = ["%d/%m/%Y %H:%M:%S.%f", "%m-%d-%Y %I:%M:%S.%f %p", "%d. %B %Y %H:%M:%S,%f", "%Y%m%d%H%M%S%f"]


@settings(max_examples=60)
@given(st.lists(MOMENTS, min_size=1, max_size=5), st.sampled_from(FORMATS))
def test_a_format_is_read_as_python_reads_it(moments, time_format):
    texts = np.array([moment.strftime(time_format) for moment in moments])
    expected = [datetime.strptime(text, time_format).replace(tzinfo=UTC) for text in texts.tolist()]
    ticks = [(moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) for moment in expected]
    assert times.microseconds(texts, time_format=time_format).tolist() == ticks


def test_the_order_within_a_second_is_kept(tmp_path):
    clicks = [
        f"v1,{item},{1_600_000_000_000 + after}"
        for item, after in zip("dcba", (900, 600, 300, 0), strict=True)
    ]
    (tmp_path / "newest_first.csv").write_text("\n".join(["user_id,item_id,timestamp", *clicks]))
    log = files.read(tmp_path / "newest_first.csv")
    assert log.items.decode(sessions.by_gap(log).items).tolist() == ["a", "b", "c", "d"]
    assert log.items.decode(sessions.histories(log, 4)[1]).tolist() == ["a", "b", "c", "d"]
    assert log.items.decode(log.item[split.leave_one_out(log).test]).tolist() == ["d"]
    assert log.items.decode(log.item[split.by_time(log, test=0.25).test]).tolist() == ["d"]
    assert log.items.decode(log.sort_by_time().item).tolist() == ["a", "b", "c", "d"]
    assert sessions.by_gap(log, 0.2).num_sessions == 4 and sessions.by_gap(log, 1).num_sessions == 1


def test_bad_times_are_dropped_if_their_user_says_so():
    table = {
        "user": np.array(["NULL", "a", "b", "c", "d", "e"]),
        "item": np.arange(6),
        "time": np.array(["1600000000", "1600000001", "time", "NULL", "0", "1600000002.5"]),
    }
    table, one = clean.drop_missing(table, ["user", "item"])
    with pytest.raises(DataError, match="row 3, column 'time': 'time' is not a time"):
        from_columns(table)
    table, two = clean.drop_bad_times(table, "time", first="2000-01-01")
    log = from_columns(table)
    assert (log.timestamp - BASE).tolist() == [1_000_000, 2_500_000]
    assert log.row.tolist() == table[ROW].tolist() == [2, 6]
    assert str(one + two).splitlines() == [
        "6 rows, 4 dropped, 2 left",
        "  1 without a value of 'user': 1 'NULL' (such as row 1)",
        "  2 whose 'time' is missing or cannot be read (such as row 3: time; row 4: NULL)",
        "  1 whose 'time' is before 2000-01-01 (such as row 5: 0)",
    ]
    with pytest.raises(clean.NothingLeft, match=r"nothing is left: the last 2 rows .* after 1999"):
        clean.drop_bad_times(table, "time", last="1999")
    with pytest.raises(DataError, match="'yesterday' is not a time in ISO 8601"):
        clean.drop_bad_times(table, "time", last="yesterday")
    with pytest.raises(DataError, match="no column 'when'"):
        clean.drop_bad_times(table, "when")


def test_an_order_of_whole_numbers():
    table, _ = clean.drop_bad_times({"week": np.array([3.0, np.nan, 1.0])}, "week", unit="order")
    assert table["week"].tolist() == [3, 1]
    log = from_columns({"user": [1, 1], "item": [1, 2], "week": [53, 1]}, timestamp="week", unit="order")
    assert log.sort_by_time().item.tolist() == [2, 1]


OTHER_COUNTS = {
    "hours of a date": (
        [2024050112, 2024050113],
        "look like dates; if they are, give time_format='%Y%m%d%H',",
    ),
    "minutes of a date": ([202405011230], r"give time_format='%Y%m%d%H%M', if not, the unit"),
    "the same as text": (["202405011230", "202405011231"], "give time_format='%Y%m%d%H%M'"),
    "seconds of a date": ([20240501123059], "give time_format='%Y%m%d%H%M%S'"),
    "ticks of .NET": ([638_500_000_000_000_000], r"look like \.NET ticks .* with unit='us'"),
    "file times of Windows": ([133_500_000_000_000_000], "look like Windows' file times"),
    "rounded floats": (np.array([1.7e9], np.float32), "row 1.*1700000000 is rounded, as float32"),
}


@pytest.mark.parametrize(("values", "message"), OTHER_COUNTS.values(), ids=OTHER_COUNTS)
def test_numbers_that_do_not_count_from_1970_are_asked_about(values, message):
    with pytest.raises(DataError, match=message):
        times.microseconds(np.asarray(values))


def test_ticks_become_times_as_the_error_says():
    ticks = np.array([(datetime(2023, 11, 20) - datetime(1, 1, 1)) // timedelta(microseconds=1) * 10])
    with pytest.raises(DataError) as told:
        times.microseconds(ticks)
    formula = str(told.value).partition("Give ")[2].partition(" with unit='us'")[0]
    made = times.microseconds(eval(formula, {"values": ticks}), unit="us")
    assert made.astype("datetime64[us]").astype(str).tolist() == ["2023-11-20T00:00:00.000000"]


def test_a_month_has_a_name_of_its_own():
    found = times.read(np.array(["5 Sept 2024", "5 October 2024", "5 Marble 2024", "5 Septober 2024"]))
    assert found.unread.tolist() == [False, False, True, True]


def test_an_order_is_known_as_such_however_large_its_numbers():
    log = from_columns({"user": [1, 1], "item": [1, 2], "time": [5_000_000, 6_000_000_000]}, unit="order")
    asked = sessions.seconds, sessions.by_gap, lambda log: split.at_time(log, test=5)
    for ask in (*asked, lambda log: split.rolling(log, windows=1, width=1)):
        for some in (log, log.take(np.array([0, 1]))):
            with pytest.raises(DataError, match="the times only give the order of the rows"):
                ask(some)
