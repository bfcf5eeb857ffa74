"""``worker-agent exec``: one call of a function, in a guest process."""

import asyncio
import sys
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from io import BytesIO
from pathlib import Path

import click
from msgspec.structs import replace

from piecework.inputs import copy_piped_input
from piecework.protocol.codes import ErrorKind
from piecework.terminal import escape_pieces
from worker_agent.guests.frames import Assign, Done
from worker_agent.guests.process import GuestProcess
from worker_agent.guests.slot import START_WITHIN_S
from worker_agent.serving.calls import BusyError, CallExecutor, LostError
from worker_agent.serving.function import HTTP, Function, FunctionError, Version
from worker_agent.serving.log_writer import LogWriter
from worker_agent.serving.server import launch
from worker_agent.tasks import File, Task

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
        task = Assign(1, _write_task(version, folder), str(folder / "output"))
        log_writer = LogWriter(_STDOUT if version.task.runtime in LOGS_WITH_ANSWER else _STDERR)
        try:
            start = partial(launch, compiled, interpreters, function.rules, folder)
            done = asyncio.run(_call(version, task, start, log_writer))
        finally:
            log_writer.close()
        _show(done, ends_line=version.task.runtime in LOGS_WITH_ANSWER)


def _write_task(version: Version, folder: Path) -> Task:
    """Return the task: what the user gave as arguments or on standard input is where the function looks for it."""
    task = version.task
    args = " ".join(task.args).encode()
    if args and (task.runtime == "funless" or task.mode == HTTP):
        return replace(task, args=(), input=args)
    if args and task.runtime == "capsule":
        return task
    return replace(task, input=_take_stdin(folder))


def _take_stdin(folder: Path) -> bytes | File:
    """Return the input of a task: what comes on standard input, unless that is a person."""
    path = folder / "input"
    with path.open("wb") as file:
        given = copy_piped_input(file, lambda hint: click.echo(f"worker-agent: {hint}", err=True))
    return File(str(path)) if given else b""


async def _call(version: Version, task: Assign, start: Callable[[], GuestProcess], log_writer: LogWriter) -> Done:
    """Have a task done. Raises FunctionError when its process does not survive it."""
    executor = CallExecutor(version, start, log_writer, processes=1, queue=0, rehearses=False)
    await executor.open()
    try:
        return await executor.perform(task, START_WITHIN_S)
    except (LostError, BusyError) as error:
        raise FunctionError(str(error)) from error
    finally:
        await executor.close()


def _show(done: Done, *, ends_line: bool) -> None:
    """Write the answer. Raises FunctionError when there is none."""
    if done.result.error is not None:
        kind = "" if done.result.error.kind is ErrorKind.GUEST else f"{done.result.error.kind}: "
        raise FunctionError(f"{kind}{done.result.error.message}")
    output = done.result.output
    with BytesIO(output) if isinstance(output, bytes) else Path(output.path).open("rb") as file:
        _write(iter(partial(file.read, _COPY_BYTES), b""))
    if ends_line and isinstance(output, bytes) and not output.endswith(b"\n"):
        _write([b"\n"])


def _write(pieces: Iterable[bytes]) -> None:
    """Write to standard output, as it is unless that is a terminal."""
    sys.stdout.buffer.writelines(escape_pieces(pieces) if sys.stdout.isatty() else pieces)
    sys.stdout.buffer.flush()
