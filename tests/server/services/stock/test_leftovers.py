"""What nothing uses any more goes."""

import io

import pytest
from house import House, finished
from places import Place

from piecework.server.services.stock import leftovers

DAY_S = 86_400.0


def upload(house: House, content: bytes = b"x") -> str:
    reply = house.client.post("/data", data={"file": (io.BytesIO(content), "f")})
    return str(reply.get_json()["id"])


def sweep(house: House, kind: str) -> None:
    while getattr(house.services.leftovers, f"sweep_{kind}")():
        pass


def has_blob(house: House, id_: str) -> bool:
    return bool(house.call("GET", f"/data/{id_}", status=None)["code"] == 0)


def end(house: House, lambda_id: str, **fields: object) -> int:
    job = house.submit(lambda_id, **fields)
    worker = house.new_worker()
    house.finish(worker, finished(house.lease(worker)))
    return int(job)


def test_an_upload_that_nothing_uses_goes_after_its_time(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(leftovers, "STEP", 2)
    unused = [upload(house) for _ in range(5)]
    code, given = upload(house), upload(house)
    job = end(house, house.new_lambda(codex=code), input=given, retain_s="never")
    house.clock.forward(7 * DAY_S - 1)
    sweep(house, "uploads")
    assert all(has_blob(house, each) for each in unused)
    house.clock.forward(2)
    young = upload(house)
    sweep(house, "uploads")
    assert [has_blob(house, each) for each in (*unused, code, given, young)] == [False] * 5 + [True] * 3
    house.services.removal.remove([job])
    assert not has_blob(house, given), "it was old, and went with the last job that named it"


def test_a_young_upload_outlives_the_jobs_that_named_it(house: House):
    given = upload(house)
    house.services.removal.remove([end(house, house.new_lambda(), input=given)])
    assert has_blob(house, given)
    house.clock.forward(8 * DAY_S)
    sweep(house, "uploads")
    assert not has_blob(house, given)


def test_uploads_may_stay_for_ever(place: Place):
    settings = {"retain_uploads": "never"}
    house = House(place.data, database_url=place.database_url, settings=settings)
    given, unused = upload(house), upload(house)
    job = end(house, house.new_lambda(), input=given)
    house.clock.forward(1000 * DAY_S)
    house.services.removal.remove([job])
    sweep(house, "uploads")
    assert [has_blob(house, each) for each in (given, unused)] == [True, True]
    house.close()


def test_empty_lanes_go_and_come_again(house: House):
    lambda_id = house.new_lambda()
    house.submit(lambda_id, tags=["+kept"])
    gone = end(house, lambda_id)
    house.services.removal.remove([gone])
    sweep(house, "lanes")
    assert _count(house, "lanes") == 1
    end(house, lambda_id)
    assert _count(house, "lanes") == 2


def test_workers_that_are_gone_long_are_forgotten(house: House):
    idle, busy = house.new_worker(), house.new_worker()
    house.submit(house.new_lambda())
    house.lease(busy)
    house.clock.forward(30 * DAY_S + 1)
    young = house.new_worker()
    sweep(house, "workers")
    house.call("GET", f"/worker/{idle}", status=404)
    for worker in (busy, young):
        assert house.call("GET", f"/worker/{worker}")["id"] == worker


def test_a_deleted_lambda_goes_with_the_last_of_its_jobs_and_its_code_with_it(house: House):
    code = upload(house)
    lambda_id = house.new_lambda(codex=code)
    job = end(house, lambda_id)
    house.call("DELETE", f"/lambda/{lambda_id}")
    house.clock.forward(8 * DAY_S)
    sweep(house, "lambdas")
    assert house.call("GET", f"/job/{job}?view=full")["lambda"]["id"] == lambda_id
    assert house.fetch(f"/data/{lambda_id}/blob").data == b"x"
    house.services.removal.remove([job])
    sweep(house, "lambdas")
    assert _count(house, "lambdas") == 0
    assert not has_blob(house, code)


def _count(house: House, table: str) -> int:
    with house.services.database.read() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())
