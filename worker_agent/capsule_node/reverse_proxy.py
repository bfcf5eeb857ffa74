"""The reverse proxy, as Capsule's workers talk to it: ``/memory/functions``."""

from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple, TypeVar

from piecework.client import ApiError, ClientError
from piecework.client.retries import RetryPolicy
from piecework.client.transport import PreparedRequest, Transport
from piecework.protocol import bodies
from piecework.protocol.messages import CapsuleReply, DefaultPut, FunctionInfo
from piecework.worker_agent.errors import AgentError
from piecework.worker_agent.link.link import describe

T = TypeVar("T")
DEFAULT = "default"
"""The revision of calls that name none."""
ALREADY_EXISTS = "ALREADY_EXISTS"
NOT_FOUND = "NOT_FOUND"
"""How the codes of two answers end that say: it is as you want it."""
_REFUSALS = range(400, 600)
_NO_ALIASES = frozenset(
    {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}
)

Routes = dict[str, dict[str, list[str]]]
"""URLs by revision, by function."""


class ReverseProxyError(AgentError):
    """The reverse proxy did not do what it was asked to."""


class ProxyRoute(NamedTuple):
    """A URL that serves a revision of a function."""

    function: str
    revision: str
    url: str


class ReverseProxy:
    """A reverse proxy: Piecework's, or Capsule's own. All methods raise ReverseProxyError."""

    def __init__(self, url: str, token: str | None = None, ca: Path | None = None) -> None:
        """Nothing is sent yet. Raises ValueError for a bad URL, token or ``ca``."""
        retries = RetryPolicy(attempts=1, connect_s=2.0, read_s=5.0)
        self._transport = Transport(url, token, retries=retries, media_type=bodies.JSON, ca=ca)
        self.url = self._transport.url

    def list_routes(self) -> Routes:
        """Return all routes."""
        found = self._call("GET", "/memory/functions/list", None, dict[str, dict[str, list[str] | None]])
        return {
            function: {revision: urls or [] for revision, urls in revisions.items()}
            for function, revisions in found.items()
        }

    def add(self, route: ProxyRoute, known: Routes) -> bool:
        """Add a route, and function and revision where they are not ``known``; tell if the revision is new."""
        function, revision, url = route
        if function not in known:
            body = {"function": function, "revision": revision, "url": url}
            if self._tell("POST", "/memory/functions/registration", body, fine=ALREADY_EXISTS):
                return True
        if revision not in known.get(function, {}):
            body = {"revision": revision, "url": url}
            if self._tell("POST", f"/memory/functions/{function}/revision", body, fine=ALREADY_EXISTS):
                return True
        self._tell("POST", f"/memory/functions/{function}/{revision}/url", {"url": url}, fine=ALREADY_EXISTS)
        return False

    def remove(self, route: ProxyRoute) -> None:
        """Remove a URL from a revision, which stays. Safe to repeat."""
        path = f"/memory/functions/{route.function}/{route.revision}/url"
        self._tell("DELETE", path, {"url": route.url}, fine=NOT_FOUND)

    def remove_revision(self, function: str, revision: str) -> None:
        """Remove a revision. Safe to repeat."""
        path = f"/memory/functions/{function}/revision"
        self._tell("DELETE", path, {"revision": revision}, fine=NOT_FOUND)

    def remove_function(self, function: str) -> None:
        """Remove a function. Safe to repeat."""
        self._tell("DELETE", "/memory/functions/registration", {"function": function}, fine=NOT_FOUND)

    def set_default(self, function: str, revision: str) -> bool:
        """Let ``default`` stand for a revision; False: this proxy knows no such thing, or not for this agent."""
        try:
            request = PreparedRequest(
                "PUT", f"/deployments/{function}/{DEFAULT}", body=DefaultPut(revision=revision)
            )
            self._transport.call(request, FunctionInfo)
        except ApiError as error:
            if error.http_status in _NO_ALIASES:
                return False
            raise self._wrap(error) from error
        except ClientError as error:
            raise self._wrap(error) from error
        return True

    def _tell(self, method: str, path: str, body: dict[str, str], *, fine: str) -> bool:
        """Have something done; False when an answer whose code ends in ``fine`` says that there is no need to."""
        reply = self._call(method, path, body, CapsuleReply, also=True)
        if reply.code == "OK":
            return True
        if reply.code.endswith(fine):
            return False
        raise ReverseProxyError(f"the reverse proxy {self.url} refuses {path}: {reply.code}: {reply.message}")

    def _call(self, method: str, path: str, body: object, reply: type[T], *, also: bool = False) -> T:
        try:
            request = PreparedRequest(method, path, body=body)
            return self._transport.call(request, reply, also=_REFUSALS if also else ())
        except ClientError as error:
            raise self._wrap(error) from error

    def _wrap(self, error: ClientError) -> ReverseProxyError:
        return ReverseProxyError(f"the reverse proxy {self.url}: {describe(error)}")
