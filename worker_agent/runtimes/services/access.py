"""Grants: what a lambda may reach, as far as the node's operator allows it too."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from piecework.http.addresses import is_public, read_networks
from piecework.protocol.kv_grants import KvGrant
from piecework.protocol.messages import Grants
from piecework.worker_agent.runtimes.services.errors import DeniedError

ANY_HOST = "*"
INPUTS = "/inputs"
"""Where guests find what their job gets from others."""
ROOTS = {"/", "."}
"""Where guests look for all paths."""
USUAL_PORTS = (80, 443)
"""What a host without a port allows."""


@dataclass(frozen=True, slots=True)
class RedisServer:
    """The Redis that an operator offers to guests."""

    host: str
    port: int = 6379
    password: str = field(default="", repr=False)
    database: int = 0


@dataclass(frozen=True, slots=True)
class CouchbaseServer:
    """The query service of the Couchbase that an operator offers to guests."""

    host: str
    port: int = 8093
    secure: bool = False
    user: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class SharedDir:
    """A directory of the node that an operator offers to guests."""

    path: str
    """Where it is on the node."""
    guest_path: str
    """Where guests find it: absolute, without ``..`` and without a slash at its end."""
    write: bool = False


@dataclass(frozen=True, slots=True)
class Folder:
    """A directory that one call may use."""

    path: str
    guest_path: str
    write: bool
    advice: str
    """What would let a guest write here."""
    private: bool = False
    """It belongs to the lambda, or the job, alone."""
    steady: bool = False
    """What guests are told of its files is the same on every node: no times, and inodes in the order of asking."""
    inodes_from: int = 0
    """The inodes that are told then are above this."""


@dataclass(frozen=True, slots=True)
class NodeRules:
    """What the node's operator allows guests. Nothing, by default."""

    http: tuple[str, ...] = ()
    """Hosts as ``host`` (ports 80 and 443), ``host:port`` or ``*``; and the addresses or networks, like
    ``10.0.0.5`` or ``10.0.0.0/8``, that may be reached although they are not public."""
    redis: RedisServer | None = None
    couchbase: CouchbaseServer | None = None
    folder: str | None = None
    """Each lambda has a private folder in this one."""
    shares_folder: bool = False
    """They have this folder itself."""
    dirs: tuple[SharedDir, ...] = ()
    env: dict[str, str] = field(default_factory=dict, repr=False)
    """Variables of the node that lambdas may ask for."""
    grants_all: bool = False
    """The operator is the author, too: what is allowed is granted, and nothing else has to be said."""

    def explain_denial(self, what: str, option: str) -> str:
        """Say which option of the operator would allow something."""
        if self.grants_all:
            return f"nothing allows {what}; --allow-{option} would"
        return f"the operator of this node does not allow {what}; worker-agent run --allow-{option} would"


@dataclass(frozen=True, slots=True)
class Permissions:
    """What one call may reach: what both its lambda's grants and the node's rules allow."""

    grants: Grants = field(default_factory=Grants)
    node: NodeRules = field(default_factory=NodeRules)
    folder: str | None = None
    """The private folder; None: there is none."""
    sealed: bool = False
    """Nothing but ``inputs`` and ``own``, because the call is deterministic, or replayed."""
    recorded: bool = False
    """What guests are told of ``inputs`` and ``own`` is the same on every node, although others are granted."""
    inputs: str | None = None
    """The folder with what a job gets from others, which it may read; None: nothing."""
    own: str | None = None
    """The directory that a job has for itself, at ``/``, in the place of the private folder; None: none."""

    @classmethod
    def of(
        cls,
        grants: Grants,
        node: NodeRules,
        owner: str,
        inputs: str | None = None,
        own: str | None = None,
        *,
        sealed: bool = False,
        recorded: bool = False,
    ) -> "Permissions":
        """Return what a job may reach; ``owner``, the checksum of its code, names its private folder."""
        folder = None if node.folder is None else str(Path(node.folder, "" if node.shares_folder else owner))
        return cls(grants, node, folder, sealed, recorded, inputs, own)

    @property
    def steady(self) -> bool:
        """Say whether what guests are told of their own files is the same on every node."""
        return self.sealed or self.recorded

    def find_folders(self) -> list[Folder]:
        """Return the directories that the call may use: those that are shared with it, then the private one."""
        jobs = self.find_job_folders()
        if self.sealed:
            return jobs
        taken = {INPUTS} if self.inputs is not None else set()
        taken |= ROOTS if self.own is not None else set()
        shared = {each.guest_path: each for each in self.node.dirs if each.guest_path not in taken}
        folders = jobs + [
            Folder(shared[where].path, where, write and shared[where].write, self._advise_writing(where))
            for where, write in map(parse_dir_grant, self.grants.dirs)
            if where in shared
        ]
        if self.grants.files is not None and self.folder is not None and self.own is None:
            folders.append(self._get_private(write=self.grants.files == "write"))
        return folders

    def find_job_folders(self) -> list[Folder]:
        """Return the directories that are there for this job alone."""
        found = []
        if self.inputs is not None:
            advice = "what a job gets from others never changes"
            found.append(Folder(self.inputs, INPUTS, write=False, advice=advice, steady=self.steady))
        if self.own is not None:
            found.append(Folder(self.own, "/", write=True, advice="", private=True, steady=self.steady))
        return found

    def find_missing(self) -> list[str]:
        """Return a line for each grant that the node's operator does not allow, where no call would tell so."""
        if self.sealed:
            return []
        shared = {each.guest_path: each for each in self.node.dirs}
        missing = [
            f"variable {name} denied: the operator of this node does not allow it; worker-agent run "
            f"--allow-env {name} would"
            for name in self.grants.env
            if name not in self.node.env
        ]
        for where, write in map(parse_dir_grant, self.grants.dirs):
            if where not in shared or (write and not shared[where].write):
                what, mode = ("writing to directory", ":rw") if where in shared else ("directory", "")
                missing.append(
                    f"{what} {where} denied: the operator of this node does not allow it; worker-agent run "
                    f"--allow-dir DIR={where}{mode} would"
                )
        return missing

    def pick_env(self) -> dict[str, str]:
        """Return the node's variables that are granted."""
        return {name: self.node.env[name] for name in self.grants.env if name in self.node.env}

    def check_http(self, host: str, port: int) -> None:
        """Raise DeniedError unless a request may go there. The host's address is another matter."""
        self._check_seal()
        option = f"http {_bracket(host)}:{port}"
        if not _lists(self.grants.http, host, port):
            raise DeniedError(self._explain_ungranted(f"HTTP to {host}:{port}", option, option))
        if not _lists(self.node.http, host, port):
            raise DeniedError(self.node.explain_denial(f"HTTP to {host}:{port}", option))

    def check_address(self, host: str, address: str) -> None:
        """Raise DeniedError for an address that is not public, unless the operator lists it."""
        where = ipaddress.ip_address(address)
        if not is_public(where) and not any(where in network for network in read_networks(self.node.http)):
            reason = self.node.explain_denial("that", f"http {address}")
            raise DeniedError(f"{host} is at {address}, which is not public; {reason}")

    def get_redis(self) -> RedisServer:
        """Return the Redis to use. Raises DeniedError."""
        self._check_seal()
        if not self.grants.redis:
            raise DeniedError(self._explain_ungranted("Redis", "redis", "redis HOST"))
        if self.node.redis is None:
            raise DeniedError(self.node.explain_denial("Redis", "redis HOST"))
        return self.node.redis

    def get_couchbase(self) -> CouchbaseServer:
        """Return the Couchbase to use. Its host must be among those that the lambda may reach by HTTP."""
        self._check_seal()
        server = self.node.couchbase
        if server is None:
            raise DeniedError(self.node.explain_denial("Couchbase", "couchbase HOST"))
        if not _lists(self.grants.http, server.host, server.port):
            where = f"{_bracket(server.host)}:{server.port}"
            raise DeniedError(self._explain_ungranted(f"HTTP to {where}", f"http {where}", f"http {where}"))
        return server

    def find_folder(self, path: bytes, *, write: bool = False) -> tuple[Folder, bytes]:
        """Return the directory that a path leads to, and the path in there. Raises DeniedError.

        That is a shared one when the path begins with its path, else the private one.
        """
        for folder in self.find_folders():
            start = folder.guest_path.rstrip("/").encode() + b"/"
            if not folder.private and path.startswith(start):
                if write and not folder.write:
                    raise DeniedError(f"{folder.guest_path} can only be read: {folder.advice}")
                return folder, path.removeprefix(start).lstrip(b"/")
        self._check_seal()
        return self._get_private(write=write), path

    def find_namespace(self, name: str, *, write: bool) -> int:
        """Return the namespace that guests call so, or the only one for "". Raises DeniedError."""
        self._check_seal()
        granted = {each.name: each for each in map(KvGrant.parse, self.grants.kv)}
        found = granted.get(name) if name or len(granted) != 1 else next(iter(granted.values()))
        if found is None:
            shown, mode = name[:100] or "NAME", ":rw" if write else ""
            what = f"the namespace {shown!r}" if name else "a namespace without a name"
            raise DeniedError(self._explain_ungranted(what, f"kv {shown}=ID{mode}", f"kv {shown}{mode}"))
        if write and not found.write:
            option = "--allow-kv" if self.node.grants_all else "--grant-kv"
            raise DeniedError(f"the namespace {found.name!r} can only be read; {option} with :rw would allow more")
        return int(found.namespace)

    def _get_private(self, *, write: bool) -> Folder:
        if self.grants.files is None or (write and self.grants.files != "write"):
            kind, what = ("write", "writing files") if write else ("read", "reading files")
            raise DeniedError(self._explain_ungranted(what, f"files {kind}", "files DIR"))
        if self.folder is None:
            raise DeniedError(self.node.explain_denial("files", "files DIR"))
        return Folder(
            self.folder, "/", write, "--grant-files write would allow it", private=not self.node.shares_folder
        )

    def explain_no_variable(self, name: str) -> str:
        """Say what would give a guest a variable that it does not have."""
        if self.node.grants_all:
            return f"there is no variable {name}; --env {name}=VALUE or --allow-env {name} would give one"
        return f"the lambda has no variable {name}; --grant-env {name} gives it the node's"

    def _advise_writing(self, where: str) -> str:
        if self.node.grants_all:
            return f"--allow-dir DIR={where}:rw would allow it"
        return (
            "its grant and the operator of this node must both allow writing, with "
            f"--grant-dir {where}:rw and worker-agent run --allow-dir DIR={where}:rw"
        )

    def _explain_ungranted(self, what: str, grant: str, allowance: str) -> str:
        if self.node.grants_all:
            return self.node.explain_denial(what, allowance)
        return f"the lambda has no grant for {what}; --grant-{grant} gives it one"

    def _check_seal(self) -> None:
        if self.sealed:
            raise DeniedError("a deterministic lambda reaches nothing outside of its sandbox")


def parse_dir_grant(text: str) -> tuple[str, bool]:
    """Return what ``/data`` or ``/data:rw`` says: the path where guests find it, and whether they may write."""
    path, colon, mode = text.rpartition(":")
    return (path, mode == "rw") if colon and mode in {"ro", "rw"} else (text, False)


def _lists(entries: Iterable[str], host: str, port: int) -> bool:
    """Tell whether a list of hosts has this host with this port."""
    wanted = {f"{_bracket(host)}:{port}", f"{ANY_HOST}:{port}"}
    if port in USUAL_PORTS:
        wanted |= {host, _bracket(host), ANY_HOST}
    return any(entry.lower() in wanted for entry in entries)


def _bracket(host: str) -> str:
    return f"[{host}]" if ":" in host else host
