import pytest
from lessons import leased_job, teach

from piecework.worker_agent.jobs.leases.outbox import ref_of
from piecework.worker_agent.jobs.leases.prefetching import (
    BYTES_AHEAD,
    LAMBDAS_MAX,
    LONG_S,
    STUCK_S,
    WORK_AHEAD_S,
    Prefetching,
)


def hungry(slots, prefetch=200):
    """Prefetching whose clock stands still."""
    return Prefetching(slots, prefetch, lambda: 0.0)


def ahead(prefetching):
    """How many jobs are wanted that cannot run at once."""
    demand = prefetching.demand()
    return demand.capacity - demand.slots


def refill_share(prefetching, wall_s):
    """How much of what is held ahead is gone when more jobs like this are asked for."""
    teach(prefetching, wall_s)
    return prefetching.demand().refill / ahead(prefetching)


def test_nothing_is_held_ahead_before_the_first_job_has_ended():
    prefetching = hungry(slots=4, prefetch=8)
    demand = prefetching.demand()
    assert (demand.capacity, demand.slots, demand.first) == (4, 4, 1)
    prefetching.take_up([leased_job()])
    assert ahead(prefetching) == 0


def test_short_jobs_are_held_ahead_up_to_the_prefetch():
    prefetching = hungry(slots=2, prefetch=9)
    teach(prefetching, 0.0005)
    demand = prefetching.demand()
    assert (demand.capacity, demand.slots) == (2 + 2 * 9, 2)


def test_more_is_asked_for_sooner_when_what_may_be_held_ahead_is_little_work():
    assert refill_share(hungry(slots=2, prefetch=12), 0.010) == 2 / 3
    assert refill_share(hungry(slots=2, prefetch=9), 0.010) == 1 / 3
    assert refill_share(hungry(slots=2, prefetch=9), 0.0005) == 1 / 3


@pytest.mark.parametrize("slots", [1, 2])
def test_so_much_work_is_held_ahead_that_an_exchange_is_worth_it(slots):
    prefetching = hungry(slots)
    teach(prefetching, 0.010)
    assert ahead(prefetching) == slots * round(WORK_AHEAD_S / 0.010)


def test_none_is_held_ahead_of_jobs_that_take_longer_than_all_that_may_wait():
    prefetching = hungry(slots=3, prefetch=48)
    teach(prefetching, WORK_AHEAD_S)
    assert ahead(prefetching) == 3
    teach(prefetching, WORK_AHEAD_S * 1.1, WORK_AHEAD_S * 1.1)
    demand = prefetching.demand()
    assert (demand.capacity, demand.refill, demand.first) == (3, 1, 1)


def test_no_prefetch_means_none():
    prefetching = hungry(slots=3, prefetch=0)
    teach(prefetching, 0.001)
    assert ahead(prefetching) == 0


def test_each_lambda_has_an_estimate_of_its_own():
    prefetching = hungry(slots=1)
    teach(prefetching, *[0.0001] * 100, lambda_=1)
    teach(prefetching, *[0.05] * 10, lambda_=2)
    assert ahead(prefetching) == int(WORK_AHEAD_S / 0.05), "the last contract brought jobs of the second"
    prefetching.take_up([leased_job(lambda_=1)])
    assert ahead(prefetching) == 200
    prefetching.take_up([leased_job(lambda_=1), leased_job(lambda_=2)])
    assert ahead(prefetching) == int(WORK_AHEAD_S / 0.02505)


def test_lambda_that_never_ran_is_not_taken_for_the_one_before():
    prefetching = hungry(slots=1)
    teach(prefetching, *[0.0001] * 100, lambda_=1)
    prefetching.take_up([leased_job(lambda_=2)])
    assert ahead(prefetching) <= 1


def test_new_lambdas_are_expected_to_be_like_new_lambdas_were():
    prefetching = hungry(slots=1)
    for lambda_ in range(1, 60):
        teach(prefetching, 0.0001, lambda_=lambda_)
    prefetching.take_up([leased_job(lambda_=100)])
    assert ahead(prefetching) > 20


def test_after_a_pause_a_few_are_asked_for_though_the_last_ones_were_quick():
    prefetching = hungry(slots=2)
    teach(prefetching, 0.0001)
    assert prefetching.demand().first == 4
    teach(prefetching, 0.1, lambda_=2)
    assert prefetching.demand().first == 2


def test_a_rare_long_job_does_not_make_a_lambda_long():
    prefetching = hungry(slots=1)
    teach(prefetching, *[0.001] * 50, 60.0)
    assert ahead(prefetching) >= 3
    teach(prefetching, *[0.001] * 20)
    assert ahead(prefetching) >= 30


def test_lambda_whose_jobs_are_all_long_is_long():
    prefetching = hungry(slots=1)
    teach(prefetching, *[0.001] * 50)
    teach(prefetching, *[1.0] * 8)
    assert ahead(prefetching) == 0


def test_only_the_lambdas_that_ran_last_are_remembered():
    prefetching = hungry(slots=1)
    for lambda_ in range(1, LAMBDAS_MAX + 2):
        teach(prefetching, 0.0001, lambda_=lambda_)
        teach(prefetching, 0.03, lambda_=2)
    assert len(prefetching._usual) == LAMBDAS_MAX
    assert 1 not in prefetching._usual
    assert 2 in prefetching._usual


def test_jobs_that_are_not_held_any_more_are_forgotten():
    prefetching = hungry(slots=1)
    teach(prefetching, *[0.1] * 50)
    job = leased_job(lambda_=3)
    prefetching.take_up([job])
    prefetching.let_go([ref_of(job)])
    prefetching.observe(ref_of(job), 0.001)
    prefetching.let_go([ref_of(job)])
    assert 3 not in prefetching._usual
    assert prefetching.find_surplus() == 0


def test_surplus_is_what_would_have_to_wait_for_twice_as_long_as_was_meant():
    prefetching = hungry(slots=2)
    teach(prefetching, 0.01)
    meant = 2 * round(WORK_AHEAD_S / 0.01)
    prefetching.take_up([leased_job() for _ in range(2 * meant)])
    assert prefetching.find_surplus() == 0
    prefetching.take_up([leased_job() for _ in range(10)])
    assert prefetching.find_surplus() == pytest.approx(8 + meant, abs=1)


def test_jobs_of_a_lambda_that_never_ran_are_no_surplus():
    prefetching = hungry(slots=1)
    prefetching.take_up([leased_job() for _ in range(100)])
    assert prefetching.find_surplus() == 0


def test_patience_is_that_of_the_jobs_that_are_held():
    prefetching = hungry(slots=1)
    assert prefetching.patience_s() == STUCK_S
    teach(prefetching, 0.001)
    assert prefetching.patience_s() == STUCK_S
    teach(prefetching, 0.12, lambda_=2)
    assert prefetching.patience_s() == pytest.approx(0.24)
    teach(prefetching, LONG_S, lambda_=3)
    assert prefetching.patience_s() == STUCK_S, "none of these was to wait behind another"


def test_sick_agent_holds_one_job_until_one_has_run():
    prefetching = hungry(slots=2, prefetch=8)
    teach(prefetching, 0.001)
    prefetching.sicken()
    assert prefetching.demand().capacity == 1
    teach(prefetching, 0.001)
    assert prefetching.demand().capacity == 18


def test_large_inputs_are_not_held_ahead_by_the_dozen():
    prefetching = hungry(slots=1, prefetch=100)
    teach(prefetching, 0.001)
    prefetching.take_up([leased_job(input_size=BYTES_AHEAD // 4) for _ in range(40)])
    assert ahead(prefetching) == 4
    prefetching.take_up([leased_job(input_size=100 * BYTES_AHEAD) for _ in range(40)])
    assert ahead(prefetching) == 1, "the next one is fetched while this one runs"


def end_at(prefetching, clock, jobs, *, every_s, wall_s):
    """Let jobs end one after the other that waited for each other."""
    prefetching.take_up(jobs)
    for job in jobs:
        clock.forward(every_s)
        prefetching.observe(ref_of(job), wall_s)
        prefetching.let_go([ref_of(job)])


def test_jobs_that_occupy_a_slot_for_longer_than_they_run_are_not_held_for_longer(clock):
    prefetching = Prefetching(1, 200, clock)
    end_at(prefetching, clock, [leased_job() for _ in range(50)], every_s=0.003, wall_s=0.001)
    assert ahead(prefetching) == pytest.approx(WORK_AHEAD_S / 0.003, abs=1)


def test_slots_that_work_side_by_side_do_not_make_jobs_seem_short(clock):
    prefetching = Prefetching(4, 200, clock)
    end_at(prefetching, clock, [leased_job() for _ in range(50)], every_s=0.0025, wall_s=0.01)
    assert ahead(prefetching) == pytest.approx(4 * WORK_AHEAD_S / 0.01, abs=4)


def test_slots_that_are_taken_by_long_jobs_leave_room_for_fewer_short_ones(clock):
    prefetching = Prefetching(4, 200, clock)
    end_at(prefetching, clock, [leased_job() for _ in range(50)], every_s=0.001, wall_s=0.001)
    assert ahead(prefetching) == pytest.approx(WORK_AHEAD_S / 0.001, abs=4)


def test_pauses_between_jobs_are_no_drag(clock):
    prefetching = Prefetching(1, 200, clock)
    for _ in range(20):
        end_at(prefetching, clock, [leased_job()], every_s=1.0, wall_s=0.001)
    assert ahead(prefetching) == round(WORK_AHEAD_S / 0.001)


def test_one_long_gap_is_not_taken_for_the_rule(clock):
    prefetching = Prefetching(1, 200, clock)
    end_at(prefetching, clock, [leased_job() for _ in range(50)], every_s=0.001, wall_s=0.001)
    end_at(prefetching, clock, [leased_job() for _ in range(2)], every_s=60.0, wall_s=0.001)
    assert ahead(prefetching) >= 20


def test_what_short_jobs_lose_on_their_way_does_not_make_other_lambdas_long(clock):
    prefetching = Prefetching(1, 200, clock)
    end_at(prefetching, clock, [leased_job() for _ in range(50)], every_s=0.0005, wall_s=0.0001)
    teach(prefetching, 0.01, lambda_=2)
    assert ahead(prefetching) == pytest.approx(WORK_AHEAD_S / 0.0104, abs=1)
