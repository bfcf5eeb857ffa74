"""The configuration file with routes."""

from pathlib import Path

import pytest
from house import House

from piecework.server.errors import InvalidRequest
from piecework.server.services.functions.functions import RouteFile, load_routes
from piecework.server.services.functions.routefile import RouteFileError, parse_routes, read_route_file

CAPSULE = """
hello:
  default:
    - http://localhost:9091
    - http://localhost:7071
hola:
  default:
    - http://localhost:9093
  orange:
    - http://localhost:6061
"""
ROUTES = {
    "hello": {"default": ["http://localhost:9091", "http://localhost:7071"]},
    "hola": {"default": ["http://localhost:9093"], "orange": ["http://localhost:6061"]},
}


def test_capsules_own_file_is_read():
    assert parse_routes(CAPSULE) == ROUTES


def test_a_key_above_it_all_is_read_too():
    indented = "functions:\n" + "\n".join(f"  {line}" for line in CAPSULE.splitlines())
    assert parse_routes(indented) == ROUTES


@pytest.mark.parametrize(
    ("text", "routes"),
    [
        ("", {}),
        ("functions:\n", {"functions": {}}),
        ("# only a comment", {}),
        ("hola:\n", {"hola": {}}),
        ("hola:\n  1.0: http://a\n", {"hola": {"1.0": ["http://a"]}}),
        ("functions:\n  default: [http://a]\n", {"functions": {"default": ["http://a"]}}),
    ],
)
def test_what_is_left_open_is_empty_and_names_are_taken_as_they_are_written(text: str, routes: RouteFile):
    assert parse_routes(text) == routes


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("hola:\n  - http://a\n", "line 2: here should be the revisions of hola"),
        ("- hola\n", "line 1: here should be the functions"),
        ("hola:\n  blue:\n    deeper: x\n", "line 3: here should be a URL"),
        ("hola:\n  blue:\n  - [x]\n", "line 3: here should be a URL"),
        ("hola: {}\nhola: {}\n", "line 2: hola is there twice"),
        ("hola:\n\tblue: x\n", "line 2: found character '\\t'"),
        ("hola: [\n", "line 2: "),
        ("? [a]\n: b\n", "line 1: this is no name"),
        ("[" * 500, "line 1: it is nested too deeply"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(text: str, problem: str):
    with pytest.raises(RouteFileError) as refused:
        parse_routes(text)
    assert str(refused.value).startswith(problem)
    assert "\n" not in str(refused.value)


def test_what_is_no_file_is_refused_in_one_line(tmp_path: Path):
    with pytest.raises(RouteFileError, match=r"cannot read .*nothing\.yaml: No such file"):
        read_route_file(tmp_path / "nothing.yaml")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RouteFileError, match="is not UTF-8"):
        read_route_file(tmp_path / "binary")
    (tmp_path / "bad.yaml").write_text("- x")
    with pytest.raises(RouteFileError, match=r"bad.yaml, line 1: "):
        read_route_file(tmp_path / "bad.yaml")


def load(house: House, routes: RouteFile) -> dict[str, dict[str, list[str]]]:
    load_routes(house.services.database, routes, house.clock())
    house.services.routing.note_change()
    return {name: each.urls() for name, each in house.services.routing.table().items()}


def test_loading_again_replaces_what_came_from_the_file_and_keeps_the_rest(house: House):
    assert load(house, ROUTES) == ROUTES
    house.services.functions.add_url("hola", "orange", "http://kept")
    house.services.functions.register("mine", "default", "http://mine")
    found = load(house, {"hola": {"default": ["http://new"]}})
    assert found == {
        "hola": {"default": ["http://new"], "orange": ["http://kept"]},
        "mine": {"default": ["http://mine"]},
    }


def test_a_url_that_a_request_added_stays_when_the_file_no_longer_has_it(house: House):
    house.services.functions.register("hola", "default", "http://both")
    assert load(house, {"hola": {"default": ["http://both"]}}) == {"hola": {"default": ["http://both"]}}
    assert load(house, {}) == {"hola": {"default": ["http://both"]}}


def test_calls_do_not_go_to_a_revision_that_the_file_no_longer_has(house: House):
    load(house, {"hola": {"blue": ["http://b"], "green": ["http://g"], "red": ["http://r"]}})
    house.call("PUT", "/deployments/hola/default", {"revision": "blue"})
    load(house, {"hola": {"green": ["http://g"], "red": ["http://r"]}})
    assert "default" not in house.call("GET", "/deployments/hola")
    house.call("PUT", "/deployments/hola/split", {"weights": {"green": 1, "red": 9}})
    load(house, {"hola": {"green": ["http://g"]}})
    assert house.call("GET", "/deployments/hola")["split"] == {"green": 1}


@pytest.mark.parametrize("routes", [{"a/b": {}}, {"a": {"..": ["http://a"]}}, {"a": {"b": ["ftp://a"]}}])
def test_names_and_urls_that_cannot_be_are_refused_and_nothing_changes(house: House, routes: RouteFile):
    load(house, ROUTES)
    with pytest.raises(InvalidRequest):
        load(house, routes)
    assert house.services.routing.table().keys() == ROUTES.keys()
