"""Keys of receipts: the one that this server signs with, and the public ones of all workers and servers."""

from functools import partial
from pathlib import Path
from threading import Lock

import structlog

from piecework.protocol.messages import Envelope, WorkerRegister, given
from piecework.receipts.envelope import countersign
from piecework.receipts.errors import KeyFileError
from piecework.receipts.keys import KEY_FILE, PrivateKey, is_signature, key_id, open_key, write_proof
from piecework.server.errors import InvalidRequest
from piecework.server.services.core import Core
from piecework.server.store.engine.database import Connection
from piecework.server.store.records import Worker
from piecework.server.store.stock import public_keys
from piecework.server.store.stock.audit import Act, Actor, store_act
from piecework.server.store.stock.public_keys import NO_OWNER, SigningKeyRow

log = structlog.get_logger("server")


class Signing:
    """This server's key, which is made when the first receipt comes, and the keys of others."""

    def __init__(self, core: Core) -> None:
        self._database, self._clock = core.database, core.clock
        self._path: Path = core.settings.data / KEY_FILE
        self._lock = Lock()
        self._key: PrivateKey | None = None
        self._told = ""

    def make_ready(self) -> bool:
        """See to it that this server can sign, and everybody can check it. Call it outside of a transaction.

        Returns False when its key cannot be used; the log says why.
        """
        with self._lock:
            if self._key is not None:
                return True
            try:
                key = open_key(self._path)
            except KeyFileError as error:
                if str(error) != self._told:
                    log.error("cannot sign receipts: jobs get none", reason=str(error))  # noqa: TRY400  # no bug
                    self._told = str(error)
                return False
            note = partial(
                public_keys.note_key,
                keyid=key.keyid,
                owner="server",
                owner_id=NO_OWNER,
                public_key=key.public_key,
                now=self._clock(),
            )
            self._database.write(note)
            self._key = key
        log.info("signs receipts", keyid=key.keyid)
        return True

    def countersign(self, envelope: Envelope) -> Envelope:
        """Return a receipt with this server's signature; ``make_ready`` comes first."""
        assert self._key is not None, "make_ready() comes first"
        return countersign(envelope, self._key)

    def list_page(self, keyid: str | None = None, *, before: int, limit: int) -> list[SigningKeyRow]:
        """Return public keys that are older than a row, newest first."""
        with self._database.read() as connection:
            return public_keys.list_keys(connection, keyid, before=before, limit=limit)


def read_worker_key(request: WorkerRegister) -> bytes | None:
    """Return the key that a worker registers; None: none. Raises InvalidRequest for one that is not its own."""
    key = given(request.public_key)
    if key is None:
        return None
    proof, incarnation = given(request.key_proof), given(request.incarnation) or ""
    if proof is None or not is_signature(key, write_proof(incarnation), proof):
        raise InvalidRequest("`key_proof` does not show that the worker has the private part of `public_key`")
    return key


def note_worker_key(connection: Connection, worker: Worker, before: bytes | None, now: int) -> None:
    """Note a worker's key, and in the audit that it had another one before."""
    key = worker.public_key
    if key is None:
        return
    keyid = key_id(key)
    public_keys.note_key(connection, keyid, "worker", worker.id, key, now)
    if before is not None and before != key:
        was = key_id(before)
        act = Act(Actor("worker", str(worker.id)), now, "replace key", str(worker.id), f"{keyid} for {was}")
        store_act(connection, act)
        log.warning("a worker has another key for receipts", worker=worker.id, keyid=keyid, before=was)
