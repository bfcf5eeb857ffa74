"""How deep the queue is: a long one is counted now and then, and how old the count is is told."""

import pytest
from house import House

from piecework.server.services.queue.figures import depths


@pytest.fixture
def long_queue(house: House, monkeypatch: pytest.MonkeyPatch) -> House:
    """A server for which three jobs are many."""
    monkeypatch.setattr(depths, "QUICK", 3)
    lambda_id = house.new_lambda()
    for _ in range(2):
        house.submit(lambda_id)
    house.submit(lambda_id, delay_s=1000)
    return house


def count(house: House) -> tuple[int, int, float | None]:
    """Return how many jobs are enqueued and wait, and how many seconds ago they were counted; None: just now."""
    found = house.call("GET", "/sys/status")
    at = found.get("counted_at")
    return found["enqueued"], found["waiting"], None if at is None else round(found["at"] - at, 3)


def test_a_short_queue_is_counted_whenever_somebody_asks(house: House):
    lambda_id = house.new_lambda()
    for number in range(1, 4):
        house.submit(lambda_id)
        assert count(house) == (number, 0, None)


def test_a_long_queue_is_counted_now_and_then_and_the_age_is_told(long_queue: House):
    assert count(long_queue) == (2, 1, None)
    long_queue.submit(long_queue.new_lambda())
    long_queue.clock.forward(0.5)
    long_queue.services.depths.refresh()
    assert count(long_queue) == (2, 1, 0.5)
    long_queue.clock.forward(1)
    long_queue.services.depths.refresh()
    assert count(long_queue) == (3, 1, 0)


def test_nobody_counts_a_long_queue_for_which_nobody_asks(long_queue: House):
    count(long_queue)
    long_queue.clock.forward(1)
    long_queue.services.depths.refresh()
    long_queue.submit(long_queue.new_lambda())
    long_queue.clock.forward(1.5)
    long_queue.services.depths.refresh()
    assert count(long_queue) == (2, 1, 1.5)


def test_where_nobody_refreshes_a_reader_counts(long_queue: House):
    count(long_queue)
    long_queue.submit(long_queue.new_lambda())
    long_queue.clock.forward(4)
    assert count(long_queue) == (3, 1, None)


def test_a_queue_that_became_short_is_counted_at_once_again(long_queue: House):
    count(long_queue)
    worker = long_queue.new_worker()
    for _ in range(2):
        long_queue.lease(worker)
    long_queue.clock.forward(1)
    long_queue.services.depths.refresh()
    assert count(long_queue) == (0, 1, None)


def test_running_jobs_are_counted_at_once_beside_a_long_queue(long_queue: House):
    count(long_queue)
    long_queue.lease(long_queue.new_worker())
    assert long_queue.call("GET", "/sys/status")["running"] == 1
    [stats] = long_queue.call("GET", "/sys/runt/stat")["runtimes"].values()
    assert (stats["enqueued"], stats["running"]) == (2, 1)
