"""Requests that wait without a thread: each is held as the work that is left of it.

A thread that waits costs a stack, and an arena of memory. So a request keeps its own for its first moments, in
which most end, and then gives it away. A few threads go on with those that are woken, or whose time is up.
"""

import heapq
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from itertools import count
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog
from flask import Flask, Request, Response, request
from flask.globals import app_ctx, request_ctx

from piecework.http.requests import HELD, HOLD, WATCH
from piecework.server.services.callers import note_caller
from piecework.server.services.queue.waiting.pauses import Pause, Resume, Waiter, Work

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

log = structlog.get_logger("server")

THREADS = 16
"""Go on with requests that were held."""
BRIEFLY_MAX = 64
"""Requests that wait in threads of their own at a time."""
ENDS_KEPT = 1000
"""So many ends that came otherwise may be kept, beside as many as are awaited."""

Finish = Callable[[Any], Response]
"""Makes what came of a request's work its response."""


class _End(NamedTuple):
    """When the time of a request that is held is up."""

    at_s: float
    number: int
    waiter: Waiter
    resume: Resume


class Holder:
    """Holds requests, and goes on with them. Its threads start with the first."""

    def __init__(self) -> None:
        self._briefly = threading.BoundedSemaphore(BRIEFLY_MAX)
        self._due: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._change = threading.Condition()
        self._ends: list[_End] = []
        self._count = 0
        """Requests that are held."""
        self._numbers = count()
        self._are_threads_there = False

    def try_briefly(self, pause: Pause) -> bool | None:
        """Wait in this thread for a moment. Returns whether it was woken, None when it has to go on waiting."""
        if not self._briefly.acquire(blocking=False):
            return None
        try:
            is_woken = pause.waiter.sleep_briefly(pause.timeout_s)
        finally:
            self._briefly.release()
        return is_woken or (False if pause.is_brief else None)

    def hold(self, pause: Pause, go_on: Resume) -> None:
        """Have ``go_on`` called, in a thread of this, when the pause is over."""

        def resume(is_woken: bool) -> None:
            with self._change:
                self._count -= 1
            self._due.put(partial(go_on, is_woken))

        end_s = time.monotonic() + min(pause.timeout_s, threading.TIMEOUT_MAX)
        with self._change:
            self._start_threads()
            self._count += 1
        pause.waiter.hold(resume)
        with self._change:  # not before it is held: its time may be up already
            if len(self._ends) > 2 * self._count + ENDS_KEPT:
                self._ends = [each for each in self._ends if each.waiter.holds(each.resume)]
                heapq.heapify(self._ends)
            heapq.heappush(self._ends, _End(end_s, next(self._numbers), pause.waiter, resume))
            if self._ends[0].resume is resume:
                self._change.notify()

    def _start_threads(self) -> None:
        if not self._are_threads_there:
            self._are_threads_there = True
            for target in (self._keep_time, *[self._run] * THREADS):
                threading.Thread(target=target, name="held", daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                self._due.get()()
            except Exception:  # the one net of this thread: others are held as well
                log.exception("bug")

    def _keep_time(self) -> None:
        while True:
            with self._change:
                left_s = self._ends[0].at_s - time.monotonic() if self._ends else None
                if left_s is None or left_s > 0:
                    self._change.wait(left_s)
                    continue
                end = heapq.heappop(self._ends)
            end.waiter.give_up(end.resume)


class HeldResponse(Response):
    """Stands for the response of a request that is held: that one is sent later."""

    def __init__(self, held: "_HeldRequest") -> None:
        super().__init__()
        self._held = held

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Hold the request from now on, and have the web server wait for its answer."""
        del environ, start_response
        self._held.begin()
        return HELD


def answer(app: Flask, asked: Request, work: Work[Any], finish: Finish) -> Response:
    """Drive the work of a view. Returns its response, or what stands for it while it is held."""
    can_hold, holder = HOLD in asked.environ, app.extensions["piecework-holder"]
    try:
        pause = next(work)
        while True:
            is_woken = holder.try_briefly(pause) if can_hold else pause.waiter.sleep(pause.timeout_s)
            if is_woken is None:
                return HeldResponse(_HeldRequest(holder, pause, work, finish))
            pause = work.send(is_woken)
    except StopIteration as end:
        return finish(end.value)


class _HeldRequest:
    """A request that is held."""

    def __init__(self, holder: Holder, pause: Pause, work: Work[Any], finish: Finish) -> None:
        self._holder, self._pause, self._work, self._finish = holder, pause, work, finish
        self._app, self._context = app_ctx.app, request_ctx.copy()
        self._caller, self._send = request.environ.get(WATCH), request.environ[HOLD]

    def begin(self) -> None:
        self._holder.hold(self._pause, self._go_on)

    def _go_on(self, is_woken: bool) -> None:
        note_caller(self._caller)
        with self._context.copy():
            try:
                self._pause = self._work.send(is_woken)
            except StopIteration as end:
                response = self._finish(end.value)
            except Exception as error:  # noqa: BLE001  # it is answered, as of any view
                response = self._app.make_response(self._app.handle_user_exception(error))
            else:
                self.begin()
                return
            self._send(self._app.process_response(response))
