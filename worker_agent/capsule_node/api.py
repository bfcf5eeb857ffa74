"""The API of Capsule's workers, on the paths and with the answers that Capsule's clients know."""

import hmac
import re
from collections import defaultdict
from typing import Annotated, Any, TypeVar

import msgspec
import structlog
from flask import Flask, Response, request
from msgspec import Meta
from werkzeug.exceptions import HTTPException

from piecework.http.requests import HOST_FAULT, has_host_fault
from piecework.protocol import bodies
from piecework.protocol.messages import Message
from piecework.protocol.secrets import mask_secrets
from piecework.protocol.text import VariableName
from piecework.worker_agent.capsule_node import errors
from piecework.worker_agent.capsule_node.local import LocalDeployments
from piecework.worker_agent.capsule_node.modules import ModuleNameError, locate_module
from piecework.worker_agent.capsule_node.reverse_proxy import ReverseProxyError
from piecework.worker_agent.downloads import DownloadError, NotCodeError
from piecework.worker_agent.errors import AgentError

log = structlog.get_logger()

T = TypeVar("T")
BODY_MAX_BYTES = 1024 * 1024
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""What a browser on this node calls it. Another name for it may be a trick of a page from elsewhere."""
_NO_PATH = frozenset({".", ".."})

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,100}$")]

ERRORS: dict[type[AgentError], tuple[int, str]] = {
    AgentError: (500, "ERROR"),
    errors.UnknownFunctionError: (404, "ERROR_FUNCTION_NOT_FOUND"),
    errors.UnknownRevisionError: (404, "ERROR_REVISION_NOT_FOUND"),
    errors.OtherCodeError: (409, "ERROR_REVISION_ALREADY_EXISTS"),
    errors.NoRoomError: (503, "ERROR_NO_ROOM"),
    errors.NotStartedError: (422, "ERROR_FUNCTION_NOT_STARTED"),
    ModuleNameError: (400, "ERROR_MODULE_URL"),
    DownloadError: (502, "ERROR_DOWNLOAD"),
    NotCodeError: (422, "ERROR_MODULE_INVALID"),
    ReverseProxyError: (502, "ERROR_REVERSE_PROXY"),
}
"""Status and code of what can go wrong, by class."""


class FunctionBody(Message):
    function: Name


class RevisionBody(FunctionBody):
    revision: Name


class DeployBody(RevisionBody, kw_only=True):
    url: str = msgspec.field(name="downloadUrl")
    env: dict[VariableName, str] = msgspec.field(name="envVariables", default_factory=dict)
    checksum: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")] | None = msgspec.field(name="sha256", default=None)


class RequestRefusedError(Exception):
    """The request is not answered; status, code and message are its arguments."""


def make_app(
    deployments: LocalDeployments, *, token: str | None, proxy_url: str = "", registry: str = ""
) -> Flask:
    """Return the app. With a ``token``, every request but ``GET /health`` must show it.

    ``proxy_url`` and ``registry`` are URLs without a slash at their end; "" for none.
    """
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = BODY_MAX_BYTES
    app.before_request(lambda: _check_caller(token))
    api = WorkerApi(deployments, proxy_url, registry)
    for method, path, view in (
        ("POST", "/functions/deploy", api.deploy),
        ("POST", "/functions/set_default_revision", api.set_default),
        ("DELETE", "/functions/remove_default_revision", api.remove_default),
        ("DELETE", "/functions/revisions/deployments", api.remove_revision),
        ("DELETE", "/functions/revisions/downscale", api.downscale),
        ("DELETE", "/functions/deployments", api.remove_function),
        ("GET", "/functions/list", api.list_all),
        ("GET", "/functions/<function>/<revision>/log", api.read_logs),
        ("GET", "/health", lambda: Response("OK", content_type="text/plain")),
    ):
        app.add_url_rule(path, f"{method} {path}", view, methods=[method])
    app.register_error_handler(RequestRefusedError, lambda error: _answer(*error.args))
    app.register_error_handler(AgentError, _answer_error)
    app.register_error_handler(HTTPException, _answer_http_error)
    app.register_error_handler(Exception, _answer_bug)
    return app


class WorkerApi:
    """The views."""

    def __init__(self, deployments: LocalDeployments, proxy_url: str, registry: str) -> None:
        self._deployments = deployments
        self._proxy_url = proxy_url
        self._registry = registry

    def deploy(self) -> Response:
        body = _read(DeployBody)
        url, checksum = locate_module(body.url, self._registry)
        view = self._deployments.deploy(body.function, body.revision, url, body.env, body.checksum or checksum)
        return _answer(
            202,
            "FUNCTION_DEPLOYED",
            "Function deployed",
            function=body.function,
            revision=body.revision,
            localUrl=view.local_url,
            remoteUrl=self._locate(body.function, body.revision),
        )

    def set_default(self) -> Response:
        body = _read(RevisionBody)
        self._deployments.set_default(body.function, body.revision)
        return _answer(
            202,
            "DEFAULT_REVISION_REGISTERED",
            "Default revision registered",
            function=body.function,
            revision=body.revision,
            url=self._locate(body.function),
        )

    def remove_default(self) -> Response:
        body = _read(FunctionBody)
        self._deployments.remove_default(body.function)
        return _answer(202, "DEFAULT_REVISION_REMOVED", "Default revision removed", function=body.function)

    def remove_revision(self) -> Response:
        body = _read(RevisionBody)
        self._deployments.remove(body.function, body.revision)
        message = "revision deployment removed (all processes killed)"
        return _answer(202, "REVISION_DEPLOYMENT_REMOVED", message, function=body.function, revision=body.revision)

    def downscale(self) -> Response:
        body = _read(RevisionBody)
        pid = self._deployments.downscale(body.function, body.revision)
        message = "wasm module deployment removed (process killed)"
        return _answer(
            202,
            "WASM_MODULE_DEPLOYMENT_REMOVED",
            message,
            function=body.function,
            revision=body.revision,
            pid=pid,
        )

    def remove_function(self) -> Response:
        body = _read(FunctionBody)
        self._deployments.remove(body.function)
        message = "function deployment removed (all processes killed)"
        return _answer(202, "FUNCTION_DEPLOYMENT_REMOVED", message, function=body.function)

    def list_all(self) -> Response:
        found: dict[str, dict[str, Any]] = defaultdict(dict)
        for view in self._deployments.replicas():
            saved = view.saved
            revision = found[saved.function].setdefault(
                saved.revision,
                {
                    "isDefaultRevision": self._deployments.find_default(saved.function) == saved.revision,
                    "wasmModules": {},
                    "wasmRegistryUrl": saved.url,
                },
            )
            revision["wasmModules"][str(view.pid or saved.key)] = {
                "envVariables": mask_secrets(saved.env),
                "localUrl": view.local_url,
                "remoteUrl": self._locate(saved.function, saved.revision),
                **({"error": view.error} if view.error else {}),
            }
        return _json(200, found)

    def read_logs(self, function: str, revision: str) -> Response:
        return _json(200, self._deployments.read_logs(function, revision))

    def _locate(self, *path: str) -> str:
        """Return where the proxy serves a function; "" without a proxy."""
        return "/".join([self._proxy_url, "functions", *path]) if self._proxy_url else ""


def _check_caller(token: str | None) -> None:
    """Raise RequestRefusedError unless the request may be answered."""
    version = request.environ["SERVER_PROTOCOL"].removeprefix("HTTP/")
    if has_host_fault(version, request.environ.get("HTTP_HOST", "")):
        raise RequestRefusedError(400, "ERROR_BAD_HOST", HOST_FAULT)
    if request.path == "/health":
        return
    if token is not None:
        shown = request.headers.get("Authorization", "")
        if not hmac.compare_digest(shown.encode(), f"Bearer {token}".encode()):
            raise RequestRefusedError(
                401, "ERROR_UNAUTHORIZED", "show the node's token: Authorization: Bearer TOKEN"
            )
    elif re.sub(r":\d+$", "", request.host) not in LOCAL_NAMES:
        raise RequestRefusedError(
            403, "ERROR_FORBIDDEN", f"without a token this node answers to localhost, not {request.host}"
        )
    if request.method in {"POST", "DELETE"} and not request.is_json:
        # A page from elsewhere can have a browser send forms and text, but no JSON.
        raise RequestRefusedError(
            415, "ERROR_JSON_BINDING", "send JSON, with the header Content-Type: application/json"
        )


def _read(type_: type[T]) -> T:
    try:
        body = bodies.decode(request.get_data(), type_)
    except (bodies.BodyDecodeError, bodies.MessageError) as error:
        raise RequestRefusedError(400, "ERROR_JSON_BINDING", str(error)) from error
    for field in ("function", "revision"):
        if getattr(body, field, None) in _NO_PATH:
            raise RequestRefusedError(
                400, "ERROR_JSON_BINDING", f"{getattr(body, field)!r} is no name of a {field}"
            )
    return body


def _json(status: int, value: object) -> Response:
    return Response(msgspec.json.encode(value) + b"\n", status, content_type=bodies.JSON)


def _answer(status: int, code: str, message: str, **more: Any) -> Response:
    return _json(status, {"code": code, "message": message, **more})


def _answer_error(error: AgentError) -> Response:
    kind = next(kind for kind in type(error).__mro__ if kind in ERRORS)
    status, code = ERRORS[kind]
    log.warning("refused", path=request.path, code=code, reason=str(error))
    return _answer(status, code, str(error))


def _answer_http_error(error: HTTPException) -> Response:
    if error.code == 404:
        return _answer(404, "PAGE_NOT_FOUND", "😢 Page not found 🥵")
    code = re.sub(r"\W+", "_", error.name).upper()
    return _answer(error.code or 500, f"ERROR_{code}", error.description or error.name)


def _answer_bug(error: Exception) -> Response:
    log.error("bug", method=request.method, path=request.path, exc_info=error)
    return _answer(500, "ERROR", "the agent made a mistake; its log has the details")
