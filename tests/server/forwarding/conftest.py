from collections.abc import Iterator
from pathlib import Path

import pytest
from house import House
from raw_server import RawServer
from upstreams import Upstream


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "data", settings={"call_timeout_s": 5.0, "call_body_max_bytes": 10_000_000})
    yield house
    house.close()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture
def raw() -> Iterator[RawServer]:
    server = RawServer()
    yield server
    server.close()
