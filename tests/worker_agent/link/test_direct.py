"""Large blobs that agents store in S3 and get from there by themselves, and through the server elsewhere."""

import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from patience import LONG_S
from s3_server import BUCKET, S3Server
from structlog.testing import capture_logs

from piecework import Client
from piecework.client import ServerUnreachable, TooLarge
from piecework.client.transport import Transport
from piecework.http.answers import Broken
from piecework.local import LocalServer
from piecework.protocol.messages import DIRECT_LEAST_BYTES
from piecework.worker_agent.link import direct
from piecework.worker_agent.link.direct import OFF_S, DirectClient, DirectError, DirectWay

pytestmark = pytest.mark.integration
LARGE = os.urandom(3 * DIRECT_LEAST_BYTES + 17)
SHA = hashlib.sha256(LARGE).hexdigest()


@pytest.fixture(scope="module")
def server(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    environ = s3_server.environ | {
        "PIECEWORK_BLOBS": f"s3://{BUCKET}/direct", "PIECEWORK_BLOBS_DIRECT": "true",
        "PIECEWORK_BLOB_MAX_BYTES": "20000000",
    }  # fmt: skip
    with LocalServer(tmp_path_factory.mktemp("server"), environ=environ) as server:
        yield server


@pytest.fixture
def client(server: LocalServer) -> Iterator[DirectClient]:
    client = DirectClient(server.url, attempts=1)
    yield client
    client.close()


@pytest.fixture
def through_server(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of requests whose bytes went through the server."""
    seen: list[str] = []
    send, open_ = Transport.send_stream, Transport.open_stream

    def note_upload(self, request, *body):
        seen.append("POST")
        return send(self, request, *body)

    def note_download(self, request):
        seen.append("GET")
        return open_(self, request)

    monkeypatch.setattr(Transport, "send_stream", note_upload)
    monkeypatch.setattr(Transport, "open_stream", note_download)
    return seen


@pytest.mark.parametrize("kind", ["bytes", "path", "file"])
def test_a_large_blob_takes_the_way_to_s3_and_back(
    server: LocalServer, client: DirectClient, tmp_path: Path, through_server: list[str], kind: str
):
    content = LARGE + kind.encode()
    (tmp_path / "source").write_bytes(content)
    source = {"bytes": content, "path": tmp_path / "source", "file": io.BytesIO(b"skipped" + content)}[kind]
    if isinstance(source, io.BytesIO):
        source.seek(len(b"skipped"))
    stored = client.upload(source)
    assert stored.checksum == hashlib.sha256(content).hexdigest()
    assert client.download(stored.id, tmp_path / "target", checksum=stored.checksum) == len(content)
    assert (tmp_path / "target").read_bytes() == content
    assert through_server == []
    with Client(server.url) as plain:
        assert plain.read(stored.id) == content
        assert plain.data(stored.id).size == len(content)


def test_a_small_blob_goes_through_the_server(client: DirectClient, tmp_path: Path, through_server: list[str]):
    content = LARGE[: DIRECT_LEAST_BYTES - 1]
    stored = client.upload(content)
    client.download(stored.id, tmp_path / "target", checksum=stored.checksum)
    assert ((tmp_path / "target").read_bytes(), through_server) == (content, ["POST", "GET"])


def test_while_s3_cannot_be_reached_blobs_go_through_the_server(
    client: DirectClient, tmp_path: Path, through_server: list[str], monkeypatch: pytest.MonkeyPatch
):
    def refuse(_):
        raise Broken("connection refused")

    now = [0.0]
    client.way = DirectWay(lambda: now[0])
    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(direct, "_connect", refuse)
        for _ in range(2):
            stored = client.upload(LARGE)
            client.download(stored.id, tmp_path / "target", checksum=SHA)
            assert (tmp_path / "target").read_bytes() == LARGE
    assert [line["reason"] for line in logs] == ["127.0.0.1: connection refused"]
    assert through_server == ["POST", "GET"] * 2
    now[0] += OFF_S
    client.upload(LARGE)
    assert len(through_server) == 4


def test_a_url_takes_the_bytes_of_its_digest_and_no_others(client: DirectClient, s3_server: S3Server):
    found = client.upload_direct(hashlib.sha256(b"others").hexdigest(), len(LARGE))
    told = dict(line.split(": ") for line in found.headers)
    for content, headers in ((LARGE, told), (LARGE[1:], told), (LARGE, {})):
        assert requests.put(found.url, content, headers=headers, timeout=LONG_S).status_code in {400, 403}
    assert not client.upload_direct(hashlib.sha256(b"others").hexdigest(), len(LARGE)).id


def test_bytes_that_changed_in_s3_are_fetched_through_the_server_which_tells_it(
    client: DirectClient, s3_server: S3Server, tmp_path: Path
):
    content = LARGE + b"changed"
    stored = client.upload(content)
    key = f"direct/{stored.checksum[:2]}/{stored.checksum}"
    s3_server.client.put_object(Bucket=BUCKET, Key=key, Body=content[:-1] + b"?")
    with capture_logs() as logs, pytest.raises(ServerUnreachable, match="broke off"):
        client.download(stored.id, tmp_path / "target", checksum=stored.checksum)
    assert [line["reason"] for line in logs] == ["S3 gave other bytes than those of the blob"]
    assert "X-Amz" not in str(logs)


def test_a_blob_above_the_limit_is_refused_before_it_is_sent(client: DirectClient):
    with pytest.raises(TooLarge, match="20000000"):
        client.upload(bytes(20_000_001))


@pytest.mark.parametrize("checksum", ["", "x" * 64, "AB" * 32, "ab" * 31])
def test_what_is_no_digest_is_refused(server: LocalServer, checksum: str):
    reply = requests.post(
        f"{server.url}/data/direct", json={"checksum": checksum, "size": 5000000}, timeout=LONG_S
    )
    assert (reply.status_code, "checksum" in reply.json()["message"]) == (422, True)


def test_a_server_that_does_not_allow_it_is_asked_once(
    tmp_path: Path, through_server: list[str], monkeypatch: pytest.MonkeyPatch
):
    with LocalServer(tmp_path) as server, DirectClient(server.url, attempts=1) as client:
        asked = []
        ask = DirectWay.ask

        def note(way, question):
            asked.append(way.is_open)
            return ask(way, question)

        monkeypatch.setattr(DirectWay, "ask", note)
        for _ in range(2):
            stored = client.upload(LARGE)
            client.download(stored.id, tmp_path / "target", checksum=SHA)
        assert (asked.count(True), through_server) == (1, ["POST", "GET"] * 2)


def test_a_server_of_before_is_asked_once(client: DirectClient):
    reply = requests.get(f"{client.url}/data/no/direct", timeout=LONG_S)
    assert reply.status_code in {400, 404}
    way = DirectWay(lambda: 0.0)

    def ask():
        raise direct.ApiError(404, direct.Code.NO_SUCH_PATH, "there is nothing at /data/direct")

    assert way.ask(ask) is None
    assert not way.is_open


def test_urls_that_no_request_can_have_are_refused(tmp_path: Path):
    for url in ("ftp://127.0.0.1/x", "http://127.0.0.1:9/a b", "http://127.0.0.1:9/x"):
        with pytest.raises(DirectError):
            direct.fetch(url, tmp_path / "target", SHA, lambda _: None)
