"""What only PostgreSQL does: connections that break, and announcements."""

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from places import Place
from rows import blob

from piecework.server.errors import DatabaseAway
from piecework.server.store.engine.database import Connection, Database
from piecework.server.store.engine.statements import driver_of
from piecework.server.store.stock import blobs

pytestmark = pytest.mark.integration
TIMEOUT_S = 10


@pytest.fixture
def database(postgres_place: Place) -> Iterator[Database]:
    database = postgres_place.open()
    yield database
    database.close()


def backend(connection: Connection) -> int:
    """Return the process id of the connection's other end."""
    return int(driver_of(connection).info.backend_pid)


def end_backend(place: Place, pid: int) -> None:
    """End a connection from the other side, and wait until it has ended."""
    with psycopg.connect(place.database_url, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(%s, 10000)", (pid,))


def test_a_connection_that_broke_while_nobody_had_it_is_replaced(postgres_place: Place, database: Database):
    with database.read() as connection:
        first = backend(connection)
    end_backend(postgres_place, first)
    assert database.write(backend) != first
    with database.read() as connection:
        assert blobs.find_blobs(connection, [1]) == {}


def test_a_connection_that_breaks_in_a_write_stores_nothing_and_is_replaced(
    postgres_place: Place, database: Database
):
    def work(connection: Connection) -> None:
        blobs.add_blobs(connection, [blob(1)])
        end_backend(postgres_place, backend(connection))
        blobs.add_blobs(connection, [blob(2)])

    with pytest.raises(DatabaseAway, match="does not answer"):
        database.write(work)
    with database.read() as connection:
        assert blobs.find_blobs(connection, [1, 2]) == {}


def test_a_primary_that_became_a_standby_is_left_for_a_new_connection(database: Database):
    def become_standby(connection: Connection) -> int:
        connection.exec_driver_sql("SET transaction_read_only TO on")
        blobs.add_blobs(connection, [blob(1)])
        return 0

    with database.read() as connection:
        first = backend(connection)
    with pytest.raises(DatabaseAway, match="takes no writes now: cannot execute INSERT"):
        database.write(become_standby)
    assert database.write(backend) != first


def test_a_connection_that_breaks_before_the_commit_stores_nothing(postgres_place: Place, database: Database):
    def work(connection: Connection) -> None:
        blobs.add_blobs(connection, [blob(1)])
        end_backend(postgres_place, backend(connection))

    with pytest.raises(DatabaseAway):
        database.write(work)
    with database.read() as connection:
        assert blobs.find_blobs(connection, [1]) == {}


def test_a_connection_is_kept_when_a_write_is_given_up(database: Database):
    def fail(connection: Connection) -> None:
        blobs.add_blobs(connection, [blob(1)])
        used.append(backend(connection))
        raise ValueError("not this one")

    used: list[int] = []
    with pytest.raises(ValueError, match="not this one"):
        database.write(fail)
    with database.read() as connection:
        assert backend(connection) == used[0]
        assert blobs.find_blobs(connection, [1]) == {}


def test_what_others_announce_is_heard_and_what_one_announces_oneself_is_not(
    postgres_place: Place, database: Database
):
    other = postgres_place.open()
    heard: list[Mapping[int, int] | None] = []
    stop, done = threading.Event(), threading.Event()

    def hear(enqueued: Mapping[int, int] | None) -> None:
        heard.append(enqueued)
        done.set()

    with ThreadPoolExecutor(1) as pool:
        listening = pool.submit(database.listen, hear, stop)
        pause = threading.Event()
        while not done.wait(0.02):  # until it listens, what is announced is lost
            other.announce()
        heard.clear()
        done.clear()
        for _ in range(5):
            database.announce()
        other.announce({7: 3})  # after the others, so that they have been heard when it is
        assert done.wait(TIMEOUT_S)
        pause.wait(0.05)
        stop.set()
        listening.result(TIMEOUT_S)
    assert len(heard) <= 2  # one of the first announcements may have been late
    assert heard[-1] == {7: 3}
    other.close()
