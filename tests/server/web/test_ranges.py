"""Parts of blobs, and names of types in any case (RFC 9110)."""

import email
from typing import Any

import msgspec
import pytest
from house import House

SMALL, LARGE = b"0123456789", bytes(range(256)) * 2000


def store(house: House, content: bytes) -> str:
    return str(house.services.data.receive([content]).id)


def read(house: House, id_: str, wanted: str, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return house.fetch(f"/data/{id_}/blob", headers={"Range": wanted, **named})


@pytest.mark.parametrize(
    "wanted",
    ["lines=0-3", "items=1", "bytes", "bytes=", "bytes=a-b", "bytes=5-2", "bytes=4-6,0-1", "bytes=0-5,3-8"],
)
@pytest.mark.parametrize("content", [SMALL, LARGE])
def test_what_is_no_range_here_is_ignored(house: House, wanted: str, content: bytes):
    reply = read(house, store(house, content), wanted)
    assert (reply.status_code, reply.data) == (200, content)


@pytest.mark.parametrize(("wanted", "part"), [("bytes=2-4", b"234"), ("Bytes=-3", b"789"), ("bytes=8-99", b"89")])
def test_one_range_is_answered(house: House, wanted: str, part: bytes):
    reply = read(house, store(house, SMALL), wanted)
    assert (reply.status_code, reply.data) == (206, part)


def test_of_two_ranges_one_of_which_is_not_there_the_other_is_answered(house: House):
    reply = read(house, store(house, SMALL), "bytes=3-4,50-60")
    assert (reply.status_code, reply.data, reply.headers["Content-Range"]) == (206, b"34", "bytes 3-4/10")


@pytest.mark.parametrize("wanted", ["bytes=10-", "bytes=10-20,30-40"])
def test_ranges_that_are_not_there_are_refused(house: House, wanted: str):
    assert read(house, store(house, SMALL), wanted).status_code == 416


@pytest.mark.parametrize("content", [SMALL * 2, LARGE])
def test_several_ranges_are_answered_in_parts(house: House, content: bytes):
    reply = read(house, store(house, content), "bytes=0-1, 4-6,-2")
    assert reply.status_code == 206
    assert int(reply.headers["Content-Length"]) == len(reply.data)
    whole = email.message_from_bytes(f"Content-Type: {reply.content_type}\r\n\r\n".encode() + reply.data)
    size = len(content)
    found = [(part["Content-Range"], part.get_payload(decode=True)) for part in whole.get_payload()]  # type: ignore[union-attr]
    assert found == [
        (f"bytes 0-1/{size}", content[:2]),
        (f"bytes 4-6/{size}", content[4:7]),
        (f"bytes {size - 2}-{size - 1}/{size}", content[-2:]),
    ]


def test_parts_of_another_version_are_not_mixed(house: House):
    id_ = store(house, SMALL)
    tag = house.fetch(f"/data/{id_}/blob").headers["ETag"]
    assert read(house, id_, "bytes=0-1,3-4", If_Range=tag).status_code == 206
    assert read(house, id_, "bytes=0-1,3-4", If_Range='"other"').data == SMALL
    assert read(house, id_, "bytes=0-1,3-4", If_None_Match=tag).status_code == 304


@pytest.mark.parametrize("kind", ["Multipart/Form-Data; Boundary=cut", 'MULTIPART/FORM-DATA; boundary="cut"'])
def test_multipart_is_known_in_any_case(house: House, kind: str):
    body = b'--cut\r\ncontent-disposition: Form-Data; name="file"\r\n\r\nx\r\n--cut--\r\n'
    id_ = house.call("POST", "/data", data=body, content_type=kind)["id"]
    assert house.fetch(f"/data/{id_}/blob").data == b"x"


def test_octets_and_messagepack_are_known_in_any_case(house: House):
    house.call("POST", "/data", data=b"x", content_type="Application/Octet-Stream")
    body, kind = msgspec.msgpack.encode({"codex": "0", "runtime": "x"}), "Application/MsgPack"
    reply = house.client.post("/lambda", data=body, content_type=kind, headers={"Accept": kind})
    assert msgspec.msgpack.decode(reply.data)["code"] == 0
