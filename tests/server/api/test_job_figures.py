"""Figures of jobs for Prometheus: they only ever rise, and lambdas without end make no labels without end."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from house import House, failed, finished
from prometheus_client.parser import text_string_to_metric_families

from piecework.server.services.queue.figures.totals import NAMES_MAX, OTHER, UNNAMED


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.close()


def scrape(house: House) -> dict[tuple[str, ...], float]:
    """Return each value by its name and labels."""
    text = house.fetch("/metrics").get_data(as_text=True)
    return {
        (sample.name, *(f"{name}={value}" for name, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def run_one(house: House, lambda_id: str, worker: str) -> None:
    house.submit(lambda_id, max_attempts=1)
    house.clock.forward(3)
    house.finish(worker, {**finished(house.lease(worker)), "usage": {"wall_s": 0.3}})


@pytest.mark.slow
def test_what_happens_to_jobs_is_counted_by_lambda(house: House):
    lambda_id, worker = house.new_lambda(name="upper"), house.new_worker()
    run_one(house, lambda_id, worker)
    house.submit(lambda_id, max_attempts=1)
    house.finish(worker, failed(house.lease(worker), kind="trap"))
    found = scrape(house)
    assert found["piecework_jobs_submitted_total", "lambda=upper"] == 2
    assert found["piecework_jobs_started_total", "lambda=upper"] == 2
    assert found["piecework_jobs_ended_total", "lambda=upper", "state=finished"] == 1
    assert found["piecework_jobs_ended_total", "lambda=upper", "state=failed"] == 1
    assert found["piecework_jobs_failed_total", "kind=trap"] == 1
    assert found["piecework_leases_lost_total", "lambda=upper"] == 0
    assert found["piecework_webhook_attempts_total", "outcome=accepted"] == 0


@pytest.mark.slow
def test_histograms_add_up(house: House):
    lambda_id, worker = house.new_lambda(name="upper"), house.new_worker()
    run_one(house, lambda_id, worker)
    found = scrape(house)
    assert found["piecework_job_wait_seconds_bucket", "lambda=upper", "le=6.3"] == 1
    assert found["piecework_job_wait_seconds_bucket", "lambda=upper", "le=2.5"] == 0
    assert found["piecework_job_run_seconds_bucket", "lambda=upper", "le=+Inf"] == 1
    assert found["piecework_job_run_seconds_count", "lambda=upper"] == 1
    assert 0.2 < found["piecework_job_run_seconds_sum", "lambda=upper"] < 0.4


@pytest.mark.slow
def test_counters_begin_at_a_start_and_rise_over_midnight(house: House):
    lambda_id, worker = house.new_lambda(name="upper"), house.new_worker()
    name = ("piecework_jobs_submitted_total", "lambda=upper")
    run_one(house, lambda_id, worker)
    assert scrape(house)[name] == 1
    house.restart()
    assert name not in scrape(house)
    for count in range(1, 5):
        run_one(house, lambda_id, worker)
        assert scrape(house)[name] == count
        house.clock.forward(86_400 * 0.7)


@pytest.mark.slow
def test_only_the_busiest_lambdas_have_labels_and_no_counter_ever_falls(house: House):
    lambdas = [house.new_lambda(name=f"l{number}") for number in range(NAMES_MAX + 10)]
    house.submit(house.new_lambda())
    before: dict[tuple[str, ...], float] = {}
    for turn in range(4):
        made = [lambda_id for number, lambda_id in enumerate(lambdas) for _ in range(1 + (number + 11 * turn) % 7)]
        house.call("POST", "/job", {"jobs": [{"lambda": each, "input": {"text": "x"}} for each in made]})
        found = {key: value for key, value in scrape(house).items() if key[0] == "piecework_jobs_submitted_total"}
        labels = {key[1] for key in found}
        assert len(labels) == NAMES_MAX + 1
        assert f"lambda={OTHER}" in labels
        assert all(value >= before.get(key, 0) for key, value in found.items())
        before |= found


@pytest.mark.slow
def test_lambdas_of_one_name_and_those_without_any_are_counted_together(house: House):
    for name in ("same", "same", None, None):
        house.submit(house.new_lambda(**({"name": name} if name else {})))
    found = scrape(house)
    assert found["piecework_jobs_submitted_total", "lambda=same"] == 2
    assert found["piecework_jobs_submitted_total", f"lambda={UNNAMED}"] == 2
