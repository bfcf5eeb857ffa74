"""What somebody deploys on this node itself: replicas that outlive the agent, and their routes."""

import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import structlog

from piecework.protocol.messages import ReplicaState
from piecework.worker_agent.capsule_node.announcer import Announcement, Announcer
from piecework.worker_agent.capsule_node.errors import NoRoomError, NotStartedError, OtherCodeError
from piecework.worker_agent.capsule_node.node_state import NodeState, NodeStateFile, SavedDefault, SavedReplica
from piecework.worker_agent.capsule_node.reverse_proxy import DEFAULT, ProxyRoute, ReverseProxy
from piecework.worker_agent.errors import AgentError
from piecework.worker_agent.replicas.code import CodeStore
from piecework.worker_agent.replicas.launcher import LOOPBACK, ReplicaSpec, bracket
from piecework.worker_agent.replicas.supervisor import SupervisedReplica, Supervisor

log = structlog.get_logger()

MARGIN_S = 15.0
"""Longer than what is waited for may take by itself."""


@dataclass(frozen=True)
class ReplicaView:
    """A replica as lists show it."""

    saved: SavedReplica
    pid: int | None
    local_url: str
    """Where it is reached on this node; "" while it is not known."""
    error: str
    """Why it does not run; "" when it does."""


@dataclass(frozen=True)
class DeploymentLimits:
    """What deployments on this node may use."""

    host: str
    """The address that they bind."""
    replicas_max: int
    """Together with those that the control server ordered."""
    start_s: float
    drain_s: float


class LocalDeployments:
    """Deploys, scales and removes functions of this node. Its methods may be called from any thread."""

    def __init__(
        self,
        supervisor: Supervisor,
        codes: CodeStore,
        file: NodeStateFile,
        bounds: DeploymentLimits,
        proxy: ReverseProxy | None,
    ) -> None:
        self._supervisor = supervisor
        self._codes = codes
        self._file = file
        self._bounds = bounds
        self._proxy = proxy
        self._lock = threading.RLock()
        """Held around everything below."""
        self._state: NodeState = file.read()
        self._starting: dict[str, SavedReplica] = {}
        """Replicas whose deployment is under way."""
        self._stopping = False
        self._supervised: dict[str, SupervisedReplica] = {}
        self.announcer = self._make_announcer(proxy) if proxy else None

    def _make_announcer(self, proxy: ReverseProxy) -> Announcer:
        announcer = Announcer(proxy, self._find_wanted, self._state.routes, self._state.created, self._keep)
        self._supervisor.listeners.append(announcer.note_change)
        return announcer

    def restore(self) -> None:
        """Start what was deployed in an earlier life of the agent."""
        with self._lock:
            for saved in self._state.replicas.values():
                log.info("starting a replica again", function=saved.function, revision=saved.revision)
                self._start(saved)

    def deploy(
        self, function: str, revision: str, url: str, env: Mapping[str, str], checksum: str | None = None
    ) -> ReplicaView:
        """Start one more replica of a revision, whose code is at ``url``; return it once it can be called.

        Raises AgentError; then nothing of it is left behind.
        """
        self._check_room()
        code = self._codes.download(url, checksum)
        saved = SavedReplica(
            key=secrets.token_hex(8),
            function=function,
            revision=revision,
            url=url,
            checksum=code.checksum,
            env=dict(env),
        )
        try:
            self._begin(saved)
            try:
                self._await_start(saved)
                self._commit(saved)
            except BaseException:
                self._give_up(saved)
                raise
        finally:
            code.release()
        return self._view(saved)

    def set_default(self, function: str, revision: str) -> None:
        """Have calls that name no revision go to this one. Raises AgentError."""
        with self._lock:
            self._state.find(function, revision)
        alias = self._proxy is not None and self._proxy.set_default(function, revision)
        with self._lock:
            self._state.defaults[function] = SavedDefault(revision=revision, alias=alias)
            self._keep()
        self._announce()

    def remove_default(self, function: str) -> None:
        """Have a function no default revision any more. Raises AgentError."""
        with self._lock:
            self._state.find(function)
            known = self._state.defaults.get(function)
        if known is not None and known.alias and self._proxy is not None:
            self._proxy.remove_revision(function, DEFAULT)
        with self._lock:
            self._state.defaults.pop(function, None)
            self._keep()
        self._announce()

    def remove(self, function: str, revision: str | None = None) -> None:
        """End all replicas of a revision, or of the whole function; first nobody is sent there any more.

        Raises UnknownFunctionError or UnknownRevisionError.
        """
        with self._lock:
            keys = self._state.find(function, revision)
            self._state.forget(keys)
        self._end(keys)

    def downscale(self, function: str, revision: str) -> int | None:
        """End one replica of a revision, one that does not run or else the newest; return its process.

        Raises UnknownFunctionError or UnknownRevisionError.
        """
        with self._lock:
            keys = self._state.find(function, revision)
            idle = [key for key in keys if self._supervised[key].replica.state is not ReplicaState.RUNNING]
            key = (idle or keys)[-1]
            pid = self._supervised[key].replica.pid
            self._state.forget([key])
        self._end([key])
        return pid

    def replicas(self) -> list[ReplicaView]:
        """Return all replicas, oldest first."""
        with self._lock:
            return [self._view(saved) for saved in self._state.replicas.values()]

    def read_logs(self, function: str, revision: str) -> dict[str, str]:
        """Return what the replicas of a revision logged last, by process. Bytes that are no UTF-8 are replaced.

        Raises UnknownFunctionError or UnknownRevisionError.
        """
        with self._lock:
            supervised = {key: self._supervised[key] for key in self._state.find(function, revision)}
        return {
            str(entry.replica.pid or key): entry.log.read()[1].decode(errors="replace")
            for key, entry in supervised.items()
        }

    def find_default(self, function: str) -> str | None:
        """Return the revision of calls that name none, as far as it was set here."""
        with self._lock:
            known = self._state.defaults.get(function)
            return known.revision if known is not None else None

    @property
    def count(self) -> int:
        """Replicas that are deployed here, or are about to be."""
        with self._lock:
            return len(self._state.replicas) + len(self._starting)

    def withdraw(self) -> None:
        """Have nobody sent here any more, and all replicas end; the agent's next life has them again."""
        with self._lock:
            self._stopping = True
            keys = [*self._state.replicas, *self._starting]
        self._announce()
        self._supervisor.remove(*keys)

    def _begin(self, saved: SavedReplica) -> None:
        with self._lock:
            self._check_room()
            for each in (*self._state.replicas.values(), *self._starting.values()):
                if each.place == saved.place and each.checksum != saved.checksum:
                    raise OtherCodeError(
                        f"revision {saved.revision} of {saved.function} runs other code, from {each.url};"
                        " a revision never changes: give this one another name"
                    )
            self._starting[saved.key] = saved
            self._start(saved)

    def _check_room(self) -> None:
        if self._stopping:
            raise NoRoomError("this agent stops")
        if len(self._supervisor.replicas()) >= self._bounds.replicas_max:
            raise NoRoomError(f"this node runs at most {self._bounds.replicas_max} replicas")

    def _start(self, saved: SavedReplica) -> None:
        spec = ReplicaSpec(
            function=saved.function,
            revision=saved.revision,
            code=self._codes.of_url(saved.url, saved.checksum),
            env=saved.env,
            host=self._bounds.host,
            port=saved.port,
        )
        self._supervised[saved.key] = self._supervisor.add(saved.key, spec)

    def _await_start(self, saved: SavedReplica) -> None:
        replica = self._supervised[saved.key].replica
        self._supervisor.wait_for(
            lambda: replica.url is not None or replica.failures > 0 or replica.gone,
            self._bounds.start_s + MARGIN_S,
        )
        if replica.url is None:
            raise NotStartedError(
                f"revision {saved.revision} of {saved.function} does not start:"
                f" {replica.error or 'it takes too long'}"
            )

    def _commit(self, saved: SavedReplica) -> None:
        """Let a replica that runs count, once it is called through the proxy too. Raises AgentError."""
        with self._lock:
            if self._stopping:
                raise NoRoomError("this agent stops")
            del self._starting[saved.key]
            self._state.replicas[saved.key] = msgspec.structs.replace(
                saved, port=self._supervised[saved.key].starter.port
            )
            self._keep()
        if self.announcer is not None:
            self.announcer.announce()

    def _give_up(self, saved: SavedReplica) -> None:
        with self._lock:
            self._starting.pop(saved.key, None)
            self._state.replicas.pop(saved.key, None)
        self._end([saved.key])

    def _end(self, keys: list[str]) -> None:
        """Take the routes of replicas away that are saved no more, then have them end, and wait for that."""
        self._announce()
        self._supervisor.remove(*keys)
        self._supervisor.wait_for(
            lambda: not {entry.key for entry in self._supervisor.replicas()} & {*keys},
            self._bounds.drain_s + MARGIN_S,
        )
        for key in keys:
            self._supervised.pop(key, None)
        self._keep()

    def _announce(self) -> None:
        """Have the proxy know; when it is away it learns later."""
        if self.announcer is not None:
            try:
                self.announcer.announce()
            except AgentError as error:
                log.warning("routes are not registered", reason=str(error))

    def _keep(self) -> None:
        with self._lock:
            self._file.write(self._state)

    def _view(self, saved: SavedReplica) -> ReplicaView:
        entry = self._supervised.get(saved.key)
        replica = entry.replica if entry is not None else None
        if replica is None or entry is None:
            return ReplicaView(saved, None, "", "it was removed")
        error = "" if replica.state is ReplicaState.RUNNING else replica.error or f"it is {replica.state}"
        return ReplicaView(saved, replica.pid, show_url(entry), error)

    def _find_wanted(self) -> Announcement:
        with self._lock:
            routes, places = set(), set()
            for saved in self._state.replicas.values():
                names = self._state.name_routes(saved)
                places |= {(saved.function, name) for name in names}
                entry = self._supervised.get(saved.key)
                if entry is not None and entry.replica.url is not None and not self._stopping:
                    routes |= {ProxyRoute(saved.function, name, show_url(entry)) for name in names}
            return Announcement(routes, places)


def show_url(entry: SupervisedReplica) -> str:
    """Return where a replica listens, as Capsule's workers wrote it."""
    host = "localhost" if entry.spec.host == LOOPBACK else bracket(entry.spec.host)
    return f"http://{host}:{entry.starter.port}"
