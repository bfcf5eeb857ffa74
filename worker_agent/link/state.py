"""What an agent keeps on disk: its lock, its worker id per server, its caches."""

import fcntl
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Self

import msgspec
import structlog

from piecework.protocol.ids import Id
from piecework.worker_agent.errors import AgentError

log = structlog.get_logger()


class StateError(AgentError):
    """The state directory cannot be used: another agent runs in it, or it cannot be written."""


class WorkerFile(msgspec.Struct, frozen=True):
    """Who this agent is to one server."""

    server: str
    worker: str
    """The worker's id, decimal."""
    registration: str
    """Digest of what was registered; an agent that offers something else says so."""


class StateDirectory:
    """The directory of one agent. Open it before anything else: a second agent in it would break both."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock_fd = -1

    def open(self) -> Self:
        """Create the directory and lock it until ``close`` or the end of the process.

        Raises StateError when another agent has it, or when it cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateError(f"cannot use the state directory {self.path}: {error.strerror}") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(fd, 20, 0).decode(errors="replace").strip() or "unknown"
            os.close(fd)
            raise StateError(
                f"another agent (process {owner}) uses the state directory {self.path};"
                " give each agent its own with --state"
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._lock_fd = fd
        return self

    def close(self) -> None:
        """Unlock the directory. Safe to repeat."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    def find_worker(self, server: str) -> tuple[Id, str] | None:
        """Return the id that this server gave, and the digest of what was registered; None: there is none."""
        try:
            kept = msgspec.json.decode(self._worker_path(server).read_bytes(), type=WorkerFile)
            worker = Id.parse(kept.worker)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, msgspec.DecodeError) as error:
            log.warning("worker id file cannot be read, registering anew", reason=str(error))
            return None
        return (worker, kept.registration) if kept.server == server else None

    def keep_worker(self, server: str, registration: str, worker: Id) -> None:
        """Remember a worker id: the old one or the new one is on disk, never half of it.

        Raises StateError when it cannot be written.
        """
        record = WorkerFile(server=server, worker=str(int(worker)), registration=registration)
        path = self._worker_path(server)
        try:
            handle, name = tempfile.mkstemp(prefix=".worker-", dir=self.path)
            with os.fdopen(handle, "wb") as file:
                file.write(msgspec.json.encode(record))
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except OSError as error:
            raise StateError(f"cannot write {path}: {error.strerror}") from error

    def _worker_path(self, server: str) -> Path:
        return self.path / f"worker-{hashlib.sha256(server.encode()).hexdigest()[:12]}.json"
