"""One job by itself takes few statements: each is a part of the time that its submitter waits."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from house import House, finished
from places import Place
from sqlalchemy import event


@pytest.fixture
def house(sqlite_place: Place) -> Iterator[House]:
    house = House(sqlite_place.data)
    yield house
    house.close()


@pytest.fixture
def statements(house: House) -> list[str]:
    """What the database is told from now on."""
    heard: list[str] = []
    database = house.services.database
    event.listen(database.engine, "connect", lambda opened, _: opened.set_trace_callback(heard.append))
    database.close()  # so that it connects anew
    return heard


def test_one_job_takes_few_statements(house: House, statements: list[str]):
    worker, lambda_ = house.new_worker(), house.new_lambda()
    poll, pause = {"max": 1, "timeout": 20}, threading.Event()
    for _ in range(2):  # the first time, more has to be read
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(house.app.test_client().post, f"/worker/{worker}/contract", json=poll)
            while not any(each.take_turn for each in list(house.services.waiters._parked)):
                pause.wait(0.001)
                assert not asked.done()
            statements.clear()
            house.call("POST", "/job?wait=0&output=inline", {"lambda": lambda_, "input": {"text": "x"}})
        [leased] = asked.result().get_json()["jobs"]
        submitted = list(statements)
        statements.clear()
        house.contract(worker, outcomes=[finished({"job": leased["job"], "lease": leased["lease"]})])
    assert len(submitted) <= 16, "\n".join(submitted)
    assert len(statements) <= 12, "\n".join(statements)
