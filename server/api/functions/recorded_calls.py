"""Recorded calls of functions: what hosts hand in, and what is told of them."""

from msgspec import UNSET

from piecework.protocol.codes import ErrorKind
from piecework.protocol.ids import Id
from piecework.protocol.messages import (
    CallsHandIn,
    CallsTaken,
    MessageReply,
    RecordedCallInfo,
    RecordedCallList,
    RecordedCallReply,
)
from piecework.server.api.functions.deployments import REVISION
from piecework.server.services import Services
from piecework.server.store.functions.recorded_calls import RecordedCallRow
from piecework.server.web.endpoint import endpoint
from piecework.server.web.paging import PageQuery, next_cursor

CALLS = f"{REVISION}/calls"


@endpoint("POST", "/worker/<worker>/calls", scope="worker", body=CallsHandIn, reply=CallsTaken)
def hand_in(services: Services, id_: Id, body: CallsHandIn) -> CallsTaken:
    """Keep calls that a worker's replicas recorded."""
    taken = services.records.take(id_, body)
    return CallsTaken(kept=taken.kept, refused=taken.refused or UNSET)


@endpoint("GET", CALLS, scope="view", query=PageQuery, reply=RecordedCallList)
def list_all(services: Services, function: str, revision: str, query: PageQuery) -> RecordedCallList:
    """List recorded calls of a revision, newest first."""
    found, more = query.read(services.records.pages_of(function, revision), services.settings.page_max)
    return RecordedCallList(calls=list(map(_info, found)), next=next_cursor([each.id for each in found], more))


@endpoint("GET", f"{CALLS}/<call>", scope="view", reply=RecordedCallReply)
def show(services: Services, function: str, revision: str, call: Id) -> RecordedCallReply:
    """Give a recorded call: its request and answer, and what it got from outside, in clear text."""
    row, content = services.records.get(function, revision, call)
    return RecordedCallReply(info=_info(row), call=content)


@endpoint("DELETE", CALLS, scope="operate", reply=MessageReply)
def delete(services: Services, function: str, revision: str) -> MessageReply:
    """Remove all recorded calls of a revision."""
    gone = services.records.delete(function, revision)
    return MessageReply(message=f"{gone} recorded calls of {function}/{revision} are removed")


def _info(row: RecordedCallRow) -> RecordedCallInfo:
    return RecordedCallInfo(
        id=Id(row.id),
        at=row.at / 1000,
        took_s=row.took_s,
        method=row.method,
        uri=row.uri,
        status=UNSET if row.status is None else row.status,
        error=UNSET if row.error is None else ErrorKind(row.error),
        fuel=UNSET if row.fuel is None else row.fuel,
        memory_bytes=UNSET if row.memory_bytes is None else row.memory_bytes,
        size=row.size,
    )
