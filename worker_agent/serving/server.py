"""``worker-agent serve``: one function over HTTP, in a front process and its guest processes."""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from piecework.http.serving import ListenOptions, serve_app, start_thread, wait_until_listening
from worker_agent.cache import trim_folder
from worker_agent.guests.executor import COMPILED_BYTES
from worker_agent.guests.process import GuestProcess
from worker_agent.logs import configure_logs
from worker_agent.runtimes.services.access import NodeRules
from worker_agent.serving.attendant import GRACE_S
from worker_agent.serving.attendants import Attendants
from worker_agent.serving.bodies import Exchange, Scope
from worker_agent.serving.front import Front, Manners
from worker_agent.serving.function import Function, FunctionError
from worker_agent.serving.journal import Journal

CONNECTIONS = 4096
HEAD_BYTES = 64 * 1024
"""Longest head of a request; longer ones get the status 431."""
_PR_SET_PDEATHSIG = 1

log = structlog.get_logger("function")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that the processes of a served function need to know."""

    function: Function
    manners: Manners
    compiled: Path
    interpreters: Path
    processes: int
    queue: int
    log_format: str = "console"


def serve(plan: Plan, host: str, certificate: Path | None, key: Path | None) -> None:
    """Serve until SIGTERM or SIGINT; SIGHUP reloads. Exits the process with 1 when the function cannot run."""
    plan.compiled.mkdir(mode=0o700, parents=True, exist_ok=True)
    trim_folder(plan.compiled, COMPILED_BYTES)
    listen = ListenOptions(
        host=host,
        port=plan.manners.port,
        is_async=True,
        connections=CONNECTIONS,
        stop_timeout_s=round(plan.function.bounds.timeout_s + GRACE_S) + 1,
        certificate=certificate,
        key=key,
        head_bytes=HEAD_BYTES,
        takes_hangup=True,
    )
    serve_app(listen, partial(_App, plan, listen))


def end_with_parent() -> None:
    """Have the kernel end this process when the one that started it ends, however that happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == 1:
        os._exit(1)


def launch(compiled: Path, interpreters: Path, rules: NodeRules, last_words: Path) -> GuestProcess:
    """Start a guest process. Raises OSError."""
    return GuestProcess(compiled=compiled, last_words=last_words, interpreters=interpreters, rules=rules)


class _App:
    """What granian calls in the process that answers."""

    def __init__(self, plan: Plan, listen: ListenOptions) -> None:
        configure_logs(plan.log_format, "info")
        self._plan = plan
        self._listen = listen
        self._journal = Journal()
        self._front = Front(self._open, plan.manners)
        self._reloading: asyncio.Task[None] | None = None
        self._changed = False
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
        loop.run_until_complete(self._front.attendants.close())
        self._journal.close()

    async def _open(self) -> Attendants:
        plan = self._plan
        start = partial(launch, plan.compiled, plan.interpreters, plan.function.rules)
        attendants = Attendants(plan.function, start, self._journal, processes=plan.processes, queue=plan.queue)
        await attendants.open()
        return attendants

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
                runtime=self._front.attendants.version.task.runtime,
                pid=os.getppid(),
            )
