"""Logging in at a registry: with user and password, or with a token from the server that the registry names."""

import base64
from collections.abc import Callable
from urllib.parse import urlencode, urlsplit

import msgspec

from piecework.http.addresses import is_loopback
from piecework.http.deadlines import Deadline
from piecework.http.urls import check_token
from piecework.oci.challenges import Challenge, read_challenges
from piecework.oci.credentials import Credentials
from piecework.oci.errors import OciError, RegistryRefused, quote_text
from piecework.oci.exchange import RegistryAccess, RegistryReply, RegistryRequest, exchange

ANSWER_MAX_BYTES = 256 * 1024
CLIENT = "piecework"


class _Token(msgspec.Struct):
    token: str | None = None
    access_token: str | None = None


def log_in(
    reply: RegistryReply,
    scope: str,
    find: Callable[[], Credentials | None],
    access: RegistryAccess,
    deadline: Deadline,
) -> str:
    """Return the value of ``Authorization`` that the answer 401 of a registry asks for.

    ``scope`` is what to ask of a token server when the answer does not say. Login data go to the registry, and to
    the token server that it names, if that speaks TLS or is on this machine. Raises OciError.
    """
    challenges = {
        each.scheme: each for each in reversed(read_challenges(reply.headers.get("www-authenticate", "")))
    }
    host = urlsplit(reply.url).netloc
    if "bearer" in challenges:
        return f"Bearer {_fetch_token(challenges['bearer'], scope, find(), access, deadline)}"
    if "basic" not in challenges:
        known = ", ".join(map(quote_text, challenges)) or "none that is known"
        raise RegistryRefused(f"{host} wants a login, and the ways that it offers are: {known}")
    credentials = find()
    if credentials is None or credentials.is_identity_token:
        raise RegistryRefused(f"{host} wants a login: log in with 'docker login {host}' or 'podman login {host}'")
    return _write_basic(credentials)


def _write_basic(credentials: Credentials) -> str:
    return f"Basic {base64.b64encode(f'{credentials.user}:{credentials.secret}'.encode()).decode()}"


def _fetch_token(
    challenge: Challenge, scope: str, credentials: Credentials | None, access: RegistryAccess, deadline: Deadline
) -> str:
    realm = _check_realm(challenge.parameters.get("realm", ""), access)
    asked = {
        "service": challenge.parameters.get("service", ""),
        "scope": challenge.parameters.get("scope") or scope,
    }
    query = {name: value for name, value in asked.items() if value}
    request = _ask(realm, query, credentials)
    with exchange(request, access, deadline) as reply:
        if reply.status != 200:
            raise _explain(realm, reply.status, credentials)
        content = reply.read(ANSWER_MAX_BYTES, f"the answer of the token server {quote_text(realm)}")
    try:
        found = msgspec.json.decode(content, type=_Token)
        return check_token(found.token or found.access_token or " ")
    except (ValueError, RecursionError):
        raise OciError(f"the token server {realm} answered with no token") from None


def _ask(realm: str, query: dict[str, str], credentials: Credentials | None) -> RegistryRequest:
    if credentials is not None and credentials.is_identity_token:
        form = {
            "grant_type": "refresh_token", "client_id": CLIENT, "refresh_token": credentials.secret, **query
        }  # fmt: skip
        headers = (("Content-Type", "application/x-www-form-urlencoded"),)
        return RegistryRequest("POST", realm, headers, urlencode(form).encode())
    url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(query)}"
    if credentials is None:
        return RegistryRequest("GET", url)
    return RegistryRequest("GET", url, (("Authorization", _write_basic(credentials)),))


def _check_realm(realm: str, access: RegistryAccess) -> str:
    """Return the URL of a token server. Raises OciError for one to which no password may go."""
    try:
        parts = urlsplit(realm)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        host = ""
    if not host or parts.scheme not in {"http", "https"} or "@" in parts.netloc or parts.fragment:
        raise OciError(f"the registry names a token server whose URL is none: {quote_text(realm)!r}")
    if parts.scheme == "http" and not (access.plain_http or is_loopback(host)):
        raise OciError(f"the registry names a token server that does not speak TLS: {quote_text(realm)}")
    return realm


def _explain(realm: str, status: int, credentials: Credentials | None) -> RegistryRefused:
    if status not in {400, 401, 403}:
        return RegistryRefused(f"the token server {realm} gave no token: its answer is {status}")
    who = "those who have no login" if credentials is None else f"the login data of {credentials.source}"
    return RegistryRefused(f"the token server {realm} does not accept {who}: its answer is {status}")
