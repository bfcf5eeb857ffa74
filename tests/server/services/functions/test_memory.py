"""What a server keeps in memory of lambdas, workers and jobs: after many as much as after the first."""

import pytest
from house import House, finished
from kept_objects import count_objects

from piecework.server.services.queue.leasing import contracts
from piecework.server.services.queue.submitting import submission
from piecework.server.services.stock import lambdas

ROUND = 3


@pytest.fixture
def _forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few lambdas, workers and plans are remembered, so that there are soon more."""
    monkeypatch.setattr(lambdas, "CACHED", 5)
    monkeypatch.setattr(contracts, "OFFERS_MAX", 5)
    monkeypatch.setattr(submission, "LATEST_MAX", 5)


def do_round(house: House, number: int) -> None:
    """Have new lambdas, workers and jobs, and a lease that nobody renews."""
    for n in range(ROUND):
        codex = house.client.post(
            "/data", data=b"code %d %d" % (number, n), content_type="application/octet-stream"
        )
        lambda_ = house.new_lambda(codex=codex.get_json()["id"])
        worker = house.new_worker()
        house.submit(lambda_, env={"N": f"{number} {n}"})
        house.finish(worker, finished(house.lease(worker)))
        house.contract(worker, timeout=0.001)  # it waits, in vain
    job = house.submit(lambda_)
    house.lease(worker)
    house.clock.forward(16)
    house.move_on()
    house.call("DELETE", f"/job/{job}")
    house.call("DELETE", f"/worker/{worker}")


@pytest.mark.slow
@pytest.mark.usefixtures("_forgetful")
def test_a_server_keeps_no_more_after_many_jobs(house: House):
    counts = []
    for number in range(12):
        do_round(house, number)
        counts.append(count_objects(house.services))
    assert max(counts[6:]) < max(counts[:6]) + 5, "not even one object more in each round"


@pytest.mark.usefixtures("_forgetful")
def test_a_contract_tells_all_of_its_lambdas_while_others_are_forgotten(house: House):
    worker, all_ids = house.new_worker(), []
    for number in range(12):
        codex = house.client.post("/data", data=b"code %d" % number, content_type="application/octet-stream")
        all_ids.append(house.new_lambda(codex=codex.get_json()["id"]))
        for lambda_ in all_ids[-7:]:
            house.submit(lambda_)
        told = house.contract(worker, max=10)["lambdas"]
        assert {each["id"]: bool(each["codex_checksum"]) for each in told} == dict.fromkeys(all_ids[-7:], True)
