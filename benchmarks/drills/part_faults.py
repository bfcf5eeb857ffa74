"""Faults of the parts of a layout: what is killed, frozen or restarted, and for how long."""

import os
import random
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Protocol

from layout import Layout

Start = Callable[[], AbstractContextManager[object]]
"""Makes a fault, which is over at the end of the block."""


class PartFaults:
    """What is done to the parts."""

    def __init__(self, layout: Layout, moments: random.Random) -> None:
        self._layout = layout
        self._moments = moments
        self._agent = layout.agents[0]

    def list_all(self) -> Mapping[str, tuple[Start, float]]:
        """Return each kind, with how many times as long it lasts as others."""
        layout, pick = self._layout, self._moments.choice
        return {
            "server killed": (lambda: killed(pick(layout.servers)), 1),
            "server frozen": (lambda: frozen(pick(layout.servers).pids()), 1),
            "servers restarted in turn": (self._restart_in_turn, 0),
            "agent killed": (lambda: killed(self._agent), 1),
            "agent frozen": (lambda: frozen(self._agent.pids()), 2.5),
            "database killed": (lambda: killed(layout.database), 1),
            "database restarted": (self._restart_database, 0),
            "database frozen": (lambda: frozen(layout.database.pids()), 1),
            "store killed": (lambda: killed(layout.store), 1),
            "store frozen": (lambda: frozen(layout.store.pids()), 1),
            "proxy killed": (lambda: killed(layout.proxy), 1),
        }

    def aim_at(self, agent: str) -> None:
        """Have the next fault of an agent be one of this."""
        [self._agent] = [each for each in self._layout.agents if each.now.log.stem == agent]

    @contextmanager
    def _restart_in_turn(self) -> Iterator[None]:
        yield
        for each in self._layout.servers:
            each.stop()
            each.start()

    @contextmanager
    def _restart_database(self) -> Iterator[None]:
        yield
        self._layout.database.close()
        self._layout.database.start()


class Part(Protocol):
    """What can be killed, and started again where it was."""

    def kill(self) -> None: ...

    def start(self) -> None: ...


@contextmanager
def killed(part: Part) -> Iterator[None]:
    part.kill()
    yield
    part.start()


@contextmanager
def frozen(pids: Iterable[int]) -> Iterator[None]:
    """Stop processes in their tracks; they go on at the end of the block."""
    stopped = list(pids)
    _signal_all(stopped, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal_all(stopped, signal.SIGCONT)


def _signal_all(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
