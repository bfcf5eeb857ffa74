"""The API of Capsule's reverse proxy, with the requests of its guide."""

from typing import Any

import pytest
from house import House

CAPSULES_TYPE = "application/json; charset=utf-8"
OK = {"code": "OK"}


def register(
    house: House, function: str = "morgen", revision: str = "default", url: str = "http://localhost:5050"
):
    body = {"function": function, "revision": revision, "url": url}
    return house.call("POST", "/memory/functions/registration", body, status=202)


def urls(house: House) -> Any:
    return house.call("GET", "/memory/functions/list")


def test_the_requests_of_capsules_guide_are_answered_as_it_says(house: House):
    default = {"function": "morgen", "revision": "default", "url": "http://localhost:5050"}
    assert register(house) == OK | {"message": "Function created"} | default
    assert urls(house) == {"morgen": {"default": ["http://localhost:5050"]}}
    body = {"revision": "blue", "url": "http://localhost:5051"}
    added = house.call("POST", "/memory/functions/morgen/revision", body, status=202)
    blue = {"function": "morgen", "revision": "blue"}
    assert added == OK | {"message": "Revision added to the function"} | blue | {"url": "http://localhost:5051"}
    added = house.call("POST", "/memory/functions/morgen/blue/url", {"url": "http://localhost:5053"}, status=202)
    assert added == OK | {"message": "URL added to the revision"} | blue | {"url": "http://localhost:5053"}
    assert urls(house) == {
        "morgen": {
            "blue": ["http://localhost:5051", "http://localhost:5053"],
            "default": ["http://localhost:5050"],
        }
    }
    assert house.call("GET", "/memory/functions/morgen/blue/urls") == [
        "http://localhost:5051",
        "http://localhost:5053",
    ]
    gone = house.call("DELETE", "/memory/functions/morgen/blue/url", {"url": "http://localhost:5053"}, status=202)
    assert gone == OK | {"message": "URL removed from the revision"} | blue | {"url": "http://localhost:5053"}
    gone = house.call("DELETE", "/memory/functions/morgen/revision", {"revision": "blue"}, status=202)
    assert gone == OK | {"message": "Revision removed from the function"} | blue
    gone = house.call("DELETE", "/memory/functions/registration", {"function": "morgen"}, status=202)
    assert gone == OK | {"message": "Function removed", "function": "morgen"}
    assert urls(house) == {}


REFUSALS = [
    ("POST", "registration", {"function": "hola", "url": "http://a"}, 409, "ERROR_FUNCTION_ALREADY_EXISTS"),
    ("DELETE", "registration", {"function": "nobody"}, 404, "ERROR_FUNCTION_NOT_FOUND"),
    ("POST", "nobody/revision", {"revision": "blue", "url": "http://a"}, 404, "ERROR_FUNCTION_NOT_FOUND"),
    ("POST", "hola/revision", {"revision": "blue", "url": "http://a"}, 409, "ERROR_REVISION_ALREADY_EXISTS"),
    ("DELETE", "hola/revision", {"revision": "red"}, 404, "ERROR_REVISION_NOT_FOUND"),
    ("DELETE", "nobody/revision", {"revision": "red"}, 404, "ERROR_FUNCTION_NOT_FOUND"),
    ("POST", "hola/red/url", {"url": "http://a"}, 404, "ERROR_REVISION_NOT_FOUND"),
    ("DELETE", "hola/blue/url", {"url": "http://other"}, 404, "ERROR_URL_NOT_FOUND"),
    ("GET", "hola/red/urls", None, 404, "ERROR_REVISION_NOT_FOUND"),
    ("GET", "nobody/red/urls", None, 404, "ERROR_FUNCTION_NOT_FOUND"),
    ("POST", "registration", {"url": "http://a"}, 422, "ERROR_JSON_BINDING"),
    ("POST", "registration", {"function": "a b", "url": "http://a"}, 422, "ERROR_JSON_BINDING"),
    ("POST", "registration", {"function": "..", "url": "http://a"}, 422, "ERROR_JSON_BINDING"),
    ("POST", "registration", {"function": "x", "revision": "a/b", "url": "http://a"}, 422, "ERROR_JSON_BINDING"),
    ("POST", "hola/revision", ["blue"], 422, "ERROR_JSON_BINDING"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "code"), REFUSALS)
def test_what_cannot_be_done_has_capsules_code(
    house: House, method: str, path: str, body: Any, status: int, code: str
):
    register(house, "hola", "blue")
    answer = house.call(method, f"/memory/functions/{path}", body, status=status)
    assert answer["code"] == code
    assert answer["message"]
    assert urls(house) == {"hola": {"blue": ["http://localhost:5050"]}}


@pytest.mark.parametrize(
    "url",
    [
        "", "localhost:5050", "ftp://localhost", "file:///etc/passwd", "http://", "http:///x", "http://a:b@host",
        "http://user@host", "http://host:99999", "http://host:port", "http://[::1", "http://host/a b",
        "http://host/\r\nX: y", "http://host/?q=1", "http://host/#x", "http://hóst", "javascript:alert(1)",
        "http://host/" + "x" * 500, "http://host:0", "http://a..b", "http://" + "a" * 64, "http://host/{env.SECRET}",
        'http://host/"x"', "http://host/`",
    ],
)  # fmt: skip
def test_a_url_that_cannot_serve_is_refused(house: House, url: str):
    body = {"function": "hola", "revision": "blue", "url": url}
    answer = house.call("POST", "/memory/functions/registration", body, status=422)
    assert answer["code"] == "ERROR_JSON_BINDING"
    assert urls(house) == {}


@pytest.mark.parametrize("content_type", [CAPSULES_TYPE, "application/x-www-form-urlencoded", "text/plain", None])
def test_bodies_are_json_whatever_their_type_says(house: House, content_type: str | None):
    body = b'{"function": "morgen", "revision": "default", "url": "http://localhost:5050"}'
    response = house.client.post("/memory/functions/registration", data=body, content_type=content_type)
    assert (response.status_code, response.json["message"]) == (202, "Function created")


@pytest.mark.parametrize("body", [b"", b"{", b"function=hola", b"\xff"])
def test_what_is_no_json_is_told_with_capsules_code(house: House, body: bytes):
    response = house.client.post("/memory/functions/registration", data=body, content_type=CAPSULES_TYPE)
    assert response.status_code in {400, 422}
    assert response.json is not None
    assert response.json["code"] == "ERROR_JSON_BINDING"


def test_an_alias_is_shown_as_default_and_can_be_removed_alone(house: House):
    register(house, "hola", "blue")
    set_default(house, "blue")
    assert urls(house)["hola"] == {"blue": ["http://localhost:5050"], "default": ["http://localhost:5050"]}
    body = {"revision": "default", "url": "http://b"}
    refused = house.call("POST", "/memory/functions/hola/revision", body, status=409)
    assert refused["code"] == "ERROR_REVISION_ALREADY_EXISTS"
    refused = house.call("POST", "/memory/functions/hola/default/url", {"url": "http://b"}, status=404)
    assert "stands for another" in refused["message"]
    house.call("DELETE", "/memory/functions/hola/revision", {"revision": "default"}, status=202)
    assert urls(house)["hola"] == {"blue": ["http://localhost:5050"]}


def test_a_revision_that_is_removed_is_no_default_and_in_no_split_any_more(house: House):
    register(house, "hola", "blue")
    body = {"revision": "green", "url": "http://g"}
    house.call("POST", "/memory/functions/hola/revision", body, status=202)
    set_default(house, "blue", {"blue": 1, "green": 1})
    house.call("DELETE", "/memory/functions/hola/revision", {"revision": "blue"}, status=202)
    assert urls(house)["hola"] == {"green": ["http://g"], "default": ["http://g"]}
    house.call("DELETE", "/memory/functions/hola/revision", {"revision": "green"}, status=202)
    assert urls(house)["hola"] == {}


def set_default(house: House, revision: str, split: dict[str, int] | None = None) -> None:
    from piecework.server.store.functions import functions

    house.services.database.write(lambda c: functions.set_default(c, "hola", revision, split))
    house.services.routing.note_change()


def test_the_same_url_twice_is_there_once(house: House):
    register(house, "hola", "blue")
    house.call("POST", "/memory/functions/hola/blue/url", {"url": "http://localhost:5050"}, status=202)
    assert urls(house) == {"hola": {"blue": ["http://localhost:5050"]}}


def test_routes_survive_a_restart(house: House):
    register(house, "hola", "blue")
    house.services.close()
    again = House(house.data)
    assert urls(again) == {"hola": {"blue": ["http://localhost:5050"]}}
    again.close()


def test_tokens_that_may_view_or_invoke_change_no_routes(house: House):
    from piecework.server.services.tokens.token_acts import create_token

    def ask(scope: str) -> tuple[int, int]:
        secret = create_token(house.services.database, scope, scope, house.clock())
        house.clock.forward(2)
        headers, body = {"Authorization": f"Bearer {secret}"}, {"function": scope, "url": "http://a"}
        changed = house.client.post("/memory/functions/registration", json=body, headers=headers)
        return changed.status_code, house.fetch("/memory/functions/list", headers=headers).status_code

    assert [ask(scope) for scope in ("view", "invoke", "submit")] == [(403, 200), (403, 403), (403, 200)]
    assert [ask(scope) for scope in ("worker", "operate")] == [(202, 200), (202, 200)]
