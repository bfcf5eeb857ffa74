"""Every way of ending a job passes one place, in the transaction that ends it."""

from collections.abc import Callable, Sequence

import pytest
from house import House, failed, finished
from structlog.testing import capture_logs

from piecework.protocol.states import JobState
from piecework.server.services.queue.lifecycle.endings import Ended, Reaction
from piecework.server.services.queue.waiting.waiting import Changes
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.jobs import jobs


def finish(house: House, job: str) -> None:
    worker = house.new_worker()
    house.finish(worker, finished(house.lease(worker)))


def fail(house: House, job: str) -> None:
    worker = house.new_worker()
    house.finish(worker, failed(house.lease(worker), "load"))


def cancel(house: House, job: str) -> None:
    house.call("DELETE", f"/job/{job}")


def stop(house: House, job: str) -> None:
    """The worker stops the job."""
    worker = house.new_worker()
    house.finish(worker, {**house.lease(worker), "state": "Cancelled"})


def report_without_a_lease(house: House, job: str) -> None:
    worker = house.new_worker()
    house.call("POST", f"/worker/{worker}/contract", {"timeout": 0})
    house.call("POST", f"/job/{job}", {"status": "failed"})


def expire(house: House, job: str) -> None:
    house.clock.forward(3600)
    house.move_on()


def lose_workers(house: House, job: str) -> None:
    for _ in range(house.services.settings.vanished_max + 1):
        house.lease(house.new_worker())
        house.clock.forward(house.services.settings.lease_s + 1)
        house.move_on()


WAYS = {
    finish: JobState.FINISHED,
    fail: JobState.FAILED,
    cancel: JobState.CANCELLED,
    stop: JobState.CANCELLED,
    report_without_a_lease: JobState.FAILED,
    expire: JobState.CANCELLED,
    lose_workers: JobState.FAILED,
}


def record(told: list[Ended]) -> Reaction:
    """Return a reaction that writes down what it is told, and looks whether it is so."""

    def react(connection: Connection, ended: Sequence[Ended], _: Changes, __: int) -> list[Ended]:
        states = jobs.find_states(connection, (each.job.id for each in ended))
        assert states == {each.job.id: each.state for each in ended}
        told.extend(ended)
        return []

    return react


@pytest.mark.parametrize("end", WAYS, ids=lambda way: way.__name__)
def test_whoever_ends_a_job_says_so_once(house: House, end: Callable[[House, str], None]):
    told: list[Ended] = []
    house.services.endings.reactions.append(record(told))
    extra = {"expires_at": "2026-09-21T14:30:00Z"} if end is expire else {}
    job = house.submit(house.new_lambda(), **extra)
    end(house, job)
    assert [(str(each.job.id), each.state) for each in told] == [(job, WAYS[end])]
    assert not told[0].job.state.is_final
    cancel(house, job)
    assert len(told) == 1


def test_a_job_that_is_to_be_tried_again_has_not_ended(house: House):
    told: list[Ended] = []
    house.services.endings.reactions.append(record(told))
    house.submit(house.new_lambda())
    worker = house.new_worker()
    house.finish(worker, failed(house.lease(worker)))
    assert told == []


def test_what_a_reaction_ends_is_passed_on_too(house: House):
    told: list[Ended] = []
    first, second = (house.submit(house.new_lambda()) for _ in range(2))

    def follow(connection: Connection, ended: Sequence[Ended], changes: Changes, now: int) -> list[Ended]:
        if str(ended[0].job.id) != first:
            return []
        job = jobs.lock_jobs(connection, [int(second)])[int(second)]
        assert jobs.cancel_jobs(connection, [job.id], now) == 1
        changes.note(job.id, job.lane_id, JobState.CANCELLED)
        return [Ended(job, JobState.CANCELLED)]

    house.services.endings.reactions.extend([follow, record(told)])
    cancel(house, first)
    assert [str(each.job.id) for each in told] == [first, second]


def test_what_a_reaction_cannot_do_undoes_the_end(house: House):
    def refuse(*_: object) -> list[Ended]:
        raise ValueError("no")

    job = house.submit(house.new_lambda())
    house.services.endings.reactions.append(refuse)
    with capture_logs() as logs:
        house.call("DELETE", f"/job/{job}", status=500)
    assert [line["event"] for line in logs] == ["bug"]
    assert house.state(job) == "Enqueued"
