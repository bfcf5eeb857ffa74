"""Bodies that break off and headers that look alike, at every door, over real sockets."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest
from served import ServedFunction
from sockets import chunked, request, say
from upstreams import Upstream

from piecework import Client
from piecework.local import LocalServer

pytestmark = pytest.mark.integration

SAMPLES = Path(__file__).parents[2] / "samples"
ECHO = (SAMPLES / "echo.wasm").read_bytes()
CHUNKED = "Transfer-Encoding: chunked"
PIECE = chunked(b"piece", end=b"")
CUT = {
    "cut between chunks": (PIECE, True),
    "cut inside a chunk": (PIECE + b"9\r\nab", True),
    "cut before the last line": (PIECE + b"0\r\n", True),
    "no number": (PIECE + b"zz\r\n", False),
    "more than it says": (b"2\r\nabcd\r\n0\r\n\r\n", False),
}
"""Bodies, and whether the sender leaves then."""
TELLS = SAMPLES / "capsule_g3.wasm"
"""Answers with the headers that it got in one of its lines."""


class Upload(NamedTuple):
    """A request that has a body."""

    path: str
    kind: str
    body: bytes


def multipart(content: bytes) -> bytes:
    head = b'--cut\r\nContent-Disposition: form-data; name="file"; filename="x.wasm"\r\n\r\n'
    return head + content + b"\r\n--cut--\r\n"


UPLOADS = {
    "octets": Upload("/data", "application/octet-stream", b"some bytes"),
    "a large file": Upload("/data", "application/octet-stream", b"x" * 1_000_000),
    "multipart": Upload("/data", "multipart/form-data; boundary=cut", multipart(b"some bytes")),
    "module": Upload("/registry/upload/k33g/NAME/0.0.1", "multipart/form-data; boundary=cut", multipart(ECHO)),
    "json": Upload("/lambda", "application/json", b'{"codex": "0", "runtime": "x"}'),
    "route": Upload("/memory/functions/registration", "", b'{"function": "NAME", "url": "http://127.0.0.1:1"}'),
}


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    with LocalServer(tmp_path_factory.mktemp("proxy"), part="proxy") as proxy:
        yield proxy


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedFunction]:
    with ServedFunction(tmp_path_factory.mktemp("served"), TELLS, "--processes", "1") as served:
        yield served


def count_all(server: LocalServer, client: Client) -> list[int]:
    """Count what a server keeps: blobs by their rows, and by their files, also those that only come in."""
    with closing(sqlite3.connect(server.data / "piecework.db")) as database:
        [(blobs,)] = database.execute("SELECT count(*) FROM blobs")
    files = sum(path.is_file() for path in (server.data / "blobs").rglob("*"))
    return [len(list(client.lambdas())), len(list(client.modules())), len(client.functions()), blobs, files]


@pytest.mark.parametrize("upload", UPLOADS.values(), ids=UPLOADS)
@pytest.mark.parametrize(("broken", "leaves"), CUT.values(), ids=CUT)
def test_a_body_that_breaks_off_is_refused_and_not_stored(
    server: LocalServer, client: Client, upload: Upload, broken: bytes, leaves: bool
):
    before = count_all(server, client)
    body = chunked(upload.body, end=broken)
    sent = request("POST", upload.path, body, CHUNKED, f"Content-Type: {upload.kind}")
    status, told = say(server.port, sent, hang_up=leaves)
    assert (status, json.loads(told).get("status", "error")) == (400, "error")
    assert count_all(server, client) == before
    log = server.log.read_text()
    assert "bug" not in log
    assert "Traceback" not in log


@pytest.mark.parametrize("name", UPLOADS)
def test_a_body_in_chunks_that_is_whole_is_taken(server: LocalServer, client: Client, name: str):
    before = count_all(server, client)
    upload = UPLOADS[name]
    half = len(upload.body) // 2
    for number, end in enumerate([b"0\r\n\r\n", b"0\r\nX-Trailer: 1\r\n\r\n"]):
        body = chunked(upload.body[:half], upload.body[half:], end=end).replace(b"NAME", b"n%03d" % number)
        path = upload.path.replace("NAME", f"chunks{number}")
        sent = request("POST", path, body, CHUNKED, f"Content-Type: {upload.kind}")
        assert say(server.port, sent)[0] in {200, 202}
    assert count_all(server, client) != before


def test_a_body_shorter_than_its_length_is_refused(server: LocalServer):
    sent = request("POST", "/lambda", b'{"codex": "0"', "Content-Length: 40")
    assert say(server.port, sent, hang_up=True)[0] in {0, 400}  # who left hears nothing
    assert "bug" not in server.log.read_text()


@pytest.mark.parametrize("door", ["server", "proxy"])
def test_a_call_whose_body_breaks_off_does_not_reach_its_end(
    request: pytest.FixtureRequest, upstream: Upstream, door: str
):
    port = request.getfixturevalue(door).port
    register(port, f"cut{door}", upstream.url)
    for broken, leaves in CUT.values():
        sent = write("POST", f"/functions/cut{door}", chunked(b"x", end=broken), CHUNKED)
        status, told = say(port, sent, hang_up=leaves)
        assert (status, b"BODY_BROKEN" in told or b"LEFT" in told) in {(400, True), (499, True)}


def test_a_call_of_a_served_function_whose_body_breaks_off_is_refused(served: ServedFunction):
    for broken, leaves in CUT.values():
        status, told = say(served.port, request("POST", "/", chunked(b"x", end=broken), CHUNKED), hang_up=leaves)
        assert (status, b"it broke off" in told) == (400, True)
    assert say(served.port, request("POST", "/", chunked(b"x"), CHUNKED))[0] == 200


def headers_of(served: ServedFunction, *headers: str) -> list[str]:
    """Return the headers that the function got, of those that a test is about."""
    _, told = say(served.port, request("GET", "/", b"", *headers))
    return sorted(each for each in told.decode().split("\n")[2].split("³") if "Auth" in each or "Other" in each)


ALIKE = ("X-Auth-User: alice", "X_Auth_User: admin", "X_Other: b")


@pytest.mark.parametrize("door", ["server", "proxy"])
@pytest.mark.parametrize("order", [ALIKE, ALIKE[::-1]])
def test_no_header_passes_for_one_with_hyphens_on_its_way(
    request: pytest.FixtureRequest, upstream: Upstream, door: str, order: tuple[str, ...]
):
    port = request.getfixturevalue(door).port
    register(port, f"alike{door}", upstream.url)
    _, told = say(port, write("GET", f"/functions/alike{door}", b"", *order))
    found = [header for header in json.loads(told)["headers"] if "auth" in header[0] or "other" in header[0]]
    assert found == [["x-auth-user", "alice"]]


@pytest.mark.parametrize("order", [ALIKE, ALIKE[::-1]])
def test_no_header_passes_for_one_with_hyphens_in_a_function(served: ServedFunction, order: tuple[str, ...]):
    assert headers_of(served, *order) == ["X-Auth-User:alice"]


def test_headers_with_underscores_are_kept_when_asked_for(tmp_path: Path, upstream: Upstream):
    with ServedFunction(tmp_path, TELLS, "--processes", "1", "--underscore-headers") as served:
        assert headers_of(served, *ALIKE) == ["X-Auth-User:alice", "X_Auth_User:admin", "X_Other:b"]
    with LocalServer(tmp_path / "server", environ={"PIECEWORK_UNDERSCORE_HEADERS": "1"}) as server:
        register(server.port, "hola", upstream.url)
        _, told = say(server.port, request("GET", "/functions/hola", b"", *ALIKE))
        assert ["x_auth_user", "admin"] in json.loads(told)["headers"]


def test_a_path_and_bytes_of_headers_pass_as_they_were_sent(server: LocalServer, upstream: Upstream):
    register(server.port, "raw", upstream.url)
    _, told = say(server.port, request("GET", "/functions/raw/a%2Fb%00;c", b"", "X-Name: \xc3\xa9"))
    found = json.loads(told)
    assert found["path"] == "/a%2Fb%00;c"
    assert ["x-name", "\xc3\xa9"] in found["headers"]


HOSTS = {
    "two": ["Host: a.test", "Host: b.test"],
    "the same twice": ["Host: a.test", "Host: a.test"],
    "none": [],
    "no host": ["Host: a.test/path"],
}


@pytest.mark.parametrize("door", ["server", "proxy", "served"])
@pytest.mark.parametrize("hosts", HOSTS.values(), ids=HOSTS)
def test_a_request_that_does_not_name_one_host_is_refused(
    request: pytest.FixtureRequest, door: str, hosts: list[str]
):
    port = request.getfixturevalue(door).port
    for path in ("/ping", "/functions/hola"):
        for version, names in (("1.1", hosts), ("1.0", hosts or ["Host: a b"])):
            lines = [f"GET {path} HTTP/{version}", "Connection: close", *names, "", ""]
            status, told = say(port, "\r\n".join(lines).encode())
            assert (status, "one Host header" in told.decode()) == (400, True)


def test_an_old_request_without_a_host_is_answered(
    server: LocalServer, proxy: LocalServer, served: ServedFunction
):
    for door in (server, proxy, served):
        assert say(door.port, b"GET /ping HTTP/1.0\r\n\r\n")[0] == 200


def register(port: int, function: str, url: str) -> None:
    body = json.dumps({"function": function, "url": url}).encode()
    sent = write("POST", "/memory/functions/registration", body, f"Content-Length: {len(body)}")
    assert say(port, sent)[0] in {202, 409}


write = request
"""Under another name, for tests that have pytest's."""
