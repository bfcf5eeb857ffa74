"""What the log says of a database that goes away, or whose disk is full: once for all threads."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from structlog.testing import capture_logs

from piecework.server.errors import DatabaseAway, ServerError, StorageFull
from piecework.server.store.engine.connections import DatabaseHealth

AWAY, BACK = "the database does not answer", "the database answers again"
SHUT, OPEN = "the database takes no writes", "the database takes writes again"
FULL, ROOM = "the disk of the database is full", "the database has room again"


def meet(health: DatabaseHealth, error: Exception | None = None) -> ServerError | None:
    """Work with a database that raises an error, and return what became of it."""
    try:
        with health.noted():
            if error is not None:
                raise error
    except ServerError as ours:
        return ours
    return None


@pytest.mark.parametrize("error", [psycopg.OperationalError("refused"), psycopg.errors.AdminShutdown("bye")])
def test_one_line_when_it_goes_and_one_when_it_is_back(error: Exception):
    now = 100.0
    health = DatabaseHealth(lambda: now)
    meet(health)
    with capture_logs() as logs, ThreadPoolExecutor(4) as pool:
        gone = list(pool.map(lambda _: meet(health, error), range(20)))
        meet(health)  # over a connection that still works
        gone.append(meet(health, error))
        now += 1
        list(pool.map(lambda _: meet(health), range(20)))
        assert isinstance(meet(health, error), DatabaseAway)
    assert [line["event"] for line in logs] == [AWAY, BACK, AWAY]
    assert all(isinstance(each, DatabaseAway) and each.is_logged for each in gone)


def test_a_database_that_never_answered_is_told_by_who_opens_it_alone():
    health = DatabaseHealth()
    with capture_logs() as logs:
        assert isinstance(meet(health, psycopg.OperationalError("refused")), DatabaseAway)
    assert logs == []


@pytest.mark.parametrize(
    "error", [psycopg.errors.QueryCanceled("slow"), psycopg.errors.DeadlockDetected("two"), ValueError("no")]
)
def test_what_concerns_one_request_is_no_sign_of_the_database(error: Exception):
    health = DatabaseHealth()
    with capture_logs() as logs:
        if isinstance(error, ValueError):
            with pytest.raises(ValueError, match="no"):
                meet(health, error)
        else:
            away = meet(health, error)
            assert away is not None
            assert not away.is_logged
    assert logs == []


@pytest.mark.parametrize(
    "error", [sqlite3.OperationalError("database or disk is full"), psycopg.errors.DiskFull("x")]
)
def test_a_full_disk_is_over_when_something_was_written(error: Exception):
    health = DatabaseHealth()
    with capture_logs() as logs:
        for _ in range(3):
            assert isinstance(meet(health, error), StorageFull)
            meet(health)  # reading goes on
        health.note_write()
        health.note_write()
    assert [line["event"] for line in logs] == [FULL, ROOM]


@pytest.mark.parametrize(
    "error",
    [
        psycopg.errors.ReadOnlySqlTransaction("cannot execute UPDATE"),
        sqlite3.OperationalError("attempt to write a readonly database"),
    ],
)
def test_a_database_that_is_read_only_is_told_until_it_takes_writes(error: Exception):
    now = 100.0
    health = DatabaseHealth(lambda: now)
    with capture_logs() as logs:
        for _ in range(3):
            now += 1
            away = meet(health, error)
            assert isinstance(away, DatabaseAway)
            assert str(away) == f"the database takes no writes now: {error}"
            meet(health)  # reading goes on
            health.note_write()  # of a transaction without a change
        now += 5
        health.note_write()
    assert [line["event"] for line in logs] == [SHUT, OPEN]
