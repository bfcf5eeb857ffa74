"""Sending a message to the URL of a webhook: once, within its time, and to no address that is not allowed."""

import ipaddress
import ssl
from datetime import UTC, datetime
from functools import cache
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from standardwebhooks import Webhook as Signer

from piecework import __version__
from piecework.http.addresses import is_public, read_networks
from piecework.http.answers import Answer, Broken, NotHttp
from piecework.http.connections import Connection
from piecework.http.deadlines import Deadline
from piecework.http.routes import ServerRoute, find_trust
from piecework.http.sockets import find_reason, look_up, open_socket
from piecework.http.urls import DEFAULT_PORTS
from piecework.server.errors import InvalidRequest
from piecework.server.settings import split_list

URL_LENGTH = 2000
TIMEOUT_S = 15.0
"""An attempt takes no longer, from the look-up of the name to the answer."""
CHECK_S = 2.0
"""A name that is not found within this time may be registered all the same."""
EXCERPT_BYTES = 500
"""So much of an answer is read and shown."""
RETRY_AFTER = frozenset({429, 503})
"""Answers that may say when to come again."""
_SAFE = "/%:=&~+!$,;'@()*[]"


class AddressDenied(Exception):
    """A webhook leads to an address that is not public, and that the settings do not allow."""


class WebhookMessage(NamedTuple):
    """What is sent."""

    id: str
    at: int
    """When, milliseconds since 1970."""
    body: bytes


class Posted(NamedTuple):
    """What came of an attempt."""

    status: int | None
    """Of the answer; None: there was none."""
    detail: str
    """For people."""
    retry_after_s: int = 0
    """When to come again, if the answer said so."""

    @property
    def is_accepted(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class Poster:
    """Sends messages, signed as Standard Webhooks has it (https://www.standardwebhooks.com)."""

    def __init__(self, private: str) -> None:
        """``private``: the setting ``webhook_private``."""
        entries = split_list(private)
        self._is_anywhere = "*" in entries
        self._allowed = read_networks(entries)

    def check(self, url: str) -> None:
        """Raise InvalidRequest when nothing can, or may, be sent to a URL. Looks its name up."""
        route, _ = read_url(url)
        try:
            for each in look_up(route.host, route.port, CHECK_S):
                self._admit(each[4][0])
        except AddressDenied as error:
            raise InvalidRequest(str(error)) from error
        except (OSError, UnicodeError):
            return  # the name may be there later; each attempt looks it up and checks its addresses anew

    def post(self, url: str, secrets: list[str], message: WebhookMessage) -> Posted:
        """Send a message. Whatever goes wrong is in what it returns."""
        deadline = Deadline(TIMEOUT_S)
        try:
            route, target = read_url(url)
            opened = open_socket(route, TIMEOUT_S, deadline, self._admit)
        except (InvalidRequest, AddressDenied, NotHttp, Broken, ValueError) as error:
            return Posted(None, f"not sent: {error}")
        except OSError as error:
            return Posted(None, f"no connection: {find_reason(error)}")
        connection = Connection(opened)
        answer = Answer()
        try:
            connection.exchange(
                _write_head(route, target, secrets, message), message.body, TIMEOUT_S, answer, deadline
            )
            excerpt = _read_excerpt(connection, answer)
        except Broken as error:
            return Posted(None, f"no answer: {error}")
        except NotHttp as error:
            return Posted(None, f"the answer is not HTTP: {error}")
        finally:
            connection.close()
        return _judge(answer, excerpt)

    def _admit(self, address: str) -> None:
        """Raise AddressDenied unless a message may go to an address."""
        where = ipaddress.ip_address(address)
        if self._is_anywhere or is_public(where) or any(where in network for network in self._allowed):
            return
        raise AddressDenied(
            f"the URL leads to {address}, which is not public: PIECEWORK_WEBHOOK_PRIVATE={address} would allow it"
        )


def read_url(url: str) -> tuple[ServerRoute, str]:
    """Return the way to the host of a webhook's URL, and what is asked for there. Raises InvalidRequest.

    Proxies of the environment are passed by: it is the addresses of the host that are checked.
    """
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
        host = host if ":" in host else host.encode("idna").decode()
        port = parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError as error:
        raise InvalidRequest(f"the URL cannot be read: {error}") from error
    if len(url) > URL_LENGTH:
        raise InvalidRequest(f"the URL has {len(url)} characters, at most {URL_LENGTH} are taken")
    if parts.scheme not in DEFAULT_PORTS or not host or "%" in host:
        raise InvalidRequest("the URL must begin with https:// or http://, and a host")
    if "@" in parts.netloc or parts.fragment:
        raise InvalidRequest("the URL of a webhook has no user, no password and no fragment")
    shown = f"[{host}]" if ":" in host else host
    authority = shown if port == DEFAULT_PORTS[parts.scheme] else f"{shown}:{port}"
    tls, trusted = _trust() if parts.scheme == "https" else (None, "")
    query = f"?{quote(parts.query, safe=f'{_SAFE}?')}" if parts.query else ""
    target = quote(parts.path or "/", safe=_SAFE) + query
    return ServerRoute(host, port, authority, tls, "", None, trusted), target


@cache
def _trust() -> tuple[ssl.SSLContext, str]:
    return find_trust()


def _write_head(route: ServerRoute, target: str, secrets: list[str], message: WebhookMessage) -> bytes:
    at = message.at // 1000
    moment, text = datetime.fromtimestamp(at, UTC), message.body.decode()
    signatures = " ".join(Signer(secret).sign(message.id, moment, text) for secret in secrets)
    lines = [
        f"POST {target} HTTP/1.1",
        f"Host: {route.authority}",
        f"User-Agent: Piecework/{__version__}",
        "Content-Type: application/json",
        f"Content-Length: {len(message.body)}",
        "Connection: close",
        f"webhook-id: {message.id}",
        f"webhook-timestamp: {at}",
        f"webhook-signature: {signatures}",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def _read_excerpt(connection: Connection, answer: Answer) -> str:
    """Return how an answer begins. Its status is what counts: a body that breaks off takes nothing from it."""
    body = b""
    try:
        while len(body := body + answer.take()) < EXCERPT_BYTES and not answer.complete:
            connection.receive(answer)
    except (Broken, NotHttp):
        body += answer.take()
    text = body[:EXCERPT_BYTES].decode(errors="replace")
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def _judge(answer: Answer, excerpt: str) -> Posted:
    said = f": {excerpt}" if excerpt else ""
    if 300 <= answer.status < 400:
        said = ", which leads elsewhere: redirects are not followed"
    after = answer.headers.get("retry-after", "") if answer.status in RETRY_AFTER else ""
    return Posted(
        answer.status,
        f"it answered {answer.status}{said}",
        int(after) if after.isdecimal() and len(after) < 9 else 0,
    )
