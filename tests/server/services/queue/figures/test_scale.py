"""What autoscalers are told: jobs that are ready and run, slots that there are, and slots that could be of use."""

from typing import Any

import pytest
from house import House, finished
from prometheus_client.parser import text_string_to_metric_families

from piecework.server.services.queue.figures import depths, scale
from piecework.server.services.queue.figures.scale import count_wanted


def read(house: House, query: str = "") -> dict[str, Any]:
    found: dict[str, Any] = house.call("GET", f"/scale?{query}")
    return found


def pick(house: House, query: str, *words: str) -> tuple[Any, ...]:
    found = read(house, query)
    return tuple(found.get(word) for word in words)


def test_nothing_to_do_wants_no_slots(house: House):
    house.new_worker(slots=3)
    found = read(house)
    assert {word: found[word] for word in ("enqueued", "running", "oldest_s", "slots", "free", "wanted")} == {
        "enqueued": 0, "running": 0, "oldest_s": 0, "slots": 3, "free": 3, "wanted": 0,
    }  # fmt: skip
    assert "counted_at" not in found
    assert "run_s" not in found


def test_each_job_that_is_ready_or_runs_wants_a_slot(house: House):
    lambda_id, worker = house.new_lambda(), house.new_worker(slots=2)
    for _ in range(3):
        house.submit(lambda_id)
    house.submit(lambda_id, delay_s=1000)
    house.clock.forward(7)
    house.lease(worker)
    words = ("enqueued", "running", "oldest_s", "slots", "free", "wanted")
    assert pick(house, "", *words) == (2, 1, 7, 2, 1, 3)


def test_jobs_are_told_by_lambda_runtime_and_tenant(house: House):
    one, other = house.new_lambda(name="one"), house.new_lambda(name="other", runtime="wasi")
    house.submit(one, tenant="ana")
    house.clock.forward(5)
    house.submit(one)
    house.submit(other, tenant="ana")
    worker = house.new_worker("wasi", slots=4)
    words = ("enqueued", "oldest_s", "slots", "wanted")
    assert pick(house, "lambda=one", *words) == (2, 5, 0, 2)
    assert pick(house, f"lambda={other}", *words) == (1, 0, 4, 1)
    assert pick(house, "runtime=wasi", *words) == (1, 0, 4, 1)
    assert pick(house, "tenant=ana", *words) == (2, 5, 4, 2)
    assert pick(house, "lambda=one&tenant=ana", *words) == (1, 5, 0, 1)
    assert pick(house, "tenant=nobody", *words) == (0, 0, 4, 0)
    house.lease(worker)
    assert pick(house, "lambda=other", "enqueued", "running", "free", "wanted") == (0, 1, 3, 1)


def test_an_agent_with_more_features_is_for_runtimes_with_fewer(house: House):
    house.submit(house.new_lambda(runtime="wasi"))
    house.submit(house.new_lambda(runtime="wasi+http"))
    house.new_worker("wasi+http")
    assert pick(house, "runtime=wasi", "wanted", "slots") == (1, 1)
    assert pick(house, "runtime=wasi%2Bhttp", "wanted", "slots") == (2, 1)


def test_only_workers_that_take_jobs_and_may_run_them_have_slots(house: House):
    lambda_id = house.new_lambda(name="big", tags=["+gpu", "-old"])
    house.new_worker(tags=["gpu"])
    house.new_worker(tags=["gpu", "old"])
    house.new_worker()
    drains, ill = house.new_worker(tags=["gpu"]), house.new_worker(tags=["gpu"])
    house.call("POST", f"/worker/{drains}/drain", {})
    house.contract(ill, max=0, trouble="No space left on device", incarnation="x")
    assert pick(house, "lambda=big", "slots", "free") == (1, 1)
    assert pick(house, "", "slots") == (3,)
    house.submit(lambda_id)
    house.clock.forward(61)
    assert pick(house, "", "slots", "wanted") == (0, 1)


def test_what_is_paused_wants_no_slots(house: House):
    house.submit(house.new_lambda(name="up", runtime="wasi"))
    house.submit(house.new_lambda(), tenant="ana")
    house.call("PUT", "/hold/runtime/wasi", {})
    assert pick(house, "", "enqueued", "wanted") == (1, 1)
    assert pick(house, "lambda=up", "enqueued", "oldest_s", "wanted") == (0, 0, 0)
    house.call("PUT", "/hold/tenant/ana", {})
    assert pick(house, "", "wanted") == (0,)


def test_within_a_time_fewer_slots_do_for_quick_jobs(house: House):
    lambda_id, worker = house.new_lambda(name="quick"), house.new_worker()
    house.new_lambda(name="never")
    house.submit(lambda_id)
    house.finish(worker, {**finished(house.lease(worker)), "usage": {"wall_s": 2.0}})
    for _ in range(100):
        house.submit(lambda_id)
    run_s, wanted = pick(house, "lambda=quick&within_s=20", "run_s", "wanted")
    assert run_s == pytest.approx(2, rel=0.3)
    assert wanted == count_wanted(100, run_s, 20)
    assert pick(house, "within_s=20", "run_s", "wanted") == (run_s, wanted)
    assert pick(house, "runtime=default&within_s=20", "run_s", "wanted") == (run_s, wanted)
    assert pick(house, "lambda=never&within_s=20", "run_s", "wanted") == (None, 0)
    house.clock.forward(2 * 3600)
    assert pick(house, "lambda=quick&within_s=20", "run_s", "wanted") == (None, 100)


@pytest.mark.parametrize(
    ("count", "run_s", "within_s", "wanted"),
    [
        (0, 2, 60, 0),
        (100, None, 60, 100),
        (100, 2, None, 100),
        (100, 2, 60, 4),
        (1, 0.001, 60, 1),
        (5, 900, 60, 5),
    ],
)
def test_wanted_slots_follow_from_run_times(count: int, run_s: float | None, within_s: float | None, wanted: int):
    assert count_wanted(count, run_s, within_s) == wanted


def test_what_is_asked_for_wrongly_is_refused(house: House):
    house.new_worker("lua")
    house.new_lambda(runtime="ruby")
    assert "no lambda named 'nil'" in house.call("GET", "/scale?lambda=nil", status=404)["message"]
    assert "did you mean wasi?" in house.call("GET", "/scale?runtime=wsai", status=422)["message"]
    for known in ("wasi", "wasi%2Bhttp", "lua", "ruby"):
        read(house, f"runtime={known}")
    house.call("GET", "/scale?tenant=%20x", status=422)
    for within in ("0", "-1", "nan", "inf", "1e9", "soon"):
        house.call("GET", f"/scale?within_s={within}", status=400)
    house.call("GET", "/scale?lamda=1", status=400)


def test_a_long_queue_is_counted_by_lambda_now_and_then(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(depths, "QUICK", 3)
    lambda_id = house.new_lambda(name="up")
    for _ in range(3):
        house.submit(lambda_id)
    assert pick(house, "lambda=up", "enqueued", "counted_at") == (3, None)
    house.submit(lambda_id)
    house.clock.forward(1)
    assert pick(house, "lambda=up", "enqueued", "counted_at") == (3, house.clock() / 1000 - 1)
    house.services.scale.refresh()
    assert pick(house, "lambda=up", "enqueued", "counted_at") == (4, house.clock() / 1000)


def scrape(house: House) -> dict[tuple[str, str], float]:
    text = house.fetch("/metrics").get_data(as_text=True)
    return {
        (sample.name, sample.labels["runtime"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("piecework_scale_")
    }


@pytest.mark.slow
def test_prometheus_is_told_the_same_by_runtime(house: House):
    house.submit(house.new_lambda(runtime="wasi"))
    house.clock.forward(4)
    house.new_worker("wasi+http", slots=2)
    found = scrape(house)
    assert found["piecework_scale_wanted_slots", "wasi"] == found["piecework_scale_enqueued", "wasi"] == 1
    assert found["piecework_scale_oldest_seconds", "wasi"] == 4
    assert found["piecework_scale_free_slots", "wasi"] == found["piecework_scale_slots", "wasi"] == 2
    assert found["piecework_scale_wanted_slots", "wasi+http"] == 0


@pytest.mark.slow
def test_runtimes_without_end_make_no_series_without_end(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scale, "RUNTIMES_MAX", 2)
    for name, count in (("a", 1), ("b", 3), ("c", 2), ("d", 1)):
        for _ in range(count):
            house.submit(house.new_lambda(runtime=name))
    house.new_worker("a", "b", slots=5)
    found = scrape(house)
    assert {name for _, name in found} == {"b", "c", "other"}
    assert found["piecework_scale_wanted_slots", "other"] == 2
    assert found["piecework_scale_slots", "other"] == 5
