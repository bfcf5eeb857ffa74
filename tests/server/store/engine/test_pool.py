"""Connections that are lent to one request at a time."""

import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from places import Place

from piecework.server.errors import DatabaseAway
from piecework.server.store.engine import connections
from piecework.server.store.engine.connections import CONNECTIONS
from piecework.server.store.engine.database import Connection, Database


@pytest.fixture
def database(sqlite_place: Place) -> Iterator[Database]:
    database = sqlite_place.open()
    yield database
    database.close()


def test_a_request_beyond_all_connections_waits_for_one(database: Database):
    with ExitStack() as held, ThreadPoolExecutor(1) as pool:
        lent = [held.enter_context(database.read()) for _ in range(CONNECTIONS - 1)]
        last = ExitStack()
        lent.append(last.enter_context(database.read()))
        assert len(set(map(id, lent))) == CONNECTIONS
        asks = threading.Event()

        def ask() -> object:
            asks.set()
            with database.read() as connection:
                return connection

        waiting = pool.submit(ask)
        asks.wait()
        last.close()
        assert waiting.result(timeout=10) is lent[-1]


def test_a_request_that_gets_none_in_time_is_told(database: Database, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connections, "BUSY_TIMEOUT_S", 0.0)
    with ExitStack() as held:
        for _ in range(CONNECTIONS):
            held.enter_context(database.read())
        with pytest.raises(DatabaseAway, match="every database connection is taken"), database.read():
            pass
    with database.read() as connection:
        assert not connection.closed


def test_a_connection_that_met_an_error_of_its_driver_makes_room_for_another(database: Database):
    met: list[Connection] = []
    for _ in range(CONNECTIONS + 1):
        with pytest.raises(DatabaseAway):
            _fail(database, sqlite3.OperationalError("disk I/O error"), met)
    assert len(set(map(id, met))) == CONNECTIONS + 1
    assert all(each.closed for each in met)
    with pytest.raises(ValueError, match="ours"):
        _fail(database, ValueError("ours"), met)
    with database.read() as again:
        assert again is met[-1]


def _fail(database: Database, error: Exception, met: list[Connection]) -> None:
    with database.read() as connection:
        met.append(connection)
        raise error


def test_many_threads_at_once_never_share_a_connection(database: Database):
    used, lock = set[Connection](), threading.Lock()

    def work(_: int) -> None:
        for _ in range(50):
            with database.read() as connection:
                with lock:
                    assert connection not in used
                    used.add(connection)
                with lock:
                    used.remove(connection)

    with ThreadPoolExecutor(2 * CONNECTIONS) as pool:
        list(pool.map(work, range(2 * CONNECTIONS)))
