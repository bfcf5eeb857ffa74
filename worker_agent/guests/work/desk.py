"""The guest process's link to its agent, and the tasks that came over it and did not begin yet."""

import select
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from piecework.worker_agent.guests.frames import (
    Ask,
    Assign,
    Equip,
    Fetch,
    Fetched,
    Frame,
    Halt,
    Kept,
    Recall,
    Returned,
    StoreAct,
    ToGuests,
    Told,
    pack_into,
    read_commands,
)
from piecework.worker_agent.guests.marker import Marker
from piecework.worker_agent.runtimes.services.access import NodeRules
from piecework.worker_agent.runtimes.services.entries import (
    ENTRY_PATIENCE_S,
    EntryAnswer,
    EntryFault,
    EntryRequest,
)
from piecework.worker_agent.runtimes.stopping import StopReason, StopSignal

SYNC_S = 0.002
"""Between tasks the link is looked at so often: until then, reports wait for others to travel with them."""
OUTBOX_BYTES = 65_536
"""More than this is sent at once."""
ASK_S = ENTRY_PATIENCE_S + 5.0
"""A guest that asks for keys and values waits no longer, whatever became of its agent."""
ASK_LOOK_MS = 50
"""So late it hears at most that it must end."""
_RECEIVE_BYTES = 65_536


class Turn(NamedTuple):
    """One task that begins now, and the signal that stops it."""

    assign: Assign
    stop: StopSignal


class Desk:
    """Receives commands and sends reports. One thread takes tasks and runs them, another may ``poll`` meanwhile.

    Every method raises OSError when the link is broken.
    """

    def __init__(self, link: socket.socket, marker: Marker, clock: Callable[[], float] = time.monotonic) -> None:
        self._link = link
        self._marker = marker
        self._clock = clock
        self._reader = read_commands()
        self._waiting: OrderedDict[int, Assign] = OrderedDict()
        self._outbox = bytearray()
        self._sync_at = 0.0
        self._turn: Turn | None = None
        self._equipment: Equip | None = None
        self._fetched: Fetched | None = None
        self._told: Told | None = None
        self._asked = 0
        self._closed = False
        self._inbox_lock = threading.Lock()
        self._send_lock = threading.Lock()

    @property
    def busy(self) -> bool:
        """A task was taken and is not done."""
        return self._turn is not None

    def get_equipment(self) -> Equip:
        """Wait for what holds for all tasks, which is said first. When the link is closed, nothing is allowed."""
        with self._inbox_lock:
            while self._equipment is None and not self._closed:
                self._receive(wait=True)
            return self._equipment or Equip(0, NodeRules())

    def take(self) -> Turn | None:
        """Wait for the next task; None when the agent closed the link."""
        is_due = self._clock() >= self._sync_at
        if is_due or not self._waiting:
            self._flush()
        with self._inbox_lock:
            if is_due and self._waiting:
                self._receive(wait=False)
            while not self._waiting and not self._closed:
                self._receive(wait=True)
            if self._closed:
                return None
            key, task = self._waiting.popitem(last=False)
            self._marker.set(key)
            if is_due:
                self._sync_at = self._clock() + SYNC_S
            self._turn = Turn(task, StopSignal())
            return self._turn

    def fetch(self, act: StoreAct, *words: bytes) -> Fetched:
        """Do something with the keys and values that are kept on the other side. Raises OSError without one."""
        self.send(Fetch(0, act, list(words)))
        with self._inbox_lock:
            # The other thread may have received it.
            while self._fetched is None and not self._closed:
                self._receive(wait=True)
            found, self._fetched = self._fetched, None
        if found is None:
            raise BrokenPipeError
        return found

    def ask(self, request: EntryRequest) -> EntryAnswer:
        """Have the agent do something with keys and values. Raises StoppedError as soon as the task must end."""
        assert self._turn is not None, "a guest runs"
        self._asked += 1
        self.send(Ask(self._turn.assign.key, self._asked, request))
        until = self._clock() + ASK_S
        line = select.poll()
        line.register(self._link, select.POLLIN)
        with self._inbox_lock:
            # What comes for a guest that did not wait for it has another number.
            while self._told is None or self._told.number != self._asked:
                self._turn.stop.check()
                if self._closed:
                    raise BrokenPipeError
                if self._clock() >= until:
                    fault = EntryFault.UNSURE if request.writes else EntryFault.AWAY
                    return EntryAnswer.fail(fault, f"the agent did not answer within {ASK_S:g} s")
                if line.poll(ASK_LOOK_MS):
                    self._receive(wait=False)
        found, self._told = self._told.answer, None
        return found

    def done(self, report: Frame) -> None:
        """Report how the task ended that was taken last. The report goes out with the next ones, and soon.

        That of a call goes out at once: somebody waits for it, and it must not be lost with a later one.
        """
        with self._inbox_lock:
            is_call = self._turn is not None and self._turn.assign.serving is not None
            self._turn = None
        self._write(report)
        if is_call or len(self._outbox) > OUTBOX_BYTES:
            self._flush()

    def poll(self) -> bool:
        """Obey the commands that came meanwhile. Returns False when the agent closed the link."""
        self._flush()
        # The lock is taken when the other thread receives: then nothing is left to do here.
        if self._inbox_lock.acquire(blocking=False):
            try:
                self._receive(wait=False)
            finally:
                self._inbox_lock.release()
        return not self._closed

    def send(self, report: Frame) -> None:
        """Send a report, after those that wait; waits until the agent takes it. Any thread may call it."""
        self._write(report)
        self._flush()

    def _write(self, report: Frame) -> None:
        with self._send_lock:
            pack_into(self._outbox, report)

    def _flush(self) -> None:
        with self._send_lock:
            if self._outbox:
                data, self._outbox = self._outbox, bytearray()
                self._link.sendall(data)

    def _receive(self, *, wait: bool) -> None:
        try:
            data = self._link.recv(_RECEIVE_BYTES, 0 if wait else socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        self._closed = not data
        for command in self._reader.feed(data):
            self._obey(command)

    def _obey(self, command: ToGuests) -> None:
        if isinstance(command, Assign):
            self._waiting[command.key] = command
        elif isinstance(command, Equip):
            self._equipment = command
        elif isinstance(command, Fetched):
            self._fetched = command
        elif isinstance(command, Told):
            self._told = command
        elif self._waiting.pop(command.key, None) is not None:
            self.send(Returned(command.key))
        elif isinstance(command, Recall):
            self.send(Kept(command.key))
        elif isinstance(command, Halt) and self._turn is not None and self._turn.assign.key == command.key:
            self._turn.stop.stop(StopReason.CANCELLED)
