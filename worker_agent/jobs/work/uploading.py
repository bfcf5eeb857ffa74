"""What jobs produced goes to the server: inside of their outcomes while it is small, else as blobs."""

import hashlib
from pathlib import Path
from typing import BinaryIO, NamedTuple

from msgspec import structs

from piecework.client import ClientError, TooLarge
from piecework.protocol.codes import ErrorKind
from piecework.protocol.job_files import sum_files
from piecework.protocol.messages import BlobRef, Content, LeaseRef, MadeFile, Outcome
from piecework.worker_agent.errors import AgentError
from piecework.worker_agent.jobs.leases.outbox import ref_of
from piecework.worker_agent.jobs.shared import JobsShared
from piecework.worker_agent.jobs.work.collecting import Collection, FoundFile, open_file
from piecework.worker_agent.jobs.work.fetching import NotWantedError
from piecework.worker_agent.link.link import describe, is_refusal


class NotTakenError(AgentError):
    """The server does not take something."""

    def __init__(self, kind: ErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class _Brought(NamedTuple):
    """Bytes that the server has, or gets with the outcome."""

    content: BlobRef
    checksum: str
    """SHA-256, hex."""


class Uploader:
    """Brings what jobs produced to the server. Its methods may be called from any thread.

    They raise NotWantedError when nobody wants the outcome any more, NotTakenError, and OSError when something
    cannot be read.
    """

    def __init__(self, shared: JobsShared, inline_max_bytes: int) -> None:
        self._shared = shared
        self._inline_max_bytes = inline_max_bytes

    def add_output(self, outcome: Outcome, output: bytes | Path) -> None:
        """Add a job's output to its outcome."""
        outcome.output = self._bring(ref_of(outcome), output)

    def add_journal(self, outcome: Outcome, journal: bytes | Path) -> None:
        """Add what a job's guest got from outside to its outcome."""
        outcome.journal = self._bring(ref_of(outcome), journal)

    def add_files(self, outcome: Outcome, folder: Path, found: Collection, *, is_all: bool) -> None:
        """Add the files that a job gives back to its outcome, with their digest if it ``is_all`` that fit."""
        room, made, sums = self._inline_max_bytes, [], []
        for file in found.files:
            brought = self._bring_file(ref_of(outcome), folder, file, room)
            room -= 0 if isinstance(brought.content, str) else file.size
            made.append(MadeFile(name=file.name, content=brought.content))
            sums.append((file.name, brought.checksum))
        outcome.made = made
        if outcome.usage.digests is not None and is_all:
            digests = structs.replace(outcome.usage.digests, made=sum_files(sums))
            outcome.usage = structs.replace(outcome.usage, digests=digests)

    def _bring(self, ref: LeaseRef, source: bytes | Path) -> BlobRef:
        size = source.stat().st_size if isinstance(source, Path) else len(source)
        if size <= self._inline_max_bytes:
            return Content(raw=source.read_bytes() if isinstance(source, Path) else source)
        return self._upload(ref, source).content

    def _bring_file(self, ref: LeaseRef, folder: Path, file: FoundFile, room: int) -> _Brought:
        with open_file(folder, file.name) as opened:
            if file.size > room:
                return self._upload(ref, opened)
            data = opened.read(file.size)
            return _Brought(Content(raw=data), hashlib.sha256(data).hexdigest())

    def _upload(self, ref: LeaseRef, source: bytes | Path | BinaryIO) -> _Brought:
        """Upload until it works, the server refuses, or nobody wants it any more."""
        backoff = self._shared.new_backoff()
        while self._shared.lease_table.is_open(ref) and not self._shared.stop.is_set():
            try:
                reply = self._shared.server.upload(source)
            except TooLarge as error:
                raise NotTakenError(ErrorKind.OUTPUT, error.message) from error
            except ClientError as error:
                if is_refusal(error):
                    raise NotTakenError(ErrorKind.WORKER, describe(error)) from error
                self._shared.link.failed(error)
                self._shared.stop.wait(backoff.next_s(error))
            else:
                self._shared.link.answered()
                return _Brought(str(int(reply.id)), reply.checksum)
        raise NotWantedError
