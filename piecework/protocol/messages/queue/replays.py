"""Replays on a worker: a job's run done again there, and compared."""

from typing import Annotated

from msgspec import UNSET, Meta

from piecework.protocol.engines import Engine
from piecework.protocol.ids import Id
from piecework.protocol.messages.base import Maybe, Message, Reply
from piecework.protocol.text import Name

REPLAY_S = 3600.0
"""A replay is given up after this, unless somebody says otherwise."""


class ReplayStart(Message, kw_only=True):
    """The body of ``POST /job/{id}/replay``."""

    worker: Name
    """Where: the id of a worker, or its name."""
    engine: Maybe[Engine | None] = UNSET
    """What makes the code run; default: what does so on that worker."""
    timeout_s: Annotated[float, Meta(gt=0, le=10 * 366 * 86_400)] = REPLAY_S
    """Seconds: it ends when it runs for longer, and is cancelled unless it was begun by then."""
    key: Maybe[str | None] = UNSET
    """Idempotency key: the same key for the same replay is the same one."""


class ReplayStarted(Reply, kw_only=True):
    """The answer of ``POST /job/{id}/replay``."""

    id: Id
    """The job that does it. Its output, once it has finished, says what came of it."""
    worker: Id
    """The worker that does it."""
