import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from console import Browser
from house import House
from kept_houses import Fill, Keep, Kept


def open_house(data: Path) -> House:
    house = House(data, settings={"console_acts": True})
    house.data.chmod(0o700)
    return house


@pytest.fixture(scope="module")
def keep(tmp_path_factory: pytest.TempPathFactory) -> Keep:
    """Return a function that fills a server and keeps what it stored, for the fixture `kept` of a file."""

    def fill_and_keep(fill: Fill) -> Kept:
        house = open_house(tmp_path_factory.mktemp("kept"))
        ids = fill(house)
        house.close()
        return Kept(house.data, ids)

    return fill_and_keep


@pytest.fixture
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    """A server: with what was kept, if the test uses that, else empty."""
    if "kept" in request.fixturenames:
        shutil.copytree(request.getfixturevalue("kept").data, tmp_path / "data")
    house = open_house(tmp_path / "data")
    yield house
    house.close()


@pytest.fixture
def browser(house: House) -> Browser:
    return Browser(house)
