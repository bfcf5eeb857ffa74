"""The many spellings of a path."""

import pytest
from house import House

from server.dialects.paths import plain_path


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        ("/job", "/job"),
        ("/job/", "/job"),
        ("//job", "/job"),
        ("/api/v0.5/job", "/job"),
        ("/api/v0.5//job/7/", "/job/7"),
        ("//api//v0.5//job", "/job"),
        ("/api/v0.5", "/"),
        ("/api/v0.5/", "/"),
        ("/", "/"),
        ("", "/"),
        ("/api/v0.50/job", "/api/v0.50/job"),
        ("/job/api/v0.5/7", "/job/api/v0.5/7"),
    ],
)
def test_a_path_is_brought_to_its_plain_form(sent: str, seen: str):
    assert plain_path(sent) == seen


@pytest.mark.parametrize("base", ["", "/", "/api/v0.5", "/api/v0.5/", "/api/v0.5//"])
def test_every_base_url_leads_to_the_same_endpoints(house: House, base: str):
    response = house.client.get("/", environ_overrides={"PATH_INFO": f"{base}/ping"})
    assert response.get_json()["message"] == "pong"


def test_an_unknown_path_is_named_in_the_answer(house: House):
    assert house.call("GET", "/api/v0.5/nothing", status=404)["code"] == 10
