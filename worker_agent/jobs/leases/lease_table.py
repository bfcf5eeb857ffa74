"""The leases that the agent holds, each from the contract that gave it to the ack of its outcome.

A lease is open while its job is prepared and run; then its outcome is in the outbox until the server has
answered for it. One lock guards both, so a lease is never outside of the lease table in between.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from msgspec import UNSET

from piecework.protocol.messages import JobError, LeaseRef, Outcome
from piecework.protocol.states import JobState
from piecework.worker_agent.jobs.leases.outbox import Outbox, ref_of
from piecework.worker_agent.threads import SYSTEM_THREADS, Threads

ROOM_MAX = 400
"""Jobs in one contract."""


@dataclass(frozen=True, slots=True)
class Demand:
    """How many jobs the agent wants to hold."""

    capacity: int
    slots: int = 1
    """So many of them can run at once; the others are held ahead."""
    refill: int = 1
    """Ask only when at least this much of the capacity is free."""
    first: int = 1
    """How many to ask for, for each idle slot, when they may come after a pause: they may be of any kind then."""
    linger_s: float = 0.0
    """How long an outcome may wait for such a request to ride on."""
    gather_s: float = 0.0
    """How long an outcome may wait for others when such a request would hardly bring jobs, and no slot is idle."""
    patience_s: float = 0.0
    """How long a poll may wait for the outcome of a job that runs, to be an exchange instead."""


@dataclass(frozen=True, slots=True)
class ContractPlan:
    """What the contract loop has to say to the server next."""

    outcomes: list[Outcome]
    room: int
    """How many jobs to ask for."""
    polls: bool
    """The request may wait at the server, for a slot is idle; outcomes on it are answered for when it ends."""


@dataclass(slots=True)
class OpenLease:
    """What is known of a lease whose job has not ended."""

    started: bool = False
    """The executor was given the job."""
    stop_as: JobState | None = None
    """What to report when the job is stopped: Cancelled, or Enqueued to hand it back."""


class LeaseTable:
    """All leases of this agent. Every method may be called from any thread."""

    def __init__(self, threads: Threads = SYSTEM_THREADS) -> None:
        self.on_close: Callable[[Sequence[LeaseRef]], None] = lambda _refs: None
        """Hears of each lease whose job has ended, or is lost."""
        self._lock = threading.Lock()
        self._contract_due = threads.new_condition(self._lock)
        self._report_due = threads.new_condition(self._lock)
        self._less_held = threads.new_condition(self._lock)
        self._more_held = threads.new_condition(self._lock)
        self._open: dict[LeaseRef, OpenLease] = {}
        self._outbox = Outbox()
        self._closed = False
        self._over = False
        self._polling = False
        self._demand: Demand | None = None
        """What the contract loop waits to get; None: it does not wait."""
        self._hands_back = False
        """Outcomes wait of jobs that somebody else can run."""
        self._asked_at = -1
        """What ``ends`` was when the server was asked for jobs, and had no more."""
        self.ends = 0
        """How many jobs have ended here so far; those that were handed back do not count."""

    def admit(self, refs: Iterable[LeaseRef]) -> set[LeaseRef]:
        """Enter leases that a contract gave, and return those that are to be worked on.

        One that is here already is left as it is; a closed lease table hands all back at once.
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
            self._more_held.notify_all()
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
            handed_back = [outcome.state for outcome in ended].count(JobState.ENQUEUED)
            self._hands_back = self._hands_back or handed_back > 0
            self.ends += len(ended) - handed_back
            if is_first and ended:
                self._contract_due.notify()
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

    def next_contract(self, find_demand: Callable[[], Demand], timeout_s: float) -> ContractPlan | None:
        """Wait until there is room for jobs or an outcome to hand in, and take what is to be sent.

        The outcomes end with ``settle`` or ``put_back``; a plan that polls ends with ``end_poll`` too.
        None: there was nothing to say within ``timeout_s``.
        """
        with self._lock:
            self._demand = find_demand()
            self._contract_due.wait_for(self._is_contract_due, timeout_s)
            demand = self._demand = find_demand()
            if self._open and not self._closed:
                self._contract_due.wait_for(lambda: self._outbox.waiting or self._closed, demand.patience_s)
            if self._outbox.waiting and not self._closed:
                self._contract_due.wait_for(lambda: self._is_urgent(demand) or self._has_room(), demand.linger_s)
                self._contract_due.wait_for(lambda: self._is_urgent(demand) or self._asked_at < 0, demand.gather_s)
            has_room, self._demand = self._has_room(), None
            if not self._outbox.waiting and not has_room:
                return None
            plan = self._plan_contract(demand)
            self._tell()
            return plan

    def note_plenty(self) -> None:
        """Note that the server gave all that it was asked for: it probably has more."""
        with self._lock:
            self._asked_at = -1

    def hold_off(self) -> None:
        """Ask for no more than the slots can run, until a job has ended."""
        with self._lock:
            self._asked_at = self.ends

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
            self._contract_due.notify()
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
            self._contract_due.notify_all()
            self._report_due.notify_all()
            self._more_held.notify_all()

    def hand_back_open(self) -> int:
        """Hand back every job that has not ended; return how many they were."""
        return len(self.end(*map(hand_back, self.open_refs())))

    def wait_for_more_than(self, jobs: int, timeout_s: float) -> bool:
        """Wait until more jobs than these are open; False: that took too long."""
        with self._lock:
            return self._more_held.wait_for(lambda: self._over or len(self._open) > jobs, timeout_s)

    def wait_until_idle(self, timeout_s: float) -> bool:
        """Wait until no job is open; False: that took too long."""
        return self._wait(lambda: not self._open, timeout_s)

    def wait_until_no_poll(self, timeout_s: float) -> bool:
        """Wait until a closed lease table has no open poll; False: that took too long."""
        return self._wait(lambda: not self._polling, timeout_s)

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

    def _is_contract_due(self) -> bool:
        return self._over or bool(self._outbox.waiting) or self._has_room()

    def _has_report(self) -> bool:
        return self._over or (self._polling and bool(self._outbox.waiting))

    def _has_room(self) -> bool:
        if self._demand is None or self._closed:
            return False
        enough = self._demand.slots - 1 if self._holds_off else self._demand.capacity - self._demand.refill
        return len(self._open) <= enough

    def _is_urgent(self, demand: Demand) -> bool:
        """Tell whether somebody waits for the next plan: another agent, or a slot of this one."""
        return self._hands_back or self._closed or len(self._open) < demand.slots

    @property
    def _holds_off(self) -> bool:
        """The server had no more jobs, or they had better go elsewhere, and nothing has ended since."""
        return self._asked_at == self.ends

    @property
    def _is_short(self) -> bool:
        """No job is open, and the server had no more when it was asked last: what comes next will take a while."""
        return not self._open and self._asked_at >= 0 and not self._closed

    def _plan_contract(self, demand: Demand) -> ContractPlan:
        outcomes, idle = self._outbox.take(), demand.slots - len(self._open)
        self._hands_back = False
        self._polling = idle > 0 and (not outcomes or self._is_short)
        room = idle if self._holds_off else demand.capacity - len(self._open)
        if self._polling:
            room = min(demand.capacity - len(self._open), idle * demand.first)
        room = 0 if self._closed else min(max(0, room), ROOM_MAX)
        if room:
            self._asked_at = self.ends
        return ContractPlan(outcomes, room, self._polling)

    def _tell(self) -> None:
        """Wake who waits for what is the case now; nobody else, for jobs can end by the thousand."""
        if self._outbox.waiting == 1 or self._hands_back or self._has_room() or self._closed:
            self._contract_due.notify()
        if self._polling and self._outbox.waiting:
            self._report_due.notify()
        if self._closed or not self._open:
            self._less_held.notify_all()


def hand_back(ref: LeaseRef, error: JobError | None = None) -> Outcome:
    """Return the outcome that gives a job back: its attempt does not count. ``error``: why it cannot run here."""
    return Outcome(job=ref.job, lease=ref.lease, state=JobState.ENQUEUED, error=error or UNSET)
