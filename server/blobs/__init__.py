"""Where the bytes of large blobs live."""

from server.blobs.directory import DirectoryStore, Incoming, Received

__all__ = ["DirectoryStore", "Incoming", "Received"]
