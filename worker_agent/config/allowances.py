"""What an operator lets guests reach: from options to the rules that guest processes hold."""

import ipaddress
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from piecework.protocol.matching import RuntimeName
from piecework.worker_agent.runtimes.services.access import (
    ANY_HOST,
    CouchbaseServer,
    NodeRules,
    RedisServer,
    SharedDir,
)

T = TypeVar("T")
PORT_MAX = 65_535
REDIS_PORT, COUCHBASE_PORT = 6379, 8093
_HOST = r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?)"
_ADDRESS = re.compile(rf"{_HOST}(?::(?P<port>[0-9]{{1,5}}))?(?:/(?P<database>[0-9]{{1,5}}))?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
OURS = re.compile(r"PIECEWORK_.*|REDIS_PWD|COUCHBASE_(USER|PWD)")
"""Variables that no guest gets: they hold the agent's own secrets."""
WHOLE = ("/", ".")
"""Paths of the directory in which guests look for all that they name without another."""
FEATURES = {
    "default": ("http", "redis", "couchbase", "files", "dir", "env"),
    "capsule": ("http", "redis", "couchbase", "files", "dir", "env"),
    "component": ("http", "files", "dir", "env"),
    "funless": ("http",),
}
"""What guests of a runtime can make use of."""
FEATURES_OF_COMMANDS = ("files", "dir", "env")
"""What those of all other runtimes can: commands, and scripts, whose interpreters are commands."""


def read_http(text: str) -> str:
    """Return an entry for ``NodeRules.http``. Raises ValueError saying what is wrong."""
    if text == ANY_HOST:
        return text
    try:
        if "/" in text or (text.count(":") > 1 and not text.startswith("[")):
            return str(ipaddress.ip_network(text, strict=False))
        return _check(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is no host: give HOST, HOST:PORT, *, *:PORT, an address, or a network like 10.0.0.0/8"
        ) from None


def _check(text: str) -> str:
    _split(text.replace(ANY_HOST, "any", 1) if text.startswith(f"{ANY_HOST}:") else text, 0)
    return text.lower()


def read_redis(text: str, password: str = "") -> RedisServer:
    """Return the Redis at ``HOST[:PORT][/DATABASE]``. Raises ValueError saying what is wrong."""
    if "@" in text:
        # The text has a password: it is not repeated.
        raise ValueError("give HOST[:PORT][/DATABASE]; the password belongs in the variable REDIS_PWD")
    try:
        host, port, database = _split(text, REDIS_PORT)
    except ValueError:
        raise ValueError(f"{text!r} is no address of a Redis: give HOST[:PORT][/DATABASE]") from None
    return RedisServer(host, port, password, database)


def read_couchbase(text: str, user: str = "", password: str = "") -> CouchbaseServer:
    """Return the query service at ``[https://]HOST[:PORT]``. Raises ValueError saying what is wrong."""
    if "@" in text:
        raise ValueError(
            "give [https://]HOST[:PORT]; user and password belong in COUCHBASE_USER and COUCHBASE_PWD"
        )
    secure, address = text.startswith("https://"), text.removeprefix("https://").removeprefix("http://")
    try:
        host, port, _ = _split(address, COUCHBASE_PORT)
    except ValueError:
        raise ValueError(f"{text!r} is no address of a Couchbase: give [https://]HOST[:PORT]") from None
    return CouchbaseServer(host, port, secure, user, password)


def _split(text: str, usual_port: int) -> tuple[str, int, int]:
    """Return host, port and number of a database."""
    found = _ADDRESS.fullmatch(text)
    port = int(found["port"] or usual_port) if found else 0
    if found is None or port > PORT_MAX or found["port"] == "0":
        raise ValueError(text)
    return found["host"].strip("[]").lower(), port, int(found["database"] or 0)


def read_dir(text: str, state: Path) -> SharedDir:
    """Return the directory of ``DIR[=GUEST_PATH][:ro|rw]``. Raises ValueError saying what is wrong.

    One that has the agent's own state in it is refused.
    """
    where, colon, mode = text.rpartition(":")
    if not colon or mode not in {"ro", "rw"}:
        where, mode = text, "ro"
    place, _, guest_path = where.partition("=")
    path = Path(place).resolve()
    if not place or not path.is_dir() or not os.access(path, os.R_OK | os.X_OK):
        raise ValueError(f"{place!r} is no directory that this agent can read")
    if mode == "rw" and not os.access(path, os.W_OK):
        raise ValueError(f"{place!r} cannot be written by this agent: share it as {place}:ro")
    if state.resolve().is_relative_to(path) or path.is_relative_to(state.resolve()):
        raise ValueError(f"{place!r} has the agent's own state in it, which no guest may see")
    found = guest_path or str(path)
    names = found.split("/")[1:]
    if found not in WHOLE and (
        not found.startswith("/") or any(name in {"", ".", ".."} for name in names) or ":" in found
    ):
        raise ValueError(
            f"{found!r} is no path for guests: it must be like /data, with no .. and no colon, or / or ."
        )
    return SharedDir(str(path), found, write=mode == "rw")


def read_folder(text: str, state: Path) -> str:
    """Return the folder of private folders; it is made if need be. Raises ValueError saying what is wrong."""
    path = Path(text).resolve()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{text!r} cannot be used: {error.strerror}") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise ValueError(f"{text!r} cannot be written by this agent")
    if state.resolve().is_relative_to(path):
        raise ValueError(f"{text!r} has the agent's own state in it, which no guest may see")
    return str(path)


def read_env(name: str, environ: Mapping[str, str]) -> str:
    """Return the value of a variable that guests may have. Raises ValueError saying what is wrong."""
    if not _VARIABLE.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a variable: values do not belong here")
    if OURS.fullmatch(name):
        raise ValueError(f"{name} is the agent's own; guests cannot have it")
    if name not in environ:
        raise ValueError(f"{name} is not set for this agent")
    return environ[name]


class RuleMaker:
    """Puts rules together and notes each option that cannot be used."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def read(self, option: str, texts: Iterable[str], read: Callable[[str], T]) -> list[T]:
        """Read the values of one option."""
        found = []
        for text in texts:
            try:
                found.append(read(text))
            except ValueError as error:
                self.problems.append(f"--{option}: {error}")
        return found

    def read_dirs(self, texts: Iterable[str], state: Path) -> tuple[SharedDir, ...]:
        """Read directories, none of which may lie where guests find another."""
        dirs = self.read("allow-dir", texts, lambda text: read_dir(text, state))
        # The first that is granted is the whole of what a guest sees, whichever of two names it has.
        paths = ["/" if each.guest_path in WHOLE else each.guest_path for each in dirs]
        self.problems += [
            f"--allow-dir: guests cannot find two directories at {path!r}"
            for path in dict.fromkeys(paths)
            if paths.count(path) > 1
        ]
        return tuple(dirs)


def name_offer(runtime: str, rules: NodeRules) -> str:
    """Return how a worker offers a runtime: with a feature for each thing that the operator allows."""
    name = RuntimeName.parse(runtime)
    allowed = {
        "http": bool(rules.http),
        "redis": rules.redis is not None,
        "couchbase": rules.couchbase is not None,
        "files": rules.folder is not None,
        "env": bool(rules.env),
    }
    usable = FEATURES.get(name.base, FEATURES_OF_COMMANDS)
    features = [feature for feature in usable if allowed.get(feature)]
    if "dir" in usable:
        features += [f"dir:{each.guest_path}" for each in rules.dirs]
    return "+".join([runtime, *(feature for feature in features if feature not in name.features)])
