"""Databases for tests: what is stored is tested on SQLite and on PostgreSQL alike."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from house import migrated_file
from places import Place, migrate
from postgres import Cluster

from piecework.server.store.engine.database import Database
from piecework.server.store.engine.tables.functions import metadata

NUMBERS = itertools.count(1)
EMPTY_ALL = ";".join(f"DELETE FROM {table.name}" for table in reversed(metadata.sorted_tables))


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A PostgreSQL cluster, started when the first test asks for it."""
    cluster = Cluster(tmp_path_factory.mktemp("postgres"))
    yield cluster
    cluster.close()


@pytest.fixture(scope="session")
def postgres_url(postgres: Cluster) -> str:
    """A migrated database that tests use in turn: emptying it is ten times quicker than making one."""
    url = postgres.create_database("shared")
    migrate(url)
    return url


@pytest.fixture(scope="session")
def emptying(postgres_url: str) -> Iterator[psycopg.Connection]:
    """The connection that empties it: to open one for each test takes as long as that."""
    with psycopg.connect(postgres_url, autocommit=True, options="-c lock_timeout=5s") as connection:
        yield connection


@pytest.fixture
def sqlite_place(tmp_path: Path) -> Place:
    (tmp_path / "piecework.db").write_bytes(migrated_file())
    return Place(tmp_path, "")


@pytest.fixture
def postgres_place(tmp_path: Path, postgres_url: str, emptying: psycopg.Connection) -> Iterator[Place]:
    yield Place(tmp_path, postgres_url)
    emptying.execute(EMPTY_ALL)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.integration)])
def place(request: pytest.FixtureRequest) -> Place:
    """A fresh place on each database in turn."""
    found: Place = request.getfixturevalue(f"{request.param}_place")
    return found


@pytest.fixture
def database(place: Place) -> Iterator[Database]:
    """A fresh database with the schema, on SQLite and on PostgreSQL in turn."""
    database = place.open()
    yield database
    database.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.integration)])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without any table, on SQLite and on PostgreSQL in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    cluster: Cluster = request.getfixturevalue("postgres")
    return cluster.create_database(f"empty_{next(NUMBERS)}")
