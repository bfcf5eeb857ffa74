"""Where histories take place."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import structlog
from history import LiveThrough, Verdict, run_history
from places import migrate
from postgres import Cluster

from piecework.server.store.engine.tables import metadata

EMPTY_ALL = ";".join(f"DELETE FROM {table.name}" for table in reversed(metadata.sorted_tables))


@pytest.fixture(autouse=True)
def log() -> Iterator[None]:
    """What servers and agents log is not read."""
    with structlog.testing.capture_logs():
        yield


@pytest.fixture
def on_sqlite(tmp_path: Path) -> LiveThrough:
    """Lives through a seed's history on SQLite."""
    return lambda seed: run_history(seed, tmp_path / str(seed))


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A migrated database that histories use in turn."""
    cluster = Cluster(tmp_path_factory.mktemp("postgres"))
    url = cluster.create_database("histories")
    migrate(url)
    yield url
    cluster.close()


@pytest.fixture
def on_postgres(tmp_path: Path, postgres_url: str) -> LiveThrough:
    """Lives through a seed's history on PostgreSQL, with one server or two."""

    def live_through(seed: int) -> Verdict:
        with psycopg.connect(postgres_url) as connection:
            connection.execute(EMPTY_ALL)
        return run_history(seed, tmp_path / str(seed), postgres_url)

    return live_through
