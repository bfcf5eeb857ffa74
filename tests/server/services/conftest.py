from collections.abc import Iterator

import pytest
from house import House
from places import Place


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.integration)])
def house(request: pytest.FixtureRequest) -> Iterator[House]:
    """A server on SQLite, and in the integration run on PostgreSQL too."""
    place: Place = request.getfixturevalue(f"{request.param}_place")
    house = House(place.data, database_url=place.database_url)
    yield house
    house.close()
