"""Requests and replies over HTTP: connections, timeouts, the token, and repeating what is safe to repeat."""

import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlsplit

import requests
import stamina
from requests.auth import AuthBase

from piecework import __version__
from piecework.client.errors import ApiError, BadReply, ServerUnreachable
from piecework.client.replies import find_reason, read_message, read_refusal
from piecework.protocol import bodies

T = TypeVar("T")
Query = Mapping[str, str | int | float | None]

REPEATED_STATUSES = frozenset({429, 503})
"""Answers that say: nothing was done, try again later."""
LONGEST_PAUSE_S = 30.0
"""The client pauses no longer than this, whatever ``Retry-After`` says."""


@dataclass(frozen=True)
class Patience:
    """How long the client waits, and how often it tries."""

    attempts: int = 8
    """How often a request that is safe to repeat is tried; 1 switches repeating off."""
    connect_s: float = 5.0
    """For a connection to be made."""
    read_s: float = 30.0
    """For the next bytes of an answer."""
    poll_margin_s: float = 10.0
    """Added to a long poll's own timeout."""
    total_s: float = 90.0
    """No further try starts later than this after the first."""
    first_pause_s: float = 0.1
    """Before the second try; doubled for each further one."""
    longest_pause_s: float = 5.0
    jitter_s: float = 0.5
    """Up to this much is added to each pause at random, so that clients do not return in step."""


@dataclass(frozen=True)
class Request:
    """One request, before it is sent."""

    method: str
    path: str
    query: Query = field(default_factory=dict)
    body: object = None
    """A message to encode; None sends no body."""
    repeatable: bool = False
    """Doing it twice is the same as doing it once."""
    poll_s: float = 0.0
    """How long the server may hold the answer on purpose."""


class BearerToken(AuthBase):
    """Adds the token to each request; keeps it out of reprs, and ``.netrc`` from replacing it."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class Transport:
    """Sends requests to one server. Safe to share between threads: each has its own connection."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        patience: Patience | None = None,
        media_type: str = bodies.MSGPACK,
        new_session: Callable[[], requests.Session] = requests.Session,
    ) -> None:
        self.url = check_url(url)
        self.media_type = media_type
        self._patience = patience or Patience()
        self._auth = BearerToken(token)
        self._new_session = new_session
        self._local = threading.local()
        self._sessions: weakref.WeakSet[requests.Session] = weakref.WeakSet()

    def call(self, request: Request, reply: type[T], *, also: Iterable[int] = ()) -> T:
        """Send a request and read the reply.

        ``also``: HTTP statuses beside 2xx that are read as a reply, not as a refusal.
        Raises ApiError, ServerUnreachable or BadReply.
        """
        body = None if request.body is None else bodies.encode(request.body, self.media_type)
        headers = {"Accept": self.media_type}
        if body is not None:
            headers["Content-Type"] = self.media_type

        def send() -> requests.Response:
            return self._send(request, headers, body, also=also)

        response = self.repeat(send) if request.repeatable else send()
        try:
            return read_message(response, reply)
        except BadReply:
            if response.status_code in also:
                raise read_refusal(response) from None
            raise

    def send_stream(self, request: Request, body: Iterable[bytes], content_type: str) -> requests.Response:
        """Send a request whose body is streamed; once, the caller repeats it."""
        headers = {"Accept": self.media_type, "Content-Type": content_type}
        return self._send(request, headers, body)

    def open_stream(self, request: Request) -> requests.Response:
        """Send a request whose reply is read bit by bit by the caller, who also closes it; once."""
        headers = {"Accept": bodies.BINARY, "Accept-Encoding": "identity"}
        return self._send(request, headers, None, stream=True)

    def repeat(self, action: Callable[[], T]) -> T:
        """Do what is safe to repeat, again after a broken connection and when the server is busy."""
        patience = self._patience
        if patience.attempts <= 1:
            return action()
        for attempt in stamina.retry_context(
            on=_pause_before_repeat,
            attempts=patience.attempts,
            timeout=patience.total_s,
            wait_initial=patience.first_pause_s,
            wait_max=patience.longest_pause_s,
            wait_jitter=patience.jitter_s,
        ):
            with attempt:
                return action()
        raise AssertionError("a retry loop ends with a result or an error")

    def unreachable(self, error: Exception) -> ServerUnreachable:
        """Return the error to raise for a connection that failed."""
        return ServerUnreachable(self.url, find_reason(error))

    def close(self) -> None:
        """Close the connections of all threads. The transport can be used again afterwards."""
        for session in list(self._sessions):
            session.close()

    def _send(
        self,
        request: Request,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes] | None,
        *,
        stream: bool = False,
        also: Iterable[int] = (),
    ) -> requests.Response:
        patience = self._patience
        read_s = request.poll_s + patience.poll_margin_s if request.poll_s else patience.read_s
        try:
            response = self._session().request(
                request.method,
                self.url + request.path,
                params={name: str(value) for name, value in request.query.items() if value is not None},
                headers=dict(headers),
                data=body,
                auth=self._auth,
                timeout=(patience.connect_s, read_s),
                allow_redirects=False,
                stream=stream,
            )
            if (response.ok and not response.is_redirect) or response.status_code in also:
                return response
            with response:
                raise read_refusal(response)
        except (
            requests.ConnectionError,
            requests.Timeout,
            requests.exceptions.ChunkedEncodingError,
        ) as error:
            raise self.unreachable(error) from error

    def _session(self) -> requests.Session:
        """Return this thread's session; proxies and certificates of the environment are read once, here."""
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._new_session()
            found = session.merge_environment_settings(self.url, {}, None, None, None)
            session.proxies, session.verify, session.trust_env = found["proxies"], found["verify"], False
            session.headers["User-Agent"] = f"piecework/{__version__}"
            self._local.session = session
            self._sessions.add(session)
        return session


def check_url(url: str) -> str:
    """Return the server's base URL without a slash at its end.

    Raises ValueError when it is not an http or https URL with a host.
    """
    text = url.strip().rstrip("/")
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{url!r} is not the URL of a server; one looks like http://127.0.0.1:8000")
    return text


def _pause_before_repeat(error: Exception) -> bool | float:
    """Tell stamina whether another try makes sense, and how long to wait when the server said so."""
    if isinstance(error, ApiError) and error.http_status in REPEATED_STATUSES:
        if error.retry_after_s:
            return min(error.retry_after_s, LONGEST_PAUSE_S)
        return True
    return isinstance(error, ServerUnreachable)
