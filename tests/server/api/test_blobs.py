"""Blobs: uploading, downloading, deleting; what is broken or too large leaves nothing."""

import hashlib
import io
import os
from pathlib import Path

import pytest
from house import House

from piecework.server.errors import BlobsAway

LARGE = bytes(range(256)) * 1024  # above what is kept in the database


@pytest.fixture
def small_house(tmp_path: Path):
    house = House(tmp_path, settings={"blob_max_bytes": 300_000, "body_max_bytes": 2000})
    yield house
    house.close()


def files(house: House) -> list[Path]:
    return [path for path in (house.data / "blobs").rglob("*") if path.is_file()]


def multipart(content: bytes, name: str = "file", extra: str = '; filename="x"') -> dict:
    head = f'--b\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'.encode()
    return {"data": head + content + b"\r\n--b--\r\n", "content_type": "multipart/form-data; boundary=b"}


@pytest.mark.parametrize("content", [b"", b"x", b"\r\n--a", b"\x00\xff" * 16384, LARGE])
def test_what_goes_up_comes_down(house: House, content: bytes):
    reply = house.client.post("/data", **multipart(content)).get_json()
    assert reply["checksum"] == hashlib.sha256(content).hexdigest()
    down = house.fetch(f"/data/{reply['id']}/blob")
    assert down.data == content
    assert down.headers["Content-Length"] == str(len(content))
    assert house.call("GET", f"/data/{reply['id']}?view=full")["size"] == len(content)


def test_a_large_blob_comes_down_when_the_data_directory_is_given_by_a_relative_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    house = House(Path("piecework-data"))
    id_ = house.client.post("/data", **multipart(LARGE)).get_json()["id"]
    assert house.fetch(f"/data/{id_}/blob").data == LARGE
    house.close()


def test_the_part_may_have_no_file_name_and_other_parts_are_passed_over(house: House):
    body = (
        b'--b\r\nContent-Disposition: form-data; name="note"\r\n\r\nhello\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"\r\nContent-Type: text/x\r\n\r\nDATA\r\n--b--\r\n'
    )
    reply = house.client.post("/data", data=body, content_type="multipart/form-data; boundary=b").get_json()
    assert house.fetch(f"/data/{reply['id']}/blob").data == b"DATA"


def test_a_raw_body_is_a_blob_when_its_type_says_bytes(house: House):
    reply = house.client.post("/data", data=b"raw", content_type="application/octet-stream").get_json()
    assert house.fetch(f"/data/{reply['id']}/blob").data == b"raw"


def test_a_large_blob_is_stored_once_however_often_it_comes(house: House):
    ids = {house.client.post("/data", **multipart(LARGE)).get_json()["id"] for _ in range(3)}
    assert len(ids) == 3
    assert [path.name for path in files(house)] == [hashlib.sha256(LARGE).hexdigest()]


def test_a_download_can_be_resumed_and_skipped(house: House):
    id_ = house.client.post("/data", **multipart(LARGE)).get_json()["id"]
    part = house.fetch(f"/data/{id_}/blob", headers={"Range": "bytes=262140-"})
    assert (part.status_code, part.data) == (206, LARGE[262140:])
    tag = part.headers["ETag"]
    assert house.fetch(f"/data/{id_}/blob", headers={"If-None-Match": tag}).status_code == 304


def test_an_upload_without_a_file_part_is_refused(house: House):
    assert house.client.post("/data", **multipart(b"x", name="other")).get_json()["code"] == 602
    reply = house.client.post("/data", data=b"{}", content_type="application/json")
    assert (reply.status_code, reply.get_json()["code"]) == (400, 602)


@pytest.mark.parametrize("content", [b"short", LARGE])
def test_an_upload_that_breaks_off_leaves_nothing(house: House, content: bytes):
    whole = multipart(content)
    whole["data"] = whole["data"][:-10]
    reply = house.client.post("/data", **whole)
    assert (reply.status_code, reply.get_json()["code"]) == (400, 603)
    assert files(house) == []


def test_a_raw_upload_shorter_than_announced_leaves_nothing(house: House):
    reply = house.client.post(
        "/data", data=b"abc", content_type="application/octet-stream", environ_overrides={"CONTENT_LENGTH": "10"}
    )
    assert (reply.status_code, reply.get_json()["code"]) == (400, 603)


def test_a_blob_above_the_limit_is_refused_by_its_announced_length_before_it_is_read(small_house: House):
    class Unread(io.BytesIO):
        def read(self, size: int = -1) -> bytes:
            raise AssertionError("the body was read")

    announced = {"CONTENT_LENGTH": str(10**9), "wsgi.input": Unread()}
    reply = small_house.client.post("/data", content_type="application/octet-stream", environ_overrides=announced)
    assert (reply.status_code, reply.get_json()["code"]) == (413, 6)


def test_a_blob_that_grows_above_the_limit_is_refused_and_leaves_nothing(small_house: House):
    reply = small_house.client.post("/data", **multipart(b"x" * 300_001))
    assert reply.status_code == 413
    assert "300000" in reply.get_json()["message"]
    assert files(small_house) == []


def test_a_json_body_above_the_limit_is_refused(small_house: House):
    reply = small_house.client.post("/job", data=b'{"tags": ["' + b"x" * 3000 + b'"]}')
    assert (reply.status_code, reply.get_json()["code"]) == (413, 6)


def test_a_blob_in_use_cannot_be_deleted(house: House):
    codex = house.client.post("/data", **multipart(b"code")).get_json()["id"]
    input_ = house.client.post("/data", **multipart(b"in")).get_json()["id"]
    job = house.submit(house.new_lambda(codex=codex), input=input_)
    for id_ in (codex, input_):
        assert house.call("DELETE", f"/data/{id_}", status=409)["code"] == 604
    house.call("DELETE", f"/job/{job}")
    house.call("DELETE", f"/data/{input_}")
    assert house.call("GET", f"/data/{input_}", status=404)["code"] == 601


def test_a_deleted_blob_goes_with_its_file_when_that_is_old(house: House):
    same, other = [house.client.post("/data", **multipart(LARGE)).get_json()["id"] for _ in range(2)]
    [path] = files(house)
    os.utime(path, (0, 0))
    house.call("DELETE", f"/data/{same}")
    assert path.exists(), "another blob has the same bytes"
    house.call("DELETE", f"/data/{other}")
    assert not path.exists()


def test_a_blob_is_deleted_while_its_store_is_away(house: House, monkeypatch: pytest.MonkeyPatch):
    id_ = house.client.post("/data", **multipart(LARGE)).get_json()["id"]

    def fail(*_: object) -> bool:
        raise BlobsAway("gone")

    monkeypatch.setattr(house.services.data.store, "remove", fail)
    house.call("DELETE", f"/data/{id_}")
    assert house.call("GET", f"/data/{id_}", status=404)["code"] == 601


def test_the_sweep_removes_only_files_that_no_row_names(house: House, monkeypatch: pytest.MonkeyPatch):
    kept = house.client.post("/data", **multipart(LARGE)).get_json()["id"]
    gone = house.client.post("/data", **multipart(LARGE + b"!")).get_json()["id"]
    house.call("DELETE", f"/data/{gone}")
    (house.data / "blobs" / "incoming" / "broken").write_bytes(b"half")
    assert house.services.data.sweep() == 0  # everything is too young
    monkeypatch.setattr("piecework.server.services.stock.data.ORPHAN_AGE_S", -1.0)
    assert house.services.data.sweep() == 2
    assert house.fetch(f"/data/{kept}/blob").data == LARGE
    assert len(files(house)) == 1


@pytest.mark.parametrize("wanted", [None, "bytes=5-9", "bytes=0-1,4-5"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_large_blob_whose_bytes_are_lost_is_not_found(house: House, method: str, wanted: str | None):
    id_ = house.client.post("/data", **multipart(LARGE)).get_json()["id"]
    [path] = files(house)
    path.unlink()
    headers = {"Range": wanted} if wanted else {}
    assert house.client.open(f"/data/{id_}/blob", method=method, headers=headers).status_code == 404


@pytest.mark.parametrize("content", [b"small", LARGE])
def test_who_wants_another_version_gets_no_bytes(house: House, content: bytes):
    id_ = house.client.post("/data", **multipart(content)).get_json()["id"]
    reply = house.fetch(f"/data/{id_}/blob", headers={"If-Match": '"other"'})
    assert (reply.status_code, reply.data, reply.headers["Content-Length"]) == (412, b"", "0")


@pytest.mark.parametrize(("wanted", "size"), [(None, len(LARGE)), ("bytes=5-9", 5)])
def test_the_head_of_a_large_blob_leaves_no_file_open(house: House, wanted: str | None, size: int):
    id_ = house.client.post("/data", **multipart(LARGE)).get_json()["id"]
    headers = {"Range": wanted} if wanted else {}
    reply = house.client.head(f"/data/{id_}/blob", headers=headers)
    assert (reply.data, reply.headers["Content-Length"]) == (b"", str(size))
    reply.close()
    path = str(files(house)[0].resolve())
    assert path not in [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]


@pytest.mark.parametrize("checksum", ["", "ab", "g" * 64, "A" * 64, "a" * 65, " " * 64])
def test_what_is_no_checksum_is_told_in_words(house: House, checksum: str):
    reply = house.client.post("/data/direct", json={"checksum": checksum, "size": 2_000_000})
    assert reply.status_code == 422
    assert reply.get_json()["message"] == "checksum is no SHA-256 as 64 hex digits in lower case"
