"""What wakes contracts for jobs of other servers: what was announced, and looks for what was not."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from house import House
from places import Place

from piecework.server.services.queue.schedules.timekeeper import SHARED_TICK_S
from piecework.server.services.queue.waiting.waiting import ContractWaiter

pytestmark = pytest.mark.integration
WAITING = 100


class Pair:
    """Two servers of one database; at the other one contracts wait for jobs."""

    def __init__(self, place: Place, stack: ExitStack) -> None:
        self.near, self.other = (House(place.data / name, place.database_url) for name in ("near", "other"))
        for house in (self.near, self.other):
            stack.callback(house.close)
        self.announced: list[dict[int, int]] = []
        self.near.services.database.announce = lambda enqueued: self.announced.append(dict(enqueued))  # type: ignore[method-assign]
        self.lambda_ = self.near.new_lambda()
        self.now_s = 1000.0
        self.keeper: Any = self.other.services.timekeeper
        self.keeper._now_s = lambda: self.now_s
        self.keeper.move_on()  # its first look
        parked = (self.other.services.waiters.park(number, lambda _: True) for number in range(WAITING))
        self.waiters: list[ContractWaiter] = [stack.enter_context(each) for each in parked]

    def count_woken(self) -> int:
        self.keeper.move_on()
        return WAITING - len(self.other.services.waiters._parked)


@pytest.fixture
def pair(postgres_place: Place) -> Iterator[Pair]:
    with ExitStack() as stack:
        yield Pair(postgres_place, stack)


def submit(pair: Pair, count: int) -> None:
    pair.near.call("POST", "/job", {"jobs": [{"lambda": pair.lambda_}] * count})


def test_as_many_contracts_look_as_jobs_were_announced(pair: Pair):
    submit(pair, 3)
    [hint] = pair.announced
    assert list(hint.values()) == [3]
    pair.keeper.hear(hint)
    assert pair.count_woken() == 3
    assert pair.count_woken() == 3
    pair.keeper.hear(hint)
    pair.keeper.hear(hint)
    assert pair.count_woken() == 9


def test_a_job_whose_hint_got_lost_is_found_at_the_next_look(pair: Pair):
    submit(pair, 3)
    assert pair.count_woken() == 0
    pair.now_s += SHARED_TICK_S
    assert pair.count_woken() == 3


def test_many_look_at_a_job_that_stays_although_some_looked(pair: Pair):
    submit(pair, 1)
    pair.now_s += SHARED_TICK_S
    assert pair.count_woken() == 1
    pair.now_s += SHARED_TICK_S
    assert pair.count_woken() == 65


def test_a_hint_of_any_lane_has_it_look_at_once(pair: Pair):
    submit(pair, 2)
    pair.keeper.hear(None)
    assert pair.count_woken() == 2


def test_jobs_for_which_contracts_wait_here_are_not_announced_to_others(pair: Pair):
    near = pair.near.services.waiters
    with near.park(1, lambda _: True), near.park(2, lambda _: True):
        submit(pair, 2)
        assert pair.announced == []
        submit(pair, 2)
        assert [list(each.values()) for each in pair.announced] == [[2]]


def test_ends_of_jobs_are_announced_without_lanes(pair: Pair):
    id_ = pair.near.submit(pair.lambda_)
    pair.announced.clear()
    pair.near.call("DELETE", f"/job/{id_}")
    assert pair.announced == [{}]
