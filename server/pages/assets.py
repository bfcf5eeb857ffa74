"""Styles and scripts of the pages: files of the package, each under an address that names its content."""

import gzip
import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

from flask import Response, request

from piecework.server.web.endpoint import WholeResponse

FOLDER = Path(__file__).parent / "static"
TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
FOR_EVER = "public, max-age=31536000, immutable"


class Asset(NamedTuple):
    """One file."""

    content: bytes
    packed: bytes
    """The same with gzip."""
    type: str
    version: str
    """Of its content."""


@cache
def list_assets() -> dict[str, Asset]:
    """Return the files by their names."""
    found = {}
    for path in sorted(FOLDER.rglob("*")):
        if path.suffix in TYPES:
            content = path.read_bytes()
            version = hashlib.sha256(content).hexdigest()[:12]
            packed = gzip.compress(content, mtime=0)
            found[path.relative_to(FOLDER).as_posix()] = Asset(content, packed, TYPES[path.suffix], version)
    return found


def asset_url(name: str) -> str:
    """Return the address of a file as it is now."""
    return f"/console/static/{name}?{list_assets()[name].version}"


def serve_asset(name: str) -> Response:
    """Answer with a file, or with 404."""
    asset = list_assets().get(name)
    if asset is None:
        return Response(status=404)
    packs = "gzip" in request.headers.get("Accept-Encoding", "").lower()
    response = WholeResponse(asset.packed if packs else asset.content, content_type=asset.type)
    if packs:
        response.headers["Content-Encoding"] = "gzip"
    response.headers["Vary"] = "Accept-Encoding"
    is_current = request.query_string.decode("latin-1") == asset.version
    response.headers["Cache-Control"] = FOR_EVER if is_current else "no-cache"
    return response
