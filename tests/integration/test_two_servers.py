"""Two control servers on one PostgreSQL database: what one does, the other's waiting requests learn."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from house import House, finished
from patience import PATIENCE_S, until
from places import migrate
from postgres import Cluster

from piecework.protocol.messages import ContractRequest, FunctionReport
from piecework.protocol.states import JobState
from piecework.server.errors import RevisionNotFound
from piecework.server.services.queue.waiting.pauses import wait_out
from piecework.server.store.engine.database import Connection
from piecework.server.store.functions import functions

pytestmark = pytest.mark.integration


@pytest.fixture
def houses(tmp_path: Path) -> Iterator[tuple[House, House]]:
    """Two servers with clocks, data directories and ids of their own."""
    cluster = Cluster(tmp_path / "postgres")
    url = cluster.create_database("two")
    migrate(url)
    pair = House(tmp_path / "a", database_url=url), House(tmp_path / "b", database_url=url)
    for house in pair:
        house.services.start()
    yield pair
    for house in pair:
        house.close()
    cluster.close()


def test_a_submit_at_one_wakes_a_contract_at_the_other_and_its_end_wakes_a_reader(houses: tuple[House, House]):
    here, there = houses
    worker, lambda_ = there.new_worker(), here.new_lambda()
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(
            wait_out, there.services.contracts.contract(int(worker), ContractRequest(max=1, timeout=20.0))
        )
        job = here.submit(lambda_)
        contracted = waiting.result(PATIENCE_S)
        assert [found.id for found in contracted.jobs] == [int(job)]
        reader = pool.submit(wait_out, here.services.jobs.wait_for(int(job), JobState.FINISHED, 20.0))
        there.finish(worker, finished({"job": job, "lease": contracted.jobs[0].lease}, "done"))
        assert reader.result(PATIENCE_S).state is JobState.FINISHED
    assert here.call("GET", f"/job/{job}?output=inline")["output"]["text"] == "done"


def test_a_change_is_heard_of_at_once_and_not_at_the_next_look(houses, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("piecework.server.services.queue.schedules.timekeeper.SHARED_TICK_S", 60.0)
    here, there = houses
    worker, lambda_ = there.new_worker(), here.new_lambda()
    with ThreadPoolExecutor() as pool:
        for _ in range(3):
            waiting = pool.submit(
                wait_out, there.services.contracts.contract(int(worker), ContractRequest(max=1, timeout=20.0))
            )
            until(lambda: len(there.services.waiters) == 1)
            job = here.submit(lambda_)
            assert [found.id for found in waiting.result(PATIENCE_S).jobs] == [int(job)]


def test_contracts_at_both_never_lease_a_job_twice(houses: tuple[House, House]):
    jobs = 200
    lambda_ = houses[0].new_lambda()
    body = {"jobs": [{"lambda": lambda_}] * jobs}
    ids = houses[0].call("POST", "/job", body)["ids"]
    leased: list[str] = []
    lock = threading.Lock()

    def work(house: House) -> None:
        worker = house.new_worker()
        request = ContractRequest(max=3, timeout=0)
        while found := wait_out(house.services.contracts.contract(int(worker), request)).jobs:
            with lock:
                leased.extend(str(job.id) for job in found)

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(work, house) for house in houses for _ in range(4)]:
            future.result(60)
    assert sorted(leased) == sorted(ids)


def test_both_give_ids_of_their_own(houses: tuple[House, House]):
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(house.new_worker) for house in houses * 50]
        ids = [future.result(PATIENCE_S) for future in futures]
    assert len(set(ids)) == 100


def test_a_route_that_is_added_at_one_is_known_to_the_other_within_a_second(houses: tuple[House, House]):
    here, there = houses
    assert there.services.routing.table() == {}
    here.services.functions.register("hola", "blue", "http://localhost:5051")
    there.clock.forward(1)
    assert there.services.routing.get_function("hola").urls() == {"blue": ["http://localhost:5051"]}
    there.services.functions.remove("hola")
    here.clock.forward(1)
    assert here.services.routing.table() == {}


@pytest.mark.parametrize("act", ["set_default", "split"])
@pytest.mark.parametrize("removal_is_first", [False, True])
def test_calls_never_go_to_a_revision_that_is_removed_at_the_same_time(
    houses: tuple[House, House], monkeypatch: pytest.MonkeyPatch, act: str, removal_is_first: bool
):
    here, there = houses
    for name in ("blue", "green"):
        here.call("PUT", f"/deployments/hola/{name}", {"codex": upload(here), "runtime": "test"})
    wanted = "green" if act == "set_default" else {"blue": 1, "green": 1}
    give = partial(getattr(here.services.deployments, act), "hola", wanted)
    remove = partial(there.services.deployments.remove_revision, "hola", "green", force=True)
    first, second = (remove, give) if removal_is_first else (give, remove)
    statement = "delete_revision" if removal_is_first else "set_default"
    plain = getattr(functions, statement)
    with ThreadPoolExecutor(1) as pool:
        pending: list[Future[None]] = []

        def begin_second(connection: Connection, *values: object) -> bool:
            monkeypatch.undo()
            pending.append(pool.submit(second))
            until(lambda: pending[0].done() or waits_for_a_lock(here))
            return plain(connection, *values)

        monkeypatch.setattr(functions, statement, begin_second)
        first()
        refused = pending[0].exception(PATIENCE_S)
    assert isinstance(refused, RevisionNotFound) if removal_is_first else refused is None
    info = there.call("GET", "/deployments/hola")
    assert [each["name"] for each in info["revisions"]] == ["blue"]
    left = {"default": "blue"} if removal_is_first else {} if act == "set_default" else {"split": {"blue": 1}}
    assert {name: info[name] for name in ("default", "split") if name in info} == left


def upload(house: House) -> str:
    found: str = house.call("POST", "/data", data=b"print(1)", content_type="application/octet-stream")["id"]
    return found


def waits_for_a_lock(house: House) -> bool:
    with house.services.database.read() as connection:
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        return connection.exec_driver_sql(waiting).first() is not None


def test_hosts_that_report_to_both_at_once_get_no_replica_twice(houses: tuple[House, House]):
    here, there = houses
    codex = upload(here)
    nodes = [(houses[n % 2], here.new_worker("test")) for n in range(6)]
    start = threading.Barrier(len(nodes))

    def report(house: House, worker: str) -> int:
        start.wait()
        return len(house.services.hosting.report(int(worker), FunctionReport(slots=5)).replicas)

    with ThreadPoolExecutor(len(nodes)) as pool:
        for round_ in range(5):
            deployment = {"codex": codex, "runtime": "test", "replicas": 20}
            here.call("PUT", f"/deployments/f{round_}/blue", deployment)
            list(pool.map(lambda node: report(*node), nodes))
            [revision] = there.call("GET", f"/deployments/f{round_}")["revisions"]
            assert len(revision["replicas"]) == 20
            assert sum(pool.map(lambda node: report(*node), nodes)) == 20
            there.call("DELETE", f"/deployments/f{round_}")


def test_functions_that_come_and_go_at_both_at_once_fail_no_request(houses: tuple[House, House]):
    known = {"function": "hola", "revision": "blue", "url": "http://localhost:5050"}
    start = threading.Barrier(4)

    def change(house: House) -> set[int]:
        client = house.app.test_client()
        start.wait()
        return {
            client.open(f"/memory/functions/{path}", method=method, json=known).status_code
            for _ in range(25)
            for method, path in (
                ("POST", "registration"), ("POST", "hola/revision"), ("POST", "hola/blue/url"),
                ("DELETE", "hola/revision"), ("DELETE", "registration"),
            )
        }  # fmt: skip

    with ThreadPoolExecutor(4) as pool:
        statuses = set.union(*pool.map(change, [*houses, *houses]))
    assert statuses <= {202, 404, 409}


def test_limits_hold_over_both_and_none_of_many_claims_at_once_exceeds_them(houses: tuple[House, House]):
    jobs, most = 60, 2
    lambda_ = houses[0].new_lambda()
    keys = ["a", "b"]
    for house, key in zip(houses, keys, strict=True):
        fields = {"concurrency_key": key, "concurrency_limit": most, "rate_key": "r", "rate_limit": 10_000}
        body = [{"lambda": lambda_, "input": {"text": "x"}, "tenant": key} | fields] * jobs
        house.call("POST", "/job", {"jobs": body})
    workers = [(house, house.new_worker(slots=50)) for house in (*houses, *houses)]
    running, lock = dict.fromkeys(keys, 0), threading.Lock()

    def work(place: tuple[House, str]) -> int:
        house, worker = place
        done = 0
        while True:
            contracted = wait_out(
                house.services.contracts.contract(int(worker), ContractRequest(max=5, timeout=3.0))
            )
            if not contracted.jobs:
                return done
            with lock:
                for job in contracted.jobs:
                    running[job.concurrency_key] += 1
                    assert running[job.concurrency_key] <= most
            outcomes = [finished({"job": str(job.id), "lease": job.lease}) for job in contracted.jobs]
            with lock:
                for job in contracted.jobs:
                    running[job.concurrency_key] -= 1
            house.app.test_client().post(f"/worker/{worker}/finish", json={"outcomes": outcomes})
            done += len(outcomes)

    with ThreadPoolExecutor(len(workers)) as pool:
        assert sum(pool.map(work, workers)) == jobs * len(keys)
    views = [view for key in keys for view in houses[0].services.limits.show(key)]
    assert [(view.used, view.waiting) for view in views] == [(0, 0), (0, 0)]


def test_what_is_set_at_one_counts_at_the_other_at_once(houses: tuple[House, House]):
    here, there = houses
    namespace = here.call("POST", "/kv")["id"]
    here.call("POST", f"/kv/{namespace}/field/k", {"value": "v"})
    assert there.call("GET", f"/kv/{namespace}/field/k")["value"] == "v"
    worker, lambda_ = there.new_worker(), here.new_lambda(name="paused")
    here.call("PUT", "/hold/lambda/paused", {})
    there.submit(lambda_)
    assert there.contract(worker).get("jobs", []) == []
    there.call("DELETE", "/hold/lambda/paused")
    assert there.lease(worker)
    here.submit(lambda_)
    here.call("POST", f"/worker/{worker}/drain", {})
    assert there.contract(worker).get("jobs", []) == [], "it drains"
    newest = there.call("GET", "/events?limit=1")["newest"]
    job = here.submit(lambda_)
    until(lambda: [each["job"] for each in there.call("GET", f"/events?after={newest}")["events"]] == [job])


def test_a_tick_has_one_job_whoever_sees_it(houses: tuple[House, House]):
    here, there = houses
    made = here.call("POST", "/schedule", {"name": "s", "every_s": 10, "job": {"lambda": here.new_lambda()}})
    for _ in range(3):
        for house in houses:
            house.clock.forward(10)
        with ThreadPoolExecutor() as pool:
            list(pool.map(House.move_on, houses))
    ticks = there.call("GET", f"/schedule/{made['id']}/ticks")["ticks"]
    found = {each["id"] for each in there.call("GET", "/job")["jobs"]}
    assert sorted(each["job"] for each in ticks) == sorted(found)
    assert len(found) == 3
