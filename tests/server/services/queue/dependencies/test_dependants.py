"""Jobs that wait for others: released when those end, cancelled when they fail, and never left alone."""

import random
from typing import Any

import pytest
from house import House, failed, finished
from sqlalchemy import text
from tries import tries

from piecework.server.services.queue.dependencies import dependants
from piecework.server.services.queue.waiting.waiting import Changes
from piecework.server.store.queue.dependencies import dependencies
from piecework.server.store.queue.dependencies.relations import Edge, Settling
from piecework.server.store.queue.jobs import jobs


def states(house: House, *ids: str) -> list[str]:
    return [house.state(each) for each in ids]


def run_next(house: House, worker: str, output: str = "ok") -> str:
    lease = house.lease(worker)
    house.finish(worker, finished(lease, output))
    return lease["job"]


def fail_next(house: House, worker: str) -> str:
    lease = house.lease(worker)
    house.finish(worker, failed(lease, "load"))
    return lease["job"]


def settle_all(house: House) -> None:
    """Let the timekeeper do all that is left."""
    while house.services.dependants.settle() == 0:
        pass


def submit_all(house: House, *specs: dict[str, Any], status: int = 200, **more: Any) -> Any:
    lambda_ = house.new_lambda()
    body = {"jobs": [{"lambda": lambda_, "input": {"text": "x"}} | spec for spec in specs]} | more
    answer = house.call("POST", "/job", body, status=status)
    return answer["ids"] if status == 200 else answer["message"]


def full(house: House, job: str) -> Any:
    return house.call("GET", f"/job/{job}?view=full")


def test_a_job_runs_after_all_that_it_waits_for(house: House):
    lambda_, worker = house.new_lambda(), house.new_worker()
    first, second = house.submit(lambda_), house.submit(lambda_)
    child = house.submit(lambda_, after=[first, second])
    assert house.state(child) == "Waiting"
    run_next(house, worker)
    assert house.state(child) == "Waiting"
    run_next(house, worker)
    assert house.state(child) == "Enqueued"
    assert run_next(house, worker) == child
    assert [state for state, _ in house.trace(child)] == ["Waiting", "Enqueued", "Running", "Finished"]


@pytest.mark.parametrize("way", ["fail", "cancel", "expire", "stop"])
def test_a_job_is_cancelled_when_one_that_it_waits_for_does_not_finish(house: House, way: str):
    lambda_, worker = house.new_lambda(), house.new_worker()
    expires = {"expires_at": "2026-09-21T14:30:00Z"} if way == "expire" else {}
    parent = house.submit(lambda_, **expires)
    child = house.submit(lambda_, after=[parent])
    if way == "fail":
        fail_next(house, worker)
    elif way == "cancel":
        house.call("DELETE", f"/job/{parent}")
    elif way == "stop":
        house.finish(worker, {**house.lease(worker), "state": "Cancelled"})
    else:
        house.clock.forward(3600)
        house.move_on()
    assert house.state(child) == "Cancelled"
    error = house.call("GET", f"/job/{child}")["error"]
    assert error["kind"] == "parent"
    assert parent in error["message"]
    assert house.contract(worker)["jobs"] == []


def test_a_job_that_may_run_after_failures_does(house: House):
    lambda_, worker = house.new_lambda(), house.new_worker()
    parent = house.submit(lambda_)
    child = house.submit(lambda_, after=[parent], on_failure="run")
    fail_next(house, worker)
    assert house.state(child) == "Enqueued"


def test_a_chain_that_breaks_ends_to_its_last_link(house: House):
    worker = house.new_worker()
    chain = submit_all(house, {}, *({"after": [f"@{number}"]} for number in range(9)))
    fail_next(house, worker)
    settle_all(house)
    assert states(house, *chain) == ["Fail_Execution", *["Cancelled"] * 9]


def test_jobs_of_one_submission_name_each_other(house: House):
    worker = house.new_worker()
    ids = submit_all(house, {"after": ["@parse", "@2"]}, {"label": "parse", "after": ["@2"]}, {"label": "fetch"})
    assert states(house, *ids) == ["Waiting", "Waiting", "Enqueued"]
    assert [run_next(house, worker) for _ in ids] == [ids[2], ids[1], ids[0]]


def test_the_output_of_a_job_becomes_the_input_of_another(house: House):
    worker = house.new_worker()
    ids = submit_all(house, {"label": "a"}, {"input": {"job": "@a"}})
    run_next(house, worker, "what a made")
    [leased] = house.contract(worker, inline_max_bytes=100)["jobs"]
    assert leased["job"] == ids[1]
    assert leased["input"]["text"] == "what a made"
    assert full(house, ids[1])["inputs"] == [{"name": "-", "job": ids[0]}]


def test_the_output_of_a_job_that_has_ended_is_the_input_at_once(house: House):
    lambda_, worker = house.new_lambda(), house.new_worker()
    parent = house.submit(lambda_)
    run_next(house, worker, "made before")
    child = house.submit(lambda_, input={"job": parent})
    assert house.state(child) == "Enqueued"
    [leased] = house.contract(worker, inline_max_bytes=100)["jobs"]
    assert (leased["job"], leased["input"]["text"]) == (child, "made before")


def test_waiting_for_what_has_ended(house: House):
    lambda_, worker = house.new_lambda(), house.new_worker()
    good, bad = house.submit(lambda_), house.submit(lambda_)
    run_next(house, worker)
    fail_next(house, worker)
    assert house.state(house.submit(lambda_, after=[good])) == "Enqueued"
    assert house.state(house.submit(lambda_, after=[good, bad], on_failure="run")) == "Enqueued"
    child = house.submit(lambda_, after=[bad, good])
    settle_all(house)
    assert house.state(child) == "Cancelled"


def test_a_time_counts_after_the_others(house: House):
    lambda_, worker = house.new_lambda(), house.new_worker()
    parent = house.submit(lambda_)
    child, late = (house.submit(lambda_, after=[parent], delay_s=delay) for delay in (60, 7200))
    house.clock.forward(3600)
    house.move_on()
    assert states(house, child, late) == ["Waiting", "Waiting"]
    run_next(house, worker)
    assert states(house, child, late) == ["Enqueued", "Waiting"]
    house.clock.forward(3601)
    house.move_on()
    assert house.state(late) == "Enqueued"


def test_a_waiting_job_expires(house: House):
    lambda_, worker = house.new_lambda(), house.new_worker()
    parent = house.submit(lambda_)
    child = house.submit(lambda_, after=[parent], expires_at="2026-09-21T14:30:00Z")
    house.clock.forward(3600)
    house.move_on()
    assert house.state(child) == "Cancelled"
    run_next(house, worker)
    assert house.state(child) == "Cancelled"
    assert "error" not in house.call("GET", f"/job/{child}")


def test_pausing_a_job_that_waits_for_others(house: House):
    lambda_, worker = house.new_lambda(), house.new_worker()
    parent = house.submit(lambda_)
    child, other = house.submit(lambda_, after=[parent]), house.submit(lambda_, after=[parent], status="paused")
    for each in (child, other):
        house.call("POST", f"/job/{each}", {"status": "paused"})
    house.call("POST", f"/job/{other}", {"status": "enqueued"})
    assert states(house, child, other) == ["Paused", "Waiting"]
    run_next(house, worker)
    assert states(house, child, other) == ["Paused", "Enqueued"]
    house.call("POST", f"/job/{child}", {"status": "enqueued"})
    assert house.state(child) == "Enqueued"


def test_why_it_waits(house: House):
    lambda_ = house.new_lambda()
    parents = [house.submit(lambda_) for _ in range(4)]
    shown = full(house, house.submit(lambda_, after=parents))
    assert shown["waits_for"] == "after"
    named = "; ".join(f"job {each}, which is Enqueued" for each in parents[:3])
    assert shown["advice"] == f"it waits for {named}, and 1 more"
    assert shown["after"] == parents


@pytest.mark.parametrize(
    ("specs", "said"),
    [
        ([{"after": ["@0"]}], "job @0 waits for itself"),
        ([{"after": ["@1"]}, {"after": ["@2"]}, {"after": ["@1"]}, {}], "@1 waits for @2 waits for @1"),
        ([{"after": ["@9"]}], "the last of this submission is @0"),
        ([{"after": ["@nobody"]}], "no job of this submission has that label"),
        ([{"label": "a"}, {"label": "a"}], "both have the label 'a'"),
        ([{"label": "1"}], "is no number"),
        ([{"after": ["x y"]}], "`after` is wrong"),
        ([{"after": ["1"] * 10_001}], "at most 10000"),
        ([{"input": {"job": "@1", "text": "x"}}, {}], "beside `job`"),
        ([{"after": ["@1"], "on_failure": "hope"}, {}], "on_failure"),
        ([{"after": [f"@{number}" for number in range(1000)]}] * 101, "one submission takes 100000"),
    ],
)
def test_what_makes_no_sense_is_refused(house: House, specs: list[dict[str, Any]], said: str):
    lambda_ = house.new_lambda()
    body = {"jobs": [{"lambda": lambda_} | spec for spec in specs]}
    answer = house.call("POST", "/job", body, status=None)
    assert answer["code"] in {1, 2, 3, 4}, answer
    assert said in answer["message"]
    assert house.call("GET", "/job")["jobs"] == []


def test_a_job_that_nobody_knows_is_refused(house: House):
    lambda_ = house.new_lambda()
    answer = house.call("POST", "/job", {"lambda": lambda_, "after": ["12345678901"]}, status=404)
    assert "there is no job or group 12345678901" in answer["message"]
    assert house.call("GET", "/job")["jobs"] == []


def test_a_repeated_submission_is_the_same(house: House):
    lambda_, worker = house.new_lambda(), house.new_worker()
    body = {"jobs": [{"lambda": lambda_, "key": "a"}, {"lambda": lambda_, "after": ["@0"], "key": "b"}]}
    first = house.call("POST", "/job", body)["ids"]
    run_next(house, worker)
    assert house.call("POST", "/job", body)["ids"] == first
    third = {"lambda": lambda_, "after": ["@1"], "key": "c"}
    more = house.call("POST", "/job", {"jobs": [*body["jobs"], third]})["ids"]
    assert more[:2] == first
    assert house.state(more[2]) == "Waiting"
    house.call("POST", "/job", {"lambda": lambda_, "key": "b"}, status=409)
    whole = body | {"key": "all"}
    ids = house.call("POST", "/job", whole)["ids"]
    assert house.call("POST", "/job", whole)["ids"] == ids


@pytest.mark.slow
def test_many_wait_for_one_and_one_for_many(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dependants, "STEP", 7)
    worker = house.new_worker()
    ids = submit_all(house, {}, *[{"after": ["@0"]}] * 50, {"after": [f"@{number}" for number in range(1, 51)]})
    run_next(house, worker)
    released = states(house, *ids[1:51]).count("Enqueued")
    assert released == 8  # seven, and one for the job that ended
    settle_all(house)
    assert set(states(house, *ids[1:51])) == {"Enqueued"}
    for _ in range(50):
        assert house.state(ids[51]) == "Waiting"
        run_next(house, worker)
    assert house.state(ids[51]) == "Enqueued"


def test_what_is_left_to_tell_survives_a_restart(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dependants, "STEP", 3)
    ids = submit_all(house, {}, *[{"after": ["@0"]}] * 8)
    house.call("DELETE", f"/job/{ids[0]}")
    house.restart()
    for _ in range(10):
        house.move_on()
    assert set(states(house, *ids)) == {"Cancelled"}


def test_a_job_that_waits_for_something_that_is_gone_is_found(house: House):
    lambda_, worker = house.new_lambda(), house.new_worker()
    parent = house.submit(lambda_)
    children = [house.submit(lambda_, after=[parent]) for _ in range(2)]
    lost = [Edge(int(children[0]), 77)]
    house.services.database.write(lambda connection: dependencies.add_edges(connection, lost))
    assert house.services.dependants.look_after() == 1
    settle_all(house)
    assert states(house, *children) == ["Cancelled", "Waiting"]
    assert house.services.dependants.look_after() == 0
    run_next(house, worker)
    assert states(house, *children) == ["Cancelled", "Enqueued"]


def run_again(house: House, job: str) -> None:
    """Do what a retry does: the job is enqueued again, under its id."""

    def requeue(connection: Any) -> None:
        was = jobs.lock_jobs(connection, [int(job)])[int(job)]
        connection.execute(
            text("UPDATE jobs SET state = 'Enqueued', finished_at = NULL, attempt = 0 WHERE id = :job"),
            {"job": int(job)},
        )
        house.services.endings.take_back(connection, [was], Changes(), house.clock())

    house.services.database.write(requeue)


def test_jobs_that_were_cancelled_with_one_wait_again_when_it_is_run_again(house: House):
    worker = house.new_worker()
    ids = submit_all(house, {}, {"after": ["@0"]}, {"after": ["@1"]}, {"after": ["@0"]})
    house.call("DELETE", f"/job/{ids[3]}")
    fail_next(house, worker)
    settle_all(house)
    assert states(house, *ids) == ["Fail_Execution", "Cancelled", "Cancelled", "Cancelled"]
    run_again(house, ids[0])
    settle_all(house)
    assert states(house, *ids) == ["Enqueued", "Waiting", "Waiting", "Cancelled"]
    assert [run_next(house, worker) for _ in range(3)] == ids[:3]
    assert house.trace(ids[1])[1:4] == [
        ("Cancelled", f"{ids[0]}, which it waited for, failed"),
        ("Waiting", f"waits again: {ids[0]} is run again"),
        ("Enqueued", "all that it waited for has ended"),
    ]


def test_a_job_with_two_failed_parents_waits_again_when_both_are_run_again(house: House):
    worker = house.new_worker()
    ids = submit_all(house, {}, {}, {"after": ["@0", "@1"]})
    fail_next(house, worker)
    fail_next(house, worker)
    run_again(house, ids[0])
    settle_all(house)
    assert house.state(ids[2]) == "Cancelled"
    assert run_next(house, worker) == ids[0]
    run_again(house, ids[1])
    settle_all(house)
    assert house.state(ids[2]) == "Waiting"
    assert run_next(house, worker) == ids[1]
    assert house.state(ids[2]) == "Enqueued"


def test_a_parent_that_ends_again_before_anyone_heard_of_its_going_on(house: House):
    worker = house.new_worker()
    ids = submit_all(house, {}, {"after": ["@0"]})
    fail_next(house, worker)
    run_again(house, ids[0])
    run_next(house, worker)
    settle_all(house)
    assert house.state(ids[1]) == "Enqueued"
    run_again(house, ids[0])
    assert house.state(ids[1]) == "Enqueued"


@pytest.mark.slow
def test_every_history_of_a_graph_ends(house: House, monkeypatch: pytest.MonkeyPatch):
    """Whatever ends how, and in whatever order: at last no job waits, and each is where its parents leave it."""
    monkeypatch.setattr(dependants, "STEP", 3)
    worker = house.new_worker()
    for seed in range(tries(6)):
        _live_through(house, worker, random.Random(seed))


def _live_through(house: House, worker: str, chance: random.Random) -> None:
    count = 14
    parents = [sorted(chance.sample(range(number), chance.randint(0, min(number, 3)))) for number in range(count)]
    modes = [chance.choice(["cancel", "cancel", "run"]) for _ in range(count)]
    ids = submit_all(
        house,
        *(
            {"after": [f"@{each}" for each in mine], "on_failure": mode}
            for mine, mode in zip(parents, modes, strict=True)
        ),
    )
    for _ in range(20 * count):
        act = chance.random()
        if act < 0.1:
            house.call("DELETE", f"/job/{chance.choice(ids)}")
        elif act < 0.2:
            house.services.dependants.settle()
        elif act < 0.25 and house.state(chosen := chance.choice(ids)) == "Fail_Execution":
            run_again(house, chosen)
        elif leased := house.contract(worker)["jobs"]:
            lease = {"job": leased[0]["job"], "lease": leased[0]["lease"]}
            house.finish(worker, finished(lease) if chance.random() < 0.8 else failed(lease, "load"))
    settle_all(house)
    while leased := house.contract(worker)["jobs"]:
        house.finish(worker, finished({"job": leased[0]["job"], "lease": leased[0]["lease"]}))
        settle_all(house)
    ends = states(house, *ids)
    assert set(ends) <= {"Finished", "Fail_Execution", "Cancelled"}
    for id_, mine, mode, end in zip(ids, parents, modes, ends, strict=True):
        all_finished = all(ends[each] == "Finished" for each in mine)
        assert all_finished or mode == "run" or end == "Cancelled"
        if "error" in (info := house.call("GET", f"/job/{id_}")) and info["error"]["kind"] == "parent":
            assert not all_finished
    assert not house.services.dependants.look_after()


def test_a_settling_of_a_job_that_goes_on_tells_nobody(house: House):
    ids = submit_all(house, {}, {"after": ["@0"]})
    house.services.database.write(
        lambda connection: dependencies.add_settlings(connection, [Settling(int(ids[0]), "Enqueued")])
    )
    settle_all(house)
    assert states(house, *ids) == ["Enqueued", "Waiting"]
