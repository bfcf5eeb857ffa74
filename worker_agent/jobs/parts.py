"""The parts of one agent, put together."""

import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from piecework.backoff import Pauses
from piecework.protocol.messages import LeaseRef
from piecework.receipts.keys import PrivateKey
from piecework.worker_agent.cache import BlobCache
from piecework.worker_agent.config.settings import Settings
from piecework.worker_agent.jobs.executing import ExecutorMaker
from piecework.worker_agent.jobs.job_logger import JobLogger
from piecework.worker_agent.jobs.job_traces import JobTraces
from piecework.worker_agent.jobs.leases.fitness import Fitness
from piecework.worker_agent.jobs.leases.lease_table import LeaseTable
from piecework.worker_agent.jobs.leases.prefetching import BYTES_AHEAD, Prefetching
from piecework.worker_agent.jobs.leases.sending import OutcomeSender
from piecework.worker_agent.jobs.loops.contracting import Contracting, ContractTerms
from piecework.worker_agent.jobs.loops.heartbeat import Heartbeat
from piecework.worker_agent.jobs.loops.idle_watch import IdleWatch
from piecework.worker_agent.jobs.loops.reporting import Reporter
from piecework.worker_agent.jobs.loops.stall_watch import StallWatch
from piecework.worker_agent.jobs.shared import JobsShared
from piecework.worker_agent.jobs.work.fetching import BlobFetcher
from piecework.worker_agent.jobs.work.finishing import Finisher
from piecework.worker_agent.jobs.work.handing_back import LOOK_S, HandBackWatch
from piecework.worker_agent.jobs.work.inputs import Intake
from piecework.worker_agent.jobs.work.job_folders import JobFolders
from piecework.worker_agent.jobs.work.receipts import ReceiptMaker
from piecework.worker_agent.jobs.work.stopping import JobStopper
from piecework.worker_agent.jobs.work.thread_pool import ThreadPool
from piecework.worker_agent.link.control import ControlServer
from piecework.worker_agent.link.link import Clock, Link
from piecework.worker_agent.link.looping import Loop, do_all
from piecework.worker_agent.link.membership import Membership
from piecework.worker_agent.link.shared import Pace
from piecework.worker_agent.runtimes import Engine
from piecework.worker_agent.runtimes.engine_facts import describe_engine
from piecework.worker_agent.threads import SYSTEM_THREADS, Threads

FETCHERS = 4
"""Blobs that are fetched at once."""
UPLOADERS = 2
"""Outputs that are uploaded at once."""
END_S = 0.5
"""How long a thread may take to end. One that is inside a request takes longer, and need not end."""


class FunctionHost(Protocol):
    """Serves functions beside the jobs."""

    def start(self) -> None:
        """Start all that was deployed on this node. Raises AgentError when its port cannot be had."""

    def withdraw(self) -> None:
        """Have nobody call functions here any more, and those that run end."""

    def stop(self) -> None:
        """Wait for their end."""


FunctionHostMaker = Callable[[JobsShared, Membership, Callable[[], None]], FunctionHost]
"""Makes what serves functions; its last argument is called when an operator asks the agent to take no more."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What the agent touches outside of itself. Tests put their own in place."""

    server: ControlServer
    pulse_server: ControlServer
    """The same server, with short timeouts: a heartbeat that hangs costs the leases."""
    make_executor: ExecutorMaker
    key: PrivateKey | None = None
    """Signs receipts; None: there are none."""
    traces: JobTraces | None = None
    """Hears of jobs; None: nobody keeps traces."""
    make_functions: FunctionHostMaker | None = None
    """None: this agent serves no functions."""
    pace: Pace = Pace()  # noqa: RUF009  # it is frozen
    clock: Clock = time.monotonic
    threads: Threads = SYSTEM_THREADS
    random: Callable[[], float] = random.random
    leave: Callable[[int], object] = os._exit
    """Ends the process at once."""

    def share(self) -> JobsShared:
        """Return what the parts of a new agent have in common."""
        return JobsShared(
            server=self.server,
            pulse_server=self.pulse_server,
            lease_table=LeaseTable(self.threads),
            link=Link(self.clock),
            new_backoff=partial(Pauses, self.random),
            clock=self.clock,
            pace=self.pace,
            threads=self.threads,
            stop=self.threads.new_event(),
        )


class Parts:
    """Everything that works while an agent runs.

    ``on_drain`` is called when an operator asks the agent to take no more, ``on_stall`` when its loop is dead,
    ``on_idle`` when it had no job for as long as the settings say.
    """

    def __init__(
        self,
        settings: Settings,
        shared: JobsShared,
        membership: Membership,
        cache: BlobCache,
        make_executor: ExecutorMaker,
        *,
        on_drain: Callable[[], None],
        on_stall: Callable[[], None],
        on_idle: Callable[[], None],
        key: PrivateKey | None = None,
        traces: JobTraces | None = None,
    ) -> None:
        self.terms = ContractTerms(membership.incarnation)
        # Half of what may be stored is for what runs and what ran lately.
        bytes_ahead = min(BYTES_AHEAD, cache.find_room_bytes() // (2 * settings.slots))
        self.prefetching = Prefetching(settings.slots, settings.prefetch, shared.clock, bytes_ahead)
        self.job_logger, self.fitness = JobLogger(traces), Fitness(shared, membership, cache.probe)
        self.fetchers = ThreadPool("fetcher", FETCHERS, shared.threads)
        self.uploaders = ThreadPool("uploader", UPLOADERS, shared.threads)
        self.fetcher, self.folders = BlobFetcher(shared, cache), JobFolders(cache.folder.with_name("folders"))
        find_engine = partial(describe_engine, settings.engine, interpreters=settings.interpreters_path)
        finisher = self._make_finisher(shared, ReceiptMaker(key, lambda: membership.worker_id, find_engine))
        shared.lease_table.on_close = self._let_go
        sender, self.executor = OutcomeSender(shared, membership), make_executor(finisher.done)
        sender.on_receipt_refused = self.fitness.falter  # the job had better go elsewhere
        self.stopper, self.reporter = JobStopper(shared.lease_table, self.executor), Reporter(shared, sender)
        self.heartbeat = Heartbeat(shared, membership, self.executor, self.stopper, on_drain=on_drain)
        self.contracting = Contracting(
            shared,
            sender,
            self._make_intake(shared, finisher, settings.engine),
            self.heartbeat,
            prefetching=self.prefetching,
            job_logger=self.job_logger,
            fitness=self.fitness,
            terms=self.terms,
            on_drain=on_drain,
        )
        self.hand_back_watch = HandBackWatch(
            shared, self.executor, self.stopper, self.prefetching, self.job_logger, settings.slots
        )
        self.watches = self._make_watches(settings, shared, on_stall, on_idle)
        self.loops = self._make_loops(shared)

    def _make_finisher(self, shared: JobsShared, receipts: ReceiptMaker) -> Finisher:
        return Finisher(
            shared,
            self.uploaders,
            self.fetcher,
            prefetching=self.prefetching,
            job_logger=self.job_logger,
            fitness=self.fitness,
            folders=self.folders,
            receipts=receipts,
            inline_max_bytes=self.terms.inline_max_bytes,
        )

    def _make_intake(self, shared: JobsShared, finisher: Finisher, engine: Engine) -> Intake:
        return Intake(
            shared.lease_table, self.fetcher, self.executor, finisher, self.fetchers, self.folders, engine
        )

    def _make_loops(self, shared: JobsShared) -> tuple[Loop, ...]:
        new_loop = partial(Loop, stop=shared.stop, bug_pause_s=shared.pace.bug_s, threads=shared.threads)
        return (
            new_loop("contract", self.contracting.step),
            new_loop("report", self.reporter.step),
            new_loop("hand-back", self.hand_back_watch.step, pause_s=lambda: LOOK_S),
            new_loop("pulse", self.pulse, pause_s=lambda: self.heartbeat.tick_s),
        )

    def _make_watches(
        self, settings: Settings, shared: JobsShared, on_stall: Callable[[], None], on_idle: Callable[[], None]
    ) -> dict[str, Callable[[], None]]:
        stall = StallWatch(self.contracting, settings.stall_exit_s, shared.clock, on_stall)
        idle = IdleWatch(shared.lease_table, self.job_logger, settings.exit_when_idle_s, shared.clock, on_idle)
        return {
            "heartbeat": self.heartbeat.tick,
            "watch the contract loop": stall.tick,
            "see whether there is work": idle.tick,
            "look at the node": self.fitness.tick,
            "log sums": self.job_logger.tick,
        }

    def _let_go(self, refs: Sequence[LeaseRef]) -> None:
        """Forget about jobs that are not held any more."""
        self.prefetching.let_go(refs)
        self.folders.release(refs)
        self.fetcher.release(refs)

    def pulse(self) -> None:
        """Look after leases and loops; called about every second."""
        do_all(self.watches)

    def start_crews(self) -> None:
        """Start fetching and uploading."""
        self.fetchers.start()
        self.uploaders.start()

    def start(self) -> None:
        """Start the executor and all threads. Raises OSError when the executor's folders cannot be used."""
        self.executor.start()
        self.start_crews()
        for loop in self.loops:
            loop.start()

    def end(self) -> None:
        """Wait for the threads to end, which were told to, but not for those inside a request."""
        for pool in (self.fetchers, self.uploaders):
            pool.stop(END_S)
        for loop in self.loops:
            loop.join(END_S)
