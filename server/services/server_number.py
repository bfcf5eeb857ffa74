"""Which server this is, of those that share the database."""

import secrets
from contextlib import suppress
from functools import partial

import structlog

from piecework.server.errors import ServerError
from piecework.server.services.core import Clock
from piecework.server.store.engine import servers
from piecework.server.store.engine.database import Database
from piecework.server.store.schema.revisions import known_revisions

log = structlog.get_logger("server")


class ServerNumber:
    """This server's number among those that share the database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._incarnation = secrets.token_hex(8)
        claim = partial(
            servers.claim_number,
            incarnation=self._incarnation,
            now=clock(),
            alone=not database.is_shared,
            schema=known_revisions()[-1],
        )
        self.number = database.write(claim)

    def keep(self) -> None:
        """Show the other servers that the number is in use."""
        if self._database.is_shared and not self.touch():
            log.error("another server took this server's number; restart this one", number=self.number)

    def touch(self) -> bool:
        """Write that it was in use now. Returns False when another server has it."""
        touch = partial(servers.touch_number, number=self.number, incarnation=self._incarnation, now=self._clock())
        return self._database.write(touch)

    def release(self) -> None:
        """Say that this server has ended, unless the database is away: it is found out later then."""
        release = partial(servers.release_number, number=self.number, incarnation=self._incarnation)
        with suppress(ServerError):
            self._database.write(release)
