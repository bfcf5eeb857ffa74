"""Limits by key: never more than said run at once or start in a period, and everything runs in the end."""

import random
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from house import House, failed, finished
from places import Place
from tries import tries

from piecework.protocol.states import JobState
from piecework.server.services.queue.leasing.claims import PARKED_MAX
from piecework.server.services.queue.limits.limits import LimitView, Rule
from piecework.server.store.engine.database import Connection
from piecework.server.store.engine.tables import jobs as jobs_table, limits as limits_table
from piecework.server.store.queue.leasing.limits import LimitName


@pytest.fixture
def house(place: Place) -> Iterator[House]:
    house = House(place.data, place.database_url)
    yield house
    house.close()


def states(house: House, ids: list[str]) -> str:
    """Return the first letters of the states of jobs."""
    return "".join(house.state(id_)[0] for id_ in ids)


def submit(house: House, lambda_: str, count: int, **fields: Any) -> list[str]:
    body = {"jobs": [{"lambda": lambda_, "input": {"text": "x"}} | fields] * count}
    return list(house.call("POST", "/job", body)["ids"])


def two(key: str = "k", limit: int = 2) -> dict[str, Any]:
    return {"concurrency_key": key, "concurrency_limit": limit}


def take(house: House, worker: str, count: int = 100) -> list[dict[str, str]]:
    """Lease jobs, and return their ids with their leases."""
    reply = house.contract(worker, max=count)
    return [{"job": each["job"], "lease": each["lease"]} for each in reply.get("jobs", [])]


def advice(house: House, job: str) -> tuple[str | None, str | None]:
    info = house.call("GET", f"/job/{job}?view=full")
    return info.get("waits_for"), info.get("advice")


def test_no_more_jobs_of_a_key_run_at_once_than_its_limit(house: House):
    worker, lambda_ = house.new_worker(slots=50), house.new_lambda()
    ids = submit(house, lambda_, 5, **two())
    free = house.submit(lambda_)
    assert states(house, ids) == "EEWWW"
    first = take(house, worker)
    assert [each["job"] for each in first] == [*ids[:2], free]
    assert take(house, worker) == []
    house.finish(worker, finished(first[0]))
    assert states(house, ids) == "FRE" + "WW"
    assert advice(house, ids[4]) == (
        "limit",
        "limit of key k has room for the next: 1 of 2 run; 1 waits before it",
    )
    second = take(house, worker)
    assert [each["job"] for each in second] == [ids[2]]
    assert advice(house, ids[4]) == ("limit", "limit of key k reached: 2 of 2 run; 1 waits before it")
    assert house.trace(ids[2])[:3] == [
        ("Waiting", "submitted"),
        ("Enqueued", "there is room for it"),
        ("Running", ""),
    ]


def test_every_way_of_ending_a_lease_makes_room(house: House):
    worker, lambda_ = house.new_worker(slots=50), house.new_lambda()
    ids = submit(house, lambda_, 9, **two(limit=1), max_attempts=2, backoff={"kind": "fixed", "base_s": 60})
    order: list[str] = []

    def next_one() -> dict[str, str]:
        [lease] = take(house, worker)
        order.append(lease["job"])
        return lease

    house.finish(worker, finished(next_one()))
    house.finish(worker, failed(next_one()))  # waits for its second attempt
    house.finish(worker, failed(next_one(), kind="load"))
    house.call("DELETE", f"/job/{next_one()['job']}")
    house.finish(worker, {**next_one(), "state": "Enqueued"})  # handed back: it is first again
    house.finish(worker, {**next_one(), "state": "Cancelled"})
    next_one()
    house.clock.forward(20)  # its lease runs out
    house.move_on()
    next_one()
    assert order == [*ids[:5], ids[4], ids[5], ids[5]]
    assert take(house, worker) == []


def test_jobs_that_leave_before_they_start_make_room(house: House):
    worker, lambda_ = house.new_worker(slots=50), house.new_lambda()
    ids = submit(house, lambda_, 1, **two(limit=1), expires_at="2026-09-21T14:13:25Z")
    ids += submit(house, lambda_, 3, **two(limit=1))
    assert states(house, ids) == "EWWW"
    house.clock.forward(3600 * 24 * 365)
    house.move_on()
    assert states(house, ids) == "CEWW"
    house.call("POST", f"/job/{ids[1]}", {"status": "paused"})
    assert states(house, ids) == "CPEW"
    house.call("DELETE", f"/job/{ids[2]}")
    assert states(house, ids) == "CPCE"
    house.call("POST", f"/job/{ids[1]}", {"status": "enqueued"})
    assert states(house, ids) == "CWCE"
    house.call("POST", f"/job/{ids[1]}", {"status": "paused"})
    house.call("DELETE", f"/job/{ids[1]}")
    assert [each["job"] for each in take(house, worker)] == [ids[3]]


def test_a_higher_priority_is_next(house: House):
    worker, lambda_ = house.new_worker(slots=50), house.new_lambda()
    low = submit(house, lambda_, 3, **two(limit=1))
    [high] = submit(house, lambda_, 1, **two(limit=1), priority=9)
    [lease] = take(house, worker)
    assert lease["job"] == high
    assert states(house, low) == "WWW"  # the claim met the first, which was enqueued, and has it wait
    [middle] = submit(house, lambda_, 1, **two(limit=1), priority=5)
    house.finish(worker, finished(lease))
    assert [each["job"] for each in take(house, worker)] == [middle]


def test_a_job_that_no_worker_fits_holds_nobody_of_its_key_up(house: House):
    worker, lambda_ = house.new_worker(slots=50), house.new_lambda()
    other = house.new_lambda(runtime="elsewhere")
    stuck = submit(house, other, 3, **two(limit=1))
    ids = submit(house, lambda_, 3, **two(limit=1))
    done = []
    while leases := take(house, worker):
        assert len(leases) == 1
        done.append(leases[0]["job"])
        house.finish(worker, finished(leases[0]))
    assert done == ids
    late = house.new_worker("elsewhere", slots=50)
    assert [each["job"] for each in take(house, late)] == stuck[:1]


def test_the_newest_submission_says_the_limit_and_an_operator_overrides_it(house: House):
    worker, lambda_ = house.new_worker(slots=50), house.new_lambda()
    ids = submit(house, lambda_, 8, **two(limit=1))
    ids += submit(house, lambda_, 1, **two(limit=3))
    assert states(house, ids) == "EEEWWWWWW"
    assert len(take(house, worker)) == 3
    house.services.limits.rule("k", rule(concurrency=5))
    assert states(house, ids) == "RRREEWWWW"
    submit(house, lambda_, 1, **two(limit=1))
    assert len(take(house, worker)) == 2
    house.services.limits.rule("k", rule(concurrency=0))
    assert take(house, worker) == []
    assert advice(house, ids[8]) == (
        "limit",
        "limit of key k reached: an operator lets none run; 3 wait before it",
    )
    house.services.limits.clear("k")
    [view] = house.services.limits.show("k")
    assert (view.limit.most, view.used, view.waiting) == (1, 5, 5)


def rule(**fields: Any) -> Rule:
    return Rule(**fields)


def listed(house: House) -> list[LimitView]:
    return house.services.limits.list_page(LimitName("concurrency", ""), 9)


@pytest.mark.slow
def test_a_lowered_limit_counts_for_jobs_that_are_enqueued(house: House):
    worker, lambda_ = house.new_worker(slots=500), house.new_lambda()
    ids = submit(house, lambda_, 450, **two(limit=400))
    house.services.limits.rule("k", rule(concurrency=3))
    assert [each["job"] for each in take(house, worker)] == ids[:3]
    waiting = Counter(states(house, ids))["W"]
    assert 50 + PARKED_MAX <= waiting < 447, "one claim has not all of them wait"
    assert take(house, worker) == []
    assert Counter(states(house, ids)) == {"R": 3, "W": 447}


def test_a_key_without_any_limit_and_limits_that_contradict_each_other_are_refused(house: House):
    lambda_ = house.new_lambda()
    body: dict[str, Any] = {"lambda": lambda_, "input": {"text": "x"}}

    def refuse(**fields: Any) -> str:
        return str(house.call("POST", "/job", body | fields, status=422)["message"])

    assert "has no limit yet: say concurrency_limit" in refuse(concurrency_key="new")
    assert "has no limit yet: say rate_limit" in refuse(rate_key="new")
    assert "must lie between 1 and 1000000; to keep a job from starting, submit it paused" in refuse(
        **two(limit=0)
    )
    assert "must lie between 1" in refuse(**two(limit=-1))
    assert "1 to 255 characters, this one has 10000" in refuse(**two("k" * 10_000))
    assert "1 to 255 characters, this one has 0" in refuse(**two(""))
    assert "say concurrency_key, too" in refuse(concurrency_limit=2)
    assert "say rate_key, too" in refuse(rate_limit=2)
    assert "say both" in refuse(rate_key="r", rate_period_s=5)
    assert "rate_period_s is 0" in refuse(rate_key="r", rate_limit=1, rate_period_s=0)
    assert "31 days" in refuse(rate_key="r", rate_limit=1, rate_period_s=86_400 * 40)
    both = {"jobs": [body | two(limit=2), body | two(limit=3)]}
    assert "is 2 and 3" in house.call("POST", "/job", both, status=422)["message"]
    assert listed(house) == []


def test_a_lambda_has_keys_for_its_jobs(house: House):
    lambda_ = house.new_lambda(**two("of lambda", 1), rate_key="r", rate_limit=5, rate_period_s=60)
    assert states(house, submit(house, lambda_, 2)) == "EW"
    assert states(house, submit(house, lambda_, 2, **two("own", 2))) == "EE"
    [view] = house.services.limits.show("of lambda")
    assert (view.limit.kind, view.limit.most) == ("concurrency", 1)
    info = house.call("GET", f"/lambda/{lambda_}?view=full")
    assert (info["concurrency_key"], info["rate_limit"], info["rate_period_s"]) == ("of lambda", 5, 60)


def test_no_more_jobs_of_a_key_start_in_a_period_than_its_limit(house: House):
    worker, lambda_ = house.new_worker(slots=50), house.new_lambda()
    ids = submit(house, lambda_, 7, rate_key="r", rate_limit=3, rate_period_s=10)
    assert states(house, ids) == "EEEWWWW"
    first = take(house, worker, 2)
    house.clock.forward(4)
    first += take(house, worker)
    house.finish(worker, *map(finished, first))
    assert states(house, ids) == "FFFWWWW"
    waits_for, text = advice(house, ids[4])
    assert waits_for == "limit"
    told = "3 of 3 started within 10 s, the next may start at 2026-09-21T14:13:30.000+00:00; 1 waits before it"
    assert text == f"limit of key r reached: {told}"
    house.clock.forward(5.999)
    house.move_on()
    assert take(house, worker) == []
    house.clock.forward(0.001)
    assert [each["job"] for each in take(house, worker)] == ids[3:5]
    house.clock.forward(4)
    assert [each["job"] for each in take(house, worker)] == ids[5:6]
    for id_ in ids[3:6]:
        house.call("DELETE", f"/job/{id_}")
    house.clock.forward(100)
    assert [each["job"] for each in take(house, worker)] == ids[6:]


def test_a_clock_that_is_set_back_delays_starts_by_a_period_at_most(house: House):
    worker, lambda_ = house.new_worker(slots=50), house.new_lambda()
    ids = submit(house, lambda_, 3, rate_key="r", rate_limit=1, rate_period_s=10)
    assert len(take(house, worker)) == 1
    house.clock.forward(-3600)
    house.services.limits.check_all()
    house.clock.forward(10)
    house.services.limits.check_all()
    assert [each["job"] for each in take(house, worker)] == ids[1:2]


def test_a_job_with_both_keys_starts_when_both_have_room(house: House):
    worker, lambda_ = house.new_worker(slots=50), house.new_lambda()
    rate = {"rate_key": "r", "rate_limit": 2, "rate_period_s": 10}
    ids = submit(house, lambda_, 4, **two(limit=1), **rate)
    others = submit(house, lambda_, 2, **two(limit=1))
    done: list[str] = []
    for _ in range(3):
        for lease in take(house, worker):
            done.append(lease["job"])
            house.finish(worker, finished(lease))
    assert done == [*ids[:2], others[0]]
    house.clock.forward(10)
    while leases := take(house, worker):
        assert len(leases) == 1
        done.append(leases[0]["job"])
        house.finish(worker, finished(leases[0]))
    assert sorted(done) == sorted([*ids, *others])


@pytest.mark.slow
def test_claims_do_not_wade_through_jobs_of_a_full_key(house: House):
    worker, lambda_ = house.new_worker(slots=50), house.new_lambda()
    submit(house, lambda_, 3000, **two(limit=1))
    assert len(take(house, worker, 1)) == 1
    free = submit(house, lambda_, 5)
    with house.services.database.read() as connection:
        enqueued = connection.execute(
            jobs_table.select().where(jobs_table.c.state == "Enqueued", jobs_table.c.concurrency_key == "k")
        ).all()
    assert enqueued == []
    assert [each["job"] for each in take(house, worker)] == free


def test_a_wrong_count_is_found_and_repaired(house: House):
    worker, lambda_ = house.new_worker(slots=50), house.new_lambda()
    ids = submit(house, lambda_, 4, **two())
    submit(house, lambda_, 1, rate_key="r", rate_limit=3)
    take(house, worker)
    house.services.database.write(lambda c: c.execute(limits_table.update().values(running=7)) and None)
    lease = house.services.jobs.get(int(ids[0])).lease
    house.finish(worker, finished({"job": ids[0], "lease": str(lease)}))
    assert states(house, ids) == "FRWW"
    assert house.services.limits.check_all() == (2, 2)
    assert states(house, ids) == "FREW"
    assert house.services.limits.check_all() == (2, 0)
    house.services.limits.check_some()
    assert len(take(house, worker)) == 1


def test_limits_that_nobody_uses_are_forgotten(house: House):
    worker, lambda_ = house.new_worker(slots=50), house.new_lambda()
    submit(house, lambda_, 2, **two("gone", 1))
    submit(house, lambda_, 1, **two("ruled", 1))
    house.services.limits.rule("ruled", rule(concurrency=1))
    house.clock.forward(90_000)
    house.services.limits.check_all()
    assert {each.limit.key for each in listed(house)} == {
        "gone",
        "ruled",
    }
    while leases := take(house, worker):
        house.finish(worker, *map(finished, leases))
    house.services.limits.check_all()
    assert [each.limit.key for each in listed(house)] == ["ruled"]


@pytest.mark.slow
def test_claims_that_happen_at_once_keep_to_the_limits(house: House):
    lambda_ = house.new_lambda()
    for key in "abc":
        submit(house, lambda_, 30, **two(key, 2), rate_key="r", rate_limit=1000)
    workers = [house.new_worker(slots=50) for _ in range(4)]
    most: Counter[str] = Counter()

    def count(connection: Connection) -> None:
        rows = connection.execute(
            jobs_table.select()
            .where(jobs_table.c.state == "Running")
            .with_only_columns(jobs_table.c.concurrency_key)
        )
        for key, running in Counter(key for (key,) in rows).items():
            most[key] = max(most[key], running)

    def work(worker: str) -> int:
        done = idle = 0
        client = house.app.test_client()
        while idle < 20:
            reply = client.post(f"/worker/{worker}/contract", json={"max": 4, "timeout": 0}).get_json()
            leases = [{"job": each["job"], "lease": each["lease"]} for each in reply.get("jobs", [])]
            with house.services.database.read() as connection:
                count(connection)
            if leases:
                client.post(f"/worker/{worker}/finish", json={"outcomes": [finished(each) for each in leases]})
            done, idle = done + len(leases), 0 if leases else idle + 1
        return done

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(work, workers)) == 90
    assert set(most) <= set("abc")
    assert max(most.values()) <= 2


class History:
    """A random history of jobs with keys; after each step the limits must hold."""

    def __init__(self, house: House, seed: int) -> None:
        self.house = house
        self.lot = random.Random(seed)
        self.workers = [house.new_worker(slots=50), house.new_worker("other", "default", slots=50)]
        self.lambdas = [house.new_lambda(), house.new_lambda(runtime="other")]
        self.limits = {key: self.lot.randint(1, 3) for key in "abc"}
        self.rates = {key: (self.lot.randint(1, 4), self.lot.choice([5, 20])) for key in "xy"}
        self.leases: list[tuple[str, dict[str, str]]] = []
        self.jobs: list[str] = []
        self.starts: dict[str, deque[int]] = {key: deque() for key in self.rates}
        self.keys: dict[str, str | None] = {}

    def submit(self) -> None:
        fields: dict[str, Any] = {"priority": self.lot.choice([0, 0, 0, 5]), "max_attempts": 2}
        key, rate = self.lot.choice(["a", "b", "c", None]), self.lot.choice(["x", "y", None, None])
        if key:
            fields |= two(key, self.limits[key])
        if rate:
            limit, period_s = self.rates[rate]
            fields |= {"rate_key": rate, "rate_limit": limit, "rate_period_s": period_s}
        if self.lot.random() < 0.2:
            fields["delay_s"] = self.lot.randint(1, 10)
        if self.lot.random() < 0.1:
            fields["status"] = "paused"
        ids = submit(self.house, self.lot.choice(self.lambdas), self.lot.randint(1, 6), **fields)
        self.jobs += ids
        self.keys |= dict.fromkeys(ids, rate)

    def claim(self) -> None:
        worker = self.lot.choice(self.workers)
        for lease in take(self.house, worker, self.lot.randint(1, 8)):
            self.leases.append((worker, lease))
            if rate := self.keys[lease["job"]]:
                self.starts[rate].append(self.house.clock())

    def end(self) -> None:
        if not self.leases:
            return
        worker, lease = self.leases.pop(self.lot.randrange(len(self.leases)))
        outcome = self.lot.choice([finished(lease), failed(lease), {**lease, "state": "Enqueued"}])
        self.house.call("POST", f"/worker/{worker}/finish", {"outcomes": [outcome]}, status=None)

    def change(self) -> None:
        if self.jobs:
            job = self.lot.choice(self.jobs)
            self.house.call(
                "POST", f"/job/{job}", {"status": self.lot.choice(["paused", "enqueued"])}, status=None
            )

    def cancel(self) -> None:
        if self.jobs:
            self.house.call("DELETE", f"/job/{self.lot.choice(self.jobs)}")

    def wait(self) -> None:
        self.house.clock.forward(self.lot.choice([0.5, 3, 20]))
        self.house.move_on()

    def check(self) -> None:
        with self.house.services.database.read() as connection:
            rows = connection.execute(jobs_table.select().where(jobs_table.c.state == "Running")).all()
            kept = connection.execute(limits_table.select().where(limits_table.c.kind == "concurrency")).all()
        running = Counter(row.concurrency_key for row in rows if row.concurrency_key)
        assert all(running[key] <= limit for key, limit in self.limits.items()), running
        assert {row.key: row.running for row in kept if row.running} == dict(running)
        for rate, (limit, period_s) in self.rates.items():
            times = list(self.starts[rate])
            for first, last in zip(times, times[limit:], strict=False):
                assert last - first >= period_s * 1000, (rate, times)

    def drain(self) -> None:
        """Finish everything, and see that it ends."""
        for job in self.jobs:
            if self.house.state(job) == "Paused":
                self.house.call("POST", f"/job/{job}", {"status": "enqueued"})
        for _ in range(400):
            self.house.clock.forward(5)
            self.house.move_on()
            for worker in self.workers:
                leases = take(self.house, worker)
                if leases:
                    self.house.finish(worker, *map(finished, leases))
            if not self.has_more():
                break
        left = [job for job in self.jobs if not JobState(self.house.state(job)).is_final]
        assert left == []

    def has_more(self) -> bool:
        query = jobs_table.select().where(jobs_table.c.finished_at.is_(None)).limit(1)
        with self.house.services.database.read() as connection:
            return connection.execute(query).first() is not None


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(tries(6)))
def test_limits_hold_in_random_histories_and_everything_ends(house: House, seed: int):
    history = History(house, seed)
    steps = [history.submit] * 2 + [history.claim] * 4 + [history.end] * 4
    steps += [history.change, history.cancel, history.wait, history.wait]
    for _ in range(70):
        history.lot.choice(steps)()
        history.check()
    history.drain()
    history.check()
