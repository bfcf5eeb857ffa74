"""The pages on PostgreSQL: what they ask of the database is asked there, too."""

from collections.abc import Iterator

import pytest
from console import Browser
from house import House, failed
from places import Place

from piecework.server.pages.queue.jobs import FIELDS

pytestmark = pytest.mark.integration


@pytest.fixture
def house(postgres_place: Place) -> Iterator[House]:
    house = House(postgres_place.data, postgres_place.database_url, {"console_acts": True})
    yield house
    house.close()


def test_lists_filters_and_bulk_work_do_the_same(house: House, browser: Browser):
    lambda_id, worker = house.new_lambda(name="crash"), house.new_worker()
    ids = [house.submit(lambda_id, max_attempts=1, args=["--needle"]) for _ in range(3)]
    house.finish(worker, *(failed(house.lease(worker), "trap", "no such file") for _ in ids))
    for path in (
        "",
        "/jobs",
        "/jobs/failures",
        f"/jobs/{ids[0]}",
        "/limits",
        "/storage?count=1",
        "/audit",
        "/groups",
    ):
        browser.get(f"/console{path}")
    for name, *_ in FIELDS:
        text = {"worker": worker, "kind": "trap", "since": "1h", "before": "0s"}.get(name, "x")
        browser.get(f"/console/jobs?state=failed&{name}={text}")
    page = browser.get("/console/jobs?state=failed&text=--NEEDLE")
    assert all(f"/console/jobs/{id_}" in page.links for id_ in ids)
    assert "no such file" in browser.get("/console/jobs/failures?text=such").text
    counted = browser.send(page, "/console/jobs/act", whom="all", action="retry")
    done = browser.send(counted, "/console/jobs/act/do")
    assert "3 jobs are run again" in done.text
    again = browser.send(done, "/console/jobs/undo")
    assert "3 jobs are cancelled" in browser.send(again, "/console/jobs/undo/do").text
