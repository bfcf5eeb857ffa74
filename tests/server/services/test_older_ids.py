"""A database from before ids fitted into 53 bits: its ids stay, new ones are small, old things stay older."""

import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from alembic import command
from house import House
from places import migrate

from piecework.server.store.engine.database import open_database
from piecework.server.store.schema import migrating

OLD = 91_322_632_779_071_488
"""An id as it was given in November 2026."""
LAMBDA, LANE, FIRST, SECOND, WORKER, BLOB = (OLD + number for number in range(1, 7))
ROWS = (
    f"INSERT INTO lambdas (id, codex, runtime, options, created_at) VALUES ({LAMBDA}, 0, 'wasi', '{{}}', 1)",
    f"INSERT INTO lanes (id, runtime, necessary, rejected) VALUES ({LANE}, 'wasi', '[]', '[]')",
    f"INSERT INTO blobs (id, sha256, size, content, created_at) VALUES ({BLOB}, X'00', 0, X'', 1)",
    (
        "INSERT INTO workers (id, name, hostname, agent_version, incarnation, runtimes, tags, slots, draining,"
        f" registered_at, seen_at) VALUES ({WORKER}, 'w', 'h', '1', '', '[\"wasi\"]', '[]', 1, false, 1, 1)"
    ),
    *(
        "INSERT INTO jobs (id, lambda_id, lane_id, state, priority, input_id, attempt, max_attempts, vanished,"
        f" created_at) VALUES ({id_}, {LAMBDA}, {LANE}, 'Enqueued', 0, 0, 0, 3, 0, 1)"
        for id_ in (FIRST, SECOND)
    ),
)


def make_and_upgrade(url: str) -> None:
    """Make such a database, and bring it to the program's schema."""
    old = open_database(url, synchronous="OFF")
    with old.engine.connect() as connection:
        config = migrating.make_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0005")
        connection.commit()
    is_postgres = old.is_shared
    old.write(lambda c: [c.exec_driver_sql(_spell(row, is_postgres)) for row in ROWS])
    old.close()
    migrate(url)


@cache
def upgraded_file() -> bytes:
    """Return such a SQLite database, upgraded once for all tests."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "piecework.db"
        make_and_upgrade(f"sqlite:///{path}")
        return path.read_bytes()


@pytest.fixture
def house(empty_url: str, tmp_path: Path) -> Iterator[House]:
    """A server on such a database, on SQLite and on PostgreSQL in turn."""
    if empty_url.startswith("sqlite"):
        Path(empty_url.removeprefix("sqlite:///")).write_bytes(upgraded_file())
    else:
        make_and_upgrade(empty_url)
    house = House(tmp_path / "data", database_url=empty_url)
    yield house
    house.close()


def _spell(row: str, is_postgres: bool) -> str:
    return row.replace("X'", r"'\x") if is_postgres else row


def _list(house: House, path: str, more: str = "") -> list[str]:
    """Return the ids of a list that is read in pages of one."""
    found, cursor = [], ""
    while True:
        page = house.call("GET", f"{path}?limit=1{more}{cursor}")
        found += [row["id"] for rows in page.values() if isinstance(rows, list) for row in rows]
        if "next" not in page:
            return found
        cursor = f"&cursor={page['next']}"


@pytest.mark.slow
def test_new_ids_are_small_and_jobs_keep_their_order(house: House):
    late, urgent = house.submit(str(LAMBDA)), house.submit(str(LAMBDA), priority=5)
    assert max(int(late), int(urgent)) < 2**53
    jobs = house.contract(str(WORKER), max=9)["jobs"]
    assert [job["job"] for job in jobs] == [urgent, str(FIRST), str(SECOND), late]


@pytest.mark.slow
def test_an_old_job_that_comes_back_is_still_before_new_ones(house: House):
    lease = house.lease(str(WORKER))
    assert lease["job"] == str(FIRST)
    house.submit(str(LAMBDA))
    house.finish(str(WORKER), {**lease, "state": "Enqueued"})
    assert house.lease(str(WORKER))["job"] == str(FIRST)


def test_lists_have_new_things_before_old_ones(house: House):
    jobs = [house.submit(str(LAMBDA)) for _ in range(2)]
    lambda_, worker = house.new_lambda(), house.new_worker()
    assert _list(house, "/job") == [*jobs[::-1], str(SECOND), str(FIRST)]
    assert _list(house, "/lambda") == [lambda_, str(LAMBDA)]
    assert _list(house, "/worker", "&all=true") == [worker, str(WORKER)]


def test_a_restart_gives_no_id_again_though_the_clock_was_set_back(house: House):
    before = int(house.submit(str(LAMBDA)))
    house.clock.forward(-3600)
    house.restart()
    assert before < int(house.submit(str(LAMBDA))) < 2**53


def test_old_ids_still_name_what_they_named(house: House):
    assert house.call("GET", f"/job/{FIRST}")["state"] == "Enqueued"
    assert house.fetch(f"/data/{BLOB}/blob").status_code == 200
