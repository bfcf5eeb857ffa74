"""New ids."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from server.store.ids import EPOCH_MS, IdSource

NOW = EPOCH_MS + 1_000_000


def test_an_id_carries_its_time_and_its_server():
    id_ = IdSource(5, lambda: NOW).next()
    assert id_ >> 22 == 1_000_000 // 10
    assert (id_ >> 12) & 1023 == 5
    assert id_ & 4095 == 0


def test_ids_rise():
    ids = IdSource(0, lambda: NOW)
    taken = [ids.next() for _ in range(10)] + ids.take(10)
    assert taken == sorted(set(taken))


def test_a_burst_borrows_from_the_future_and_never_repeats():
    ids = IdSource(0, lambda: NOW)
    taken = ids.take(10_000)
    assert taken == sorted(set(taken))
    assert taken[-1] >> 22 == taken[0] >> 22 | 2 or (taken[-1] >> 22) - (taken[0] >> 22) == 2


def test_ids_that_threads_take_at_once_differ():
    ids = IdSource(0, lambda: NOW)
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda _: ids.take(500), range(20)))
    assert len({id_ for part in parts for id_ in part}) == 10_000


def test_a_clock_that_was_set_back_gives_no_id_twice():
    times = iter([NOW, NOW - 60_000, NOW - 60_000, NOW + 10])
    ids = IdSource(0, lambda: next(times))
    taken = [ids.next() for _ in range(4)]
    assert taken == sorted(set(taken))


def test_ids_start_above_those_in_use():
    floor = IdSource(0, lambda: NOW + 3_600_000).next()
    assert IdSource(0, lambda: NOW, floor).next() > floor


def test_two_servers_never_give_the_same_id():
    first, second = IdSource(1, lambda: NOW).take(5000), IdSource(2, lambda: NOW).take(5000)
    assert not set(first) & set(second)


def test_ids_fit_in_64_bits_for_a_century():
    century = EPOCH_MS + 100 * 366 * 24 * 3_600_000
    assert IdSource(1023, lambda: century).next() < 2**63


@pytest.mark.parametrize("number", [-1, 1024])
def test_a_server_number_out_of_range_is_refused(number: int):
    with pytest.raises(ValueError, match="between 0 and 1023"):
        IdSource(number, lambda: NOW)
