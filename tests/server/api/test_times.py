"""Times in answers are seconds since 1970, of the server's clock."""

from typing import Any

import pytest
from house import House, finished

HOUR_S = 3600.0
PATHS = (
    *("/job/{job}?except=Waiting", "/job?view=full", "/job/{job}/trace", "/lambda", "/lambda/{lambda}?view=full"),
    *("/worker", "/worker/{worker}?view=full", "/functions", "/deployments", "/deployments/hola"),
)


def find_times(answer: Any, name: str = "") -> list[tuple[str, float]]:
    """Return everything in an answer that is a time, with its name."""
    if isinstance(answer, dict):
        return [found for key, value in answer.items() for found in find_times(value, key)]
    if isinstance(answer, list):
        return [found for value in answer for found in find_times(value, name)]
    return [(name, answer)] if isinstance(answer, float) and (name == "at" or name.endswith("_at")) else []


@pytest.mark.parametrize("path", PATHS)
def test_times_are_seconds_since_1970(house: House, path: str):
    began = house.clock() / 1000
    ids = {"lambda": house.new_lambda(), "worker": house.new_worker()}
    ids["job"] = house.submit(ids["lambda"], delay_s=1)
    house.services.functions.register("hola", "default", "http://localhost:5050")
    house.clock.forward(HOUR_S)
    house.finish(ids["worker"], finished(house.lease(ids["worker"])))
    times = find_times(house.call("GET", path.format(**ids)))
    assert times
    assert {at - began for _, at in times} <= {0.0, 1.0, HOUR_S}, times
