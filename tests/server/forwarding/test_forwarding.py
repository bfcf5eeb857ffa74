"""Calls that are passed on to real servers: what arrives there, and what comes back."""

import socket
import ssl
import threading
from contextlib import suppress
from typing import Any

import pytest
import trustme
from house import House
from raw_server import RawServer, http, read_request, reset
from upstreams import Upstream, route
from werkzeug.test import TestResponse

from piecework.http.answers import Broken, NotHttp
from piecework.server.services.tokens.token_acts import create_token
from piecework.server.store.functions import functions

NO_ROUTE = {"code": "ERROR", "message": "😢 Houston? We have a problem 🥵"}


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port: int = unused.getsockname()[1]
        return port


def call(house: House, path: str, method: str = "GET", **more: Any) -> TestResponse:
    return house.client.open(f"/functions/{path}", method=method, buffered=True, **more)


def told(house: House, path: str, method: str = "GET", **more: Any) -> Any:
    response = call(house, path, method, **more)
    assert response.status_code == 200, response.data
    return response.json


def headers_of(found: Any) -> dict[str, str]:
    return dict(found["headers"])


@pytest.mark.parametrize(
    ("asked", "arrives"),
    [
        ("hola", "/"),
        ("hola/", "/"),
        ("hola/x/y", "/x/y"),
        ("hola/blue", "/"),
        ("hola/blue/", "/"),
        ("hola/blue/x//y/", "/x//y/"),
        ("hola/default/x", "/x"),
        ("hola/red/x", "/red/x"),
        ("hola/a%20b/%25/%C3%A9", "/a%20b/%25/%C3%A9"),
        ("hola/x?a=%20b+c&d", "/x?a=%20b+c&d"),
        ("h%6Fla/bl%75e", "/"),
        ("hola/file.txt/...", "/file.txt/..."),
    ],
)
def test_the_rest_of_the_path_and_the_query_arrive_as_they_were_sent(
    house: House, upstream: Upstream, asked: str, arrives: str
):
    route(house, "hola", upstream.url)
    route(house, "hola", upstream.url, revision="blue")
    assert told(house, asked)["path"] == arrives


def test_the_same_holds_under_the_prefix_of_old_clients(house: House, upstream: Upstream):
    route(house, "hola", upstream.url)
    assert house.client.get("/api/v0.5/functions/hola/x").json["path"] == "/x"


@pytest.mark.parametrize(
    ("base", "asked", "arrives"),
    [
        ("/b", "", "/b"),
        ("/b", "/", "/b/"),
        ("/b/", "", "/b/"),
        ("/b/", "/x", "/b/x"),
        ("/", "/x", "/x"),
        ("/", "", "/"),
    ],
)
def test_the_path_of_the_url_itself_comes_first(
    house: House, upstream: Upstream, base: str, asked: str, arrives: str
):
    route(house, "hola", upstream.url + base)
    assert told(house, f"hola{asked}")["path"] == arrives


@pytest.mark.parametrize(
    "path", ["../x", "%2e%2E/x", "hola/../x", "hola/%2e/x", "hola/a/..%2fb", "hola/..%5cb", "a%20b", "a%00"]
)
def test_a_path_that_could_lead_out_is_refused(house: House, upstream: Upstream, path: str):
    route(house, "hola", upstream.url)
    response = call(house, path)
    assert (response.status_code, response.json["code"]) == (400, "BAD_PATH")
    assert upstream.calls == 0


@pytest.mark.parametrize("path", ["nobody", "nobody/x", "hola", "hola/red", "hola/default"])
def test_what_leads_nowhere_is_told_as_capsule_did(house: House, upstream: Upstream, path: str):
    route(house, "hola", upstream.url, revision="blue")
    response = call(house, path)
    assert (response.status_code, response.json) == (404, NO_ROUTE)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_every_method_arrives_with_its_body(house: House, upstream: Upstream, method: str):
    route(house, "hola", upstream.url)
    found = told(house, "hola", method, data=b"x" * 200_000)
    assert (found["method"], found["size"]) == (method, 200_000)


def test_a_body_of_unknown_length_arrives_too(house: House, upstream: Upstream):
    from io import BytesIO

    route(house, "hola", upstream.url)
    environ = {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"}
    found = told(house, "hola", "POST", input_stream=BytesIO(b"x" * 100_000), environ_overrides=environ)
    assert found["size"] == 100_000
    assert headers_of(found)["transfer-encoding"] == "chunked"


def test_headers_about_the_connection_and_secrets_of_ours_do_not_arrive(house: House, upstream: Upstream):
    route(house, "hola", upstream.url)
    sent = {
        "Connection": "close, X-Hop", "X-Hop": "1", "Keep-Alive": "1", "TE": "trailers",
        "Proxy-Authorization": "x", "Piecework-Replica-Token": "stolen", "Authorization": "Bearer pw_secret",
        "X-Kept": "yes",
    }  # fmt: skip
    found = headers_of(told(house, "hola", headers=sent))
    assert found["x-kept"] == "yes"
    assert not found.keys() & {
        "x-hop",
        "keep-alive",
        "te",
        "proxy-authorization",
        "piecework-replica-token",
        "authorization",
    }
    for others in ("Bearer other", "Basic cHc6cHc="):
        found = headers_of(told(house, "hola", headers={"Authorization": others}))
        assert found["authorization"] == others


@pytest.mark.parametrize("sent", ["pw_secret", "bearer\tpw_secret", "Basic cHc=,Bearer pw_secret"])
def test_no_secret_of_ours_arrives_however_it_is_written(tmp_path, upstream: Upstream, sent: str):
    house = House(tmp_path, settings={"functions_open": True})
    route(house, "hola", upstream.url)
    assert "authorization" not in headers_of(told(house, "hola", headers={"Authorization": sent}))
    house.close()


@pytest.mark.parametrize(
    "sent",
    [
        {"Connection": "close, Content-Length"},
        {"Content_Length": "4"},
    ],
)
def test_no_header_hides_or_changes_the_length_of_a_body(house: House, raw: RawServer, sent: dict[str, str]):
    raw.answer(http())
    route(house, "hola", raw.url)
    call(house, "hola", "POST", data=b"GET /other HTTP/1.1\r\n\r\n", headers=sent)
    [arrived] = raw.requests
    assert arrived.lower().count(b"content-length") == 1
    assert b"\r\nContent-Length: 23\r\n" in arrived


def test_a_request_without_a_body_cannot_announce_one(house: House, raw: RawServer):
    raw.answer(http())
    route(house, "hola", raw.url)
    assert told(house, "hola", environ_overrides={"HTTP_CONTENT_LENGTH": "50"}) == {"message": "pong"}
    assert b"length" not in raw.requests[0].lower()


def test_the_function_is_told_where_a_call_came_from(house: House, upstream: Upstream):
    route(house, "hola", upstream.url)
    found = headers_of(told(house, "hola", environ_overrides={"REMOTE_ADDR": "10.0.0.7"}))
    assert found["host"] == f"127.0.0.1:{upstream.port}"
    assert found["x-forwarded-for"] == "10.0.0.7"
    assert (found["x-forwarded-host"], found["x-forwarded-proto"]) == ("localhost", "http")
    before = {"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Host": "example.org", "X-Forwarded-Proto": "https"}
    found = headers_of(told(house, "hola", headers=before, environ_overrides={"REMOTE_ADDR": "10.0.0.7"}))
    assert found["x-forwarded-for"] == "1.2.3.4, 10.0.0.7"
    assert (found["x-forwarded-host"], found["x-forwarded-proto"]) == ("example.org", "https")


def add_replicas(house: House, *urls: str) -> None:
    """Have replicas run there, in this order, for the revision ``blue`` of ``hola``."""
    from sqlalchemy import insert

    from piecework.server.store.engine.tables.functions import hosts, replicas

    now = house.clock()
    common = {
        "function": "hola", "revision": "blue", "worker_id": 1, "state": "running", "token": "t0ken", "error": "",
        "calls": 0, "errors": 0, "since": 0, "log": b"", "log_start": 0,
    }  # fmt: skip

    def add(connection: Any) -> None:
        functions.add_function(connection, "hola", now)
        functions.add_revision(connection, functions.Revision("hola", "blue", None, None, 0, now))
        connection.execute(insert(hosts), {"worker_id": 1, "slots": 1, "seen_at": now})
        for id_, url in enumerate(urls, 1):
            connection.execute(insert(replicas), {"id": id_, "url": url} | common)

    house.services.database.write(add)


def test_a_replica_is_shown_its_token(house: House, upstream: Upstream):
    add_replicas(house, upstream.url)
    found = headers_of(told(house, "hola/blue", headers={"Piecework-Replica-Token": "guess"}))
    assert found["piecework-replica-token"] == "t0ken"


def test_headers_of_the_answer_come_back_but_those_about_its_connection(house: House, upstream: Upstream):
    route(house, "hola", upstream.url)
    response = call(house, "hola/dup")
    assert response.headers.getlist("Set-Cookie") == ["a=1", "b=2"]
    assert response.headers["X-Text"].encode("latin-1").decode() == "hé"
    assert not {"x-hop", "keep-alive", "connection", "server"} & {name.lower() for name, _ in response.headers}


@pytest.mark.parametrize("status", [200, 201, 204, 301, 304, 404, 418, 500, 503])
def test_statuses_come_back_as_they_are(house: House, upstream: Upstream, status: int):
    route(house, "hola", upstream.url)
    response = call(house, f"hola/status/{status}")
    assert response.status_code == status
    assert response.data == (b"" if status in {204, 304} else b"status")
    assert response.headers["ETag"] == "x"


def test_head_gets_the_length_and_no_body(house: House, upstream: Upstream):
    route(house, "hola", upstream.url)
    for _ in range(3):  # this server sends a body all the same: it must not be taken for the next answer
        response = call(house, "hola/big/1000000", "HEAD")
        assert (response.data, response.headers["Content-Length"]) == (b"", "1000000")
        response.close()


def test_a_body_that_comes_late_in_spite_of_head_is_no_answer_to_the_next_call(house: House, raw: RawServer):
    raw.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"wrong" + http(b"wrong"))
    raw.answer(http())
    route(house, "hola", raw.url)
    assert call(house, "hola", "HEAD").headers["Content-Length"] == "5"
    assert call(house, "hola").data == b'{"message": "pong"}'


def test_head_is_not_told_a_length_that_the_url_did_not_tell(house: House, raw: RawServer):
    raw.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    route(house, "hola", raw.url)
    response = call(house, "hola", "HEAD")
    assert (response.status_code, response.headers.get("Content-Length")) == (200, None)


def test_events_come_when_they_are_sent_and_trailers_do_not(house: House, upstream: Upstream):
    route(house, "hola", upstream.url)
    upstream.next_event.release()  # the test client waits for the first piece
    response = house.client.get("/functions/hola/events")
    pieces = response.iter_encoded()
    for number in range(3):
        assert next(pieces) == b"data: %d\n\n" % number
        upstream.next_event.release()
    assert list(pieces) == []
    response.close()


def test_a_large_answer_passes_in_pieces(house: House, upstream: Upstream):
    route(house, "hola", upstream.url)
    response = house.client.get("/functions/hola/big/5000000")
    sizes = [len(piece) for piece in response.iter_encoded()]
    assert sum(sizes) == 5_000_000
    assert max(sizes) <= 200_000
    response.close()


@pytest.mark.slow
def test_a_url_may_speak_tls_with_a_certificate_that_the_system_trusts(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    authority = trustme.CA()
    ours, theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(ours)
    raw = RawServer(ours)
    raw.answer(http(), http())
    route(house, "hola", f"https://localhost:{raw.port}")
    refused = call(house, "hola")
    assert (refused.status_code, "certificate" in refused.json["message"]) == (502, True)
    raw.answer(http(), http())
    authority.configure_trust(theirs)
    monkeypatch.setattr("piecework.server.forwarding.upstreams.trust", lambda: theirs)
    house.services.functions.add_url("hola", "default", f"https://localhost:{raw.port}/b")
    house.services.functions.remove_url("hola", "default", f"https://localhost:{raw.port}")
    assert [told(house, "hola") for _ in range(2)] == [{"message": "pong"}] * 2
    assert raw.requests[0].startswith(b"GET /b HTTP/1.1\r\n")
    raw.close()


# Failures


def test_a_url_that_refuses_is_passed_by_and_nobody_notices(house: House, upstream: Upstream):
    dead = f"http://127.0.0.1:{closed_port()}"
    route(house, "hola", dead, upstream.url)
    for method in ("POST", "GET", "POST", "POST"):
        assert told(house, "hola", method, data=b"x")["size"] == 1
    assert not house.services.health.is_well(dead)


def test_without_any_url_that_answers_the_call_fails_with_the_reason(house: House):
    route(house, "hola", f"http://127.0.0.1:{closed_port()}")
    response = call(house, "hola")
    assert response.status_code == 502
    assert response.json == {
        "code": "BAD_GATEWAY",
        "message": "the revision default of hola cannot be reached: connection refused",
    }


def test_a_revision_without_urls_is_unavailable(house: House, upstream: Upstream):
    route(house, "hola", upstream.url)
    house.services.functions.remove_url("hola", "default", upstream.url)
    response = call(house, "hola")
    assert (response.status_code, response.json["code"]) == (503, "UNAVAILABLE")
    assert response.headers["Retry-After"]


@pytest.mark.parametrize(
    "cut", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"]
)
def test_a_get_whose_url_hangs_up_is_answered_by_another(
    house: House, upstream: Upstream, raw: RawServer, cut: bytes
):
    raw.answer(cut)
    route(house, "hola", raw.url, upstream.url)
    assert told(house, "hola")["name"] == "up"
    assert len(raw.requests) == 1
    assert house.services.health.reasons([raw.url]) == {raw.url: "a call failed there: the connection broke off"}


def test_a_post_that_may_have_acted_is_not_sent_again(house: House, upstream: Upstream, raw: RawServer):
    raw.answer(b"")
    route(house, "hola", raw.url, upstream.url)
    response = call(house, "hola", "POST", data=b"x")
    assert response.status_code == 502
    assert "it may have acted" in response.json["message"]
    assert upstream.calls == 0


def test_a_post_with_an_idempotency_key_is_sent_again(house: House, upstream: Upstream, raw: RawServer):
    raw.answer(b"")
    route(house, "hola", raw.url, upstream.url)
    found = told(house, "hola", "POST", data=b"x" * 1000, headers={"Idempotency-Key": "k"})
    assert found["size"] == 1000


def test_a_post_to_a_replica_in_whose_place_is_another_now_is_sent_to_the_next(
    house: House, upstream: Upstream, raw: RawServer
):
    raw.answer(b"HTTP/1.1 421 Misdirected\r\nContent-Length: 2\r\n\r\n{}")
    add_replicas(house, raw.url, upstream.url)
    assert told(house, "hola/blue", "POST", data=b"x")["size"] == 1
    assert len(raw.requests) == 1
    raw.answer(b"HTTP/1.1 421 Misdirected\r\nContent-Length: 2\r\n\r\n{}")
    route(house, "hey", raw.url)
    assert call(house, "hey").status_code == 421, "what is no replica may answer so itself"


def test_a_url_that_answers_again_is_well_again(house: House, upstream: Upstream):
    route(house, "hola", upstream.url)
    house.services.health.note_failure(upstream.url, "it broke off", is_dead=False)
    assert told(house, "hola")["name"] == "up"
    assert house.services.health.is_well(upstream.url)


def test_trailers_and_tokens_of_replicas_stay_behind(house: House, raw: RawServer):
    head = b"HTTP/1.1 200 OK\r\nPiecework-Replica-Token: t0ken\r\nTransfer-Encoding: chunked\r\n\r\n"
    raw.answer(head + b"5\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n")
    route(house, "hola", raw.url)
    response = call(house, "hola")
    assert response.data == b"hello"
    assert {name.lower() for name, _ in response.headers} <= {"content-length", "content-type"}


def test_a_long_body_is_sent_once_even_where_it_might_be_repeated(
    house: House, upstream: Upstream, raw: RawServer
):
    raw.answer(b"")
    route(house, "hola", raw.url, upstream.url)
    response = call(house, "hola", "PUT", data=b"x" * 100_000)
    assert (response.status_code, upstream.calls) == (502, 0)


def test_a_connection_that_was_closed_meanwhile_is_not_used_again(house: House, raw: RawServer):
    raw.answer(http())
    raw.answer(http())
    route(house, "hola", raw.url)
    for _ in range(2):
        assert told(house, "hola", "POST", data=b"x") == {"message": "pong"}
        raw.wait_until_closed()


def test_a_connection_is_kept_for_the_next_call(house: House, raw: RawServer):
    raw.answer(http(), http())
    route(house, "hola", raw.url)
    assert [told(house, "hola") for _ in range(2)] == [{"message": "pong"}] * 2


def test_a_kept_connection_that_is_closed_when_it_is_used_costs_only_what_may_not_be_repeated(
    house: House, raw: RawServer
):
    for _ in range(3):
        raw.answer(http(), read_request)  # which takes the second call, and hangs up
    raw.answer(http())
    route(house, "hola", raw.url)
    assert [told(house, "hola", method) for method in ("POST", "GET", "PUT")] == [{"message": "pong"}] * 3
    assert house.services.health.is_well(raw.url)
    assert call(house, "hola", "POST").status_code == 502


def test_a_url_cannot_say_that_a_call_ran_as_a_job(house: House, raw: RawServer):
    raw.answer(http(b"{}", "Piecework-Job: 7"))
    route(house, "hola", raw.url)
    assert "Piecework-Job" not in call(house, "hola").headers
    counted = house.services.calls.read("hola", "default")
    assert counted is not None
    assert counted.jobs == 0


def test_a_long_answer_that_breaks_off_is_never_taken_for_whole(house: House, raw: RawServer):
    raw.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes(100_000))
    route(house, "hola", raw.url)
    response = house.client.get("/functions/hola")
    with pytest.raises(Exception, match="the connection broke off"):
        list(response.iter_encoded())
    assert not house.services.health.is_well(raw.url)
    assert house.app.wsgi_app._find_calls()._free._value == house.services.settings.calls_max  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70_000,
        http(status="101 Switching Protocols"),
        http(status="099 No Such Status"),  # would end the web server's process
        http(status="000 No Such Status"),
    ],
)
def test_what_is_no_answer_in_http_is_told(house: House, raw: RawServer, answer: bytes):
    raw.answer(answer)
    route(house, "hola", raw.url)
    response = call(house, "hola")
    assert (response.status_code, response.json["code"]) == (502, "BAD_GATEWAY")
    assert "may have acted" in response.json["message"]


def test_a_url_that_answers_rubbish_is_set_aside_and_tried_by_a_call_now_and_then(
    house: House, upstream: Upstream, raw: RawServer
):
    health = house.services.health
    for _ in range(3):
        raw.answer(b"SSH-2.0-OpenSSH\r\n")
    raw.answer(http(b'{"name": "raw"}'))
    route(house, "hola", raw.url, upstream.url)
    assert call(house, "hola", "POST").status_code == 502, "it may have acted"
    assert [told(house, "hola", "POST")["name"] for _ in range(4)] == ["up"] * 4
    [revision] = house.client.get("/deployments/hola").json["revisions"]
    assert revision["set_aside"][raw.url].startswith("it did not answer in HTTP: ")
    health.note_connection(raw.url)  # as the prober does
    assert told(house, "hola")["name"] == "up", "what may be repeated is"
    assert len(raw.requests) == 2
    health.note_connection(raw.url)
    assert call(house, "hola", "POST").status_code == 502
    health.note_connection(raw.url)
    assert told(house, "hola", "POST")["name"] == "raw"
    assert health.is_well(raw.url)
    [revision] = house.client.get("/deployments/hola").json["revisions"]
    assert "set_aside" not in revision


def test_the_only_url_is_tried_whatever_it_answered(house: House, raw: RawServer):
    raw.answer(b"SSH-2.0-OpenSSH\r\n")
    raw.answer(http())
    route(house, "hola", raw.url)
    assert [call(house, "hola").status_code for _ in range(2)] == [502, 200]
    assert house.services.health.is_well(raw.url)


@pytest.mark.parametrize("length", ["Content-Length: 9", "Transfer-Encoding: chunked"])
def test_a_good_head_does_not_make_up_for_a_body_that_breaks(house: House, raw: RawServer, length: str):
    broken = b"HTTP/1.1 200 OK\r\n%b\r\n\r\nno chunk" % length.encode()
    raw.answer(broken)
    route(house, "hola", raw.url)
    with suppress(Broken, NotHttp):  # an answer of which some was sent is not ended
        assert call(house, "hola").status_code == 502
    assert not house.services.health.is_well(raw.url)


def test_a_reset_before_the_answer_is_a_bad_gateway(house: House, raw: RawServer):
    raw.answer(reset)
    route(house, "hola", raw.url)
    assert call(house, "hola", "POST").status_code == 502


@pytest.mark.slow
def test_a_url_that_is_too_slow_times_out_and_is_set_aside(tmp_path, upstream: Upstream):
    house = House(tmp_path, settings={"call_timeout_s": 0.2})
    route(house, "hola", upstream.url)
    response = call(house, "hola/wait")
    assert (response.status_code, response.json["code"]) == (504, "GATEWAY_TIMEOUT")
    assert "within 0.2 s" in response.json["message"]
    assert house.services.health.reasons([upstream.url]) == {upstream.url: "it was silent for 0.2 s"}
    house.close()


@pytest.mark.slow
@pytest.mark.parametrize("drop", [b"x", b"HTTP/1.1 102 Processing\r\n\r\n"])
def test_a_head_that_comes_drop_by_drop_times_out_too(tmp_path, raw: RawServer, drop: bytes):
    house = House(tmp_path, settings={"call_timeout_s": 0.3})

    def drip(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: " if drop == b"x" else drop)
        for _ in range(100):
            threading.Event().wait(0.02)
            connection.sendall(drop)

    raw.answer(drip)
    route(house, "hola", raw.url)
    response = call(house, "hola")
    assert (response.status_code, response.json["code"]) == (504, "GATEWAY_TIMEOUT")
    house.close()


@pytest.mark.slow
def test_events_that_take_long_to_come_are_no_reason_to_set_a_url_aside(tmp_path, upstream: Upstream):
    house = House(tmp_path, settings={"call_timeout_s": 0.2})
    route(house, "hola", upstream.url)
    with pytest.raises(Broken, match="took too long"):
        call(house, "hola/events")
    assert house.services.health.is_well(upstream.url)
    house.close()


def test_a_body_over_the_cap_is_refused_before_it_is_sent(house: House, upstream: Upstream):
    route(house, "hola", upstream.url)
    response = call(house, "hola", "POST", data=b"x" * 10_000_001)
    assert (response.status_code, response.json["code"]) == (413, "TOO_LARGE")
    assert upstream.calls == 0


def test_huge_headers_are_refused(house: House, upstream: Upstream):
    route(house, "hola", upstream.url)
    response = call(house, "hola", headers={"X-Huge": "x" * 70_000})
    assert (response.status_code, response.json["code"]) == (431, "HEADERS_TOO_LARGE")
    assert told(house, "hola", headers={"X-Large": "x" * 40_000})["method"] == "GET"


def test_an_upgrade_is_refused_but_for_the_offer_of_http_2(house: House, upstream: Upstream):
    route(house, "hola", upstream.url)
    response = call(house, "hola", headers={"Connection": "Upgrade", "Upgrade": "websocket"})
    assert (response.status_code, response.json["code"]) == (501, "NOT_IMPLEMENTED")
    assert told(house, "hola", headers={"Connection": "Upgrade", "Upgrade": "h2c"})["method"] == "GET"


def test_a_call_that_goes_in_a_circle_is_ended(house: House, upstream: Upstream):
    route(house, "hola", upstream.url)
    response = call(house, "hola", headers={"Via": ", ".join(["1.1 piecework"] * 8)})
    assert (response.status_code, response.json["code"]) == (508, "LOOP")


def test_more_calls_than_the_server_passes_on_are_refused(tmp_path, upstream: Upstream):
    house = House(tmp_path, settings={"calls_max": 1})
    route(house, "hola", upstream.url)
    held = house.client.get("/functions/hola/big/5000000")
    response = call(house, "hola")
    assert (response.status_code, response.json["code"]) == (503, "BUSY")
    held.close()
    assert call(house, "hola").status_code == 200
    house.close()


# Who may call


def test_a_token_that_may_invoke_calls_and_one_that_may_not_does_not(house: House, upstream: Upstream):
    route(house, "hola", upstream.url)
    secrets = {
        scope: create_token(house.services.database, scope, scope, house.clock())
        for scope in ("invoke", "submit", "view", "worker")
    }
    house.clock.forward(2)
    found = {
        scope: call(house, "hola", headers={"Authorization": f"Bearer {secret}"})
        for scope, secret in secrets.items()
    }
    assert {scope: response.status_code for scope, response in found.items()} == {
        "invoke": 200, "submit": 200, "view": 403, "worker": 403,
    }  # fmt: skip
    assert "authorization" not in headers_of(found["invoke"].json)
    without = call(house, "hola")
    assert (without.status_code, without.json["code"]) == (401, "UNAUTHORIZED")
    assert without.headers["WWW-Authenticate"].startswith("Bearer")


def test_functions_can_be_open_to_everybody(tmp_path, upstream: Upstream):
    house = House(tmp_path, settings={"functions_open": True})
    route(house, "hola", upstream.url)
    create_token(house.services.database, "t", "admin", house.clock())
    assert told(house, "hola", headers={"Origin": "http://elsewhere", "Host": "example.org"})["method"] == "GET"
    house.call("GET", "/memory/functions/list", status=401)
    house.close()


def test_a_page_from_elsewhere_calls_nothing_while_there_are_no_tokens(house: House, upstream: Upstream):
    route(house, "hola", upstream.url)
    assert call(house, "hola", headers={"Origin": "http://elsewhere"}).status_code == 403


# What is counted


def test_calls_and_their_failures_are_counted_by_revision(house: House, upstream: Upstream):
    route(house, "hola", upstream.url)
    call(house, "hola")
    call(house, "hola/status/500")
    call(house, "nobody")
    counted = house.services.calls.read("hola", "default")
    assert counted is not None
    assert (counted.calls, counted.errors, counted.jobs) == (2, 1, 0)
    assert len(house.services.calls.figures()) == 1


def test_prometheus_is_told_how_functions_do(house: House, upstream: Upstream):
    route(house, "hola", upstream.url)
    call(house, "hola")
    call(house, "hola/status/503")
    lines = house.fetch("/metrics").text.splitlines()
    labels = '{function="hola",revision="default"}'
    assert f"piecework_function_calls_total{labels} 2.0" in lines
    assert f"piecework_function_errors_total{labels} 1.0" in lines
    assert f"piecework_function_jobs_total{labels} 0.0" in lines
    [p99] = [line for line in lines if 'quantile="0.99"' in line]
    assert 0 < float(p99.rpartition(" ")[2]) < 10


def test_what_is_no_longer_routed_to_is_forgotten(house: House, upstream: Upstream):
    route(house, "hola", upstream.url)
    route(house, "hey", upstream.url)
    call(house, "hola")
    house.services.functions.remove("hola")
    call(house, "hey")
    assert house.services.calls.read("hola", "default") is None


def test_other_paths_reach_the_app(house: House):
    assert house.call("GET", "/ping")["message"] == "pong"
    assert house.client.get("/functionsx/hola").status_code == 404
