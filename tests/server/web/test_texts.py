"""The rule for texts at every door of the server, and what both databases keep unchanged."""

import re
from typing import Any
from urllib.parse import quote

import pytest
from house import House
from leaves import plant, write
from msgspec import inspect

from piecework.server.api.table import ENDPOINTS

ODD = "é😀\x01\x7f\uffff'\"\\%\u2028_"
"""Strange, and a text nevertheless."""


def fill(path: str) -> str:
    """Return a path with an id for each id and a name for each name."""
    return re.sub(r"<([^>]*)>", lambda part: "n" if ":" in part[1] else "1", path)


@pytest.mark.slow
def test_no_body_brings_a_nul_in(house: House):
    for each in ENDPOINTS:
        for leaf in plant(each.body, "a\0b") if each.body else ():
            if leaf.place[-1] not in {"text", "json"}:
                sent = {"data": write(leaf), "content_type": "application/json"}
                assert leaf.place[-1] in house.call(each.method, fill(each.path), status=422, **sent)["message"]


def test_no_query_brings_a_nul_in(house: House):
    for each in ENDPOINTS:
        for field in inspect.type_info(each.query).fields if each.query else ():  # type: ignore[attr-defined, union-attr]
            path = f"{fill(each.path)}?{field.encode_name}=a%00b"
            assert field.encode_name in house.call(each.method, path, status=422)["message"]


def test_no_path_brings_a_nul_in(house: House):
    for each in ENDPOINTS:
        for part in re.findall(r"<([^>]*)>", each.path):
            path = fill(each.path.replace(f"<{part}>", "a%00b"))
            says = house.call(each.method, path, status=422)["message"]
            assert says.startswith(f"{part.rpartition(':')[2]} has the character NUL")


@pytest.mark.parametrize("place", ["sqlite_place", pytest.param("postgres_place", marks=pytest.mark.integration)])
def test_strange_texts_are_kept_as_they_came(request: pytest.FixtureRequest, place: str):
    where: Any = request.getfixturevalue(place)
    house = House(where.data, database_url=where.database_url)
    options = {"tags": [ODD], "args": [ODD], "env": {ODD: ODD}}
    lambda_ = house.new_lambda(runtime=ODD, **options)
    assert {key: house.call("GET", f"/lambda/{lambda_}?view=full")[key] for key in options} == options
    job = house.submit(lambda_, key=ODD)
    assert [each["id"] for each in house.call("GET", f"/job?tag={quote(ODD)}")["jobs"]] == [job]
    worker = house.new_worker(ODD, name=ODD, hostname=ODD, agent_version=ODD, incarnation=ODD, tags=[ODD])
    lease = house.lease(worker, incarnation=ODD)
    failure = {"kind": "load", "message": ODD, "trace": ODD}
    house.finish(worker, {**lease, "state": "Fail_Execution", "error": failure})
    assert house.call("GET", f"/job/{job}")["error"] == failure
    shown = house.call("GET", f"/worker/{worker}?view=full")
    assert [shown[key] for key in ("name", "hostname", "agent_version")] == [ODD] * 3
    house.close()
