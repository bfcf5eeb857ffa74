"""A client of several servers: it asks one until that is away, and never repeats what may have been done."""

import asyncio
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hand_clock import HandClock

from piecework.client import ApiError, AsyncClient, Busy, Client, ServerUnreachable
from piecework.client.retries import RetryPolicy
from piecework.client.servers import FIRST_RETURN_S, KnownServer, KnownServers
from piecework.client.transport import PreparedRequest
from piecework.http import connections
from piecework.http.connections import ConnectionPool
from piecework.http.routes import find_route
from piecework.protocol.messages import MessageReply

PONG = MessageReply(message="pong")
ONCE = PreparedRequest("POST", "/x")
"""A request that is not safe to repeat."""


@pytest.fixture
def other(other_script):
    return other_script


@pytest.fixture
def closed():
    """The URL of a server that refuses connections."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def client(script, other):
    with Client([script.url, other.url]) as client:
        client.transport.pause = lambda _: None
        yield client


def post(client):
    return client.transport.call(ONCE, MessageReply).message


def test_one_that_refuses_connections_is_passed_by(other, closed):
    other.answer(PONG)
    other.answer(PONG)
    with Client(f"{closed}, {other.url}/", attempts=1) as client:
        assert post(client) == client.ping() == "pong"
        assert client.transport.servers.used.url == other.url


def test_one_that_says_it_is_away_is_passed_by_at_once(script, other):
    script.answer(status=503)
    other.answer(PONG)
    with Client([script.url, other.url], attempts=1) as client:
        assert client.ping() == "pong"


@pytest.mark.parametrize("failure", [{"status": 502}, {"status": 503}, {"status": 504}, {"hang_up": True}])
def test_what_may_have_been_done_is_sent_to_no_other(script, other, client, failure):
    script.answer(**failure)
    with pytest.raises((ApiError, ServerUnreachable)):
        post(client)
    assert not other.seen
    other.answer(PONG)
    assert post(client) == "pong", "the next request goes there"


@pytest.mark.parametrize("failure", [{"status": 502}, {"status": 503}, {"status": 504}, {"hang_up": True}])
def test_what_is_safe_to_repeat_goes_to_the_next(script, other, client, failure):
    script.answer(**failure)
    other.answer(PONG)
    assert client.ping() == "pong"
    assert (len(script.seen), len(other.seen)) == (1, 1)


@pytest.mark.slow
def test_it_stays_with_the_one_that_works(script, other, client):
    script.answer(status=503)
    for _ in range(3):
        other.answer(PONG)
        client.ping()
    assert (len(script.seen), len(other.seen)) == (1, 3)


def test_when_all_are_away_each_is_asked_once_a_try(script, other):
    script.answer(status=503)
    other.answer(status=503)
    with Client(f"{script.url},{other.url}", attempts=1) as client, pytest.raises(Busy):
        client.ping()
    assert (len(script.seen), len(other.seen)) == (1, 1)


def test_refusals_are_those_of_the_one_that_was_asked(script, other, client):
    script.answer(status=404)
    with pytest.raises(ApiError):
        client.ping()
    assert not other.seen


def test_copies_of_a_client_share_which_one_is_asked(script, other, client):
    script.answer(status=503)
    other.answer(PONG)
    client.within(10).ping()
    other.answer(PONG)
    client.with_retries(RetryPolicy(attempts=1)).ping()
    assert len(script.seen) == 1


def test_an_event_loops_client_does_the_same(script, other, closed):
    async def use():
        async with AsyncClient([closed, script.url, other.url]) as client:
            return await client.ping(), client.transport.servers.used.url

    script.answer(status=503)
    other.answer(PONG)
    assert asyncio.run(use()) == ("pong", other.url)


def test_who_waits_at_a_frozen_server_goes_on_when_another_answers(script, other, client, monkeypatch):
    monkeypatch.setattr(connections, "SILENCE_S", 0.0)
    frozen = threading.Event()
    script.answer(PONG, hold=frozen)
    script.answer(PONG, hold=frozen)
    waits = PreparedRequest("GET", "/poll", poll_s=60.0)
    with ThreadPoolExecutor(1) as threads:
        poll = threads.submit(client.transport.call, waits, MessageReply)
        script.wait_for_requests(1)
        hasty = client.with_retries(RetryPolicy(attempts=1, read_s=0.05))
        with pytest.raises(ServerUnreachable, match="too long"):
            hasty.ping()
        assert not poll.done()
        other.answer(PONG)
        assert hasty.ping() == "pong"
        with pytest.raises(ServerUnreachable):
            poll.result(timeout=10)
        frozen.set()


def known(clock, count=3):
    urls = [f"http://server-{number}" for number in range(count)]
    return KnownServers(
        [KnownServer(url, find_route(url), "", ConnectionPool(find_route(url))) for url in urls], clock
    )


def pick(servers):
    return next(servers.in_turn())[0]


def test_the_first_is_asked_again_after_a_while_and_later_each_time():
    clock = HandClock(0, per_s=1)
    servers = known(clock)
    first = pick(servers)
    servers.leave(first, "away")
    second = pick(servers)
    assert second is not first
    for pause_s in (FIRST_RETURN_S, 2 * FIRST_RETURN_S, 4 * FIRST_RETURN_S):
        clock.forward(pause_s - 1)
        assert pick(servers) is second
        clock.forward(1)
        assert pick(servers) is first
        servers.leave(first, "still away")


def test_two_that_see_one_fail_leave_it_once():
    servers = known(HandClock(0, per_s=1))
    first = pick(servers)
    servers.leave(first, "away")
    servers.leave(first, "away")
    assert servers.used.url == "http://server-1"


def test_a_single_server_is_never_left():
    servers = known(HandClock(0, per_s=1), count=1)
    servers.leave(servers.first, "away")
    assert [(each.url, is_last) for each, is_last in servers.in_turn()] == [("http://server-0", True)]


@pytest.mark.parametrize("urls", ["", ",", [], "http://a,", "http://a,b", ["http://a", "ftp://b"]])
def test_each_must_be_the_url_of_a_server(urls):
    with pytest.raises(ValueError, match="URL of a server"):
        Client(urls)


def test_the_first_is_what_a_client_is_called_by(monkeypatch):
    monkeypatch.setenv("PIECEWORK_URL", "http://a:1/,http://b:2,http://a:1")
    client = Client()
    assert client.url == "http://a:1"
    assert repr(client) == "Client('http://a:1,http://b:2')"
