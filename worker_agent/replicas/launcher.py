"""From what a replica shall serve to its process: its port, its command line, its secrets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import msgspec

from piecework.http.addresses import is_loopback
from piecework.protocol.messages import CallRecording, Grants, Limits
from piecework.worker_agent.errors import AgentError
from piecework.worker_agent.replicas.code import CodeSource
from piecework.worker_agent.replicas.ports import NoPortError, Ports
from piecework.worker_agent.replicas.process import PROGRAM, ServeProcess
from piecework.worker_agent.runtimes.streams import LogTail

TOKEN_VARIABLE = "PIECEWORK_SERVE_TOKEN"  # noqa: S105  # a variable's name
LOOPBACK = "127.0.0.1"
MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class ReplicaSpec:
    """What a replica serves, and for whom."""

    function: str
    revision: str
    code: CodeSource
    runtime: str = "default"
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """May hold secrets."""
    limits: Limits = Limits()  # noqa: RUF009  # it is frozen
    grants: Grants | None = None
    """What it may touch, if the node's operator allows it too; None: all that the operator allows."""
    mode: str = "http"
    record: CallRecording | None = None
    """Which of its calls are recorded; None: none."""
    record_to: Path | None = None
    """The folder for these."""
    token: str = field(default="", repr=False)
    """What its callers must show; "" lets everybody call who reaches it."""
    host: str = LOOPBACK
    """The address that it binds."""
    port: int | None = None
    """The port that it would like to have."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """What all replicas of this node have in common."""

    ports: Ports
    allowances: tuple[str, ...] = ()
    """Options that say what the operator allows."""
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables that the options need: passwords, and what guests may have."""
    kv_environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables with which replicas find the namespaces that they are granted."""
    otel_endpoint: str = ""
    """Where replicas send traces; "": nowhere."""
    program: Sequence[str] = PROGRAM


class Launcher:
    """Starts the processes of one replica, one after the other."""

    def __init__(self, node: Node, spec: ReplicaSpec, log: LogTail, on_end: Callable[[], None]) -> None:
        """``on_end`` is called when a process has ended, from another thread."""
        self._node = node
        self._spec = spec
        self._log = log
        self._on_end = on_end
        self._path: Path | None = None
        self.port = spec.port
        self._holds_port = False

    def __call__(self) -> ServeProcess:
        """Start a process, on the port of the one before if possible. Raises AgentError."""
        if self._path is None:
            self._path = self._spec.code.acquire()
        self._take_port()
        return ServeProcess(
            list_arguments(self._spec, self._path, self._node, self.port or 0),
            given=msgspec.json.encode(dict(self._spec.env)),
            environ={
                **self._node.environ,
                **(self._node.kv_environ if self._spec.grants and self._spec.grants.kv else {}),
                **({TOKEN_VARIABLE: self._spec.token} if self._spec.token else {}),
                **(name_traces(self._node.otel_endpoint, self._spec) if self._node.otel_endpoint else {}),
            },
            url=f"http://{bracket(self._spec.host)}:{self.port}",
            log=self._log,
            on_end=self._on_end,
            program=self._node.program,
            token=self._spec.token,
        )

    def close(self) -> None:
        """Let go of the code and the port. Its processes have ended."""
        self._give_port_back()
        if self._path is not None:
            self._path = None
            self._spec.code.release()

    def _take_port(self) -> None:
        self._give_port_back()
        try:
            self.port = self._node.ports.take(self._spec.host, self.port)
        except NoPortError as error:
            raise AgentError(str(error)) from error
        self._holds_port = True

    def _give_port_back(self) -> None:
        if self._holds_port and self.port is not None:
            self._node.ports.give_back(self.port)
        self._holds_port = False


def list_arguments(spec: ReplicaSpec, path: Path, node: Node, port: int) -> list[str]:
    """Return the command line of a replica, which everybody on the node can read: no secrets."""
    limits = spec.limits
    is_open = not spec.token and not is_loopback(spec.host)
    values: dict[str, object] = {
        "--host": spec.host,
        "--port": port,
        "--env-file": "-",
        "--runtime": spec.runtime,
        "--handler": spec.mode,
        "--timeout": limits.timeout_s,
        "--memory": _count_mib(limits.memory_bytes),
        "--fuel": limits.fuel,
        "--max-files-size": _count_mib(limits.files_bytes),
        "--max-files": limits.files_count,
        "--max-open": limits.open_files,
        "--stack": _count_mib(limits.stack_bytes),
        "--grants": None if spec.grants is None else msgspec.json.encode(spec.grants).decode(),
    }
    if spec.record is not None:
        values |= {"--record": f"{100 * spec.record.share:.15g}%", "--record-to": spec.record_to}
    found = ["serve", str(path), "--die-with-parent", *node.allowances, *(["--open"] if is_open else [])]
    for option, value in values.items():
        found += [] if value is None else [option, str(value)]
    for name in spec.record.kept if spec.record is not None else ():
        found += ["--record-with", name]
    return [*found, "--", *spec.args]


def name_traces(endpoint: str, spec: ReplicaSpec) -> dict[str, str]:
    """Return the variables that say where a replica sends its traces, and whose they are."""
    whose = {"piecework.function": spec.function, "piecework.revision": spec.revision}
    about = ",".join(f"{name}={quote(value, safe='')}" for name, value in whose.items())
    return {"PIECEWORK_OTEL_ENDPOINT": endpoint, "OTEL_RESOURCE_ATTRIBUTES": about}


def bracket(host: str) -> str:
    """Return a host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


def _count_mib(size: int | None) -> int | None:
    return None if size is None else max(1, size // MIB)
