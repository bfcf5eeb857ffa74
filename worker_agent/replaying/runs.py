"""A run as its receipt and its bundle describe it: put into a folder, ready to be run again."""

from collections.abc import Iterable
from pathlib import Path

from piecework.receipts.errors import ReceiptError
from piecework.receipts.parts import LIST_MAX_BYTES, TEXTS_MAX_BYTES, read_args, read_env, read_list
from piecework.receipts.payload import RunLimits, RunSubject
from piecework.receipts.recorded_calls import RunParts
from piecework.worker_agent.errors import AgentError
from piecework.worker_agent.runtimes import Engine
from piecework.worker_agent.runtimes.base import Bounds, CodeFile
from piecework.worker_agent.tasks import File, JobFolder, Task


class ReplayError(AgentError):
    """A run cannot be repeated; the message says why."""


def unpack(
    parts: RunParts, folder: Path, *, engine: Engine, timeout_s: float, new_code: CodeFile | None = None
) -> Task:
    """Put what a run is of into a folder, and return the task that does its run again.

    It is granted nothing. ``new_code`` is run in the place of the run's own. Raises ReplayError for a run that
    cannot be repeated, ReceiptError for parts that are damaged, OSError.
    """
    subject = parts.claim.subject
    if subject.profile == "record" and subject.journal is None:
        raise ReplayError("the run was recorded, and its journal was not kept: it cannot be repeated")
    for name, digest in (("code", subject.module), ("input", subject.input), ("journal", subject.journal)):
        if digest is not None and (name != "code" or new_code is None):
            parts.copy(digest, folder / name)
    return Task(
        runtime=subject.runtime,
        codex=str(folder / "code" if new_code is None else new_code.path),
        checksum=subject.module if new_code is None else new_code.checksum,
        input=File(str(folder / "input")),
        bounds=_read_bounds(subject.limits, timeout_s),
        args=tuple(read_args(parts.read(subject.args, TEXTS_MAX_BYTES))),
        env=read_env(parts.read(subject.env, TEXTS_MAX_BYTES)),
        seed=bytes.fromhex(subject.seed),
        record=subject.profile == "record",
        journal=None if subject.journal is None else File(str(folder / "journal")),
        engine=engine,
        mode=subject.mode,
        served=subject.served,
        ok_codes=tuple(subject.ok_codes),
        inputs=_unpack_inputs(parts, subject, folder / "inputs"),
        folder=_unpack_own(parts, subject, folder / "own"),
    )


def _read_bounds(limits: RunLimits, timeout_s: float) -> Bounds:
    return Bounds(
        timeout_s=timeout_s,
        memory_bytes=int(limits.memory_bytes),
        output_bytes=int(limits.output_bytes),
        fuel=None if limits.fuel is None else int(limits.fuel),
        files_bytes=int(limits.files_bytes),
        files_count=int(limits.files_count),
        open_files=int(limits.open_files),
        stack_bytes=int(limits.stack_bytes),
    )


def _unpack_inputs(parts: RunParts, subject: RunSubject, folder: Path) -> str | None:
    if subject.inputs is None:
        return None
    listed = read_list(parts.read(subject.inputs, LIST_MAX_BYTES), "the list of its inputs")
    _unpack_files(parts, listed, folder)
    return str(folder)


def _unpack_own(parts: RunParts, subject: RunSubject, folder: Path) -> JobFolder | None:
    if subject.files is None:
        if subject.outputs:
            raise ReceiptError("the receipt is wrong: a job without a directory of its own gives no files back")
        return None
    listed = read_list(parts.read(subject.files, LIST_MAX_BYTES), "the list of its files")
    _unpack_files(parts, listed, folder)
    return JobFolder(str(folder), tuple(subject.outputs), subject.files)


def _unpack_files(parts: RunParts, listed: Iterable[tuple[str, str]], folder: Path) -> None:
    folder.mkdir(mode=0o700)
    for path, digest in listed:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        parts.copy(digest, target)
