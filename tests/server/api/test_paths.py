"""The many spellings of a path."""

from urllib.parse import unquote_to_bytes

import pytest
from house import House

from piecework.http.requests import SCOPE
from piecework.server.dialects.paths import plain_path


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


@pytest.mark.parametrize(
    ("sent", "key"),
    [
        ("a/b", "a/b"),
        ("a%2Fb", "a/b"),
        ("%2f%2fa%2F%2F/", "//a//"),
        ("a//b%2F", "a/b/"),
        ("%252F", "%2F"),
        ("%0A%C3%A9?", "\né?"),
    ],
)
def test_a_key_has_the_slashes_that_were_sent_encoded(house: House, sent: str, key: str):
    namespace = house.call("POST", "/kv")["id"]
    raw = f"/api/v0.5//kv/{namespace}/field/{sent}".encode()
    as_sent = {SCOPE: {"raw_path": raw}, "PATH_INFO": unquote_to_bytes(raw).decode("latin-1")}
    house.call("POST", "/", {"value": "x"}, environ_overrides=as_sent)
    assert house.call("GET", f"/kv/{namespace}/field")["keys"] == [key]


def test_what_was_sent_counts_only_where_it_is_what_the_server_made_the_path_of(house: House):
    namespace = house.call("POST", "/kv")["id"]
    other = {"REQUEST_URI": "/ping%2F", "PATH_INFO": f"/kv/{namespace}/field/k"}
    house.call("POST", "/", {"value": "x"}, environ_overrides=other)
    assert house.call("GET", f"/kv/{namespace}/field")["keys"] == ["k"]


def test_a_key_that_is_not_utf8_is_refused(house: House):
    path = {"PATH_INFO": f"/kv/{house.call('POST', '/kv')['id']}/field/\xff"}
    assert "not UTF-8" in house.call("POST", "/", {"value": "x"}, status=400, environ_overrides=path)["message"]


@pytest.mark.parametrize("base", ["", "/", "/api/v0.5", "/api/v0.5/", "/api/v0.5//"])
def test_every_base_url_leads_to_the_same_endpoints(house: House, base: str):
    response = house.client.get("/", environ_overrides={"PATH_INFO": f"{base}/ping"})
    assert response.get_json()["message"] == "pong"


def test_an_unknown_path_is_named_in_the_answer(house: House):
    assert house.call("GET", "/api/v0.5/nothing", status=404)["code"] == 10


@pytest.mark.parametrize("path", ["/job", "/console/jobs", "/console/nowhere"])
def test_a_query_that_is_no_utf8_is_no_bug(house: House, path: str):
    answer = house.client.get(path, environ_overrides={"QUERY_STRING": "view\xc6=\xff&tag=\xc6"})
    assert answer.status_code in {200, 404}


def test_a_query_that_nobody_encoded_is_read(house: House):
    job = house.submit(house.new_lambda(tags=["é"]))
    answer = house.client.get("/job", environ_overrides={"QUERY_STRING": "tag=\xc3\xa9"})
    assert [each["id"] for each in answer.get_json()["jobs"]] == [job]
