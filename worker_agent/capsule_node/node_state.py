"""What outlives the agent: the replicas that were deployed on this node, and the routes that it registered."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import msgspec
import structlog

from piecework.worker_agent.capsule_node.errors import UnknownFunctionError, UnknownRevisionError
from piecework.worker_agent.capsule_node.reverse_proxy import DEFAULT, ProxyRoute
from piecework.worker_agent.errors import AgentError

log = structlog.get_logger()

FILE = "functions.json"


class SavedReplica(msgspec.Struct, frozen=True, kw_only=True):
    """A replica that somebody deployed on this node."""

    key: str
    """Its name on this node."""
    function: str
    revision: str
    url: str
    """Where its code came from."""
    checksum: str
    """SHA-256 of the code, hex."""
    env: dict[str, str]
    """May hold secrets."""
    port: int | None = None
    """Where it listened."""

    @property
    def place(self) -> tuple[str, str]:
        return self.function, self.revision


class SavedDefault(msgspec.Struct, frozen=True, kw_only=True):
    """Where calls of a function go that name no revision."""

    revision: str
    alias: bool
    """The reverse proxy knows that ``default`` stands for this revision; else it lists the URLs twice."""


class NodeState(msgspec.Struct, kw_only=True):
    """All that is kept. Change it, then have it written."""

    replicas: dict[str, SavedReplica] = {}
    """By key."""
    defaults: dict[str, SavedDefault] = {}
    """By function."""
    routes: set[ProxyRoute] = set()
    """What was registered at the reverse proxy, and not removed yet."""
    created: set[tuple[str, str]] = set()
    """(function, revision) that the reverse proxy did not know before."""

    def find(self, function: str, revision: str | None = None) -> list[str]:
        """Return the keys of a function's replicas, or of one revision's.

        Raises UnknownFunctionError or UnknownRevisionError.
        """
        found = [each for each in self.replicas.values() if each.function == function]
        if not found:
            raise UnknownFunctionError(f"there is no function {function} on this node")
        keys = [each.key for each in found if revision in {None, each.revision}]
        if not keys:
            names = ", ".join(sorted({each.revision for each in found}))
            raise UnknownRevisionError(f"{function} has no revision {revision} on this node; it has {names}")
        return keys

    def forget(self, keys: Iterable[str]) -> None:
        """Forget replicas, and the default of each function that has none any more."""
        for key in keys:
            del self.replicas[key]
        for function in self.defaults.keys() - {each.function for each in self.replicas.values()}:
            del self.defaults[function]

    def name_routes(self, replica: SavedReplica) -> list[str]:
        """Return the revisions under which the reverse proxy should list a replica."""
        listed_twice = self.defaults.get(replica.function) == SavedDefault(revision=replica.revision, alias=False)
        return [replica.revision, DEFAULT] if listed_twice else [replica.revision]


class NodeStateFile:
    """A JSON file that its owner alone can read: the old state is in it or the new one, never half of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / FILE

    def read(self) -> NodeState:
        """Return what is kept. A file that cannot be read is put aside, and nothing is kept then."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=NodeState)
        except FileNotFoundError:
            return NodeState()
        except (OSError, msgspec.DecodeError) as error:
            aside = self._path.with_suffix(".broken")
            log.warning(
                "functions are not started: their file cannot be read", aside=str(aside), reason=str(error)
            )
            self._path.replace(aside)
            return NodeState()

    def write(self, kept: NodeState) -> None:
        """Keep this. Raises AgentError when the disk fails."""
        try:
            handle, name = tempfile.mkstemp(prefix=".functions-", dir=self._folder)
            with os.fdopen(handle, "wb") as file:
                file.write(msgspec.json.encode(kept))
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self._path)
        except OSError as error:
            raise AgentError(f"{self._path} cannot be written: {error.strerror}") from error
