"""Requests that wait without a thread: what they wait for, their time, a stop or a leaving caller ends them."""

import json
import re
from concurrent.futures import Future

import pytest
from house import House
from patience import PATIENCE_S, until
from werkzeug.test import EnvironBuilder, run_wsgi_app

from piecework.http.requests import HELD, HOLD, WATCH
from piecework.protocol.states import JobState
from piecework.server.services.core import REAL_SLEEP
from piecework.server.services.queue.waiting.pauses import Pause, Places, Waiter
from piecework.server.services.queue.waiting.waiting import JobWatch
from piecework.server.web import holding
from piecework.server.web.holding import ENDS_KEPT, Holder


class Asked:
    """A request to a server that can hold it."""

    def __init__(self, house: House, method: str, path: str, body=None):
        self._answer: Future = Future()
        self.tells = []
        self.environ = EnvironBuilder(path, method=method, json=body).get_environ()
        self.environ |= {HOLD: self._take, WATCH: self.tells.append}
        self.is_held = house.app(self.environ, lambda *_: None) is HELD

    def _take(self, response):
        pieces, status, headers = run_wsgi_app(response, self.environ)
        self._answer.set_result((int(status[:3]), headers, json.loads(b"".join(pieces))))

    @property
    def is_answered(self):
        return self._answer.done()

    def answer(self):
        """Return status, headers and message of the answer, once it came."""
        return self._answer.result(PATIENCE_S)


COUNT = 'piecework_requests_total{method="POST",path="/worker/<worker>/contract",status="200"}'


@pytest.fixture
def held_at_once(monkeypatch):
    monkeypatch.setattr(holding, "BRIEFLY_MAX", 0)


@pytest.fixture
def house(tmp_path, held_at_once, monkeypatch):
    house = House(tmp_path / "data")
    monkeypatch.setitem(house.app.extensions, "piecework-holder", Holder())
    yield house
    house.close()


def poll(house: House, worker: str, timeout_s: float = 20.0) -> Asked:
    return Asked(house, "POST", f"/worker/{worker}/contract", {"max": 1, "timeout": timeout_s})


def test_a_contract_that_is_held_is_given_the_job_that_comes(house: House):
    asked = poll(house, house.new_worker())
    assert asked.is_held
    job = house.submit(house.new_lambda())
    status, _, message = asked.answer()
    assert (status, [each["job"] for each in message["jobs"]]) == (200, [job])
    assert house.state(job) == "Running"


def test_a_contract_of_a_v05_worker_is_held_as_well(house: House):
    worker = house.new_worker()
    asked = Asked(house, "POST", f"/worker/{worker}/contract", {"id": worker, "tags": [], "timeout": 20})
    job = house.submit(house.new_lambda())
    assert asked.answer()[2] == {"code": 0, "status": "ok", "id": worker, "job": job, "job_id": job}


def test_a_request_that_is_held_is_answered_when_its_time_is_up(house: House):
    asked = poll(house, house.new_worker(), 0.05)
    assert asked.is_held
    status, _, message = asked.answer()
    assert (status, message["code"], message["jobs"]) == (200, 1299, [])
    until(lambda: len(house.services.waiters) == 0)


def test_readers_of_a_job_its_log_and_its_group_are_held(house: House):
    job = house.submit(house.new_lambda(), group="g")
    waits = [
        Asked(house, "GET", f"/job/{job}?except=Finished&timeout=20"),
        Asked(house, "GET", f"/job?ids={job}&until=all&timeout=20"),
        Asked(house, "GET", f"/job/{job}/log?timeout=20"),
        Asked(house, "GET", "/group/g?wait=20"),
    ]
    assert all(asked.is_held for asked in waits)
    house.call("DELETE", f"/job/{job}")
    house.move_on()
    assert [asked.answer()[0] for asked in waits] == [200] * 4
    assert waits[0].answer()[2]["state"] == "Cancelled"


def test_a_submission_that_waits_for_its_end_is_held(house: House):
    body = {"lambda": house.new_lambda(), "input": {"text": "x"}}
    asked = Asked(house, "POST", "/job?wait=20", body)
    leased = house.lease(worker := house.new_worker())
    house.finish(worker, {**leased, "state": "Finished", "output": {"text": "ok"}})
    assert asked.answer()[2]["job"]["state"] == "Finished"


def test_what_is_held_when_the_server_stops_is_told_so(house: House):
    asked = poll(house, house.new_worker())
    house.services.release_waiters()
    status, headers, message = asked.answer()
    assert (status, headers["Retry-After"]) == (503, "2")
    assert "stopping" in message["message"]


def test_a_caller_that_leaves_gives_its_place_up(house: House):
    asked = poll(house, house.new_worker())
    [leave] = asked.tells
    leave()
    assert asked.answer()[0] == 200
    assert len(house.services.waiters) == 0


@pytest.mark.slow
def test_a_request_that_is_held_is_counted_once(house: House):
    def read_count() -> float:
        text = house.fetch("/metrics").get_data(as_text=True)
        return float(re.search(f"^{re.escape(COUNT)} (.+)$", text, re.MULTILINE)[1])

    worker = house.new_worker()
    poll(house, worker, 0.05).answer()
    before = read_count()
    poll(house, worker, 0.05).answer()
    assert read_count() == before + 1


def test_a_failure_of_one_that_is_held_harms_no_other(house: House, monkeypatch):
    first, second = (poll(house, house.new_worker()) for _ in range(2))
    monkeypatch.setattr(first, "environ", {})  # it can be answered no more
    house.services.release_waiters()
    assert second.answer()[0] == 503


def test_requests_of_a_burst_keep_no_end_that_nobody_awaits():
    holder, watch = Holder(), JobWatch(Places(9))
    went_on = []
    for number in range(3 * ENDS_KEPT):
        with watch.park([number], lambda *_: True) as waiter:
            holder.hold(next(waiter.wait(PATIENCE_S)), went_on.append)
            watch.wake({number: JobState.FINISHED})
    until(lambda: len(went_on) == 3 * ENDS_KEPT)
    assert all(went_on)
    assert len(holder._ends) <= ENDS_KEPT + 2


def test_requests_whose_time_is_up_before_they_are_held_go_on():
    holder, went_on = Holder(), []

    class Slow(Waiter):
        def hold(self, resume):
            assert not holder._ends, "its time could be up before it is held, and nobody would go on with it"
            super().hold(resume)

    holder.hold(Pause(Slow(REAL_SLEEP), 0.0), went_on.append)
    until(lambda: went_on == [False])


def test_a_waiter_that_was_woken_before_it_is_held_goes_on_at_once():
    watch, went_on = JobWatch(Places(9)), []
    with watch.park([1], lambda *_: True) as waiter:
        watch.wake({1: JobState.FINISHED})
        waiter.hold(went_on.append)
    assert went_on == [True]


def test_what_gave_up_is_not_woken_too():
    waiter, went_on = Waiter(Places(9).sleeper), []
    resume = went_on.append
    waiter.hold(resume)
    waiter.give_up(resume)
    waiter.wake()
    waiter.give_up(resume)
    assert went_on == [False]
