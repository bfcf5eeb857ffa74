"""Databases for tests: what is stored is tested on SQLite and on PostgreSQL alike."""

import itertools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from postgres import Cluster

from server.store.database import Database, open_database
from server.store.schema import upgrade_schema

TEMPLATE = "piecework_template"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Place:
    """Where a server of one test keeps what it stores; the schema is there already."""

    data: Path
    database_url: str
    """Empty for SQLite in the data directory."""

    def open(self) -> Database:
        url = self.database_url or f"sqlite:///{self.data / 'piecework.db'}"
        return open_database(url, synchronous="OFF")


def _migrate(url: str) -> None:
    database = open_database(url, synchronous="OFF")
    upgrade_schema(database.engine)
    database.close()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file that tests copy."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A PostgreSQL cluster with a migrated database that tests copy."""
    cluster = Cluster(tmp_path_factory.mktemp("postgres"))
    _migrate(cluster.create_database(TEMPLATE))
    yield cluster
    cluster.close()


@pytest.fixture
def sqlite_place(tmp_path: Path, sqlite_template: Path) -> Place:
    shutil.copyfile(sqlite_template, tmp_path / "piecework.db")
    return Place(tmp_path, "")


@pytest.fixture
def postgres_place(tmp_path: Path, postgres: Cluster) -> Iterator[Place]:
    name = f"test_{next(_numbers)}"
    yield Place(tmp_path, postgres.create_database(name, TEMPLATE))
    postgres.drop_database(name)


@pytest.fixture(params=["sqlite", "postgres"])
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
