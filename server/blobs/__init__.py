"""Where the bytes of large blobs live."""

from server.blobs.directory import DirectoryStore, Incoming, Received
from server.blobs.room import Room

__all__ = ["DirectoryStore", "Incoming", "Received", "Room"]
