"""Which jobs a call is about."""

from typing import TypedDict, Unpack

import msgspec

from piecework.client.calls import AnyId, AnyLambda, AnyTime, lambda_ref, path_id, write_time
from piecework.client.transport import Query
from piecework.protocol.codes import ErrorKind
from piecework.protocol.ids import Id
from piecework.protocol.messages import JobSelection
from piecework.protocol.states import JobState


class Selection(TypedDict, total=False):
    """What jobs have in common; those are meant that fit in everything. See ``JobSelection``."""

    state: JobState | str | None
    lambda_: AnyLambda | None
    group: AnyId | None
    tag: str | None
    tenant: str | None
    worker: AnyId | None
    schedule: AnyId | None
    submitter: str | None
    key: str | None
    text: str | None
    kind: ErrorKind | str | None
    since: AnyTime | None
    before: AnyTime | None


def select_jobs(**which: Unpack[Selection]) -> JobSelection:
    """Return which jobs are meant, as the protocol says it. A time may be a moment, or how long ago it was."""
    return JobSelection(
        state=_write_word(which.get("state")),
        lambda_=None if (ref := which.get("lambda_")) is None else lambda_ref(ref),
        group=None if (ref := which.get("group")) is None else str(ref),
        tag=which.get("tag"),
        tenant=which.get("tenant"),
        worker=_read_id(which.get("worker")),
        schedule=None if (ref := which.get("schedule")) is None else str(ref),
        submitter=which.get("submitter"),
        key=which.get("key"),
        text=which.get("text"),
        kind=_write_word(which.get("kind")),
        since=write_time(which.get("since")),
        before=write_time(which.get("before")),
    )


def _read_id(given: AnyId | None) -> Id | None:
    return None if given is None else path_id(given)


def _write_word(word: str | None) -> str | None:
    """Return a word, not the member of an enumeration that it may be."""
    return None if word is None else str(word)


def to_query(selection: JobSelection) -> Query:
    """Return the parameters of a list that say the same."""
    fields = msgspec.structs.fields(selection)
    return {each.encode_name: getattr(selection, each.name) for each in fields}
