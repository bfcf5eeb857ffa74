"""Several agents at one queue, in a simulation: nobody holds too much, nobody starves, and exchanges stay few."""

import random

import pytest
from fleet import Fleet
from tries import tries

SHORT_S, LONG_S, NOOP_S = 0.001, 1.0, 0.0001


def quantile(values, share):
    return sorted(values)[round(share * (len(values) - 1))]


def held(fleet, ids, share):
    """How long that share of the jobs was held without running, at most."""
    return quantile([fleet.held_s[id_] for id_ in ids], share)


def mix(seed, short=2000, long=20):
    durations = [SHORT_S] * short + [LONG_S] * long
    random.Random(seed).shuffle(durations)
    return durations


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(tries(5)))
def test_short_jobs_are_not_held_behind_long_ones_of_their_lambda(seed):
    fleet = Fleet(agents=4)
    fleet.submit([SHORT_S] * 100)
    fleet.run()
    ids = fleet.submit(mix(seed))
    took_s = fleet.run()
    shorts = [id_ for id_ in ids if fleet.durations[id_] == SHORT_S]
    assert held(fleet, shorts, 0.99) < 0.2
    assert took_s < 1.35 * (2000 * SHORT_S + 20 * LONG_S) / 4
    assert max(fleet.leases[id_] for id_ in ids) <= 12


@pytest.mark.parametrize("seed", range(tries(5)))
def test_short_jobs_that_arrive_steadily_go_to_agents_that_are_free(seed):
    fleet = Fleet(agents=4)
    fleet.submit([SHORT_S] * 100)
    fleet.run()
    dice, shorts = random.Random(seed), []

    def arrive():
        durations = [SHORT_S] * 5
        if len(shorts) % 100 == 0:
            durations += [LONG_S] * 2
        dice.shuffle(durations)
        shorts.extend(id_ for id_ in fleet.submit(durations) if fleet.durations[id_] == SHORT_S)

    for tick in range(200):
        fleet.after(tick * 0.05, arrive)
    fleet.submit([SHORT_S])
    fleet.after(10.1, lambda: None)
    while len(fleet.ended_at) < len(fleet.durations) or len(shorts) < 1000:
        fleet.submit([SHORT_S])
        fleet.run()
    assert held(fleet, shorts, 0.99) < 0.15
    assert held(fleet, shorts, 0.5) < 0.02


@pytest.mark.slow
def test_noops_come_by_the_hundred():
    fleet = Fleet(agents=2)
    fleet.submit([NOOP_S] * 100)
    fleet.run()
    before = fleet.exchanges
    fleet.submit([NOOP_S] * 10_000)
    fleet.run()
    assert fleet.exchanges - before < 10_000 / 110


@pytest.mark.slow
def test_noops_of_a_new_lambda_cost_only_a_few_exchanges_more():
    fleet = Fleet(agents=2)
    fleet.submit([NOOP_S] * 10_000)
    fleet.run()
    assert fleet.exchanges < 10_000 / 110 + 4


@pytest.mark.parametrize("lambda_", [1, 2])
def test_jobs_of_10_ms_after_noops_keep_both_agents_at_work(lambda_):
    fleet = Fleet(agents=2)
    fleet.submit([NOOP_S] * 2000, lambda_=1)
    fleet.run()
    before = fleet.exchanges
    fleet.submit([0.01] * 200, lambda_=lambda_)
    assert fleet.run() < 1.0 / 0.93
    assert fleet.exchanges - before < 40


def test_jobs_that_follow_noops_in_one_queue_do_not_stay_with_one_agent():
    """They come with a contract that was meant for no-ops."""
    fleet = Fleet(agents=2)
    fleet.submit([NOOP_S] * 1000, lambda_=1)
    fleet.submit([0.01] * 200, lambda_=2)
    assert fleet.run() < 1.2


def test_long_jobs_are_spread_over_idle_agents():
    fleet = Fleet(agents=4)
    fleet.submit([NOOP_S] * 1000, lambda_=1)
    fleet.run()
    fleet.submit([LONG_S] * 8, lambda_=2)
    assert fleet.run() < 2.3


def test_jobs_of_many_new_lambdas_are_not_leased_one_by_one():
    fleet = Fleet(agents=1)
    for number in range(1000):
        fleet.submit([NOOP_S], lambda_=number)
    fleet.run()
    assert fleet.exchanges < 60


@pytest.mark.parametrize("seed", range(tries(5)))
def test_one_agent_with_many_slots_holds_no_job_for_long(seed):
    fleet = Fleet(agents=2, slots=4)
    fleet.submit([SHORT_S] * 100)
    fleet.run()
    ids = fleet.submit(mix(seed, long=40))
    took_s = fleet.run()
    assert held(fleet, [id_ for id_ in ids if fleet.durations[id_] == SHORT_S], 0.99) < 0.3
    assert took_s < 1.3 * (2000 * SHORT_S + 40 * LONG_S) / 8
