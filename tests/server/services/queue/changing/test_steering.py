"""Pausing and resuming: from which states a job may go, and from which not."""

import pytest
from house import House
from sqlalchemy import text

from piecework.protocol.states import NEXT_STATES, UNSTARTED_STATES, JobState


def put_in(house: House, state: JobState) -> str:
    """Return a job that is in a state."""
    job = house.submit(house.new_lambda(), **({"status": "paused"} if state is JobState.PAUSED else {}))
    worker = house.new_worker()
    if state is JobState.RUNNING:
        house.lease(worker)
    elif state is JobState.CANCELLED:
        house.call("DELETE", f"/job/{job}")
    elif state.is_final:
        done = {"state": state.value, "error": {"kind": "load", "message": "no"}}
        house.finish(worker, house.lease(worker) | done)
    elif state in {JobState.PRE_ASSIGNED, JobState.WAITING}:
        with house.services.database.engine.begin() as connection:
            due = house.clock() - 1 if state is JobState.WAITING else None
            values = {"job": int(job), "state": state.value, "due": due}
            connection.execute(text("UPDATE jobs SET state = :state, due_at = :due WHERE id = :job"), values)
    assert house.state(job) == state
    return job


@pytest.mark.parametrize("wanted", [JobState.PAUSED, JobState.ENQUEUED])
@pytest.mark.parametrize("state", JobState)
def test_a_job_goes_where_the_table_says_while_nobody_runs_it(house: House, state: JobState, wanted: JobState):
    job = put_in(house, state)
    may = state is wanted or (state in UNSTARTED_STATES and wanted in NEXT_STATES[state])
    house.call("POST", f"/job/{job}", {"status": wanted.value}, status=200 if may else 409)
    assert house.state(job) == (wanted if may else state)


@pytest.mark.parametrize("state", JobState)
def test_a_job_is_cancelled_where_the_table_says(house: House, state: JobState):
    job = put_in(house, state)
    house.call("DELETE", f"/job/{job}")
    assert house.state(job) == (JobState.CANCELLED if JobState.CANCELLED in NEXT_STATES[state] else state)


def test_a_job_that_is_resumed_before_it_is_due_waits(house: House):
    job = house.submit(house.new_lambda(), status="paused", delay_s=60)
    house.call("POST", f"/job/{job}", {"status": "enqueued"})
    assert house.state(job) == "Waiting"


@pytest.mark.parametrize("state", ["waiting", "preassigned"])
def test_nobody_sets_a_job_to_what_only_the_server_can(house: House, state: str):
    job = house.submit(house.new_lambda())
    reply = house.call("POST", f"/job/{job}", {"status": state}, status=409)
    assert "nobody can set a job to" in reply["message"]
