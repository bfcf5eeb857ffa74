import pytest
from lessons import leased_job, teach

from worker_agent.jobs.appetite import (
    BYTES_AHEAD,
    LAMBDAS_MAX,
    LONG_S,
    STUCK_S,
    WORK_AHEAD_S,
    Appetite,
)
from worker_agent.jobs.outbox import ref_of


def hungry(slots, prefetch=200):
    """An appetite whose clock stands still."""
    return Appetite(slots, prefetch, lambda: 0.0)


def ahead(appetite):
    """How many jobs are wanted that cannot run at once."""
    wish = appetite.wish()
    return wish.capacity - wish.slots


def test_nothing_is_held_ahead_before_the_first_job_has_ended():
    appetite = hungry(slots=4, prefetch=8)
    wish = appetite.wish()
    assert (wish.capacity, wish.slots, wish.first) == (4, 4, 1)
    appetite.take_up([leased_job()])
    assert ahead(appetite) == 0


def test_short_jobs_are_held_ahead_up_to_the_prefetch():
    appetite = hungry(slots=2, prefetch=9)
    teach(appetite, 0.0005)
    wish = appetite.wish()
    assert (wish.capacity, wish.slots, wish.refill) == (2 + 2 * 9, 2, 12)


@pytest.mark.parametrize("slots", [1, 2])
def test_so_much_work_is_held_ahead_that_an_exchange_is_worth_it(slots):
    appetite = hungry(slots)
    teach(appetite, 0.010)
    assert ahead(appetite) == slots * round(WORK_AHEAD_S / 0.010)


def test_none_is_held_ahead_of_jobs_that_take_longer_than_all_that_may_wait():
    appetite = hungry(slots=3, prefetch=48)
    teach(appetite, WORK_AHEAD_S)
    assert ahead(appetite) == 3
    teach(appetite, WORK_AHEAD_S * 1.1, WORK_AHEAD_S * 1.1)
    wish = appetite.wish()
    assert (wish.capacity, wish.refill, wish.first) == (3, 1, 1)


def test_no_prefetch_means_none():
    appetite = hungry(slots=3, prefetch=0)
    teach(appetite, 0.001)
    assert ahead(appetite) == 0


def test_each_lambda_has_an_estimate_of_its_own():
    appetite = hungry(slots=1)
    teach(appetite, *[0.0001] * 100, lambda_=1)
    teach(appetite, *[0.05] * 10, lambda_=2)
    assert ahead(appetite) == int(WORK_AHEAD_S / 0.05), "the last contract brought jobs of the second"
    appetite.take_up([leased_job(lambda_=1)])
    assert ahead(appetite) == 200
    appetite.take_up([leased_job(lambda_=1), leased_job(lambda_=2)])
    assert ahead(appetite) == int(WORK_AHEAD_S / 0.02505)


def test_lambda_that_never_ran_is_not_taken_for_the_one_before():
    appetite = hungry(slots=1)
    teach(appetite, *[0.0001] * 100, lambda_=1)
    appetite.take_up([leased_job(lambda_=2)])
    assert ahead(appetite) <= 1


def test_new_lambdas_are_expected_to_be_like_new_lambdas_were():
    appetite = hungry(slots=1)
    for lambda_ in range(1, 60):
        teach(appetite, 0.0001, lambda_=lambda_)
    appetite.take_up([leased_job(lambda_=100)])
    assert ahead(appetite) > 20


def test_after_a_pause_a_few_are_asked_for_though_the_last_ones_were_quick():
    appetite = hungry(slots=2)
    teach(appetite, 0.0001)
    assert appetite.wish().first == 4
    teach(appetite, 0.1, lambda_=2)
    assert appetite.wish().first == 2


def test_a_rare_long_job_does_not_make_a_lambda_long():
    appetite = hungry(slots=1)
    teach(appetite, *[0.001] * 50, 60.0)
    assert ahead(appetite) >= 3
    teach(appetite, *[0.001] * 20)
    assert ahead(appetite) >= 30


def test_lambda_whose_jobs_are_all_long_is_long():
    appetite = hungry(slots=1)
    teach(appetite, *[0.001] * 50)
    teach(appetite, *[1.0] * 8)
    assert ahead(appetite) == 0


def test_only_the_lambdas_that_ran_last_are_remembered():
    appetite = hungry(slots=1)
    for lambda_ in range(1, LAMBDAS_MAX + 2):
        teach(appetite, 0.0001, lambda_=lambda_)
        teach(appetite, 0.03, lambda_=2)
    assert len(appetite._usual) == LAMBDAS_MAX
    assert 1 not in appetite._usual
    assert 2 in appetite._usual


def test_jobs_that_are_not_held_any_more_are_forgotten():
    appetite = hungry(slots=1)
    teach(appetite, *[0.1] * 50)
    job = leased_job(lambda_=3)
    appetite.take_up([job])
    appetite.let_go([ref_of(job)])
    appetite.observe(ref_of(job), 0.001)
    appetite.let_go([ref_of(job)])
    assert 3 not in appetite._usual
    assert appetite.find_surplus() == 0


def test_surplus_is_what_would_have_to_wait_for_twice_as_long_as_was_meant():
    appetite = hungry(slots=2)
    teach(appetite, 0.01)
    meant = 2 * round(WORK_AHEAD_S / 0.01)
    appetite.take_up([leased_job() for _ in range(2 * meant)])
    assert appetite.find_surplus() == 0
    appetite.take_up([leased_job() for _ in range(10)])
    assert appetite.find_surplus() == pytest.approx(8 + meant, abs=1)


def test_jobs_of_a_lambda_that_never_ran_are_no_surplus():
    appetite = hungry(slots=1)
    appetite.take_up([leased_job() for _ in range(100)])
    assert appetite.find_surplus() == 0


def test_patience_is_that_of_the_jobs_that_are_held():
    appetite = hungry(slots=1)
    assert appetite.patience_s() == STUCK_S
    teach(appetite, 0.001)
    assert appetite.patience_s() == STUCK_S
    teach(appetite, 0.12, lambda_=2)
    assert appetite.patience_s() == pytest.approx(0.24)
    teach(appetite, LONG_S, lambda_=3)
    assert appetite.patience_s() == STUCK_S, "none of these was to wait behind another"


def test_sick_agent_holds_one_job_until_one_has_run():
    appetite = hungry(slots=2, prefetch=8)
    teach(appetite, 0.001)
    appetite.sicken()
    assert appetite.wish().capacity == 1
    teach(appetite, 0.001)
    assert appetite.wish().capacity == 18


def test_large_inputs_are_not_held_ahead_by_the_dozen():
    appetite = hungry(slots=1, prefetch=100)
    teach(appetite, 0.001)
    appetite.take_up([leased_job(input_size=BYTES_AHEAD // 4) for _ in range(40)])
    assert ahead(appetite) == 4
    appetite.take_up([leased_job(input_size=100 * BYTES_AHEAD) for _ in range(40)])
    assert ahead(appetite) == 1, "the next one is fetched while this one runs"


def end_at(appetite, clock, jobs, *, every_s, wall_s):
    """Let jobs end one after the other that waited for each other."""
    appetite.take_up(jobs)
    for job in jobs:
        clock.pass_s(every_s)
        appetite.observe(ref_of(job), wall_s)
        appetite.let_go([ref_of(job)])


def test_jobs_that_occupy_a_slot_for_longer_than_they_run_are_not_held_for_longer(clock):
    appetite = Appetite(1, 200, clock)
    end_at(appetite, clock, [leased_job() for _ in range(50)], every_s=0.003, wall_s=0.001)
    assert ahead(appetite) == pytest.approx(WORK_AHEAD_S / 0.003, abs=1)


def test_slots_that_work_side_by_side_do_not_make_jobs_seem_short(clock):
    appetite = Appetite(4, 200, clock)
    end_at(appetite, clock, [leased_job() for _ in range(50)], every_s=0.0025, wall_s=0.01)
    assert ahead(appetite) == pytest.approx(4 * WORK_AHEAD_S / 0.01, abs=4)


def test_slots_that_are_taken_by_long_jobs_leave_room_for_fewer_short_ones(clock):
    appetite = Appetite(4, 200, clock)
    end_at(appetite, clock, [leased_job() for _ in range(50)], every_s=0.001, wall_s=0.001)
    assert ahead(appetite) == pytest.approx(WORK_AHEAD_S / 0.001, abs=4)


def test_pauses_between_jobs_are_no_drag(clock):
    appetite = Appetite(1, 200, clock)
    for _ in range(20):
        end_at(appetite, clock, [leased_job()], every_s=1.0, wall_s=0.001)
    assert ahead(appetite) == round(WORK_AHEAD_S / 0.001)


def test_one_long_gap_is_not_taken_for_the_rule(clock):
    appetite = Appetite(1, 200, clock)
    end_at(appetite, clock, [leased_job() for _ in range(50)], every_s=0.001, wall_s=0.001)
    end_at(appetite, clock, [leased_job() for _ in range(2)], every_s=60.0, wall_s=0.001)
    assert ahead(appetite) >= 20


def test_what_short_jobs_lose_on_their_way_does_not_make_other_lambdas_long(clock):
    appetite = Appetite(1, 200, clock)
    end_at(appetite, clock, [leased_job() for _ in range(50)], every_s=0.0005, wall_s=0.0001)
    teach(appetite, 0.01, lambda_=2)
    assert ahead(appetite) == pytest.approx(WORK_AHEAD_S / 0.0104, abs=1)
