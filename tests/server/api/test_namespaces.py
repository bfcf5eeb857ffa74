"""Keys and values: what v0.5 clients send and get, to the letter, what was added, and what is refused."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from house import House

OK = {"code": 0, "status": "ok"}
ODD = ["a/b", "é😀", " ", "?#&=+", "'\"\\", "\x01\n", "%2F", "...", "namespaces", "k" * 512]


@pytest.fixture
def namespace(house: House) -> str:
    return str(house.call("POST", "/kv")["id"])


@pytest.fixture
def small_house(tmp_path: Path):
    house = House(tmp_path / "small", settings={"value_max_bytes": 10, "keys_max": 3})
    yield house
    house.close()


def place(namespace: str, key: str = "k") -> str:
    return f"/kv/{namespace}/field/{quote(key, safe='')}"


def put(house: House, namespace: str, value: str | None, key: str = "k", status: int = 200, **more: Any) -> Any:
    body = more if value is None else {"value": value, **more}
    return house.call("POST", place(namespace, key), body, status=status)


def read(house: House, namespace: str, key: str = "k") -> str | None:
    reply = house.call("GET", place(namespace, key), status=None)
    value: str | None = reply.get("value")
    return value


def test_who_names_a_consistency_gets_no_status(house: House):
    for named in ("none", "eventual", "Eventual"):
        reply = house.call("POST", "/kv", {"consistency": named})
        assert reply == {"code": 0, "id": reply["id"]}
    for body in ({}, None, {"consistency": None}):
        reply = house.call("POST", "/kv", body)
        assert reply == {**OK, "id": reply["id"]}


def test_a_namespace_is_made_by_get_whatever_its_body(house: House):
    for body in (b"", b'{"consistency": "eventual"}', b'{"consistency": "best"}', b"{"):
        reply = house.client.get("/kv", data=body).get_json()
        assert reply == {**OK, "id": reply["id"]}
    made = house.call("GET", "/kv?consistency=eventual")["id"]
    assert house.call("GET", f"/kv/{made}?view=full")["consistency"] == "eventual"


@pytest.mark.parametrize("type_", [None, "application/octet-stream", "application/json; charset=utf-8"])
def test_json_is_read_whatever_its_type(house: House, namespace: str, type_: str | None):
    house.client.post(place(namespace), data=b'{"value": "v"}', content_type=type_)
    assert read(house, namespace) == "v"


@pytest.mark.parametrize("base", ["", "/api/v0.5"])
def test_the_replies_of_v05_have_the_known_fields_only(house: House, base: str):
    id_ = house.call("POST", f"{base}/kv")["id"]
    assert isinstance(id_, str)
    assert house.call("GET", f"{base}/kv/{id_}") == {**OK, "id": id_}
    field = f"{base}/kv/{id_}/field/k"
    sent = {"value": "v", "expire": 0, "get": False, "append": False}
    assert house.call("POST", field, sent) == {**OK, "value": "v"}
    assert house.call("GET", field, {"value": "x"}) == {**OK, "value": "v"}
    assert house.call("GET", f"{base}/kv/{id_}/field") == {**OK, "keys": ["k"]}
    assert house.call("DELETE", field) == OK
    assert house.call("DELETE", f"{base}/kv/{id_}/field") == OK


def test_get_gives_the_value_from_before_and_is_never_without_one(house: House, namespace: str):
    assert put(house, namespace, "one", get=True, append=True)["value"] == ""
    assert put(house, namespace, "two", get=True)["value"] == "one"
    assert put(house, namespace, "", get=None)["value"] == ""
    assert read(house, namespace) == ""


def test_append_puts_behind_what_is_there(house: House, namespace: str):
    assert [put(house, namespace, each, append=True)["value"] for each in "aé"] == ["a", "aé"]
    assert put(house, namespace, "!", append=True, get=True)["value"] == "aé"
    assert read(house, namespace) == "aé!"


@pytest.mark.parametrize("key", ODD)
def test_a_key_may_be_any_text(house: House, namespace: str, key: str):
    put(house, namespace, key, key=key)
    assert read(house, namespace, key) == key
    assert house.call("GET", f"/kv/{namespace}/field")["keys"] == [key]
    house.call("DELETE", place(namespace, key))
    assert read(house, namespace, key) is None


@pytest.mark.parametrize("key", [".", "..", "k" * 513])
def test_what_is_no_key_is_refused(house: House, namespace: str, key: str):
    for method in ("GET", "POST", "DELETE"):
        reply = house.call(method, place(namespace, key), {"value": "v"}, status=400)
        assert "a key has 1 to 512 characters, and is neither . nor .." in reply["message"]


def test_an_empty_key_is_refused_and_removes_nothing(house: House, namespace: str):
    put(house, namespace, "v")
    assert house.call("POST", f"/kv/{namespace}/field/", {"value": "v"}, status=405)["code"] == 11
    assert "no key is empty" in house.call("DELETE", f"/kv/{namespace}/field/", status=400)["message"]
    assert read(house, namespace) == "v"


def test_what_is_not_there_has_its_code(house: House, namespace: str):
    assert house.call("GET", place(namespace), status=404)["code"] == 1012
    assert house.call("DELETE", place(namespace), status=404)["code"] == 1012
    for method, path in (("GET", ""), ("GET", "/field"), ("DELETE", ""), ("DELETE", "/field")):
        assert house.call(method, f"/kv/7{path}", status=404)["code"] == 1011
    for method in ("GET", "POST", "DELETE"):
        assert house.call(method, place("7"), {"value": "v"}, status=404)["code"] == 1011
    assert house.call("GET", "/kv/seven", status=400)["code"] == 3


@pytest.mark.parametrize(
    ("body", "about"),
    [
        ({}, "value"),
        ({"value": None}, "value"),
        ({"value": 5}, "value"),
        ({"value": "a\0b"}, "value"),
        ({"value": "v", "expire": -1}, "expire"),
        ({"value": "v", "expire": 1e12}, "expire"),
        ({"value": "v", "expire": "soon"}, "expire"),
        ({"value": "v", "append": "perhaps"}, "append"),
        ({"value": "v", "incr": 1}, "incr"),
        ({"incr": 1, "append": True}, "incr"),
        ({"incr": "one"}, "incr"),
        ({"value": "v", "if_value": "a", "if_absent": True}, "if_absent"),
        ({"value": "v", "if_absent": True, "if_vlaue": "a"}, "if_value"),
        ({"value": "v", "if_absnt": True}, "if_absent"),
    ],
)
def test_a_body_that_cannot_be_meant_is_refused(house: House, namespace: str, body: dict, about: str):
    assert about in house.call("POST", place(namespace), body, status=422)["message"]
    assert read(house, namespace) is None


@pytest.mark.parametrize("consistency", ["strong", 5, ["none"]])
def test_an_unknown_consistency_is_refused(house: House, consistency: object):
    assert "consistency" in house.call("POST", "/kv", {"consistency": consistency}, status=422)["message"]
    assert house.call("GET", "/kv/namespaces")["namespaces"] == []


def test_a_value_has_its_bound_also_when_it_grows(small_house: House):
    id_ = small_house.call("POST", "/kv")["id"]
    assert put(small_house, id_, "é" * 5)["value"] == "é" * 5
    for value, append in (("12345678901", False), ("x", True)):
        reply = put(small_house, id_, value, append=append, status=413)
        assert (reply["code"], "keeps 10 at most" in reply["message"]) == (6, True)
    assert read(small_house, id_) == "é" * 5


def test_an_entry_is_gone_at_its_time(house: House, namespace: str):
    put(house, namespace, "v", expire=2.5)
    put(house, namespace, "for ever", key="f", expire=0)
    house.clock.forward(2.499)
    assert read(house, namespace) == "v"
    house.clock.forward(0.001)
    assert read(house, namespace) is None
    assert house.call("GET", f"/kv/{namespace}/field")["keys"] == ["f"]
    assert house.call("DELETE", place(namespace), status=404)["code"] == 1012
    assert put(house, namespace, "new", get=True, append=True)["value"] == ""
    house.clock.forward(1e9)
    assert (read(house, namespace), read(house, namespace, "f")) == ("new", "for ever")


def test_who_appends_keeps_the_time_unless_told_otherwise(house: House, namespace: str):
    put(house, namespace, "a", expire=10)
    put(house, namespace, "b", append=True)
    put(house, namespace, "1", key="n", expire=10)
    put(house, namespace, None, key="n", incr=1)
    house.clock.forward(10)
    assert (read(house, namespace), read(house, namespace, "n")) == (None, None)
    put(house, namespace, "a", expire=10)
    put(house, namespace, "b", append=True, expire=0)
    put(house, namespace, "c", key="c", expire=10)
    put(house, namespace, "c", key="c")
    house.clock.forward(10)
    assert (read(house, namespace), read(house, namespace, "c")) == ("ab", "c")


def test_a_number_is_added_to(house: House, namespace: str):
    steps = [put(house, namespace, None, incr=each)["value"] for each in (5, -7, 0)]
    assert steps == ["5", "-2", "-2"]
    assert put(house, namespace, None, incr=1, get=True)["value"] == "-2"
    for value in ("", "1.5", "one", "- 1", "²", "9" * 30):
        put(house, namespace, value)
        assert put(house, namespace, None, incr=1, status=409)["code"] == 1014
        assert read(house, namespace) == value
    put(house, namespace, str(2**63 - 1))
    assert put(house, namespace, None, incr=1, status=409)["code"] == 1014


def test_a_condition_decides_whether_anything_is_done(house: House, namespace: str):
    assert put(house, namespace, "v", if_value="", status=409)["code"] == 1013
    assert put(house, namespace, "mine", if_absent=True, expire=5)["value"] == "mine"
    assert put(house, namespace, "theirs", if_absent=True, status=409)["code"] == 1013
    assert put(house, namespace, "theirs", if_value="no", append=True, status=409)["code"] == 1013
    assert put(house, namespace, "still mine", if_value="mine", get=True, expire=5)["value"] == "mine"
    house.clock.forward(5)
    assert put(house, namespace, "theirs", if_absent=True)["value"] == "theirs"
    for wanted in ("mine", ""):
        reply = house.call("DELETE", place(namespace), {"if_value": wanted}, status=409)
        assert reply["code"] == 1013
    house.call("DELETE", place(namespace), {"if_value": "theirs"})
    assert read(house, namespace) is None


def test_who_asks_learns_the_times(house: House, namespace: str):
    now = house.clock() / 1000
    reply = house.call("POST", f"{place(namespace)}?view=full", {"value": "v", "expire": 60})
    assert reply == {**OK, "value": "v", "changed_at": now, "expires_at": now + 60}
    assert house.call("GET", f"{place(namespace)}?view=full") == reply
    put(house, namespace, "w")
    assert house.call("GET", f"{place(namespace)}?view=full") == {**OK, "value": "w", "changed_at": now}


def test_keys_are_listed_in_order_by_prefix_and_in_pages(house: House, namespace: str):
    keys = ["B", "a", "a/1", "a/2", "a0", "é", "\uffff", "😀"]
    for key in reversed(keys):
        put(house, namespace, "v", key=key)
    path = f"/kv/{namespace}/field"
    assert house.call("GET", path)["keys"] == keys
    assert house.call("GET", f"{path}?prefix=a/")["keys"] == ["a/1", "a/2"]
    assert house.call("GET", f"{path}?prefix={quote('😀')}")["keys"] == ["😀"]
    assert house.call("GET", f"{path}?prefix=z")["keys"] == []
    first = house.call("GET", f"{path}?prefix=a&limit=3")
    assert (first["keys"], first["next"]) == (["a", "a/1", "a/2"], "a/2")
    assert house.call("GET", f"{path}?prefix=a&cursor={quote(first['next'])}") == {**OK, "keys": ["a0"]}


def test_a_list_that_is_cut_says_so_where_strict_clients_do_not_look(small_house: House):
    id_ = small_house.call("POST", "/kv")["id"]
    for key in ("a", "b", "c&d", "e"):
        put(small_house, id_, "v", key=key)
    response = small_house.client.get(f"/kv/{id_}/field")
    assert response.get_json() == {**OK, "keys": ["a", "b", "c&d"]}
    link = response.headers["Link"]
    assert link == '<?prefix=&limit=3&cursor=c%26d>; rel="next"'
    rest = small_house.client.get(f"/kv/{id_}/field{link[1:].partition('>')[0]}")
    assert (rest.get_json(), rest.headers.get("Link")) == ({**OK, "keys": ["e"]}, None)
    for limit in (0, 4):
        assert "limit" in small_house.call("GET", f"/kv/{id_}/field?limit={limit}", status=400)["message"]


def test_namespaces_are_listed_with_what_they_hold(house: House):
    first, second = (house.call("POST", "/kv", {"consistency": each})["id"] for each in ("none", "eventual"))
    put(house, first, "é", key="k")
    put(house, first, "gone", key="g", expire=1)
    house.clock.forward(1)
    newest, oldest = house.call("GET", "/kv/namespaces")["namespaces"]
    assert (newest["id"], newest["consistency"], newest["entries"], newest["size"]) == (second, "eventual", 0, 0)
    assert oldest == house.call("GET", f"/kv/{first}?view=full")
    assert (oldest["id"], oldest["entries"], oldest["size"]) == (first, 1, 3)
    page = house.call("GET", "/kv/namespaces?limit=1")
    assert [each["id"] for each in page["namespaces"]] == [second]
    rest = house.call("GET", f"/kv/namespaces?limit=1&cursor={page['next']}")
    assert [each["id"] for each in rest["namespaces"]] == [first]


def test_a_removed_namespace_is_nowhere(house: House, namespace: str):
    put(house, namespace, "v")
    assert house.call("DELETE", f"/kv/{namespace}")["message"] == f"namespace {namespace} is removed"
    assert house.call("GET", "/kv/namespaces")["namespaces"] == []
    for path in (f"/kv/{namespace}", f"/kv/{namespace}/field", place(namespace)):
        assert house.call("GET", path, status=404)["code"] == 1011
    assert put(house, namespace, "v", status=404)["code"] == 1011
    assert house.call("DELETE", f"/kv/{namespace}", status=404)["code"] == 1011


def test_an_id_of_a_namespace_is_found_by_its_end(house: House, namespace: str):
    assert house.call("GET", f"/ids?kind=namespace&ends={namespace[-8:]}")["ids"] == [namespace]


def test_head_makes_no_namespace(house: House):
    answer = house.client.open("/kv", method="HEAD")
    assert (answer.status_code, house.call("GET", "/kv/namespaces")["namespaces"]) == (405, [])
