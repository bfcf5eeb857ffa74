"""Recorded calls as replicas make them, without a replica."""

import hashlib

from piecework.http.exchange import Request, Response, write_request, write_response
from piecework.protocol.codes import ErrorKind
from piecework.receipts.canonical import encode_canonical
from piecework.receipts.journals import End, Head, JournalEntry, write_frame
from piecework.receipts.payload import RunClaim, RunLimits, RunResult, RunSubject, sum_env
from piecework.receipts.recorded_calls import CallRecord, write_call

LIMITS = RunLimits(
    memory_bytes=1, stack_bytes=1, output_bytes=1, files_bytes=1, files_count=1, open_files=1
)  # fmt: skip
JOURNAL = (Head(), JournalEntry("clock", b"REALTIME", b"1"), JournalEntry("http", b"GET", b"no", "denied"), End(2))
ANSWER = Response(200, (("Content-Type", "text/plain"),), b"hello")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def some_call(
    code: bytes,
    request: Request = Request("POST", "/a?b=c", (("Accept", "*/*"),), b"hi"),  # noqa: B008  # it is a tuple
    response: Response | None = ANSWER,
    *,
    env: dict[str, str] | None = None,
    at: float = 1_700_000_000.25,
    fuel: int | None = 1234,
    served: bool = True,
) -> bytes:
    """Return a recorded call; without a response, its function trapped."""
    given, args, journal = write_request(request), encode_canonical([]), b"".join(map(write_frame, JOURNAL))
    answer = None if response is None else write_response(response)
    claim = RunClaim(
        subject=RunSubject(
            runtime="wasi", mode="http", profile="record", module=sha256(code), input=sha256(given),
            args=sha256(args), env=sum_env(env or {}), limits=LIMITS, seed="0" * 64, journal=sha256(journal),
            served=served,
        ),
        result=RunResult(
            state="Fail_Execution" if answer is None else "Finished",
            exit_code=0,
            error_kind=ErrorKind.TRAP if answer is None else None,
            output=None if answer is None else sha256(answer),
            fuel=fuel,
            comparable=True,
        ),
    )  # fmt: skip
    parts = [given, args, journal, *([] if answer is None else [answer])]
    return write_call(CallRecord(at=at, took_s=0.25, memory_bytes=65_536, claim=claim, parts=parts))
