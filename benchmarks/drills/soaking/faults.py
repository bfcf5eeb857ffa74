"""What goes wrong in a soak, when, and for how long others may notice it."""

import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from soaking.world import World

FULL_S = 5.0
HARSH = 0.4
"""Server and first agent are ended in this first share of a soak alone."""
AFTERMATH_S = 20.0
"""So long after a fault requests may be slow, or fail: leases run out, clients pause longer and longer."""


@dataclass
class Fault:
    """One fault that was made."""

    kind: str
    at_s: float
    """When it began, seconds after the start of the soak."""
    ended_s: float = float("inf")
    """When it was over, but for its aftermath."""

    def covers(self, at_s: float) -> bool:
        """Tell whether a moment is within it, or shortly after it."""
        return self.at_s <= at_s <= self.ended_s + AFTERMATH_S

    @property
    def restarts(self) -> bool:
        """Whether what is looked at for growth starts anew with it."""
        return self.kind not in GENTLE


@dataclass
class Hazards:
    """Makes the faults of a soak, in an order that a seed decides."""

    world: World
    noise: random.Random
    clock: Callable[[], float]
    """Seconds since the start of the soak."""
    stop: threading.Event
    """Set: the soak ends."""
    made: list[Fault] = field(default_factory=list)

    def do_all(self, until_s: float, every_s: float) -> None:
        """Make faults until then; after a while those alone that let server and first agent live."""
        kinds = self._choose(until_s)
        for kind in kinds:
            if self.stop.wait(self.noise.uniform(0.5, 1.5) * every_s) or self.clock() > until_s:
                return
            fault = Fault(kind, self.clock())
            self.made.append(fault)
            HARMS[kind](self)
            fault.ended_s = self.clock()

    def _choose(self, until_s: float) -> Iterator[str]:
        """Yield kinds: all of them before one comes again."""
        while True:
            for kind in self.noise.sample(list(HARMS), len(HARMS)):
                if kind in GENTLE or self.clock() < until_s * HARSH:
                    yield kind

    def covers(self, at_s: float) -> bool:
        """Tell whether a fault may show at this moment."""
        return any(fault.covers(at_s) for fault in self.made)

    @property
    def restarted_s(self) -> float:
        """When the last fault was over that ended what is looked at for growth; 0 when there was none."""
        return max((fault.ended_s for fault in self.made if fault.restarts), default=0.0)

    def _last_agent(self) -> str:
        return max(self.world.roots().keys() - {"server"})

    def fill_disk(self) -> None:
        if not self.world.disk.refusal:
            self.world.disk.fill()
            self.stop.wait(FULL_S)
            self.world.disk.relieve()

    def kill_server(self) -> None:
        self.world.kill_server()

    def restart_server(self) -> None:
        self.world.restart_server()

    def kill_agent(self) -> None:
        self.world.kill_agent(self._last_agent())

    def restart_agent(self) -> None:
        self.world.restart_agent(self._last_agent())

    def kill_first_agent(self) -> None:
        self.world.kill_agent("agent-1")

    def kill_guest(self) -> None:
        self.world.kill_guest(self._last_agent(), self.noise)


HARMS: dict[str, Callable[[Hazards], None]] = {
    "server killed": Hazards.kill_server,
    "server restarted": Hazards.restart_server,
    "agent killed": Hazards.kill_agent,
    "agent restarted": Hazards.restart_agent,
    "first agent killed": Hazards.kill_first_agent,
    "guest killed": Hazards.kill_guest,
    "disk full": Hazards.fill_disk,
}
GENTLE = frozenset({"agent killed", "agent restarted", "guest killed", "disk full"})
"""Faults that leave the server and the first agent alive, so that it can be seen whether these grow."""
