"""The threads of an agent, and what they wait on: the system's, unless a simulation puts its own in place."""

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Threads:
    """How to make them. Each is what the standard library has under that name."""

    new_thread: Callable[..., threading.Thread] = threading.Thread
    new_lock: Callable[[], threading.Lock] = threading.Lock
    """Of those that are held while a request is underway."""
    new_condition: "Callable[[threading.Lock | None], threading.Condition]" = threading.Condition
    new_event: Callable[[], threading.Event] = threading.Event
    new_queue: Callable[[], "queue.SimpleQueue[Any]"] = queue.SimpleQueue


SYSTEM_THREADS = Threads()
