"""The trail of a job, told from the few events that are stored."""

from typing import Any

import pytest
from house import House, finished

from piecework.protocol.states import JobState
from piecework.server.services.queue.lifecycle.trails import SUBMITTED, first_events, tell_trail
from piecework.server.store.records import Event, Job

FIRST = Event(1, 100, JobState.ENQUEUED, detail=SUBMITTED)


def _job(**fields: Any) -> Job:
    row = dict.fromkeys(Job._fields) | {"id": 1, "state_name": "Enqueued", "attempt": 0, "created_at": 100}
    return Job(**(row | fields))


def _end(at: int, state: JobState, attempt: int, lease: str, since: int) -> Event:
    return Event(1, at, state, 9, attempt, lease, "", since)


def _start(at: int, attempt: int, lease: str) -> Event:
    return Event(1, at, JobState.RUNNING, 9, attempt, lease)


def test_the_usual_submission_is_not_stored_but_told():
    assert first_events([1], JobState.ENQUEUED, 100) == []
    assert tell_trail(_job(), []) == [FIRST]


@pytest.mark.parametrize("state", [JobState.PAUSED, JobState.WAITING])
def test_another_first_state_is_stored_and_told_once(state: JobState):
    stored = first_events([1], state, 100)
    assert tell_trail(_job(state_name=state.value), stored) == [
        Event(1, 100, state, detail=SUBMITTED, is_change=False)
    ]


def test_a_lease_that_runs_is_told_from_the_job():
    job = _job(state_name="Running", started_at=130, worker_id=9, attempt=1, lease="L")
    assert tell_trail(job, []) == [FIRST, _start(130, 1, "L")]


def test_each_lease_that_ended_has_its_beginning_before_it():
    failed = _end(150, JobState.ENQUEUED, 1, "L", since=120)
    done = _end(190, JobState.FINISHED, 2, "M", since=160)
    trail = tell_trail(_job(state_name="Finished"), [failed, done])
    assert trail == [FIRST, _start(120, 1, "L"), failed, _start(160, 2, "M"), done]


def test_an_outcome_that_was_refused_under_a_lease_stands_within_it():
    rescued = _end(150, JobState.ENQUEUED, 1, "L", since=120)
    refused = Event(1, 170, JobState.RUNNING, 9, 2, "L", "refused: Finished; too late")
    done = _end(190, JobState.FINISHED, 2, "M", since=160)
    trail = tell_trail(_job(state_name="Finished"), [rescued, refused, done])
    assert [event.detail for event in trail] == [SUBMITTED, "", "", "", refused.detail, ""]
    assert trail[3:] == [_start(160, 2, "M"), refused, done]


def test_a_clock_that_was_set_back_does_not_turn_the_trail_around():
    done = _end(50, JobState.FINISHED, 1, "L", since=300)
    assert tell_trail(_job(state_name="Finished"), [done]) == [FIRST, _start(300, 1, "L"), done]


def test_the_trail_of_a_job_that_was_cancelled_while_it_ran(house: House):
    worker, job = house.new_worker(), house.submit(house.new_lambda())
    lease = house.lease(worker)
    house.call("DELETE", f"/job/{job}")
    house.finish(worker, finished(lease), status=409)
    states = [state for state, _ in house.trace(job)]
    assert states == ["Enqueued", "Running", "Cancelled", "Cancelled"]
    events = house.call("GET", f"/job/{job}/trace")["events"]
    assert events[1]["lease"] == events[2]["lease"] == lease["lease"]
    assert events[0]["detail"] == "submitted"
