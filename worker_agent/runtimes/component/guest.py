"""One running component: what its calls to the host act on."""

import threading
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn
from weakref import WeakSet

from piecework.worker_agent.runtimes.base import Call, InputStream
from piecework.worker_agent.runtimes.component.values import Type
from piecework.worker_agent.runtimes.services import GuestServices
from piecework.worker_agent.runtimes.stopping import LOOK_S, StopReason, StopSignal
from piecework.worker_agent.runtimes.streams import Bytes
from piecework.worker_agent.runtimes.verdict import GuestFailedError
from piecework.worker_agent.runtimes.wasi.clocks import (
    NS_PER_S,
    ClockId,
    JournaledClock,
    choose_clock,
    choose_random,
)
from piecework.worker_agent.runtimes.wasi.fs.journaled_files import Granted, open_directories

PROGRAM_NAME = "lambda"
"""``argv[0]``."""
HANDLES_MAX = 4096
"""So many things of the host a guest may have at a time."""


class FailureError(Exception):
    """Answers a call of the guest with the bad end of its result."""

    def __init__(self, value: Any = None) -> None:
        super().__init__(value)
        self.value = value


class ComponentExitError(Exception):
    """The guest ended itself, well or not."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exit code {code}")
        self.code = code


class HostFunction(NamedTuple):
    """A function of the host."""

    parameters: Sequence[Type]
    result: Type | None
    act: Callable[..., Any]
    """Takes the guest and the arguments. FailureError is the bad end of a result; all else ends the guest."""


class Interface(NamedTuple):
    """What the host offers under one name."""

    functions: Mapping[str, HostFunction] = MappingProxyType({})
    resources: Mapping[str, int] = MappingProxyType({})
    """The types of resources that are at home here, by the number that each has."""


class ComponentGuest:
    """The state that a component's process would have, were it one."""

    def __init__(self, call: Call, *, is_command: bool) -> None:
        """``is_command``: its standard streams are the call's input and output. Else what it prints is logged."""
        self.call = call
        self.stop = call.stop
        self.context = 0
        self.random = choose_random(call)
        self.clock = choose_clock(call)
        self.ticking = self.clock.unseen if isinstance(self.clock, JournaledClock) else self.clock
        """The clock by which it waits: how often it is looked at then is nothing for a journal."""
        self.input: InputStream = call.input if is_command else BytesIO()
        self.write_output: Callable[[Bytes], object] = call.output.write if is_command else call.log.write
        self.news = threading.Event()
        """Set whenever something is done that a guest may wait for."""
        self.requests = 0
        """How many requests to others, and answers to them, it holds."""
        self.fields = WeakSet[Any]()
        """The headers that it made, wherever they belong now."""
        self.responses, self.sent = WeakSet[Any](), WeakSet[Any]()
        """The bodies that it writes: of responses, and of requests to others."""
        self.pending = 0
        """How many requests are under way."""
        self._ending = StopSignal()
        self.sent_requests = 0
        """How many requests it began: their numbers."""
        self.services = GuestServices(call.access, self._ending)
        self._things: dict[int, Any] = {}
        self._last = 0

    def keep(self, thing: Any) -> int:
        """See ``Resources``. Raises GuestFailedError when it has too many."""
        if len(self._things) >= HANDLES_MAX:
            fail(f"it has more than {HANDLES_MAX} resources of the host open at a time")
        self._last = self._last % 0xFFFF_FFFF + 1
        while self._last in self._things:
            self._last = self._last % 0xFFFF_FFFF + 1
        self._things[self._last] = thing
        return self._last

    def look_up(self, number: int) -> Any:
        return self._things[number]

    def give_up(self, number: int) -> Any:
        return self._things.pop(number)

    def drop(self, number: int) -> None:
        """Close what the guest has no more use for."""
        thing = self._things.pop(number, None)
        if hasattr(thing, "close"):
            thing.close()

    def count(self, kind: type) -> int:
        """Return how many things of this kind it has."""
        return sum(1 for each in self._things.values() if isinstance(each, kind))

    def open_directories(self) -> list[Granted]:
        """Open what was granted; whoever takes it closes it."""
        return open_directories(self.call)

    def now_ns(self) -> int:
        """Return what its monotonic clock shows."""
        return self.clock.read_ns(ClockId.MONOTONIC)

    def watch_ns(self) -> int:
        """Return what its monotonic clock would show, for waiting."""
        return self.ticking.read_ns(ClockId.MONOTONIC)

    def wait(self, duration_ns: int | None) -> None:
        """Wait that long, or for news; None: for news alone. Raises StoppedError."""
        if self.pending:
            self.news.wait(LOOK_S if duration_ns is None else min(duration_ns / NS_PER_S, LOOK_S))
            self.news.clear()
            self.stop.check()
        elif duration_ns is None:
            fail("it waits for the answer to a request whose body it does not finish")
        else:
            self.ticking.sleep(duration_ns)

    def close(self) -> None:
        """Close what is open, and give up what it waits for. Safe to repeat."""
        self._ending.stop(StopReason.CANCELLED)
        self.services.close()
        for number in list(self._things):
            self.drop(number)


def fail(reason: str) -> NoReturn:
    """End the guest, which did what it must not do."""
    raise GuestFailedError(reason)
