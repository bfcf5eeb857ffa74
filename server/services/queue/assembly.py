"""The services of the job queue, put together."""

from collections.abc import Sequence
from dataclasses import dataclass

from piecework.server.services.core import Core
from piecework.server.services.queue.changing.bulk import Bulk
from piecework.server.services.queue.changing.deletion import Deletion
from piecework.server.services.queue.changing.doubts import Doubts
from piecework.server.services.queue.changing.holds import Pausing
from piecework.server.services.queue.changing.removal import Removal
from piecework.server.services.queue.changing.reruns import Reruns
from piecework.server.services.queue.changing.retention import Retention
from piecework.server.services.queue.changing.steering import Steering
from piecework.server.services.queue.changing.undoing import Undoing
from piecework.server.services.queue.dependencies.dependants import Dependants
from piecework.server.services.queue.figures.depths import Depths, LambdaDepths
from piecework.server.services.queue.figures.scale import Scale
from piecework.server.services.queue.figures.statistics import Statistics
from piecework.server.services.queue.figures.tenants import Tenants
from piecework.server.services.queue.figures.totals import JobTotals
from piecework.server.services.queue.leasing.contracts import Contracts
from piecework.server.services.queue.leasing.outcomes import Outcomes
from piecework.server.services.queue.leasing.pace import UsualTimes
from piecework.server.services.queue.leasing.replays import Replays
from piecework.server.services.queue.lifecycle.counting import note_ended
from piecework.server.services.queue.lifecycle.endings import Endings
from piecework.server.services.queue.limits.limiter import release_ended
from piecework.server.services.queue.limits.limits import KeyLimits
from piecework.server.services.queue.reading.failures import FailureCounts
from piecework.server.services.queue.reading.feed import Feed
from piecework.server.services.queue.reading.groups import Groups
from piecework.server.services.queue.reading.jobs import Jobs
from piecework.server.services.queue.reading.unfenced import Unfenced
from piecework.server.services.queue.schedules.schedules import Schedules
from piecework.server.services.queue.schedules.ticking import Ticking
from piecework.server.services.queue.schedules.timekeeper import Rest
from piecework.server.services.queue.submitting.submission import Submission
from piecework.server.services.queue.trust.agreement import Agreement
from piecework.server.services.queue.trust.memos import Memos
from piecework.server.services.queue.trust.receipts import Receipts
from piecework.server.services.queue.waiting.waiting import Notifier
from piecework.server.services.queue.webhooks.deliveries import Deliveries
from piecework.server.services.queue.webhooks.posting import Poster
from piecework.server.services.queue.webhooks.sender import Sender
from piecework.server.services.queue.webhooks.webhooks import Webhooks
from piecework.server.services.stock.data import Data
from piecework.server.services.stock.lambdas import Lambdas
from piecework.server.services.stock.signing import Signing


@dataclass(frozen=True)
class QueueServices:
    """The job queue."""

    submission: Submission
    schedules: Schedules
    ticking: Ticking
    jobs: Jobs
    steering: Steering
    bulk: Bulk
    undoing: Undoing
    pauses: Pausing
    failures: FailureCounts
    unfenced: Unfenced
    contracts: Contracts
    outcomes: Outcomes
    memos: Memos
    receipts: Receipts
    replays: Replays
    agreement: Agreement
    doubts: Doubts
    endings: Endings
    limits: KeyLimits
    tenants: Tenants
    depths: Depths
    scale: Scale
    removal: Removal
    feed: Feed
    dependants: Dependants
    statistics: Statistics
    pace: UsualTimes
    totals: JobTotals
    retention: Retention
    deletion: Deletion
    groups: Groups
    webhooks: Webhooks
    deliveries: Deliveries
    sender: Sender
    rests: Sequence[Rest]
    notifier: Notifier


def wire_queue(core: Core, data: Data, lambdas: Lambdas, signing: Signing, notifier: Notifier) -> QueueServices:
    """Give each service of the queue the ones that it calls."""
    endings, feed, receipts = Endings(), Feed(core, notifier), Receipts(core, lambdas, signing)
    memos, agreement, pace = Memos(core, data, lambdas, endings), Agreement(core), UsualTimes(core)
    dependants, removal = Dependants(core, endings, notifier, memos.settle), Removal(core, data, feed)
    reruns, statistics, depths = Reruns(core, endings), Statistics(core, lambdas, feed), Depths(core)
    outcomes = Outcomes(core, data, lambdas, endings, receipts, notifier, agreement)
    webhooks, deliveries, sender = _wire_webhooks(core, lambdas, notifier)
    submission = Submission(core, data, lambdas, webhooks, notifier, memos)
    bulk = Bulk(core, lambdas, endings, reruns, removal, notifier)
    groups = Groups(core, data, submission, webhooks, deliveries, notifier)
    _follow(endings, memos, dependants, groups, deliveries)
    return QueueServices(
        submission=submission,
        schedules=Schedules(core, submission, notifier),
        ticking=Ticking(core, submission, endings, notifier),
        jobs=Jobs(core, data, lambdas, endings, notifier),
        steering=Steering(core, notifier),
        bulk=bulk,
        undoing=Undoing(core, endings, reruns, notifier),
        pauses=Pausing(core, notifier),
        failures=FailureCounts(core, lambdas),
        unfenced=Unfenced(core),
        contracts=Contracts(core, endings, outcomes, notifier, pace),
        outcomes=outcomes,
        memos=memos,
        receipts=receipts,
        replays=Replays(core, lambdas, receipts, notifier),
        agreement=agreement,
        doubts=Doubts(core, reruns, notifier),
        endings=endings,
        limits=KeyLimits(core, notifier),
        tenants=Tenants(core, statistics, depths),
        depths=depths,
        scale=Scale(core, lambdas, statistics, depths, LambdaDepths(core)),
        feed=feed,
        dependants=dependants,
        removal=removal,
        statistics=statistics,
        pace=pace,
        totals=JobTotals(core, feed),
        retention=Retention(core, removal),
        deletion=Deletion(core, lambdas, bulk),
        groups=groups,
        webhooks=webhooks,
        deliveries=deliveries,
        sender=sender,
        rests=[dependants.settle, groups.settle],
        notifier=notifier,
    )


def _follow(
    endings: Endings, memos: Memos, dependants: Dependants, groups: Groups, deliveries: Deliveries
) -> None:
    """Have all react to ends of jobs that have to do with them, in this order."""
    endings.reactions += [note_ended, release_ended, memos.react, dependants.react]
    endings.reactions += [groups.react, deliveries.react]
    endings.reversals += [dependants.take_back, groups.take_back]


def _wire_webhooks(core: Core, lambdas: Lambdas, notifier: Notifier) -> tuple[Webhooks, Deliveries, Sender]:
    poster, deliveries = Poster(core.settings.webhook_private), Deliveries(core, lambdas)
    sender = Sender(core, deliveries, poster.post)
    notifier.poke_sender = sender.poke
    return Webhooks(core, poster), deliveries, sender
