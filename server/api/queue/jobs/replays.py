"""Replays on workers: ``/job/{id}/replay``, and how a contract tells of one."""

from collections.abc import Sequence

from flask import request
from msgspec import UNSET

from piecework.protocol.ids import Id
from piecework.protocol.messages import LeasedFile, LeasedJob, LeasedReplay, Maybe, ReplayStart, ReplayStarted
from piecework.receipts.envelope import read_receipt
from piecework.server.services import Services
from piecework.server.services.queue.leasing.replays import ReplayOrder, read_limits
from piecework.server.store.queue.jobs.files import StoredFile
from piecework.server.store.records import Job
from piecework.server.web.endpoint import endpoint


@endpoint("POST", "/job/<job>/replay", scope="submit", body=ReplayStart, reply=ReplayStarted, caller=True)
def start(services: Services, id_: Id, body: ReplayStart, caller: str | None) -> ReplayStarted:
    """Have the run of a job that has a receipt done again on a worker, and compared."""
    if services.replays.tells_secrets(id_, caller):
        services.access.check("operate", request.headers)
    replay, worker = services.replays.start(id_, body, caller)
    return ReplayStarted(id=Id(replay), worker=Id(worker.id))


def add_replay(leased: LeasedJob, job: Job, order: ReplayOrder | None) -> None:
    """Tell a worker what to compare a run with; without ``order``, that this is gone."""
    if order is None:
        leased.replay = LeasedReplay()
        return
    limits = read_receipt(order.envelope).claim.subject.limits
    leased.limits = read_limits(limits, job.options.limits.timeout_s)
    leased.replay = LeasedReplay(
        receipt=order.envelope,
        engine=job.options.engine or UNSET,
        journal=_leased_file(order.journal),
        output=_leased_file(order.output),
        made=leased_files(order.made) if order.original.options.has_folder else UNSET,
    )


def leased_files(files: Sequence[StoredFile]) -> list[LeasedFile]:
    return [
        LeasedFile(name=each.name, blob=Id(each.blob_id or 0), checksum=each.sha256.hex(), size=each.size)
        for each in files
    ]


def _leased_file(file: StoredFile | None) -> Maybe[LeasedFile]:
    return UNSET if file is None else leased_files([file])[0]
