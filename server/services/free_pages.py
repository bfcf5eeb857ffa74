"""Giving the disk back what a SQLite file does not need."""

from functools import partial

from piecework.server.store.engine.database import Database
from piecework.server.store.engine.pages import give_back, read_pages

STEP_PAGES = 256
"""Pages that one transaction cuts off: a few milliseconds of the writer."""
SPARE_SHARE = 4
"""One page in so many may be free: what is removed now and then makes room for what comes."""
SPARE_PAGES = 4096
"""So many may be free in any case."""


class FreePages:
    """Cuts off free pages when there are many."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def step(self) -> bool:
        """Give some pages back if more than a quarter of the file is free. Returns whether there is more to do."""
        if self._database.is_shared:
            return False  # PostgreSQL's autovacuum sees to it
        with self._database.read() as connection:
            use = read_pages(connection)
        spare = max(SPARE_PAGES, use.pages // SPARE_SHARE)
        if not use.gives_back or use.free <= spare:
            return False
        self._database.write(partial(give_back, pages=min(STEP_PAGES, use.free - spare)), durable=False)
        return True
