import hashlib
import io
import os
import re

import pytest
from loop_client import LoopClient

from piecework.client import BadReply, ChecksumMismatch, Client, Invalid, NotFound, ServerUnreachable
from piecework.client.uploads import CHUNK_BYTES, MultipartFile
from piecework.protocol.ids import Id
from piecework.protocol.messages import DataReply, ErrorReply, MessageReply

HELLO = b"hello"
HELLO_SHA = hashlib.sha256(HELLO).hexdigest()
STORED = DataReply(id=Id(7), checksum=HELLO_SHA)
ETAG = {"ETag": f'"{HELLO_SHA}"', "Content-Type": "application/octet-stream"}
NO_ETAG = {"Content-Type": "application/octet-stream"}


class Pipe(io.RawIOBase):
    """A source that can be read once, like standard input."""

    def __init__(self, data):
        self._rest = io.BytesIO(data)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self._rest.readinto(buffer)


@pytest.fixture(autouse=True, params=["Client", "AsyncClient"])
def _kind(request, monkeypatch):
    """Both clients keep the same promises."""
    if request.param == "AsyncClient":
        monkeypatch.setitem(globals(), "Client", LoopClient)


@pytest.fixture
def client(script):
    with Client(script.url, attempts=3) as client:
        yield client


def read_part(seen):
    """Return the content of the one part of a multipart body, after checking what is around it."""
    boundary = re.fullmatch("multipart/form-data; boundary=(.+)", seen.headers["Content-Type"]).group(1)
    head, _, rest = seen.body.partition(b"\r\n\r\n")
    assert head.startswith(b"--" + boundary.encode() + b"\r\n")
    assert b'name="file"' in head
    end = b"\r\n--" + boundary.encode() + b"--\r\n"
    assert rest.endswith(end)
    return rest.removesuffix(end)


def names_in(directory):
    return [path.name for path in directory.iterdir()]


@pytest.fixture
def sources(tmp_path):
    path = tmp_path / "hello"
    path.write_bytes(HELLO)
    offset = io.BytesIO(b"skip" + HELLO)
    offset.seek(4)
    return {"bytes": HELLO, "path": path, "file": offset, "pipe": io.BufferedReader(Pipe(HELLO))}


@pytest.mark.parametrize("kind", ["bytes", "path", "file", "pipe"])
def test_an_upload_sends_one_part_named_file(script, client, sources, kind):
    script.answer(STORED)
    assert client.upload(sources[kind]) == STORED
    seen = script.seen[0]
    assert read_part(seen) == HELLO
    assert int(seen.headers["Content-Length"]) == len(seen.body)
    assert "Transfer-Encoding" not in seen.headers


@pytest.mark.parametrize("kind", ["bytes", "path", "file", "pipe"])
def test_an_upload_that_broke_off_is_repeated_from_its_start(script, client, sources, kind):
    script.answer(hang_up=True)
    script.answer(STORED)
    assert client.upload(sources[kind]) == STORED
    assert [read_part(seen) for seen in script.seen] == [HELLO, HELLO]


def test_an_empty_upload_has_an_empty_part(script, client):
    script.answer(DataReply(id=Id(1), checksum=hashlib.sha256(b"").hexdigest()))
    client.upload(b"")
    assert read_part(script.seen[0]) == b""


def test_an_upload_that_was_stored_wrongly_is_noticed(script, client):
    script.answer(DataReply(id=Id(7), checksum="00" * 32))
    with pytest.raises(
        ChecksumMismatch, match=f"the upload arrived damaged: SHA-256 {'00' * 32}, expected {HELLO_SHA}"
    ):
        client.upload(HELLO)


def test_a_refused_upload_is_not_repeated(script, client):
    script.answer(ErrorReply(code=602, message="no part named file"), status=400)
    with pytest.raises(Invalid, match="no part named"):
        client.upload(HELLO)
    assert len(script.seen) == 1


def test_a_large_file_is_never_in_memory_as_a_whole(tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(64 * CHUNK_BYTES)
    with MultipartFile(path) as body:
        sizes = [len(piece) for piece in body]
        assert sum(sizes) == len(body)
    assert max(sizes) <= CHUNK_BYTES


def test_a_file_that_shrinks_while_it_is_sent_is_an_error(tmp_path):
    path = tmp_path / "shrinking"
    path.write_bytes(HELLO * 1000)
    with MultipartFile(path) as body:
        os.truncate(path, 10)
        with pytest.raises(OSError, match="shorter while it was sent"):
            list(body)


def test_a_file_of_the_caller_stays_open(script, client, sources):
    script.answer(STORED)
    client.upload(sources["file"])
    assert not sources["file"].closed


def test_data_tells_checksum_and_size(script, client):
    script.answer(DataReply(id=Id(7), checksum=HELLO_SHA, size=5))
    assert client.data("7").size == 5
    assert script.seen[0].path == "/data/7?view=full"


def test_read_gives_the_bytes(script, client):
    script.answer(body=HELLO, headers=ETAG)
    assert client.read(7) == HELLO
    assert script.seen[0].path == "/data/7/blob"
    assert script.seen[0].headers["Accept-Encoding"] == "identity"


def test_read_and_download_start_anew_when_the_answer_breaks_off(script, client, tmp_path):
    for _ in range(2):
        script.answer(body=b"xxx", headers=ETAG, announced_bytes=500)
        script.answer(body=HELLO, headers=ETAG)
    assert client.read(7) == HELLO
    client.download(7, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == HELLO


def test_damaged_bytes_are_noticed_by_read_and_stream(script, client):
    script.answer(body=b"jello", headers=ETAG)
    with pytest.raises(ChecksumMismatch, match="blob 7 arrived damaged"):
        client.read(7)
    script.answer(body=b"jello", headers=ETAG)
    with pytest.raises(ChecksumMismatch, match="blob 7 arrived damaged"):
        list(client.stream(7))


def test_stream_gives_the_bytes_piece_by_piece(script, client):
    script.answer(body=HELLO, headers=NO_ETAG)
    assert b"".join(client.stream(7)) == HELLO


def test_a_stream_that_breaks_off_says_so(script, client):
    script.answer(body=b"hel", headers=ETAG, announced_bytes=500)
    with pytest.raises(ServerUnreachable, match="no answer from"):
        list(client.stream(7))


def test_a_download_writes_the_file_and_tells_how_far_it_is(script, client, tmp_path):
    script.answer(body=HELLO, headers=ETAG)
    received = []
    assert client.download(7, tmp_path / "out", on_bytes=received.append) == 5
    assert (tmp_path / "out").read_bytes() == HELLO
    assert received[-1] == 5
    assert names_in(tmp_path) == ["out"]


@pytest.mark.slow
def test_a_download_without_an_etag_is_checked_against_the_data_entry(script, client, tmp_path):
    script.answer(body=HELLO, headers=NO_ETAG)
    script.answer(STORED)
    client.download(7, tmp_path / "out")
    assert script.seen[1].path.startswith("/data/7?")
    script.answer(body=b"jello", headers=NO_ETAG | {"ETag": '"abc"'})
    script.answer(STORED)
    with pytest.raises(ChecksumMismatch):
        client.download(7, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == HELLO


def test_a_download_through_a_link_keeps_the_link_and_the_usual_permissions(script, client, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "out")
    script.answer(body=HELLO, headers=ETAG)
    client.download(7, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    (tmp_path / "usual").touch()
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_download_into_a_named_pipe_does_not_replace_it(script, client, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    script.answer(body=HELLO, headers=ETAG)
    assert client.download(7, tmp_path / "pipe") == 5
    assert os.read(reader, 100) == HELLO
    os.close(reader)
    assert names_in(tmp_path) == ["pipe"]


def test_code_served_under_a_lambdas_id_has_no_checksum_to_compare(script, client, tmp_path):
    script.answer(body=HELLO, headers=NO_ETAG)
    script.answer(ErrorReply(code=601, message="no blob"), status=404)
    assert client.download(8, tmp_path / "out") == 5


def test_a_download_is_checked_against_the_checksum_that_the_caller_knows(script, client, tmp_path):
    script.answer(body=b"jello", headers=NO_ETAG)
    with pytest.raises(ChecksumMismatch, match=f"expected {HELLO_SHA}"):
        client.download(7, tmp_path / "out", checksum=HELLO_SHA)
    assert names_in(tmp_path) == []


def test_a_download_that_fails_leaves_nothing_behind_and_the_old_file_alone(script, client, tmp_path):
    out = tmp_path / "out"
    out.write_bytes(b"before")
    script.answer(ErrorReply(code=601, message="BLOB data object is not exist"), status=404)
    with pytest.raises(NotFound, match="not exist"):
        client.download(7, out)
    assert out.read_bytes() == b"before"
    assert names_in(tmp_path) == ["out"]


def test_delete_gives_the_servers_words(script, client):
    script.answer(MessageReply(message="blob 7 is deleted"))
    assert client.delete_data(7) == "blob 7 is deleted"
    assert script.seen[0].method == "DELETE"


def test_an_upload_to_something_else_is_not_taken_for_stored(script, client):
    script.answer(body=b"<html>welcome</html>")
    with pytest.raises(BadReply):
        client.upload(HELLO)


@pytest.mark.parametrize("blob_id", ["../worker/1", "7/blob", "", -1])
def test_what_is_no_id_never_gets_into_a_path(client, script, blob_id):
    with pytest.raises(ValueError, match="an id"):
        client.data(blob_id)
    assert script.seen == []
