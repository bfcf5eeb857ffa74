"""Requests to one registry: with its login, through its redirects, and again when it was busy."""

from contextlib import suppress
from urllib.parse import urljoin, urlsplit

import msgspec

from piecework.backoff import pause_after
from piecework.http.addresses import is_loopback
from piecework.http.answers import Broken, NotHttp
from piecework.http.deadlines import Deadline
from piecework.http.sockets import NotTrusted, open_socket
from piecework.oci.credentials import Credentials, find_credentials
from piecework.oci.errors import Damaged, OciError, RegistryRefused, quote_text
from piecework.oci.exchange import RegistryAccess, RegistryReply, RegistryRequest, exchange, find_way, origin
from piecework.oci.references import Reference
from piecework.oci.tokens import log_in

REDIRECTS = frozenset({301, 302, 303, 307, 308})
REDIRECTS_MAX = 5
BUSY = frozenset({429, 502, 503, 504})
"""Answers after which a request is sent again, if that does no harm."""
TRIES = 3
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 20.0
ERROR_MAX_BYTES = 64 * 1024
PROBE_S = 5.0
"""A registry on this machine begins TLS within this time, or does not speak it."""
SAFE = frozenset({"GET", "HEAD"})


class _Fault(msgspec.Struct):
    code: str = ""
    message: str = ""


class _Faults(msgspec.Struct):
    errors: list[_Fault] = []


class Session:
    """What is asked of one repository of a registry, in one time to do it."""

    def __init__(self, reference: Reference, access: RegistryAccess, actions: str) -> None:
        """``actions`` is what a token is for: ``pull`` or ``pull,push``. Raises OciError."""
        self.reference = reference
        self._deadline = Deadline(access.whole_s, access.clock)
        self._access = access
        self._scope = f"repository:{reference.repository}:{actions}"
        self._authorization = ""
        self._base = f"{self._choose_scheme()}://{reference.server}"

    def locate(self, path: str) -> str:
        """Return the URL of a path of this repository, as ``manifests/latest``."""
        return f"{self._base}/v2/{self.reference.repository}/{path}"

    def ask(self, request: RegistryRequest) -> RegistryReply:
        """Send a request and return its answer, whatever its status.

        Logs in when the registry wants that. Redirects of GET and HEAD are followed, without the login where they
        lead to others. Raises OciError.
        """
        tries = 1
        while True:
            reply = self._follow(request)
            if reply.status not in BUSY or request.method not in SAFE or tries == TRIES:
                return reply
            reply.close()
            asked_s = _read_seconds(reply.headers.get("retry-after", ""))
            self._access.pause(max(asked_s, pause_after(tries, FIRST_PAUSE_S, LONGEST_PAUSE_S)))
            tries += 1

    def lead(self, reply: RegistryReply) -> str:
        """Return where the ``Location`` of an answer leads. Raises OciError where nobody should go."""
        location = reply.headers.get("location", "")
        try:
            found = urljoin(reply.url, location)
            scheme, host, _ = origin(found)
        except ValueError:
            scheme = host = found = ""
        if not location or scheme not in {"http", "https"} or not host:
            raise OciError(f"{self.reference.host} sends us to {quote_text(location)!r}, which is no URL")
        if scheme == "http" and urlsplit(reply.url).scheme == "https":
            raise OciError(f"{self.reference.host} sends us to {_show(found)}, which does not speak TLS")
        return found

    def explain(self, reply: RegistryReply, what: str) -> OciError:
        """Return what an answer means that was not hoped for."""
        words, host = _read_fault(reply), self.reference.host
        answer = f"asked for {what}, the registry answers {reply.status}{f' ({words})' if words else ''}"
        if reply.status == 404:
            return OciError(f"it is not there: {answer}")
        if reply.status in {401, 403}:
            return RegistryRefused(
                f"it is not allowed: {answer}. Log in with 'docker login {host}', or as somebody who may"
            )
        return OciError(answer)

    def _follow(self, request: RegistryRequest) -> RegistryReply:
        logged_in = False
        for _ in range(REDIRECTS_MAX + 2):
            is_home = origin(request.url) == origin(self._base)
            reply = exchange(self._sign(request) if is_home else request, self._access, self._deadline)
            try:
                if reply.status == 401 and is_home and not logged_in:
                    self._authorization = self._log_in(reply)
                    logged_in = True
                elif reply.status in REDIRECTS and request.method in SAFE:
                    request = request._replace(url=self.lead(reply))
                else:
                    return reply
            except BaseException:
                reply.close()
                raise
            reply.close()
        raise OciError(f"{self.reference.host} sends us on more than {REDIRECTS_MAX} times")

    def _sign(self, request: RegistryRequest) -> RegistryRequest:
        if not self._authorization:
            return request
        return request._replace(headers=(*request.headers, ("Authorization", self._authorization)))

    def _log_in(self, reply: RegistryReply) -> str:
        def find() -> Credentials | None:
            return find_credentials(self.reference, self._access.environ, self._access.home)

        return log_in(reply, self._scope, find, self._access, self._deadline)

    def _choose_scheme(self) -> str:
        """Return ``https``; ``http`` when that is allowed, or for a registry on this machine that knows no TLS."""
        if self._access.plain_http:
            return "http"
        url = f"https://{self.reference.server}"
        route = find_way(url, self._access)
        if is_loopback(route.host):
            try:
                open_socket(route, PROBE_S, self._deadline).close()
            except NotTrusted as error:
                raise OciError(f"the registry at {self.reference.host} is not trusted: {error}") from error
            except (Broken, NotHttp, OSError):
                return "http"  # if nobody is there, the first request tells it
        return "https"


def check_digest(reply: RegistryReply, digest: str, what: str) -> None:
    """Raise Damaged when an answer says that something has another digest, 64 hex digits."""
    told = reply.headers.get("docker-content-digest", "")
    if told.startswith("sha256:") and told != f"sha256:{digest}":
        raise Damaged(
            f"the digest of {what} is sha256:{digest}, and the registry says that it is {quote_text(told)}"
        )


def _read_fault(reply: RegistryReply) -> str:
    """Return what a registry says of its refusal; "" for nothing that can be read."""
    with suppress(OciError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        faults = msgspec.json.decode(reply.read(ERROR_MAX_BYTES, "the refusal"), type=_Faults)
        return quote_text("; ".join(f"{each.code} {each.message}".strip() for each in faults.errors[:3]))
    return ""


def _read_seconds(text: str) -> float:
    return min(float(text), LONGEST_PAUSE_S) if text.isascii() and text.isdigit() and len(text) < 9 else 0.0


def _show(url: str) -> str:
    """Return a URL without its query, which may have a signature in it."""
    return quote_text(url.partition("?")[0])
