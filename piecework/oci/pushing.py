"""Pushing a module: its bytes and a config as blobs, if the registry has not got them yet; then the manifest."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from piecework.modules import ModuleError
from piecework.modules.binary import ModuleFacts, read_texts
from piecework.modules.inspection import read_facts
from piecework.oci.errors import Damaged, OciError, about
from piecework.oci.exchange import RegistryAccess, RegistryReply, RegistryRequest
from piecework.oci.manifests import (
    CONFIG,
    LAYER,
    MODULE_MAX_BYTES,
    OCI_MANIFEST,
    TITLE,
    OciDescriptor,
    write_manifest,
)
from piecework.oci.references import LATEST, Reference
from piecework.oci.session import Session, check_digest

CHUNK_BYTES, CHUNK_MAX_BYTES = 8 * 1024 * 1024, 64 * 1024 * 1024
"""Of a blob that a registry takes in chunks only: as long as it asks for, within these."""
PIECE_BYTES = 256 * 1024
TOO_LARGE = 413
BINARY = ("Content-Type", "application/octet-stream")
ANNOTATION = "org.opencontainers.image."
TEXTS = ("authors", "description", "licenses", "revision", "source", "version")
"""Compilers write these into a module, under the names that annotations have."""

OnSent = Callable[[int, int], object]
"""Is told how many bytes of the module were sent, and how many it has."""


class _Sent:
    """A body that tells how much of it was sent."""

    def __init__(self, content: memoryview, on_bytes: Callable[[int], object]) -> None:
        self._content = content
        self._on_bytes = on_bytes

    def __len__(self) -> int:
        return len(self._content)

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self._content), PIECE_BYTES):
            piece = bytes(self._content[start : start + PIECE_BYTES])
            yield piece
            self._on_bytes(start + len(piece))


def push_module(
    reference: Reference,
    code: bytes,
    access: RegistryAccess,
    *,
    title: str = "",
    created: datetime,
    annotations: Mapping[str, str] | None = None,
    on_bytes: OnSent = lambda _sent, _all: None,
) -> Reference:
    """Store a wasm binary under a tag, in the layout of the CNCF; return the reference with its digest.

    ``title`` is the name of its file. ``annotations`` go before those that are known of the module. Safe to
    repeat: the same module, time and annotations are the same digest. Raises OciError.
    """
    assert reference.tag, "it is pushed under a tag"
    assert not reference.digest, "which digest it has is found out"
    with about(reference):
        if len(code) > MODULE_MAX_BYTES:
            raise OciError(f"the module has more than {MODULE_MAX_BYTES} bytes, the most")
        try:
            config = write_config(code, created)
            known = describe_module(reference, code, title, created)
        except ModuleError as error:
            raise OciError(f"it cannot be pushed: {error}") from error
        session = Session(reference, access, "pull,push")
        layer, described = _describe(LAYER, code), _describe(CONFIG, config)
        layer.annotations = {TITLE: title} if title else None
        _push_blob(session, layer, code, lambda sent: on_bytes(sent, len(code)))
        _push_blob(session, described, config, lambda _: None)
        return _push_manifest(session, write_manifest(described, layer, known | dict(annotations or {})))


def write_config(code: bytes, created: datetime) -> bytes:
    """Return the config of a module as the layout wants it: what a component imports and exports, and the layer.

    Raises ModuleError for what is no sound wasm binary.
    """
    component, facts = read_facts(code)
    document: dict[str, Any] = {
        "created": _write_time(created),
        "architecture": "wasm",
        "os": "wasip2" if component else "wasip1",
        "layerDigests": [f"sha256:{hashlib.sha256(code).hexdigest()}"],
    }
    return msgspec.json.encode(document | ({"component": _list_interfaces(facts)} if component else {}))


def describe_module(reference: Reference, code: bytes, title: str, created: datetime) -> dict[str, str]:
    """Return annotations with what is known of a module: by its tag, its file, and what its compiler wrote."""
    tag = {"version": reference.tag} if reference.tag != LATEST else {}
    texts = {name: text for name, text in read_texts(code, TEXTS).items() if text}
    found = {"created": _write_time(created)} | ({"title": title} if title else {}) | tag | texts
    return {f"{ANNOTATION}{name}": text for name, text in sorted(found.items())}


def _list_interfaces(facts: ModuleFacts) -> dict[str, list[str]]:
    return {"exports": sorted(facts.exports), "imports": sorted({module for module, _ in facts.imports})}


def _write_time(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _describe(media_type: str, content: bytes) -> OciDescriptor:
    return OciDescriptor(f"sha256:{hashlib.sha256(content).hexdigest()}", len(content), media_type)


def _push_blob(session: Session, blob: OciDescriptor, content: bytes, on_bytes: Callable[[int], object]) -> None:
    """Store a blob, unless it is there already."""
    with session.ask(RegistryRequest("HEAD", session.locate(f"blobs/{blob.digest}"))) as reply:
        if reply.status == 200:
            return
    with _start(session) as reply:
        place = session.lead(reply)
        chunk_bytes = _read_size(reply.headers.get("oci-chunk-min-length", ""))
    body = _Sent(memoryview(content), on_bytes)
    if not chunk_bytes:
        with session.ask(RegistryRequest("PUT", _add_digest(place, blob), (BINARY,), body)) as reply:
            if reply.status != TOO_LARGE:
                _check_stored(session, reply, blob, "a blob")
                return
        with _start(session) as reply:
            place = session.lead(reply)
            chunk_bytes = _read_size(reply.headers.get("oci-chunk-min-length", ""))
    place = _push_chunks(session, place, content, max(chunk_bytes, CHUNK_BYTES), on_bytes)
    with session.ask(RegistryRequest("PUT", _add_digest(place, blob), (BINARY,))) as reply:
        _check_stored(session, reply, blob, "a blob")


def _start(session: Session) -> RegistryReply:
    """Begin an upload. Its place is the ``Location`` of the answer."""
    reply = session.ask(RegistryRequest("POST", session.locate("blobs/uploads/")))
    if reply.status != 202:
        with reply:
            raise session.explain(reply, "an upload")
    return reply


def _push_chunks(
    session: Session, place: str, content: bytes, chunk_bytes: int, on_bytes: Callable[[int], object]
) -> str:
    """Send a blob in chunks, and return where it is to be completed."""
    for start in range(0, len(content), chunk_bytes):
        chunk = memoryview(content)[start : start + chunk_bytes]
        headers = (BINARY, ("Content-Range", f"{start}-{start + len(chunk) - 1}"))
        body = _Sent(chunk, lambda sent, start=start: on_bytes(start + sent))  # type: ignore[misc]
        with session.ask(RegistryRequest("PATCH", place, headers, body)) as reply:
            if reply.status != 202:
                raise session.explain(reply, "a chunk of an upload")
            place = session.lead(reply)
    return place


def _push_manifest(session: Session, manifest: bytes) -> Reference:
    reference = session.reference
    place, headers = session.locate(f"manifests/{reference.tag}"), (("Content-Type", OCI_MANIFEST),)
    stored = _describe(OCI_MANIFEST, manifest)
    with session.ask(RegistryRequest("PUT", place, headers, manifest)) as reply:
        _check_stored(session, reply, stored, "the manifest")
    return reference.pin(stored.sha256)


def _check_stored(session: Session, reply: RegistryReply, stored: OciDescriptor, what: str) -> None:
    """Raise OciError unless an answer says that something was stored, and as it is."""
    if reply.status != 201:
        raise session.explain(reply, f"storing {what}")
    check_digest(reply, stored.sha256, what)


def _add_digest(place: str, blob: OciDescriptor) -> str:
    return f"{place}{'&' if '?' in place else '?'}digest={blob.digest}"


def _read_size(text: str) -> int:
    """Return how long chunks must be at least; 0 when a registry does not ask for chunks."""
    if not text.isascii() or not text.isdigit():
        return 0
    if len(text) > 10 or int(text) > CHUNK_MAX_BYTES:
        raise Damaged(f"the registry wants chunks of {text[:20]} bytes, and {CHUNK_MAX_BYTES} are the most")
    return int(text)
