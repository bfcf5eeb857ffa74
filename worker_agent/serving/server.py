"""``worker-agent serve``: one function over HTTP, in a front process and its guest processes."""

import asyncio
import ctypes
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

import structlog

from piecework.http.serving import ListenOptions, leave_on_signals, serve_app, start_thread, wait_until_listening
from piecework.tracing import open_tracer
from piecework.worker_agent.cache import trim_folder
from piecework.worker_agent.guests.executor import COMPILED_BYTES
from piecework.worker_agent.guests.process import GuestProcess
from piecework.worker_agent.guests.scratch import Scratch
from piecework.worker_agent.logs import configure_logs
from piecework.worker_agent.runtimes.base import COMPILE_BYTES
from piecework.worker_agent.serving.bodies import Exchange, Scope
from piecework.worker_agent.serving.calls import CALLS, BusyError, CallExecutor, LostError
from piecework.worker_agent.serving.entries import open_entries
from piecework.worker_agent.serving.front import Front, FrontOptions
from piecework.worker_agent.serving.function import Function, FunctionError
from piecework.worker_agent.serving.log_writer import LogWriter
from piecework.worker_agent.serving.recording import CallRecorder, RecordingPlan

CONNECTIONS = 4096
HEAD_BYTES = 64 * 1024
"""Longest head of a request; longer ones get the status 431."""
SEED_BYTES = 32
REHEARSAL_WAIT_S = 120.0
_PR_SET_PDEATHSIG = 1

log = structlog.get_logger("function")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that the processes of a served function need to know."""

    function: Function
    options: FrontOptions
    compiled: Path
    interpreters: Path
    compile_bytes: int = COMPILE_BYTES
    processes: int
    queue: int
    log_format: str = "console"
    otel_endpoint: str = ""
    """Where traces are sent; "": nowhere."""
    recording: RecordingPlan | None = None
    """Which calls are recorded; None: none."""


def serve(plan: Plan, host: str, certificate: Path | None, key: Path | None) -> NoReturn:
    """Serve until SIGTERM or SIGINT; SIGHUP reloads. Exits the process: with 1 when the function cannot run."""
    plan.compiled.mkdir(mode=0o700, parents=True, exist_ok=True)
    trim_folder(plan.compiled, COMPILED_BYTES)
    listen = ListenOptions(
        host=host,
        port=plan.options.port,
        is_async=True,
        connections=CONNECTIONS,
        stop_timeout_s=round(plan.function.bounds.timeout_s + CALLS.grace_s) + 1,
        certificate=certificate,
        key=key,
        head_bytes=HEAD_BYTES,
    )
    leave_on_signals()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the app takes it over
    serve_app(listen, _App(plan, listen))


def end_with_parent() -> None:
    """Have the kernel end this process when the one that started it ends, however that happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == 1:
        os._exit(1)


def launch(plan: Plan, folder: Path) -> GuestProcess:
    """Start a guest process; its last words go to a file in a folder. Raises OSError."""
    words = folder / f"{time.monotonic_ns()}.stderr"
    return GuestProcess(
        compiled=plan.compiled,
        last_words=words,
        interpreters=plan.interpreters,
        rules=plan.function.rules,
        compile_bytes=plan.compile_bytes,
    )


def open_recorder(plan: RecordingPlan | None) -> CallRecorder | None:
    """Return what has calls recorded, if some are to be."""
    if plan is None:
        return None
    return CallRecorder(plan, clock=time.time, draw=random.random, draw_seed=partial(os.urandom, SEED_BYTES))


async def _rehearse_recording(executor: CallExecutor) -> None:
    """Have the code compiled as recorded calls need it, before one comes. Raises FunctionError."""
    try:
        done = await executor.perform(executor.version.assign_rehearsal(bytes(SEED_BYTES)), REHEARSAL_WAIT_S)
        error = done.result.error
        reason = "" if error is None else executor.version.explain(error)
    except (BusyError, LostError) as failure:
        reason = str(failure)
    if reason:
        await executor.close()
        raise FunctionError(f"its calls cannot be recorded: {reason}")


class _App:
    """What granian calls."""

    def __init__(self, plan: Plan, listen: ListenOptions) -> None:
        configure_logs(plan.log_format, "info")
        self._plan = plan
        self._listen = listen
        self._log_writer = LogWriter()
        self._tracer = open_tracer("piecework-replica", plan.otel_endpoint)
        self._front = Front(self._open, plan.options, self._tracer, open_recorder(plan.recording))
        self._reloading: asyncio.Task[None] | None = None
        self._changed = False
        self._entries = open_entries(plan.function.kv_server)
        self.__rsgi__: Callable[[Scope, Exchange], object] = self._front.answer

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.run_until_complete(self._front.open())
        except FunctionError as error:
            log.error("cannot serve", reason=str(error))  # noqa: TRY400  # the message is all there is to say
            sys.exit(1)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        start_thread("announce", self._announce)

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.run_until_complete(self._front.executor.close())
        self._log_writer.close()
        if self._tracer:
            self._tracer.close()

    async def _open(self) -> CallExecutor:
        plan, scratch = self._plan, Scratch("piecework-serve-")
        try:
            version = await asyncio.to_thread(plan.function.read, scratch.path)
        except (FunctionError, OSError) as error:
            scratch.remove()
            raise FunctionError(str(error)) from error
        executor = CallExecutor(
            version,
            partial(launch, plan, scratch.path),
            self._log_writer,
            processes=plan.processes,
            queue=plan.queue,
            release=scratch.remove,
            entries=self._entries,
        )
        await executor.open()
        if plan.recording is not None:
            await _rehearse_recording(executor)
        return executor

    def _reload(self) -> None:
        self._changed = True
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.ensure_future(self._follow_changes())

    async def _follow_changes(self) -> None:
        """Reload as long as somebody asks for it, one time after the other."""
        while self._changed:
            self._changed = False
            await self._front.reload()

    def _announce(self) -> None:
        if wait_until_listening(self._listen):
            log.info(
                "serving on %s",
                self._listen.url,
                runtime=self._front.executor.version.task.runtime,
                pid=os.getpid(),
            )
