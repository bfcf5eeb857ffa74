"""The agent: its parts put together, its start, its end."""

import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog

from piecework.client import ClientError
from piecework.protocol.messages import ContractRequest, WorkerRegister
from worker_agent.cache import BlobCache
from worker_agent.errors import AgentError
from worker_agent.loop.appetite import Appetite
from worker_agent.loop.brakes import Brakes
from worker_agent.loop.contracting import Contracting, Terms
from worker_agent.loop.control import ControlServer, ExecutorMaker
from worker_agent.loop.courier import Courier
from worker_agent.loop.crew import Crew
from worker_agent.loop.fetching import BlobFetcher
from worker_agent.loop.finishing import Finisher
from worker_agent.loop.heartbeat import Heartbeat
from worker_agent.loop.inputs import Intake
from worker_agent.loop.ledger import Ledger
from worker_agent.loop.link import Backoff, Clock, Link, describe, is_refusal
from worker_agent.loop.looping import Loop, do_all
from worker_agent.loop.membership import Membership
from worker_agent.loop.pulse import HoardWatch, StallWatch
from worker_agent.loop.reporting import Reporter
from worker_agent.loop.state import StateDirectory
from worker_agent.loop.tally import Tally
from worker_agent.settings import Settings

log = structlog.get_logger()

STALLED = 70
"""Exit code of an agent whose contract loop is dead (EX_SOFTWARE)."""
KILL_S = 3.0
"""Leaving at once may take this long, to end the guests."""
DELIVER_S = 5.0
"""How long the last outcomes may take to reach the server when it does not hold a poll of ours."""
END_S = 0.5
"""How long each thread may take to end; those inside a request do not get ready in time, and need not."""
FETCHERS = 4
UPLOADERS = 2


class ServerRefusedError(AgentError):
    """The server answered that this agent may not work for it."""


class ServerAwayError(AgentError):
    """The server does not answer, and the agent was told not to wait for it."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What the agent touches outside of itself. Tests put their own in place."""

    server: ControlServer
    pulse_server: ControlServer
    """The same server, with short timeouts: a heartbeat that hangs costs the leases."""
    make_executor: ExecutorMaker
    clock: Clock = time.monotonic
    random: Callable[[], float] = random.random
    leave: Callable[[int], object] = os._exit
    """Ends the process at once."""


class Agent:
    """One worker: it contracts jobs, runs them and reports, until it is asked to stop."""

    def __init__(
        self,
        settings: Settings,
        state: StateDirectory,
        cache: BlobCache,
        registration: WorkerRegister,
        around: Surroundings,
    ) -> None:
        self._settings = settings
        self._around = around
        self._stop_asked = threading.Event()
        self._stopped = threading.Event()
        self._new_backoff = partial(Backoff, around.random)
        self.link = Link(around.clock)
        self.fetcher = BlobFetcher(
            around.server,
            cache,
            link=self.link,
            new_backoff=self._new_backoff,
            stop=self._stopped,
        )
        self.ledger = Ledger(on_close=self.fetcher.release)
        self.tally = Tally()
        self.appetite = Appetite(settings.slots, settings.prefetch)
        self.membership = Membership(around.server, settings.server, state, registration)
        self._terms = Terms(self.membership.incarnation)
        self._fetchers = Crew("fetcher", FETCHERS)
        self._uploaders = Crew("uploader", UPLOADERS)
        self.finisher = Finisher(
            around.server,
            self.ledger,
            self._uploaders,
            link=self.link,
            appetite=self.appetite,
            tally=self.tally,
            inline_max_bytes=self._terms.inline_max_bytes,
            new_backoff=self._new_backoff,
            stop=self._stopped,
        )
        self.executor = around.make_executor(self.finisher.done)
        self.brakes = Brakes(self.ledger, self.executor)
        self.courier = Courier(around.server, self.membership, self.ledger, self.link)
        self.intake = Intake(self.fetcher, self.ledger, self.executor, self.finisher, self._fetchers)
        self.heartbeat = self._make_heartbeat()
        self.contracting = self._make_contracting()
        self.reporter = Reporter(self.courier, self.ledger, self._new_backoff(), self._stopped)
        self._watches = self._make_watches()
        self._loops = (
            Loop("contract", self.contracting.step, self._stopped),
            Loop("report", self.reporter.step, self._stopped),
            Loop("pulse", self.pulse, self._stopped, pause_s=lambda: self.heartbeat.tick_s),
        )

    def run(self) -> None:
        """Work until somebody asks to stop, then end in good order.

        Raises ServerRefusedError, or ServerAwayError when the agent was told not to wait.
        """
        if not self.join():
            return
        self.start()
        self._stop_asked.wait()
        self.stop()

    def join(self) -> bool:
        """Be known to the server, however long that takes; False: somebody asked to stop meanwhile.

        Raises ServerRefusedError, or ServerAwayError when the agent was told not to wait.
        """
        backoff = self._new_backoff()
        while not self._stop_asked.is_set():
            try:
                self.membership.join()
            except ClientError as error:
                if is_refusal(error):
                    raise ServerRefusedError(
                        f"{self._settings.server} refuses this agent: {describe(error)}"
                    ) from error
                if not self._settings.wait:
                    raise ServerAwayError(describe(error)) from error
                self.link.failed(error)
                self._stop_asked.wait(backoff.next_s(error))
            else:
                self.link.answered()
                return True
        return False

    def start(self) -> None:
        """Start the executor and all threads."""
        self.executor.start()
        self._fetchers.start()
        self._uploaders.start()
        for loop in self._loops:
            loop.start()
        log.info(
            "agent started",
            worker=self.membership.worker_id,
            name=self._settings.name,
            server=self._settings.server,
            runtimes=",".join(self._settings.runtimes),
            slots=self._settings.slots,
        )

    def ask_to_stop(self, reason: str) -> None:
        """Let ``run`` end. Safe to repeat."""
        if not self._stop_asked.is_set():
            log.info("draining", reason=reason)
            self._stop_asked.set()

    def pulse(self) -> None:
        """Look after leases and loops; called about every second."""
        do_all(self._watches)

    def stop(self) -> None:
        """Take nothing more, finish what runs, hand back the rest, tell the server, end everything."""
        do_all(
            {
                "close the ledger": self.ledger.close,
                "hand back waiting jobs": self.brakes.hand_back_waiting,
                "end the open poll": self._end_poll,
                "finish running jobs": self._finish_running,
                "stop running jobs": self.brakes.hand_back_running,
                "stop the executor": lambda: self.executor.stop(KILL_S),
                "hand back the rest": self.ledger.hand_back_open,
                "deliver outcomes": self._deliver,
                "end the loops": self._end_loops,
            }
        )
        log.info("agent stopped")

    def leave_now(self, code: int) -> None:
        """End the process at once, without a word to the server; only the guests are ended first."""
        killer = threading.Thread(target=self.executor.stop, args=(0.0,), daemon=True)
        killer.start()
        killer.join(KILL_S)
        self._around.leave(code)

    def _end_poll(self) -> None:
        """Tell a server that holds a poll of ours that we want nothing."""
        if self.ledger.polling:
            self.courier.contract(ContractRequest(max=0, timeout=0, incarnation=self._terms.incarnation))

    def _finish_running(self) -> None:
        if not self.ledger.wait_until_idle(self._settings.drain_timeout_s):
            log.warning("jobs still run, they are handed back", jobs=len(self.ledger.open_refs()))

    def _deliver(self) -> None:
        done = self.ledger.wait_until_empty(DELIVER_S)
        if not done and self.ledger.polling:
            log.info("waiting for the server to end an open poll; another signal ends the agent at once")
            done = self.ledger.wait_until_empty(self._terms.poll_s)
        if not done:
            log.warning("the server was not told about some jobs", jobs=len(self.ledger.refs()))

    def _end_loops(self) -> None:
        self._stopped.set()
        self._fetchers.stop(END_S)
        self._uploaders.stop(END_S)
        for loop in self._loops:
            loop.join(END_S)

    def _make_heartbeat(self) -> Heartbeat:
        return Heartbeat(
            self._around.pulse_server,
            self.membership,
            self.ledger,
            self.executor,
            self.brakes,
            link=self.link,
            backoff=self._new_backoff(),
            clock=self._around.clock,
            on_drain=self._obey_drain,
        )

    def _make_contracting(self) -> Contracting:
        return Contracting(
            self.courier,
            self.ledger,
            self.intake,
            self.heartbeat,
            appetite=self.appetite,
            terms=self._terms,
            backoff=self._new_backoff(),
            stop=self._stopped,
            on_drain=self._obey_drain,
        )

    def _make_watches(self) -> dict[str, Callable[[], object]]:
        clock = self._around.clock
        hoard = HoardWatch(self.ledger, self.executor, self.brakes, self.appetite, clock)
        stall = StallWatch(
            lambda: self.contracting.progress,
            self._settings.stall_exit_s,
            clock,
            leave=lambda: self.leave_now(STALLED),
        )
        return {
            "heartbeat": self.heartbeat.tick,
            "watch for stuck jobs": hoard.tick,
            "watch the contract loop": stall.tick,
            "count ended jobs": self.tally.tick,
        }

    def _obey_drain(self) -> None:
        self.ask_to_stop("an operator asked for it")
