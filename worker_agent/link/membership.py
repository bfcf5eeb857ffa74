"""Who this agent is to the server: a worker id, kept on disk, asked for anew when the server forgot it."""

import hashlib

import msgspec
import structlog
from msgspec.structs import replace

from piecework.client import ClientError, NotFound
from piecework.protocol.codes import Code
from piecework.protocol.ids import Id
from piecework.protocol.messages import ContractRequest, WorkerLeave, WorkerRegister
from piecework.worker_agent.link.control import ControlServer
from piecework.worker_agent.link.state import StateDirectory, StateError
from piecework.worker_agent.threads import SYSTEM_THREADS, Threads

log = structlog.get_logger()


class Membership:
    """The agent's registration at one server."""

    def __init__(
        self,
        server: ControlServer,
        url: str,
        state: StateDirectory,
        registration: WorkerRegister,
        threads: Threads = SYSTEM_THREADS,
    ) -> None:
        self._server = server
        self._url = url
        self._state = state
        self._registration = registration
        self._lock = threads.new_lock()
        self._worker_id: Id | None = None

    @property
    def worker_id(self) -> Id:
        """The current worker id; there is one once ``join`` has returned."""
        assert self._worker_id is not None, "join() comes first"
        return self._worker_id

    @property
    def joined(self) -> bool:
        """There is a worker id."""
        return self._worker_id is not None

    @property
    def incarnation(self) -> str:
        """The random name of this start of the process."""
        return str(self._registration.incarnation)

    def join(self) -> Id:
        """Be known to the server: under the id on disk when it still counts, else under a new one.

        It is told what this agent offers unless that is what it knows.

        The server then knows that a new process has started, and ends the leases of the one before.
        Raises ClientError when the server does not answer or refuses. Safe to repeat.
        """
        kept, registered = self._state.find_worker(self._url) or (None, "")
        if kept is None or registered != self._digest():
            return self._register(kept)
        hello = ContractRequest(max=0, timeout=0, incarnation=self.incarnation)
        try:
            self._server.contract(kept, hello)
        except NotFound as error:
            if not is_unknown_worker(error):
                raise
            return self._register()
        self._worker_id = kept
        return kept

    def renew(self, stale: Id) -> None:
        """Register again because the server does not know ``stale``, unless another thread just did.

        Raises ClientError.
        """
        with self._lock:
            if self._worker_id == stale:
                log.warning("the server does not know this worker any more, registering again", worker=stale)
                self._register()

    def leave(self, server: ControlServer) -> None:
        """Say through a connection to the server that this process ends. Raises ClientError."""
        server.leave(self.worker_id, WorkerLeave(incarnation=self.incarnation))

    def _register(self, known_as: Id | None = None) -> Id:
        asked = self._registration if known_as is None else replace(self._registration, known_as=known_as)
        registered = self._server.register(asked)
        worker_id = registered.id
        self._worker_id = worker_id
        # A server of before does not take the key: a later one is told of it at the next start.
        digest = self._digest(with_key=registered.keyid is not msgspec.UNSET)
        try:
            self._state.keep_worker(self._url, digest, worker_id)
        except StateError as error:
            log.warning("worker id not kept, the next start will register anew", reason=str(error))
        log.info("registered", worker=worker_id)
        return worker_id

    def _digest(self, *, with_key: bool = True) -> str:
        """Return what tells what is registered; ``with_key``: the server knows the key, too."""
        key = self._registration.public_key if with_key else msgspec.UNSET
        lasting = replace(self._registration, incarnation=msgspec.UNSET, key_proof=msgspec.UNSET, public_key=key)
        return hashlib.sha256(msgspec.json.encode(lasting)).hexdigest()[:16]


def is_unknown_worker(error: ClientError) -> bool:
    """Tell whether the server refused because it does not know the worker (any more)."""
    return isinstance(error, NotFound) and error.code in {Code.WORKER_NOT_FOUND, Code.WORKER_RETIRED}
