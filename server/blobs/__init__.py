"""Where the bytes of large blobs live."""

from functools import partial

from piecework.server.blobs.directory import DirectoryStore
from piecework.server.blobs.disk_space import DiskSpace
from piecework.server.blobs.moving import BlobsMoved, move_blobs
from piecework.server.blobs.store import BlobReader, BlobStore, BlobWriter, DirectPut, Received
from piecework.server.blobs.two_places import TwoPlaces
from piecework.server.errors import BlobsAway, BlobsRefused, StorageFull
from piecework.server.settings import BLOBS_NAME, DIRECTORY, BlobPlace, Settings

__all__ = [
    "BlobReader",
    "BlobStore",
    "BlobWriter",
    "BlobsMoved",
    "DirectPut",
    "DiskSpace",
    "Received",
    "check_places",
    "has_files",
    "move_blobs",
    "open_place",
    "open_store",
]


def open_store(settings: Settings) -> BlobStore:
    """Return the store that a server with these settings uses. Raises BlobsRefused for no S3 at all."""
    now = open_place(settings, settings.blobs)
    return TwoPlaces(now, open_place(settings, settings.blobs_from)) if settings.blobs_from else now


def open_place(settings: Settings, name: str, limit_bytes: int = 0) -> BlobStore:
    """Return the store of one place, as settings name it; for blobs as large as they allow unless given."""
    directory, limit_bytes = settings.data / BLOBS_NAME, limit_bytes or settings.blob_max_bytes
    place = BlobPlace.read(name)
    if place is None:
        return DirectoryStore(directory, limit_bytes)
    from piecework.server.blobs.bucket import Bucket  # noqa: PLC0415  # slow to import, and few use it
    from server.blobs.s3 import S3Store  # noqa: PLC0415

    return S3Store(
        partial(Bucket, place, virtual_hosts=settings.s3_virtual_hosts), directory / "incoming", limit_bytes
    )


def check_places(settings: Settings) -> None:
    """Return when nothing but time is needed for these settings to work. Raises BlobsRefused.

    The log tells of an S3 that does not answer now.
    """
    try:
        if settings.blobs != DIRECTORY:
            store = open_place(settings, settings.blobs)
            store.try_out()
            if settings.blobs_direct and not store.checks_digests():
                raise BlobsRefused(f"{store}: S3 does not check digests, so blobs_direct would not be safe")
        if settings.blobs_from not in {"", DIRECTORY}:
            open_place(settings, settings.blobs_from).find_size(bytes(32))
    except BlobsRefused:
        raise
    except (BlobsAway, StorageFull):
        pass  # readiness tells it until it is over


def has_files(settings: Settings) -> bool:
    """Return whether there are large blobs in the data directory, whatever the settings say."""
    return any(True for _ in open_place(settings, DIRECTORY).walk())
