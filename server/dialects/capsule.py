"""How Capsule answered: with a word for a code, and a message for people."""

from flask import Response, request
from werkzeug.exceptions import MethodNotAllowed, NotFound

from piecework.protocol.codes import Code
from piecework.protocol.messages import CapsuleReply
from piecework.server.web.endpoint import message_response
from piecework.server.web.errors import ErrorAnswer
from piecework.server.web.parts import WHOLE, current_part

ROOMS = frozenset({"registry", "functions", "memory"})
"""Where the control server answers as Capsule did; a part that runs alone does it everywhere."""
PAGE_NOT_FOUND = CapsuleReply(code="PAGE_NOT_FOUND", message="😢 Page not found 🥵")

_ERRORS = {
    Code.FUNCTION_EXISTS: "ERROR_FUNCTION_ALREADY_EXISTS",
    Code.FUNCTION_NOT_FOUND: "ERROR_FUNCTION_NOT_FOUND",
    Code.REVISION_EXISTS: "ERROR_REVISION_ALREADY_EXISTS",
    Code.REVISION_NOT_FOUND: "ERROR_REVISION_NOT_FOUND",
    Code.URL_NOT_FOUND: "ERROR_URL_NOT_FOUND",
}
_PROXY_ERRORS = {Code.BAD_BODY: "ERROR_JSON_BINDING", Code.INVALID: "ERROR_JSON_BINDING"}
"""What its reverse proxy said of a body that it could not use."""


def answer_failure(error: Exception, failure: ErrorAnswer) -> Response | None:
    """Answer as Capsule did, if the request came over one of its paths."""
    if not _speaks_capsule():
        return None
    if isinstance(error, NotFound) or _can_only_be_deleted(error):
        return message_response(PAGE_NOT_FOUND, 404)
    reply = CapsuleReply(code=_name_error(failure.code), message=failure.message)
    return message_response(reply, failure.status)


def _speaks_capsule() -> bool:
    return current_part() != WHOLE or request.path.split("/")[1] in ROOMS


def _can_only_be_deleted(error: Exception) -> bool:
    """Tell whether a path is none for people who read and write: Capsule had nothing there."""
    return isinstance(error, MethodNotAllowed) and set(error.valid_methods or ()) == {"DELETE"}


def _name_error(code: Code) -> str:
    """Return Capsule's word for what went wrong, where it had one."""
    known = _ERRORS | _PROXY_ERRORS if request.path.startswith("/memory/") else _ERRORS
    return known.get(code, code.name)
