"""Which submissions count as the same under their key: a map has no order, and a set has none either."""

import hashlib
from typing import Any

import msgspec
import pytest
from house import House
from sqlalchemy import text

from piecework.server.store.engine.database import Connection


def send(house: House, body: dict[str, Any], status: int = 200) -> Any:
    """Submit with keys in just this order: Flask's client would sort them."""
    packed = msgspec.json.encode(body)
    return house.call("POST", "/job", status=status, data=packed, content_type="application/json")


UNORDERED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"env": {"A": "1", "B": "2"}}, {"env": {"B": "2", "A": "1"}}),
    ({"tags": ["a", "+b", "-c"]}, {"tags": ["-c", "a", "+b"]}),
    ({"tags": ["a", "b"]}, {"tags": ["b"], "extra_tag": ["a", "b"]}),
    ({"retry_on": ["trap", "guest"]}, {"retry_on": ["guest", "trap", "guest"]}),
    ({"limits": {"fuel": 1, "memory_bytes": 2}}, {"limits": {"memory_bytes": 2, "fuel": 1}}),
    ({"limits": {"timeout_s": 9}}, {"timeout_s": 9.0}),
    ({"backoff": {"kind": "fixed", "base_s": 2}}, {"backoff": {"base_s": 2.0, "kind": "fixed"}}),
    (
        {"input": {"json": {"b": [{"d": 1, "c": 2}], "a": 3}}},
        {"input": {"json": {"a": 3, "b": [{"c": 2, "d": 1}]}}},
    ),
    ({"input": {"json": {"b": 1, "a": 2}}}, {"input": {"text": '{"a":2,"b":1}'}}),
    ({"input": {"text": '{"b":1,"a":2}'}}, {"input": {"json": {"b": 1, "a": 2}}}),
    ({"run_at": "2099-01-01T00:00:00Z"}, {"run_at": "2099-01-01T01:00:00+01:00"}),
]


@pytest.mark.parametrize(("first", "again"), UNORDERED)
def test_another_order_is_the_same_job(house: House, first: dict, again: dict):
    lambda_ = house.new_lambda()
    job = send(house, {"lambda": lambda_, "key": "k"} | first)["id"]
    assert send(house, {"key": "k"} | again | {"lambda": lambda_})["id"] == job


@pytest.mark.parametrize(("first", "again"), [pair for pair in UNORDERED if "text" not in str(pair)])
def test_another_order_is_the_same_submission(house: House, first: dict, again: dict):
    lambda_ = house.new_lambda()
    ids = send(house, {"key": "k", "jobs": [{"lambda": lambda_} | first, {"lambda": lambda_}]})["ids"]
    assert send(house, {"jobs": [again | {"lambda": lambda_}, {"functio": lambda_}], "key": "k"})["ids"] == ids


@pytest.mark.parametrize(
    ("first", "other"),
    [
        ({"args": ["a", "b"]}, {"args": ["b", "a"]}),
        ({"input": {"json": [1, 2]}}, {"input": {"json": [2, 1]}}),
        ({"input": {"json": {"a": 1}}}, {"input": {"json": {"a": 2}}}),
        ({"input": {"text": '{"b":1,"a":2}'}}, {"input": {"text": '{"a":2,"b":1}'}}),
        ({"env": {"A": "1", "B": "2"}}, {"env": {"A": "2", "B": "1"}}),
        ({"tags": ["a"]}, {"tags": ["a", "b"]}),
        ({"retry_on": []}, {}),
        ({"status": "paused"}, {}),
    ],
)
def test_what_has_an_order_or_differs_is_another_job(house: House, first: dict, other: dict):
    lambda_ = house.new_lambda()
    send(house, {"lambda": lambda_, "key": "k"} | first)
    assert send(house, {"lambda": lambda_, "key": "k"} | other, status=409)["code"] == 903
    send(house, {"key": "all", "jobs": [{"lambda": lambda_} | first]})
    assert send(house, {"key": "all", "jobs": [{"lambda": lambda_} | other]}, status=409)["code"] == 903


def test_a_json_input_reaches_the_guest_as_it_was_sent(house: House):
    job = send(house, {"lambda": house.new_lambda(), "key": "k", "input": {"json": {"b": 1, "a": 2}}})["id"]
    blob = house.call("GET", f"/job/{job}")["input"]["id"]
    assert house.fetch(f"/data/{blob}/blob").data == b'{"b":1,"a":2}'


def test_a_key_that_an_earlier_version_stored_is_known(house: House):
    lambda_ = house.new_lambda()
    body = {"lambda": lambda_, "key": "k", "tags": ["b", "a"], "env": {"B": "2", "A": "1"}, "input": {"text": "x"}}
    job = send(house, body)["id"]
    terms = f'[{lambda_},0,["b","a"],{{"env":{{"B":"2","A":"1"}},"limits":{{}},"backoff":{{}}}},[null,null,null]]'
    old = hashlib.sha256(terms.encode() + hashlib.sha256(b"x").digest()).digest()

    def age(connection: Connection) -> None:
        connection.execute(text("UPDATE jobs SET key_digest = :old"), {"old": old})

    house.services.database.write(age)
    assert send(house, body)["id"] == job
    assert send(house, body | {"env": {"A": "1"}}, status=409)["code"] == 903


def test_a_submission_that_an_earlier_version_stored_is_known(house: House):
    lambda_ = house.new_lambda()
    body = {"key": "k", "jobs": [{"lambda": lambda_, "env": {"B": "2", "A": "1"}}]}
    ids = send(house, body)["ids"]
    spec = {
        "lambda": lambda_, "tags": None, "extra_tag": None, "priority": 0,
        "backoff": {}, "limits": {}, "args": None, "env": {"B": "2", "A": "1"},
    }  # fmt: skip
    packed = msgspec.msgpack.encode([spec]).replace(b"\x88", b"\xde\x00\x08", 1)  # the longer head that it had
    old = hashlib.sha256(packed).digest()

    def age(connection: Connection) -> None:
        connection.execute(text("UPDATE submissions SET digest = :old"), {"old": old})

    house.services.database.write(age)
    assert send(house, body)["ids"] == ids


def test_a_value_of_messagepack_that_json_has_not_is_refused(house: House):
    body = {"lambda": house.new_lambda(), "input": {"json": msgspec.msgpack.Ext(5, b"x")}}
    packed, kind = msgspec.msgpack.encode(body), "application/msgpack"
    reply = house.call("POST", "/job", status=422, data=packed, content_type=kind)
    assert "no JSON value" in reply["message"]
