from collections.abc import Iterator
from pathlib import Path

import pytest
from console import Browser
from house import House


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "data", settings={"console_acts": True})
    house.data.chmod(0o700)
    yield house
    house.close()


@pytest.fixture
def browser(house: House) -> Browser:
    return Browser(house)
