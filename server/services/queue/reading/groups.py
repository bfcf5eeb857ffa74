"""Groups: jobs that somebody looks at, waits for and ends together.

A group is open until somebody seals it; then no further job joins. It is done when it is sealed and all its jobs
are final: whoever waits for it by ``after`` is told then. Ends of members cost no statement. They are noted in
memory, and the timekeeper looks whether the group is done; a chore looks at all that are sealed, should a note get
lost.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from math import inf
from typing import NamedTuple

import msgspec

from piecework.protocol.ids import ID_MAX
from piecework.protocol.messages import Content, JobSpec, given
from piecework.protocol.states import JobState
from piecework.server.errors import GroupConflict, GroupNotFound
from piecework.server.services.core import Core
from piecework.server.services.queue.lifecycle.endings import Ended
from piecework.server.services.queue.submitting.grouping import check_group_name
from piecework.server.services.queue.submitting.quotas import Allowed
from piecework.server.services.queue.submitting.submission import Submission
from piecework.server.services.queue.waiting.pauses import Work
from piecework.server.services.queue.waiting.waiting import Changes, JobWatch, Notifier
from piecework.server.services.queue.webhooks.deliveries import Deliveries
from piecework.server.services.queue.webhooks.webhooks import Webhooks
from piecework.server.services.stock.data import Data
from piecework.server.store.engine.database import Connection
from piecework.server.store.engine.ids import id_at
from piecework.server.store.queue.dependencies import dependencies, groups
from piecework.server.store.queue.dependencies.relations import JobGroup, Settling
from piecework.server.store.records import Blob, Job
from piecework.server.store.stock import blobs

LOOK_S = 0.1
"""The least time between two looks at the groups whose members ended."""
SHARED_LOOK_S = 0.2
"""The least time between two looks at those that somebody waits for, when other servers may end their jobs."""
FAILURES_SHOWN = 5
"""Jobs that failed which a group names."""
PAGE = 2_000
"""Members whose results one step of the timekeeper writes down."""
CLOSING_PAGE = 1_000
ABANDONED_MS = 7 * 24 * 3600 * 1000
"""How long a group stays that has no job, and for which none waits."""
SWEEP_PAGE = 100


class GroupView(NamedTuple):
    """A group, and how its jobs stand."""

    group: JobGroup
    counts: dict[JobState, int]
    failures: list[int]
    """The first of its jobs that failed."""
    dependants: list[int]
    """Jobs that wait, or waited, for the group."""

    @property
    def left(self) -> int:
        """Jobs that are not final."""
        return sum(count for state, count in self.counts.items() if not state.is_final)


class Groups:
    """The groups of this server."""

    def __init__(
        self,
        core: Core,
        data: Data,
        submission: Submission,
        webhooks: Webhooks,
        deliveries: Deliveries,
        notifier: Notifier,
    ) -> None:
        self._database, self._ids, self._clock, self._settings = core.database, core.ids, core.clock, core.settings
        self._now_s = core.sleeper.now_s
        self._data = data
        self._submission = submission
        self._webhooks = webhooks
        self._deliveries = deliveries
        self._watch = JobWatch(notifier.watch.places)
        """Who waits for the jobs of groups, by the groups' ids."""
        self._notifier = notifier
        notifier.note_groups = self.note
        self._lock = threading.Lock()
        self._noted: set[int] = set()
        self._looked_at = -inf
        self._looked_after = 0
        self._collecting: dict[int, Iterator[Blob | None]] = {}
        """Groups whose results are being written down."""

    def create(self, name: str | None, submitter: str | None, on_end: str | None = None) -> JobGroup:
        """Make a group; ``on_end`` names the webhook that is told once it is done.

        Raises InvalidRequest for what is no name, GroupConflict while an open group has it, or WebhookNotFound.
        """
        if name is not None:
            check_group_name(name)
        if on_end is not None:
            self._webhooks.check_name(on_end)
        group = JobGroup(self._ids.next(), name, submitter, self._clock(), on_end=on_end)

        def add(connection: Connection) -> None:
            if name is not None and (known := groups.hold_newest(connection, name)) and known.sealed_at is None:
                raise GroupConflict(f"group {known.id} is called {name}, and is open: seal it, or add to it")
            groups.add_group(connection, group)

        self._database.write(add)
        return group

    def find(self, ref: str) -> JobGroup:
        """Return a group by its id, or the newest of a name. Raises GroupNotFound."""
        with self._database.read() as connection:
            if ref.isdecimal():
                found = groups.find_group(connection, int(ref)) if len(ref) < 20 and int(ref) <= ID_MAX else None
            else:
                found = groups.find_newest(connection, ref)
        if found is None:
            raise GroupNotFound(f"there is no group {ref[:200]}")
        return found

    def show(self, group: JobGroup) -> GroupView:
        """Return how a group's jobs stand."""
        with self._database.read() as connection:
            return GroupView(
                group,
                groups.count_members(connection, group.id),
                groups.find_failures(connection, group.id, FAILURES_SHOWN),
                sorted({child for child, _ in groups.find_dependants(connection, group.id)}),
            )

    def list_page(self, *, before: int, limit: int) -> list[JobGroup]:
        """Return groups that are older than ``before``, newest first."""
        with self._database.read() as connection:
            return groups.list_groups(connection, before=before, limit=limit)

    def wait(self, group: JobGroup, timeout_s: float) -> Work[None]:
        """Return once all jobs that are in a group now are final, or the time is over.

        Raises CapacityReached or Stopping.
        """
        with self._watch.park([group.id], lambda *_: True) as waiter:
            with self._database.read() as connection:
                is_over = not groups.has_live_members(connection, group.id)
            if not is_over:
                yield from waiter.wait(min(timeout_s, self._settings.wait_max_s))

    def seal(self, group: JobGroup, on_end: str | None = None) -> JobGroup:
        """Close a group to further jobs; the webhook ``on_end`` is told once it is done. Safe to repeat.

        Raises WebhookNotFound, or GroupConflict when it is done already, and was not to tell this webhook.
        """
        if on_end is None:
            self._database.write(partial(groups.seal_group, id_=group.id, now=self._clock()))
        else:
            name = self._webhooks.check_name(on_end)
            seal = partial(groups.seal_group_telling, id_=group.id, now=self._clock(), webhook=name)
            if not self._database.write(seal) and self.find(str(group.id)).on_end != name:
                raise GroupConflict(f"group {group.id} is done already: nobody can be told any more")
        self.note([group.id])
        return self.find(str(group.id))

    def submit_then(
        self, group: JobGroup, spec: JobSpec, submitter: str | None, allowed: Allowed | None = None
    ) -> int:
        """Submit a job that runs once the group is done, and seal the group. Returns the job's id.

        It gets the results of the members as its input, unless it has another one, and runs whatever became of
        them, unless it says otherwise. Raises what a submission raises.
        """
        is_given = given(spec.input) is not None
        own = [str(group.id), *(given(spec.after) or ())]
        then = msgspec.structs.replace(
            spec,
            after=own if is_given else own[1:],
            input=spec.input if is_given else Content(job=str(group.id)),
            on_failure=given(spec.on_failure) or "run",
        )
        [id_] = self._submission.submit([then], submitter=submitter, allowed=allowed)
        self.seal(group)
        return id_

    def note(self, ids: Iterable[int]) -> None:
        """Note groups that may be done now: jobs of them ended, or they were sealed."""
        with self._lock:
            is_news = not self._noted
            self._noted.update(ids)
        if is_news:  # else the timekeeper knows that there is something to look at
            self._notifier.poke()

    def react(self, _: Connection, ended: Sequence[Ended], changes: Changes, __: int) -> Sequence[Ended]:
        """Note the groups of jobs that ended, once that is committed."""
        changes.groups |= {each.job.group_id for each in ended if each.job.group_id is not None}
        return ()

    def take_back(self, connection: Connection, again: Sequence[Job], changes: Changes, _: int) -> None:
        """Take back that groups are done of which jobs are run again."""
        ids = {job.group_id for job in again if job.group_id is not None}
        reopened = [id_ for id_ in sorted(ids) if groups.reopen_group(connection, id_)]
        dependencies.add_settlings(connection, [Settling(id_, JobState.ENQUEUED.value) for id_ in reopened])
        changes.has_rest |= bool(reopened)

    def settle(self) -> float:
        """Look whether groups are done of which jobs ended. Returns the seconds until there is more to do."""
        for id_ in list(self._collecting):
            self._collect_on(id_)
        wait_s = LOOK_S - (self._now_s() - self._looked_at)
        if self._database.is_shared and wait_s < LOOK_S - SHARED_LOOK_S:
            with self._lock:  # another server may have ended their jobs
                self._noted.update(self._watch.watched())
        if self._noted and wait_s <= 0:
            self._look()
            wait_s = LOOK_S
        if self._collecting:
            return 0.0
        return max(0.0, wait_s) if self._noted else inf

    def look_after(self) -> int:
        """Note a page of the groups that are sealed and not done: the note of one may have got lost."""
        with self._database.read() as connection:
            page = groups.find_closing(connection, self._looked_after, CLOSING_PAGE)
        self._looked_after = page[-1] if len(page) == CLOSING_PAGE else 0
        if page:
            self.note(page)
        return len(page)

    def sweep(self) -> int:
        """Remove groups that nobody needs any more: their jobs are gone, or none ever came. Returns how many."""
        before = id_at(self._clock() - ABANDONED_MS)

        def remove(connection: Connection) -> int:
            locked = groups.lock_groups(connection, groups.find_abandoned(connection, before, SWEEP_PAGE))
            still = [id_ for id_ in groups.find_abandoned(connection, before, SWEEP_PAGE) if id_ in locked]
            groups.delete_groups(connection, still)
            return len(still)

        with self._database.read() as connection:
            is_clean = not groups.find_abandoned(connection, before, 1)
        return 0 if is_clean else self._database.write(remove)

    def close(self) -> None:
        """Answer those who wait for jobs of groups."""
        self._watch.close()

    def _look(self) -> None:
        with self._lock:
            noted, self._noted = self._noted, set()
        self._looked_at = self._now_s()
        with self._database.read() as connection:
            idle = [id_ for id_ in sorted(noted) if not groups.has_live_members(connection, id_)]
            sealed = [group for id_ in idle if (group := groups.find_group(connection, id_)) and group.sealed_at]
            wanted = {each.id for each in sealed if any(n for _, n in groups.find_dependants(connection, each.id))}
        self._watch.wake(dict.fromkeys(idle, JobState.FINISHED))
        for group in sealed:
            if group.done_at is not None or group.id in self._collecting:
                continue
            if group.id in wanted:
                self._collecting[group.id] = self._data.prepare_slowly(self._write_results(group))
            else:
                self._finish(group.id, None)

    def _collect_on(self, id_: int) -> None:
        """Write down some more of a group's results; when that was all, the group is done.

        What fails is begun anew when the chore finds that the group is not done.
        """
        results = self._collecting.pop(id_)
        blob = next(results)
        if blob is None:
            self._collecting[id_] = results
        else:
            self._finish(id_, blob)

    def _write_results(self, group: JobGroup) -> Iterator[bytes]:
        """Write what became of each job of a group, as a JSON object, a page at a time."""
        name = msgspec.json.encode(group.name).decode()
        yield f'{{"group":"{group.id}","name":{name},"jobs":['.encode()
        after, comma = 0, ""
        while True:
            with self._database.read() as connection:
                page = groups.list_results(connection, group.id, after, PAGE)
            if page:
                yield (comma + ",".join(_write_result(*each) for each in page)).encode()
                after, comma = page[-1][0], ","
            if len(page) < PAGE:
                break
        yield b"]}"

    def _finish(self, id_: int, results: Blob | None) -> None:
        with self._database.read() as connection:  # it takes long: nobody else has to wait for it
            group = groups.find_group(connection, id_)
            counts = groups.count_members(connection, id_) if group and group.on_end else {}
        finish = partial(self._finish_group, id_=id_, results=results, counts=counts)
        self._notifier.notify(self._database.write(finish))

    def _finish_group(
        self, connection: Connection, id_: int, results: Blob | None, counts: dict[JobState, int]
    ) -> Changes:
        """Note that a group is done, unless one of its jobs is run again meanwhile, and tell who waits for it."""
        group = groups.lock_groups(connection, [id_]).get(id_)
        if group is None or group.done_at is not None or groups.has_live_members(connection, id_):
            return Changes()
        state = JobState.FAILED if groups.has_undone_members(connection, id_) else JobState.FINISHED
        if results is not None:
            blobs.add_blobs(connection, [results])
        output_id = None if results is None else results.id
        now = self._clock()
        groups.finish_group(connection, id_, state, output_id, now)
        has_deliveries = self._deliveries.tell_group(connection, group, state, counts, now)
        waited_for = bool(groups.find_dependants(connection, id_))
        if waited_for:
            dependencies.add_settlings(connection, [Settling(id_, state.value, output_id)])
        return Changes(has_rest=waited_for, has_deliveries=has_deliveries)


def _write_result(id_: int, state: JobState, output_id: int | None) -> str:
    name = "output" if state is JobState.FINISHED else "failed_output"
    output = f',"{name}":"{output_id}"' if output_id else ""
    return f'{{"id":"{id_}","state":"{state}"{output}}}'
