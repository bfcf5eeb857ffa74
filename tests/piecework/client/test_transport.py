import logging
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from piecework.client import (
    ApiError,
    BadReply,
    Busy,
    Client,
    Conflict,
    Invalid,
    NotFound,
    Refused,
    ServerUnreachable,
    TooLarge,
)
from piecework.client.errors import ClientError
from piecework.client.retries import RetryPolicy
from piecework.client.transport import PreparedRequest, Transport
from piecework.http.urls import check_url
from piecework.protocol import bodies
from piecework.protocol.ids import Id
from piecework.protocol.messages import (
    CapsuleReply,
    ContractReply,
    ContractRequest,
    ErrorReply,
    FinishReply,
    FinishRequest,
    HeartbeatReply,
    HeartbeatRequest,
    LambdaCreate,
    LeaseRef,
    MessageReply,
    OutcomeAck,
    WorkerRegister,
    WorkerRegistered,
)

PONG = MessageReply(message="pong")
TOKEN = "s3cret-token"


@pytest.fixture
def client(script):
    with Client(script.url, TOKEN) as client:
        yield client


@pytest.fixture
def closed_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.parametrize("end", ["", "/", "/api/v0.5", "/api/v0.5/"])
def test_the_base_url_may_have_a_path_and_a_slash_at_its_end(script, end):
    script.answer(PONG)
    with Client(script.url + end) as client:
        assert client.ping() == "pong"
    assert script.seen[0].path == end.rstrip("/") + "/ping"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8000",
        "ftp://x",
        "http://",
        "http://x/?a=1",
        "http://x/#top",
        "http://x:x",
        "http://a..b",
        "http://[::1",
    ],
)
def test_what_is_not_the_url_of_a_server_is_refused(url):
    with pytest.raises(ValueError, match="is not the URL of a server"):
        check_url(url)


def test_a_password_in_the_url_is_refused_and_not_repeated():
    with pytest.raises(ValueError, match="no password; give a token") as caught:
        check_url("http://someone:s3cret@127.0.0.1")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("token", ["s3cret\n", "s3cret\r\nHost: x", "s3cret s3cret", "s3crét"])
def test_a_token_that_is_none_is_refused_and_not_repeated(token):
    with pytest.raises(ValueError, match="is in no token") as caught:
        Client("http://127.0.0.1", token)
    assert "cr" not in str(caught.value).replace("character", "")


def test_messages_travel_as_message_pack_and_are_read_as_the_reply_says(script, client):
    registered = WorkerRegistered(id=Id(7), runtime=["wasi"])
    script.answer(registered)
    packed = {"Content-Type": bodies.MSGPACK}
    script.answer(body=bodies.encode(registered, bodies.MSGPACK), headers=packed)
    worker = WorkerRegister(runtime=["wasi"], slots=2)
    assert client.register(worker) == client.register(worker) == registered
    sent = script.seen[0]
    assert sent.headers["Content-Type"] == sent.headers["Accept"] == bodies.MSGPACK
    assert bodies.decode(sent.body, WorkerRegister, bodies.MSGPACK) == worker


def test_messages_travel_as_json_when_asked_to(script):
    script.answer(WorkerRegistered(id=Id(7), runtime=["wasi"]))
    with Client(script.url, media_type=bodies.JSON) as client:
        client.register(WorkerRegister(runtime=["wasi"]))
    assert script.seen[0].headers["Content-Type"] == bodies.JSON
    assert b'"runtime":["wasi"]' in script.seen[0].body


def test_the_token_goes_into_the_header_and_into_no_repr(script, client):
    script.answer(PONG)
    client.ping()
    assert script.seen[0].headers["Authorization"] == f"Bearer {TOKEN}"
    assert TOKEN not in repr(client) + repr(client.transport) + repr(vars(client))


def test_a_client_takes_url_and_token_of_the_environment(script, monkeypatch):
    monkeypatch.setenv("PIECEWORK_URL", script.url + "/")
    monkeypatch.setenv("PIECEWORK_TOKEN", TOKEN)
    for given in ({}, {"url": script.url}, {"token": "other"}, {"token": ""}):
        script.answer(PONG)
        with Client(**given) as client:
            client.ping()
    assert [each.headers.get("Authorization") for each in script.seen] == [
        f"Bearer {TOKEN}", f"Bearer {TOKEN}", "Bearer other", None
    ]  # fmt: skip


def test_a_client_is_for_this_machine_when_nothing_says_more(monkeypatch):
    monkeypatch.setenv("PIECEWORK_URL", "")
    monkeypatch.delenv("PIECEWORK_TOKEN", raising=False)
    assert repr(Client()) == "Client('http://127.0.0.1:8000')"


def test_a_wrong_url_of_the_environment_is_told_by_its_variable(monkeypatch):
    monkeypatch.setenv("PIECEWORK_URL", "example.org")
    with pytest.raises(ValueError, match=r"^PIECEWORK_URL: 'example\.org' is not the URL of a server"):
        Client()


def test_a_client_shows_what_is_set_and_no_secret(tmp_path):
    shown = repr(Client("http://h:1", TOKEN, attempts=3, media_type=bodies.JSON))
    assert shown == "Client('http://h:1', attempts=3, token='***', media_type='application/json')"
    assert repr(Client("http://h:1", "")) == "Client('http://h:1')"


def test_without_a_token_no_authorization_is_sent(script, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("default login someone password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    script.answer(PONG)
    with Client(script.url) as client:
        client.ping()
    assert "Authorization" not in script.seen[0].headers


def test_requests_of_one_thread_share_a_connection(script, client):
    script.answer(PONG)
    script.answer(PONG)
    client.ping()
    client.ping()
    assert len({seen.connection for seen in script.seen}) == 1


def test_requests_at_the_same_time_have_connections_of_their_own(script, client):
    hold = threading.Event()
    for _ in range(2):
        script.answer(PONG, hold=hold)
    with ThreadPoolExecutor(2) as pool:
        pings = [pool.submit(client.ping) for _ in range(2)]
        script.wait_for_requests(2)
        hold.set()
        assert [ping.result() for ping in pings] == ["pong", "pong"]
    assert len({seen.connection for seen in script.seen}) == 2


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Invalid),
        (401, Refused),
        (403, Refused),
        (404, NotFound),
        (409, Conflict),
        (413, TooLarge),
        (418, ApiError),
        (422, Invalid),
        (500, ApiError),
    ],
)
def test_a_refusal_raises_the_error_of_its_status_with_code_and_message(script, client, status, kind):
    script.answer(ErrorReply(code=601, message="no such thing"), status=status)
    with pytest.raises(kind, match=r"^no such thing$") as caught:
        client.ping()
    assert type(caught.value) is kind
    assert (caught.value.http_status, caught.value.code, caught.value.message) == (status, 601, "no such thing")
    assert len(script.seen) == 1


def test_a_foreign_error_is_cut_to_one_line(script):
    script.answer(status=502, body=b"bad\n  gateway" + b"x" * 1000, headers={"Content-Type": "text/plain"})
    expected = r" answered HTTP 502 Bad Gateway: bad gatewayx+$"
    with Client(script.url, attempts=1) as client, pytest.raises(ApiError, match=expected) as caught:
        client.ping()
    assert len(caught.value.message) < 300


def test_of_a_web_page_only_is_told_that_it_is_one(script, client):
    script.answer(status=404, body=b"<html><h1>No", headers={"Content-Type": "text/html"})
    with pytest.raises(NotFound, match=r"Not Found with a web page; is this the URL of a Piecework server\?$"):
        client.ping()


def test_a_path_that_only_whole_servers_have_is_explained(script, client):
    script.answer(CapsuleReply(code="PAGE_NOT_FOUND", message="x"), status=404)
    with pytest.raises(NotFound, match=r"is not there; is this the URL of a registry or proxy alone\?$"):
        client.ping()


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"[]", b'{"status": "ok"}', b""])
def test_an_answer_that_is_no_reply_is_called_so(script, client, body):
    script.answer(body=body)
    with pytest.raises(BadReply, match="did not answer like a Piecework server"):
        client.ping()


def test_a_redirect_is_not_followed_but_named(script, client):
    script.answer(PONG, status=302, headers={"Location": "https://elsewhere.example/ping"})
    with pytest.raises(BadReply, match=r"redirects to https://elsewhere\.example/ping: use the URL of the server"):
        client.ping()


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again(script, client, status):
    script.answer(ErrorReply(code=7, message="busy"), status=status)
    script.answer(ErrorReply(code=7, message="busy"), status=status, headers={"Retry-After": "1"})
    script.answer(PONG)
    assert client.ping() == "pong"
    assert len(script.seen) == 3


def test_a_server_that_stays_busy_is_asked_so_many_times_and_then_given_up(script):
    for _ in range(3):
        script.answer(ErrorReply(code=7, message="too many requests are waiting"), status=429)
    with Client(script.url, attempts=3) as client, pytest.raises(Busy, match="too many requests"):
        client.ping()
    assert script.answers == []


def test_what_the_server_asks_to_wait_is_kept_with_the_error(script):
    script.answer(ErrorReply(code=8, message="full"), status=503, headers={"Retry-After": "7"})
    with Client(script.url, attempts=1) as client, pytest.raises(Busy) as caught:
        client.ping()
    assert caught.value.retry_after_s == 7


def test_pauses_between_repeats_grow_to_the_longest():
    retries = RetryPolicy(first_pause_s=0.1, longest_pause_s=5, jitter_s=0.5)
    assert [round(retries.pause_s(failures, None, 0.0), 1) for failures in (1, 2, 3, 6, 7, 29)] == [
        0.1, 0.2, 0.4, 3.2, 5, 5
    ]  # fmt: skip
    assert retries.pause_s(1, None, 1.0) == pytest.approx(0.6)


def test_the_pause_is_what_a_busy_server_asks_for(script, client, pauses):
    for asked in ("2", "3600"):
        script.answer(ErrorReply(code=7, message="busy"), status=429, headers={"Retry-After": asked})
    script.answer(PONG)
    client.ping()
    assert pauses == [2, 30]


def test_no_request_is_repeated_when_its_time_is_over(script, pauses):
    transport = Transport(script.url, retries=RetryPolicy(attempts=9, total_s=0))
    script.answer(hang_up=True)
    with pytest.raises(ServerUnreachable):
        transport.call(PreparedRequest("GET", "/ping", repeatable=True), MessageReply)
    assert pauses == []


def test_a_repeat_is_told_to_logging_and_not_printed(script, client, monkeypatch, capfd):
    script.answer(hang_up=True)
    script.answer(PONG)
    told = []
    monkeypatch.setattr(logging.getLogger("piecework.client"), "isEnabledFor", lambda level: True)
    monkeypatch.setattr(logging.getLogger("piecework.client"), "handle", told.append)
    client.ping()
    line = told[0].getMessage()
    assert len(told) == 1
    assert line.startswith(f"no answer from {script.url}: ")
    assert "trying again in" in line
    assert capfd.readouterr() == ("", "")


@pytest.mark.integration
@pytest.mark.parametrize("structlog", ["__import__('structlog')", "None"], ids=["with structlog", "without"])
def test_the_output_of_a_program_is_its_own_while_requests_are_repeated(script, structlog):
    code = (
        f"import sys; sys.modules['structlog'] = {structlog}\n"
        f"import piecework; piecework.Client({script.url!r}).ping(); print('mine')"
    )
    script.answer(hang_up=True)
    script.answer(ErrorReply(code=7, message="busy"), status=503)
    script.answer(PONG)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("mine\n", "")


def test_repeating_can_be_switched_off(script):
    script.answer(hang_up=True)
    with Client(script.url, attempts=1) as client, pytest.raises(ServerUnreachable):
        client.ping()
    assert len(script.seen) == 1


def test_a_connection_that_breaks_off_is_made_anew(script, client):
    script.answer(hang_up=True)
    script.answer(PONG)
    assert client.ping() == "pong"


def test_an_answer_that_breaks_off_is_asked_for_again(script, client):
    script.answer(PONG, announced_bytes=500)
    script.answer(PONG)
    assert client.ping() == "pong"


def test_heartbeats_and_outcomes_are_repeated(script, client):
    script.answer(hang_up=True)
    script.answer(HeartbeatReply(leases=[], lost=[], cancel=[], drain=False))
    script.answer(hang_up=True)
    script.answer(FinishReply(acks=[]))
    ref = LeaseRef(job=Id(1), lease="x")
    client.heartbeat(3, HeartbeatRequest(leases=[ref]))
    client.finish(3, FinishRequest(outcomes=[]))
    assert script.seen[0].body == script.seen[1].body
    assert script.seen[2].body == script.seen[3].body


@pytest.mark.parametrize(
    "act",
    [
        lambda client: client.contract(3, ContractRequest(timeout=5)),
        lambda client: client.register(WorkerRegister()),
        lambda client: client.create_lambda(LambdaCreate(codex=Id(0), runtime="wasi")),
    ],
)
def test_what_is_not_safe_to_repeat_is_sent_once(script, client, act):
    script.answer(hang_up=True)
    with pytest.raises(ServerUnreachable, match="connection"):
        act(client)
    assert len(script.seen) == 1


def test_finish_gives_the_acks_even_when_every_outcome_was_refused(script, client):
    refused = FinishReply(code=902, status="error", acks=[OutcomeAck(job=Id(1), lease="x", code=902)])
    script.answer(refused, status=409)
    assert client.finish(3, FinishRequest(outcomes=[])) == refused


def test_another_conflict_of_finish_is_an_error(script, client):
    script.answer(ErrorReply(code=904, message="not now"), status=409)
    with pytest.raises(Conflict, match="not now"):
        client.finish(3, FinishRequest(outcomes=[]))


def test_nobody_listening_is_one_clear_line(closed_port):
    with (
        Client(f"http://127.0.0.1:{closed_port}", attempts=3) as client,
        pytest.raises(ServerUnreachable) as caught,
    ):
        client.ping()
    assert str(caught.value) == f"no answer from http://127.0.0.1:{closed_port}: connection refused"
    assert caught.value.reason == "connection refused"


def test_an_unknown_host_is_one_clear_line():
    with (
        Client("http://nowhere.invalid", attempts=1) as client,
        pytest.raises(ServerUnreachable, match=r"^no answer from http://nowhere\.invalid: .*name.*$"),
    ):
        client.ping()


def test_an_answer_that_does_not_come_in_time_is_given_up(script):
    hold = threading.Event()
    script.answer(PONG, hold=hold)
    try:
        with (
            Client(script.url, attempts=1, read_timeout_s=0.05) as client,
            pytest.raises(ServerUnreachable, match="it took too long"),
        ):
            client.ping()
    finally:
        hold.set()


def test_a_long_poll_is_given_more_time_than_the_server_holds_it():
    retries = RetryPolicy(read_s=30, poll_margin_s=10)
    assert (retries.read_timeout_s(55), retries.read_timeout_s(0)) == (65, 30)


def test_a_poll_outlives_the_time_that_other_answers_have(script):
    hold = threading.Event()
    script.answer(ContractReply(code=1299, message="no job", id=Id(3)), hold=hold)
    script.answer(PONG, hold=hold)
    with Client(script.url, attempts=1, read_timeout_s=0.05) as client, ThreadPoolExecutor(1) as pool:
        contract = pool.submit(client.contract, 3, ContractRequest(timeout=1))
        script.wait_for_requests(1)
        with pytest.raises(ServerUnreachable, match="it took too long"):
            client.ping()
        hold.set()
        assert contract.result().message == "no job"


def test_every_error_of_the_client_has_one_root():
    assert issubclass(ApiError, ClientError)
    assert issubclass(ServerUnreachable, ClientError)
    assert issubclass(BadReply, ClientError)


def test_a_closed_client_can_be_used_again(script, client):
    script.answer(PONG)
    script.answer(PONG)
    client.ping()
    client.close()
    assert client.ping() == "pong"
    assert len({seen.connection for seen in script.seen}) == 2
