"""Routes of functions that people name, in Capsule's words."""

from piecework.protocol.messages.base import Message


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
