"""The client's calls about replays on workers: a job's run done again there, and compared."""

import secrets

from piecework.client.calls import AnyId, path_id
from piecework.client.errors import JobCancelled
from piecework.client.modes import call
from piecework.client.queue.jobs.results import JobWait, ResultCalls, failure
from piecework.client.transport import PreparedRequest
from piecework.http.deadlines import Deadline
from piecework.protocol.bodies import decode
from piecework.protocol.engines import Engine
from piecework.protocol.messages import REPLAY_S, JobInfo, ReplayStart, ReplayStarted, WaitReason, given
from piecework.protocol.states import JobState
from piecework.receipts.replays import Replay

LOOK_S = 5.0
"""So often it is looked whether the worker can still do it."""
HOPELESS = frozenset({WaitReason.NO_WORKER, WaitReason.UNABLE, WaitReason.DRAINING})
"""What a replay waits for that no other worker makes up for."""


class ReplayCalls(ResultCalls):
    """Replays on workers."""

    @call
    async def replay(
        self, job_id: AnyId, worker: AnyId, *, engine: Engine | None = None, timeout_s: float = REPLAY_S
    ) -> Replay:
        """Have a worker do a job's run again, wait for that, and return what came of it.

        Nothing is granted: what came from outside comes from the journal. ``worker`` is its id or its name.
        Raises NotFound for a job without a receipt, Conflict when the worker cannot do it, JobCancelled when it
        does not, JobFailed when the run cannot be done again.
        """
        started = await self.start_replay(job_id, worker, engine=engine, timeout_s=timeout_s)
        return await self.end_replay(started.id, timeout_s)

    @call
    async def start_replay(
        self, job_id: AnyId, worker: AnyId, *, engine: Engine | None = None, timeout_s: float = REPLAY_S
    ) -> ReplayStarted:
        """Have a worker do a job's run again, and return at once. As ``replay``, but for what comes of it."""
        body = ReplayStart(
            worker=str(worker), engine=engine, timeout_s=timeout_s, key=f"client-{secrets.token_hex(16)}"
        )
        request = PreparedRequest("POST", f"/job/{path_id(job_id)}/replay", body=body, repeatable=True)
        return await self.carrier.call(request, ReplayStarted)

    @call
    async def end_replay(self, replay_id: AnyId, timeout_s: float = REPLAY_S) -> Replay:
        """Wait for the end of a replay that was started, and return what came of it.

        It is cancelled when its worker cannot do it any more, or the time is over; then JobCancelled is raised.
        """
        id_, deadline = path_id(replay_id), Deadline(timeout_s, self.clock)
        watch = JobWait(self.carrier, self.clock, None, [id_], LOOK_S)
        while not (ended := await watch.look(deadline)):
            if why := _find_reason(await self.job(id_), deadline, timeout_s):
                await self.cancel(id_)
                if (await self.job(id_)).state is JobState.CANCELLED:
                    raise JobCancelled(id_, why)
        [info] = ended
        if info.state is not JobState.FINISHED:
            raise failure(info)
        return decode(await self.output(info), Replay)


def _find_reason(info: JobInfo, deadline: Deadline, timeout_s: float) -> str | None:
    """Say why a replay is given up that has not ended; None when it is not."""
    waits = given(info.advice) or ""
    if info.state is JobState.ENQUEUED and given(info.waits_for) in HOPELESS:
        return waits
    return f"{timeout_s:g} s are over{waits and f': {waits}'}" if deadline.is_over() else None
