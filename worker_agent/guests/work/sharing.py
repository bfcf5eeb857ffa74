"""Keys and values that the guests of several processes share: they are kept where the processes were started."""

from piecework.worker_agent.guests.frames import Fetch, Fetched, StoreAct
from piecework.worker_agent.guests.work.desk import Desk
from piecework.worker_agent.runtimes.services.errors import ServiceError
from piecework.worker_agent.runtimes.services.store import STORE_BYTES, MemoryStore


class SharedStore:
    """A store on the other side of a desk. Methods raise ServiceError as those of ``MemoryStore``."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._defaults: set[bytes] = set()
        """Keys that have one: each call wants the same."""

    def set(self, key: bytes, value: bytes) -> None:
        self._ask("set", key, value)

    def get(self, key: bytes) -> bytes | None:
        return next(iter(self._ask("get", key)), None)

    def delete(self, key: bytes) -> None:
        self._ask("delete", key)

    def set_default(self, key: bytes, value: bytes) -> None:
        if key not in self._defaults:
            self._ask("set_default", key, value)
            self._defaults.add(key)

    def find_keys(self, pattern: bytes) -> list[bytes]:
        return self._ask("find_keys", pattern)

    def _ask(self, act: StoreAct, *words: bytes) -> list[bytes]:
        if sum(map(len, words)) > STORE_BYTES:
            # The other side would say so, too, but would have to read it all.
            raise ServiceError(f"the memory store is full: it takes {STORE_BYTES} bytes")
        found = self._desk.fetch(act, *words)
        if found.error:
            raise ServiceError(found.error)
        return found.values


def look_up(store: MemoryStore, wanted: Fetch) -> Fetched:
    """Do in a store what a guest process asks for."""
    try:
        found = getattr(store, wanted.act)(*wanted.words)
    except ServiceError as error:
        return Fetched(wanted.key, [], str(error))
    if isinstance(found, list):
        return Fetched(wanted.key, found)
    return Fetched(wanted.key, [] if found is None else [found])
