"""What is told of tenants: what each has in the queue, how long the oldest waits, and what ended in an hour."""

from typing import Any

import pytest
from house import House, failed, finished

from piecework.server.store.queue.figures import counters
from piecework.server.store.queue.figures.tallies import Tally


def read(house: House) -> dict[str, Any]:
    return {each["name"]: each for each in house.call("GET", "/tenant")["tenants"]}


def test_each_tenant_is_told_with_what_waits_runs_and_ended(house: House):
    lambda_id, worker = house.new_lambda(), house.new_worker()
    for outcome in (finished, finished, failed):
        house.submit(lambda_id, tenant="ana", max_attempts=1)
        house.finish(worker, outcome(house.lease(worker)))
    house.submit(lambda_id, tenant="ana", tags=["+gpu"])
    house.clock.forward(5)
    house.submit(lambda_id, tenant="ana", priority=9)
    house.submit(lambda_id, tenant="ben")
    house.submit(lambda_id)
    house.lease(worker)
    told = {
        name: tuple(each.get(word) for word in ("enqueued", "running", "finished", "failed", "oldest_at"))
        for name, each in read(house).items()
    }
    now = house.clock() / 1000
    assert told == {"ana": (1, 1, 2, 1, now - 5), "ben": (1, 0, 0, 0, now)}


def test_what_ended_longer_than_an_hour_ago_is_not_told(house: House):
    lambda_id, worker = house.new_lambda(), house.new_worker()
    house.submit(lambda_id, tenant="ana")
    house.finish(worker, finished(house.lease(worker)))
    assert read(house)["ana"]["finished"] == 1
    house.clock.forward(3601)
    assert read(house)["ana"]["finished"] == 0


def test_a_weighed_tenant_is_told_with_its_figures(house: House):
    lambda_id, worker = house.new_lambda(), house.new_worker()
    house.submit(lambda_id, tenant="ana")
    house.finish(worker, finished(house.lease(worker)))
    told = house.call("PUT", "/tenant/ana", {"weight": 3})
    assert (told["weight"], told["finished"], "oldest_at" in told) == (3, 1, False)


def test_a_bulk_cancel_of_a_tenants_jobs_is_no_failure(house: House):
    lambda_id = house.new_lambda()
    for _ in range(3):
        house.submit(lambda_id, tenant="ana")
    house.call("POST", "/job/bulk", {"action": "cancel", "where": {"tenant": "ana"}})
    [told] = read(house).values()
    assert (told["enqueued"], told["finished"], told["failed"]) == (0, 0, 0)


def test_counters_of_tenants_are_bounded(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(counters, "TENANTS_MAX", 2)
    for tenants in ([1, 2], [3, 2]):
        tallies = [Tally(7, 0, {"finished": 1}, tenants={number: {"finished": 1}}) for number in tenants]
        house.services.database.write(lambda connection, found=tallies: counters.add_tallies(connection, found))
    with house.services.database.read() as connection:
        found = {each.lambda_id: each.tally for each in counters.read_counters(connection, counters.MINUTE_S, 0)}
    assert found[counters.ALL].tenants == {1: {"finished": 1}, 2: {"finished": 2}}
    assert found[counters.ALL].counts == {"finished": 4}
    assert found[7].tenants == {}
