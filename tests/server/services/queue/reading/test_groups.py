"""Groups: counted, waited for, sealed, and done at last."""

import json
import threading
from typing import Any

import pytest
from house import House, failed, finished
from patience import LONG_S

from piecework.server.errors import StorageFull
from piecework.server.services.queue.reading import groups
from piecework.server.services.queue.waiting.pauses import wait_out
from piecework.server.services.queue.waiting.waiting import Changes
from piecework.server.store.queue.jobs import jobs as job_rows


def make(house: House, name: str | None = None) -> str:
    return str(house.call("POST", "/group", {"name": name} if name else {})["group"]["id"])


def show(house: House, ref: str) -> Any:
    return house.call("GET", f"/group/{ref}")


def counts(house: House, ref: str) -> dict[str, int]:
    return {each["state"]: each["jobs"] for each in show(house, ref)["counts"]}


def run_all(house: House, worker: str, output: str = "ok") -> int:
    count = 0
    while leased := house.contract(worker)["jobs"]:
        house.finish(worker, finished({"job": leased[0]["job"], "lease": leased[0]["lease"]}, output))
        count += 1
    return count


def settle(house: House) -> None:
    """Let the timekeeper do all that is left."""
    for _ in range(50):
        house.services.groups._looked_at = -1e9
        house.move_on()


def test_a_group_counts_its_jobs_by_state(house: House):
    lambda_, worker, group = house.new_lambda(), house.new_worker(), make(house, "nightly")
    ids = [house.submit(lambda_, group="nightly") for _ in range(5)]
    house.submit(lambda_)
    assert counts(house, group) == {"Enqueued": 5}
    house.finish(worker, finished(house.lease(worker)))
    house.finish(worker, failed(house.lease(worker), "load"))
    house.call("DELETE", f"/job/{ids[2]}")
    house.lease(worker)
    shown = show(house, "nightly")
    assert counts(house, group) == {
        "Cancelled": 1,
        "Enqueued": 1,
        "Fail_Execution": 1,
        "Finished": 1,
        "Running": 1,
    }
    assert (shown["jobs"], shown["left"], shown["progress"]) == (5, 2, 0.6)
    assert shown["failures"] == [ids[1]]
    assert house.call("GET", f"/job/{ids[0]}")["group"] == group
    page = house.call("GET", "/job?group=nightly&limit=3")
    rest = house.call("GET", f"/job?group={group}&cursor={page['next']}")
    assert [each["id"] for each in (*page["jobs"], *rest["jobs"])] == ids[::-1]
    house.call("GET", "/job?group=nobody", status=404)


def test_a_new_name_makes_a_group_and_a_known_one_is_joined(house: House):
    lambda_ = house.new_lambda()
    specs = [
        {"lambda": lambda_, "group": "a"},
        {"lambda": lambda_, "group": "b"},
        {"lambda": lambda_, "group": "a"},
    ]
    house.call("POST", "/job", {"jobs": specs})
    house.submit(lambda_, group="a")
    assert [show(house, name)["jobs"] for name in "ab"] == [3, 1]
    assert [each["name"] for each in house.call("GET", "/group")["groups"]] == ["b", "a"]


def test_a_sealed_group_takes_no_further_job_and_its_name_is_free_again(house: House):
    lambda_ = house.new_lambda()
    house.submit(lambda_, group="a")
    first = show(house, "a")["group"]["id"]
    house.call("POST", "/group", {"name": "a"}, status=409)
    house.call("POST", "/group/a/seal")
    answer = house.call("POST", "/job", {"lambda": lambda_, "group": "a"}, status=409)
    assert "sealed" in answer["message"]
    assert show(house, first)["jobs"] == 1
    second = make(house, "a")
    house.submit(lambda_, group="a")
    assert (show(house, second)["jobs"], show(house, first)["jobs"]) == (1, 1)


def test_a_repeated_submission_joins_once(house: House):
    lambda_ = house.new_lambda()
    first = house.submit(lambda_, group="a", key="k")
    house.call("POST", "/group/a/seal")
    assert house.submit(lambda_, group="a", key="k") == first
    house.call("POST", "/job", {"lambda": lambda_, "input": {"text": "x"}, "key": "k"}, status=409)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("POST", "/group", {"name": "a b"}, 422, "a name has"),
        ("POST", "/group", {"name": "123"}, 422, "is no number"),
        ("GET", "/group/nobody", None, 404, "there is no group nobody"),
        ("GET", "/group/12345", None, 404, "there is no group 12345"),
        ("GET", "/group/a?wait=-1", None, 400, "cannot be negative"),
        ("POST", "/group/nobody/then", {"lambda": "1"}, 404, "there is no group nobody"),
        ("POST", "/group/a/then", {}, 422, "needs `lambda`"),
        ("POST", "/group/a/then", {"jobs": []}, 422, "one job runs after a group"),
        ("POST", "/group/nobody/seal", None, 404, "there is no group nobody"),
    ],
)
def test_wrong_requests(house: House, method: str, path: str, body: Any, status: int, said: str):
    make(house, "a")
    assert said in house.call(method, path, body, status=status)["message"]
    assert "sealed_at" not in show(house, "a")["group"]


@pytest.mark.parametrize(("group", "status"), [("a b", 422), ("77777777", 404), (5.5, 422)])
def test_jobs_of_groups_that_cannot_be(house: House, group: Any, status: int):
    house.call("POST", "/job", {"lambda": house.new_lambda(), "group": group}, status=status)
    assert house.call("GET", "/job")["jobs"] == []


def test_a_job_runs_once_all_are_done_and_gets_their_results(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(groups, "PAGE", 2)
    lambda_, worker = house.new_lambda(), house.new_worker()
    ids = [house.submit(lambda_, group="a") for _ in range(4)]
    house.finish(worker, failed(house.lease(worker), "load"))
    then = house.call("POST", "/group/a/then", {"lambda": lambda_})["id"]
    assert house.state(then) == "Waiting"
    assert "group a, which has 3 jobs left" in house.call("GET", f"/job/{then}?view=full")["advice"]
    assert run_all(house, worker, "made") == 3
    settle(house)
    shown = show(house, "a")
    assert (shown["group"]["state"], shown["dependants"]) == ("Fail_Execution", [then])
    [leased] = house.contract(worker, inline_max_bytes=10_000)["jobs"]
    assert leased["job"] == then
    results = json.loads(house.fetch(f"/data/{leased['input']['id']}/blob").data)
    outputs = [each.get("output") for each in results["jobs"]]
    assert results | {"jobs": []} == {"group": shown["group"]["id"], "name": "a", "jobs": []}
    assert [(each["id"], each["state"]) for each in results["jobs"]] == [
        (ids[0], "Fail_Execution"), *((each, "Finished") for each in ids[1:])
    ]  # fmt: skip
    assert outputs[0] is None
    assert house.fetch(f"/data/{outputs[1]}/blob").data == b"made"


def test_results_that_nobody_wanted_before_are_written_down_when_somebody_does(house: House):
    lambda_, worker = house.new_lambda(), house.new_worker()
    house.submit(lambda_, group="a")
    run_all(house, worker)
    house.call("POST", "/group/a/seal")
    settle(house)
    group = show(house, "a")["group"]
    assert group["state"] == "Finished"
    late = house.submit(lambda_, input={"job": group["id"]})
    assert house.state(late) == "Waiting"
    settle(house)
    [leased] = house.contract(worker, inline_max_bytes=10_000)["jobs"]
    assert leased["job"] == late
    assert json.loads(leased["input"]["text"])["jobs"][0]["state"] == "Finished"


def test_a_group_is_not_done_before_it_is_sealed(house: House):
    lambda_, worker = house.new_lambda(), house.new_worker()
    house.submit(lambda_, group="a")
    after = house.submit(lambda_, after=[show(house, "a")["group"]["id"]])
    run_all(house, worker)
    settle(house)
    assert "group a, which is open" in house.call("GET", f"/job/{after}?view=full")["advice"]
    house.submit(lambda_, group="a")
    house.call("POST", "/group/a/seal")
    settle(house)
    assert house.state(after) == "Waiting"
    run_all(house, worker)
    settle(house)
    assert house.state(after) == "Enqueued"
    late = house.submit(lambda_, after=[show(house, "a")["group"]["id"]])
    assert house.state(late) == "Enqueued"


def test_a_job_after_a_group_that_failed_is_cancelled_unless_it_runs_anyway(house: House):
    lambda_, worker, group = house.new_lambda(), house.new_worker(), make(house)
    house.submit(lambda_, group=group)
    strict, lenient = house.submit(lambda_, after=[group]), house.submit(lambda_, after=[group], on_failure="run")
    house.call("POST", f"/group/{group}/seal")
    house.finish(worker, failed(house.lease(worker), "load"))
    settle(house)
    assert [house.state(each) for each in (strict, lenient)] == ["Cancelled", "Enqueued"]


def test_an_empty_group_is_done_when_it_is_sealed(house: House):
    group = make(house)
    then = house.call("POST", f"/group/{group}/then", {"lambda": house.new_lambda()})["id"]
    settle(house)
    assert house.state(then) == "Enqueued"
    assert show(house, group)["progress"] == 1


def test_a_member_that_is_run_again_makes_the_group_undone(house: House):
    lambda_, worker, group = house.new_lambda(), house.new_worker(), make(house)
    member = house.submit(lambda_, group=group)
    strict = house.submit(lambda_, after=[group])
    house.call("POST", f"/group/{group}/seal")
    house.finish(worker, failed(house.lease(worker), "load"))
    settle(house)
    assert house.state(strict) == "Cancelled"

    def run_again(connection: Any) -> None:
        was = job_rows.lock_jobs(connection, [int(member)])[int(member)]
        sql = f"UPDATE jobs SET state = 'Enqueued', finished_at = NULL, attempt = 0 WHERE id = {member}"
        connection.exec_driver_sql(sql)
        house.services.endings.take_back(connection, [was], Changes(), house.clock())

    house.services.database.write(run_again)
    settle(house)
    assert "done_at" not in show(house, group)["group"]
    assert house.state(strict) == "Waiting"
    house.finish(worker, finished(house.lease(worker)))
    settle(house)
    assert show(house, group)["group"]["state"] == "Finished"
    assert house.state(strict) == "Enqueued"


def test_a_request_waits_for_the_jobs_of_a_group(house: House):
    lambda_, worker = house.new_lambda(), house.new_worker()
    house.submit(lambda_, group="a")
    lease = house.lease(worker)
    left: list[int] = []
    group = house.services.groups.find("a")

    def wait() -> None:
        wait_out(house.services.groups.wait(group, 20))
        left.append(house.services.groups.show(group).left)

    waiting = threading.Thread(target=wait)
    waiting.start()
    while not house.services.groups._watch.watched():
        pass
    house.finish(worker, finished(lease))
    settle(house)
    waiting.join(LONG_S)
    assert left == [0]
    assert house.call("GET", "/group/a?wait=20")["left"] == 0


def test_a_group_whose_end_nobody_noted_is_found(house: House):
    lambda_, worker = house.new_lambda(), house.new_worker()
    house.submit(lambda_, group="a")
    then = house.call("POST", "/group/a/then", {"lambda": lambda_})["id"]
    run_all(house, worker)
    house.restart()
    settle(house)
    assert house.state(then) == "Waiting"
    assert house.services.groups.look_after() == 1
    settle(house)
    assert house.state(then) == "Enqueued"
    assert house.services.groups.look_after() == 0


def test_groups_without_jobs_are_removed_after_a_week(house: House):
    lambda_, worker, empty = house.new_lambda(), house.new_worker(), make(house, "empty")
    job = house.submit(lambda_, group="old")
    waiting = make(house)
    house.submit(lambda_, after=[waiting])
    run_all(house, worker)
    assert house.services.groups.sweep() == 0
    house.clock.forward(8 * 24 * 3600)
    late = make(house)
    assert house.services.groups.sweep() == 1
    house.call("GET", f"/group/{empty}", status=404)
    house.services.removal.remove([int(job)])
    assert house.services.groups.sweep() == 1
    assert [each["id"] for each in house.call("GET", "/group")["groups"]] == [late, waiting]


def test_results_that_could_not_be_written_are_written_later(house: House, monkeypatch: pytest.MonkeyPatch):
    lambda_, worker = house.new_lambda(), house.new_worker()
    house.submit(lambda_, group="a")
    then = house.call("POST", "/group/a/then", {"lambda": lambda_})["id"]
    run_all(house, worker)

    def refuse(*_: object) -> bytes:
        raise StorageFull

    with monkeypatch.context() as full:
        full.setattr(house.services.groups, "_write_results", refuse)
        house.services.groups._looked_at = -1e9
        with pytest.raises(StorageFull):
            settle(house)
    assert house.state(then) == "Waiting"
    house.services.groups.look_after()
    settle(house)
    assert house.state(then) == "Enqueued"
