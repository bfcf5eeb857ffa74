"""Login data for registries, as Docker and Podman keep them: in files, or with a program to ask."""

import base64
import binascii
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

from piecework.oci.errors import OciError
from piecework.oci.references import DOCKER_HUB, Reference

T = TypeVar("T")
FILE_MAX_BYTES = 1024 * 1024
ANSWER_MAX_BYTES = 64 * 1024
HELPER_S = 60.0
"""A program that keeps login data has so long to answer: it may ask its user."""
TOKEN_USER = "<token>"  # noqa: S105  # what the protocol of these programs calls a user with an identity token
NOT_FOUND = b"credentials not found"
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

AskHelper = Callable[[str, str], bytes | None]
"""Asks a program of this name for the login data of a server; None: it has none. Raises OciError."""


@dataclass(frozen=True)
class Credentials:
    """Who somebody is to a registry."""

    user: str
    secret: str = field(repr=False)
    source: str
    """Where they were found, in words."""
    is_identity_token: bool = False
    """The secret is one for which a token server gives tokens, no password."""


class _Auth(msgspec.Struct):
    auth: str | None = None
    identitytoken: str | None = None
    username: str | None = None
    password: str | None = None


class _Config(msgspec.Struct, rename="camel"):
    auths: dict[str, _Auth] | None = None
    cred_helpers: dict[str, str] | None = None
    creds_store: str | None = None


class _Kept(msgspec.Struct, rename="pascal"):
    username: str
    secret: str


def ask_helper(name: str, server: str) -> bytes | None:
    """Run ``docker-credential-NAME get`` and return what it answers. Raises OciError."""
    program = shutil.which(f"docker-credential-{name}")
    if program is None:
        raise OciError(f"docker-credential-{name}, which keeps login data for {server}, is not installed")
    try:
        with subprocess.Popen([program, "get"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: S603
            try:
                answer, _ = process.communicate(server.encode(), timeout=HELPER_S)
            except BaseException:
                process.kill()
                raise
    except subprocess.TimeoutExpired as error:
        raise OciError(f"docker-credential-{name} did not answer within {HELPER_S:g} s") from error
    except OSError as error:
        raise OciError(f"docker-credential-{name} cannot be run: {error.strerror}") from error
    if process.returncode:
        if NOT_FOUND in answer[:ANSWER_MAX_BYTES].lower():
            return None
        # What it says may hold a secret.
        raise OciError(f"docker-credential-{name} failed for {server} with exit code {process.returncode}")
    return answer


def find_credentials(
    reference: Reference, environ: Mapping[str, str], home: Path, ask: AskHelper = ask_helper
) -> Credentials | None:
    """Return the login data for a registry; None when there are none. Raises OciError for files that are damaged.

    They are looked for in the file of ``REGISTRY_AUTH_FILE``, and only there when that is set; else in
    ``config.json`` of the directory ``DOCKER_CONFIG`` or ``~/.docker``, and then in Podman's ``auth.json``.
    """
    for path in list_files(environ, home):
        config = _read_config(path, is_named=bool(environ.get("REGISTRY_AUTH_FILE")))
        found = None if config is None else _find_in(config, path, reference, ask)
        if found is not None:
            return found
    return None


def list_files(environ: Mapping[str, str], home: Path) -> list[Path]:
    """Return the files that may have login data, those first that count first."""
    if named := environ.get("REGISTRY_AUTH_FILE"):
        return [Path(named)]
    docker = Path(environ.get("DOCKER_CONFIG") or home / ".docker") / "config.json"
    runtime = environ.get("XDG_RUNTIME_DIR")
    podman = [Path(runtime) / "containers" / "auth.json"] if runtime else []
    return [docker, *podman, Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "containers" / "auth.json"]


def _read_config(path: Path, *, is_named: bool) -> _Config | None:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        if is_named:
            raise OciError(f"REGISTRY_AUTH_FILE names {path}, which is not there") from None
        return None
    except OSError as error:
        raise OciError(f"{path} has login data, and cannot be read: {error.strerror}") from error
    if len(content) > FILE_MAX_BYTES:
        raise OciError(f"{path} is too long for a file of login data: more than {FILE_MAX_BYTES} bytes")
    try:
        return msgspec.json.decode(content, type=_Config) if content.strip() else None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise OciError(f"{path} is no file of login data as Docker writes it") from None


def _find_in(config: _Config, path: Path, reference: Reference, ask: AskHelper) -> Credentials | None:
    login = reference.login
    helper = _get(config.cred_helpers or {}, [login]) or config.creds_store
    if helper and (found := _ask(helper, login, ask)) is not None:
        return found
    *above, _ = f"{reference.login}/{reference.name}/".split("/")
    places = ["/".join(above[:end]) for end in range(len(above), 0, -1)]
    auth = _get(config.auths or {}, places)
    return None if auth is None else _read_auth(auth, path, login)


def _get(entries: Mapping[str, T], places: Iterable[str]) -> T | None:
    """Return what is kept for the first of these places that has something."""
    known = {_strip(name): value for name, value in entries.items()}
    return next((known[place] for place in places if place in known), None)


def _strip(name: str) -> str:
    """Return which registry an entry is for: Docker wrote whole URLs once."""
    place = name.removeprefix("https://").removeprefix("http://").rstrip("/")
    place = place.removesuffix("/v1").removesuffix("/v2").lower()
    return DOCKER_HUB if place in {"docker.io", "registry-1.docker.io"} else place


def _read_auth(auth: _Auth, path: Path, login: str) -> Credentials | None:
    user, secret = auth.username or "", auth.password or ""
    if auth.auth:
        try:
            user, colon, secret = base64.b64decode(auth.auth, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError, ValueError):
            colon = ""
        if not colon:
            raise OciError(f"{path} has login data for {login} that are damaged: log in again")
    if auth.identitytoken:
        return Credentials(user, auth.identitytoken, str(path), is_identity_token=True)
    return Credentials(user, secret.rstrip("\0"), str(path)) if user or secret else None


def _ask(helper: str, login: str, ask: AskHelper) -> Credentials | None:
    if not _HELPER.fullmatch(helper):
        raise OciError("the login data name a program that keeps them, and that is no name of one")
    answer = ask(helper, "https://index.docker.io/v1/" if login == DOCKER_HUB else login)
    if answer is None:
        return None
    source = f"docker-credential-{helper}"
    try:
        if len(answer) > ANSWER_MAX_BYTES:
            raise ValueError("too long")
        found = msgspec.json.decode(answer, type=_Kept)
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        raise OciError(f"{source} answered with no login data") from None
    if not found.username and not found.secret:
        return None
    return Credentials(found.username, found.secret, source, is_identity_token=found.username == TOKEN_USER)
