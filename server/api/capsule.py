"""How Capsule answered: with a word for a code, and a message for people."""

from flask import Response, request

from piecework.protocol.messages import CapsuleReply
from server.api.endpoint import message_response
from server.api.parts import WHOLE, current_part

ROOMS = frozenset({"registry", "functions", "memory"})
"""Where the control server answers as Capsule did; a part that runs alone does it everywhere."""
PAGE_NOT_FOUND = CapsuleReply(code="PAGE_NOT_FOUND", message="😢 Page not found 🥵")


def speaks_capsule() -> bool:
    """Tell whether this request came over one of Capsule's paths."""
    return current_part() != WHOLE or request.path.split("/")[1] in ROOMS


def capsule_response(code: str, message: str, status: int = 200) -> Response:
    """Answer as Capsule did."""
    return message_response(CapsuleReply(code=code, message=message), status)
