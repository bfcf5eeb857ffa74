"""The kept end of a log."""

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from tries import tries

from piecework.server.store.engine.database import Database
from piecework.server.store.queue.jobs import logs
from piecework.server.store.records import Log


def _append(database: Database, start: int, content: bytes, *, attempt: int = 1, limit: int = 100) -> Log | None:
    part = Log(start, content, attempt)
    database.write(lambda c: logs.append_log(c, 7, part, limit))
    with database.read() as connection:
        return logs.find_log(connection, 7)


def test_parts_add_up(database: Database):
    _append(database, 0, b"one ")
    assert _append(database, 4, b"two") == Log(0, b"one two", 1)


def test_a_part_that_comes_twice_is_added_once(database: Database):
    _append(database, 0, b"one ")
    _append(database, 4, b"two")
    assert _append(database, 4, b"two") == Log(0, b"one two", 1)
    assert _append(database, 0, b"one ") == Log(0, b"one two", 1)


def test_of_a_part_that_overlaps_only_the_new_end_is_added(database: Database):
    _append(database, 0, b"one t")
    assert _append(database, 3, b" two") == Log(0, b"one two", 1)


def test_after_a_gap_what_came_before_is_dropped(database: Database):
    _append(database, 0, b"one ")
    assert _append(database, 10, b"three") == Log(10, b"three", 1)


def test_the_newest_bytes_are_kept_and_the_dropped_ones_counted(database: Database):
    _append(database, 0, b"0123456789", limit=8)
    assert _append(database, 10, b"abc", limit=8) == Log(5, b"56789abc", 1)


def test_a_part_longer_than_the_limit_leaves_its_own_end(database: Database):
    assert _append(database, 0, b"0123456789", limit=4) == Log(6, b"6789", 1)
    assert _append(database, 10, b"x", limit=0) == Log(11, b"", 1)


def test_each_attempt_has_a_log_and_the_latest_is_shown(database: Database):
    _append(database, 0, b"first")
    assert _append(database, 0, b"second", attempt=2) == Log(0, b"second", 2)
    assert _append(database, 5, b" more", attempt=1) == Log(0, b"second", 2)


def test_storing_a_whole_log_replaces_what_was_kept(database: Database):
    _append(database, 0, b"partial")
    database.write(lambda c: logs.put_log(c, 7, Log(3, b"whole", 1)))
    with database.read() as connection:
        assert logs.find_log(connection, 7) == Log(3, b"whole", 1)
        assert logs.find_log(connection, 8) is None


@pytest.mark.parametrize("content", [b"\x00\xff\xfe", "naïve ✓".encode()])
def test_any_bytes_are_kept(database: Database, content: bytes):
    assert _append(database, 0, content) == Log(0, content, 1)


@settings(max_examples=tries(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 12)), max_size=8), st.integers(1, 20))
def test_whatever_arrives_the_log_is_a_piece_of_what_was_written(
    sqlite_log: Database, parts: list[tuple[int, int]], limit: int
):
    written = bytes(range(65, 65 + 42))
    sqlite_log.write(lambda c: c.exec_driver_sql("DELETE FROM logs"))
    for start, length in parts:
        kept = _append(sqlite_log, start, written[start : start + length], limit=limit)
        assert kept is not None
        assert kept.content == written[kept.start : kept.end]
        assert len(kept.content) <= limit
    if parts:
        assert kept.end == max(start + len(written[start : start + length]) for start, length in parts)


@pytest.fixture
def sqlite_log(sqlite_place):
    database = sqlite_place.open()
    yield database
    database.close()
