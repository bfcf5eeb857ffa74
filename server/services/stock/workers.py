"""Workers: registering, looking at, draining and retiring them."""

import secrets
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from msgspec import UNSET, UnsetType

from piecework.protocol.ids import Id
from piecework.protocol.matching import is_given
from piecework.protocol.messages import ContractRequest, WorkerRegister, WorkerState
from piecework.server.errors import InvalidRequest, WorkerNotFound, WorkerRetired
from piecework.server.services.core import Core
from piecework.server.services.stock.signing import note_worker_key, read_worker_key
from piecework.server.store.engine.database import Connection
from piecework.server.store.records import Held, Worker
from piecework.server.store.stock import holding, workers

T = TypeVar("T")

TOUCH_MS = 5_000
"""A worker's last sign of life is noted at most this often."""
GONE_MS = 60_000
"""A worker that was not heard of for this long is gone."""
LISTED_MS = 24 * 3600 * 1000
"""A worker that was not heard of for this long is no longer listed, unless one asks for all."""
HELD_MAX = 1000
"""Jobs of a worker that are told at once."""
TROUBLE_LENGTH = 500
LATEST_S = 1e12
"""A clock that shows more than this shows no time."""
NAME_LENGTH = 200
NAMES_MAX = 100
"""Runtimes, and tags, that one worker may list."""


class Workers:
    """The workers of this server."""

    def __init__(self, core: Core, end_polls: Callable[[int], object]) -> None:
        """``end_polls`` answers the requests of a worker that wait, at once."""
        self._database, self._ids, self._clock, self._settings = core.database, core.ids, core.clock, core.settings
        self._end_polls = end_polls

    def register(self, request: WorkerRegister, owner: str | None = None) -> Worker:
        """Store a new worker, or what one offers now that was known before.

        ``owner``: the name of the token that it registers with. Raises InvalidRequest for names that are too long
        or too many, and for tags that the server gives itself. Then its polls of before end.
        """
        runtimes, tags = _given(request.runtime, None) or ["default"], request.tags or []
        for names, what in ((runtimes, "runtimes"), (tags, "tags")):
            if len(names) > NAMES_MAX or any(not 0 < len(name) <= NAME_LENGTH for name in names):
                raise InvalidRequest(
                    f"a worker lists at most {NAMES_MAX} {what}, each of 1 to {NAME_LENGTH} characters"
                )
        if own := [tag for tag in tags if is_given(tag.lstrip("+"))]:
            raise InvalidRequest(f"the tag {own[0]!r} is not for workers to have: the server gives it")
        id_, now, key = self._ids.next(), self._clock(), read_worker_key(request)
        slots = _given(request.slots, 1)
        if not 1 <= slots <= self._settings.contract_max:
            raise InvalidRequest(f"slots is {slots}, but must lie between 1 and {self._settings.contract_max}")
        new = Worker(
            id=id_,
            name=_given(request.name, f"worker-{id_}")[:NAME_LENGTH],
            hostname=_given(request.hostname, "")[:255],
            agent_version=_given(request.agent_version, "")[:50],
            incarnation=_given(request.incarnation, "")[:64] or secrets.token_hex(8),
            runtimes=tuple(runtimes),
            tags=tuple(tags),
            slots=slots,
            draining=False,
            registered_at=now,
            seen_at=now,
            retired_at=None,
            public_key=key,
            owner=owner,
        )
        stored = self._database.write(partial(_store, new=new, known_as=_given(request.known_as, None)))
        if stored.id != new.id:
            self._end_polls(stored.id)
        return stored

    def get(self, id_: int) -> Worker:
        """Return a worker that is in service. Raises WorkerNotFound or WorkerRetired."""
        with self._database.read() as connection:
            return require_worker(connection, id_)

    def view(self, id_: int) -> Worker:
        """Return a worker, with how many jobs it holds; also one that was retired. Raises WorkerNotFound."""
        with self._database.read() as connection:
            worker = workers.find_worker(connection, id_)
            if worker is None:
                raise WorkerNotFound(f"there is no worker {id_}")
            return worker._replace(running=holding.count_held(connection, id_))

    def list_held(self, id_: int) -> list[Held]:
        """Return the jobs that a worker holds, the longest held first."""
        with self._database.read() as connection:
            return holding.list_held(connection, id_, HELD_MAX)

    def list_page(self, *, before: int, limit: int, everyone: bool = False) -> list[Worker]:
        """Return workers that are older than ``before``, newest first.

        Those in service that were heard of within a day, or ``everyone`` who ever registered.
        """
        since = None if everyone else self._clock() - LISTED_MS
        with self._database.read() as connection:
            held = holding.count_held_by_all(connection)
            page = workers.list_workers(connection, since=since, before=before, limit=limit)
        return [worker._replace(running=held.get(worker.id, 0)) for worker in page]

    def drain(self, id_: int) -> None:
        """Ask a worker to take no more jobs: its poll ends, and the next tells it so. Raises WorkerNotFound."""
        if not self._database.write(partial(workers.set_draining, id_=id_, draining=True)):
            raise WorkerNotFound(f"there is no worker {id_}")
        self._end_polls(id_)

    def leave(self, id_: int, incarnation: str) -> None:
        """Note the last word of a worker's process: its polls end, and so does the time of its leases.

        A process that is not the worker's latest has no say. Safe to repeat.
        Raises WorkerNotFound or WorkerRetired.
        """
        now = self._clock()

        def note(connection: Connection) -> bool:
            if require_worker(connection, id_).incarnation != incarnation:
                return False
            holding.expire_leases(connection, id_, "", now)
            workers.note_stop(connection, id_, now)
            return True

        if self._database.write(note):
            self._end_polls(id_)

    def retire(self, id_: int) -> None:
        """Remove a worker from service; its jobs become available at once. Raises WorkerNotFound."""
        now = self._clock()

        def remove(connection: Connection) -> bool:
            holding.expire_leases(connection, id_, "", now)
            return workers.retire_worker(connection, id_, now)

        if not self._database.write(remove):
            raise WorkerNotFound(f"there is no worker {id_}")
        self._end_polls(id_)

    def state_of(self, worker: Worker) -> WorkerState:
        """Say how a worker stands now."""
        return find_state(worker, self._clock())


def find_state(worker: Worker, now: int) -> WorkerState:
    """Say how a worker stands."""
    if worker.retired_at is not None:
        return WorkerState.RETIRED
    if worker.stopped_at is not None:
        return WorkerState.STOPPED
    if now - worker.seen_at > GONE_MS:
        return WorkerState.GONE
    if worker.draining:
        return WorkerState.DRAINING
    if worker.trouble is not None:
        return WorkerState.UNABLE
    return WorkerState.BUSY if worker.running else WorkerState.IDLE


def resolve_worker(connection: Connection, ref: str, now: int) -> Worker:
    """Return the worker that an id or a name means, also one that was retired, or is gone.

    Raises WorkerNotFound, and InvalidRequest when the name belongs to several that are there.
    """
    if ref.isdecimal():
        worker = workers.find_worker(connection, _read_id(ref))
        if worker is None:
            raise WorkerNotFound(f"there is no worker {ref}")
        return worker
    found = workers.find_by_name(connection, ref)
    if not found:
        raise WorkerNotFound(f"there is no worker named {ref[:NAME_LENGTH]!r}")
    there = [each for each in found if find_state(each, now) not in {WorkerState.GONE, WorkerState.STOPPED}]
    if len(there) > 1:
        ids = ", ".join(str(each.id) for each in there)
        raise InvalidRequest(f"several workers are named {ref!r}: say which by its id, one of {ids}")
    return (there or found)[0]


def _read_id(text: str) -> Id:
    try:
        return Id.parse(text)
    except ValueError as error:
        raise InvalidRequest(f"the worker is wrong: {error}") from error


def _store(connection: Connection, new: Worker, known_as: int | None) -> Worker:
    """Store a worker under the id that it was known as, if it is in service; else under its new one."""
    old = None if known_as is None else workers.find_worker(connection, known_as)
    if old is None or old.retired_at is not None:
        workers.add_worker(connection, new)
        note_worker_key(connection, new, None, new.seen_at)
        return new
    key = old.public_key if new.public_key is None else new.public_key
    kept = new._replace(id=old.id, registered_at=old.registered_at, public_key=key)
    note_worker_key(connection, kept, old.public_key, kept.seen_at)
    holding.expire_leases(connection, kept.id, kept.incarnation, kept.seen_at)
    workers.replace_worker(connection, kept)
    return kept


def require_worker(connection: Connection, id_: int) -> Worker:
    """Return a worker that is in service. Raises WorkerNotFound or WorkerRetired."""
    worker = workers.find_worker(connection, id_)
    if worker is None:
        raise WorkerNotFound(f"there is no worker {id_}: register with POST /worker")
    if worker.retired_at is not None:
        raise WorkerRetired(f"worker {id_} was retired: register with POST /worker")
    return worker


def hear_of(connection: Connection, worker: Worker, incarnation: str | UnsetType, now: int) -> Worker:
    """Note a sign of life. A new incarnation ends the leases of the worker's process before it.

    What comes late from a process that has said its last word is none.
    """
    if incarnation is not UNSET and incarnation != worker.incarnation:
        holding.expire_leases(connection, worker.id, incarnation, now)
        workers.note_start(connection, worker.id, incarnation, now)
        return worker._replace(incarnation=incarnation, draining=False, stopped_at=None)
    if worker.stopped_at is not None and incarnation is not UNSET:
        return worker
    if worker.stopped_at is not None or now - worker.seen_at > TOUCH_MS:
        workers.touch_worker(connection, worker.id, now)
        return worker._replace(stopped_at=None)
    return worker


def note_trouble(connection: Connection, worker: Worker, request: ContractRequest) -> None:
    """Note why a worker takes no jobs, as it says, or that it asks for some again."""
    trouble = _given(request.trouble, "")[:TROUBLE_LENGTH] or None
    if trouble != worker.trouble and (trouble or request.max):
        workers.set_trouble(connection, worker.id, trouble)


def note_clock(connection: Connection, worker: Worker, request: ContractRequest, came_at: int) -> None:
    """Note how far a worker's clock is ahead, when it tells the time and that has changed by a second."""
    clock_s = _given(request.clock, None)
    if clock_s is None or not abs(clock_s) < LATEST_S:
        return
    skew_ms = round(clock_s * 1000) - came_at
    if worker.skew_ms is None or abs(skew_ms - worker.skew_ms) >= 1000:
        workers.set_skew(connection, worker.id, skew_ms)


def _given(value: T | UnsetType, default: T) -> T:
    return default if isinstance(value, UnsetType) else value
