"""Which function and revision a path names, and what is left of it for the function."""

from collections.abc import Container
from typing import NamedTuple
from urllib.parse import unquote

from piecework.protocol.names import is_name
from piecework.server.forwarding.messages import CallRefused
from piecework.server.services.functions.routing import DEFAULT


class CallTarget(NamedTuple):
    """What a path names. The paths in it are percent-encoded as they came."""

    function: str
    rest: str
    """What follows the function's name: empty, or a slash and more."""

    def split(self, revisions: Container[str]) -> tuple[str, str]:
        """Return the revision, and the path that it is asked for.

        The word after the function's name is a revision if there is such a one; else it is a part of the path that
        the default is asked for.
        """
        word, slash, deeper = self.rest[1:].partition("/")
        name = unquote(word)
        if name == DEFAULT or name in revisions:
            return name, slash + deeper
        return DEFAULT, self.rest


def read_place(path: str) -> CallTarget:
    """Read what follows ``/functions/``. Raises CallRefused.

    A segment ``.`` or ``..``, however it is encoded, could lead out of what the function was registered for.
    """
    if any(_is_dots(segment) for segment in path.split("/")):
        raise CallRefused(400, "BAD_PATH", "the path has a part that is . or .., which no path of a function has")
    word, slash, rest = path.partition("/")
    name = unquote(word)
    if not is_name(name):
        raise CallRefused(400, "BAD_PATH", f"{name[:200]!r} is no name of a function")
    return CallTarget(name, slash + rest)


def _is_dots(segment: str) -> bool:
    if "." not in segment and "%" not in segment:
        return False
    decoded = unquote(segment).replace("\\", "/")
    return any(part in {".", ".."} for part in decoded.split("/"))
