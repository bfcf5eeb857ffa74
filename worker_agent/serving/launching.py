"""``worker-agent exec``: one call of a function, in a guest process."""

import asyncio
import sys
import tempfile
from collections.abc import Iterable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import click
from msgspec.structs import replace

from piecework.inputs import copy_piped_input
from piecework.protocol.codes import ErrorKind
from piecework.terminal import escape_pieces
from worker_agent.guests.frames import Assign, Done
from worker_agent.guests.process import GuestProcess
from worker_agent.runtimes.services.store import MemoryStore
from worker_agent.serving.attendant import Attendant, LostError, describe_loss
from worker_agent.serving.function import HTTP, Function, FunctionError, Version
from worker_agent.serving.journal import Journal
from worker_agent.serving.server import launch

LOGS_WITH_ANSWER = {"capsule", "funless"}
"""Runtimes whose functions have no output beside their answer: what they log is for the same reader."""
_STDOUT, _STDERR = 1, 2
_COPY_BYTES = 1024 * 1024


def run_once(function: Function, compiled: Path, interpreters: Path) -> None:
    """Run a function and write what it logs and answers. Raises FunctionError when it fails."""
    compiled.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="piecework-exec-") as name:
        folder = Path(name)
        version = function.read(folder)
        spool = folder / "output"
        task = _assign(version, folder, spool)
        process = launch(compiled, interpreters, function.rules, folder / "stderr")
        journal = Journal(_STDOUT if version.runtime in LOGS_WITH_ANSWER else _STDERR)
        try:
            done = asyncio.run(_call(task, process, journal))
        finally:
            process.kill()
            journal.close()
        _show(done, spool, ends_line=version.runtime in LOGS_WITH_ANSWER)


def _assign(version: Version, folder: Path, spool: Path) -> Assign:
    """Return the task: what the user gave as arguments or on standard input is where the function looks for it."""
    args = " ".join(version.function.args).encode()
    if version.runtime == "funless" or version.function.mode == HTTP:
        task = version.assign(spool=str(spool))
        return replace(task, args=(), input=args) if args else replace(task, **_take_stdin(folder))
    if version.runtime == "capsule" and args:
        return version.assign(spool=str(spool))
    return replace(version.assign(spool=str(spool)), **_take_stdin(folder))


def _take_stdin(folder: Path) -> dict[str, Any]:
    """Return the fields of a task whose input is what comes on standard input, unless that is a person."""
    path = folder / "input"
    with path.open("wb") as file:
        given = copy_piped_input(file, lambda hint: click.echo(f"worker-agent: {hint}", err=True))
    return {"input": None, "input_path": str(path)} if given else {}


async def _call(task: Assign, process: GuestProcess, journal: Journal) -> Done:
    """Have a task done. Raises FunctionError when its process does not survive it."""
    attendant = Attendant(process, asyncio.get_running_loop(), MemoryStore(), journal)
    watch = asyncio.ensure_future(attendant.watch())
    try:
        await attendant.start()
        return await attendant.perform(task)
    except LostError as error:
        raise FunctionError(describe_loss(attendant, error, task.bounds.timeout_s)) from error
    finally:
        watch.cancel()
        attendant.leave()


def _show(done: Done, spool: Path, *, ends_line: bool) -> None:
    """Write the answer. Raises FunctionError when there is none."""
    if done.error is not None:
        kind = "" if done.error.kind is ErrorKind.GUEST else f"{done.error.kind}: "
        raise FunctionError(f"{kind}{done.error.message}")
    with spool.open("rb") if done.spooled else BytesIO(done.output) as file:
        _write(iter(partial(file.read, _COPY_BYTES), b""))
    if ends_line and not done.spooled and not done.output.endswith(b"\n"):
        _write([b"\n"])


def _write(pieces: Iterable[bytes]) -> None:
    """Write to standard output, as it is unless that is a terminal."""
    sys.stdout.buffer.writelines(escape_pieces(pieces) if sys.stdout.isatty() else pieces)
    sys.stdout.buffer.flush()
