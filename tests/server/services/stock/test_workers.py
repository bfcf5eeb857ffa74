"""Workers: those that say goodbye, those that are gone, and those that come back with something else to offer."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from house import House
from patience import PATIENCE_S, until

from piecework.protocol.messages import ContractRequest
from piecework.server.services.queue.waiting.pauses import wait_out

DAY_S = 24 * 3600


def start_worker(house: House, *runtimes: str, **fields) -> str:
    return house.new_worker(*runtimes, **{"incarnation": "one"} | fields)


def leave(house: House, worker: str, incarnation: str = "one") -> None:
    house.call("POST", f"/worker/{worker}/leave", {"incarnation": incarnation})


def state_of(house: House, worker: str) -> str:
    return str(house.call("GET", f"/worker/{worker}?view=full")["state"])


def listed(house: House, query: str = "") -> list[str]:
    return [each["id"] for each in house.call("GET", f"/worker{query}")["workers"]]


def beat(house: House, worker: str, *leases: dict[str, str], incarnation: str = "one"):
    return house.call("POST", f"/worker/{worker}/heartbeat", {"leases": leases, "incarnation": incarnation})


def test_a_worker_that_says_goodbye_is_stopped_at_once(house: House):
    worker = start_worker(house)
    assert state_of(house, worker) == "idle"
    leave(house, worker)
    assert state_of(house, worker) == "stopped"
    house.clock.forward(DAY_S / 2)
    assert state_of(house, worker) == "stopped", "nobody wonders where it is"
    assert listed(house) == [worker]


def test_late_words_of_a_stopped_process_change_nothing(house: House):
    worker = start_worker(house)
    job = house.submit(house.new_lambda())
    lease = house.lease(worker, incarnation="one")
    leave(house, worker)
    assert beat(house, worker, lease)["lost"] == [job]
    house.clock.forward(10)
    assert house.contract(worker, incarnation="one")["code"] == 1299
    assert state_of(house, worker) == "stopped"
    assert house.lease(start_worker(house))["job"] == job


def test_the_next_process_of_a_stopped_worker_works(house: House):
    worker = start_worker(house)
    leave(house, worker)
    job = house.submit(house.new_lambda())
    assert house.lease(worker, incarnation="two")["job"] == job
    assert state_of(house, worker) == "busy"


def test_a_request_without_a_start_is_a_sign_of_life_after_a_goodbye(house: House):
    worker = start_worker(house)
    leave(house, worker)
    job = house.submit(house.new_lambda())
    assert house.lease(worker)["job"] == job
    assert state_of(house, worker) == "busy"


def test_the_goodbye_of_an_older_process_changes_nothing(house: House):
    worker = start_worker(house)
    house.contract(worker, incarnation="two")
    house.submit(house.new_lambda())
    lease = house.lease(worker, incarnation="two")
    leave(house, worker, "one")
    assert state_of(house, worker) == "busy"
    assert len(beat(house, worker, lease, incarnation="two")["leases"]) == 1


def test_what_a_leaving_worker_holds_goes_to_others_at_once(house: House):
    worker, job = start_worker(house), house.submit(house.new_lambda())
    house.lease(worker, incarnation="one")
    leave(house, worker)
    leave(house, worker)
    assert house.lease(start_worker(house))["job"] == job


def test_a_goodbye_ends_the_polls_that_the_worker_holds(house: House):
    worker = start_worker(house)
    request = ContractRequest(timeout=20.0, max=1, incarnation="one")
    with ThreadPoolExecutor() as pool:
        poll = pool.submit(wait_out, house.services.contracts.contract(int(worker), request))
        until(lambda: len(house.services.waiters) == 1)
        leave(house, worker)
        assert not poll.result(PATIENCE_S).jobs
        late = pool.submit(wait_out, house.services.contracts.contract(int(worker), request))
        assert not late.result(PATIENCE_S).jobs, "it does not wait"


def test_a_stopped_worker_does_not_count_as_one_that_offers_something(house: House):
    worker = start_worker(house, "wasi")
    job = house.submit(house.new_lambda(runtime="wasi"))
    assert house.call("GET", "/sys/runt/stat")["runtimes"]["wasi"]["workers"] == 1
    leave(house, worker)
    assert house.call("GET", "/sys/runt/stat")["runtimes"]["wasi"]["workers"] == 0
    assert house.call("GET", f"/job/{job}?view=full")["waits_for"] == "no_worker"


@pytest.mark.parametrize("says_goodbye", [True, False])
def test_workers_leave_the_list_after_a_day_and_are_known_for_ever(house: House, says_goodbye: bool):
    old = start_worker(house)
    if says_goodbye:
        leave(house, old)
    house.clock.forward(DAY_S)
    young = start_worker(house)
    assert listed(house) == [young, old]
    house.clock.forward(1)
    assert listed(house) == [young]
    assert listed(house, "?all=true") == [young, old]
    assert state_of(house, old) == ("stopped" if says_goodbye else "gone")


def test_a_retired_worker_is_shown_among_all_and_by_its_id(house: House):
    worker = start_worker(house)
    house.call("DELETE", f"/worker/{worker}")
    assert listed(house) == []
    assert listed(house, "?all=true") == [worker]
    assert state_of(house, worker) == "retired"
    assert house.call("GET", f"/worker/{worker}", status=404)["code"] == 802, "v0.5 is told to register"


def test_a_worker_that_offers_something_else_keeps_its_id(house: House):
    worker = start_worker(house, "wasi", name="kitchen")
    job = house.submit(house.new_lambda(runtime="wasi"))
    house.lease(worker, incarnation="one")
    house.clock.forward(5)
    again = start_worker(house, "default", name="attic", tags=["gpu"], slots=3, incarnation="two", known_as=worker)
    assert again == worker
    info = house.call("GET", f"/worker/{worker}?view=full")
    assert (info["runtime"], info["name"], info["tags"], info["slots"]) == (["default"], "attic", ["gpu"], 3)
    assert info["seen_at"] - info["registered_at"] == 5
    assert house.lease(start_worker(house, "wasi"))["job"] == job, "its process before holds nothing any more"


def test_a_worker_waits_for_what_it_offers_now(house: House):
    worker = start_worker(house, "wasi")
    wait_out(
        house.services.contracts.contract(int(worker), ContractRequest(timeout=0.01, max=1, incarnation="one"))
    )
    start_worker(house, "default", incarnation="two", known_as=worker)
    with ThreadPoolExecutor() as pool:
        request = ContractRequest(timeout=20.0, max=1, incarnation="two")
        poll = pool.submit(wait_out, house.services.contracts.contract(int(worker), request))
        until(lambda: len(house.services.waiters) == 1)
        job = house.submit(house.new_lambda(runtime="default"))
        assert [found.id for found in poll.result(PATIENCE_S).jobs] == [int(job)]


@pytest.mark.parametrize("known", ["retired", "unknown"])
def test_a_worker_that_is_not_in_service_gets_a_new_id(house: House, known: str):
    worker = start_worker(house) if known == "retired" else "12345"
    if known == "retired":
        house.call("DELETE", f"/worker/{worker}")
    assert start_worker(house, incarnation="two", known_as=worker) != worker
