"""What all parts of one agent that talk to the server have in common."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from piecework.backoff import Pauses
from piecework.worker_agent.link.control import ControlServer
from piecework.worker_agent.link.link import Clock, Link
from piecework.worker_agent.threads import SYSTEM_THREADS, Threads


@dataclass(frozen=True, slots=True)
class Pace:
    """How long loops pause, seconds."""

    idle_s: float = 1.0
    """A loop that has nothing to do looks up this often."""
    bug_s: float = 5.0
    """After a bug: the next try may well meet the same one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """Handed to every part that talks to the server."""

    server: ControlServer
    pulse_server: ControlServer
    """The same server, with short timeouts: a heartbeat that hangs costs the leases."""
    link: Link
    new_backoff: Callable[[], Pauses]
    clock: Clock
    pace: Pace
    threads: Threads = SYSTEM_THREADS
    stop: threading.Event
    """Set when the agent has said its last word: loops end, waits end."""
