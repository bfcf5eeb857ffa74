import pytest
from hypothesis import given, strategies as st

from piecework.protocol.states import FINAL_STATES, NEXT_STATES, JobState, parse_state


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("running", JobState.RUNNING),
        ("FINISHED", JobState.FINISHED),
        ("cancelled", JobState.CANCELLED),
        ("canceled", JobState.CANCELLED),
        ("failed", JobState.FAILED),
        ("fail", JobState.FAILED),
        ("Fail_Execution", JobState.FAILED),
        ("paused", JobState.PAUSED),
        ("ready", JobState.ENQUEUED),
        (" resumed ", JobState.ENQUEUED),
        ("enqueued", JobState.ENQUEUED),
        ("preassigned", JobState.PRE_ASSIGNED),
        ("Waiting", JobState.WAITING),
    ],
)
def test_a_state_is_known_in_any_case_and_under_its_synonyms(text, state):
    assert parse_state(text) is state


@given(st.sampled_from(JobState))
def test_every_state_is_read_from_its_wire_name(state):
    assert parse_state(state.value) is state


def test_an_unknown_state_is_refused_with_the_states_there_are():
    with pytest.raises(ValueError, match=r"no job state 'done'; the states are Paused, .*Cancelled"):
        parse_state("done")


def test_a_job_that_finished_failed_or_was_cancelled_is_final():
    assert {state for state in JobState if state.is_final} == FINAL_STATES
    assert {JobState.FINISHED, JobState.FAILED, JobState.CANCELLED} == FINAL_STATES


def test_a_table_tells_of_each_state_what_may_follow():
    assert NEXT_STATES.keys() == set(JobState)
    assert all(JobState.CANCELLED in NEXT_STATES[state] for state in JobState if not state.is_final)
    assert {state for state in JobState if JobState.RUNNING in NEXT_STATES[state]} == {JobState.ENQUEUED}
