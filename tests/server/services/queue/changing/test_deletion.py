"""Deleting lambdas."""

import io
from concurrent.futures import ThreadPoolExecutor

import pytest
from house import House, finished
from places import Place

from piecework.server.errors import LambdaNotFound


def test_a_deleted_lambda_takes_no_jobs_and_is_in_no_list(house: House):
    kept, gone = house.new_lambda(name="kept"), house.new_lambda(name="gone")
    assert house.call("DELETE", f"/lambda/{gone}")["message"] == f"lambda {gone} is deleted"
    for ref in (gone, "gone", f"gone@{gone}"):
        assert house.call("POST", "/job", {"lambda": ref}, status=404)["code"] == 701
        house.call("GET", f"/lambda/{ref}", status=404)
        house.call("DELETE", f"/lambda/{ref}", status=404)
    assert [each["id"] for each in house.call("GET", "/lambda")["lambdas"]] == [kept]


def test_the_name_of_a_deleted_lambda_means_the_one_before(house: House):
    older, newer = house.new_lambda(name="upper"), house.new_lambda(name="upper")
    house.call("DELETE", "/lambda/upper")
    assert house.call("GET", "/lambda/upper")["id"] == older
    house.call("GET", f"/lambda/{newer}", status=404)


def test_a_lambda_stays_while_jobs_of_it_have_not_ended(house: House):
    lambda_id, worker = house.new_lambda(), house.new_worker()
    for _ in range(3):
        house.submit(lambda_id)
    lease = house.lease(worker)
    reply = house.call("DELETE", f"/lambda/{lambda_id}", status=409)
    assert reply["code"] == 703
    assert "3 jobs of it have not ended" in reply["message"]
    house.finish(worker, finished(lease))
    reply = house.call("DELETE", f"/lambda/{lambda_id}?cancel=true")
    assert reply["message"].endswith("and 2 of its jobs cancelled")
    assert house.state(lease["job"]) == "Finished"


def test_a_lambda_of_which_a_function_is_made_stays(house: House):
    code = house.client.post("/data", data={"file": (io.BytesIO(b"code"), "f")}).get_json()["id"]
    lambda_id = house.new_lambda(codex=code, mode="http")
    house.call("PUT", "/deployments/hola/blue", {"lambda": lambda_id})
    reply = house.call("DELETE", f"/lambda/{lambda_id}", status=409)
    assert "hola/blue" in reply["message"]
    house.call("DELETE", "/deployments/hola")
    house.call("DELETE", f"/lambda/{lambda_id}")


def test_of_two_that_delete_at_once_one_is_told_that_there_is_nothing(house: House):
    lambda_id = house.new_lambda()
    found = house.services.lambdas.get(int(lambda_id))

    def delete(_: int) -> bool:
        try:
            house.services.deletion.delete(found, cancel=True, who=None)
        except LambdaNotFound:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(delete, range(4))) == [False, False, False, True]


@pytest.mark.integration
def test_another_servers_lambdas_are_read_anew(postgres_place: Place):
    house = House(postgres_place.data, postgres_place.database_url)
    lambda_id = house.new_lambda()
    house.submit(lambda_id)
    other = House(house.data / "other", database_url=house.database_url, clock=house.clock)
    other.call("DELETE", f"/lambda/{lambda_id}?cancel=true")
    house.clock.forward(10)
    refused = house.call("POST", "/job", {"lambda": lambda_id}, status=404)
    assert lambda_id in refused["message"]
    other.close()
    house.close()
