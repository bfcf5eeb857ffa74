"""One task in one guest process, without threads or an event loop: soon begun, and ended with who waits for it."""

import selectors
import time
from collections.abc import Callable
from typing import Self

from piecework.worker_agent.guests.assignment import Assignment, Loss
from piecework.worker_agent.guests.frames import Ask, Assign, Done, Told
from piecework.worker_agent.guests.pool import Pool
from piecework.worker_agent.guests.process import GuestProcess
from piecework.worker_agent.guests.slot import Order, Policy, Slot
from piecework.worker_agent.runtimes.services.entries import (
    ENTRY_PATIENCE_S,
    GuestEntries,
    NoEntries,
    find_refusal,
)
from piecework.worker_agent.serving.function import FunctionError

LOOK_S = 1.0
LOAD_S = 900.0
"""For compiling: who runs a program of 70 MB by hand, on a busy machine, waits as long as that takes."""
SOLO: Policy[Assignment] = Policy(grace_s=10.0, load_s=LOAD_S, depth=1, broken_after=1, repeats=False)
"""Nobody waits behind it: on a busy machine there is time to say how far it came."""


class Solo:
    """Has one task done. What is left of its process goes when the block ends: ``with`` this."""

    def __init__(self, process: GuestProcess) -> None:
        """Take a process that was just started."""
        self._process: GuestProcess | None = process
        self._pool: Pool[Assignment] = Pool(SOLO, 1)
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._selector.close()
        if self._process is not None:
            self._process.kill()

    def perform(self, frame: Assign, entries: GuestEntries | None = None) -> Done | Loss:
        """Return how the task ended. Raises FunctionError when there is no guest process.

        ``entries`` is where its keys and values are; None: nowhere.
        """
        pool, [slot] = self._pool, self._pool.slots
        pool.add([Assignment(frame.key, frame)], time.monotonic())
        while not (ended := pool.take_ended()):
            _, failed_starts = pool.work(time.monotonic(), pool.slots)
            if failed_starts:
                raise FunctionError(failed_starts[0][0])
            orders = pool.take_orders()
            for _, order in orders:
                self._obey(slot, order)
            if not orders and not pool.has_ended:
                self._exchange(slot)
            for _, task, ask in pool.take_asked():
                self._answer(slot, task, ask, entries or NoEntries())
        [(_, end)] = ended
        return end

    def _obey(self, slot: Slot[Assignment], order: Order) -> None:
        process, now = self._process, time.monotonic()
        if order is Order.START and process is not None:
            slot.started(now)
        elif order is Order.START:
            slot.failed("the guest process has ended", now)
        elif process is not None:
            self._process = None
            slot.ended(process.end(kill=order is Order.KILL), now)

    def _exchange(self, slot: Slot[Assignment]) -> None:
        """Send what there is for the process, and hear what it says."""
        process = self._process
        if process is None:
            return
        frames, slot.outbox = slot.outbox, []
        process.send(*frames)
        self._wait(process, slot)
        process.flush()
        reports, alive = process.receive()
        slot.hear(reports, time.monotonic())
        if not alive:
            slot.lost()

    def _answer(self, slot: Slot[Assignment], task: Assignment, ask: Ask, entries: GuestEntries) -> None:
        """Do what the guest wants of a namespace; nobody else waits meanwhile."""
        done = task.frame.task
        answer = find_refusal(ask.request, None if done.sealed else done.grants)
        if answer is None:
            now = time.monotonic()
            until = min(now + ENTRY_PATIENCE_S, slot.next_due_at(now) - SOLO.grace_s)
            answer = entries.perform(ask.request, until, lambda: True)
        if self._process is not None:
            self._process.send(Told(ask.key, ask.number, answer))

    def _wait(self, process: GuestProcess, slot: Slot[Assignment]) -> None:
        now = time.monotonic()
        self._selector.register(process.link, process.awaited_events())
        self._selector.select(max(0.0, min(LOOK_S, slot.next_due_at(now) - now)))
        self._selector.unregister(process.link)


def follow(start: Callable[[], GuestProcess]) -> Solo:
    """Start a process for one task. Raises FunctionError."""
    try:
        return Solo(start())
    except OSError as error:
        raise FunctionError(f"the guest process cannot be started: {error}") from error
