"""The client's calls about many jobs at once: run again, cancel, pause, resume, delete; count what failed."""

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypedDict, Unpack

import msgspec
from msgspec import UNSET

from piecework.client.calls import AnyId, AnyLambda, lambda_ref, path_id
from piecework.client.errors import api_error
from piecework.client.modes import call
from piecework.client.queue.jobs.inputs import Input, input_content
from piecework.client.queue.jobs.results import IDS_PER_REQUEST, ResultCalls
from piecework.client.queue.jobs.selection import Selection, select_jobs, to_query
from piecework.client.transport import PreparedRequest
from piecework.protocol.codes import Code
from piecework.protocol.ids import NO_ID, Id
from piecework.protocol.messages import (
    BulkAction,
    BulkRefusal,
    FailureList,
    JobBulk,
    JobBulkReply,
    JobEdit,
    Limits,
    given,
)

Advance = Callable[[int], object]
"""Is told how many jobs have been looked at since it was told last."""
REASONS = 100
"""Reasons of failures that are listed unless more are asked for."""


@dataclass
class BulkResult:
    """What was done to many jobs."""

    matched: int = 0
    """Jobs that were meant."""
    changed: int = 0
    """Those of them to which it was done."""
    refused: list[BulkRefusal] = field(default_factory=list)
    """Those to which it could not be done, by the reason."""
    made: dict[Id, Id] = field(default_factory=dict)
    """Of jobs that were named and run again with changes: the new jobs."""
    undoes: BulkAction | None = None
    """What was taken back, by ``undo_bulk``."""

    def add(self, reply: JobBulkReply) -> None:
        """Add what one request came to."""
        self.matched += reply.matched
        self.changed += reply.changed
        self.undoes = given(reply.undoes) or self.undoes
        for each in reply.refused:
            same = next((known for known in self.refused if known.message == each.message), None)
            if same is None:
                self.refused.append(each)
            else:
                same.count += each.count
        if reply.made:
            self.made |= {each.job: each.made for each in reply.made}


@dataclass(frozen=True)
class BulkCount:
    """How many jobs are meant, and what work on exactly these begins with."""

    matched: int
    begin: str


class EditOptions(TypedDict, total=False):
    """What is other in a job that is made of one. See ``JobEdit``."""

    lambda_: AnyLambda
    input: Input
    args: list[str]
    env: dict[str, str]
    timeout_s: float
    limits: Limits
    ok_codes: list[int]


class BulkCalls(ResultCalls):
    """Many jobs at once. The server works on them in requests of two seconds, each safe to repeat."""

    @call
    async def count_bulk(self, action: BulkAction, **which: Unpack[Selection]) -> BulkCount:
        """Return to how many of the jobs that match it can be done. Nothing is changed."""
        body = JobBulk(action=action, where=select_jobs(**which), dry_run=True)
        matched, begin = 0, ""
        while True:
            reply = await self._send_bulk(body)
            matched += reply.matched
            begin = begin or reply.begin or ""
            if not reply.next:
                return BulkCount(matched, begin)
            body = msgspec.structs.replace(body, cursor=reply.next)

    @call
    async def bulk(
        self,
        action: BulkAction,
        *,
        edit: JobEdit | None = None,
        counted: BulkCount | None = None,
        advance: Advance | None = None,
        undo_key: str | None = None,
        **which: Unpack[Selection],
    ) -> BulkResult:
        """Do something to all jobs that match, and that it can be done to; return when all is done.

        ``retry`` runs failed jobs again, or others if a state is given; with an ``edit`` (``describe_edit``) it
        makes a new job of each. ``counted``: what ``count_bulk`` gave, for exactly those jobs. Under an
        ``undo_key`` that nothing else has, it can be taken back within a day (``undo_bulk``).
        """
        body = JobBulk(action=action, where=select_jobs(**which), key=undo_key)
        if counted is None:  # or a request whose answer is lost could mean jobs that end until it is repeated
            begin = (await self._send_bulk(msgspec.structs.replace(body, dry_run=True))).begin
            counted = BulkCount(0, begin or "")
        result, cursor = BulkResult(), counted.begin or None
        while cursor is not None:
            reply = await self._send_bulk(msgspec.structs.replace(body, edit=edit, cursor=cursor))
            result.add(reply)
            if advance is not None:
                advance(reply.matched)
            cursor = reply.next or None
        return result

    @call
    async def bulk_ids(
        self, action: BulkAction, ids: Iterable[AnyId], *, edit: JobEdit | None = None, dry_run: bool = False
    ) -> BulkResult:
        """Do something to jobs that are named, each once, or tell what would be done."""
        result, named = BulkResult(), list(dict.fromkeys(map(path_id, ids)))
        for start in range(0, len(named), IDS_PER_REQUEST):
            some = named[start : start + IDS_PER_REQUEST]
            key = UNSET if dry_run else secrets.token_urlsafe(16)
            result.add(
                await self._send_bulk(JobBulk(action=action, ids=some, edit=edit, dry_run=dry_run, key=key))
            )
        return result

    @call
    async def undo_bulk(self, key: str, *, dry_run: bool = False) -> BulkResult:
        """Take back what ``bulk`` did under a key, or tell what would be; return when all is done.

        Jobs that were changed since are left alone, and refused. What was deleted is gone. ``undoes`` of the
        result is None when there is nothing to take back.
        """
        result, body = BulkResult(), JobBulk(action="undo", key=key, dry_run=dry_run)
        while True:
            reply = await self._send_bulk(body)
            result.add(reply)
            if not reply.next:
                return result
            body = msgspec.structs.replace(body, cursor=reply.next)

    @call
    async def retry(self, job_id: AnyId, **changes: Unpack[EditOptions]) -> Id:
        """Run a job again that failed or was cancelled, and return its id; with changes, that of a new job.

        Raises NotFound, or Conflict when it cannot be run again.
        """
        edit = await self.describe_edit(**changes) if changes else None
        result = await self.bulk_ids("retry", [job_id], edit=edit)
        if result.refused:
            message, is_known = result.refused[0].message, bool(result.matched)
            status, code = (409, Code.BAD_TRANSITION) if is_known else (404, Code.JOB_NOT_FOUND)
            raise api_error(status, code, f"job {job_id} is not run again: {message}", None)
        return result.made.get(path_id(job_id), path_id(job_id))

    @call
    async def describe_edit(self, **changes: Unpack[EditOptions]) -> JobEdit:
        """Return changes as the protocol says them. A large input is uploaded."""
        edit = JobEdit(
            lambda_=lambda_ref(changes["lambda_"]) if "lambda_" in changes else None,
            args=changes.get("args"),
            env=changes.get("env"),
            timeout_s=changes.get("timeout_s"),
            limits=changes.get("limits", Limits()),
            ok_codes=changes.get("ok_codes"),
        )
        if "input" in changes:
            edit.input = await input_content(changes["input"], self.upload) or NO_ID
        return edit

    @call
    async def failures(self, limit: int = REASONS, **which: Unpack[Selection]) -> FailureList:
        """Count failed jobs that were not run again, by lambda and reason, the most frequent first."""
        query = {**to_query(select_jobs(**which)), "limit": limit}
        return await self.carrier.call(
            PreparedRequest("GET", "/job/failures", query, repeatable=True), FailureList
        )

    async def _send_bulk(self, body: JobBulk) -> JobBulkReply:
        request = PreparedRequest("POST", "/job/bulk", body=body, repeatable=True)
        return await self.carrier.call(request, JobBulkReply)
