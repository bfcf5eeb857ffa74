"""Alive, ready, version, runtimes, figures, and the description of the API."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from house import House
from openapi_spec_validator import validate

import piecework.server
from piecework.protocol.codes import Code
from piecework.protocol.messages import JobList
from piecework.server.api.docs import marked
from piecework.server.api.table import ENDPOINTS
from piecework.server.web.fielddocs import field_docs, member_docs
from piecework.server.web.openapi import wire_path


@pytest.fixture
def fresh_house(tmp_path: Path) -> Iterator[House]:
    """A server whose app has counted nothing yet."""
    house = House(tmp_path / "fresh", fresh=True)
    yield house
    house.close()


def test_ping_healthz_and_version_answer(house: House):
    assert house.call("GET", "/ping") == {"code": 0, "status": "ok", "message": "pong"}
    assert house.call("GET", "/healthz")["message"] == "alive"
    assert house.call("GET", "/sys/version")["version"] == "0.1.0"


def test_the_server_is_ready_while_database_and_blob_store_are_there(house: House):
    assert house.call("GET", "/readyz")["message"] == "ready"


def test_the_server_is_alive_but_not_ready_without_its_blob_store(house: House):
    (house.data / "blobs" / "incoming").rmdir()
    assert house.call("GET", "/readyz", status=503)["code"] == 8
    house.call("GET", "/healthz")


def test_the_server_is_alive_but_not_ready_without_its_database(house: House):
    house.services.database.close()  # so that it must open its files again
    for path in house.data.glob("piecework.db*"):
        path.unlink()
    house.data.joinpath("piecework.db").mkdir()
    assert house.call("GET", "/readyz", status=503)["code"] == 9
    house.call("GET", "/healthz")


def test_runtimes_are_counted_with_their_workers_and_jobs(house: House):
    worker = house.new_worker("wasi", "python+numpy")
    house.new_worker("wasi")
    wasi, numpy = house.new_lambda(runtime="wasi"), house.new_lambda(runtime="python")
    for _ in range(3):
        house.submit(wasi)
    house.submit(numpy, tags=["+gpu"])
    house.submit(house.new_lambda(runtime="nobody-has-it"))
    house.lease(worker)
    assert house.call("GET", "/sys/runt/stat")["runtimes"] == {
        "nobody-has-it": {"workers": 0, "enqueued": 1, "running": 0},
        "python": {"workers": 1, "enqueued": 1, "running": 0},
        "python+numpy": {"workers": 1, "enqueued": 0, "running": 0},
        "wasi": {"workers": 2, "enqueued": 2, "running": 1},
    }


def test_a_worker_that_was_not_heard_of_for_a_minute_offers_nothing(house: House):
    house.new_worker("wasi")
    house.clock.forward(61)
    assert house.call("GET", "/sys/runt/stat")["runtimes"] == {}


def _figures(house: House) -> dict[str, float]:
    text = house.client.get("/metrics").get_data(as_text=True)
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


@pytest.mark.slow
def test_metrics_count_jobs_workers_and_requests(fresh_house: House):
    worker = fresh_house.new_worker()
    lambda_ = fresh_house.new_lambda()
    for _ in range(3):
        fresh_house.submit(lambda_)
    fresh_house.submit(lambda_, delay_s=60)
    fresh_house.lease(worker)
    fresh_house.call("GET", "/job/7", status=404)
    found = _figures(fresh_house)
    assert found['piecework_jobs{state="Enqueued"}'] == 2
    assert found['piecework_jobs{state="Running"}'] == 1
    assert found['piecework_jobs{state="Waiting"}'] == 1
    assert found['piecework_workers{state="busy"}'] == 1
    assert found['piecework_requests_total{method="POST",path="/job",status="200"}'] == 4
    assert found['piecework_requests_total{method="GET",path="/job/<job>",status="404"}'] == 1
    assert found['piecework_request_seconds_count{method="POST",path="/job"}'] == 4
    assert found['piecework_waiting_requests{for="contract"}'] == 0
    assert found["piecework_writes_total"] >= found["piecework_commits_total"] >= 6


def test_metrics_of_unknown_paths_and_methods_share_one_line(fresh_house: House):
    for path in ("/a", "/b", "/c"):
        fresh_house.client.get(path)
    fresh_house.client.open("/job", method="BREW")
    assert _figures(fresh_house)['piecework_request_seconds_count{method="other",path="other"}'] == 4


@pytest.mark.slow
def test_two_apps_count_apart(fresh_house: House, tmp_path: Path):
    other = House(tmp_path / "other", fresh=True)
    other.call("GET", "/ping")
    other.close()
    assert 'piecework_requests_total{method="GET",path="/ping",status="200"}' not in _figures(fresh_house)


@pytest.mark.integration
def test_the_openapi_document_is_valid_and_has_every_endpoint(house: House):
    document = house.call("GET", "/openapi.json")
    validate(document)
    described = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert described == {(each.method, wire_path(each.path)) for each in ENDPOINTS}


def test_the_openapi_document_describes_ids_fields_and_both_encodings(house: House):
    document = house.call("GET", "/openapi.json")
    job = document["components"]["schemas"]["JobInfo"]["properties"]
    assert (job["worker"]["type"], job["worker"]["pattern"]) == ("string", "^[0-9]{1,19}$")
    assert "functio" not in job
    next_page = document["components"]["schemas"]["JobList"]["properties"]["next"]
    assert next_page["description"] == field_docs(JobList)["next"] != ""
    reply = document["paths"]["/job/{job}"]["get"]["responses"]["200"]["content"]
    assert set(reply) == {"application/json", "application/msgpack"}
    parameters = {each["name"]: each for each in document["paths"]["/job/{job}"]["get"]["parameters"]}
    assert parameters["except"]["in"] == "query"
    assert parameters["job"]["in"] == "path"


def test_every_operation_has_a_summary_and_a_name_of_its_own(house: House):
    operations = [each for item in house.call("GET", "/openapi.json")["paths"].values() for each in item.values()]
    assert all(len(each["summary"]) > 10 for each in operations)
    names = [each["operationId"] for each in operations]
    assert len(set(names)) == len(names)


@pytest.mark.slow
def test_the_docs_page_lists_every_endpoint_message_and_code(house: House):
    page = house.client.get("/docs").get_data(as_text=True)
    for each in ENDPOINTS:
        path = wire_path(each.path)
        assert re.search(rf">{each.method}</b> <code>{re.escape(path)}</code>", page), each
    for name in house.call("GET", "/openapi.json")["components"]["schemas"]:
        assert f'id="{name}"' in page
    for code in Code:
        assert code.name in page


def test_templates_are_those_of_the_package(house: House):
    assert Path(house.app.root_path) == Path(piecework.server.__file__).parent


def test_the_docs_page_loads_nothing_but_itself(house: House):
    response = house.client.get("/docs")
    page = response.get_data(as_text=True)
    assert not re.search(r"(src|action)=|https?://|<script|@import|url\(", page)
    assert response.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")
    targets = re.findall(r'href="#([^"]+)"', page)
    assert targets
    assert all(f'id="{target}"' in page for target in targets)


def test_a_browser_that_opens_the_servers_url_is_shown_the_console(house: House):
    response = house.client.get("/", headers={"Accept": "text/html,*/*;q=0.8"})
    assert (response.status_code, response.headers["Location"]) == (302, "console")
    assert house.client.get("/").status_code == 404
    assert house.client.get("/nothing", headers={"Accept": "text/html"}).status_code == 404


def test_every_code_is_explained():
    assert set(member_docs(Code)) == {code.name for code in Code}


@pytest.mark.parametrize(
    ("text", "shown"),
    [("say `a<b` twice", "say <code>a&lt;b</code> twice"), ("``x``", "<code>x</code>"), ("<b>", "&lt;b&gt;")],
)
def test_backticks_become_code_and_nothing_else_becomes_markup(text: str, shown: str):
    assert str(marked(text)) == shown
