"""What is paused as a whole: lambdas, runtimes, groups, tenants."""

from typing import Literal

import msgspec
from msgspec import UNSET

from piecework.protocol.messages.base import Maybe, Message, Reply, Shown

HoldKind = Literal["lambda", "runtime", "group", "tenant"]
"""What can be paused as a whole."""


class HoldPut(Message, kw_only=True):
    """The body of ``PUT /hold/{kind}/{target}``."""

    note: str = ""
    """Why, for people; 500 characters at most."""


class HoldInfo(Shown, msgspec.Struct, kw_only=True):
    """Something that is paused."""

    kind: HoldKind
    """What it is."""
    target: str
    """The id of a lambda or a group, the name of a runtime or a tenant."""
    name: Maybe[str] = UNSET
    """What a lambda or a group is called."""
    since: float
    """Seconds since 1970."""
    by: Maybe[str] = UNSET
    """The name of the token that it was paused with."""
    note: Maybe[str] = UNSET
    """Why, for people."""


class HoldList(Reply, kw_only=True):
    """The answer of ``GET /hold``, oldest first, and of requests that pause and resume: what they are about."""

    holds: list[HoldInfo]
    """What is paused, or was until now."""
