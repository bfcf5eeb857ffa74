"""What replicas recorded of their calls: files in a folder of each, until the server has them."""

import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

import structlog

from piecework.client import ClientError
from piecework.protocol.ids import Id
from piecework.protocol.messages import CallsHandIn, HandedInCall
from piecework.worker_agent.link.control import ControlServer
from piecework.worker_agent.link.link import is_refusal

log = structlog.get_logger()

HAND_IN_S = 1.0
"""So often calls are handed in."""
REQUEST_BYTES = 4 * 1024 * 1024
"""One request has no more of them, unless a single one is larger."""


class Recordings:
    """The folders in which replicas put recorded calls, by the replicas' ids.

    ``hand_in`` is for one thread, all else for another one.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def open_folder(self, replica: Id) -> Path:
        """Return the folder of a replica. Raises OSError."""
        folder = self._root / str(int(replica))
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def tidy(self, replicas: Collection[Id]) -> None:
        """Drop what other replicas than these recorded: they are gone."""
        known = {str(int(replica)) for replica in replicas}
        for folder in self._root.iterdir() if self._root.is_dir() else ():
            if folder.name not in known:
                shutil.rmtree(folder, ignore_errors=True)

    def hand_in(self, worker: Id, server: ControlServer) -> None:
        """Give the server what replicas recorded. What it refuses is dropped; while it is away, files stay."""
        for files in self._pack():
            calls = [HandedInCall(replica=Id(path.parent.name), call=data) for path, data in files]
            try:
                taken = server.hand_in_calls(worker, CallsHandIn(calls=calls))
                reason = taken.refused or ""
            except ClientError as error:
                if not is_refusal(error):
                    return
                reason = str(error)
            if reason:
                log.warning("the server does not keep some recorded calls", reason=reason)
            for path, _ in files:
                path.unlink(missing_ok=True)

    def _pack(self) -> Iterator[list[tuple[Path, bytes]]]:
        """Yield files with their bytes, as many as go into one request."""
        pack: list[tuple[Path, bytes]] = []
        size = 0
        for path in sorted(self._root.glob("*/*.call")):
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                continue  # its replica is gone
            if pack and size + len(data) > REQUEST_BYTES:
                yield pack
                pack, size = [], 0
            pack.append((path, data))
            size += len(data)
        if pack:
            yield pack
