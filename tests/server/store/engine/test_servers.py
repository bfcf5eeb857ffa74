"""The numbers of the servers that share a database."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from patience import LONG_S
from places import Place
from rows import blob

from piecework.server.errors import CapacityReached
from piecework.server.store.engine import servers
from piecework.server.store.engine.database import Database
from piecework.server.store.engine.ids import LOW_BITS, SERVERS_MAX
from piecework.server.store.engine.servers import FORGOTTEN_AFTER_MS
from piecework.server.store.stock import blobs


def _claim(database: Database, incarnation: str, now: int) -> int:
    return database.write(lambda c: servers.claim_number(c, incarnation, now))


def test_each_server_gets_the_lowest_number_that_is_free(database: Database):
    assert [_claim(database, name, 0) for name in "abc"] == [0, 1, 2]
    database.write(lambda c: servers.release_number(c, 1, "b"))
    assert _claim(database, "d", 0) == 1


def test_a_number_is_free_again_when_its_server_was_not_heard_of(database: Database):
    assert _claim(database, "a", 0) == 0
    assert _claim(database, "b", FORGOTTEN_AFTER_MS) == 1
    assert _claim(database, "c", FORGOTTEN_AFTER_MS + 1) == 0


def test_a_server_that_shows_itself_keeps_its_number(database: Database):
    _claim(database, "a", 0)
    assert database.write(lambda c: servers.touch_number(c, 0, "a", FORGOTTEN_AFTER_MS))
    assert _claim(database, "b", FORGOTTEN_AFTER_MS + 1) == 1


def test_a_server_that_lost_its_number_is_told(database: Database):
    _claim(database, "a", 0)
    assert _claim(database, "b", FORGOTTEN_AFTER_MS + 1) == 0
    assert not database.write(lambda c: servers.touch_number(c, 0, "a", FORGOTTEN_AFTER_MS + 2))


def test_releasing_a_number_that_another_server_has_changes_nothing(database: Database):
    _claim(database, "a", 0)
    database.write(lambda c: servers.release_number(c, 0, "stranger"))
    assert _claim(database, "b", 0) == 1


@pytest.mark.integration
def test_servers_that_start_at_once_do_not_share_a_number(postgres_place: Place):
    places = [postgres_place.open() for _ in range(4)]
    both = threading.Barrier(4)

    def start(index: int) -> int | None:
        both.wait(LONG_S)
        try:
            return _claim(places[index], f"s{index}", 0)
        except CapacityReached:
            return None

    with ThreadPoolExecutor(4) as pool:
        numbers = [number for number in pool.map(start, range(4)) if number is not None]
    assert numbers
    assert len(set(numbers)) == len(numbers)
    for place in places:
        place.close()


def test_the_largest_id_is_above_every_id_in_use(database: Database):
    with database.read() as connection:
        assert servers.largest_id(connection) < 1 << LOW_BITS
    database.write(lambda c: blobs.add_blobs(c, [blob(5 << LOW_BITS | 77), blob(2**53 + 77)]))
    with database.read() as connection:
        assert servers.largest_id(connection) == (6 << LOW_BITS) - 1


def test_a_server_that_is_always_alone_needs_one_number(sqlite_place: Place):
    database = sqlite_place.open()
    for start in range(SERVERS_MAX + 2):
        assert database.write(lambda c, s=start: servers.claim_number(c, f"s{s}", 1000 - s, alone=True)) == 0
    database.close()
