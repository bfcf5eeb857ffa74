"""The leases that the agent holds, each from the contract that gave it to the ack of its outcome.

A lease is open while its job is prepared and run; then its outcome is in the outbox until the server has
answered for it. One lock guards both, so a lease is never outside of the ledger in between.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from piecework.protocol.messages import LeaseRef, Outcome
from piecework.protocol.states import JobState
from worker_agent.loop.outbox import Outbox, ref_of

ROOM_MAX = 400
"""Jobs in one contract."""


@dataclass(frozen=True, slots=True)
class Wish:
    """How many jobs the agent wants to hold."""

    capacity: int
    refill: int = 1
    """Ask only when at least this much of it is free."""
    linger_s: float = 0.0
    """How long an outcome may wait for such a request to ride on."""
    patience_s: float = 0.0
    """How long a poll may wait for the outcome of a job that runs, to be an exchange instead."""


@dataclass(frozen=True, slots=True)
class Errand:
    """What the contract loop has to say to the server next."""

    outcomes: list[Outcome]
    room: int
    """How many jobs to ask for."""

    @property
    def polls(self) -> bool:
        """The request may wait at the server: nothing rides on it."""
        return not self.outcomes


@dataclass(slots=True)
class OpenLease:
    """What is known of a lease whose job has not ended."""

    started: bool = False
    """The executor was given the job."""
    stop_as: JobState | None = None
    """What to report when the job is stopped: Cancelled, or Enqueued to hand it back."""


class Ledger:
    """All leases of this agent. Every method may be called from any thread."""

    def __init__(self) -> None:
        self.on_close: Callable[[Sequence[LeaseRef]], None] = lambda _refs: None
        """Hears of each lease whose job has ended, or is lost."""
        self._lock = threading.Lock()
        self._errand_due = threading.Condition(self._lock)
        self._report_due = threading.Condition(self._lock)
        self._less_held = threading.Condition(self._lock)
        self._open: dict[LeaseRef, OpenLease] = {}
        self._outbox = Outbox()
        self._closed = False
        self._over = False
        self._polling = False
        self._refill_at = -1
        self.ends = 0
        """How many jobs have ended here so far."""

    def admit(self, refs: Iterable[LeaseRef]) -> set[LeaseRef]:
        """Enter leases that a contract gave, and return those that are to be worked on.

        One that is here already is left as it is; a closed ledger hands all back at once.
        """
        fresh = set()
        with self._lock:
            known = set(self._refs())
            for ref in refs:
                if ref in known:
                    continue
                if self._closed:
                    self._outbox.put(hand_back(ref))
                else:
                    self._open[ref] = OpenLease()
                    fresh.add(ref)
            self._tell()
        return fresh

    def start(self, *refs: LeaseRef) -> list[LeaseRef]:
        """Note that the executor gets these jobs now; return those that may be run still."""
        started = []
        with self._lock:
            for ref in refs:
                held = self._open.get(ref)
                if held is not None and not held.stop_as:
                    held.started = True
                    started.append(ref)
        return started

    def end(self, *outcomes: Outcome) -> list[Outcome]:
        """Note how jobs ended. Returns those that count: of the others the lease is lost, or has ended before."""
        refs, ended = [], []
        with self._lock:
            is_first = not self._outbox.waiting
            for outcome in outcomes:
                ref = ref_of(outcome)
                if self._open.pop(ref, None) is not None:
                    refs.append(ref)
                    ended.append(outcome)
                    self._outbox.put(outcome)
            self.ends += len(ended)
            if is_first and ended:
                self._errand_due.notify()
            self._tell()
        self.on_close(refs)
        return ended

    def ask_to_stop(self, ref: LeaseRef, state: JobState) -> bool:
        """Note what to report when the job is stopped; False: it is not open."""
        with self._lock:
            held = self._open.get(ref)
            if held is None:
                return False
            held.stop_as = held.stop_as or state
            return True

    def stop_asked(self, ref: LeaseRef) -> JobState | None:
        """Return what to report when the job is stopped; None: nobody asked for that."""
        held = self._open.get(ref)
        return held.stop_as if held else None

    def forget(self, ref: LeaseRef) -> bool:
        """Drop a lease that is lost; False: it is not open. An outcome that is underway awaits its ack."""
        with self._lock:
            found = self._open.pop(ref, None) is not None
            self._tell()
        if found:
            self.on_close([ref])
        return found

    def next_errand(self, wish: Wish, timeout_s: float) -> Errand | None:
        """Wait until there is room for jobs or an outcome to hand in, and take what is to be sent.

        The outcomes end with ``settle`` or ``put_back``; an errand that polls ends with ``end_poll`` too.
        None: there was nothing to say within ``timeout_s``.
        """
        with self._lock:
            self._refill_at = wish.capacity - wish.refill
            self._errand_due.wait_for(self._has_errand, timeout_s)
            if self._open and not self._closed:
                self._errand_due.wait_for(lambda: self._outbox.waiting or self._closed, wish.patience_s)
            if self._outbox.waiting and not self._closed:
                self._errand_due.wait_for(self._has_room, wish.linger_s)
            has_room, self._refill_at = self._has_room(), -1
            outcomes = self._outbox.take()
            if not outcomes and not has_room:
                return None
            self._polling = not outcomes
            self._tell()
            free = 0 if self._closed else wish.capacity - len(self._open)
            return Errand(outcomes, min(max(0, free), ROOM_MAX))

    def end_poll(self) -> None:
        """Note that the poll is over: outcomes ride on contracts again."""
        with self._lock:
            self._polling = False
            self._tell()

    def take_during_poll(self, timeout_s: float) -> list[Outcome]:
        """Wait until an outcome has no contract to ride on, and take what is to be sent; may be empty."""
        with self._lock:
            self._report_due.wait_for(self._has_report, timeout_s)
            return self._outbox.take() if self._polling else []

    def put_back(self, batch: Iterable[Outcome]) -> None:
        """Take outcomes back whose request failed: it is not known that they arrived."""
        with self._lock:
            self._outbox.put_back(batch)
            self._errand_due.notify()
            self._tell()

    def settle(self, refs: Iterable[LeaseRef]) -> None:
        """Drop outcomes that the server has answered for, accepted or refused."""
        with self._lock:
            self._outbox.settle(refs)
            self._tell()

    def close(self) -> None:
        """Take nothing more; what comes nevertheless, and what the executor has not got, is handed back."""
        with self._lock:
            self._closed = True
            refs = [ref for ref, held in self._open.items() if not held.started]
            self._tell()
        self.end(*map(hand_back, refs))

    def end_waits(self) -> None:
        """Let the loops go that wait for something to say; from now on they do not wait any more."""
        with self._lock:
            self._over = True
            self._errand_due.notify_all()
            self._report_due.notify_all()

    def hand_back_open(self) -> int:
        """Hand back every job that has not ended; return how many they were."""
        return len(self.end(*map(hand_back, self.open_refs())))

    def wait_until_idle(self, timeout_s: float) -> bool:
        """Wait until no job is open; False: that took too long."""
        return self._wait(lambda: not self._open, timeout_s)

    def wait_until_empty(self, timeout_s: float) -> bool:
        """Wait until no lease is held and no poll can bring one; False: that took too long."""
        return self._wait(lambda: not self._open and not self._outbox and not self._polling, timeout_s)

    def refs(self) -> list[LeaseRef]:
        """Return every lease that is held, until its outcome is answered for."""
        with self._lock:
            return self._refs()

    def open_refs(self) -> list[LeaseRef]:
        """Return the leases of the jobs that have not ended."""
        with self._lock:
            return list(self._open)

    def is_open(self, ref: LeaseRef) -> bool:
        """Tell whether the job's outcome is still wanted."""
        return ref in self._open

    @property
    def polling(self) -> bool:
        """Whether the contract loop is inside a long poll."""
        return self._polling

    def _refs(self) -> list[LeaseRef]:
        return [*self._open, *self._outbox.refs()]

    def _wait(self, reached: Callable[[], bool], timeout_s: float) -> bool:
        with self._lock:
            return self._less_held.wait_for(reached, timeout_s)

    def _has_errand(self) -> bool:
        return self._over or bool(self._outbox.waiting) or self._has_room()

    def _has_report(self) -> bool:
        return self._over or (self._polling and bool(self._outbox.waiting))

    def _has_room(self) -> bool:
        return not self._closed and len(self._open) <= self._refill_at

    def _tell(self) -> None:
        """Wake who waits for what is the case now; nobody else, for jobs can end by the thousand."""
        if self._outbox.waiting == 1 or self._has_room() or self._closed:
            self._errand_due.notify()
        if self._polling and self._outbox.waiting:
            self._report_due.notify()
        if self._closed or not self._open:
            self._less_held.notify_all()


def hand_back(ref: LeaseRef) -> Outcome:
    """Return the outcome that gives a job back unstarted: its attempt does not count."""
    return Outcome(job=ref.job, lease=ref.lease, state=JobState.ENQUEUED)
