"""How Capsule answered: with a word for a code, and a message for people."""

from flask import Response, request

from piecework.protocol.codes import Code
from piecework.protocol.messages import CapsuleReply
from server.api.endpoint import message_response
from server.api.parts import WHOLE, current_part

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


def name_error(code: Code) -> str:
    """Return Capsule's word for what went wrong, where it had one."""
    known = _ERRORS | _PROXY_ERRORS if request.path.startswith("/memory/") else _ERRORS
    return known.get(code, code.name)


def speaks_capsule() -> bool:
    """Tell whether this request came over one of Capsule's paths."""
    return current_part() != WHOLE or request.path.split("/")[1] in ROOMS


def capsule_response(code: str, message: str, status: int = 200) -> Response:
    """Answer as Capsule did."""
    return message_response(CapsuleReply(code=code, message=message), status)
