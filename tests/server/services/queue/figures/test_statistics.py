"""Counters: every way of a job is counted once, whoever adds the tallies up, and no job is looked at for it."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from house import House, failed, finished
from hypothesis import given, strategies as st

from piecework.server.services.queue.figures.statistics import find_quantiles
from piecework.server.store.engine.tables.counters import counters
from piecework.server.store.queue.figures import counters as store
from piecework.server.store.queue.figures.tallies import BOUNDS_MS, Tally, sort_times


def read(house: House, query: str = "") -> Any:
    return house.call("GET", f"/stats?{query}")


def counts(figures: Any) -> dict[str, int]:
    """Return what is not 0 of counts."""
    names = ("submitted", "started", "finished", "failed", "cancelled", "retried", "lost")
    return {name: figures[name] for name in names if figures[name]}


def test_every_way_of_a_job_is_counted(house: House):
    lambda_id, worker = house.new_lambda(name="upper"), house.new_worker()
    house.submit(lambda_id)
    house.finish(worker, finished(house.lease(worker)))
    house.submit(lambda_id, max_attempts=2, backoff={"kind": "none"})
    house.finish(worker, failed(house.lease(worker)))
    house.finish(worker, failed(house.lease(worker), kind="trap"))
    house.call("DELETE", f"/job/{house.submit(lambda_id)}")
    house.submit(lambda_id)
    house.finish(worker, {**house.lease(worker), "state": "Enqueued"})
    house.lease(worker)
    house.clock.forward(60)
    house.move_on()
    total = read(house)["total"]
    assert counts(total) == {
        "submitted": 4, "started": 5, "finished": 1, "failed": 1, "cancelled": 1, "retried": 1, "lost": 1,
    }  # fmt: skip
    assert total["kinds"] == {"trap": 1}
    [of_lambda] = read(house)["lambdas"]
    assert (of_lambda["lambda"], of_lambda["lambda_name"]) == (lambda_id, "upper")
    assert counts(of_lambda) == counts(total)


def test_a_job_that_takes_its_workers_down_fails_with_its_kind(house: House):
    lambda_id, worker = house.new_lambda(), house.new_worker()
    house.submit(lambda_id)
    for _ in range(house.services.settings.vanished_max + 1):
        house.lease(worker)
        house.clock.forward(60)
        house.move_on()
    total = read(house)["total"]
    assert counts(total) == {"submitted": 1, "started": 4, "failed": 1, "lost": 4}
    assert total["kinds"] == {"worker": 1}


def test_times_are_those_from_submit_or_due_time_to_start_and_of_the_last_attempt(house: House):
    lambda_id, worker = house.new_lambda(), house.new_worker()
    house.submit(lambda_id)
    house.clock.forward(3)
    lease = house.lease(worker)
    house.clock.forward(5)
    house.finish(worker, finished(lease))
    house.submit(lambda_id, delay_s=1000)
    house.clock.forward(1003)
    house.move_on()
    lease = house.lease(worker)
    house.finish(worker, {**finished(lease), "usage": {"wall_s": 0.05}})
    total = read(house)["total"]
    assert total["wait"]["count"] == 2
    assert 2.5 <= total["wait"]["p99_s"] <= 4
    assert 0.04 <= total["run"]["p50_s"] <= 0.063
    assert 4 <= total["run"]["p99_s"] <= 6.3


def test_a_job_that_is_handed_back_has_waited_once(house: House):
    worker = house.new_worker()
    house.submit(house.new_lambda())
    for _ in range(3):
        house.finish(worker, {**house.lease(worker), "state": "Enqueued"})
    assert read(house)["total"]["started"] == 3
    assert read(house)["total"]["wait"]["count"] == 1


def test_a_job_that_waited_for_another_has_no_time_of_waiting(house: House):
    lambda_id, worker = house.new_lambda(), house.new_worker()
    first = house.submit(lambda_id)
    house.submit(lambda_id, after=[first])
    house.clock.forward(100)
    house.finish(worker, finished(house.lease(worker)))
    house.lease(worker)
    assert read(house)["total"]["wait"]["count"] == 1
    assert read(house)["total"]["started"] == 2


@pytest.mark.parametrize(("period", "step_s", "steps"), [
    ("hour", 60, 60), ("day", 900, 96), ("week", 3600, 168), ("month", 86_400, 30),
])  # fmt: skip
def test_each_period_has_its_steps(house: House, period: str, step_s: int, steps: int):
    lambda_id = house.new_lambda()
    house.submit(lambda_id)
    house.clock.forward(step_s)
    house.submit(lambda_id)
    house.submit(lambda_id)
    found = read(house, f"period={period}")
    assert found["step_s"] == step_s
    assert [point["at"] % step_s for point in found["points"]] == [0] * steps
    assert [point["submitted"] for point in found["points"]] == [0] * (steps - 2) + [1, 2]
    house.clock.forward(step_s * steps)
    assert counts(read(house, f"period={period}")["total"]) == {}


def test_figures_of_a_lambda_are_its_own_and_of_a_name_those_of_all_that_have_it(house: House):
    old, new, other = house.new_lambda(name="a"), house.new_lambda(name="a"), house.new_lambda(name="b")
    for each in (old, new, new, other):
        house.submit(each)
    assert read(house)["total"]["submitted"] == 4
    assert [each["submitted"] for each in read(house)["lambdas"]] == [2, 1, 1]
    assert read(house, "lambda=a")["total"]["submitted"] == 3
    assert read(house, f"lambda={other}")["total"]["submitted"] == 1
    assert len(read(house, "lambdas=1")["lambdas"]) == 1
    house.call("GET", "/stats?lambda=missing", status=404)
    house.call("GET", "/stats?period=year", status=400)
    house.call("GET", "/stats?peroid=day", status=400)
    house.call("GET", "/stats?lambdas=201", status=400)


def test_what_is_refused_is_not_counted(house: House):
    lambda_id = house.new_lambda()
    house.submit(lambda_id)
    jobs = [{"lambda": lambda_id, "input": {"text": "x"}}, {"lambda": lambda_id, "input": {"id": "9"}}]
    house.call("POST", "/job", {"jobs": jobs}, status=None)
    assert read(house)["total"]["submitted"] == 1


@pytest.mark.slow
def test_many_transactions_at_once_lose_nothing(house: House):
    lambda_id = house.new_lambda()

    def submit(_: int) -> None:
        client = house.app.test_client()
        assert client.post("/job", json={"lambda": lambda_id, "input": {"text": "x"}}).status_code == 200
        house.services.feed.number()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(submit, range(64)))
    assert read(house)["total"]["submitted"] == 64


def test_a_batch_makes_a_handful_of_rows(house: House):
    lambda_id = house.new_lambda()
    jobs = [{"lambda": lambda_id, "input": {"text": str(each)}} for each in range(1000)]
    house.call("POST", "/job", {"jobs": jobs})
    assert read(house)["total"]["submitted"] == 1000
    with house.services.database.read() as connection:
        rows = connection.exec_driver_sql(f"SELECT count(*) FROM {counters}").scalar_one()
    assert rows == 2 * len(store.KEPT_S)


def test_lambdas_beyond_the_bound_are_counted_together(house: House):
    minute = house.clock() // 60_000
    tallies = [Tally(id_, minute, {"submitted": 1}) for id_ in range(1, store.LAMBDAS_MAX + 11)]
    house.services.database.write(lambda connection: store.add_tallies(connection, tallies))
    house.services.database.write(lambda connection: store.add_tallies(connection, tallies))
    found = read(house, "lambdas=200")
    assert found["total"]["submitted"] == 2 * (store.LAMBDAS_MAX + 10)
    assert (found["lambdas"][0]["submitted"], found["lambdas"][0].get("lambda")) == (20, None)


def test_old_counters_are_forgotten(house: House):
    house.submit(house.new_lambda())
    read(house)
    house.services.statistics.forget()
    assert read(house)["total"]["submitted"] == 1
    house.clock.forward(16 * store.DAY_S)
    house.services.statistics.forget()
    assert read(house, "period=month")["total"]["submitted"] == 1
    with house.services.database.read() as connection:
        rows = connection.exec_driver_sql(f"SELECT DISTINCT unit_s FROM {counters}").fetchall()
    assert [tuple(row) for row in rows] == [(store.DAY_S,)]


@given(st.lists(st.integers(min_value=1, max_value=10**9), min_size=1, max_size=50))
def test_quantiles_lie_within_a_class_of_the_true_ones(times: list[int]):
    buckets = sort_times(times)
    ordered = sorted(times)
    for share, found in zip((0.5, 0.9, 0.99), find_quantiles(buckets), strict=True):
        true_ms = ordered[max(0, -(-len(ordered) * share // 1).__int__() - 1)]
        assert true_ms / 2 <= found * 1000 + 0.001 <= true_ms * 2


def test_bounds_rise_and_take_every_time():
    assert list(BOUNDS_MS) == sorted(set(BOUNDS_MS))
    assert sort_times([-5]) == {0: 1}
    assert find_quantiles(sort_times([10**12]))[0] == BOUNDS_MS[-1] / 1000
    assert find_quantiles({}) == []
