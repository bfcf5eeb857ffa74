from piecework.backoff import Pauses, pause_after
from piecework.client import Busy


def test_a_pause_doubles_with_each_failure_up_to_a_bound():
    assert [pause_after(failures, 0.5, 5.0) for failures in (1, 2, 3, 4, 5, 100_000)] == [0.5, 1, 2, 4, 5, 5]


def test_pauses_double_up_to_a_bound():
    pauses = Pauses(lambda: 1.0, first_s=0.2, longest_s=1.0)
    assert [pauses.next_s() for _ in range(5)] == [0.2, 0.4, 0.8, 1.0, 1.0]


def test_pause_is_a_random_share_of_its_bound():
    shares = iter([0.0, 0.5, 0.25])
    pauses = Pauses(lambda: next(shares), first_s=0.2, longest_s=10.0)
    assert [pauses.next_s() for _ in range(3)] == [0.0, 0.2, 0.2]


def test_pauses_start_over_after_a_reset():
    pauses = Pauses(lambda: 1.0)
    pauses.next_s()
    pauses.next_s()
    pauses.reset()
    assert pauses.next_s() == 0.2


def test_server_that_asks_for_more_time_gets_it_up_to_the_cap():
    pauses = Pauses(lambda: 0.0, longest_s=10.0)
    assert pauses.next_s(Busy(503, 7, "busy", retry_after_s=3.0)) == 3.0
    assert pauses.next_s(Busy(503, 7, "busy", retry_after_s=3600.0)) == 10.0
    assert pauses.next_s(Busy(503, 7, "busy")) == 0.0
