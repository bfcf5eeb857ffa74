"""Keys and values on the other side of the link."""

import socket
import threading

import pytest

from piecework.worker_agent.guests.frames import pack, read_reports
from piecework.worker_agent.guests.marker import Marker
from piecework.worker_agent.guests.work.desk import Desk
from piecework.worker_agent.guests.work.sharing import SharedStore, look_up
from piecework.worker_agent.runtimes.services.errors import ServiceError
from piecework.worker_agent.runtimes.services.store import STORE_BYTES, MemoryStore


@pytest.fixture
def link():
    """Yield a desk whose other side keeps a store; its thread ends when the link is closed."""
    near, far = socket.socketpair()
    store, asked = MemoryStore(), []

    def keep():
        reader = read_reports()
        while data := far.recv(65_536):
            for frame in reader.feed(data):
                asked.append(frame.act)
                far.sendall(pack(look_up(store, frame)))

    thread = threading.Thread(target=keep)
    thread.start()
    yield Desk(near, Marker()), asked, far
    near.close()
    thread.join()
    far.close()


def test_store_on_the_other_side_is_a_store(link):
    store = SharedStore(link[0])
    store.set(b"a", b"1")
    store.set(b"b", b"")
    assert (store.get(b"a"), store.get(b"b"), store.get(b"c")) == (b"1", b"", None)
    assert store.find_keys(b"*") == [b"a", b"b"]
    store.delete(b"a")
    assert store.find_keys(b"*") == [b"b"]


def test_full_store_is_an_error_for_the_guest(link):
    with pytest.raises(ServiceError, match="memory store is full"):
        SharedStore(link[0]).set(b"a", b"x" * (STORE_BYTES - 1))


def test_what_no_store_can_take_is_not_sent(link):
    with pytest.raises(ServiceError, match="memory store is full"):
        SharedStore(link[0]).set(b"a", b"x" * STORE_BYTES)
    assert link[1] == []


def test_value_that_is_there_by_default_is_set_once(link):
    store = SharedStore(link[0])
    for _ in range(3):
        store.set_default(b"version", b"1")
    assert (store.get(b"version"), link[1]) == (b"1", ["set_default", "get"])


def test_link_that_breaks_while_one_waits_is_noticed(link):
    desk, _, far = link
    far.shutdown(socket.SHUT_RDWR)
    with pytest.raises(OSError, match=r"."):
        desk.fetch("get", b"a")
