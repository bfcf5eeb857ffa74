"""Where the bytes of large blobs live."""

from server.blobs.directory import DirectoryStore
from server.blobs.disk_space import DiskSpace
from server.blobs.store import BlobReader, BlobStore, BlobWriter, Received
from server.settings import BLOBS_NAME, Settings

__all__ = ["BlobReader", "BlobStore", "BlobWriter", "DiskSpace", "Received", "open_store"]


def open_store(settings: Settings) -> BlobStore:
    """Return the store that a server with these settings uses."""
    return DirectoryStore(settings.data / BLOBS_NAME, settings.blob_max_bytes)
