import threading

import pytest
from patience import LONG_S, PATIENCE_S

from piecework.protocol.ids import Id
from piecework.protocol.messages import LeaseRef, Outcome
from piecework.protocol.states import JobState
from worker_agent.jobs.ledger import ROOM_MAX, Ledger, Wish, hand_back
from worker_agent.jobs.outbox import ref_of


def ref(number, lease="lease"):
    return LeaseRef(job=Id(number), lease=lease)


def outcome(held, state=JobState.FINISHED, **fields):
    return Outcome(job=held.job, lease=held.lease, state=state, **fields)


@pytest.fixture
def ledger():
    return Ledger()


def errand(ledger, capacity=2, timeout_s=0.0, **wish):
    """All jobs run at once, unless ``slots`` says how many do."""
    wish = Wish(capacity, **{"slots": capacity, "first": capacity, **wish})
    return ledger.next_errand(lambda: wish, timeout_s)


def test_empty_ledger_asks_for_as_many_jobs_as_it_may_hold(ledger):
    found = errand(ledger, capacity=3)
    assert (found.outcomes, found.room, found.polls) == ([], 3, True)


def test_no_errand_when_full_and_nothing_has_ended(ledger):
    ledger.admit([ref(1), ref(2)])
    assert errand(ledger) is None


def test_one_contract_asks_for_a_bounded_number_of_jobs(ledger):
    assert errand(ledger, capacity=10_000).room == ROOM_MAX


def test_no_errand_until_there_is_room_for_the_refill(ledger):
    ledger.admit([ref(1), ref(2), ref(3)])
    assert errand(ledger, capacity=4, refill=2) is None
    ledger.forget(ref(1))
    assert errand(ledger, capacity=4, refill=2).room == 2


def test_outcome_takes_the_next_errand_which_does_not_poll(ledger):
    ledger.admit([ref(1), ref(2)])
    ledger.end(outcome(ref(1)))
    found = errand(ledger)
    assert ([ref_of(o) for o in found.outcomes], found.room, found.polls) == ([ref(1)], 1, False)


def test_the_last_outcomes_take_an_errand_that_polls_when_the_server_had_no_more_jobs(ledger):
    errand(ledger)
    ledger.end_poll()
    ledger.admit([ref(1)])
    ledger.end(outcome(ref(1)))
    found = errand(ledger, capacity=8, slots=2, first=3)
    assert ([ref_of(o) for o in found.outcomes], found.room, found.polls) == ([ref(1)], 6, True)
    assert ledger.polling


def test_outcomes_do_not_take_a_poll_while_a_job_runs_or_the_server_has_more_or_the_agent_ends(ledger):
    errand(ledger, capacity=3)
    ledger.end_poll()
    ledger.admit([ref(1), ref(2), ref(3)])
    ledger.end(outcome(ref(1)))
    assert not errand(ledger, capacity=3).polls
    ledger.note_plenty()
    ledger.end(outcome(ref(2)), outcome(ref(3)))
    assert not errand(ledger, capacity=3).polls
    ledger.admit([ref(4)])
    ledger.end(outcome(ref(4)))
    ledger.close()
    assert not errand(ledger, capacity=3).polls


def test_jobs_of_one_contract_that_share_a_token_are_different_leases(ledger):
    ledger.admit([ref(1), ref(2)])
    ledger.end(outcome(ref(1)))
    assert not ledger.is_open(ref(1))
    assert ledger.is_open(ref(2))


def test_lease_is_held_until_its_outcome_is_settled(ledger):
    ledger.admit([ref(1)])
    assert ledger.refs() == [ref(1)]
    ledger.end(outcome(ref(1)))
    assert ledger.refs() == [ref(1)]
    errand(ledger)
    assert ledger.refs() == [ref(1)]
    ledger.settle([ref(1)])
    assert ledger.refs() == []


def test_job_ends_once(ledger):
    ledger.admit([ref(1)])
    assert ledger.end(outcome(ref(1)))
    assert not ledger.end(outcome(ref(1), JobState.ENQUEUED))
    assert [o.state for o in errand(ledger).outcomes] == [JobState.FINISHED]


def test_lost_lease_is_forgotten_and_its_outcome_refused(ledger):
    ledger.admit([ref(1)])
    assert ledger.forget(ref(1))
    assert not ledger.end(outcome(ref(1)))
    assert ledger.refs() == []


def test_outcome_that_is_underway_is_not_forgotten(ledger):
    ledger.admit([ref(1)])
    ledger.end(outcome(ref(1)))
    assert not ledger.forget(ref(1))
    assert ledger.refs() == [ref(1)]


def test_lease_that_comes_twice_is_worked_on_once(ledger):
    assert ledger.admit([ref(1)]) == {ref(1)}
    assert ledger.admit([ref(1), ref(2)]) == {ref(2)}
    ledger.end(outcome(ref(1)))
    assert ledger.admit([ref(1)]) == set()


def test_outcomes_that_did_not_arrive_go_first_and_in_order(ledger):
    ledger.admit([ref(n) for n in range(1, 5)])
    for number in (1, 2, 3):
        ledger.end(outcome(ref(number)))
    batch = errand(ledger, capacity=4).outcomes
    ledger.end(outcome(ref(4)))
    ledger.put_back(batch)
    assert [o.job for o in errand(ledger, capacity=4).outcomes] == [1, 2, 3, 4]


def test_reporter_takes_outcomes_only_during_a_poll(ledger):
    ledger.admit([ref(1)])
    ledger.end(outcome(ref(1)))
    assert ledger.take_during_poll(0.0) == []
    assert [o.job for o in errand(ledger).outcomes] == [1]
    ledger.admit([ref(2)])
    assert errand(ledger).polls
    ledger.end(outcome(ref(2)))
    assert [o.job for o in ledger.take_during_poll(0.0)] == [2]
    ledger.end_poll()
    ledger.admit([ref(3)])
    ledger.end(outcome(ref(3)))
    assert ledger.take_during_poll(0.0) == []


def test_outcome_during_a_poll_wakes_the_reporter(ledger):
    ledger.admit([ref(1)])
    assert errand(ledger).polls
    taken = []
    thread = threading.Thread(target=lambda: taken.extend(ledger.take_during_poll(LONG_S)))
    thread.start()
    ledger.end(outcome(ref(1)))
    thread.join(PATIENCE_S)
    assert [o.job for o in taken] == [1]


def test_room_wakes_the_contract_loop(ledger):
    ledger.admit([ref(1), ref(2)])
    found = []
    thread = threading.Thread(target=lambda: found.append(errand(ledger, timeout_s=LONG_S)))
    thread.start()
    ledger.forget(ref(2))
    thread.join(PATIENCE_S)
    assert found[0].room == 1


def wait_for_errand(ledger, **wish):
    """Start a thread that waits for an errand; return what it found, and the thread."""
    found = []
    thread = threading.Thread(target=lambda: found.append(errand(ledger, timeout_s=LONG_S, **wish)))
    thread.start()
    return found, thread


@pytest.mark.parametrize("ended", [[1], [1, 2]])
def test_outcome_wakes_the_contract_loop_though_there_is_no_room(ledger, ended):
    ledger.admit([ref(n) for n in range(4)])
    found, thread = wait_for_errand(ledger, capacity=4, refill=4)
    ledger.end(*[outcome(ref(n)) for n in ended])
    thread.join(PATIENCE_S)
    assert [o.job for o in found[0].outcomes] == ended


def test_outcomes_that_come_back_wake_the_contract_loop(ledger):
    ledger.admit([ref(n) for n in range(4)])
    for number in (0, 1):
        ledger.end(outcome(ref(number)))
    batch = errand(ledger, capacity=2).outcomes
    found, thread = wait_for_errand(ledger, capacity=2)
    ledger.put_back(batch)
    thread.join(PATIENCE_S)
    assert [o.job for o in found[0].outcomes] == [0, 1]


def test_waits_end_when_the_agent_does(ledger):
    ledger.admit([ref(1)])
    found, thread = wait_for_errand(ledger, capacity=1)
    ledger.end_waits()
    thread.join(PATIENCE_S)
    assert found == [None]
    assert ledger.take_during_poll(LONG_S) == []


def test_outcome_lingers_until_a_refill_is_due_and_rides_on_it(ledger):
    ledger.admit([ref(n) for n in range(4)])
    found = []
    thread = threading.Thread(
        target=lambda: found.append(errand(ledger, capacity=4, refill=2, linger_s=LONG_S, timeout_s=LONG_S))
    )
    thread.start()
    ledger.end(outcome(ref(0)))
    ledger.end(outcome(ref(1)))
    thread.join(PATIENCE_S)
    assert ([o.job for o in found[0].outcomes], found[0].room) == ([0, 1], 2)


def test_a_poll_waits_for_the_outcome_of_a_quick_job_and_carries_it(ledger):
    ledger.admit([ref(1)])
    found = []
    waiter = threading.Thread(target=lambda: found.append(errand(ledger, 4, patience_s=LONG_S, timeout_s=LONG_S)))
    waiter.start()
    ledger.end(outcome(ref(1)))
    waiter.join(PATIENCE_S)
    assert [sent.job for sent in found[0].outcomes] == [1]
    assert not found[0].polls


def test_a_poll_does_not_wait_for_ever_for_a_job_that_takes_longer(ledger):
    ledger.admit([ref(1)])
    assert errand(ledger, 4, patience_s=0.001).polls


def test_outcome_does_not_linger_for_ever(ledger):
    ledger.admit([ref(n) for n in range(4)])
    ledger.end(outcome(ref(0)))
    found = errand(ledger, capacity=4, refill=2, linger_s=0.001)
    assert ([o.job for o in found.outcomes], found.room) == ([0], 1)


def test_job_that_was_asked_to_stop_is_not_started(ledger):
    ledger.admit([ref(1)])
    assert ledger.ask_to_stop(ref(1), JobState.CANCELLED)
    assert not ledger.start(ref(1))
    assert ledger.stop_asked(ref(1)) is JobState.CANCELLED


def test_first_reason_to_stop_counts(ledger):
    ledger.admit([ref(1)])
    ledger.ask_to_stop(ref(1), JobState.CANCELLED)
    ledger.ask_to_stop(ref(1), JobState.ENQUEUED)
    assert ledger.stop_asked(ref(1)) is JobState.CANCELLED


def test_what_is_not_open_cannot_be_stopped_or_started(ledger):
    assert not ledger.ask_to_stop(ref(1), JobState.CANCELLED)
    assert not ledger.start(ref(1))
    assert ledger.stop_asked(ref(1)) is None


def test_closing_hands_back_what_was_not_started_and_asks_for_nothing(ledger):
    ledger.admit([ref(1), ref(2)])
    ledger.start(ref(1))
    ledger.close()
    found = errand(ledger, capacity=9)
    assert [(o.job, o.state) for o in found.outcomes] == [(2, JobState.ENQUEUED)]
    assert found.room == 0
    assert errand(ledger, capacity=9) is None
    assert ledger.open_refs() == [ref(1)]


def test_jobs_that_come_after_closing_are_handed_back(ledger):
    ledger.close()
    assert ledger.admit([ref(1)]) == set()
    assert [o.state for o in errand(ledger).outcomes] == [JobState.ENQUEUED]


def test_hand_back_open_ends_every_job(ledger):
    ledger.admit([ref(1), ref(2)])
    ledger.start(ref(1))
    assert ledger.hand_back_open() == 2
    assert ledger.wait_until_idle(0.0)


def test_empty_means_no_lease_and_no_poll_that_could_bring_one(ledger):
    assert errand(ledger).polls
    assert not ledger.wait_until_empty(0.0)
    ledger.end_poll()
    assert ledger.wait_until_empty(0.0)
    ledger.admit([ref(1)])
    ledger.end(outcome(ref(1)))
    assert ledger.wait_until_idle(0.0)
    assert not ledger.wait_until_empty(0.0)


def test_on_close_hears_once_of_each_lease_that_is_not_open_any_more(ledger):
    closed = []
    ledger.on_close = closed.extend
    ledger.admit([ref(n) for n in range(1, 5)])
    ledger.end(outcome(ref(1)))
    ledger.end(outcome(ref(1)))
    ledger.forget(ref(2))
    ledger.start(ref(3))
    ledger.close()
    ledger.hand_back_open()
    assert sorted(held.job for held in closed) == [1, 2, 3, 4]


def test_every_outcome_is_delivered_once_with_many_threads_at_work(ledger):
    total = 400
    delivered, lock, done = [], threading.Lock(), threading.Event()
    ledger.admit([ref(n) for n in range(total)])

    def finish(numbers):
        for number in numbers:
            assert ledger.end(outcome(ref(number)))

    def deliver():
        lose = False
        while not done.is_set():
            found = errand(ledger, capacity=1, timeout_s=0.01)
            batch = found.outcomes if found else []
            if found and found.polls:
                batch += ledger.take_during_poll(0.0)
                ledger.end_poll()
            lose = not lose
            if lose:
                ledger.put_back(batch)
                continue
            with lock:
                delivered.extend(o.job for o in batch)
            ledger.settle(map(ref_of, batch))

    workers = [threading.Thread(target=finish, args=(range(n, total, 4),)) for n in range(4)]
    carriers = [threading.Thread(target=deliver) for _ in range(3)]
    for thread in workers + carriers:
        thread.start()
    assert ledger.wait_until_empty(10)
    done.set()
    for thread in workers + carriers:
        thread.join(PATIENCE_S)
    assert sorted(delivered) == list(range(total))


def test_request_waits_at_the_server_only_while_a_slot_is_idle(ledger):
    ledger.admit([ref(1)])
    assert errand(ledger, 8, slots=2).polls
    ledger.end_poll()
    ledger.admit([ref(2)])
    ledger.note_plenty()
    found = errand(ledger, 8, slots=2)
    assert (found.room, found.polls) == (6, False)


def test_poll_asks_for_a_few_jobs_for_each_idle_slot(ledger):
    assert errand(ledger, 100, slots=3, first=4).room == 12
    ledger.admit([ref(1)])
    assert errand(ledger, 100, slots=3, first=4).room == 8
    assert errand(ledger, 6, slots=3, first=4).room == 5


def test_server_that_had_no_more_jobs_is_asked_again_when_a_job_has_ended(ledger):
    ledger.admit([ref(1), ref(2), ref(3)])
    assert errand(ledger, 8, slots=2).room == 5
    assert errand(ledger, 8, slots=2) is None
    ledger.end(outcome(ref(1)))
    assert errand(ledger, 8, slots=2).room == 6


def test_server_that_gave_all_that_was_asked_for_is_asked_again_at_once(ledger):
    ledger.admit([ref(1), ref(2), ref(3)])
    assert errand(ledger, 8, slots=2).room == 5
    ledger.note_plenty()
    assert errand(ledger, 8, slots=2).room == 5


def test_job_that_is_handed_back_is_no_reason_to_ask_for_others(ledger):
    ledger.admit([ref(n) for n in range(5)])
    ledger.hold_off()
    ledger.end(*[hand_back(ref(n)) for n in (3, 4, 9)])
    found = errand(ledger, 8, slots=2)
    assert ([o.state for o in found.outcomes], found.room) == ([JobState.ENQUEUED] * 2, 0)
    assert errand(ledger, 8, slots=2) is None
    ledger.end(outcome(ref(0)))
    assert errand(ledger, 8, slots=2).room == 6


def test_idle_slot_is_filled_though_the_others_hold_off(ledger):
    ledger.admit([ref(1), ref(2)])
    ledger.hold_off()
    ledger.forget(ref(1))
    assert errand(ledger, 8, slots=2).polls


def test_what_is_handed_back_does_not_linger(ledger):
    ledger.admit([ref(n) for n in range(4)])
    ledger.end(outcome(ref(1)))
    found, thread = wait_for_errand(ledger, capacity=4, slots=2, refill=4, linger_s=60.0)
    ledger.end(hand_back(ref(2)))
    thread.join(PATIENCE_S)
    assert [o.job for o in found[0].outcomes] == [1, 2]


def test_outcomes_gather_while_all_slots_are_busy_and_the_server_has_no_jobs(ledger):
    ledger.admit([ref(n) for n in range(4)])
    errand(ledger, 8, slots=2)
    ledger.end(outcome(ref(0)))
    found, thread = wait_for_errand(ledger, capacity=8, slots=2, gather_s=60.0)
    ledger.end(outcome(ref(1)))
    ledger.end(outcome(ref(2)))
    thread.join(PATIENCE_S)
    assert [o.job for o in found[0].outcomes] == [0, 1, 2]


def test_outcome_does_not_gather_when_the_server_probably_has_jobs(ledger):
    ledger.admit([ref(n) for n in range(4)])
    ledger.note_plenty()
    ledger.end(outcome(ref(0)))
    found, thread = wait_for_errand(ledger, capacity=8, slots=2, gather_s=60.0)
    thread.join(PATIENCE_S)
    assert [o.job for o in found[0].outcomes] == [0]


def test_backlog_wakes_who_waits_for_it(ledger):
    assert not ledger.wait_for_more_than(1, 0.0)
    found = []
    thread = threading.Thread(target=lambda: found.append(ledger.wait_for_more_than(1, 60.0)))
    thread.start()
    ledger.admit([ref(1)])
    ledger.admit([ref(2)])
    thread.join(PATIENCE_S)
    assert found == [True]
