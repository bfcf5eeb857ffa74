"""The proxy alone: requests as an ASGI server brings them."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hand_clock import HandClock
from house import House
from patience import PATIENCE_S
from raw_server import RawServer, http, read_request
from upstreams import Upstream, route

from piecework.http.answers import Broken
from piecework.server.forwarding.asgi import ProxyApp
from piecework.server.forwarding.calls import CallForwarding
from piecework.server.forwarding.messages import Disconnect, FunctionCall
from piecework.server.web.parts import PROXY


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path, part=PROXY)
    yield house
    house.close()


def scope(method: str = "GET", path: str = "/functions/hola", **headers: str) -> dict[str, Any]:
    named = {"host": "localhost", **{name.replace("_", "-"): value for name, value in headers.items()}}
    raw, _, query = path.partition("?")
    return {
        "type": "http", "http_version": "1.1", "method": method, "scheme": "http", "path": "/not-looked-at",
        "raw_path": raw.encode(), "query_string": query.encode(), "server": ("127.0.0.1", "8888"),
        "client": ("10.0.0.7", 5), "headers": [(k.encode(), v.encode("latin-1")) for k, v in named.items()],
    }  # fmt: skip


def ask(
    house: House,
    asked: dict[str, Any],
    *body: bytes,
    leaves: bool = False,
    stalls: bool = False,
    pause: Callable[[], None] = lambda: None,
    leaves_after: threading.Event | None = None,
) -> list[dict[str, Any]]:
    """Return what is sent to a caller whose body comes in pieces, and who may leave in its middle or later."""
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in body]
    end = {"type": "http.disconnect"} if leaves else {"type": "http.request", "body": b"", "more_body": False}
    coming, sent = iter(messages if stalls else [*messages, end]), []

    async def receive() -> dict[str, Any]:
        for message in coming:
            pause()
            return message
        if leaves_after is None:
            await asyncio.Event().wait()  # nothing comes any more
        else:
            await asyncio.to_thread(leaves_after.wait)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(dict(message))

    front = ProxyApp(CallForwarding(house.services), house.app, 4, watch_after_s=0)
    asyncio.run(front(asked, receive, send))
    return sent


def a_call() -> FunctionCall:
    return FunctionCall("GET", "hola", "", (("host", "localhost"),), BytesIO(), 0, "10.0.0.7", "http")


def test_a_call_comes_back_in_one_piece_when_it_is_short(house: House, upstream: Upstream):
    route(house, "hola", upstream.url)
    start, body = ask(house, scope(path="/functions/hola/a%2Fb?x=%20", x_mine="é"))
    assert start["status"] == 200
    assert (b"content-length", str(len(body["body"])).encode()) in start["headers"]
    assert b'"path": "/a%2Fb?x=%20"' in body["body"]
    assert b'["x-forwarded-for", "10.0.0.7"]' in body["body"]


@pytest.mark.parametrize("headers", [{"content_length": "200000"}, {"transfer_encoding": "chunked"}])
def test_a_body_is_passed_on_while_it_comes(house: House, upstream: Upstream, headers: dict[str, str]):
    route(house, "hola", upstream.url)
    _, body = ask(house, scope("POST", **headers), b"x" * 150_000, b"", b"x" * 50_000)
    assert b'"size": 200000' in body["body"]


def test_a_caller_that_leaves_before_the_end_of_its_body_calls_nothing(house: House, upstream: Upstream):
    route(house, "hola", upstream.url)
    start, _ = ask(house, scope("POST", content_length="100"), b"x" * 50, leaves=True)
    assert (start["status"], upstream.calls) == (400, 0)


@pytest.mark.slow
@pytest.mark.parametrize("headers", [{"content_length": "200000"}, {"transfer_encoding": "chunked"}])
def test_a_caller_that_stops_sending_does_not_keep_its_place(
    house: House, upstream: Upstream, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("piecework.server.forwarding.asgi.BODY_WAIT_S", 0.1)
    monkeypatch.setattr("piecework.server.forwarding.asgi.BYTES_PER_S", 1_000_000)
    route(house, "hola", upstream.url)
    start, body = ask(house, scope("POST", **headers), b"x" * 90_000, stalls=True)
    assert (start["status"], json.loads(body["body"])["code"]) == (400, "BODY_BROKEN")
    assert house.services.health.is_well(upstream.url)


def test_a_caller_that_goes_on_sending_is_waited_for(
    house: House, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
):
    clock = HandClock(0, per_s=1)
    monkeypatch.setattr("piecework.server.forwarding.asgi.time", SimpleNamespace(monotonic=clock))
    monkeypatch.setattr("piecework.server.forwarding.asgi.BYTES_PER_S", 10)
    route(house, "hola", upstream.url)
    _, body = ask(house, scope("POST", content_length="2000"), *[b"x" * 500] * 4, pause=lambda: clock.forward(25))
    assert b'"size": 2000' in body["body"]


def test_a_body_of_unknown_length_that_breaks_off_is_not_taken_for_whole(house: House, raw: RawServer):
    received = []
    raw.answer(lambda connection: received.append(b"".join(iter(lambda: connection.recv(65536), b""))))
    route(house, "hola", raw.url)
    start, _ = ask(house, scope("POST", transfer_encoding="chunked"), b"x" * 50, leaves=True)
    assert start["status"] == 400
    raw.wait_until_closed()
    assert received[0].endswith(b"\r\n\r\n32\r\n" + b"x" * 50 + b"\r\n")


def test_a_long_answer_comes_in_pieces(house: House, upstream: Upstream):
    route(house, "hola", upstream.url)
    start, *pieces = ask(house, scope(path="/functions/hola/big/300000"))
    assert (b"content-length", b"300000") in start["headers"]
    assert sum(len(piece["body"]) for piece in pieces) == 300_000
    assert [piece.get("more_body", False) for piece in pieces] == [True] * (len(pieces) - 1) + [False]


def test_an_answer_that_breaks_off_is_not_ended(house: House, raw: RawServer):
    raw.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    route(house, "hola", raw.url)
    with pytest.raises(Broken):
        ask(house, scope())
    assert not house.services.health.is_well(raw.url)


def test_a_caller_that_leaves_ends_an_answer_that_has_no_end(house: House, raw: RawServer):
    began = threading.Event()

    def answer_for_ever(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"5\r\nhello\r\n" * 100_000)
            began.set()

    raw.answer(answer_for_ever)
    route(house, "hola", raw.url)
    sent: list[dict[str, Any]] = []
    with suppress(Broken):  # or it is seen between two pieces
        sent = ask(house, scope(), leaves_after=began)
    raw.wait_until_closed()
    assert not any(message.get("body") == b"" for message in sent), "it is not ended as if it were whole"
    assert house.services.health.is_well(raw.url)


@pytest.mark.parametrize("size", [0, 50, 100_000])
@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\n\r\nsome", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_a_caller_that_leaves_a_silent_url_frees_its_place(house: House, raw: RawServer, size: int, said: bytes):
    silent, left = threading.Event(), threading.Event()

    def keep_silent(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(said)
        silent.set()
        assert connection.recv(1) == b""
        left.set()

    raw.answer(keep_silent)
    raw.answer(http())
    route(house, "hola", raw.url)
    start, *_ = ask(house, scope("POST", content_length=str(size)), b"x" * size, leaves_after=silent)
    assert start["status"] == (200 if said.startswith(b"HTTP/1.1 200") else 499)
    assert left.wait(PATIENCE_S)
    assert house.services.health.is_well(raw.url)
    start, body = ask(house, scope())
    assert (start["status"], body["body"]) == (200, b'{"message": "pong"}')


@pytest.mark.slow
def test_a_caller_that_takes_nothing_of_its_answer_does_not_keep_its_place(
    house: House, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("piecework.server.forwarding.asgi.SEND_WAIT_S", 0.1)
    route(house, "hola", upstream.url)

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    calls = CallForwarding(house.services)
    with pytest.raises(TimeoutError):
        asyncio.run(ProxyApp(calls, house.app, 4)(scope(path="/functions/hola/big/300000"), receive, send))
    assert calls._free._value == house.services.settings.calls_max  # type: ignore[attr-defined]
    assert house.services.health.is_well(upstream.url)


def test_a_caller_that_leaves_when_all_is_over_breaks_nothing(house: House, raw: RawServer):
    raw.answer(http(), http())
    route(house, "hola", raw.url)
    calls, gone = CallForwarding(house.services), Disconnect()
    for disconnect in (gone, Disconnect()):
        assert calls.answer(replace(a_call(), disconnect=disconnect)).status == 200
        gone.note()
    assert len(raw.requests) == 2, "the connection is there still"


def test_all_else_is_answered_by_the_app(house: House):
    body = b'{"function": "hola", "url": "http://localhost:5050"}'
    start, told = ask(house, scope("POST", "/memory/functions/registration", content_length=str(len(body))), body)
    assert (start["status"], json.loads(told["body"])["message"]) == (202, "Function created")
    start, told = ask(house, scope(path="/memory/functions/list"))
    assert told["body"] == b'{"hola":{"default":["http://localhost:5050"]}}'
    start, _ = ask(house, scope(path="/nothing"))
    assert start["status"] == 404
    start, _ = ask(house, scope(path="/functions/"))
    assert start["status"] in {200, 404}  # the app's own


@pytest.mark.parametrize("peer", ["10.0.0.7", "::1"])
def test_the_function_is_told_the_address_of_the_caller(house: House, upstream: Upstream, peer: str):
    route(house, "hola", upstream.url)
    _, body = ask(house, scope() | {"client": (peer, 5)})
    assert f'["x-forwarded-for", "{peer}"]'.encode() in body["body"]


@pytest.mark.parametrize(("asked_for", "passed"), [(False, set()), (True, {"x_mine"})])
def test_headers_with_underscores_pass_only_when_asked_for(
    tmp_path, upstream: Upstream, asked_for: bool, passed: set
):
    house = House(tmp_path, part=PROXY, settings={"underscore_headers": asked_for})
    route(house, "hola", upstream.url)
    asked = scope()
    for name in (b"x_forwarded_for", b"x_forwarded-proto", b"content_length", b"transfer_encoding", b"x_mine"):
        asked["headers"].append((name, b"7"))
    _, body = ask(house, asked)
    assert {name for name, _ in json.loads(body["body"])["headers"] if "_" in name} == passed
    house.close()


def test_a_body_that_breaks_off_is_not_taken_by_the_app(house: House):
    body = b'{"function": "hola", "url": "http://localhost:5050"}'
    asked = scope("POST", "/memory/functions/registration")
    asked["headers"].append((b"transfer-encoding", b"chunked"))
    start, told = ask(house, asked, body, leaves=True)
    assert (start["status"], json.loads(told["body"])["code"]) == (400, "ERROR_JSON_BINDING")


def test_a_host_from_elsewhere_is_refused_there_too(house: House, upstream: Upstream):
    route(house, "hola", upstream.url)
    start, _ = ask(house, scope(host="evil.example"))
    assert (start["status"], upstream.calls) == (403, 0)
