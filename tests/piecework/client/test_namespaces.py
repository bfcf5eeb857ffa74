"""Keys and values through the client, against a real server."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from patience import LONG_S, until

from piecework.client import ApiError, Conflict, Invalid, NotFound, TooLarge
from piecework.protocol.codes import Code

ODD = ["a/b", "/", "//a//", "é😀", " ", "?#&=+%2F", "\n\x01", "...", "a" * 512]


@pytest.fixture
def namespace(client):
    return client.create_namespace()


def test_a_value_is_set_read_and_deleted(client, namespace):
    assert client.set_value(namespace, "k", "v") == "v"
    assert client.get_value(str(namespace), "k") == "v"
    client.delete_value(namespace, "k")
    for call in (client.get_value, client.delete_value):
        with pytest.raises(NotFound) as refusal:
            call(namespace, "k")
        assert refusal.value.code == Code.VALUE_NOT_FOUND


@pytest.mark.parametrize("key", ODD)
def test_a_key_arrives_as_it_is_whatever_is_in_it(client, namespace, key):
    client.set_value(namespace, key, key)
    assert list(client.keys(namespace)) == [key]
    assert client.get_value(namespace, key) == key
    client.delete_value(namespace, key)
    assert list(client.keys(namespace)) == []


@pytest.mark.parametrize("key", ["", ".", "..", "a" * 513, "a\0", "\ud800"])
def test_what_is_no_key_is_not_sent(client, namespace, key):
    client.set_value(namespace, "k", "v")
    for call in (client.get_value, client.delete_value, client.add_to_value):
        with pytest.raises(ValueError, match=r"no key|NUL|surrogate"):
            call(namespace, key)
    assert list(client.keys(namespace)) == ["k"]


def test_what_was_there_is_given_back_and_appended_to(client, namespace):
    assert client.set_value(namespace, "k", "a", get=True) == ""
    assert client.set_value(namespace, "k", "b", append=True) == "ab"
    assert client.set_value(namespace, "k", "c", append=True, get=True) == "ab"
    assert client.get_value(namespace, "k") == "abc"


def test_numbers_are_added_by_many_at_once(client, namespace):
    with ThreadPoolExecutor(4) as pool:
        sums = list(pool.map(lambda _: client.add_to_value(namespace, "n", 3), range(20)))
    assert sorted(sums) == list(range(3, 61, 3))
    assert client.add_to_value(namespace, "n", -60) == 0
    client.set_value(namespace, "n", "x")
    with pytest.raises(Conflict) as refusal:
        client.add_to_value(namespace, "n")
    assert refusal.value.code == Code.NOT_A_NUMBER


def test_conditions_keep_others_out(client, namespace):
    client.set_value(namespace, "lock", "me", if_absent=True, expire_s=60)
    for condition in ({"if_absent": True}, {"if_value": "you"}, {"if_value": ""}):
        with pytest.raises(Conflict) as refusal:
            client.set_value(namespace, "lock", "you", **condition)
        assert refusal.value.code == Code.VALUE_DIFFERS
    with pytest.raises(Conflict):
        client.delete_value(namespace, "lock", if_value="")
    client.set_value(namespace, "lock", "me again", if_value="me")
    client.delete_value(namespace, "lock", if_value="me again")


def test_an_entry_tells_its_times_and_goes(client, namespace):
    client.set_value(namespace, "k", "v", expire_s=LONG_S)
    found = client.entry(namespace, "k")
    assert found.expires_at == pytest.approx(found.changed_at + LONG_S)
    client.set_value(namespace, "k", "v", expire_s=0.05)
    until(lambda: list(client.keys(namespace)) == [])
    with pytest.raises(NotFound):
        client.entry(namespace, "k")
    client.set_value(namespace, "k", "v", expire_s=0)
    assert not client.entry(namespace, "k").expires_at


def test_keys_come_in_pages_as_one_list(client, namespace, monkeypatch):
    monkeypatch.setattr("piecework.client.calls.PAGE_ITEMS", 3)
    keys = sorted(f"k{number}/é" for number in range(8))
    for key in keys:
        client.set_value(namespace, key, "v")
    assert list(client.keys(namespace)) == keys
    assert list(client.keys(namespace, "k1")) == ["k1/é"]
    assert list(client.keys(namespace, limit=4)) == keys[:4]


def test_a_namespace_is_described_flushed_and_removed(client):
    namespace = client.create_namespace("eventual")
    client.set_value(namespace, "k", "é")
    found = client.namespace(namespace)
    assert (found.id, found.consistency, found.entries, found.size) == (namespace, "eventual", 1, 3)
    assert found in list(client.namespaces())
    client.flush_namespace(namespace)
    assert client.namespace(namespace).entries == 0
    assert str(namespace) in client.remove_namespace(namespace)
    for call in (client.namespace, client.flush_namespace, client.remove_namespace):
        with pytest.raises(NotFound) as refusal:
            call(namespace)
        assert refusal.value.code == Code.NAMESPACE_NOT_FOUND


def test_what_the_server_refuses_has_its_class(client, namespace):
    with pytest.raises(TooLarge, match="keeps 1048576 at most"):
        client.set_value(namespace, "k", "x" * (1024 * 1024 + 1))
    with pytest.raises(Invalid, match="expire"):
        client.set_value(namespace, "k", "v", expire_s=-1)
    with pytest.raises(ApiError, match="NUL"):
        client.set_value(namespace, "k", "a\0b")
