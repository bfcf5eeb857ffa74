"""Peers that say nothing: every call ends in its time, and connections that the network forgot are found out."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from patience import PATIENCE_S
from raw_server import RawServer, http
from relay import Relay

from piecework.client import Client, ServerUnreachable, StillRunning
from piecework.client.retries import RetryPolicy
from piecework.http import connections, deadlines, exchange, sockets
from piecework.http.connections import Connection
from piecework.http.routes import find_route
from piecework.http.sockets import open_socket
from piecework.protocol.ids import Id
from piecework.protocol.messages import ContractReply, ContractRequest, JobList, MessageReply

PONG = MessageReply(message="pong")


def listen(connection):
    """Read whatever comes, say nothing, until the other side hangs up."""
    while connection.recv(65536):
        pass


def drip(connection):
    """Begin an answer, and never come to its end."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000000\r\n\r\n")
    pause = threading.Event()
    while not pause.wait(0.005):
        connection.sendall(b" ")


@pytest.fixture
def raw():
    server = RawServer()
    yield server
    server.close()


@pytest.fixture
def relay(script):
    relay = Relay(int(script.url.rpartition(":")[2]))
    yield relay
    relay.close()


@pytest.fixture
def quickly():
    """Check that the test took far less than a client waits for that was not told how long."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < PATIENCE_S


@pytest.fixture(autouse=True)
def _hasty(monkeypatch):
    monkeypatch.setattr(deadlines, "ANSWER_S", 0.2)
    monkeypatch.setattr(deadlines, "LATE_S", 0.1)


# Every call ends in its time


@pytest.mark.slow
@pytest.mark.usefixtures("quickly")
@pytest.mark.parametrize("peer", [listen, drip])
@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.within(0.1).ping(),
        lambda client: client.within(0.1).read(Id(7)),
        lambda client: client.wait([1], timeout_s=0.05),
        lambda client: next(client.results([1], timeout_s=0.05)),
        lambda client: client.run(1, b"input", wait_s=0.05),
        lambda client: next(client.map(1, [b"input"], wait_s=0.05, cancel=False)),
        lambda client: next(client.map(1, [b"x" * 100_000], wait_s=0.05, cancel=False)),
        lambda client: client.await_replicas("hola", "blue", 0.05),
        lambda client: client.invoke("hola", exchange.Request("GET", "/"), timeout_s=0.1),
    ],
)
def test_a_peer_that_never_comes_to_an_end_is_left_in_time(raw, peer, call):
    raw.answer(peer)
    with Client(raw.url) as client, pytest.raises(ServerUnreachable, match="it took too long"):
        call(client)


@pytest.mark.usefixtures("quickly")
def test_the_time_of_a_call_is_for_all_its_tries(script):
    for _ in range(100):
        script.answer(PONG, status=503, headers={"Retry-After": "1"})
    with Client(script.url) as client, pytest.raises(Exception, match="pong"):
        client.within(0.5).ping()
    assert len(script.seen) == 1, "the next try would have come too late"


@pytest.mark.slow
def test_jobs_of_a_server_that_falls_silent_are_still_running(script):
    hold = threading.Event()
    script.answer(JobList(jobs=[]))
    script.answer(JobList(jobs=[]), hold=hold)
    with Client(script.url) as client, pytest.raises(StillRunning):
        client.wait([1], timeout_s=0.1)
    hold.set()


@pytest.mark.slow
@pytest.mark.usefixtures("quickly")
def test_a_name_that_is_looked_up_for_long_is_given_up(monkeypatch):
    hold, ask = threading.Event(), socket.getaddrinfo

    def look_up(host, port, **options):
        if not options.get("flags"):
            hold.wait(20)
        return ask(host, port, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with (
        Client("http://slow.invalid", attempts=1, connect_timeout_s=0.1) as client,
        pytest.raises(ServerUnreachable, match="looking up its name took too long"),
    ):
        client.ping()
    hold.set()


def test_all_addresses_of_a_host_share_its_time(raw, monkeypatch):
    raw.answer(http())
    kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
    addresses = [(*kind, ("127.0.0.1", 1)), (*kind, ("127.0.0.1", raw.port))]
    look_up = sockets.look_up  # a worker of all tests may connect meanwhile
    monkeypatch.setattr(
        sockets, "look_up", lambda host, *more: addresses if host == "two.invalid" else look_up(host, *more)
    )
    with Client("http://two.invalid", attempts=1) as client:
        assert client.ping() == "pong"


def test_a_large_upload_may_take_the_server_its_time():
    retries = RetryPolicy(read_s=10, poll_margin_s=5)
    assert retries.read_timeout_s(0, stored_bytes=600 * 1024 * 1024) == 70


# Connections that the network forgot


def test_the_system_looks_after_connections(raw):
    raw.answer()
    with open_socket(find_route(raw.url), 1) as opened:
        assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 5
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000


def test_a_server_may_be_slow_to_take_a_large_body(raw):
    raw.answer(http(), http())
    opened = open_socket(find_route(raw.url), 1)
    connection, borne_ms = Connection(opened), []

    class Body:
        def __len__(self):
            return 1

        def __iter__(self):
            borne_ms.append(opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))
            yield b"x"

    connection.exchange(b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\n", Body(), 30)
    connection.exchange(b"GET / HTTP/1.1\r\n\r\n", None, 30)
    borne_ms.append(opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))
    connection.close()
    assert borne_ms == [30_000, 10_000]


def keep_two(client, script):
    """Have a client keep two connections."""
    hold = threading.Event()
    script.answer(PONG, hold=hold)
    script.answer(PONG)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.ping)
        script.wait_for_requests(1)
        client.ping()
        hold.set()
        first.result()


@pytest.mark.slow
def test_a_dead_connection_condemns_those_of_its_age(script, relay):
    with Client(relay.url, attempts=1) as client:
        keep_two(client, script)
        relay.forget()
        with pytest.raises(ServerUnreachable):
            client.within(0.3).ping()
        script.answer(PONG)
        assert client.ping() == "pong", "the other one is not tried"
    assert relay.taken == 3


@pytest.mark.slow
def test_an_answer_elsewhere_ends_a_poll_that_was_forgotten(script, relay, monkeypatch):
    monkeypatch.setattr(connections, "SILENCE_S", 0.1)
    hold = threading.Event()
    script.answer(ContractReply(code=1299, message="no job", id=Id(3)), hold=hold)
    script.answer(PONG)
    with Client(relay.url, attempts=1) as client, ThreadPoolExecutor(1) as pool:
        poll = pool.submit(client.contract, 3, ContractRequest(timeout=60))
        script.wait_for_requests(1)
        client.ping()
        relay.forget()
        with pytest.raises(ServerUnreachable, match="too long"):
            client.within(0.3).ping()
        assert not poll.done(), "the server may be slow, and no more"
        script.answer(PONG)
        client.ping()
        with pytest.raises(ServerUnreachable, match="broke off"):
            poll.result(PATIENCE_S)
    hold.set()


@pytest.mark.slow
def test_a_poll_on_a_newer_connection_is_let_alone(script, relay, monkeypatch):
    monkeypatch.setattr(connections, "SILENCE_S", 0.1)
    hold = threading.Event()
    script.answer(PONG)
    with Client(relay.url, attempts=1) as client, ThreadPoolExecutor(1) as pool:
        client.ping()
        relay.forget()
        with pytest.raises(ServerUnreachable):
            client.within(0.3).ping()
        script.answer(ContractReply(code=1299, message="no job", id=Id(3)), hold=hold)
        poll = pool.submit(client.contract, 3, ContractRequest(timeout=60))
        script.wait_for_requests(2)
        script.answer(PONG)
        client.ping()
        hold.set()
        assert poll.result().message == "no job"
