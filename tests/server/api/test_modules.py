"""The registry: what goes in, what comes out, what is refused."""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from house import House
from rows import NOW
from werkzeug.datastructures import MultiDict
from werkzeug.test import TestResponse

from piecework.server.store.functions import functions
from piecework.server.store.functions.functions import Revision
from piecework.server.web.parts import REGISTRY
from piecework.server.web.uploads import TEXT_MAX_BYTES

ROOT = Path(__file__).parents[3]
HOLA = (ROOT / "samples" / "capsule_g4.wasm").read_bytes()
ECHO = (ROOT / "samples" / "echo.wasm").read_bytes()
EMPTY_MODULE, EMPTY_COMPONENT = b"\0asm\x01\0\0\0", b"\0asm\x0d\0\x01\0"
# A section that nobody knows, so large that the module is kept in a file.
LARGE = EMPTY_MODULE + b"\0\x81\x80\x04\x01" + b"x" * 65536
PAGE_NOT_FOUND = {"code": "PAGE_NOT_FOUND", "message": "😢 Page not found 🥵"}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "data", part=REGISTRY)
    yield house
    house.close()


def push(house: House, content: bytes = HOLA, name: str = "k33g/hola/0.0.0", **fields: Any) -> TestResponse:
    """Send what ``curl -F file=@hola.wasm -F info=…`` sends."""
    data = {"file": (io.BytesIO(content), "hola.wasm"), "info": "hola function from @k33g"} | fields
    return house.client.post(f"/upload/{name}", data=data, content_type="multipart/form-data")


def stored(house: House) -> list[str]:
    return house.call("GET", "/modules?format=paths")


def test_an_upload_is_answered_as_capsule_did(house: House):
    reply = push(house)
    assert (reply.status_code, reply.content_type) == (200, "application/json")
    assert reply.get_json() == {"code": "OK", "message": "🙂 hola.wasm uploaded!"}


def test_a_module_comes_down_as_it_went_up(house: House):
    for content in (HOLA, LARGE):
        assert push(house, content, f"k33g/hola/{len(content)}").status_code == 200
        reply = house.fetch(f"/k33g/hola/{len(content)}/hola.wasm")
        assert (reply.status_code, reply.data) == (200, content)
        assert reply.headers["Content-Type"] == "application/wasm"
        assert reply.headers["ETag"] == f'"{hashlib.sha256(content).hexdigest()}"'
        assert reply.headers["Content-Length"] == str(len(content))


def test_a_module_is_called_as_its_name_whatever_the_file_was(house: House):
    reply = push(house, file=(io.BytesIO(HOLA), "C:\\tmp/../some\x7fthing.bin"))
    assert reply.get_json()["message"] == "🙂 something.bin uploaded!"
    assert house.fetch("/k33g/hola/0.0.0/hola.wasm").data == HOLA
    assert house.call("GET", "/k33g/hola/0.0.0/thing.bin", status=404)["code"] == "MODULE_NOT_FOUND"


@pytest.mark.parametrize("content", [HOLA, LARGE])
def test_parts_heads_and_unchanged_copies_save_the_transfer(house: House, content: bytes):
    push(house, content)
    url, tag = "/k33g/hola/0.0.0/hola.wasm", f'"{hashlib.sha256(content).hexdigest()}"'
    part = house.fetch(url, headers={"Range": "bytes=4-7"})
    assert (part.status_code, part.data) == (206, content[4:8])
    assert part.headers["Content-Range"] == f"bytes 4-7/{len(content)}"
    assert house.fetch(url, headers={"Range": f"bytes={len(content)}-"}).status_code == 416
    unchanged = house.fetch(url, headers={"If-None-Match": tag})
    assert (unchanged.status_code, unchanged.data) == (304, b"")
    head = house.client.head(url, buffered=True)
    assert (head.status_code, head.data, head.headers["ETag"]) == (200, b"", tag)
    assert head.headers["Content-Length"] == str(len(content))


def test_the_info_is_a_text(house: House):
    push(house)
    reply = house.fetch("/info/k33g/hola/0.0.0")
    assert (reply.text, reply.content_type) == ("hola function from @k33g\n", "text/plain; charset=utf-8")
    assert house.call("GET", "/info/k33g/hola/0.0.1", status=404)["code"] == "MODULE_NOT_FOUND"


@pytest.mark.parametrize(
    ("content", "abi"),
    [
        (HOLA, "capsule 4"), (ECHO, "wasi"), (EMPTY_MODULE, "module"), (EMPTY_COMPONENT, "component"),
        ((ROOT / "samples" / "capsule_g1.wasm").read_bytes(), "capsule 1"),
        ((ROOT / "samples" / "funless_fetch.wasm").read_bytes(), "funless"),
    ],
)  # fmt: skip
def test_what_a_module_is_is_seen_when_it_comes(house: House, content: bytes, abi: str):
    push(house, content)
    [listed] = house.call("GET", "/modules")["modules"]
    assert listed == house.call("GET", "/modules/k33g/hola/0.0.0")
    assert house.services.data.read(house.services.data.get(int(listed.pop("data"))), 1 << 20) == content
    assert listed == {
        "code": 0, "status": "ok", "org": "k33g", "module": "hola", "tag": "0.0.0", "size": len(content),
        "abi": abi, "digest": hashlib.sha256(content).hexdigest(), "info": "hola function from @k33g",
        "created_at": house.clock() / 1000,
    }  # fmt: skip


def test_the_list_has_pages_newest_first_and_a_plain_form(house: House):
    for number in range(5):
        push(house, name=f"k33g/hola/0.0.{number}")
    first = house.call("GET", "/modules?limit=3")
    assert [each["tag"] for each in first["modules"]] == ["0.0.4", "0.0.3", "0.0.2"]
    last = house.call("GET", f"/modules?limit=3&cursor={first['next']}")
    assert [each["tag"] for each in last["modules"]] == ["0.0.1", "0.0.0"]
    assert "next" not in last
    assert stored(house) == [f"k33g/hola/0.0.{number}/hola.wasm" for number in range(5)]
    assert house.call("GET", "/modules?format=xml", status=400)["code"] == "INVALID"
    assert house.call("GET", "/modules?limit=0", status=400)["code"] == "INVALID"


def test_pushing_the_same_bytes_again_changes_the_info_at_most(house: House):
    push(house)
    assert push(house, info="better words").status_code == 200
    assert house.fetch("/info/k33g/hola/0.0.0").text == "better words\n"
    data = {"file": (io.BytesIO(HOLA), "x")}
    assert house.client.post("/upload/k33g/hola/0.0.0", data=data).status_code == 200
    assert house.fetch("/info/k33g/hola/0.0.0").text == "better words\n"
    assert len(stored(house)) == 1


def test_of_two_files_in_an_upload_the_first_counts(house: House):
    files = [("file", (io.BytesIO(HOLA), "first.wasm")), ("file", (io.BytesIO(ECHO), "second.wasm"))]
    reply = house.client.post("/upload/k33g/hola/0.0.0", data=MultiDict(files))
    assert reply.get_json()["message"] == "🙂 first.wasm uploaded!"
    assert house.fetch("/k33g/hola/0.0.0/hola.wasm").data == HOLA


def test_a_tag_does_not_change(house: House):
    push(house)
    reply = push(house, ECHO)
    assert (reply.status_code, reply.get_json()["code"]) == (409, "MODULE_EXISTS")
    assert "push another tag" in reply.get_json()["message"]
    assert house.fetch("/k33g/hola/0.0.0/hola.wasm").data == HOLA


def test_a_tag_changes_where_the_operator_says_so(tmp_path: Path):
    house = House(tmp_path, part=REGISTRY, settings={"mutable_tags": True})
    push(house, LARGE)
    push(house, name="k33g/other/1")
    house.clock.forward(1)
    assert push(house, ECHO, info="new").status_code == 200
    assert house.fetch("/k33g/hola/0.0.0/hola.wasm").data == ECHO
    newest = house.call("GET", "/modules")["modules"][0]
    assert (newest["abi"], newest["info"], newest["created_at"]) == ("wasi", "new", house.clock() / 1000)
    assert (
        house.call("GET", f"/sha256/{hashlib.sha256(LARGE).hexdigest()}", status=404)["code"] == "MODULE_NOT_FOUND"
    )
    house.close()


def test_a_digest_names_the_same_bytes_for_ever(house: House):
    push(house)
    digest = hashlib.sha256(HOLA).hexdigest()
    assert house.fetch(f"/sha256/{digest}").data == HOLA
    assert house.fetch(f"/sha256/{digest.upper()}").data == HOLA
    assert house.call("GET", f"/sha256/{'0' * 64}", status=404)["code"] == "MODULE_NOT_FOUND"
    assert house.call("GET", "/sha256/abc", status=400)["code"] == "INVALID"


def test_a_deleted_module_is_gone(house: House):
    push(house)
    assert house.call("DELETE", "/k33g/hola/0.0.0") == {"code": "OK", "message": "k33g/hola/0.0.0 is deleted"}
    assert house.call("DELETE", "/k33g/hola/0.0.0", status=404)["code"] == "MODULE_NOT_FOUND"
    assert house.call("GET", "/k33g/hola/0.0.0/hola.wasm", status=404)["code"] == "MODULE_NOT_FOUND"
    assert stored(house) == []
    assert push(house, ECHO).status_code == 200


def test_a_module_that_a_revision_is_made_of_stays(house: House):
    push(house)
    pinned = f"k33g/hola/0.0.0@sha256:{hashlib.sha256(HOLA).hexdigest()}"
    house.services.database.write(lambda c: functions.add_function(c, "hola", NOW))
    revision = Revision("hola", "blue", None, pinned, 0, NOW)
    house.services.database.write(lambda c: functions.add_revision(c, revision))
    refused = house.call("DELETE", "/k33g/hola/0.0.0", status=409)
    assert refused["code"] == "MODULE_IN_USE"
    assert "k33g/hola/0.0.0" in refused["message"]
    assert house.fetch("/k33g/hola/0.0.0/hola.wasm").data == HOLA


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><title>404</title>", "an HTML page"),
        (b"hello\n", "a text"),
        (b"", "empty"),
        (b"\0asm", "unknown version"),
        (b"\0asm\x02\0\0\0", "unknown version"),
        (b"(module)", "text format"),
        (HOLA[:-100], "cut off"),
        (LARGE[:-1], "cut off"),
    ],
)
def test_what_is_no_sound_wasm_is_refused(house: House, content: bytes, words: str):
    reply = push(house, content)
    assert (reply.status_code, reply.get_json()["code"]) == (422, "NOT_WASM")
    assert words in reply.get_json()["message"]
    assert stored(house) == []


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/upload/k33g/../0.0.0", 400, "INVALID"),
        ("/upload/%2e%2e/hola/0.0.0", 400, "INVALID"),
        ("/upload/k33g/ho%20la/0.0.0", 400, "INVALID"),
        ("/upload/k33g/h%C3%A9/0.0.0", 400, "INVALID"),
        ("/upload/k33g/%00/0.0.0", 422, "INVALID"),
        (f"/upload/k33g/{'x' * 101}/0.0.0", 400, "INVALID"),
        ("/upload/info/hola/0.0.0", 400, "INVALID"),
        ("/upload/k33g/ho%2Fla/0.0.0", 404, "PAGE_NOT_FOUND"),
        ("/upload/k33g//0.0.0", 404, "PAGE_NOT_FOUND"),
        ("/upload/k33g/hola", 404, "PAGE_NOT_FOUND"),
        ("/upload", 404, "PAGE_NOT_FOUND"),
    ],
)
def test_a_name_that_is_none_is_refused(house: House, path: str, status: int, code: str):
    reply = house.client.post(path, data={"file": (io.BytesIO(HOLA), "hola.wasm")})
    assert (reply.status_code, reply.get_json()["code"]) == (status, code)
    assert stored(house) == []


@pytest.mark.parametrize(
    "path", ["/", "/nothing", "/a/b/c/d/e", "/upload/a/b/c/d", "/info/k33g/hola", "/%2e%2e/x"]
)
def test_an_unknown_path_is_answered_as_capsule_did(house: House, path: str):
    assert house.call("GET", path, status=404) == PAGE_NOT_FOUND


def test_a_known_path_with_another_method_says_which_it_takes(house: House):
    reply = house.call("PUT", "/modules", status=405)
    assert (reply["code"], reply["message"]) == ("METHOD_NOT_ALLOWED", "/modules takes GET, HEAD, not PUT")


def test_an_upload_without_its_file_is_refused(house: House):
    reply = house.client.post("/upload/k33g/hola/0.0.0", data={"info": "x"}, content_type="multipart/form-data")
    assert (reply.status_code, reply.get_json()["code"]) == (400, "UPLOAD_WITHOUT_FILE")
    reply = house.client.post("/upload/k33g/hola/0.0.0", json={})
    assert (reply.status_code, reply.get_json()["code"]) == (400, "UPLOAD_WITHOUT_FILE")


@pytest.mark.parametrize("content", [HOLA, LARGE])
def test_an_upload_that_breaks_off_leaves_nothing(house: House, content: bytes):
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
    reply = house.client.post(
        "/upload/k33g/hola/0.0.0", data=head + content, content_type="multipart/form-data; boundary=b"
    )
    assert (reply.status_code, reply.get_json()["code"]) == (400, "UPLOAD_BROKEN")
    assert stored(house) == []
    assert not [path for path in (house.data / "blobs").rglob("*") if path.is_file()]


def test_a_module_that_is_too_large_is_refused(tmp_path: Path):
    house = House(tmp_path, part=REGISTRY, settings={"module_max_bytes": 60_000})
    announced = push(house, LARGE + bytes(100_000))
    assert (announced.status_code, announced.get_json()["code"]) == (413, "TOO_LARGE")
    seen = push(house, LARGE)
    assert (seen.status_code, seen.get_json()["code"]) == (413, "TOO_LARGE")
    assert "60000 bytes" in seen.get_json()["message"]
    assert push(house).status_code == 200
    assert not [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
    house.close()


def test_what_surrounds_the_parts_is_not_collected_without_end(house: House):
    body = b"x" * (1 << 20) + b'\r\n--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
    for junk in (body, b"--b\r\nX: " + body, b"--b--\r\n" + body):
        data = junk + HOLA + b"\r\n--b--\r\n"
        reply = house.client.post(
            "/upload/k33g/hola/0.0.0", data=data, content_type="multipart/form-data; boundary=b"
        )
        assert (reply.status_code, reply.get_json()["code"]) == (413, "TOO_LARGE")
        assert "around its parts" in reply.get_json()["message"]


def test_an_info_that_cannot_be_kept_is_refused(house: House):
    long = push(house, info="x" * (TEXT_MAX_BYTES + 1))
    assert (long.status_code, long.get_json()["code"]) == (413, "TOO_LARGE")
    for broken in (b"\xff", b"a\0b"):
        reply = push(house, info=(io.BytesIO(broken), "info.txt"))
        assert (reply.status_code, reply.get_json()["code"]) == (422, "INVALID")
    assert stored(house) == []
    assert push(house, info="ñ" * (TEXT_MAX_BYTES // 2)).status_code == 200


def test_the_control_server_has_the_registry_beside_all_else(tmp_path: Path):
    house = House(tmp_path)
    data = {"file": (io.BytesIO(HOLA), "hola.wasm"), "info": "x"}
    assert house.client.post("/registry/upload/k33g/hola/0.0.0", data=data).get_json()["code"] == "OK"
    assert house.fetch("/registry/k33g/hola/0.0.0/hola.wasm").data == HOLA
    assert house.fetch("/registry/info/k33g/hola/0.0.0").text == "x\n"
    assert house.call("GET", "/registry/modules")["modules"][0]["tag"] == "0.0.0"
    assert house.call("GET", "/registry/k33g", status=404) == PAGE_NOT_FOUND
    assert house.call("DELETE", "/registry/k33g/hola/0.0.0")["code"] == "OK"
    house.close()
