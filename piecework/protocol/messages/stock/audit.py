"""The audit: who did what, when."""

from typing import Literal

import msgspec
from msgspec import UNSET

from piecework.protocol.messages.base import Maybe, Reply, Shown

ActorKind = Literal["token", "loopback", "command", "schedule", "worker", "nobody"]
"""Who acted: somebody with a token; somebody on the server's machine who needed none; a command on that machine
that works on the database itself; a schedule that has no token's name; a worker, by its id; somebody who was
refused, and had no valid token."""


class AuditEntry(Shown, msgspec.Struct, kw_only=True):
    """Something that somebody did."""

    at: float
    """When, seconds since 1970. Of what is counted by the minute: when that began."""
    by: ActorKind
    """Who acted."""
    who: Maybe[str] = UNSET
    """The name of the token; of a command: the user's on that machine."""
    act: str
    """What was done, such as ``cancel jobs`` or ``deploy``; or that a request was ``refused``."""
    target: Maybe[str] = UNSET
    """To what."""
    detail: Maybe[str] = UNSET
    """How. What may be secret is never in it."""
    count: int = 1
    """To how many jobs, or how many requests."""


class AuditList(Reply, kw_only=True):
    """The answer of ``GET /audit``: newest first."""

    entries: list[AuditEntry]
    """What was done."""
    next: Maybe[str] = UNSET
    """The cursor of the next page; absent on the last."""
