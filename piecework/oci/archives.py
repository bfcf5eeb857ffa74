"""The one ``.wasm`` file in a layer that is an archive, as images for containers have it."""

import gzip
import tarfile
import zlib
from io import BufferedReader
from pathlib import Path
from typing import IO, cast

from piecework.oci.errors import Damaged, OciError, quote_text
from piecework.oci.manifests import MODULE_MAX_BYTES

OVERHEAD_BYTES = 16 * 1024 * 1024
"""An archive holds so much beside a module, at most."""
MEMBERS_MAX = 10_000
PIECE_BYTES = 256 * 1024
NAMED = 4


class _Bounded:
    """Reads no more of an archive than a module can take: a small one may unpack to anything."""

    def __init__(self, source: gzip.GzipFile | BufferedReader, most_bytes: int) -> None:
        self._source = source
        self._left = most_bytes

    def read(self, size: int = PIECE_BYTES) -> bytes:
        data = self._source.read(min(size, self._left + 1))
        self._left -= len(data)
        if self._left < 0:
            raise Damaged("the archive of its layer unpacks to more than a module can have")
        return data


def unpack_module(archive: Path, target: Path, compression: str, most_bytes: int = MODULE_MAX_BYTES) -> None:
    """Write the module in a tar archive to a file; ``compression`` is ``gz`` or empty.

    Raises OciError when there is none, more than one, or the archive is damaged.
    """
    try:
        with (
            archive.open("rb") as packed,
            gzip.GzipFile(fileobj=packed) if compression else packed as file,
            tarfile.open(fileobj=cast("IO[bytes]", _Bounded(file, most_bytes + OVERHEAD_BYTES)), mode="r|") as tar,
        ):
            found = _unpack(tar, target, most_bytes)
    except (tarfile.TarError, EOFError, zlib.error, ValueError, OverflowError, gzip.BadGzipFile) as error:
        raise Damaged(f"the archive of its layer is damaged: {quote_text(error)}") from error
    if not found:
        raise OciError("there is no module: the archive of its last layer has no .wasm file")
    if len(found) > 1:
        names = ", ".join(map(quote_text, found[:NAMED]))
        raise OciError(f"there are {len(found)} modules in its layer, and one was expected: {names}")


def _unpack(tar: tarfile.TarFile, target: Path, most_bytes: int) -> list[str]:
    """Write the first module of an archive to a file, and return the names of all."""
    found: list[str] = []
    for count, member in enumerate(tar):
        if count >= MEMBERS_MAX:
            raise Damaged(f"the archive of its layer has more than {MEMBERS_MAX} files")
        if not member.name.endswith(".wasm") or not member.isreg() or member.issparse():
            continue
        found.append(member.name)
        if member.size > most_bytes:
            raise Damaged(f"the module has {member.size} bytes, and {most_bytes} are the most")
        source = tar.extractfile(member) if len(found) == 1 else None
        if source is not None:
            with target.open("wb") as file:
                while piece := source.read(PIECE_BYTES):
                    file.write(piece)
    return found
