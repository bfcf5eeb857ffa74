"""``worker-agent exec``: one call of a function, in a guest process that shares our standard streams."""

import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import FrameType, TracebackType
from typing import NamedTuple, NoReturn, Self

import click
from msgspec.structs import replace

from piecework.protocol.codes import ErrorKind
from piecework.protocol.text import find_fault
from piecework.terminal.exits import exit_status
from piecework.terminal.inputs import copy_piped_input
from piecework.terminal.texts import escape_text
from piecework.worker_agent.guests.assignment import Loss
from piecework.worker_agent.guests.frames import Assign, Attached, Done
from piecework.worker_agent.guests.process import GuestProcess
from piecework.worker_agent.guests.slot import write_loss
from piecework.worker_agent.runtimes.services.access import NodeRules
from piecework.worker_agent.runtimes.trees import remove_tree
from piecework.worker_agent.serving.entries import open_entries
from piecework.worker_agent.serving.function import HTTP, Function, FunctionError, Version
from piecework.worker_agent.serving.solo import LOAD_S, Solo, follow
from piecework.worker_agent.tasks import File

LOGS_WITH_ANSWER = {"capsule", "funless"}
"""Runtimes whose functions have no output beside their answer: what they log is for the same reader."""
UNREAD = 128 + signal.SIGPIPE
"""The exit code when nobody reads the output any more."""
OPTIONS = {ErrorKind.TIMEOUT: "--timeout", ErrorKind.MEMORY: "--memory", ErrorKind.FUEL: "--fuel"}
"""What raises the limit that a guest met."""
STACK_IS_FULL = "call stack exhausted"
"""What wasmtime says of a guest whose calls take more stack than it has."""


class Streams(NamedTuple):
    """Our standard streams, under numbers that a guest process can have, too."""

    stdin: int
    stdout: int
    stderr: int


class Launch:
    """A guest process that starts while it is found out what it is to run. ``with`` this."""

    def __init__(self, compiled: Path, interpreters: Path, rules: NodeRules, compile_bytes: int) -> None:
        self._compiled, self._interpreters, self._rules = compiled, interpreters, rules
        self._compile_bytes = compile_bytes
        self._exits = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._compiled.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._exits.enter_context(_ended_by_signals())
        self._folder = Path(tempfile.mkdtemp(prefix="piecework-exec-"))
        self._exits.callback(remove_tree, self._folder)
        self._streams = self._exits.enter_context(_share_streams())
        start = partial(
            GuestProcess,
            compiled=self._compiled,
            last_words=self._folder / "stderr",
            interpreters=self._interpreters,
            rules=self._rules,
            load_s=LOAD_S,
            compile_bytes=self._compile_bytes,
            shared=self._streams,
            scratch=self._folder,
        )
        self._solo: Solo = self._exits.enter_context(follow(start))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exits.__exit__(kind, error, trace)

    def run(self, function: Function) -> int:
        """Run a function, and return what the command ends with. Raises FunctionError when it fails otherwise."""
        version = function.read(self._folder)
        frame = _assign(version, self._streams, self._folder)
        end = self._solo.perform(frame, open_entries(function.kv_server))
        return _read_end(end)


class _SignalledError(BaseException):
    """A signal came that is to end this process."""


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Have a signal that ends this process end the block first, and then the process as it is used to."""
    signals = [each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) is signal.SIG_DFL]

    def end(number: int, _frame: FrameType | None) -> NoReturn:
        for each in signals:
            signal.signal(each, signal.SIG_IGN)  # the next one would keep the block from ending
        raise _SignalledError(number)

    for each in signals:
        signal.signal(each, end)
    try:
        yield
    except _SignalledError as error:
        [number] = error.args
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    finally:
        for each in signals:
            signal.signal(each, signal.SIG_DFL)


@contextlib.contextmanager
def _share_streams() -> Iterator[Streams]:
    """Yield our standard streams. One that is closed fails, as ``prepare_streams`` has it."""
    streams = Streams(*map(os.dup, range(3)))
    try:
        yield streams
    finally:
        for descriptor in streams:
            os.close(descriptor)


def _assign(version: Version, streams: Streams, folder: Path) -> Assign:
    """Return what the process is to do: what the user gave is where the function looks for it."""
    task = version.task
    with_answer = task.runtime in LOGS_WITH_ANSWER
    log = streams.stdout if with_answer else streams.stderr
    if not with_answer and task.mode != HTTP:
        attached = Attached(
            streams.stdin, streams.stdout, log,
            args=tuple(map(os.fsencode, task.args)),
            env={os.fsencode(name): os.fsencode(value) for name, value in task.env.items()},
        )  # fmt: skip
        return Assign(1, replace(task, args=(), env={}), "", attached=attached)
    if fault := find_fault({"args": task.args, "env": task.env}):
        raise FunctionError(f"{version.file} takes UTF-8 only: {fault}")
    text = " ".join(task.args).encode()
    if text and (task.runtime == "funless" or task.mode == HTTP):
        task = replace(task, args=(), input=text)
    elif not (text and task.runtime == "capsule"):
        task = replace(task, input=_take_stdin(folder))
    return Assign(1, task, "", attached=Attached(None, streams.stdout, log, ends_line=with_answer))


def _take_stdin(folder: Path) -> bytes | File:
    """Return the input of a task that is read as a whole: standard input, unless that is a person."""
    path = folder / "input"
    with path.open("wb") as file:
        given = copy_piped_input(file, lambda hint: click.echo(f"worker-agent: {hint}", err=True))
    return File(str(path)) if given else b""


def _read_end(end: Done | Loss) -> int:
    """Return what the command ends with. Raises FunctionError when something else than the guest ended it."""
    if isinstance(end, Loss):
        raise FunctionError(write_loss(end) + _name_option(end.kind))
    error = end.result.error
    if error is None:
        return 0
    if error.kind is ErrorKind.OUTPUT:
        return UNREAD
    if end.result.exit_code:
        if error.kind is ErrorKind.MEMORY:  # what it said itself is on the screen already
            _warn(error.message + _name_option(error.kind))
        return exit_status(end.result.exit_code)
    kind = "" if error.kind in {ErrorKind.GUEST, ErrorKind.WORKER} else f"{error.kind}: "
    option = ": --stack raises it" if error.message == STACK_IS_FULL else _name_option(error.kind)
    raise FunctionError(f"{kind}{error.message}{option}")


def _name_option(kind: ErrorKind) -> str:
    return f": {OPTIONS[kind]} raises it" if kind in OPTIONS else ""


def _warn(message: str) -> None:
    sys.stderr.write(f"worker-agent: {escape_text(message)}\n")
