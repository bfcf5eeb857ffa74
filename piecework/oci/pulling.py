"""Pulling a module: its manifest, then its layer, each checked against its digest while it comes in."""

import hashlib
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from piecework.files import naming
from piecework.modules import MAGIC, describe_bytes
from piecework.modules.kinds import LOOK_BYTES
from piecework.oci.archives import unpack_module
from piecework.oci.errors import Damaged, OciError, about
from piecework.oci.exchange import RegistryAccess, RegistryRequest
from piecework.oci.manifests import (
    ACCEPTED,
    MANIFEST_MAX_BYTES,
    TAR_LAYERS,
    Manifest,
    OciDescriptor,
    choose_layer,
    choose_manifest,
    read_manifest,
)
from piecework.oci.references import Reference
from piecework.oci.session import Session, check_digest

OnBytes = Callable[[int, int], object]
"""Is told how many bytes of the layer have come, and how many it has."""


class Pulled(NamedTuple):
    """What was pulled."""

    reference: Reference
    """With the digest of its manifest."""
    digest: str
    """SHA-256 of the module, hex."""
    size: int
    """Of the module, bytes."""


def pull_module(
    reference: Reference, path: Path, access: RegistryAccess, on_bytes: OnBytes = lambda _come, _all: None
) -> Pulled:
    """Write a module of a registry to a file, which appears when it is whole and was checked.

    Raises OciError, and OSError when the file cannot be written.
    """
    path = path.resolve()
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    unpacked = part.with_suffix(".wasm")
    with about(reference), naming(path):
        session = Session(reference, access, "pull")
        pinned, manifest = _find_manifest(session, reference)
        layer = choose_layer(manifest)
        try:
            _fetch_layer(session, layer, part, on_bytes)
            if layer.media_type in TAR_LAYERS:
                unpack_module(part, unpacked, TAR_LAYERS[layer.media_type])
                unpacked.replace(part)
            pulled = Pulled(pinned, *_check_module(part))
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
            unpacked.unlink(missing_ok=True)
    return pulled


@contextmanager
def fetched(
    reference: Reference, access: RegistryAccess, on_bytes: OnBytes = lambda _come, _all: None
) -> Iterator[tuple[Path, Pulled]]:
    """Give the file with a module of a registry, which is gone after the block, and what was pulled.

    Raises what ``pull_module`` does.
    """
    with tempfile.TemporaryDirectory(prefix="piecework-oci-") as folder:
        path = Path(folder) / reference.file
        yield path, pull_module(reference, path, access, on_bytes)


def _find_manifest(session: Session, reference: Reference) -> tuple[Reference, Manifest]:
    """Return the manifest of a module, and the reference with its digest."""
    digest, manifest = _fetch_manifest(session, reference.wanted, reference.digest)
    if manifest.manifests is not None:
        chosen = choose_manifest(manifest)
        digest, manifest = _fetch_manifest(session, chosen.digest, chosen.sha256)
        if manifest.manifests is not None:
            raise OciError("an index in an index is none that is known")
    return reference.pin(digest), manifest


def _fetch_manifest(session: Session, wanted: str, digest: str) -> tuple[str, Manifest]:
    """Return the digest of what is under a tag or digest, and what it is."""
    request = RegistryRequest("GET", session.locate(f"manifests/{wanted}"), (("Accept", ACCEPTED),))
    with session.ask(request) as reply:
        if reply.status != 200:
            raise session.explain(reply, f"the manifest {wanted}")
        content = reply.read(MANIFEST_MAX_BYTES, "its manifest")
    found = hashlib.sha256(content).hexdigest()
    if digest and digest != found:
        raise Damaged(f"the digest of its manifest is sha256:{found}, and should be sha256:{digest}")
    check_digest(reply, found, "its manifest")
    return found, read_manifest(content, reply.headers.get("content-type", ""))


def _fetch_layer(session: Session, layer: OciDescriptor, path: Path, on_bytes: OnBytes) -> None:
    """Write a layer to a new file. Raises Damaged as soon as it is known to be another."""
    digest, size, expected = hashlib.sha256(), 0, layer.sha256
    with (
        session.ask(RegistryRequest("GET", session.locate(f"blobs/{layer.digest}"))) as reply,
        path.open("xb") as file,
    ):
        if reply.status != 200:
            raise session.explain(reply, f"the layer {layer.digest}")
        for piece in reply.pieces(layer.size, "its layer"):
            digest.update(piece)
            size += len(piece)
            file.write(piece)
            on_bytes(size, layer.size)
    if size != layer.size:
        raise Damaged(f"its layer has {size} bytes, and should have {layer.size}")
    if digest.hexdigest() != expected:
        raise Damaged(f"the digest of its layer is sha256:{digest.hexdigest()}, and should be sha256:{expected}")


def _check_module(path: Path) -> tuple[str, int]:
    """Return the digest and the size of a file that is a wasm binary. Raises OciError for others."""
    with path.open("rb") as file:
        start = file.read(LOOK_BYTES)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not start.startswith(MAGIC):
        raise OciError(f"its layer says that it is a module, and is {describe_bytes(start)}")
    return digest, path.stat().st_size
