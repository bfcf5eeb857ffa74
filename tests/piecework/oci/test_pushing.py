import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fake_registry import sha256
from guest_texts import build

from piecework.oci.errors import Damaged, OciError
from piecework.oci.manifests import OCI_MANIFEST
from piecework.oci.pulling import pull_module
from piecework.oci.pushing import CHUNK_BYTES, describe_module, push_module, write_config

MODULE = build('(module (memory (export "memory") 1) (func (export "_start")))')
WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
COMPONENT = """(component
  (import "wasi:io/error@0.2.0" (instance)) (instance $i) (export "wasi:cli/run@0.2.0" (instance $i))
)"""


def add_text(code, name, text):
    section = bytes([len(name)]) + name.encode() + text
    return code + bytes([0, len(section)]) + section


@pytest.fixture
def push(registry):
    def push(code=MODULE, rest="hello:1", **options):
        return push_module(registry.refer(rest), code, registry.access(), created=WHEN, **options)

    return push


def test_module_is_stored_in_the_layout(registry, push):
    pinned = push(title="hello.wasm", annotations={"a": "b"})
    media_type, content = registry.manifests["1"]
    assert (media_type, str(pinned)) == (OCI_MANIFEST, f"oci://{registry.host}/hello:1@{sha256(content)}")
    config = registry.blobs[json.loads(content)["config"]["digest"]]
    assert json.loads(content) == {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {
            "mediaType": "application/vnd.wasm.config.v0+json",
            "digest": sha256(config),
            "size": len(config),
        },
        "layers": [
            {
                "mediaType": "application/wasm",
                "digest": sha256(MODULE),
                "size": len(MODULE),
                "annotations": {"org.opencontainers.image.title": "hello.wasm"},
            }
        ],
        "annotations": {
            "org.opencontainers.image.created": "2026-01-02T03:04:05Z",
            "org.opencontainers.image.title": "hello.wasm",
            "org.opencontainers.image.version": "1",
            "a": "b",
        },
    }
    assert json.loads(config) == {
        "created": "2026-01-02T03:04:05Z",
        "architecture": "wasm",
        "os": "wasip1",
        "layerDigests": [sha256(MODULE)],
    }


def test_config_of_a_component_has_its_interfaces():
    found = json.loads(write_config(build(COMPONENT), WHEN))
    assert (found["os"], found["component"]) == (
        "wasip2",
        {"exports": ["wasi:cli/run@0.2.0"], "imports": ["wasi:io/error@0.2.0"]},
    )


def test_what_its_compiler_wrote_is_annotated(registry):
    code = add_text(add_text(MODULE, "source", b"https://x/y"), "version", b"\xff")
    code = add_text(add_text(code, "licenses", b"MIT"), "other", b"no")
    found = describe_module(registry.refer("hello"), code, "", WHEN)
    assert {name.rpartition(".")[2]: text for name, text in found.items()} == {
        "created": "2026-01-02T03:04:05Z",
        "source": "https://x/y",
        "licenses": "MIT",
    }


def test_what_is_there_is_not_sent_again(registry, push):
    first = push()
    assert len(registry.lines("POST")) == 2
    registry.requests.clear()
    assert push() == first
    assert registry.lines("POST", "PATCH") == []
    assert registry.lines("PUT") == ["PUT /v2/hello/manifests/1"]
    assert push(rest="hello:2").digest != first.digest


def test_what_was_pushed_is_pulled(registry, push, tmp_path):
    pinned = push()
    assert pull_module(pinned, tmp_path / "out.wasm", registry.access()).reference == pinned
    assert (tmp_path / "out.wasm").read_bytes() == MODULE


def test_chunks_are_sent_to_who_asks(registry, push, monkeypatch):
    monkeypatch.setattr("piecework.oci.pushing.CHUNK_BYTES", 10)
    registry.chunk_bytes, sent = 16, []
    push(on_bytes=lambda *sizes: sent.append(sizes))
    ranges = [headers["Content-Range"] for method, _, headers in registry.requests if method == "PATCH"]
    assert ranges[:2] == ["0-15", "16-31"]
    assert registry.blobs[sha256(MODULE)] == MODULE
    assert sent[-1] == (len(MODULE), len(MODULE))


def test_chunks_follow_a_body_that_is_too_large(registry, push):
    whole = ("PUT", "/v2/hello/blobs/uploads/0")
    registry.answers[whole] = (413, {}, b"")
    push()
    assert registry.blobs[sha256(MODULE)] == MODULE
    assert registry.lines("PATCH") == ["PATCH /v2/hello/blobs/uploads/1?_state=a%2Fb"]
    assert len(MODULE) < CHUNK_BYTES


@pytest.mark.parametrize("wanted", ["99999999999", "67108865"])
def test_chunks_of_any_size_are_not_made(registry, push, wanted):
    registry.chunk_bytes = wanted
    with pytest.raises(Damaged, match="wants chunks of"):
        push()


@pytest.mark.parametrize(
    ("method", "path", "answer", "reason"),
    [
        ("POST", "blobs/uploads/", (403, {}, b""), "it is not allowed: asked for an upload"),
        ("POST", "blobs/uploads/", (202, {}, b""), "sends us to '', which is no URL"),
        ("PUT", "blobs/uploads/0", (400, {}, b""), "asked for storing a blob, the registry answers 400"),
        (
            "PUT",
            "blobs/uploads/0",
            (201, {"Docker-Content-Digest": "sha256:1"}, b""),
            "the registry says that it is",
        ),
        ("PUT", "manifests/1", (200, {}, b""), "asked for storing the manifest, the registry answers 200"),
        ("PUT", "manifests/1", (201, {"Docker-Content-Digest": "sha256:1"}, b""), "the registry says that it is"),
    ],
)
def test_refusals_of_a_registry_are_told(registry, push, method, path, answer, reason):
    registry.answers[method, f"/v2/hello/{path}"] = answer
    with pytest.raises(OciError, match=reason):
        push()


def test_what_is_no_module_is_not_sent(registry, push):
    for code in (b"", b"<html>", MODULE[:-3], b"#!/bin/sh"):
        with pytest.raises(OciError, match="it cannot be pushed"):
            push(code)
    assert registry.requests == []


def test_samples_are_described():
    for path in (Path(__file__).parents[3] / "samples").glob("*.wasm"):
        assert json.loads(write_config(path.read_bytes(), WHEN))["os"] == "wasip1"
