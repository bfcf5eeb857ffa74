"""What takes the disk is told, and given back."""

from itertools import pairwise

import pytest
from house import House, finished

from piecework.server.services import free_pages
from piecework.server.store.engine.pages import compact, read_pages
from piecework.server.store.stock import usage


def end(house: House, count: int, **fields: object) -> list[int]:
    lambda_id, worker = house.new_lambda(), house.new_worker()
    ids = [int(house.submit(lambda_id, **fields)) for _ in range(count)]
    for leased in house.contract(worker, max=count)["jobs"]:
        house.finish(worker, finished({"job": leased["job"], "lease": leased["lease"]}))
    return ids


def test_what_takes_the_disk_is_told(house: House):
    ended = end(house, 3, retain_s=60)
    house.submit(house.new_lambda(), status="paused")
    house.submit(house.new_lambda(), input={"text": "x" * 40_000})
    house.clock.forward(60)
    told = house.call("GET", "/sys/storage")
    assert {name: count for name, count in told["jobs"].items() if count} == {
        "waiting": 1, "enqueued": 1, "finished": 3
    }  # fmt: skip
    assert told["blobs"] == {"count": 7, "bytes": 10, "more": False}
    assert told["stored"] == {"count": 1, "bytes": 40_000, "more": False}
    assert told["due"] == len(ended)
    assert 0 < told["due_bytes"] < told["database_bytes"]
    assert told["events"] >= 4
    assert told["gives_back"]


def test_sizes_are_added_up_of_the_newest_only(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("piecework.server.services.health.storage.ROWS_MAX", 2)
    end(house, 3)
    told = house.call("GET", "/sys/storage")
    assert told["blobs"]["count"] == 2
    assert told["blobs"]["more"]
    assert usage.ROWS_MAX == 10_000


def test_an_empty_server_has_nothing(house: House):
    told = house.call("GET", "/sys/storage")
    assert (sum(told["jobs"].values()), told["due"], told["due_bytes"], told["events"]) == (0, 0, 0, 0)


@pytest.mark.slow
def test_free_pages_are_given_back_step_by_step(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(free_pages, "SPARE_PAGES", 20)
    monkeypatch.setattr(free_pages, "STEP_PAGES", 30)
    house = House(tmp_path)
    ended = end(house, 30, input={"text": "x" * 30_000})
    house.services.removal.remove(ended)
    keeper = free_pages.FreePages(house.services.database)
    sizes = [_pages(house)]
    while keeper.step():
        sizes.append(_pages(house))
    steps = [before - after for before, after in pairwise(sizes)]
    assert len(steps) > 3
    assert all(0 < step <= 30 for step in steps)
    with house.services.database.read() as connection:
        use = read_pages(connection)
    assert use.free <= max(20, use.pages // free_pages.SPARE_SHARE) + 1
    house.close()


@pytest.mark.slow
def test_a_file_of_before_is_left_until_it_is_compacted(tmp_path):
    house = House(tmp_path)
    ended = end(house, 10, input={"text": "x" * 30_000})
    house.services.removal.remove(ended)
    house.close()
    path = tmp_path / "piecework.db"
    _forget_to_give_back(path)
    house = House(tmp_path)
    assert not house.call("GET", "/sys/storage")["gives_back"]
    assert not free_pages.FreePages(house.services.database).step()
    house.close()
    before, after = compact(path)
    assert after < before
    house = House(tmp_path)
    told = house.call("GET", "/sys/storage")
    assert (told["gives_back"], told["free_bytes"]) == (True, 0)
    house.close()


def _pages(house: House) -> int:
    with house.services.database.read() as connection:
        return read_pages(connection).pages


def _forget_to_give_back(path) -> None:
    import sqlite3

    with sqlite3.connect(path, isolation_level=None) as database:
        database.execute("PRAGMA auto_vacuum=NONE")
        database.execute("VACUUM")
        database.execute("CREATE TABLE filling (content)")
        database.execute("INSERT INTO filling VALUES (zeroblob(300000))")
        database.execute("DROP TABLE filling")
    database.close()
