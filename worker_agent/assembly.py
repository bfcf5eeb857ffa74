"""Putting together an agent, and having it hear of signals."""

import queue
import secrets
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import structlog

from piecework import __version__
from piecework.client import Client
from piecework.client.retries import RetryPolicy
from piecework.protocol.messages import WorkerRegister
from piecework.receipts.errors import KeyFileError
from piecework.receipts.keys import KEY_FILE, PrivateKey, open_key, prove_key
from piecework.tracing import open_tracer
from piecework.worker_agent.agent import Agent
from piecework.worker_agent.cache import BlobCache
from piecework.worker_agent.config.allowances import name_offer
from piecework.worker_agent.config.settings import Settings
from piecework.worker_agent.errors import AgentError
from piecework.worker_agent.guests.executor import Executor
from piecework.worker_agent.jobs.job_traces import JobTraces
from piecework.worker_agent.jobs.parts import Environment, FunctionHostMaker
from piecework.worker_agent.link.direct import DirectClient
from piecework.worker_agent.link.entries import wait_between_tries
from piecework.worker_agent.link.state import StateDirectory, StateError
from piecework.worker_agent.runtimes import ENGINES
from piecework.worker_agent.runtimes.services.access import NodeRules

log = structlog.get_logger()

SIGNALLED = 128
"""Exit code of a process that a signal ended, less the signal's number."""
PULSE = RetryPolicy(attempts=1, connect_s=5.0, read_s=5.0)
"""A heartbeat that takes longer is tried again, while the leases still hold."""


def assemble(settings: Settings, state: StateDirectory, rules: NodeRules) -> Agent:
    """Put together an agent from its settings. Raises AgentError when its folders or URL cannot be used."""
    server, key = connect(settings), open_worker_key(state)
    incarnation = secrets.token_hex(8)
    tracer = open_tracer("piecework-agent", settings.otel_endpoint)
    cache = BlobCache(state.path / "blobs", capacity_bytes=settings.cache_bytes)
    return Agent(
        settings,
        state,
        cache,
        WorkerRegister(
            runtime=[name_offer(runtime, rules) for runtime in settings.list_runtimes()],
            name=settings.name,
            tags=list_tags(settings),
            slots=settings.slots,
            incarnation=incarnation,
            agent_version=__version__,
            hostname=socket.gethostname(),
            public_key=key.public_key,
            key_proof=prove_key(key, incarnation),
        ),
        Environment(
            server=server,
            pulse_server=server.with_retries(PULSE),
            make_executor=lambda on_done: Executor(
                slots=settings.slots,
                scratch=state.path / "scratch",
                compiled=state.path / "compiled",
                interpreters=settings.interpreters_path,
                load_s=settings.compile_timeout_s,
                compile_bytes=settings.compile_memory_bytes,
                engine=settings.engine,
                on_done=on_done,
                rules=rules,
                entries=wait_between_tries(server),
            ),
            key=key,
            traces=JobTraces(tracer) if tracer else None,
            make_functions=choose_functions(settings, state, cache, rules),
        ),
    )


def list_tags(settings: Settings) -> list[str]:
    """Return the tags of the agent: its operator's, and which engine it has unless that is the usual one."""
    usual = settings.engine == ENGINES[0]
    return [*settings.tags] if usual else [*settings.tags, f"engine:{settings.engine}"]


def open_worker_key(state: StateDirectory) -> PrivateKey:
    """Return the key that this agent signs receipts with, made at its first start. Raises StateError."""
    try:
        return open_key(state.path / KEY_FILE)
    except KeyFileError as error:
        raise StateError(str(error)) from error


def choose_functions(
    settings: Settings, state: StateDirectory, cache: BlobCache, rules: NodeRules
) -> FunctionHostMaker | None:
    """Return what makes the part that serves functions; None when this agent serves none."""
    if not settings.functions and not settings.functions_port:
        return None
    from piecework.worker_agent.host import ReplicaHost  # noqa: PLC0415  # few agents need it

    passwords = {
        "REDIS_PWD": settings.redis_password,
        "COUCHBASE_USER": settings.couchbase_user,
        "COUCHBASE_PWD": settings.couchbase_password,
    }
    environ = rules.env | {name: value for name, value in passwords.items() if value}
    return partial(ReplicaHost, settings, state.path, cache, environ)


@contextmanager
def telling_figures(settings: Settings, agent: Agent) -> Iterator[None]:
    """Tell figures of an agent on a port of its own, if the settings have one. Raises AgentError."""
    if not settings.metrics_port:
        yield
        return
    from piecework.worker_agent.figures import FiguresServer  # noqa: PLC0415  # most agents tell none

    server = FiguresServer(settings.metrics_host, settings.metrics_port, agent.figures)
    server.start()
    try:
        yield
    finally:
        server.stop()


def connect(settings: Settings) -> Client:
    """Return a client that repeats nothing. Raises AgentError for a bad proxy or certificate file."""
    try:
        client = DirectClient(settings.server, settings.token or "", attempts=1, ca=settings.ca)
    except ValueError as error:
        raise AgentError(str(error)) from error
    client.transport.servers.on_leave = _tell_change
    return client


def _tell_change(reason: object, url: str) -> None:
    log.warning("another server is asked from now on", server=url, reason=str(reason))


def listen_to_signals(agent: Agent) -> None:
    """Drain on the first SIGTERM or SIGINT, leave at once on the second.

    A signal handler may interrupt the main thread anywhere, so it only notes the signal.
    """
    arrived: queue.SimpleQueue[int] = queue.SimpleQueue()

    def obey() -> None:
        agent.ask_to_stop(signal.Signals(arrived.get()).name)
        agent.leave_now(SIGNALLED + arrived.get())

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: arrived.put(number))
    threading.Thread(target=obey, name="signals", daemon=True).start()
