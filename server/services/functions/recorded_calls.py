"""Recorded calls: taken from the hosts whose replicas recorded them, kept for a while, told of."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from piecework.protocol.messages import CallsHandIn
from piecework.receipts.errors import ReceiptError
from piecework.receipts.recorded_calls import RecordedCall
from piecework.server.errors import RecordedCallNotFound
from piecework.server.services.core import Core
from piecework.server.services.functions.functions import require_revision
from piecework.server.services.stock.workers import require_worker
from piecework.server.store.engine.database import Connection
from piecework.server.store.engine.statements import without_nul
from piecework.server.store.functions import functions, recorded_calls, replicas
from piecework.server.store.functions.recorded_calls import RecordedCallRow
from piecework.server.store.functions.replicas import Name
from piecework.server.store.stock import lambdas

URI_CHARS = 1000
METHOD_CHARS = 50
NUMBER_MAX = 2**63 - 1
SWEPT_MAX = 100
"""So many are removed in a step."""


class TakenCalls(NamedTuple):
    """What became of calls that were handed in."""

    kept: int
    refused: str
    """Why one is not kept; "" when all are."""


class _Draft(NamedTuple):
    """A call that was read, before it is known whose it is."""

    replica: int
    call: RecordedCall
    row: RecordedCallRow
    content: bytes


class CallRecords:
    """The recorded calls of all functions: the newest of each revision."""

    def __init__(self, core: Core) -> None:
        self._database, self._ids, self._clock, self._settings = core.database, core.ids, core.clock, core.settings
        self._kept_ms = core.settings.keep_ms("calls")

    def take(self, worker_id: int, handed_in: CallsHandIn) -> TakenCalls:
        """Keep calls that replicas of this host recorded.

        Those of others, of revisions that record none, and damaged ones are dropped. Raises WorkerNotFound.
        """
        drafts, refused = [], ""
        for each in handed_in.calls:
            try:
                call = RecordedCall.read_from(each.call)
                drafts.append(_Draft(int(each.replica), call, self._describe(call, len(each.call)), each.call))
            except ReceiptError as error:
                refused = refused or str(error)
        kept, left_out = self._database.write(
            partial(self._keep, worker_id=worker_id, drafts=drafts), durable=False
        )
        return TakenCalls(kept, refused or left_out)

    def _describe(self, call: RecordedCall, size: int) -> RecordedCallRow:
        """Return what is told of a call. Raises ReceiptError."""
        record, response, result = call.record, call.response, call.claim.result
        return RecordedCallRow(
            id=self._ids.next(),
            function="",
            revision="",
            at=round(record.at * 1000),
            took_s=record.took_s,
            method=without_nul(call.request.method[:METHOD_CHARS]) or "",
            uri=without_nul(call.request.uri[:URI_CHARS]) or "",
            status=None if response is None else response.status,
            error=None if result.error_kind is None else result.error_kind.value,
            fuel=None if result.fuel is None else min(int(result.fuel), NUMBER_MAX),
            memory_bytes=record.memory_bytes,
            size=size,
        )

    def _keep(self, connection: Connection, worker_id: int, drafts: Sequence[_Draft]) -> tuple[int, str]:
        """Store what is of this host's replicas. Returns how many are, and why one is not."""
        require_worker(connection, worker_id)
        whose = {each.id: each.name for each in replicas.replicas_of_host(connection, worker_id)}
        codes = {name: _find_code(connection, name) for name in set(whose.values())}
        touched, refused = set(), ""
        kept = 0
        for draft in drafts:
            name = whose.get(draft.replica)
            code = None if name is None else codes[name]
            if name is None or code is None:
                refused = refused or f"replica {draft.replica} is not of this host, or records no calls"
            elif draft.call.claim.subject.module != code:
                refused = refused or f"the call is of other code than {'/'.join(name)} has"
            else:
                row = draft.row._replace(function=name[0], revision=name[1])
                recorded_calls.add_call(connection, row, draft.content)
                touched.add(name)
                kept += 1
        for name in touched:
            settings = self._settings
            recorded_calls.trim_calls(
                connection, *name, settings.recorded_calls_max, settings.recorded_calls_max_bytes
            )
        return kept, refused

    def pages_of(self, function: str, revision: str) -> Callable[..., list[RecordedCallRow]]:
        """Return what lists the recorded calls of a revision. Raises FunctionNotFound or RevisionNotFound."""
        with self._database.read() as connection:
            require_revision(connection, function, revision)

        def list_page(*, before: int, limit: int) -> list[RecordedCallRow]:
            with self._database.read() as connection:
                return recorded_calls.list_calls(connection, function, revision, before=before, limit=limit)

        return list_page

    def get(self, function: str, revision: str, id_: int) -> tuple[RecordedCallRow, bytes]:
        """Return a recorded call, and all of it.

        Raises FunctionNotFound, RevisionNotFound or RecordedCallNotFound.
        """
        with self._database.read() as connection:
            require_revision(connection, function, revision)
            found = recorded_calls.find_call(connection, function, revision, id_)
        if found is None:
            raise RecordedCallNotFound(
                f"{function}/{revision} has no recorded call {id_}: only the newest are kept, and for a while"
            )
        return found

    def delete(self, function: str, revision: str) -> int:
        """Remove all recorded calls of a revision; returns how many. Raises FunctionNotFound, RevisionNotFound."""

        def remove(connection: Connection) -> int:
            require_revision(connection, function, revision)
            return recorded_calls.delete_calls(connection, function, revision)

        return self._database.write(remove)

    def sweep(self) -> bool:
        """Remove some whose time is over. Returns whether there are more."""
        if self._kept_ms < 0:
            return False
        before = self._clock() - self._kept_ms
        gone = self._database.write(lambda connection: recorded_calls.delete_old(connection, before, SWEPT_MAX))
        return gone == SWEPT_MAX


def _find_code(connection: Connection, name: Name) -> str | None:
    """Return the SHA-256 of a revision's code; None when its calls are not recorded."""
    found = functions.find_revision(connection, *name)
    if found is None or found.lambda_id is None:
        return None
    lambda_ = lambdas.find_lambdas(connection, {found.lambda_id})[found.lambda_id]
    digest = lambda_.codex_sha256
    return None if lambda_.options.recording is None or digest is None else digest.hex()
