"""Routes of functions that people name, in Capsule's words."""

from msgspec import UNSET

from piecework.protocol.messages.base import CapsuleReply, Maybe, Message


class RouteRegister(Message, kw_only=True):
    """The body of ``POST /memory/functions/registration``."""

    function: str
    """What people call: a new name."""
    revision: str = "default"
    """The one revision that it has at first."""
    url: str
    """Where that is served."""


class RouteRemove(Message, kw_only=True):
    """The body of ``DELETE /memory/functions/registration``."""

    function: str
    """What people call."""


class RevisionAdd(Message, kw_only=True):
    """The body of ``POST /memory/functions/{function}/revision``."""

    revision: str
    """A new name among the revisions of the function."""
    url: str
    """Where it is served."""


class RevisionRemove(Message, kw_only=True):
    """The body of ``DELETE /memory/functions/{function}/revision``."""

    revision: str
    """Which version of the function."""


class RevisionUrl(Message, kw_only=True):
    """The body of ``POST`` and ``DELETE /memory/functions/{function}/{revision}/url``."""

    url: str
    """Where the revision is served."""


class RouteReply(CapsuleReply, kw_only=True):
    """The answer to every request that changes routes: what was asked for comes back."""

    function: str
    """Whose route it is."""
    revision: Maybe[str] = UNSET
    """Which version of the function; left out when all of it went."""
    url: Maybe[str] = UNSET
    """Where that is, or was, served; left out when no URL was named."""
