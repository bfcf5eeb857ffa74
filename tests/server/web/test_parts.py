"""Parts of the server that run alone: what they answer, and what they do not."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from house import House
from openapi_spec_validator import OpenAPIV31SpecValidator

from piecework.server.web.parts import PROXY, REGISTRY, WHOLE, Part

NOT_FOUND = {"code": "PAGE_NOT_FOUND", "message": "😢 Page not found 🥵"}


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path, part=REGISTRY)
    yield house
    house.close()


def test_a_part_alone_answers_how_it_is(registry: House):
    assert registry.call("GET", "/ping")["message"] == "pong"
    assert registry.call("GET", "/readyz")["message"] == "ready"
    assert b"piecework_requests_total" in registry.fetch("/metrics").data


@pytest.mark.parametrize("path", ["/job", "/data/1", "/worker", "/nothing"])
def test_a_part_alone_answers_nothing_else(registry: House, path: str):
    assert registry.call("GET", path, status=404) == NOT_FOUND


def test_a_part_answers_at_its_place_in_the_whole_server_too(registry: House):
    assert registry.call("GET", "/registry/modules") == registry.call("GET", "/modules")


def test_a_part_describes_only_what_it_answers(registry: House):
    document = registry.call("GET", "/openapi.json")
    assert "/ping" in document["paths"]
    assert "/job" not in document["paths"]
    assert "JobInfo" not in document["components"]["schemas"]
    assert "/job" not in registry.fetch("/docs").text


@pytest.mark.integration
@pytest.mark.parametrize("part", [REGISTRY, PROXY], ids=lambda part: part.name)
def test_the_description_of_a_part_is_valid(tmp_path: Path, part: Part):
    house = House(tmp_path, part=part)
    assert list(OpenAPIV31SpecValidator(house.call("GET", "/openapi.json")).iter_errors()) == []
    house.close()


def test_a_part_serves_its_home_at_the_root():
    assert REGISTRY.place("/registry/modules") == "/modules"
    assert REGISTRY.place("/metrics") == "/metrics"
    assert WHOLE.place("/registry/modules") == "/registry/modules"


def test_the_whole_server_answers_as_capsule_did_only_on_its_paths(house: House):
    assert house.call("GET", "/registry/no/such/thing", status=404) == NOT_FOUND
    assert house.call("GET", "/no/such/thing", status=404)["code"] == 10
