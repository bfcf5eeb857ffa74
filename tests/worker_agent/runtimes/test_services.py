"""What guests reach outside: who may, where to, how much, and that every wait ends when the call must."""

import json
import os
import socket
import ssl
import threading
import time
from contextlib import contextmanager, suppress

import pytest
import trustme
from patience import PATIENCE_S
from redis_server import PASSWORD, run_redis

from piecework.http.exchange import Request
from piecework.protocol.messages import Grants
from piecework.worker_agent.runtimes import services as house
from piecework.worker_agent.runtimes.services import (
    DeniedError,
    GuestServices,
    ServiceError,
    files,
    line,
    outbound,
)
from piecework.worker_agent.runtimes.services.access import (
    CouchbaseServer,
    NodeRules,
    Permissions,
    RedisServer,
    SharedDir,
)
from piecework.worker_agent.runtimes.services.store import MemoryStore
from piecework.worker_agent.runtimes.stopping import StoppedError, StopReason, StopSignal


@contextmanager
def serving(answer, *, times=1):
    """Yield the port of a server that reads once from each connection and answers with these bytes.

    None: it accepts and never answers.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = []

        def serve():
            for _ in range(times):
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                taken.append(connection)
                if answer is not None:
                    connection.recv(65_536)
                    # Closing with something unread would break the connection before the answer is read.
                    connection.settimeout(5)
                    with suppress(OSError):  # whoever does not like the answer hangs up
                        connection.sendall(answer)
                        connection.shutdown(socket.SHUT_WR)
                        while connection.recv(65_536):
                            pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in taken:
                connection.close()


def open_services(*entries, stop=None, **rules):
    grants = Grants(http=list(entries), redis=True, files="write")
    return GuestServices(Permissions(grants, NodeRules(http=entries, **rules)), stop or StopSignal())


def fetch(port, stop=None, uri=None, **fields):
    where = f"127.0.0.1:{port}"
    with open_services(where, "127.0.0.1/32", stop=stop) as services:
        return services.fetch(Request(uri=uri or f"http://{where}/", **fields))


@pytest.mark.parametrize(
    ("entry", "host", "port", "allowed"),
    [
        ("example.com", "example.com", 443, True),
        ("Example.com", "example.com", 80, True),
        ("example.com", "example.com", 8080, False),
        ("example.com:8080", "example.com", 8080, True),
        ("example.com:8080", "example.com", 80, False),
        ("example.com", "www.example.com", 80, False),
        ("example.com", "evil-example.com", 80, False),
        ("*", "any.where", 443, True),
        ("*", "any.where", 22, False),
        ("*:22", "any.where", 22, True),
        ("[::1]:80", "::1", 80, True),
    ],
)
def test_lists_of_hosts(entry, host, port, allowed):
    both = Permissions(Grants(http=[entry]), NodeRules(http=(entry,)))
    only_granted = Permissions(Grants(http=[entry]))
    only_allowed = Permissions(node=NodeRules(http=(entry,)))
    for access, fine in ((both, allowed), (only_granted, False), (only_allowed, False)):
        if fine:
            access.check_http(host, port)
        else:
            with pytest.raises(DeniedError):
                access.check_http(host, port)


def test_who_is_operator_and_author_at_once_hears_of_no_grants():
    share = SharedDir("/srv", "/maps")
    access = Permissions(
        Grants(http=["a.test"], dirs=["/maps"]), NodeRules(("a.test",), dirs=(share,), grants_all=True)
    )
    for use, advice in (
        (lambda: access.check_http("b.test", 81), "allows HTTP to b.test:81; --allow-http b.test:81 would"),
        (lambda: access.check_address("a.test", "10.0.0.1"), "nothing allows that; --allow-http 10.0.0.1 would"),
        (access.get_redis, "nothing allows Redis; --allow-redis HOST would"),
        (access.get_couchbase, "nothing allows Couchbase; --allow-couchbase HOST would"),
        (lambda: access.find_folder(b"note"), "nothing allows reading files; --allow-files DIR would"),
        (lambda: access.find_folder(b"/maps/a", write=True), "--allow-dir DIR=/maps:rw would allow it"),
    ):
        with pytest.raises(DeniedError) as denied:
            use()
        assert str(denied.value).endswith(advice)
        assert "grant" not in str(denied.value)


def test_name_that_leads_to_this_machine_is_denied(monkeypatch):
    with open_services("public.example") as services:
        for address in ("127.0.0.1", "169.254.169.254", "10.0.0.1"):
            found = [(socket.AF_INET, 1, 6, "", ("93.184.216.34", 80)), (socket.AF_INET, 1, 6, "", (address, 80))]
            monkeypatch.setattr(line, "getaddrinfo", lambda *_, found=found, **__: found)
            with pytest.raises(DeniedError, match=f"public.example is at {address}, which is not public"):
                services.fetch(Request(uri="http://public.example/"))


def test_checked_address_is_the_one_that_is_used(monkeypatch):
    asked, real = [], line.getaddrinfo

    def resolve(host, port, **_):
        asked.append(host)
        return real("127.0.0.1", port, type=socket.SOCK_STREAM)

    with serving(b"HTTP/1.1 200 OK\r\n\r\nhi") as port:
        monkeypatch.setattr(line, "getaddrinfo", resolve)
        with open_services(f"name.example:{port}", "127.0.0.0/8") as services:
            assert services.fetch(Request(uri=f"http://name.example:{port}/")).body == b"hi"
    assert asked == ["name.example"]


@pytest.mark.parametrize(
    "uri",
    [
        "ftp://a/",
        "file:///etc/passwd",
        "http://",
        "http://user@127.0.0.1/",
        "http://a:99999/",
        "http://[::1%25x]/",
        "x",
    ],
)
def test_what_is_no_url_of_the_web_is_refused(uri):
    with open_services("*") as services, pytest.raises(ServiceError, match="URL"):
        services.fetch(Request(uri=uri))


@pytest.mark.parametrize(
    "fields",
    [
        {"method": "GET / HTTP/1.1\r\nX:"},
        {"headers": (("X", "a\r\nHost: evil"),)},
        {"headers": (("X\r\nEvil: 1\r\nY", "a"),)},
    ],
)
def test_request_cannot_be_split_into_two(fields):
    with serving(b"") as port, pytest.raises(ServiceError, match=r"no HTTP method|failed"):
        fetch(port, **fields)


@pytest.mark.parametrize("method", ["", "GET /", "GET ", "G\0T", "GÉT", "(GET)"])
def test_what_is_no_method_is_not_sent(method):
    with serving(b"") as port, pytest.raises(ServiceError, match="is no HTTP method"):
        fetch(port, method=method)


def test_guests_headers_do_not_change_where_a_request_goes():
    with serving(b"HTTP/1.1 204 No Content\r\n\r\n") as port:
        assert fetch(port, headers=(("Host", "evil"), ("Transfer-Encoding", "chunked"))).status == 204


def test_answer_that_is_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(house, "ANSWER_BYTES", 10)
    for body, fits in ((b"0123456789", True), (b"0123456789a", False)):
        with serving(b"HTTP/1.1 200 OK\r\n\r\n" + body) as port:
            if fits:
                assert fetch(port).body == body
            else:
                with pytest.raises(ServiceError, match="more than 10 bytes"):
                    fetch(port)


def test_redirects_end(monkeypatch):
    monkeypatch.setattr(outbound, "REDIRECTS_MAX", 2)
    redirect = b"HTTP/1.1 302 Found\r\nLocation: /again\r\n\r\n"
    with serving(redirect, times=3) as port, pytest.raises(ServiceError, match="more than 2 redirects"):
        fetch(port)


def test_redirect_to_another_host_does_not_get_secrets():
    request = Request("POST", "http://a.example/", (("Authorization", "x"), ("Accept", "y")), b"body")
    target = outbound._parse(request.uri)
    away = outbound._follow(request, target, 302, "http://b.example/")
    assert (away.method, away.headers, away.body) == ("GET", (("Accept", "y"),), b"")
    assert outbound._follow(request, target, 307, "/there") == request._replace(uri="http://a.example/there")


@contextmanager
def serving_tls(certificate, answer):
    """Yield the port of a server that proves with a certificate who it is, and answers one request."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            # Whoever does not trust the certificate hangs up.
            with connection, suppress(OSError), context.wrap_socket(connection, server_side=True) as secured:
                secured.recv(65_536)
                secured.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


@pytest.mark.parametrize(
    ("named", "trusted", "complaint"),
    [
        ("127.0.0.1", True, None),
        ("other.example", True, "certificate"),
        ("127.0.0.1", False, "certificate"),
    ],
)
def test_https_is_for_hosts_that_prove_who_they_are(monkeypatch, named, trusted, complaint):
    authority, context = trustme.CA(), ssl.create_default_context()
    if trusted:
        authority.configure_trust(context)
    monkeypatch.setattr(outbound, "_make_context", lambda: context)
    with serving_tls(authority.issue_cert(named), b"HTTP/1.1 200 OK\r\n\r\nhello") as port:
        uri = f"https://127.0.0.1:{port}/"
        if complaint is None:
            assert fetch(port, uri=uri).body == b"hello"
        else:
            with pytest.raises(ServiceError, match=complaint):
                fetch(port, uri=uri)


def test_tls_is_spoken_to_https():
    with serving(b"HTTP/1.1 200 OK\r\n\r\n") as port, pytest.raises(ServiceError, match="connection broke"):
        fetch(port, uri=f"https://127.0.0.1:{port}/")


@pytest.mark.slow
@pytest.mark.parametrize("ask", ["http", "https", "redis", "query"])
def test_wait_for_somebody_who_is_silent_ends_with_the_call(ask):
    stop = StopSignal()
    timer = threading.Timer(0.1, stop.stop, [StopReason.TIMEOUT])
    with serving(None) as port:
        rules = {"redis": RedisServer("127.0.0.1", port), "couchbase": CouchbaseServer("127.0.0.1", port)}
        services = open_services(f"127.0.0.1:{port}", "127.0.0.1/32", stop=stop, **rules)
        act = {
            "http": lambda: services.fetch(Request(uri=f"http://127.0.0.1:{port}/")),
            "https": lambda: services.fetch(Request(uri=f"https://127.0.0.1:{port}/")),
            "redis": lambda: services.redis.get(b"key"),
            "query": lambda: services.query(b"select 1"),
        }[ask]
        timer.start()
        started = time.monotonic()
        with services, pytest.raises(StoppedError):
            act()
        assert time.monotonic() - started < PATIENCE_S
    timer.join()


def test_wait_for_a_resolver_ends_with_the_call(monkeypatch):
    stop, done = StopSignal(), threading.Event()
    monkeypatch.setattr(line, "getaddrinfo", lambda *_, **__: done.wait(10) and [])
    stop.stop(StopReason.TIMEOUT)
    with open_services("a.example", stop=stop) as services, pytest.raises(StoppedError):
        services.fetch(Request(uri="http://a.example/"))
    done.set()


def test_patience_ends():
    with pytest.raises(ServiceError, match="no answer within 0 s"):
        line.RequestDeadline(StopSignal(), 0).look()


@pytest.fixture(scope="module")
def valkey(tmp_path_factory):
    """Yield the port of a real server that wants a password."""
    with run_redis(tmp_path_factory.mktemp("valkey")) as port:
        yield port


def test_redis_keeps_what_it_is_given(valkey):
    with open_services(redis=RedisServer("127.0.0.1", valkey, PASSWORD, 3)) as services:
        redis = services.redis
        assert redis.get(b"none") is None
        for key, value in {b"a:1": b"", b"a:2": b"\r\n\0" * 100_000, b"b": "ça".encode()}.items():
            redis.set(key, value)
            assert redis.get(key) == value
        assert redis.find_keys(b"a:*") == [b"a:1", b"a:2"]
        redis.delete(b"a:1")
        assert redis.find_keys(b"*") == [b"a:2", b"b"]


def test_redis_that_refuses_is_an_error_without_the_password(valkey):
    with open_services(redis=RedisServer("127.0.0.1", valkey, "wrong")) as services:
        with pytest.raises(ServiceError, match="Redis: WRONGPASS") as caught:
            services.redis.get(b"a")
        assert "wrong" not in repr(services._access).lower().replace("wrongpass", "")
        assert "wrong " not in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        b"?\r\n",
        b"$5\r\nab",
        b"$99999999999\r\n",
        b"*99999999\r\n",
        b"$x\r\n",
        b"",
        b"*1\r\n" * 20,
        b"$-5" * 40_000,
    ],
)
def test_redis_that_talks_nonsense_is_an_error(answer):
    with (
        serving(answer) as port,
        open_services(redis=RedisServer("127.0.0.1", port)) as services,
        pytest.raises(ServiceError),
    ):
        services.redis.get(b"a")


def query(answer, **grants):
    body = json.dumps(answer).encode() if not isinstance(answer, bytes) else answer
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with serving(reply) as port:
        rules = NodeRules(couchbase=CouchbaseServer("127.0.0.1", port, user="u", password="p"))
        granted = Grants(http=grants.get("http", [f"127.0.0.1:{port}"]))
        with GuestServices(Permissions(granted, rules), StopSignal()) as services:
            return services.query(b"select 1")


def test_couchbase_gives_rows_or_says_what_is_wrong():
    assert query({"status": "success", "results": [{"a": 1}]}) == b'[{"a": 1}]'
    with pytest.raises(ServiceError, match="Couchbase: no such bucket"):
        query({"status": "fatal", "errors": [{"code": 1, "msg": "no such bucket"}]})
    with pytest.raises(ServiceError, match="no JSON"):
        query(b"<html>")


def test_couchbase_needs_a_grant_for_its_host():
    with pytest.raises(DeniedError, match="no grant for HTTP"):
        Permissions(Grants(), NodeRules(couchbase=CouchbaseServer("db"))).get_couchbase()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(tmp_path / "secret")
    (inside / "out").symlink_to(tmp_path)
    (inside / "sub").mkdir()
    os.mkfifo(inside / "pipe")
    return inside


@pytest.mark.parametrize(
    "path",
    [b"../secret", b"sub/../../secret", b"/etc/passwd", b"link", b"out/secret", b"pipe", b"sub", b"", b".",
     b"a\0b", b"\xff", b"x" * 300, b"none", b"none/none"],
)  # fmt: skip
def test_no_path_leads_out_of_the_private_folder(folder, path):
    with pytest.raises(ServiceError):
        files.read_file(str(folder), path, 100)


@pytest.mark.parametrize("path", [b"../new", b"/tmp/new", b"out/new", b"sub", b"", b"x" * 300])
def test_nothing_is_written_outside_of_the_private_folder(folder, path):
    with pytest.raises(ServiceError):
        files.write_file(folder, path, b"x")
    assert {each.name for each in folder.parent.iterdir()} == {"secret", "inside"}
    assert not [each for each in folder.iterdir() if each.name.endswith(".part")]


def test_link_is_replaced_not_followed(folder):
    files.write_file(folder, b"link", b"mine")
    assert files.read_file(str(folder), b"link", 100) == b"mine"
    assert (folder.parent / "secret").read_bytes() == b"secret"


def test_private_folder_has_an_end(folder, monkeypatch):
    monkeypatch.setattr(files, "FOLDER_BYTES", 1000)
    with pytest.raises(ServiceError, match="full"):
        files.write_file(folder, b"large", b"x" * 1001)
    monkeypatch.setattr(files, "FOLDER_FILES", 4)
    with pytest.raises(ServiceError, match="full"):
        [files.write_file(folder, b"%d" % number, b"") for number in range(5)]


def test_file_that_is_too_large_to_be_an_answer_is_refused(folder):
    files.write_file(folder, b"four", b"1234")
    assert files.read_file(str(folder), b"four", 4) == b"1234"
    with pytest.raises(ServiceError, match="more than 3 bytes"):
        files.read_file(str(folder), b"four", 3)


def test_memory_store_has_an_end_and_counts_what_leaves():
    store = MemoryStore()
    value = b"x" * (8 * 1024 * 1024 - 500)
    store.set(b"a", value)
    store.set(b"b", value)
    with pytest.raises(ServiceError, match="full"):
        store.set(b"c", value)
    store.set(b"a", value)
    store.delete(b"a")
    store.delete(b"a")
    store.set(b"c", value)
    assert store.find_keys(b"*") == [b"b", b"c"]
    with pytest.raises(ServiceError, match="pattern"):
        store.find_keys(b"*" * 2000)
