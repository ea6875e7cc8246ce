"""Events are kept once, in order, and are there for the next process."""

import sqlite3

import pytest

from rezoo.errors import DataError
from rezoo.serving.service.event_log import Event, LogFullError, SqliteLog


def test_events_come_back_as_they_were(tmp_path):
    events = [
        Event("a", "ann", "té", "click", 1.5, 2.5),
        Event("b", "bob", 7, "buy", 1.0, 3.0, user=8, features={"age": 3, "likes": ["x", None]}),
        Event("c", "bob", 7, context={"hour": 9}),
    ]
    log = SqliteLog(tmp_path / "events.sqlite")
    assert log.append(events) == [1, 2, 3] and log.append([events[0]]) == [None] and log.append([]) == []
    log.close()
    again = SqliteLog(tmp_path / "events.sqlite")
    assert list(again.read()) == [(1, events[0]), (2, events[1]), (3, events[2])]
    assert again.append([events[1]._replace(key="d")]) == [4] and [n for n, _ in again.read(3)] == [4]
    again.close()


def test_a_log_of_before_there_were_contexts_can_be_read_and_goes_on(tmp_path):
    file = tmp_path / "events.sqlite"
    log, event = SqliteLog(file), Event("a", "ann", "tea", features={"age": 3})
    log.append([event])
    log._sql.execute("ALTER TABLE events DROP COLUMN context")
    log.close()
    reader = SqliteLog(file, read_only=True)
    assert list(reader.read()) == [(1, event)]
    again, hour = SqliteLog(file), Event("b", "ann", "tea", context={"hour": 9})
    assert again.append([hour]) == [2] and list(again.read()) == [(1, event), (2, hour)]
    assert list(reader.read(1)) == [(2, hour)]
    reader.close()
    again.close()


def test_of_a_batch_that_cannot_be_kept_nothing_is(tmp_path):
    log = SqliteLog(tmp_path / "events.sqlite")
    log._sql.execute("PRAGMA max_page_count = 8")
    big = Event("big", "ann", "tea", features={"text": "x" * 100_000})
    with pytest.raises(LogFullError, match="cannot be written to"):
        log.append([Event("small", "ann", "tea"), big])
    assert list(log.read()) == [] and log.append([Event("small", "ann", "tea")]) == [1]
    log.close()


def test_a_file_that_is_no_log_or_is_another_processes_is_refused(tmp_path):
    (tmp_path / "text").write_text("no database, but long enough to be looked at " * 50)
    with pytest.raises(DataError, match="cannot be opened as a log"):
        SqliteLog(tmp_path / "text")
    with pytest.raises(DataError, match="cannot be opened as a log"):
        SqliteLog(tmp_path / "no" / "folder")
    sqlite3.connect(tmp_path / "other").execute("CREATE TABLE events (number INTEGER)").connection.close()
    with pytest.raises(DataError, match="cannot be opened as a log"):
        SqliteLog(tmp_path / "other")
    log = SqliteLog(tmp_path / "events.sqlite")
    log.append([Event("a", "ann", "tea")])
    with pytest.raises(DataError, match="end the process that writes to it"):
        SqliteLog(tmp_path / "events.sqlite", patience=0.1)
    log.close()
