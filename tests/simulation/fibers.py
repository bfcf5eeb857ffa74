"""Threads, locks and clocks that are none: all runs on one real thread, in simulated time, by a seed's order.

A fiber runs until it waits; then the one whose time comes next goes on. So nothing but the seed decides.
"""

import heapq
import threading
from collections import deque
from collections.abc import Callable
from contextlib import contextmanager
from random import Random
from typing import Any

import greenlet

from piecework.worker_agent.threads import Threads

SWITCH_S = 0.000_05
"""A fiber that could go on does so after up to this long, drawn by lot: so the order of fibers varies."""


class Killed(BaseException):
    """Thrown into the fibers of a machine that has died. Nothing catches it."""


class Fiber:
    """A thread of one machine."""

    def __init__(self, world: "World", machine: "Machine", target: Callable[[], object], name: str) -> None:
        self.world, self.machine, self.name = world, machine, name
        self.is_over = False
        self.turn = 0
        """Rises with each time that it goes on: an appointment made before that is void."""
        self.joiners: list[Fiber] = []
        self._target = target
        self._greenlet = greenlet.greenlet(self._run, world.hub)

    def _run(self) -> None:
        try:
            if not self.machine.is_dead:
                self._target()
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001  # the history fails with it
            self.world.note_bug(self, error)
        finally:
            self.is_over = True
            self.machine.fibers.pop(self, None)
            for each in self.joiners:
                self.world.wake(each)

    def go_on(self) -> None:
        self.turn += 1
        self.world.current = self
        self._greenlet.switch()
        self.world.current = None

    def pause(self) -> None:
        """Give the turn away until somebody wakes this fiber. Raises Killed when its machine has died."""
        self.world.hub.switch()
        if self.machine.is_dead:
            raise Killed


class Machine:
    """A process: what runs on it ends with it."""

    def __init__(self, world: "World", name: str) -> None:
        self.world, self.name = world, name
        self.is_dead = False
        self.still_until_s = 0.0
        """Until then nothing on it goes on."""
        self.fibers: dict[Fiber, None] = {}
        """In the order in which they were started."""

    def start(self, target: Callable[[], object], name: str) -> Fiber:
        fiber = Fiber(self.world, self, target, name)
        self.fibers[fiber] = None
        self.world.wake(fiber)
        return fiber

    def kill(self) -> None:
        """End it as ``kill -9`` does."""
        self.is_dead = True
        for fiber in list(self.fibers):
            self.world.wake(fiber)

    def threads(self) -> Threads:
        """Return what a program on this machine takes for threads."""
        world = self.world
        return Threads(
            new_thread=lambda target, name="", daemon=True: SimulatedThread(self, target, name),  # type: ignore[arg-type, misc]
            new_lock=lambda: SimulatedLock(world),  # type: ignore[arg-type, return-value]
            new_condition=lambda lock: SimulatedCondition(world, lock),  # type: ignore[arg-type, return-value]
            new_event=lambda: SimulatedEvent(world),  # type: ignore[arg-type, return-value]
            new_queue=lambda: SimulatedQueue(world),  # type: ignore[arg-type, return-value]
        )


class World:
    """Simulated time, and who goes on next."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.now_s = 0.0
        self.current: Fiber | None = None
        self.hub = greenlet.getcurrent()
        self.bugs: list[str] = []
        self._due: list[tuple[float, int, int, Fiber]] = []
        self._made = 0
        self._locked_out: list[tuple[threading.Lock, Fiber]] = []

    def wake(self, fiber: Fiber) -> None:
        """Let a fiber go on soon."""
        self._appoint(fiber, self.now_s + self.random.random() * SWITCH_S)

    def _appoint(self, fiber: Fiber, at_s: float) -> None:
        self._made += 1
        heapq.heappush(self._due, (at_s, self._made, fiber.turn, fiber))

    def sleep(self, seconds: float) -> None:
        """Let time pass for the fiber that runs."""
        fiber = self.running
        turn = fiber.turn
        until_s = self.now_s + max(0.0, seconds)
        self._appoint(fiber, until_s)
        fiber.pause()
        assert fiber.turn == turn + 1

    def pause(self, timeout_s: float | None) -> None:
        """Stop the fiber that runs until somebody wakes it, or for so long."""
        fiber = self.running
        if timeout_s is not None:
            self._appoint(fiber, self.now_s + max(0.0, timeout_s))
        fiber.pause()

    @property
    def running(self) -> Fiber:
        assert self.current is not None, "only a fiber can wait"
        return self.current

    def note_bug(self, fiber: Fiber, error: BaseException) -> None:
        """Note that a fiber ended with an error that nothing caught."""
        import traceback  # only for failures

        trace = "".join(traceback.format_exception(error)[-6:])
        self.bugs.append(f"{fiber.machine.name}/{fiber.name} at {self.now_s:.3f} s: {error!r}\n{trace}")

    def run(self, until_s: float, is_over: Callable[[], bool] = lambda: False) -> None:
        """Let everybody work until then, or until it is over."""
        while self._due and not is_over():
            at_s, _, turn, fiber = self._due[0]
            if at_s > until_s:
                break
            heapq.heappop(self._due)
            if fiber.is_over or fiber.turn != turn:
                continue
            self.now_s = max(self.now_s, at_s)
            if fiber.machine.still_until_s > self.now_s and not fiber.machine.is_dead:
                self._appoint(fiber, fiber.machine.still_until_s)
                continue
            fiber.go_on()
            if self._locked_out:
                self._wake_for_locks()
        else:
            return
        self.now_s = max(self.now_s, until_s)

    def acquire(self, lock: threading.Lock, timeout_s: float) -> bool:
        """Wait for a lock that another fiber releases; what the server's ``Sleeper`` does in real time."""
        deadline_s = self.now_s + timeout_s
        while not lock.acquire(blocking=False):
            if self.now_s >= deadline_s:
                return False
            place = (lock, self.running)
            self._locked_out.append(place)
            try:
                self.pause(deadline_s - self.now_s)
            finally:
                if place in self._locked_out:
                    self._locked_out.remove(place)
        return True

    def _wake_for_locks(self) -> None:
        for place in [each for each in self._locked_out if not each[0].locked()]:
            self._locked_out.remove(place)
            self.wake(place[1])


class SimulatedThread:
    def __init__(self, machine: Machine, target: Callable[[], object], name: str) -> None:
        self._machine, self._target, self._name = machine, target, name
        self._fiber: Fiber | None = None

    def start(self) -> None:
        self._fiber = self._machine.start(self._target, self._name)

    def join(self, timeout: float | None = None) -> None:
        world, fiber = self._machine.world, self._fiber
        if fiber is not None and not fiber.is_over:
            fiber.joiners.append(world.running)
            world.pause(timeout)

    def is_alive(self) -> bool:
        return self._fiber is not None and not self._fiber.is_over


class SimulatedLock:
    def __init__(self, world: World) -> None:
        self._world = world
        self._is_held = False
        self._line: deque[Fiber] = deque()

    def __enter__(self) -> None:
        while self._is_held:
            self._line.append(self._world.running)
            self._world.pause(None)
        self._is_held = True

    def __exit__(self, *_: object) -> None:
        self._is_held = False
        if self._line:
            self._world.wake(self._line.popleft())


class SimulatedCondition:
    """A condition over a lock that nobody holds while another runs; without one of its own it needs none."""

    def __init__(self, world: World, lock: Any) -> None:
        self._world, self._lock = world, lock
        self._sleepers: deque[Fiber] = deque()

    def __enter__(self) -> None:
        if self._lock is not None:
            self._lock.__enter__()

    def __exit__(self, *error: object) -> None:
        if self._lock is not None:
            self._lock.__exit__(*error)

    def wait_for(self, predicate: Callable[[], object], timeout: float | None = None) -> bool:
        deadline_s = None if timeout is None else self._world.now_s + timeout
        while not predicate():
            left_s = None if deadline_s is None else deadline_s - self._world.now_s
            if left_s is not None and left_s <= 0:
                return bool(predicate())
            fiber = self._world.running
            self._sleepers.append(fiber)
            with self._let_go():
                self._world.pause(left_s)
            if fiber in self._sleepers:
                self._sleepers.remove(fiber)
        return True

    @contextmanager
    def _let_go(self) -> Any:
        if self._lock is None:
            yield
            return
        self._lock.release()
        try:
            yield
        finally:
            self._lock.acquire()

    def notify(self, n: int = 1) -> None:
        for _ in range(min(n, len(self._sleepers))):
            self._world.wake(self._sleepers.popleft())

    def notify_all(self) -> None:
        self.notify(len(self._sleepers))


class SimulatedEvent:
    def __init__(self, world: World) -> None:
        self._world = world
        self._is_set = False
        self._condition = SimulatedCondition(world, None)

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        self._condition.notify_all()

    def clear(self) -> None:
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        return self._condition.wait_for(self.is_set, timeout)


class SimulatedQueue:
    def __init__(self, world: World) -> None:
        self._items: deque[Any] = deque()
        self._condition = SimulatedCondition(world, None)

    def put(self, item: object) -> None:
        self._items.append(item)
        self._condition.notify()

    def get(self) -> Any:
        self._condition.wait_for(lambda: self._items)
        return self._items.popleft()
