"""Ids by how they end, for people who type them."""

import pytest
from house import House
from sqlalchemy import text

from piecework.server.store.engine.tables import jobs
from piecework.server.store.stock.endings import FOUND_MAX


def test_an_id_is_found_by_its_end(house: House):
    lambda_, worker = house.new_lambda(), house.new_worker()
    job = house.submit(lambda_)
    blob = house.call("GET", f"/job/{job}")["input"]["id"]
    for kind, id_ in {"job": job, "lambda": lambda_, "worker": worker, "data": blob}.items():
        for digits in (6, 8, len(str(id_))):
            found = house.call("GET", f"/ids?kind={kind}&ends={str(id_)[-digits:]}")["ids"]
            assert str(id_) in found, (kind, digits)
            assert all(each.endswith(str(id_)[-digits:]) for each in found)


def test_an_end_means_one_kind_of_thing(house: House):
    lambda_ = house.new_lambda()
    assert house.call("GET", f"/ids?kind=job&ends={str(lambda_)[-8:]}")["ids"] == []


def test_zeros_at_the_front_of_an_end_count(house: House):
    job = str(house.submit(house.new_lambda()))
    assert house.call("GET", f"/ids?kind=job&ends=0000000{job[-3:]}")["ids"] == []


def test_a_few_of_many_are_told_newest_first(house: House):
    lambda_ = house.new_lambda()
    job = house.submit(lambda_)
    columns = ", ".join(each.name for each in jobs.c if each.name != "id")
    copy = f"INSERT INTO jobs (id, {columns}) SELECT id + 1000000 * :number, {columns} FROM jobs WHERE id = :job"
    with house.services.database.engine.begin() as connection:
        connection.execute(text(copy), [{"number": each, "job": job} for each in range(1, 2 * FOUND_MAX)])
    found = list(map(int, house.call("GET", f"/ids?kind=job&ends={str(job)[-6:]}")["ids"]))
    assert found == [int(job) + 10**6 * number for number in reversed(range(FOUND_MAX, 2 * FOUND_MAX))]


def test_an_end_may_be_longer_than_any_id(house: House):
    job = str(house.submit(house.new_lambda()))
    for ends in ("9" * 19, str(2**63), str(2**63 - 1)):
        assert house.call("GET", f"/ids?kind=job&ends={ends}")["ids"] == []
        assert house.fetch(f"/console/jobs?q={ends}").status_code == 200
    assert house.call("GET", f"/ids?kind=job&ends={job.zfill(19)}")["ids"] == [job]


@pytest.mark.parametrize(
    "query", ["kind=job", "kind=job&ends=12345", "kind=job&ends=12345a", "kind=blob&ends=123456"]
)
def test_what_is_no_end_of_an_id_is_refused(house: House, query: str):
    assert house.call("GET", f"/ids?{query}", status=400)["code"] == 3
