import multiprocessing
import queue
import ssl
import threading
from contextlib import suppress

import pytest
import trustme
from loop_client import LoopClient
from patience import LONG_S, PATIENCE_S
from raw_server import PONG, RawServer, http, pass_on, read_request, reset

from piecework.client import ApiError, BadReply, Client, ServerUnreachable, TooLarge
from piecework.client.transport import REFUSAL_BYTES, PreparedRequest
from piecework.http import sockets
from piecework.http.answers import Broken
from piecework.http.connections import Connection, ConnectionPool
from piecework.http.routes import CA_VARIABLES, find_route
from piecework.protocol import bodies
from piecework.protocol.ids import Id
from piecework.protocol.messages import WorkerRegister, WorkerRegistered

REGISTERED = bodies.encode(WorkerRegistered(id=Id(7), runtime=["wasi"]))
VARIABLES = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", *CA_VARIABLES]


@pytest.fixture(autouse=True, params=["Client", "AsyncClient"])
def _kind(request, monkeypatch):
    """Both clients keep the same promises."""
    if request.param == "AsyncClient":
        monkeypatch.setitem(globals(), "Client", LoopClient)


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def raw():
    server = RawServer()
    yield server
    server.close()


@pytest.fixture
def client(raw):
    with Client(raw.url, attempts=1) as client:
        yield client


@pytest.fixture(scope="session")
def authority():
    return trustme.CA()


@pytest.fixture
def trusted(authority, tmp_path, monkeypatch):
    """A file with the authority's certificate, which the environment names."""
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(file)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(file))
    return file


@pytest.fixture
def make_secure(authority):
    """Start servers with TLS, whose certificate is for ``name``."""
    servers = []

    def make(name="127.0.0.1"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(context)
        servers.append(RawServer(context))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


# Connections that are kept


def test_a_connection_that_was_closed_while_idle_costs_nothing(raw, client):
    raw.answer(http())
    raw.answer(http(REGISTERED))
    client.ping()
    raw.wait_until_closed()
    assert client.register(WorkerRegister()).id == 7, "it is not repeated, but it was never sent on the closed one"
    assert len(raw.requests) == 2


def test_a_connection_that_was_idle_for_long_is_not_used_again(raw, client, monkeypatch):
    monkeypatch.setattr("piecework.http.connections.IDLE_MAX_S", 0.0)
    raw.answer(http(), http(b'{"message": "where a firewall may have forgotten it"}'))
    raw.answer(http())
    assert [client.ping(), client.ping()] == ["pong", "pong"]


def test_a_connection_with_bytes_that_nobody_asked_for_is_not_used_again(raw, client):
    raw.answer(http() + http(b'{"message": "not yours"}'))
    raw.answer(http())
    assert [client.ping(), client.ping()] == ["pong", "pong"]


def test_a_server_that_says_it_closes_is_believed(raw, client):
    raw.answer(http(PONG, "Connection: close"), http(b'{"message": "too late"}'))
    raw.answer(http())
    assert [client.ping(), client.ping()] == ["pong", "pong"]


def test_a_request_that_did_not_get_out_is_sent_again_whatever_it_is(raw, client, monkeypatch):
    raw.answer(http(), reset)
    raw.answer(http(REGISTERED))
    client.ping()
    raw.wait_until_closed()
    monkeypatch.setattr(Connection, "is_alive", lambda self: True)  # the server hangs up just after the look
    assert client.register(WorkerRegister(name="x" * 10**7)).id == 7
    assert len(raw.requests) == 2


def test_a_request_that_may_have_got_through_is_not_sent_again_by_itself(raw, client):
    raw.answer(http(), lambda connection: read_request(connection) and reset(connection))
    client.ping()
    with pytest.raises(ServerUnreachable, match="connection reset by peer"):
        client.register(WorkerRegister())
    assert raw.script == []


def test_a_cut_is_felt_by_a_server_that_waits_for_room(raw):
    is_full, failures = threading.Event(), queue.SimpleQueue()

    def send_for_ever(connection):
        read_request(connection)
        connection.sendall(http(length=False))
        connection.settimeout(0)
        with suppress(BlockingIOError):
            while True:
                connection.send(bytes(1_000_000))
        is_full.set()
        connection.settimeout(PATIENCE_S)
        try:
            connection.sendall(bytes(100_000_000))
        except OSError as error:
            failures.put(type(error))

    raw.answer(send_for_ever)
    connection = ConnectionPool(find_route(raw.url)).open(PATIENCE_S)
    answer = connection.exchange(b"GET / HTTP/1.1\r\n\r\n", None, PATIENCE_S)
    assert is_full.wait(PATIENCE_S)
    connection.cut()
    with suppress(Broken):
        while not answer.complete:
            connection.receive(answer)
            answer.take()
    connection.close()
    assert failures.get(timeout=LONG_S) in {ConnectionResetError, BrokenPipeError}, "it does not time out"


@pytest.mark.parametrize(
    "_kind", ["Client"], indirect=True
)  # nobody can use an event loop on both sides of a fork
def test_a_forked_process_leaves_the_connections_of_its_parent_alone(raw, client):
    raw.answer(http(), http())
    raw.answer(http())
    client.ping()
    child = multiprocessing.get_context("fork").Process(target=client.ping)
    child.start()
    assert client.ping() == "pong"
    raw.wait_until_closed()
    child.join(10)
    assert child.exitcode == 0
    assert len(raw.requests) == 3


# Answers


@pytest.mark.parametrize(
    "answer",
    [
        http(PONG, "Connection: close", version="1.0", length=False),
        http(PONG, "Connection: close", length=False),
        http(b"13\r\n" + PONG + b"\r\n0\r\n\r\n", "Transfer-Encoding: chunked", length=False),
        b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n" + http(),
        b"HTTP/1.1 100 Continue\r\n\r\n" + http(),
    ],
)
def test_every_way_to_end_an_answer_is_understood(raw, client, answer):
    raw.answer(answer)
    assert client.ping() == "pong"


def test_an_answer_is_read_however_it_is_cut(raw, client):
    def dribble(connection):
        read_request(connection)
        for byte in http(PONG, status="200 All is well"):
            connection.sendall(bytes([byte]))

    raw.answer(dribble, http())
    assert [client.ping(), client.ping()] == ["pong", "pong"]


@pytest.mark.parametrize("cut", [0, 5, 30, -1])
def test_an_answer_that_is_cut_short_is_no_answer(raw, client, cut):
    raw.answer(http()[:cut])
    with pytest.raises(ServerUnreachable, match="the connection broke off"):
        client.ping()


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>hello</html>",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02\x16",
        http(PONG, "Content-Length: 3"),
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ],
)
def test_what_is_not_http_is_called_so(raw, client, answer):
    raw.answer(answer)
    with pytest.raises(BadReply, match="did not answer like a Piecework server: "):
        client.ping()


def test_headers_without_end_are_given_up(raw, client):
    raw.answer(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000)
    with pytest.raises(BadReply, match="its headers are longer than 65536 bytes"):
        client.ping()


def test_of_an_endless_error_page_only_the_start_is_read(raw, client):
    raw.answer(http(b"sorry" * REFUSAL_BYTES, status="500 Oops"))
    with pytest.raises(ApiError, match=r"/ping answered HTTP 500 Oops: sorrysorry"):
        client.ping()


def test_a_refusal_that_comes_before_the_whole_body_was_sent_is_read(raw, client):
    def refuse(connection):
        connection.recv(100)
        connection.sendall(http(b'{"code": 6, "message": "at most 5 bytes"}', status="413 Too large"))
        connection.shutdown(1)
        while connection.recv(65536):
            pass

    raw.answer(refuse)
    with pytest.raises(TooLarge, match="at most 5 bytes"):
        client.upload(b"x" * 10**7)


def test_a_file_that_cannot_be_read_is_no_fault_of_the_connection(raw, client):
    class Spoilt:
        def __len__(self):
            return 1000

        def __iter__(self):
            yield b"x"
            raise OSError(5, "Input/output error")

    raw.answer(read_request)
    with pytest.raises(OSError, match="Input/output error"):
        client.transport.send_stream(PreparedRequest("POST", "/data"), Spoilt(), "text/plain")


# TLS


def test_a_certificate_of_an_authority_that_the_environment_names_is_accepted(make_secure, trusted):
    secure = make_secure()
    secure.answer(http(), http())
    with Client(secure.url, "token", attempts=1) as client:
        assert [client.ping(), client.ping()] == ["pong", "pong"]
    assert b"Authorization: Bearer token\r\n" in secure.requests[0]
    assert f"Host: {secure.authority}\r\n".encode() in secure.requests[0]


def test_openssls_own_variable_is_heeded(make_secure, trusted, monkeypatch):
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    secure = make_secure()
    secure.answer(http())
    with Client(secure.url, attempts=1) as client:
        assert client.ping() == "pong"


def test_a_certificate_of_an_unknown_authority_is_refused_before_the_token_leaves(make_secure):
    secure = make_secure()
    secure.answer(http())
    with Client(secure.url, "token", attempts=1) as client, pytest.raises(ServerUnreachable) as caught:
        client.ping()
    assert "its certificate was not accepted: unable to get local issuer certificate" in str(caught.value)
    assert secure.requests == []


def test_a_certificate_for_another_host_is_refused(make_secure, trusted):
    secure = make_secure("elsewhere.example")
    secure.answer(http())
    with Client(secure.url, attempts=1) as client, pytest.raises(ServerUnreachable, match="certificate"):
        client.ping()
    assert secure.requests == []


def test_https_where_http_is_spoken_is_named(raw):
    raw.answer(lambda connection: connection.sendall(http(status="400 Bad request")))
    with (
        Client(raw.url.replace("http", "https"), attempts=1) as client,
        pytest.raises(ServerUnreachable, match=r"TLS failed: (wrong version number|record layer failure)"),
    ):
        client.ping()


@pytest.mark.parametrize(("content", "reason"), [(None, "no such file"), ("nonsense", "it has no certificates")])
def test_certificates_that_cannot_be_used_are_told_at_once(trusted, content, reason):
    trusted.unlink()
    if content:
        trusted.write_text(content)
    with pytest.raises(ValueError, match=rf"REQUESTS_CA_BUNDLE names .*authority\.pem, which .*: (?i:{reason})"):
        Client("https://127.0.0.1")


# Proxies


def test_a_proxy_of_the_environment_gets_the_whole_url_and_its_own_password(raw, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://me:p%40ss@{raw.authority}")
    raw.answer(http(), http())
    with Client("http://queue.example/base", "token", attempts=1) as client:
        assert client.ping() == "pong"
        assert "p%40ss" not in repr(vars(client.transport))
    assert raw.requests[0].startswith(b"GET http://queue.example/base/ping HTTP/1.1\r\nHost: queue.example\r\n")
    assert b"Proxy-Authorization: Basic bWU6cEBzcw==\r\n" in raw.requests[0]


@pytest.mark.parametrize("exempt", ["127.0.0.1", "*", "127.0.0.0/8", "example.com, 127.0.0.1"])
def test_a_host_that_needs_no_proxy_is_asked_directly(raw, monkeypatch, exempt):
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", exempt)
    raw.answer(http())
    with Client(raw.url, attempts=1) as client:
        assert client.ping() == "pong"


def test_tls_goes_through_a_proxy_in_a_tunnel(raw, make_secure, trusted, monkeypatch):
    secure = make_secure()
    secure.answer(http(), http())
    raw.answer(pass_on(("127.0.0.1", secure.port)))
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:pass@{raw.authority}")
    with Client(secure.url, "token", attempts=1) as client:
        assert [client.ping(), client.ping()] == ["pong", "pong"]
    assert all(b"Proxy-Authorization" not in request for request in secure.requests)


def test_a_proxy_that_opens_no_tunnel_is_quoted(raw, monkeypatch):
    raw.answer(http(b"", status="407 Proxy Authentication Required"))
    monkeypatch.setenv("HTTPS_PROXY", raw.authority)
    with (
        Client("https://queue.example", "token", attempts=1) as client,
        pytest.raises(
            ServerUnreachable, match=r"the proxy http:.* opened no tunnel: HTTP/1\.1 407 Proxy Authentication"
        ),
    ):
        client.ping()
    assert b"token" not in raw.requests[0]


@pytest.mark.parametrize("proxy", ["socks5://me:s3cret@127.0.0.1:1080", "https://127.0.0.1:1", "http://"])
def test_a_proxy_that_cannot_be_used_is_told_at_once(monkeypatch, proxy):
    monkeypatch.setenv("HTTP_PROXY", proxy)
    with pytest.raises(ValueError, match="a proxy for http whose URL does not begin with http://") as caught:
        Client("http://queue.example")
    assert "s3cret" not in str(caught.value)


def test_a_stored_blob_of_many_pieces_comes_whole(raw, client):
    data = bytes(range(256)) * 4096
    raw.answer(http(data))
    assert b"".join(client.stream(7)) == data


def test_a_name_is_looked_up_once_and_no_address_is_used_that_was_refused(raw, monkeypatch):
    found = sockets.look_up("127.0.0.1", raw.port, 1)
    private = [(*found[0][:4], ("127.0.0.2", raw.port))]
    answers, look_up = [found, [*found, *private]], sockets.look_up

    def find(host, *others):  # other threads of the tests look names up, too
        return answers.pop(0) if host == "two.invalid" else look_up(host, *others)

    monkeypatch.setattr(sockets, "look_up", find)
    asked = []

    def admit(address):
        asked.append(address)
        if address == "127.0.0.2":
            raise PermissionError(address)

    route = find_route(f"http://two.invalid:{raw.port}")
    raw.answer()
    sockets.open_socket(route, 5, admit=admit).close()
    raw.wait_until_closed()
    with pytest.raises(PermissionError):
        sockets.open_socket(route, 5, admit=admit)
    assert asked == ["127.0.0.1", "127.0.0.1", "127.0.0.2"]
    assert answers == []
