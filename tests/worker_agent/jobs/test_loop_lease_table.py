import threading

import pytest
from patience import LONG_S, PATIENCE_S

from piecework.protocol.ids import Id
from piecework.protocol.messages import LeaseRef, Outcome
from piecework.protocol.states import JobState
from piecework.worker_agent.jobs.leases.lease_table import ROOM_MAX, Demand, LeaseTable, hand_back
from piecework.worker_agent.jobs.leases.outbox import ref_of


def ref(number, lease="lease"):
    return LeaseRef(job=Id(number), lease=lease)


def outcome(held, state=JobState.FINISHED, **fields):
    return Outcome(job=held.job, lease=held.lease, state=state, **fields)


@pytest.fixture
def lease_table():
    return LeaseTable()


def plan(lease_table, capacity=2, timeout_s=0.0, **demand):
    """All jobs run at once, unless ``slots`` says how many do."""
    demand = Demand(capacity, **{"slots": capacity, "first": capacity, **demand})
    return lease_table.next_contract(lambda: demand, timeout_s)


def test_empty_ledger_asks_for_as_many_jobs_as_it_may_hold(lease_table):
    found = plan(lease_table, capacity=3)
    assert (found.outcomes, found.room, found.polls) == ([], 3, True)


def test_no_contract_when_full_and_nothing_has_ended(lease_table):
    lease_table.admit([ref(1), ref(2)])
    assert plan(lease_table) is None


def test_one_contract_asks_for_a_bounded_number_of_jobs(lease_table):
    assert plan(lease_table, capacity=10_000).room == ROOM_MAX


def test_no_contract_until_there_is_room_for_the_refill(lease_table):
    lease_table.admit([ref(1), ref(2), ref(3)])
    assert plan(lease_table, capacity=4, refill=2) is None
    lease_table.forget(ref(1))
    assert plan(lease_table, capacity=4, refill=2).room == 2


def test_outcome_takes_the_next_contract_which_does_not_poll(lease_table):
    lease_table.admit([ref(1), ref(2)])
    lease_table.end(outcome(ref(1)))
    found = plan(lease_table)
    assert ([ref_of(o) for o in found.outcomes], found.room, found.polls) == ([ref(1)], 1, False)


def test_the_last_outcomes_take_a_contract_that_polls_when_the_server_had_no_more_jobs(lease_table):
    plan(lease_table)
    lease_table.end_poll()
    lease_table.admit([ref(1)])
    lease_table.end(outcome(ref(1)))
    found = plan(lease_table, capacity=8, slots=2, first=3)
    assert ([ref_of(o) for o in found.outcomes], found.room, found.polls) == ([ref(1)], 6, True)
    assert lease_table.polling


def test_outcomes_do_not_take_a_poll_while_a_job_runs_or_the_server_has_more_or_the_agent_ends(lease_table):
    plan(lease_table, capacity=3)
    lease_table.end_poll()
    lease_table.admit([ref(1), ref(2), ref(3)])
    lease_table.end(outcome(ref(1)))
    assert not plan(lease_table, capacity=3).polls
    lease_table.note_plenty()
    lease_table.end(outcome(ref(2)), outcome(ref(3)))
    assert not plan(lease_table, capacity=3).polls
    lease_table.admit([ref(4)])
    lease_table.end(outcome(ref(4)))
    lease_table.close()
    assert not plan(lease_table, capacity=3).polls


def test_jobs_of_one_contract_that_share_a_token_are_different_leases(lease_table):
    lease_table.admit([ref(1), ref(2)])
    lease_table.end(outcome(ref(1)))
    assert not lease_table.is_open(ref(1))
    assert lease_table.is_open(ref(2))


def test_lease_is_held_until_its_outcome_is_settled(lease_table):
    lease_table.admit([ref(1)])
    assert lease_table.refs() == [ref(1)]
    lease_table.end(outcome(ref(1)))
    assert lease_table.refs() == [ref(1)]
    plan(lease_table)
    assert lease_table.refs() == [ref(1)]
    lease_table.settle([ref(1)])
    assert lease_table.refs() == []


def test_job_ends_once(lease_table):
    lease_table.admit([ref(1)])
    assert lease_table.end(outcome(ref(1)))
    assert not lease_table.end(outcome(ref(1), JobState.ENQUEUED))
    assert [o.state for o in plan(lease_table).outcomes] == [JobState.FINISHED]


def test_lost_lease_is_forgotten_and_its_outcome_refused(lease_table):
    lease_table.admit([ref(1)])
    assert lease_table.forget(ref(1))
    assert not lease_table.end(outcome(ref(1)))
    assert lease_table.refs() == []


def test_outcome_that_is_underway_is_not_forgotten(lease_table):
    lease_table.admit([ref(1)])
    lease_table.end(outcome(ref(1)))
    assert not lease_table.forget(ref(1))
    assert lease_table.refs() == [ref(1)]


def test_lease_that_comes_twice_is_worked_on_once(lease_table):
    assert lease_table.admit([ref(1)]) == {ref(1)}
    assert lease_table.admit([ref(1), ref(2)]) == {ref(2)}
    lease_table.end(outcome(ref(1)))
    assert lease_table.admit([ref(1)]) == set()


def test_outcomes_that_did_not_arrive_go_first_and_in_order(lease_table):
    lease_table.admit([ref(n) for n in range(1, 5)])
    for number in (1, 2, 3):
        lease_table.end(outcome(ref(number)))
    batch = plan(lease_table, capacity=4).outcomes
    lease_table.end(outcome(ref(4)))
    lease_table.put_back(batch)
    assert [o.job for o in plan(lease_table, capacity=4).outcomes] == [1, 2, 3, 4]


def test_reporter_takes_outcomes_only_during_a_poll(lease_table):
    lease_table.admit([ref(1)])
    lease_table.end(outcome(ref(1)))
    assert lease_table.take_during_poll(0.0) == []
    assert [o.job for o in plan(lease_table).outcomes] == [1]
    lease_table.admit([ref(2)])
    assert plan(lease_table).polls
    lease_table.end(outcome(ref(2)))
    assert [o.job for o in lease_table.take_during_poll(0.0)] == [2]
    lease_table.end_poll()
    lease_table.admit([ref(3)])
    lease_table.end(outcome(ref(3)))
    assert lease_table.take_during_poll(0.0) == []


def test_outcome_during_a_poll_wakes_the_reporter(lease_table):
    lease_table.admit([ref(1)])
    assert plan(lease_table).polls
    taken = []
    thread = threading.Thread(target=lambda: taken.extend(lease_table.take_during_poll(LONG_S)))
    thread.start()
    lease_table.end(outcome(ref(1)))
    thread.join(PATIENCE_S)
    assert [o.job for o in taken] == [1]


def test_room_wakes_the_contract_loop(lease_table):
    lease_table.admit([ref(1), ref(2)])
    found = []
    thread = threading.Thread(target=lambda: found.append(plan(lease_table, timeout_s=LONG_S)))
    thread.start()
    lease_table.forget(ref(2))
    thread.join(PATIENCE_S)
    assert found[0].room == 1


def wait_for_plan(lease_table, **demand):
    """Start a thread that waits for a plan; return what it found, and the thread."""
    found = []
    thread = threading.Thread(target=lambda: found.append(plan(lease_table, timeout_s=LONG_S, **demand)))
    thread.start()
    return found, thread


@pytest.mark.parametrize("ended", [[1], [1, 2]])
def test_outcome_wakes_the_contract_loop_though_there_is_no_room(lease_table, ended):
    lease_table.admit([ref(n) for n in range(4)])
    found, thread = wait_for_plan(lease_table, capacity=4, refill=4)
    lease_table.end(*[outcome(ref(n)) for n in ended])
    thread.join(PATIENCE_S)
    assert [o.job for o in found[0].outcomes] == ended


def test_outcomes_that_come_back_wake_the_contract_loop(lease_table):
    lease_table.admit([ref(n) for n in range(4)])
    for number in (0, 1):
        lease_table.end(outcome(ref(number)))
    batch = plan(lease_table, capacity=2).outcomes
    found, thread = wait_for_plan(lease_table, capacity=2)
    lease_table.put_back(batch)
    thread.join(PATIENCE_S)
    assert [o.job for o in found[0].outcomes] == [0, 1]


def test_waits_end_when_the_agent_does(lease_table):
    lease_table.admit([ref(1)])
    found, thread = wait_for_plan(lease_table, capacity=1)
    lease_table.end_waits()
    thread.join(PATIENCE_S)
    assert found == [None]
    assert lease_table.take_during_poll(LONG_S) == []


def test_outcome_lingers_until_a_refill_is_due_and_rides_on_it(lease_table):
    lease_table.admit([ref(n) for n in range(4)])
    found = []
    thread = threading.Thread(
        target=lambda: found.append(plan(lease_table, capacity=4, refill=2, linger_s=LONG_S, timeout_s=LONG_S))
    )
    thread.start()
    lease_table.end(outcome(ref(0)))
    lease_table.end(outcome(ref(1)))
    thread.join(PATIENCE_S)
    assert ([o.job for o in found[0].outcomes], found[0].room) == ([0, 1], 2)


def test_a_poll_waits_for_the_outcome_of_a_quick_job_and_carries_it(lease_table):
    lease_table.admit([ref(1)])
    found = []
    waiter = threading.Thread(
        target=lambda: found.append(plan(lease_table, 4, patience_s=LONG_S, timeout_s=LONG_S))
    )
    waiter.start()
    lease_table.end(outcome(ref(1)))
    waiter.join(PATIENCE_S)
    assert [sent.job for sent in found[0].outcomes] == [1]
    assert not found[0].polls


def test_a_poll_does_not_wait_for_ever_for_a_job_that_takes_longer(lease_table):
    lease_table.admit([ref(1)])
    assert plan(lease_table, 4, patience_s=0.001).polls


def test_outcome_does_not_linger_for_ever(lease_table):
    lease_table.admit([ref(n) for n in range(4)])
    lease_table.end(outcome(ref(0)))
    found = plan(lease_table, capacity=4, refill=2, linger_s=0.001)
    assert ([o.job for o in found.outcomes], found.room) == ([0], 1)


def test_job_that_was_asked_to_stop_is_not_started(lease_table):
    lease_table.admit([ref(1)])
    assert lease_table.ask_to_stop(ref(1), JobState.CANCELLED)
    assert not lease_table.start(ref(1))
    assert lease_table.stop_asked(ref(1)) is JobState.CANCELLED


def test_first_reason_to_stop_counts(lease_table):
    lease_table.admit([ref(1)])
    lease_table.ask_to_stop(ref(1), JobState.CANCELLED)
    lease_table.ask_to_stop(ref(1), JobState.ENQUEUED)
    assert lease_table.stop_asked(ref(1)) is JobState.CANCELLED


def test_what_is_not_open_cannot_be_stopped_or_started(lease_table):
    assert not lease_table.ask_to_stop(ref(1), JobState.CANCELLED)
    assert not lease_table.start(ref(1))
    assert lease_table.stop_asked(ref(1)) is None


def test_closing_hands_back_what_was_not_started_and_asks_for_nothing(lease_table):
    lease_table.admit([ref(1), ref(2)])
    lease_table.start(ref(1))
    lease_table.close()
    found = plan(lease_table, capacity=9)
    assert [(o.job, o.state) for o in found.outcomes] == [(2, JobState.ENQUEUED)]
    assert found.room == 0
    assert plan(lease_table, capacity=9) is None
    assert lease_table.open_refs() == [ref(1)]


def test_jobs_that_come_after_closing_are_handed_back(lease_table):
    lease_table.close()
    assert lease_table.admit([ref(1)]) == set()
    assert [o.state for o in plan(lease_table).outcomes] == [JobState.ENQUEUED]


def test_hand_back_open_ends_every_job(lease_table):
    lease_table.admit([ref(1), ref(2)])
    lease_table.start(ref(1))
    assert lease_table.hand_back_open() == 2
    assert lease_table.wait_until_idle(0.0)


def test_empty_means_no_lease_and_no_poll_that_could_bring_one(lease_table):
    assert plan(lease_table).polls
    assert not lease_table.wait_until_empty(0.0)
    lease_table.end_poll()
    assert lease_table.wait_until_empty(0.0)
    lease_table.admit([ref(1)])
    lease_table.end(outcome(ref(1)))
    assert lease_table.wait_until_idle(0.0)
    assert not lease_table.wait_until_empty(0.0)


def test_on_close_hears_once_of_each_lease_that_is_not_open_any_more(lease_table):
    closed = []
    lease_table.on_close = closed.extend
    lease_table.admit([ref(n) for n in range(1, 5)])
    lease_table.end(outcome(ref(1)))
    lease_table.end(outcome(ref(1)))
    lease_table.forget(ref(2))
    lease_table.start(ref(3))
    lease_table.close()
    lease_table.hand_back_open()
    assert sorted(held.job for held in closed) == [1, 2, 3, 4]


def test_every_outcome_is_delivered_once_with_many_threads_at_work(lease_table):
    total = 400
    delivered, lock, done = [], threading.Lock(), threading.Event()
    lease_table.admit([ref(n) for n in range(total)])

    def finish(numbers):
        for number in numbers:
            assert lease_table.end(outcome(ref(number)))

    def deliver():
        lose = False
        while not done.is_set():
            found = plan(lease_table, capacity=1, timeout_s=0.01)
            batch = found.outcomes if found else []
            if found and found.polls:
                batch += lease_table.take_during_poll(0.0)
                lease_table.end_poll()
            lose = not lose
            if lose:
                lease_table.put_back(batch)
                continue
            with lock:
                delivered.extend(o.job for o in batch)
            lease_table.settle(map(ref_of, batch))

    workers = [threading.Thread(target=finish, args=(range(n, total, 4),)) for n in range(4)]
    carriers = [threading.Thread(target=deliver) for _ in range(3)]
    for thread in workers + carriers:
        thread.start()
    assert lease_table.wait_until_empty(10)
    done.set()
    for thread in workers + carriers:
        thread.join(PATIENCE_S)
    assert sorted(delivered) == list(range(total))


def test_request_waits_at_the_server_only_while_a_slot_is_idle(lease_table):
    lease_table.admit([ref(1)])
    assert plan(lease_table, 8, slots=2).polls
    lease_table.end_poll()
    lease_table.admit([ref(2)])
    lease_table.note_plenty()
    found = plan(lease_table, 8, slots=2)
    assert (found.room, found.polls) == (6, False)


def test_poll_asks_for_a_few_jobs_for_each_idle_slot(lease_table):
    assert plan(lease_table, 100, slots=3, first=4).room == 12
    lease_table.admit([ref(1)])
    assert plan(lease_table, 100, slots=3, first=4).room == 8
    assert plan(lease_table, 6, slots=3, first=4).room == 5


def test_server_that_had_no_more_jobs_is_asked_again_when_a_job_has_ended(lease_table):
    lease_table.admit([ref(1), ref(2), ref(3)])
    assert plan(lease_table, 8, slots=2).room == 5
    assert plan(lease_table, 8, slots=2) is None
    lease_table.end(outcome(ref(1)))
    assert plan(lease_table, 8, slots=2).room == 6


def test_server_that_gave_all_that_was_asked_for_is_asked_again_at_once(lease_table):
    lease_table.admit([ref(1), ref(2), ref(3)])
    assert plan(lease_table, 8, slots=2).room == 5
    lease_table.note_plenty()
    assert plan(lease_table, 8, slots=2).room == 5


def test_job_that_is_handed_back_is_no_reason_to_ask_for_others(lease_table):
    lease_table.admit([ref(n) for n in range(5)])
    lease_table.hold_off()
    lease_table.end(*[hand_back(ref(n)) for n in (3, 4, 9)])
    found = plan(lease_table, 8, slots=2)
    assert ([o.state for o in found.outcomes], found.room) == ([JobState.ENQUEUED] * 2, 0)
    assert plan(lease_table, 8, slots=2) is None
    lease_table.end(outcome(ref(0)))
    assert plan(lease_table, 8, slots=2).room == 6


def test_idle_slot_is_filled_though_the_others_hold_off(lease_table):
    lease_table.admit([ref(1), ref(2)])
    lease_table.hold_off()
    lease_table.forget(ref(1))
    assert plan(lease_table, 8, slots=2).polls


def test_what_is_handed_back_does_not_linger(lease_table):
    lease_table.admit([ref(n) for n in range(4)])
    lease_table.end(outcome(ref(1)))
    found, thread = wait_for_plan(lease_table, capacity=4, slots=2, refill=4, linger_s=60.0)
    lease_table.end(hand_back(ref(2)))
    thread.join(PATIENCE_S)
    assert [o.job for o in found[0].outcomes] == [1, 2]


def test_outcomes_gather_while_all_slots_are_busy_and_the_server_has_no_jobs(lease_table):
    lease_table.admit([ref(n) for n in range(4)])
    plan(lease_table, 8, slots=2)
    lease_table.end(outcome(ref(0)))
    found, thread = wait_for_plan(lease_table, capacity=8, slots=2, gather_s=60.0)
    lease_table.end(outcome(ref(1)))
    lease_table.end(outcome(ref(2)))
    thread.join(PATIENCE_S)
    assert [o.job for o in found[0].outcomes] == [0, 1, 2]


def test_outcome_does_not_gather_when_the_server_probably_has_jobs(lease_table):
    lease_table.admit([ref(n) for n in range(4)])
    lease_table.note_plenty()
    lease_table.end(outcome(ref(0)))
    found, thread = wait_for_plan(lease_table, capacity=8, slots=2, gather_s=60.0)
    thread.join(PATIENCE_S)
    assert [o.job for o in found[0].outcomes] == [0]


def test_backlog_wakes_who_waits_for_it(lease_table):
    assert not lease_table.wait_for_more_than(1, 0.0)
    found = []
    thread = threading.Thread(target=lambda: found.append(lease_table.wait_for_more_than(1, 60.0)))
    thread.start()
    lease_table.admit([ref(1)])
    lease_table.admit([ref(2)])
    thread.join(PATIENCE_S)
    assert found == [True]
