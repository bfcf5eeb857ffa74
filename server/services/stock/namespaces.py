"""Namespaces: making them, looking at them, flushing and removing them."""

from functools import partial
from typing import NamedTuple

from piecework.protocol.ids import Id
from piecework.server.errors import InvalidRequest, NamespaceNotFound
from piecework.server.services.core import Core
from piecework.server.store.engine.database import Connection
from piecework.server.store.stock.namespaces import entries, namespaces
from piecework.server.store.stock.namespaces.namespace_records import Namespace

CONSISTENCIES = ("none", "eventual")
SWEPT = 100
"""Entries that one transaction sweeps: on SQLite, nobody else writes meanwhile."""
STEPS = 100
"""Transactions of one sweep."""


class Use(NamedTuple):
    """What a namespace holds."""

    entries: int
    size: int
    """Bytes of keys and values."""


class Namespaces:
    """The namespaces of this server. Every change is durable, and seen by whoever asks after it was answered."""

    def __init__(self, core: Core) -> None:
        self._database, self._ids, self._clock = core.database, core.ids, core.clock

    def create(self, consistency: str | None) -> Namespace:
        """Make a namespace. Raises InvalidRequest for a consistency that there is not."""
        wanted = (consistency or CONSISTENCIES[0]).lower()
        if wanted not in CONSISTENCIES:
            raise InvalidRequest(f"consistency is {str(consistency)[:40]!r}, but must be none or eventual")
        new = Namespace(self._ids.next(), wanted, 0, self._clock())
        self._database.write(partial(namespaces.add_namespace, new=new))
        return new

    def get(self, id_: int) -> Namespace:
        """Return a namespace. Raises NamespaceNotFound."""
        with self._database.read() as connection:
            return find(connection, id_)

    def measure(self, id_: int) -> tuple[Namespace, Use]:
        """Return a namespace and what it holds, of which each entry is looked at. Raises NamespaceNotFound."""
        with self._database.read() as connection:
            found = find(connection, id_)
            return found, Use(*entries.measure(connection, found, self._clock()))

    def list_page(self, *, before: int, limit: int) -> list[tuple[Namespace, Use]]:
        """Return namespaces that are older than ``before``, newest first, and what each holds."""
        with self._database.read() as connection:
            page = namespaces.list_namespaces(connection, before=before, limit=limit)
            return [(each, Use(*entries.measure(connection, each, self._clock()))) for each in page]

    def list_keys(self, id_: int, *, prefix: str, after: str, limit: int) -> list[str]:
        """Return the keys that begin with ``prefix`` and come after a key, in order. Raises NamespaceNotFound."""
        with self._database.read() as connection:
            found = find(connection, id_)
            keys = entries.list_keys(
                connection, found, self._clock(), prefix=prefix.encode(), after=after.encode(), limit=limit
            )
        return [key.decode() for key in keys]

    def flush(self, id_: int) -> None:
        """Remove all entries of a namespace at once. Raises NamespaceNotFound."""
        if not self._database.write(partial(namespaces.flush_namespace, id_=id_)):
            raise not_found(id_)

    def remove(self, id_: int) -> None:
        """Remove a namespace with all that is in it. Raises NamespaceNotFound."""
        if not self._database.write(partial(namespaces.remove_namespace, id_=id_, now=self._clock())):
            raise not_found(id_)

    def sweep(self) -> int:
        """Delete some of the entries that nobody can see any more. Returns how many."""
        return self._sweep_expired() + self._sweep_unseen()

    def _sweep_expired(self) -> int:
        with self._database.read() as connection:
            if not entries.has_expired(connection, self._clock()):
                return 0
        total = 0
        for _ in range(STEPS):
            step = partial(entries.sweep_expired, now=self._clock(), limit=SWEPT)
            swept = self._database.write(step, durable=False)
            total += swept
            if swept < SWEPT:
                break
        return total

    def _sweep_unseen(self) -> int:
        total = 0
        for _ in range(STEPS):
            with self._database.read() as connection:
                namespace = namespaces.find_unswept(connection)
            if namespace is None:
                break
            step = partial(entries.sweep_unseen, namespace=namespace, limit=SWEPT)
            swept = self._database.write(step, durable=False)
            if swept < SWEPT:
                self._database.write(partial(namespaces.note_swept, swept=namespace), durable=False)
            total += swept
        return total


def find(connection: Connection, id_: int) -> Namespace:
    """Return a namespace. Raises NamespaceNotFound."""
    found = namespaces.find_namespace(connection, id_)
    if found is None:
        raise not_found(id_)
    return found


def not_found(id_: int) -> NamespaceNotFound:
    return NamespaceNotFound(f"there is no namespace {Id(id_)}")
