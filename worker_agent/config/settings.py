"""The agent's settings: defaults here, then files, then PIECEWORK_… variables, then command-line options."""

import hashlib
import ipaddress
import math
import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import platformdirs

from piecework.configuration.tokens import RenewedToken
from piecework.http.addresses import is_loopback, resolve_host
from piecework.http.urls import check_token, check_url, read_urls
from piecework.protocol.matching import RuntimeName
from piecework.protocol.text import find_fault
from piecework.text.durations import parse_duration
from piecework.worker_agent.config.allowances import (
    RuleMaker,
    read_couchbase,
    read_env,
    read_folder,
    read_http,
    read_redis,
)
from piecework.worker_agent.config.setting_texts import MIB, read_flag, read_list, read_mb
from piecework.worker_agent.errors import InterpreterError
from piecework.worker_agent.runtimes import ENGINES, RUNTIME_NAMES, Engine
from piecework.worker_agent.runtimes.scripting.interpreters import find_interpreters, list_names
from piecework.worker_agent.runtimes.services.access import NodeRules

LOG_FORMATS = ("console", "json")
LOG_LEVELS = ("debug", "info", "warning", "error")
SLOTS_MAX = 1024
FUNCTIONS_MAX = 1000
PORT_MAX = 65_535
FREE = frozenset({"ca", "server", "token", "reverse_proxy", "reverse_proxy_token", "registry"})
"""The rule for texts spares these: names of files that this process alone reads, and what has rules of its own."""


class SettingsError(ValueError):
    """Some settings have values that cannot be used; ``args`` has one line for each."""

    def __str__(self) -> str:
        return "; ".join(self.args)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How one agent runs."""

    server: str = "http://127.0.0.1:8000"
    """URL of the control server; or, with commas between, those of several, of which one is asked at a time."""
    token: str | None = field(default=None, repr=False)
    """Access token of scope ``worker``; an open server needs none."""
    ca: Path | None = None
    """Certificates to trust, a file or directory; unless given, those that the environment names."""
    state: Path | None = None
    """Directory of worker id and caches; unless given, one for each server in the user's state directory."""
    slots: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Jobs that run at once."""
    runtimes: tuple[str, ...] | None = None
    """What this agent offers to run; all that this node can unless given."""
    interpreters: Path | None = None
    """Folder of the node's own interpreters; unless given, in ``state``, or one for all agents of a user."""
    tags: tuple[str, ...] = ()
    """What jobs may ask for with ``+tag`` or avoid with ``-tag``."""
    name: str = field(default_factory=socket.gethostname)
    """For people; need not be unique."""
    cache_bytes: int = 2048 * MIB
    """Most that cached code and inputs may take on disk, bytes."""
    drain_timeout_s: float = 30.0
    """How long running jobs may go on after the first signal, seconds."""
    compile_timeout_s: float = 120.0
    """How long compiling a job's code may take, seconds."""
    compile_memory_bytes: int = 2048 * MIB
    """How much memory that may take, bytes."""
    engine: Engine = "cranelift"
    """What makes machine code of jobs' code: ``cranelift``, ``cranelift-none`` or ``pulley``."""
    prefetch: int = 400
    """Most jobs per slot held ahead; how many it really are follows from how long jobs take."""
    log_format: str = "console"
    """``console`` for people, ``json`` for programs."""
    log_level: str = "info"
    """``debug``, ``info``, ``warning`` or ``error``."""
    metrics_port: int = 0
    """Port for figures of this agent, for Prometheus; 0: there is none."""
    metrics_host: str = "127.0.0.1"
    """Address on which figures are told: to everybody who reaches it."""
    otel_endpoint: str = ""
    """Where traces are sent by OTLP over HTTP, such as ``http://127.0.0.1:4318``; empty: there are none."""
    wait: bool = True
    """At the start, wait for a server that does not answer."""
    stall_exit_s: float = 300.0
    """The agent leaves, for its supervisor to restart it, when its loop was dead for this long, seconds."""
    exit_when_idle_s: float = 0.0
    """The agent ends when it held no job for this long, seconds: for nodes that come with the work. 0: never."""

    allow_http: tuple[str, ...] = ()
    """Where guests may send HTTP requests: ``HOST`` (ports 80 and 443), ``HOST:PORT``, ``*``; and addresses or
    networks that are not public."""
    allow_redis: str | None = None
    """The Redis that guests may use, ``HOST[:PORT][/DATABASE]``."""
    redis_password: str = field(default="", repr=False)
    """Its password."""
    allow_couchbase: str | None = None
    """The query service of Couchbase that guests may use, ``[https://]HOST[:PORT]``."""
    couchbase_user: str = field(default="", repr=False)
    """Its user."""
    couchbase_password: str = field(default="", repr=False)
    """The user's password."""
    allow_files: str | None = None
    """Directory in which each lambda may have a private folder."""
    allow_dir: tuple[str, ...] = ()
    """Directories that guests may use, ``DIR[=GUEST_PATH][:ro|rw]``."""
    allow_env: tuple[str, ...] = ()
    """Names of variables of the agent that guests may have."""

    functions: int = 0
    """Replicas of functions that the control server may have this node run."""
    functions_host: str = "127.0.0.1"
    """Address of this node for calls of functions, or a name that leads to it; replicas of the control server's
    orders and the node's own API listen there."""
    functions_port: int = 0
    """Port of the node's own API for deployments, the one of Capsule's workers (9999 there); 0: there is none."""
    functions_first_port: int = 10_001
    """Replicas listen on ports from here upwards."""
    functions_token: str | None = field(default=None, repr=False)
    """What callers of the node's own API must show; needed when ``functions_host`` is not this node's loopback."""
    functions_open: bool = False
    """What is deployed through the node's own API listens on ``functions_host`` too, where everybody may call it;
    else on loopback."""
    functions_start_timeout_s: float = 60.0
    """A function that is not ready to answer after this long does not start, seconds."""
    reverse_proxy: str | None = None
    """URL of the proxy where functions that are deployed through the node's own API are registered."""
    reverse_proxy_token: str | None = field(default=None, repr=False)
    """Access token for it; ``token`` when it is the control server."""
    registry: str | None = None
    """URL of the registry from which ``org/module/tag`` is deployed."""

    def __post_init__(self) -> None:
        problems = [*_check_texts(self), *_check_names(self), *_check_numbers(self), *_check_functions(self)]
        if problems:
            raise SettingsError(*problems)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> dict[str, Any]:
        """Return the settings that ``environ`` has, ready for the constructor.

        Raises SettingsError that names every variable whose value cannot be read.
        """
        found: dict[str, Any] = {}
        problems: list[str] = []
        for variable, (setting, read) in VARIABLES.items():
            given = environ.get(variable, "")
            if not (text := given.strip()):
                continue
            try:
                found[setting] = given if isinstance(given, RenewedToken) else read(text)
            except ValueError:
                problems.append(f"{variable}={text!r} cannot be read")
        if problems:
            raise SettingsError(*problems)
        return found

    def with_address(self) -> Self:
        """Return these settings with the address that ``functions_host`` leads to, if anything listens there.

        Raises SettingsError.
        """
        if not self.functions and not self.functions_port:
            return self
        try:
            address = resolve_host(self.functions_host)
        except OSError as error:
            raise SettingsError(f"functions host: {error}") from error
        return replace(self, functions_host=address)

    def make_rules(self, environ: Mapping[str, str]) -> NodeRules:
        """Return what guests may reach. Raises SettingsError that names every option that cannot be used."""
        maker, state = RuleMaker(), self.state_path
        redis = maker.read(
            "allow-redis", _some(self.allow_redis), lambda text: read_redis(text, self.redis_password)
        )
        couchbase = maker.read(
            "allow-couchbase",
            _some(self.allow_couchbase),
            lambda text: read_couchbase(text, self.couchbase_user, self.couchbase_password),
        )
        folder = maker.read("allow-files", _some(self.allow_files), lambda text: read_folder(text, state))
        env = maker.read("allow-env", self.allow_env, lambda name: (name, read_env(name, environ)))
        rules = NodeRules(
            http=tuple(maker.read("allow-http", self.allow_http, read_http)),
            redis=next(iter(redis), None),
            couchbase=next(iter(couchbase), None),
            folder=next(iter(folder), None),
            dirs=maker.read_dirs(self.allow_dir, state),
            env=dict(env),
        )
        if maker.problems:
            raise SettingsError(*maker.problems)
        return rules

    @property
    def servers(self) -> list[str]:
        """The URLs of the control servers, which share a database."""
        return read_urls(self.server)

    @property
    def state_path(self) -> Path:
        """Where this agent keeps its state."""
        if self.state is not None:
            return self.state
        first = self.servers[0]
        host = re.sub(r"[^a-z0-9.]+", "-", urlsplit(first).netloc.lower())
        digest = hashlib.sha256(first.encode()).hexdigest()[:8]
        return platformdirs.user_state_path("piecework") / "agents" / f"{host}-{digest}"

    @property
    def interpreters_path(self) -> Path:
        """Where this node's own interpreters are."""
        base = self.state or platformdirs.user_state_path("piecework")
        return (self.interpreters or base / "interpreters").absolute()

    def list_runtimes(self) -> tuple[str, ...]:
        """Return the runtimes to offer. Raises InterpreterError when an interpreter is not described well."""
        if self.runtimes is not None:
            return self.runtimes
        return (*RUNTIME_NAMES, *list_names(find_interpreters(self.interpreters_path)))


def _some(text: str | None) -> tuple[str, ...]:
    return () if text is None else (text,)


VARIABLES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "PIECEWORK_URL": ("server", str),
    "PIECEWORK_TOKEN": ("token", str),
    "PIECEWORK_CA": ("ca", Path),
    "PIECEWORK_WORKER_STATE": ("state", Path),
    "PIECEWORK_WORKER_SLOTS": ("slots", int),
    "PIECEWORK_WORKER_RUNTIMES": ("runtimes", read_list),
    "PIECEWORK_WORKER_INTERPRETERS": ("interpreters", Path),
    "PIECEWORK_WORKER_TAGS": ("tags", read_list),
    "PIECEWORK_WORKER_NAME": ("name", str),
    "PIECEWORK_WORKER_CACHE_MB": ("cache_bytes", read_mb),
    "PIECEWORK_WORKER_DRAIN_TIMEOUT_S": ("drain_timeout_s", parse_duration),
    "PIECEWORK_WORKER_COMPILE_TIMEOUT_S": ("compile_timeout_s", parse_duration),
    "PIECEWORK_WORKER_COMPILE_MEMORY_MB": ("compile_memory_bytes", read_mb),
    "PIECEWORK_WORKER_ENGINE": ("engine", str),
    "PIECEWORK_WORKER_PREFETCH": ("prefetch", int),
    "PIECEWORK_WORKER_LOG_FORMAT": ("log_format", str),
    "PIECEWORK_WORKER_LOG_LEVEL": ("log_level", str),
    "PIECEWORK_WORKER_METRICS_PORT": ("metrics_port", int),
    "PIECEWORK_WORKER_METRICS_HOST": ("metrics_host", str),
    "PIECEWORK_OTEL_ENDPOINT": ("otel_endpoint", str),
    "PIECEWORK_WORKER_WAIT": ("wait", read_flag),
    "PIECEWORK_WORKER_STALL_EXIT_S": ("stall_exit_s", parse_duration),
    "PIECEWORK_WORKER_EXIT_WHEN_IDLE_S": ("exit_when_idle_s", parse_duration),
    "PIECEWORK_WORKER_FUNCTIONS": ("functions", int),
    "PIECEWORK_WORKER_FUNCTIONS_HOST": ("functions_host", str),
    "PIECEWORK_WORKER_FUNCTIONS_PORT": ("functions_port", int),
    "PIECEWORK_WORKER_FUNCTIONS_FIRST_PORT": ("functions_first_port", int),
    "PIECEWORK_WORKER_FUNCTIONS_TOKEN": ("functions_token", str),
    "PIECEWORK_WORKER_FUNCTIONS_OPEN": ("functions_open", read_flag),
    "PIECEWORK_WORKER_FUNCTIONS_START_TIMEOUT_S": ("functions_start_timeout_s", parse_duration),
    "PIECEWORK_WORKER_REVERSE_PROXY": ("reverse_proxy", str),
    "PIECEWORK_WORKER_REVERSE_PROXY_TOKEN": ("reverse_proxy_token", str),
    "PIECEWORK_WORKER_REGISTRY": ("registry", str),
    "PIECEWORK_WORKER_ALLOW_HTTP": ("allow_http", read_list),
    "PIECEWORK_WORKER_ALLOW_REDIS": ("allow_redis", str),
    "REDIS_PWD": ("redis_password", str),
    "PIECEWORK_WORKER_ALLOW_COUCHBASE": ("allow_couchbase", str),
    "COUCHBASE_USER": ("couchbase_user", str),
    "COUCHBASE_PWD": ("couchbase_password", str),
    "PIECEWORK_WORKER_ALLOW_FILES": ("allow_files", str),
    "PIECEWORK_WORKER_ALLOW_DIR": ("allow_dir", read_list),
    "PIECEWORK_WORKER_ALLOW_ENV": ("allow_env", read_list),
}
"""Environment variables, with the setting each one sets and how its text is read."""


def _check_texts(settings: Settings) -> list[str]:
    """Return a line for each text that can neither be sent to a server nor to a guest process."""
    problems = []
    for name, token in (("token", settings.token), ("reverse proxy token", settings.reverse_proxy_token)):
        try:
            check_token(token or "")
        except ValueError as error:
            problems.append(f"{name}: {error}")
    for each in fields(settings):
        value = getattr(settings, each.name)
        text = str(value) if isinstance(value, Path) else value
        if fault := each.name not in FREE and find_fault({each.name.replace("_", " "): text}):
            problems.append(fault)
    return problems


def _check_names(settings: Settings) -> list[str]:
    problems = []
    try:
        read_urls(settings.server)
    except ValueError as error:
        problems.append(f"server: {error}")
    if settings.runtimes is not None:
        problems += _check_runtimes(settings.runtimes, settings.interpreters_path)
    if settings.engine not in ENGINES:
        problems.append(f"engine {settings.engine!r} is not one of {', '.join(ENGINES)}")
    if settings.log_format not in LOG_FORMATS:
        problems.append(f"log format {settings.log_format!r} is not one of {', '.join(LOG_FORMATS)}")
    if settings.log_level not in LOG_LEVELS:
        problems.append(f"log level {settings.log_level!r} is not one of {', '.join(LOG_LEVELS)}")
    return problems


def _check_functions(settings: Settings) -> list[str]:
    problems = []
    if settings.exit_when_idle_s and (settings.functions or settings.functions_port):
        problems.append("an agent that serves functions has always something to do: leave out exit when idle")
    for name, url in (
        ("reverse proxy", settings.reverse_proxy),
        ("registry", settings.registry),
        ("otel endpoint", settings.otel_endpoint or None),
    ):
        try:
            if url is not None:
                check_url(url)
        except ValueError as error:
            problems.append(f"{name}: {error}")
    host = settings.functions_host
    if host == "" or (_is_address(host) and ipaddress.ip_address(host).is_unspecified):
        problems.append(f"functions host {host!r}: give an address at which others reach this node")
    elif _is_address(host) and not is_loopback(host) and settings.functions_port and not settings.functions_token:
        problems.append(
            f"functions host {host} is reached from elsewhere, so the node's own API needs a token:"
            " set PIECEWORK_WORKER_FUNCTIONS_TOKEN"
        )
    return problems


def _is_address(host: str) -> bool:
    """Tell an address from a name, of which nothing is known before it was looked up."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _check_runtimes(wanted: tuple[str, ...], interpreters: Path) -> list[str]:
    try:
        known = (*RUNTIME_NAMES, *list_names(find_interpreters(interpreters)))
    except InterpreterError as error:
        return [str(error)]
    unknown = [name for name in wanted if RuntimeName.parse(name).base not in known]
    if wanted and not unknown:
        return []
    wrong = ", ".join(map(repr, unknown)) or "none"
    return [f"runtime {wrong}: this node can run {', '.join(known)}; `worker-agent runtimes` tells of others"]


def _check_numbers(settings: Settings) -> list[str]:
    bounds = {
        "slots": (1, SLOTS_MAX),
        "prefetch": (0, 1000),
        "cache_bytes": (MIB, math.inf),
        "drain_timeout_s": (0, 86_400),
        "compile_timeout_s": (1, 86_400),
        "compile_memory_bytes": (64 * MIB, 2**50),
        "stall_exit_s": (60, math.inf),
        "exit_when_idle_s": (0, math.inf),
        "metrics_port": (0, PORT_MAX),
        "functions": (0, FUNCTIONS_MAX),
        "functions_port": (0, PORT_MAX),
        "functions_first_port": (1, PORT_MAX),
        "functions_start_timeout_s": (1, 3600),
    }
    return [
        f"{each.name} is {value}, it must be between {low} and {high}"
        for each in fields(settings)
        if each.name in bounds
        for value, (low, high) in [(getattr(settings, each.name), bounds[each.name])]
        if not low <= value <= high
    ]
