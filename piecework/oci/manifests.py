"""What registries keep of a module: manifests, which name their blobs, and the choice among several manifests."""

import re
from typing import Any

import msgspec

from piecework.oci.errors import Damaged, OciError, quote_text

MANIFEST_MAX_BYTES = 4 * 1024 * 1024
MODULE_MAX_BYTES = 256 * 1024 * 1024
"""The largest module, as agents and the registry of a server have it; and the largest layer with one."""
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFESTS, INDEXES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST}), frozenset({OCI_INDEX, DOCKER_LIST})
ACCEPTED = f"{OCI_MANIFEST}, {OCI_INDEX}, {DOCKER_MANIFEST}, {DOCKER_LIST}"
CONFIG = "application/vnd.wasm.config.v0+json"
LAYER = "application/wasm"
WASM_LAYERS = frozenset(
    {
        LAYER,
        "application/vnd.wasm.content.layer.v1+wasm",
        "application/vnd.module.wasm.content.layer.v1+wasm",
        "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm",
    }
)
"""Layers that are a module as it is."""
TAR_LAYERS = {
    "application/vnd.oci.image.layer.v1.tar": "",
    "application/vnd.oci.image.layer.v1.tar+gzip": "gz",
    "application/vnd.docker.image.rootfs.diff.tar": "",
    "application/vnd.docker.image.rootfs.diff.tar.gzip": "gz",
}
"""Layers that are an archive, and how each is compressed."""
TITLE = "org.opencontainers.image.title"
NAMED = 8
"""So many of what was found stand in a message."""
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_GENERIC = frozenset({"", "application/json", "application/octet-stream", "text/plain"})
"""Types that tell nothing, with which some registries answer."""


class Platform(msgspec.Struct):
    """For what one of several manifests is."""

    architecture: str = ""
    os: str = ""

    def __str__(self) -> str:
        return quote_text(f"{self.os or '?'}/{self.architecture or '?'}")


class OciDescriptor(msgspec.Struct, rename="camel"):
    """What names a blob or a manifest: its type, digest and size."""

    digest: str
    size: int
    media_type: str = ""
    platform: Platform | None = None
    annotations: dict[str, str] | None = None

    @property
    def sha256(self) -> str:
        """Its digest, 64 hex digits. Raises Damaged for a digest of another kind."""
        found = _DIGEST.fullmatch(self.digest)
        if found is None:
            raise Damaged(f"the digest {quote_text(self.digest)!r} is not sha256: and 64 hex digits")
        return found[1]

    def __str__(self) -> str:
        return quote_text(self.media_type or "no type")


class Manifest(msgspec.Struct, rename="camel"):
    """A manifest, or an index of several."""

    schema_version: int
    media_type: str = ""
    config: OciDescriptor | None = None
    layers: list[OciDescriptor] | None = None
    manifests: list[OciDescriptor] | None = None
    annotations: dict[str, str] | None = None


def read_manifest(content: bytes, content_type: str) -> Manifest:
    """Return what a registry has under a tag or digest. Raises OciError for what is no manifest that is known.

    ``content_type`` is what the registry says that it is; where the manifest says it, too, both must agree.
    """
    told = content_type.partition(";")[0].strip().lower()
    try:
        found = msgspec.json.decode(content, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if told not in _GENERIC | MANIFESTS | INDEXES:
            raise OciError(f"what is there is no manifest of a module: {quote_text(told)}") from error
        raise Damaged(f"the manifest is damaged: {quote_text(error)}") from error
    if told in _GENERIC:
        told = found.media_type or (OCI_INDEX if found.manifests is not None else OCI_MANIFEST)
    if found.media_type and found.media_type != told:
        raise Damaged(
            f"the manifest says that it is {quote_text(found.media_type)}, the registry {quote_text(told)}"
        )
    if told not in MANIFESTS | INDEXES or found.schema_version != 2:
        raise OciError(f"what is there is no manifest of a module: {quote_text(told)}")
    # A document that is both would be another thing to each reader.
    if (found.manifests is not None) == (found.layers is not None) or (told in INDEXES) != (found.layers is None):
        raise Damaged(f"the manifest is damaged: it is not what {quote_text(told)} must be")
    return found


def choose_manifest(index: Manifest) -> OciDescriptor:
    """Return the manifest for wasm of an index. Raises OciError when there is none, or more than one."""
    found = [each for each in index.manifests or [] if each.media_type in {*MANIFESTS, ""}]
    for_wasm = [each for each in found if each.platform and each.platform.architecture.startswith("wasm")]
    if not for_wasm and len(found) == 1 and found[0].platform is None:
        for_wasm = found
    if not for_wasm:
        platforms = _list(dict.fromkeys(str(each.platform or "no platform") for each in found))
        raise OciError(f"there is nothing for wasm, but for {platforms}: it is an image of containers")
    newest = [each for each in for_wasm if each.platform and each.platform.os == "wasip2"] or for_wasm
    if len(newest) > 1:
        choices = _list(f"{each.platform or 'no platform'} {quote_text(each.digest)}" for each in newest)
        raise OciError(f"there are several modules: name one by its digest, {choices}")
    return newest[0]


def choose_layer(manifest: Manifest) -> OciDescriptor:
    """Return the layer that has the module. Raises OciError when there is none, or more than one."""
    layers = manifest.layers or []
    modules = [each for each in layers if each.media_type in WASM_LAYERS]
    if not modules and layers and layers[-1].media_type in TAR_LAYERS:
        modules = layers[-1:]
    if not modules:
        config = f", its config {manifest.config}" if manifest.config else ""
        raise OciError(f"there is no module: its layers are {_list(map(str, layers))}{config}")
    if len(modules) > 1:
        titles = ((each.annotations or {}).get(TITLE) or each.digest for each in modules)
        raise OciError(
            f"there are {len(modules)} modules, and one was expected: {_list(map(quote_text, titles))}. "
            "An application of several components runs where it was made for, and here each by itself"
        )
    layer = modules[0]
    if not 0 <= layer.size <= MODULE_MAX_BYTES:
        raise Damaged(f"its layer has {layer.size} bytes, and {MODULE_MAX_BYTES} are the most for a module")
    return layer


def write_manifest(config: OciDescriptor, layer: OciDescriptor, annotations: dict[str, str]) -> bytes:
    """Return a manifest as it is stored: its digest is of these bytes."""
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _describe(config),
        "layers": [_describe(layer)],
    }
    return msgspec.json.encode(document | ({"annotations": annotations} if annotations else {}))


def _describe(descriptor: OciDescriptor) -> dict[str, Any]:
    found = {"mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size}
    return found | ({"annotations": descriptor.annotations} if descriptor.annotations else {})


def _list(texts: Any) -> str:
    every = list(texts)
    more = f" and {len(every) - NAMED} more" if len(every) > NAMED else ""
    return ", ".join(every[:NAMED]) + more if every else "none"
