"""What webhooks are told: written down by the transactions that end jobs and groups, then sent until it arrives.

A delivery is taken by one server at a time, for a while: when nothing is heard of an attempt within that, there is
another. So each is sent at least once, always under the same id, and by one server at a time.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from msgspec import UNSET

from piecework.protocol import bodies
from piecework.protocol.ids import Id
from piecework.protocol.messages import (
    DeliveryState,
    GroupCount,
    GroupEnd,
    JobEnd,
    JobLambda,
    WebhookEvent,
    WebhookTest,
)
from piecework.protocol.retention import FOR_EVER_MS
from piecework.protocol.states import JobState
from piecework.server.errors import DeliveryNotFound, InvalidRequest
from piecework.server.services.core import Core
from piecework.server.services.queue.lifecycle.endings import Ended
from piecework.server.services.queue.lifecycle.retries import Random
from piecework.server.services.queue.waiting.waiting import Changes
from piecework.server.services.queue.webhooks.posting import Posted
from piecework.server.services.stock.lambdas import Lambdas
from piecework.server.store.engine.database import Connection
from piecework.server.store.engine.ids import id_at
from piecework.server.store.queue.dependencies.relations import JobGroup
from piecework.server.store.queue.jobs import jobs
from piecework.server.store.queue.webhooks import deliveries, webhooks
from piecework.server.store.queue.webhooks.webhook_records import Delivery, NewDelivery, Webhook
from piecework.server.store.records import Job, Lambda

AT_ONCE = 2
"""Deliveries of one webhook that are being sent at the same time, on all servers together."""
LEASE_MS = 60_000
"""An attempt of which nothing is heard for so long is made again. It takes a quarter of that."""
PAUSES_S = (5, 60, 300, 1800, 7200, 18_000, 36_000, 36_000)
"""After each attempt that failed; after one more the delivery is given up, 27 hours after the first."""
JITTER = 0.2
"""A pause is longer by a random share of this part of it."""
RETRY_AFTER_MAX_S = 36_000
GONE = 410
"""The answer of who wants to be told nothing any more."""
TEST = "webhook.test"
STEP = 500
"""Deliveries that one transaction forgets, or has sent again."""
STEPS = 20
"""Transactions of one request that has deliveries sent again."""
JOB_TYPES = {
    JobState.FINISHED: "job.finished", JobState.FAILED: "job.failed", JobState.CANCELLED: "job.cancelled",
}  # fmt: skip


class Taken(NamedTuple):
    """A delivery that this server sends now."""

    webhook: Webhook
    delivery: Delivery


class Deliveries:
    """The deliveries of all webhooks."""

    def __init__(self, core: Core, lambdas: Lambdas, chance: Random = random.random) -> None:
        self._database, self._ids, self._clock = core.database, core.ids, core.clock
        self._keep_ms = core.settings.keep_ms("deliveries")
        self._lambdas = lambdas
        self._chance = chance

    def react(self, connection: Connection, ended: Sequence[Ended], changes: Changes, now: int) -> Sequence[Ended]:
        """Write down what webhooks are to be told of jobs that ended, in the transaction that ends them."""
        names = {each.job.id: name for each in ended if (name := each.job.options.on_end)}
        if not names:
            return ()
        known = webhooks.find_by_names(connection, names.values())
        told = [id_ for id_, name in names.items() if name in known]
        final = jobs.find_jobs(connection, told)
        bodies = [_tell_job(final[id_], self._lambdas.get(final[id_].lambda_id), now) for id_ in told]
        self._add(
            connection,
            [
                (known[names[id_]].id, JOB_TYPES[final[id_].state], id_, body)
                for id_, body in zip(told, bodies, strict=True)
            ],
            now,
        )
        changes.has_deliveries |= bool(told)
        return ()

    def tell_group(
        self, connection: Connection, group: JobGroup, state: JobState, counts: Mapping[JobState, int], now: int
    ) -> bool:
        """Write down what a webhook is to be told of a group that is done. Returns False when there is none."""
        known = webhooks.find_by_names(connection, [group.on_end]) if group.on_end else {}
        for webhook in known.values():
            type_ = "group.finished" if state is JobState.FINISHED else "group.failed"
            end = GroupEnd(
                group=Id(group.id),
                name=group.name or UNSET,
                state=state,
                jobs=sum(counts.values()),
                counts=[GroupCount(state=each, jobs=count) for each, count in sorted(counts.items())],
            )
            self._add(connection, [(webhook.id, type_, group.id, _write(type_, now, end))], now)
        return bool(known)

    def test(self, webhook: Webhook) -> Delivery:
        """Have a webhook sent something that means nothing, once. Raises InvalidRequest while it is paused."""
        if webhook.paused_at is not None:
            raise InvalidRequest(f"the webhook {webhook.name} is paused: resume it first")
        now = self._clock()
        body = _write(TEST, now, WebhookTest(webhook=webhook.name))
        [id_] = self._database.write(partial(self._add, new=[(webhook.id, TEST, None, body)], now=now))
        return self.get(id_)

    def get(self, id_: int) -> Delivery:
        """Return a delivery. Raises DeliveryNotFound."""
        with self._database.read() as connection:
            found = deliveries.find_delivery(connection, id_)
        if found is None:
            raise DeliveryNotFound(f"there is no delivery {id_}, or none any more")
        return found

    def list_page(
        self, webhook: Webhook, state: DeliveryState | None, *, before: int, limit: int
    ) -> list[Delivery]:
        """Return deliveries of a webhook that are older than ``before``, newest first."""
        with self._database.read() as connection:
            return deliveries.list_deliveries(connection, webhook.id, state, before=before, limit=limit)

    def retry(self, id_: int) -> Delivery:
        """Have a delivery sent now, whatever became of it, with all its attempts. Raises DeliveryNotFound."""
        self.get(id_)
        self._database.write(partial(deliveries.retry_delivery, id_=id_, now=self._clock()))
        return self.get(id_)

    def retry_failed(self, webhook: Webhook) -> tuple[int, bool]:
        """Have failed deliveries of a webhook sent again. Returns how many, and whether there may be more."""
        retried = 0
        for _ in range(STEPS):
            step = partial(deliveries.retry_failed, webhook_id=webhook.id, limit=STEP, now=self._clock())
            count = self._database.write(step)
            retried += count
            if count < STEP:
                return retried, False
        return retried, True

    def list_due(self) -> list[int]:
        """Return the webhooks that have something to be sent now."""
        with self._database.read() as connection:
            return webhooks.list_due(connection, self._clock())

    def take(self, webhook_id: int, most: int) -> list[Taken]:
        """Take some of what is to be sent to a webhook, no more than may be sent at once."""
        return self._database.write(partial(self._take, webhook_id=webhook_id, most=most), durable=False)

    def record(self, taken: Taken, posted: Posted, took_ms: int, *, goes_on: bool) -> Taken | None:
        """Write down what came of an attempt; if it ``goes_on``, take another delivery of the webhook for it."""

        def write(connection: Connection) -> list[Taken]:
            self._record(connection, taken, posted, took_ms)
            return self._take(connection, taken.webhook.id, 1) if goes_on else []

        return next(iter(self._database.write(write, durable=False)), None)

    def sweep(self) -> bool:
        """Forget some deliveries that are old, or whose webhook was deleted. Returns whether there is more."""
        return self._database.write(self._sweep, durable=False) >= STEP

    def _add(self, connection: Connection, new: Sequence[tuple[int, str, int | None, str]], now: int) -> list[int]:
        ids = self._ids.take(len(new))
        deliveries.add_deliveries(
            connection, [NewDelivery(id_, *each, now) for id_, each in zip(ids, new, strict=True)]
        )
        return ids

    def _take(self, connection: Connection, webhook_id: int, most: int) -> list[Taken]:
        webhook = webhooks.lock_webhook(connection, webhook_id)
        if webhook is None or webhook.paused_at is not None:
            return []
        now = self._clock()
        room = AT_ONCE - deliveries.count_busy(connection, webhook_id, now)
        found = deliveries.take_due(connection, webhook_id, now, now + LEASE_MS, min(room, most))
        return [Taken(webhook, each) for each in found]

    def _record(self, connection: Connection, taken: Taken, posted: Posted, took_ms: int) -> None:
        now, was = self._clock(), taken.delivery
        state, next_at = self._judge(was, posted, now)
        new = was._replace(
            state=state, next_at=next_at, took_ms=took_ms, status=posted.status, detail=posted.detail
        )
        if not deliveries.record_attempt(connection, was, new) or posted.status != GONE:
            return
        webhook = webhooks.lock_webhook(connection, taken.webhook.id)
        if webhook is not None and webhook.url == taken.webhook.url:
            trouble = "it answered 410 Gone: it wants to be told nothing any more"
            webhooks.change_webhook(connection, replace(webhook, paused_at=now, trouble=trouble))

    def _judge(self, was: Delivery, posted: Posted, now: int) -> tuple[DeliveryState, int | None]:
        """Return where a delivery stands after an attempt, and when it is sent again."""
        if posted.is_accepted:
            return "delivered", None
        if posted.status == GONE or was.type == TEST or was.attempts > len(PAUSES_S):
            return "failed", None
        pause_s = PAUSES_S[was.attempts - 1] * (1 + JITTER * self._chance())
        return "waiting", now + round(1000 * max(pause_s, min(posted.retry_after_s, RETRY_AFTER_MAX_S)))

    def _sweep(self, connection: Connection) -> int:
        deleted = webhooks.find_deleted(connection)
        if deleted is not None:
            count = deliveries.forget_of_webhook(connection, deleted, STEP)
            if count < STEP:
                webhooks.remove_webhook(connection, deleted)
            return STEP
        if self._keep_ms == FOR_EVER_MS:
            return 0
        return deliveries.forget_old(connection, id_at(self._clock() - self._keep_ms), STEP)


def _tell_job(job: Job, lambda_: Lambda, now: int) -> str:
    """Write the end of a job: nothing of what it was given, produced or said."""
    is_finished = job.state is JobState.FINISHED
    output = Id(job.output_id) if job.output_id else UNSET
    end = JobEnd(
        job=Id(job.id),
        state=job.state,
        lambda_=JobLambda(
            id=Id(lambda_.id), runtime=lambda_.runtime, codex=Id(lambda_.codex), name=lambda_.name or UNSET
        ),
        attempt=job.attempt,
        created_at=job.created_at / 1000,
        started_at=UNSET if job.started_at is None else job.started_at / 1000,
        finished_at=(job.finished_at or now) / 1000,
        error=UNSET if job.error is None or is_finished else job.error.kind,
        exit_code=UNSET if job.exit_code is None else job.exit_code,
        output=output if is_finished else UNSET,
        failed_output=UNSET if is_finished else output,
        key=job.key or UNSET,
        group=UNSET if job.group_id is None else Id(job.group_id),
        schedule=UNSET if job.schedule_id is None else Id(job.schedule_id),
        retry_of=UNSET if job.retry_of is None else Id(job.retry_of),
        submitter=job.submitter or UNSET,
    )
    return _write(JOB_TYPES[job.state], now, end)


def _write(type_: str, at: int, data: JobEnd | GroupEnd | WebhookTest) -> str:
    moment = datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")
    event = WebhookEvent(type=type_, timestamp=moment.replace("+00:00", "Z"), data=data)
    return bodies.encode(event).decode()
