"""The client's calls about groups: jobs that are looked at and waited for together."""

import time
from collections.abc import AsyncIterator
from typing import Unpack

from piecework.client.calls import AnyId, path_name
from piecework.client.modes import call, iteration
from piecework.client.queue.jobs.handles import submits
from piecework.client.queue.jobs.inputs import Input
from piecework.client.queue.jobs.jobs import POLL_S, JobCalls, JobOptions
from piecework.client.transport import PreparedRequest, Query
from piecework.protocol.ids import Id
from piecework.protocol.messages import GroupBrief, GroupCreate, GroupInfo, GroupList, GroupSeal, JobCreated

GroupRef = AnyId
"""A group: its id, or a name; of several the newest is meant."""


class GroupCalls(JobCalls):
    """Groups of jobs. A job joins one by its option ``group``."""

    @call
    async def create_group(self, name: str | None = None, *, on_end: str | None = None) -> Id:
        """Make a group and return its id; the webhook ``on_end`` is told once it is done.

        Raises Conflict while an open one has the name. It need not be made before: a job that joins a name which
        is new makes one.
        """
        request = PreparedRequest("POST", "/group", body=GroupCreate(name=name, on_end=on_end))
        return (await self.carrier.call(request, GroupInfo)).group.id

    @call
    async def group(self, ref: GroupRef, wait_s: float = 0.0) -> GroupInfo:
        """Return how the jobs of a group stand, once all that it has are final or ``wait_s`` seconds passed.

        Raises NotFound.
        """
        query: Query = {"wait": wait_s} if wait_s > 0 else {}
        path = f"/group/{path_name(str(ref))}"
        return await self.carrier.call(
            PreparedRequest("GET", path, query, repeatable=True, poll_s=wait_s), GroupInfo
        )

    @iteration
    def groups(self, limit: int | None = None) -> AsyncIterator[GroupBrief]:
        """Go through the groups, newest first; at most ``limit`` of them."""
        return self._items("/group", {}, GroupList, "groups", limit)

    @iteration
    async def wait_for_group(self, ref: GroupRef, timeout_s: float | None = None) -> AsyncIterator[GroupInfo]:
        """Go through how the jobs of a group stand, now and then, until all that it has are final or time is over.

        The last is how they stood then.
        """
        end = None if timeout_s is None else time.monotonic() + timeout_s
        info = await self.group(ref)
        while True:
            yield info
            left = POLL_S if end is None else end - time.monotonic()
            if not info.left or left <= 0:
                return
            info = await self.group(ref, min(left, POLL_S))

    @call
    async def seal_group(self, ref: GroupRef, *, on_end: str | None = None) -> GroupInfo:
        """Close a group to further jobs; once all that it has are final it is done, and ``on_end`` is told.

        Safe to repeat. Raises Conflict when it is done already, and another webhook, or none, was told.
        """
        request = PreparedRequest(
            "POST", f"/group/{path_name(str(ref))}/seal", body=GroupSeal(on_end=on_end), repeatable=True
        )
        return await self.carrier.call(request, GroupInfo)

    @submits
    async def submit_then(
        self,
        ref: GroupRef,
        lambda_id: AnyId,
        input: Input = None,  # noqa: A002  # its name on the wire
        **options: Unpack[JobOptions],
    ) -> Id:
        """Seal a group, and submit a job that runs once it is done; return the job's handle.

        Without ``input`` it gets, as JSON, the states of the members and the blobs of their outputs. It runs
        whatever became of them, unless ``on_failure`` says otherwise.
        """
        path = f"/group/{path_name(str(ref))}/then"
        request = PreparedRequest(
            "POST", path, body=await self._one_job(lambda_id, input, options), repeatable=True
        )
        job = (await self.carrier.call(request, JobCreated)).id
        assert isinstance(job, Id), "the answer to one job has its id"
        return job
