"""All that serves functions on this node, put together."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from piecework.configuration.tokens import TOKEN, TOKEN_FILE, RenewedToken
from piecework.worker_agent.cache import BlobCache
from piecework.worker_agent.capsule_node.local import DeploymentLimits, LocalDeployments
from piecework.worker_agent.capsule_node.node_state import NodeStateFile
from piecework.worker_agent.capsule_node.reverse_proxy import ReverseProxy
from piecework.worker_agent.config.setting_texts import MIB
from piecework.worker_agent.config.settings import Settings
from piecework.worker_agent.downloads import DownloadOptions
from piecework.worker_agent.errors import AgentError
from piecework.worker_agent.link.looping import Loop
from piecework.worker_agent.link.membership import Membership
from piecework.worker_agent.link.shared import Shared
from piecework.worker_agent.replicas.code import CodeStore
from piecework.worker_agent.replicas.launcher import LOOPBACK, Launcher, Node
from piecework.worker_agent.replicas.orders import Orders
from piecework.worker_agent.replicas.ports import Ports
from piecework.worker_agent.replicas.recordings import Recordings
from piecework.worker_agent.replicas.replica import Times
from piecework.worker_agent.replicas.supervisor import Supervisor

if TYPE_CHECKING:
    from piecework.worker_agent.capsule_node.listening import Listener

REPLICAS_MAX = 64
"""Deployed on the node itself, where no setting says how many it may run."""
END_S = 5.0
"""For the end of requests, and of processes that were killed."""


class ReplicaHost:
    """Replicas, the API of this node, its routes at a reverse proxy, and the orders of the control server."""

    def __init__(
        self,
        settings: Settings,
        state: Path,
        cache: BlobCache,
        environ: Mapping[str, str],
        shared: Shared,
        membership: Membership,
        on_drain: Callable[[], None],
    ) -> None:
        """``environ``: variables that the operator's options need. Raises AgentError."""
        self._settings = settings
        self._clock = shared.clock
        self._leave_by = 0.0
        """Until when what was withdrawn may wait for its replacement."""
        self._listener: Listener | None = None
        node = Node(
            ports=Ports(settings.functions_first_port),
            allowances=list_allowances(settings),
            otel_endpoint=settings.otel_endpoint,
            environ={
                **environ,
                # Compiled code and interpreters are the agent's own.
                "PIECEWORK_WORKER_STATE": str(state),
                "PIECEWORK_WORKER_INTERPRETERS": str(settings.interpreters_path),
            },
            kv_environ={
                "PIECEWORK_URL": settings.server,
                **_pass_token(settings.token),
                **({"PIECEWORK_CA": str(settings.ca.absolute())} if settings.ca else {}),
            },
        )
        times = Times(start_s=settings.functions_start_timeout_s, drain_s=settings.drain_timeout_s)
        self._supervisor = Supervisor(partial(Launcher, node), shared.clock, times)
        options = DownloadOptions(find_token=partial(find_token, settings), ca=settings.ca)
        codes = CodeStore(cache, state, options, shared.server)
        self._local = self._make_local(state, codes, times) if settings.functions_port else None
        recordings = Recordings(state / "calls")
        self._orders = (
            self._make_orders(shared, membership, codes, recordings, on_drain) if settings.functions else None
        )
        self._loops = self._make_loops(shared)

    def start(self) -> None:
        """Start all that was deployed on this node. Raises AgentError when its port cannot be had."""
        if self._local is not None:
            self._listener = self._open_door(self._local)
            self._local.restore()
            self._listener.start()
        for loop in self._loops:
            loop.start()

    def withdraw(self) -> None:
        """Take no more functions. What was deployed on the node itself ends; the rest goes on until others run."""
        self._leave_by = self._clock() + self._settings.drain_timeout_s
        if self._orders is not None:
            self._orders.leave()
        if self._local is not None:
            self._local.withdraw()

    def stop(self) -> None:
        """Wait for others, as long as running jobs may take, and for the end of all that runs here."""
        if self._orders is not None:
            self._orders.hand_over(max(0.0, self._leave_by - self._clock()))
        if self._listener is not None:
            self._listener.stop(END_S)
        self._supervisor.stop(self._settings.drain_timeout_s + END_S)

    def _make_local(self, state: Path, codes: CodeStore, times: Times) -> LocalDeployments:
        settings = self._settings
        bounds = DeploymentLimits(
            host=settings.functions_host if settings.functions_open else LOOPBACK,
            replicas_max=settings.functions or REPLICAS_MAX,
            start_s=times.start_s,
            drain_s=times.drain_s,
        )
        proxy = None
        if settings.reverse_proxy is not None:
            try:
                proxy = ReverseProxy(
                    settings.reverse_proxy, find_token(settings, settings.reverse_proxy), settings.ca
                )
            except ValueError as error:
                raise AgentError(str(error)) from error
        return LocalDeployments(self._supervisor, codes, NodeStateFile(state), bounds, proxy)

    def _make_orders(
        self,
        shared: Shared,
        membership: Membership,
        codes: CodeStore,
        recordings: Recordings,
        on_drain: Callable[[], None],
    ) -> Orders:
        local = self._local
        return Orders(
            shared,
            membership,
            self._supervisor,
            codes,
            recordings,
            host=self._settings.functions_host,
            find_slots=lambda: max(0, self._settings.functions - (local.count if local is not None else 0)),
            on_drain=on_drain,
        )

    def _make_loops(self, shared: Shared) -> list[Loop]:
        steps: dict[str, Callable[[], None]] = {}
        if self._local is not None and self._local.announcer is not None:
            steps["routes"] = partial(self._local.announcer.step, shared.stop)
        if self._orders is not None:
            steps |= {"orders": self._orders.step, "recorded calls": self._orders.hand_in}
        new_loop = partial(Loop, stop=shared.stop, bug_pause_s=shared.pace.bug_s, threads=shared.threads)
        return [new_loop(name, step) for name, step in steps.items()]

    def _open_door(self, local: LocalDeployments) -> "Listener":
        # Flask and waitress take their time.
        from piecework.worker_agent.capsule_node.api import make_app  # noqa: PLC0415
        from piecework.worker_agent.capsule_node.listening import Listener  # noqa: PLC0415

        settings = self._settings
        app = make_app(
            local,
            token=settings.functions_token,
            proxy_url=(settings.reverse_proxy or "").rstrip("/"),
            registry=(settings.registry or "").rstrip("/"),
        )
        return Listener(app, settings.functions_host, settings.functions_port)


def find_token(settings: Settings, url: str) -> str | None:
    """Return the access token for a URL: each goes to its own server only."""
    proxy, token = settings.reverse_proxy, settings.reverse_proxy_token
    if proxy is not None and token is not None and _origin(url) == _origin(proxy):
        return token
    if _origin(url) not in map(_origin, settings.servers):
        return None
    return settings.token.newest if isinstance(settings.token, RenewedToken) else settings.token


def _pass_token(token: str | None) -> dict[str, str]:
    """Return the variable by which a replica gets the token; one that is in a file it reads anew there, too."""
    if isinstance(token, RenewedToken) and token.path is not None:
        return {TOKEN_FILE: str(token.path.absolute())}
    return {TOKEN: token} if token else {}


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def list_allowances(settings: Settings) -> tuple[str, ...]:
    """Return the options of the operator that say what guests may reach, and what compiling them may take."""
    words = ["--compile-memory", str(settings.compile_memory_bytes // MIB)]
    for option, values in (
        ("--allow-http", settings.allow_http),
        ("--allow-redis", [settings.allow_redis]),
        ("--allow-couchbase", [settings.allow_couchbase]),
        ("--allow-files", [settings.allow_files]),
        ("--allow-dir", settings.allow_dir),
        ("--allow-env", settings.allow_env),
    ):
        for value in values:
            words += [] if value is None else [option, value]
    return tuple(words)
