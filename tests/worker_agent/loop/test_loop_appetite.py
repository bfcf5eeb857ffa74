from worker_agent.loop.appetite import BYTES_AHEAD, LONG_S, Appetite


def test_nothing_is_held_ahead_before_the_first_job_has_ended():
    assert Appetite(slots=4, prefetch=8).wish().capacity == 4


def test_short_jobs_are_held_ahead_up_to_the_prefetch():
    appetite = Appetite(slots=2, prefetch=8)
    appetite.observe(0.0005)
    wish = appetite.wish()
    assert (wish.capacity, wish.refill) == (2 + 2 * 8, 8)


def test_as_many_are_held_ahead_as_fill_a_few_round_trips():
    appetite = Appetite(slots=2, prefetch=48)
    appetite.observe(0.010)
    assert appetite.wish().capacity == 2 + 2 * 5
    appetite.observe(0.010)
    assert appetite.wish().capacity == 2 + 2 * 5


def test_one_is_held_ahead_of_jobs_of_a_second_and_none_of_long_ones():
    appetite = Appetite(slots=3, prefetch=48)
    appetite.observe(1.0)
    assert appetite.wish().capacity == 6
    appetite = Appetite(slots=3, prefetch=48)
    appetite.observe(LONG_S + 0.1)
    assert (appetite.wish().capacity, appetite.wish().refill) == (3, 1)


def test_no_prefetch_means_none():
    appetite = Appetite(slots=3, prefetch=0)
    appetite.observe(0.001)
    assert appetite.wish().capacity == 3


def test_jobs_that_got_stuck_end_holding_ahead_until_jobs_are_short_again():
    appetite = Appetite(slots=1, prefetch=8)
    appetite.observe(0.001)
    appetite.lose()
    assert appetite.wish().capacity == 1
    for _ in range(10):
        appetite.observe(0.001)
    assert appetite.wish().capacity > 1


def test_large_inputs_are_not_held_ahead_by_the_dozen():
    appetite = Appetite(slots=1, prefetch=100)
    appetite.observe(0.001)
    for _ in range(40):
        appetite.observe_input(BYTES_AHEAD // 4)
    assert appetite.wish().capacity == 1 + 4
    for _ in range(40):
        appetite.observe_input(100 * BYTES_AHEAD)
    assert appetite.wish().capacity == 1 + 1, "the next one is fetched while this one runs"
