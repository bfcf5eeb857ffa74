"""Transactions: shared commits on SQLite, retries on PostgreSQL, errors in our own words."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from places import Place
from rows import blob

from piecework.server.errors import DatabaseAway, StorageFull
from piecework.server.store.engine.database import Connection, Database, SqliteDatabase, _Unit, open_database
from piecework.server.store.engine.postgres import RACES_MAX
from piecework.server.store.schema.standing import current_revision
from piecework.server.store.stock import blobs

TIMEOUT_S = 10


def _store(id_: int) -> Callable[[Connection], int]:
    def work(connection: Connection) -> int:
        blobs.add_blobs(connection, [blob(id_)])
        return id_

    return work


def _fail(connection: Connection) -> None:
    blobs.add_blobs(connection, [blob(99)])
    raise ValueError("not this one")


def _stored(database: Database) -> set[int]:
    with database.read() as connection:
        return set(blobs.find_blobs(connection, range(1, 2000)))


@pytest.fixture
def sqlite(sqlite_place: Place) -> Iterator[Database]:
    database = sqlite_place.open()
    yield database
    database.close()


@contextmanager
def _in_one_group(
    database: SqliteDatabase, works: list[Callable[[Connection], Any]]
) -> Iterator[list[Future[Any]]]:
    """Start writes while another one holds the writer, so that they come to share a commit."""
    holding, go = threading.Event(), threading.Event()

    def hold(_: Connection) -> None:
        holding.set()
        assert go.wait(TIMEOUT_S)

    with ThreadPoolExecutor(len(works) + 1) as pool:
        pool.submit(database.write, hold)
        assert holding.wait(TIMEOUT_S)
        futures = [pool.submit(database.write, work) for work in works]
        pause = threading.Event()
        while len(database._waiting) < len(works):
            pause.wait(0.001)
        go.set()
        yield futures


def test_a_write_returns_its_value_and_is_seen_by_readers(database: Database):
    assert database.write(_store(7)) == 7
    assert _stored(database) == {7}


def test_nothing_of_a_failed_write_is_stored(database: Database):
    with pytest.raises(ValueError, match="not this one"):
        database.write(_fail)
    assert _stored(database) == set()


def test_a_write_after_a_failed_one_works(database: Database):
    with pytest.raises(ValueError, match="not this one"):
        database.write(_fail)
    database.write(_store(1))
    assert _stored(database) == {1}


def test_a_duplicate_is_refused_and_leaves_the_first(database: Database):
    database.write(_store(1))
    with pytest.raises(Exception, match=r"(?i)unique"):
        database.write(_store(1))
    assert _stored(database) == {1}


def test_readers_do_not_see_what_is_not_committed(database: Database):
    seen: list[set[int]] = []

    def work(connection: Connection) -> None:
        blobs.add_blobs(connection, [blob(1)])
        seen.append(_stored(database))

    database.write(work)
    assert seen == [set()]


def test_concurrent_writes_are_all_stored(database: Database):
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(lambda id_: database.write(_store(id_)), range(1, 101))) == list(range(1, 101))
    assert _stored(database) == set(range(1, 101))
    writes, commits = database.write_counter.read()
    assert writes == 100
    assert 1 <= commits <= 100


def test_writers_that_wait_together_share_one_commit(sqlite: Database):
    _, before = sqlite.write_counter.read()
    with _in_one_group(sqlite, [_store(id_) for id_ in range(1, 21)]) as futures:
        assert [future.result(TIMEOUT_S) for future in futures] == list(range(1, 21))
    _, after = sqlite.write_counter.read()
    assert after - before == 2  # the one that they waited for, and theirs
    assert _stored(sqlite) == set(range(1, 21))


def test_a_failed_write_takes_nothing_with_it_from_its_group(sqlite: Database):
    with _in_one_group(sqlite, [_store(1), _fail, _store(2), _store(2), _store(3)]) as futures:
        errors = [future.exception(TIMEOUT_S) for future in futures]
    assert [type(error).__name__ for error in errors] == [
        "NoneType", "ValueError", "NoneType", "IntegrityError", "NoneType"
    ]  # fmt: skip
    assert _stored(sqlite) == {1, 2, 3}


def test_a_writer_behind_more_than_a_group_of_others_gets_its_answer(
    sqlite: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("piecework.server.store.engine.database.GROUP_MAX", 4)
    others = [_Unit(_store(id_)) for id_ in range(1, 10)]
    sqlite._waiting.extend(others)
    assert sqlite.write(_store(20)) == 20
    assert all(unit.done for unit in others)
    assert _stored(sqlite) == {*range(1, 10), 20}
    assert sqlite.write_counter.read() == (10, 3)


def test_a_full_disk_stores_nothing_and_says_so(sqlite: Database):
    def limit(connection: Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    def fill(connection: Connection) -> None:
        blobs.add_blobs(connection, [blob(1), blob(2, bytes(1_000_000))])

    sqlite.write(limit)
    with pytest.raises(StorageFull, match="nothing of this request was stored"):
        sqlite.write(fill)
    assert _stored(sqlite) == set()


def test_a_full_disk_acknowledges_nobody_who_is_not_stored(sqlite: Database):
    def limit(connection: Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 2}")

    def fill(connection: Connection) -> None:
        blobs.add_blobs(connection, [blob(50, bytes(1_000_000))])

    sqlite.write(limit)
    with _in_one_group(sqlite, [_store(1), fill, _store(2)]) as futures:
        errors = [future.exception(TIMEOUT_S) for future in futures]
    assert isinstance(errors[1], StorageFull)
    acknowledged = {id_ for id_, error in zip((1, 50, 2), errors, strict=True) if error is None}
    assert _stored(sqlite) == acknowledged
    sqlite.write(_store(3))
    assert 3 in _stored(sqlite)


def test_writes_survive_that_the_database_is_closed_and_opened(place: Place):
    first = place.open()
    first.write(_store(1))
    first.close()
    second = place.open()
    assert _stored(second) == {1}
    second.close()


@pytest.mark.integration
def test_a_deadlock_between_two_servers_is_solved_by_trying_again(postgres_place: Place):
    database = postgres_place.open()
    database.write(lambda c: blobs.add_blobs(c, [blob(1), blob(2)]))
    both = threading.Barrier(2)

    def touch(order: tuple[int, int]) -> None:
        met = False

        def work(connection: Connection) -> None:
            nonlocal met
            connection.exec_driver_sql("SET LOCAL deadlock_timeout = '10ms'")
            update = "UPDATE blobs SET size = size + 1 WHERE id = %(id)s"
            connection.exec_driver_sql(update, {"id": order[0]})
            if not met:
                met = True
                both.wait(TIMEOUT_S)
            connection.exec_driver_sql(update, {"id": order[1]})

        database.write(work)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(touch, [(1, 2), (2, 1)]))
    with database.read() as connection:
        assert {each.size for each in blobs.find_blobs(connection, [1, 2]).values()} == {3}
    database.close()


@pytest.mark.integration
@pytest.mark.parametrize(("losses", "is_stored"), [(RACES_MAX, True), (RACES_MAX + 1, False)])
def test_who_loses_many_races_tries_again_and_not_for_ever(postgres_place: Place, losses: int, is_stored: bool):
    database = postgres_place.open()
    left = losses

    def work(connection: Connection) -> None:
        nonlocal left
        _store(1)(connection)
        if left:
            left -= 1
            connection.exec_driver_sql("DO $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = '40001'; END $$")

    with nullcontext() if is_stored else pytest.raises(DatabaseAway):
        database.write(work)
    assert _stored(database) == ({1} if is_stored else set())
    database.close()


def test_a_database_that_does_not_answer_is_away():
    database = open_database("postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(DatabaseAway, match="does not answer"):
        database.write(_store(1))
    with pytest.raises(DatabaseAway), database.read():
        pass
    database.close()


def test_a_file_that_is_no_database_is_named_as_such(tmp_path: Path):
    path = tmp_path / "piecework.db"
    path.write_bytes(b"certainly not a database" * 100)
    database = open_database(f"sqlite:///{path}")
    with pytest.raises(DatabaseAway, match="not a database"):
        current_revision(database)
    database.close()


def test_sqlite_flushes_each_commit_to_disk_unless_told_otherwise(tmp_path: Path):
    database = open_database(f"sqlite:///{tmp_path / 'piecework.db'}")
    with database.read() as connection:
        found = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert found == ["wal", 2, 1]
    database.close()


def test_only_durable_commits_wait_for_the_disk(tmp_path: Path):
    database = open_database(f"sqlite:///{tmp_path / 'a.db'}", synchronous="FULL")

    def read_setting(connection: Connection) -> int:
        return int(connection.exec_driver_sql("PRAGMA synchronous").scalar() or 0)

    normal, full = 1, 2
    assert database.write(read_setting) == full
    assert database.write(read_setting, durable=False) == normal
    assert database.write(read_setting) == full
    database.close()


@pytest.mark.integration
def test_on_postgresql_only_durable_commits_wait_for_the_disk(postgres_place: Place):
    database = open_database(f"{postgres_place.database_url}?options=-csynchronous_commit%3Don")

    def read_setting(connection: Connection) -> str:
        return str(connection.exec_driver_sql("SHOW synchronous_commit").scalar())

    assert database.write(read_setting, durable=False) == "off"
    assert database.write(read_setting) == "on"
    database.close()
