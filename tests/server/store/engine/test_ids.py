"""New ids."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from piecework.protocol.ids import ID_MAX
from piecework.server.store.engine.ids import (
    EPOCH_MS,
    LOW_BITS,
    SEQUENCE_BITS,
    SERVERS_MAX,
    TICK_MAX,
    TICK_MS,
    IdSource,
    age,
    read_newest,
)

NOW = EPOCH_MS + 1_000_000


def test_an_id_carries_its_time_and_its_server():
    id_ = IdSource(5, lambda: NOW).next()
    assert id_ >> LOW_BITS == 1_000_000 // TICK_MS
    assert (id_ >> SEQUENCE_BITS) & (SERVERS_MAX - 1) == 5
    assert id_ & ((1 << SEQUENCE_BITS) - 1) == 0


def test_ids_rise():
    ids = IdSource(0, lambda: NOW)
    taken = [ids.next() for _ in range(10)] + ids.take(10)
    assert taken == sorted(set(taken))


def test_a_burst_borrows_from_the_future_and_never_repeats():
    ids = IdSource(0, lambda: NOW)
    taken = ids.take(10_000)
    assert taken == sorted(set(taken))
    assert (taken[-1] >> LOW_BITS) - (taken[0] >> LOW_BITS) == 10_000 // 256
    assert IdSource(0, lambda: NOW, taken[-1]).next() > taken[-1], "a restart does not fall back behind the burst"


def test_twenty_thousand_ids_a_second_keep_pace_with_the_clock():
    now = [NOW]
    ids = IdSource(0, lambda: now[0])
    for _ in range(100):
        now[0] += 100
        last = ids.take(2_000)[-1]
    assert last >> LOW_BITS <= (now[0] + 100 - EPOCH_MS) // TICK_MS


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


def test_ids_survive_being_read_as_floating_point_numbers_for_decades():
    late = int(datetime(2107, 1, 1, tzinfo=UTC).timestamp() * 1000)
    for time_ms in (NOW, late):
        for id_ in IdSource(SERVERS_MAX - 1, lambda: time_ms).take(300):  # noqa: B023  # used at once
            assert int(float(id_)) == id_ < 2**53
            assert float(id_) != float(id_ + 1)


def test_a_clock_that_is_absurdly_ahead_is_not_believed():
    times = iter([NOW, EPOCH_MS + (TICK_MAX + 1) * TICK_MS, NOW + 60_000])
    ids = IdSource(0, lambda: next(times))
    taken = [ids.next() for _ in range(3)]
    assert taken == sorted(set(taken))
    assert taken[-1] >> LOW_BITS == (NOW + 60_000 - EPOCH_MS) // TICK_MS


@pytest.mark.parametrize("number", [-1, SERVERS_MAX])
def test_a_server_number_out_of_range_is_refused(number: int):
    with pytest.raises(ValueError, match="between 0 and 127"):
        IdSource(number, lambda: NOW)


OLD = [2**53 + 1, 91322632779071554, ID_MAX - 1]
NEW = [5, 2**53 - 1]


def test_larger_ids_from_before_the_limit_are_older():
    assert sorted([*NEW, *OLD], key=age) == [*OLD, *NEW]


@pytest.mark.parametrize("limit", [1, 2, 3, 10])
def test_pages_go_from_new_ids_to_old_ones(limit: int):
    def read(above: int, below: int, most: int) -> list[int]:
        return sorted((id_ for id_ in [*NEW, *OLD] if above < id_ < below), reverse=True)[:most]

    seen, before = [], ID_MAX
    while page := read_newest(read, before, limit):
        assert len(page) <= limit
        seen += page
        before = page[-1]
    assert seen == [*NEW[::-1], *OLD[::-1]]
