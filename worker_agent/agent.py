"""The agent: its start, its end."""

import contextlib

import structlog

from piecework.client import ClientError
from piecework.protocol.messages import ContractRequest, WorkerRegister
from piecework.text.durations import format_duration
from piecework.worker_agent.cache import BlobCache
from piecework.worker_agent.config.settings import Settings
from piecework.worker_agent.errors import AgentError
from piecework.worker_agent.figures import AgentFigures, Figure, measure_memory
from piecework.worker_agent.jobs.parts import Environment, Parts
from piecework.worker_agent.link.link import describe, is_refusal
from piecework.worker_agent.link.looping import do_all
from piecework.worker_agent.link.membership import Membership
from piecework.worker_agent.link.state import StateDirectory

log = structlog.get_logger()

STALLED = 70
"""Exit code of an agent whose contract loop is dead (EX_SOFTWARE of sysexits.h)."""
KILL_S = 3.0
"""How long ending the guests may take."""
END_POLL_TRIES, END_POLL_S = 5, 0.5
"""So often the server is told that a poll shall end, seconds between: the poll may have been on its way."""
DELIVER_S = 5.0
"""How long the last outcomes may take to reach the server."""
GOODBYE_S = 1.0
"""How long the last word of an agent that ends at once may take to reach the server."""


class ServerRefusedError(AgentError):
    """The server answered that this agent may not work for it."""


class ServerAwayError(AgentError):
    """The server does not answer, and the agent was told not to wait for it."""


class Agent:
    """One worker: it contracts jobs, runs them and reports, until it is asked to stop."""

    def __init__(
        self,
        settings: Settings,
        state: StateDirectory,
        cache: BlobCache,
        registration: WorkerRegister,
        around: Environment,
    ) -> None:
        self._settings = settings
        self._leave = around.leave
        self._cache, self._traces = cache, around.traces
        self._stop_asked = around.threads.new_event()
        self._ending = around.threads.new_lock()
        """Held while the process is ended at once: the end in good order comes too late then."""
        self.shared = around.share()
        self.lease_table = self.shared.lease_table
        self.membership = Membership(around.server, settings.servers[0], state, registration, around.threads)
        self.parts = Parts(
            settings,
            self.shared,
            self.membership,
            cache,
            around.make_executor,
            on_drain=self._drain,
            on_stall=lambda: self.leave_now(STALLED),
            on_idle=lambda: self.ask_to_stop(f"no job for {format_duration(settings.exit_when_idle_s)}"),
            key=around.key,
            traces=around.traces,
        )

        self._functions = None
        if around.make_functions is not None:
            self._functions = around.make_functions(self.shared, self.membership, self._drain)

    def run(self) -> None:
        """Work until somebody asks to stop, then end in good order.

        Raises ServerRefusedError, ServerAwayError when the agent was told not to wait, or AgentError when the
        executor cannot start, or a port for functions is in use.
        """
        if self._functions is not None:
            self._functions.start()  # they need no server
        if not self.join():
            self._withdraw_functions()
            self._end_functions()
            return
        try:
            self.start()
        except AgentError:
            self._say_goodbye()
            raise
        self._stop_asked.wait()
        self.stop()
        with self._ending:
            return

    def join(self) -> bool:
        """Be known to the server, however long that takes; False: somebody asked to stop meanwhile.

        Raises ServerRefusedError, or ServerAwayError when the agent was told not to wait.
        """
        backoff = self.shared.new_backoff()
        while not self._stop_asked.is_set():
            try:
                self.membership.join()
            except ClientError as error:
                self._judge_start(error)
                self.shared.link.failed(error)
                self._stop_asked.wait(backoff.next_s(error))
            else:
                self.shared.link.answered()
                return True
        return False

    def start(self) -> None:
        """Start the executor and all threads. Raises AgentError when the executor cannot start."""
        try:
            self.parts.start()
        except OSError as error:
            raise AgentError(f"cannot start running guests: {error}") from error
        log.info(
            "agent started",
            worker=self.membership.worker_id,
            name=self._settings.name,
            server=self._settings.server,
            runtimes=self._settings.list_runtimes(),
            slots=self._settings.slots,
        )

    def ask_to_stop(self, reason: str) -> None:
        """Let ``run`` end. Safe to repeat."""
        if not self._stop_asked.is_set():
            log.info("draining", reason=reason)
            self._stop_asked.set()

    def figures(self) -> list[Figure]:
        """Return figures of this agent, as they are now."""
        own, guests = measure_memory()
        return AgentFigures(
            ended=self.parts.job_logger.count_ends(),
            leases=len(self.lease_table.refs()),
            slots=self._settings.slots,
            is_connected=self.shared.link.is_well,
            cache_bytes=self._cache.used_bytes,
            cache_limit_bytes=self._settings.cache_bytes,
            memory_bytes=own,
            guests_bytes=guests,
        ).write()

    def stop(self) -> None:
        """Take nothing more, finish what runs, hand back the rest, tell the server, end everything."""
        do_all(
            {
                "close the lease_table": self.lease_table.close,
                "withdraw functions": self._withdraw_functions,
                "hand back waiting jobs": self.parts.stopper.hand_back_waiting,
                "end the open poll": self._end_poll,
                "finish running jobs": self._finish_running,
                "stop running jobs": self.parts.stopper.hand_back_running,
                "end functions": self._end_functions,
                "stop the executor": lambda: self.parts.executor.stop(KILL_S),
                "hand back the rest": self.lease_table.hand_back_open,
                "deliver outcomes": self._deliver,
                "tell the threads": self.shared.stop.set,
                "wake the threads": self.lease_table.end_waits,
                "end the threads": self.parts.end,
                "say goodbye": self._say_goodbye,
                "send traces": self._send_traces,
            }
        )
        log.info("agent stopped")

    def leave_now(self, code: int) -> None:
        """End the process at once; only the guests are ended first, and the server is told, if that is quick."""
        with self._ending:
            for act, most_s in ((self._kill, KILL_S), (self._say_goodbye, GOODBYE_S)):
                actor = self.shared.threads.new_thread(target=act, daemon=True)
                actor.start()
                actor.join(most_s)
            self._leave(code)

    def _drain(self) -> None:
        self.ask_to_stop("an operator asked for it")

    def _withdraw_functions(self) -> None:
        if self._functions is not None:
            self._functions.withdraw()

    def _end_functions(self) -> None:
        if self._functions is not None:
            self._functions.stop()

    def _send_traces(self) -> None:
        if self._traces is not None:
            self._traces.close()

    def _say_goodbye(self) -> None:
        """Tell the server that this process ends, so that it need not find out by silence."""
        if self.membership.joined:
            with contextlib.suppress(ClientError):
                self.membership.leave(self.shared.pulse_server)

    def _kill(self) -> None:
        """End the guests; that they were killed is nothing to report."""
        for ref in self.lease_table.open_refs():
            self.lease_table.forget(ref)
        self.parts.executor.stop(0.0)

    def _judge_start(self, error: ClientError) -> None:
        """Raise the error with which the start ends, unless waiting may help."""
        if is_refusal(error):
            raise ServerRefusedError(f"{self._settings.server} refuses this agent: {describe(error)}") from error
        if not self._settings.wait:
            hint = "start it, or name another with --server or PIECEWORK_URL"
            raise ServerAwayError(f"{describe(error)}; {hint}") from error

    def _end_poll(self) -> None:
        """Tell a server that holds a poll of ours that we want nothing; again if the poll arrived only then."""
        nothing = ContractRequest(max=0, timeout=0, incarnation=self.membership.incarnation)
        for _ in range(END_POLL_TRIES):
            if not self.lease_table.polling:
                return
            with contextlib.suppress(ClientError):
                self.shared.pulse_server.contract(self.membership.worker_id, nothing)
            self.lease_table.wait_until_no_poll(END_POLL_S)

    def _finish_running(self) -> None:
        if not self.lease_table.wait_until_idle(self._settings.drain_timeout_s):
            log.warning("jobs still run, they are handed back", jobs=len(self.lease_table.open_refs()))

    def _deliver(self) -> None:
        done = self.lease_table.wait_until_empty(DELIVER_S)
        if not done and self.lease_table.polling:
            log.info("waiting for the server to end an open poll; another signal ends the agent at once")
            done = self.lease_table.wait_until_empty(self.parts.terms.poll_s)
        if not done:
            log.warning("the server was not told about some jobs", jobs=len(self.lease_table.refs()))
