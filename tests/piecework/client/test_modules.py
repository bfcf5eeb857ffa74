import hashlib
import io
from pathlib import Path

import pytest

from piecework.client import ApiError, ChecksumMismatch, Client, Conflict, Invalid, NotFound
from piecework.protocol.codes import Code
from piecework.protocol.messages import CapsuleReply, ModuleInfo
from piecework.protocol.names import ModuleName

SAMPLES = Path(__file__).parents[3] / "samples"
HOLA = SAMPLES / "capsule_g4.wasm"
DIGEST = hashlib.sha256(HOLA.read_bytes()).hexdigest()


@pytest.fixture
def name(request):
    """A name of its own for each test: they share a server."""
    return f"tests/{request.node.name.partition('[')[0][:90]}/1"


@pytest.mark.parametrize("source", [HOLA, HOLA.read_bytes(), io.BytesIO(HOLA.read_bytes())])
def test_a_module_is_pushed_and_known(client, name, source):
    found = client.push_module(name, source, "says hola")
    assert (f"{found.org}/{found.module}/{found.tag}", found.digest, found.info) == (name, DIGEST, "says hola")
    assert client.module(name) == found
    assert found in list(client.modules())
    assert client.read(found.data) == HOLA.read_bytes()


def test_pushing_again_keeps_what_is_said_about_it(client, name):
    client.push_module(name, HOLA, "says hola")
    assert client.push_module(ModuleName.parse(name), HOLA).info == "says hola"


def test_what_is_refused_has_its_class_and_code(client, name):
    client.push_module(name, HOLA)
    with pytest.raises(Conflict, match="push another tag") as refusal:
        client.push_module(name, SAMPLES / "echo.wasm")
    assert refusal.value.code == Code.MODULE_EXISTS
    with pytest.raises(Invalid, match="an HTML page") as refusal:
        client.push_module(f"{name}0", b"<html>")
    assert refusal.value.code == Code.NOT_WASM
    with pytest.raises(ValueError, match="is not ORG/MODULE/TAG"):
        client.push_module("hola", HOLA)


def test_a_module_is_read_and_pulled(client, name, tmp_path):
    client.push_module(name, HOLA)
    told = []
    assert (
        client.pull_module(name, tmp_path / "hola.wasm", on_bytes=told.append) == HOLA.stat().st_size == told[-1]
    )
    assert (tmp_path / "hola.wasm").read_bytes() == HOLA.read_bytes()
    assert client.read_module(name) == b"".join(client.stream_module(name)) == HOLA.read_bytes()


def test_a_name_with_a_digest_means_these_bytes_only(client, name, tmp_path):
    client.push_module(name, HOLA)
    pinned, other = f"{name}@sha256:{DIGEST}", f"{name}@sha256:{'0' * 64}"
    assert client.read_module(pinned) == HOLA.read_bytes()
    assert client.module(pinned).digest == DIGEST
    for ask in (client.module, client.read_module, client.delete_module):
        with pytest.raises(NotFound, match=f"has the digest {DIGEST}, not 0000"):
            ask(other)
    with pytest.raises(NotFound):
        client.pull_module(other, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_a_deleted_module_is_not_found(client, name):
    client.push_module(name, HOLA)
    assert client.delete_module(name) == f"{name} is deleted"
    with pytest.raises(NotFound, match=f"there is no module {name}") as refusal:
        client.module(name)
    assert refusal.value.code == Code.MODULE_NOT_FOUND


def test_bytes_that_changed_on_the_way_make_no_file(script, tmp_path):
    with Client(script.url, attempts=1) as client:
        script.answer(b"damaged", headers={"ETag": f'"{DIGEST}"', "Content-Type": "application/wasm"})
        with pytest.raises(ChecksumMismatch, match="module a/b/c arrived damaged"):
            client.pull_module("a/b/c", tmp_path / "b.wasm")
    assert list(tmp_path.iterdir()) == []


def test_a_registry_that_stored_other_bytes_is_found_out(script):
    stored = ModuleInfo(
        org="a", module="b", tag="c", digest="0" * 64, size=1, abi="wasi", info="", created_at=0, data=7
    )
    with Client(script.url, attempts=1) as client:
        script.answer(CapsuleReply(code="OK", message="uploaded"))
        script.answer(stored)
        with pytest.raises(ChecksumMismatch, match="module a/b/c"):
            client.push_module("a/b/c", HOLA)


def test_a_word_that_is_no_code_of_ours_is_an_error_with_its_message(script):
    with Client(script.url, attempts=1) as client:
        script.answer(CapsuleReply(code="ERROR_WASM_UPLOAD", message="error when uploading"), status=500)
        with pytest.raises(ApiError, match="error when uploading") as refusal:
            client.push_module("a/b/c", HOLA)
    assert (refusal.value.http_status, refusal.value.code) == (500, Code.ERROR)
