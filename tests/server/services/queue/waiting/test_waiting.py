"""Requests that wait: they are woken by what they wait for, exactly those, and none is forgotten."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial

import pytest
from house import House, finished
from msgspec import UNSET
from patience import PATIENCE_S, until

from piecework.protocol.ids import Id
from piecework.protocol.messages import ContractRequest, Outcome
from piecework.protocol.states import JobState
from piecework.server.errors import CapacityReached, Stopping, WorkerRetired
from piecework.server.services.callers import note_caller
from piecework.server.services.core import Sleeper
from piecework.server.services.queue.leasing.contracts import Contracted
from piecework.server.services.queue.waiting.pauses import Places, Waiter, wait_out
from piecework.server.services.queue.waiting.waiting import Changes, JobWatch, Waiters
from piecework.server.store.queue.jobs import jobs
from piecework.server.store.records import Job, Lane
from piecework.server.store.stock import workers

LANE = Lane(1, "wasi", frozenset(), frozenset())


def anything(*_: object) -> bool:
    return True


def no_turn(_: object) -> tuple[None, Changes]:
    return None, Changes()


@pytest.fixture
def pool():
    with ThreadPoolExecutor(20) as pool:
        yield pool


def start_contract(house: House, pool: ThreadPoolExecutor, worker: str, **fields) -> Future[Contracted]:
    """Begin a long poll in another thread, and return once it waits."""
    before = len(house.services.waiters)
    request = ContractRequest(**{"timeout": 20.0, "max": 5} | fields)
    future = pool.submit(wait_out, house.services.contracts.contract(int(worker), request))
    until(lambda: len(house.services.waiters) > before or future.done())
    return future


def start_sleeper(house: House, pool: ThreadPoolExecutor, worker: str, **fields) -> Future[Contracted]:
    """Begin a long poll in another thread, and return once it has found nothing and sleeps."""
    future = start_contract(house, pool, worker, **fields)
    until(lambda: count_sleepers(house.services.waiters) > 0)
    return future


def count_sleepers(waiters: Waiters) -> int:
    return sum(each.take_turn is not None for each in list(waiters._parked))


def test_a_waiting_contract_is_given_the_job_that_is_submitted(house: House, pool):
    waiting = start_contract(house, pool, house.new_worker())
    job = house.submit(house.new_lambda())
    assert [found.id for found in waiting.result(PATIENCE_S).jobs] == [int(job)]


def test_one_job_wakes_one_of_many_and_the_others_wait_on(house: House, pool):
    lambda_ = house.new_lambda()
    waiting = [start_contract(house, pool, house.new_worker()) for _ in range(10)]
    house.submit(lambda_)
    until(lambda: sum(future.done() for future in waiting) == 1)
    assert len(house.services.waiters) == 9
    house.services.release_waiters()
    assert max(len(each.result(PATIENCE_S).jobs) for each in waiting if not each.exception(PATIENCE_S)) == 1


def test_a_contract_is_not_woken_by_jobs_that_it_may_not_run(house: House, pool):
    waiting = start_contract(house, pool, house.new_worker("lua5.4"))
    house.submit(house.new_lambda())
    job = house.submit(house.new_lambda(runtime="lua5.4"))
    assert [found.id for found in waiting.result(PATIENCE_S).jobs] == [int(job)]


def test_a_contract_for_no_jobs_ends_the_polls_of_its_worker_and_no_others(house: House, pool):
    stopping, working = house.new_worker(), house.new_worker()
    ended, waiting = start_contract(house, pool, stopping), start_contract(house, pool, working)
    house.contract(stopping, max=0)
    assert not ended.result(PATIENCE_S).jobs
    job = house.submit(house.new_lambda())
    assert [found.id for found in waiting.result(PATIENCE_S).jobs] == [int(job)]


@pytest.mark.parametrize(("method", "path"), [("POST", "/drain"), ("DELETE", "")], ids=["drain", "retire"])
def test_a_worker_that_is_to_stop_need_not_sit_out_its_poll(house: House, pool, method: str, path: str):
    worker = house.new_worker()
    ended = start_contract(house, pool, worker)
    house.call(method, f"/worker/{worker}{path}")
    try:
        assert not ended.result(PATIENCE_S).jobs
    except WorkerRetired:
        assert path == ""  # it went just before the poll had looked for a job


def test_a_job_that_comes_due_wakes_a_contract(house: House, pool):
    waiting = start_contract(house, pool, house.new_worker())
    job = house.submit(house.new_lambda(), delay_s=5)
    house.clock.forward(5)
    house.move_on()
    assert [found.id for found in waiting.result(PATIENCE_S).jobs] == [int(job)]


def test_a_lease_that_ran_out_wakes_a_contract(house: House, pool):
    job, dead = house.submit(house.new_lambda()), house.new_worker()
    house.lease(dead)
    waiting = start_contract(house, pool, house.new_worker())
    house.clock.forward(16)
    house.move_on()
    assert [found.id for found in waiting.result(PATIENCE_S).jobs] == [int(job)]


def start_sleepers(house: House, pool: ThreadPoolExecutor, *owners: str, **fields) -> list[Future[Contracted]]:
    """Begin long polls of some workers, one after the other, and return once all sleep."""
    futures = []
    for number, worker in enumerate(owners, 1):
        futures.append(start_contract(house, pool, worker, **fields))
        until(lambda wanted=number: count_sleepers(house.services.waiters) == wanted)
    return futures


def read_row(house: House, job: str) -> Job:
    return house.services.jobs.get(int(job))


V05 = {"max": UNSET}


@pytest.mark.parametrize("fields", [{}, V05], ids=["agent", "v0.5"])
def test_a_job_that_nobody_took_up_costs_no_attempt(house: House, pool, fields):
    [dead] = start_sleepers(house, pool, house.new_worker(), **fields)
    job = house.submit(house.new_lambda())
    assert [found.id for found in dead.result(PATIENCE_S).jobs] == [int(job)]
    house.clock.forward(2.6)
    house.move_on()
    assert (read_row(house, job).attempt, read_row(house, job).vanished) == (0, 0)
    assert house.trace(job)[-1] == ("Enqueued", "nobody took it up")
    [leased] = house.contract(house.new_worker())["jobs"]
    assert (leased["job"], leased["attempt"], leased["lease_s"]) == (job, 1, 15.0)


def test_dead_polls_leave_a_job_to_who_asks_next(house: House, pool):
    polls = start_sleepers(house, pool, *(house.new_worker() for _ in range(6)))
    job = house.submit(house.new_lambda())
    assert [found.id for found in polls[0].result(PATIENCE_S).jobs] == [int(job)]
    house.clock.forward(2.6)
    house.move_on()
    assert [poll.result(PATIENCE_S).jobs for poll in polls[1:]] == [[]] * 5
    assert house.lease(house.new_worker())["job"] == job


def test_a_returned_job_that_is_lost_again_counts(house: House, pool):
    start_sleepers(house, pool, house.new_worker())
    job = house.submit(house.new_lambda())
    house.clock.forward(2.6)
    house.lease(house.new_worker())
    house.clock.forward(16)
    house.move_on()
    assert (read_row(house, job).attempt, read_row(house, job).vanished) == (1, 1)
    assert not read_row(house, job).is_returned


def test_a_lost_lease_ends_the_other_polls_of_its_worker(house: House, pool):
    dead, lambda_ = house.new_worker(), house.new_lambda()
    job = house.submit(lambda_)
    house.lease(dead)
    poll, other = start_sleepers(house, pool, dead, house.new_worker())
    house.clock.forward(16)
    house.move_on()
    assert not poll.result(PATIENCE_S).jobs
    assert [found.id for found in other.result(PATIENCE_S).jobs] == [int(job)]


def test_a_poll_whose_worker_another_server_found_dead_passes_its_turn_on(house: House, pool):
    dead = house.new_worker()
    poll, other = start_sleepers(house, pool, dead, house.new_worker())
    found = house.services.workers.get(int(dead))
    lapse = partial(workers.note_lapse, id_=found.id, incarnation=found.incarnation, now=house.clock())
    assert house.services.database.write(lapse)
    job = house.submit(house.new_lambda())
    assert not poll.result(PATIENCE_S).jobs
    assert [each.id for each in other.result(PATIENCE_S).jobs] == [int(job)]


def test_a_worker_whose_lease_ran_out_is_given_jobs_when_it_asks_again(house: House, pool):
    worker, lambda_ = house.new_worker(), house.new_lambda()
    job = house.submit(lambda_)
    house.lease(worker)
    house.clock.forward(16)
    house.move_on()
    assert house.lease(worker)["job"] == job
    house.clock.forward(1)
    [waiting] = start_sleepers(house, pool, worker)
    next_ = house.submit(lambda_)
    assert [found.id for found in waiting.result(PATIENCE_S).jobs] == [int(next_)]


def test_a_lease_of_an_agent_that_waited_is_as_long_as_others_once_it_is_renewed(house: House, pool):
    worker = house.new_worker()
    waiting = start_sleeper(house, pool, worker)
    job = house.submit(house.new_lambda())
    given = waiting.result(PATIENCE_S)
    held = {"leases": [{"job": job, "lease": given.jobs[0].lease}]}
    [renewed] = house.call("POST", f"/worker/{worker}/heartbeat", held)["leases"]
    assert (given.lease_s, renewed["lease_s"]) == (2.5, 15.0)
    house.clock.forward(15.1)
    house.move_on()
    assert read_row(house, job).vanished == 1


def test_a_job_that_has_expired_is_given_to_nobody(house: House, pool):
    [waiting] = start_sleepers(house, pool, house.new_worker())
    lambda_ = house.new_lambda()
    late = house.submit(lambda_, expires_at=house.clock() / 1000 - 60)
    job = house.submit(lambda_)
    assert [found.id for found in waiting.result(PATIENCE_S).jobs] == [int(job)]
    house.move_on()
    assert house.trace(late)[-1] == ("Cancelled", "not started before it expired")


def test_the_end_of_a_job_that_lost_a_worker_lets_its_worker_have_the_next(house: House, pool):
    lambda_, dead, worker = house.new_lambda(), house.new_worker(), house.new_worker()
    jobs = [house.submit(lambda_) for _ in range(2)]
    assert len(house.contract(dead, max=2)["jobs"]) == 2
    house.clock.forward(16)
    held = house.lease(worker)
    [waiting] = start_sleepers(house, pool, worker)
    house.finish(worker, finished(held))
    assert [str(found.id) for found in waiting.result(PATIENCE_S).jobs] == [
        job for job in jobs if job != held["job"]
    ]


def test_a_job_handed_back_wakes_a_contract(house: House, pool):
    worker, job = house.new_worker(), house.submit(house.new_lambda())
    lease = house.lease(worker)
    waiting = start_contract(house, pool, house.new_worker())
    house.finish(worker, {**lease, "state": "Enqueued"})
    assert [found.id for found in waiting.result(PATIENCE_S).jobs] == [int(job)]


def test_a_job_that_a_worker_cannot_prepare_does_not_go_back_into_its_poll(house: House, pool):
    worker, job = house.new_worker(), house.submit(house.new_lambda())
    lease = house.lease(worker)
    waiting = start_sleeper(house, pool, worker)
    error = {"kind": "worker", "message": "No space left on device"}
    house.finish(worker, {**lease, "state": "Enqueued", "error": error})
    assert not waiting.result(PATIENCE_S).jobs
    assert house.lease(house.new_worker())["job"] == job


@pytest.mark.parametrize(("timeout_s", "longest_s"), [(1.0, 0.75), (10.0, 9.0)])
def test_a_contract_is_answered_before_its_timeout(house: House, timeout_s: float, longest_s: float):
    work = house.services.contracts.contract(int(house.new_worker()), ContractRequest(timeout=timeout_s))
    assert 0 < next(work).timeout_s <= longest_s
    work.close()
    assert len(house.services.waiters) == 0


def report_end(lease: dict[str, str]) -> Outcome:
    return Outcome(job=Id(int(lease["job"])), lease=lease["lease"], state=JobState.FINISHED)


def count_writes(house: House) -> int:
    return house.services.database.write_counter.read()[0]


def test_a_sleeping_contract_gets_a_job_in_the_transaction_that_stores_it(house: House, pool):
    lambda_ = house.new_lambda()
    sleeping = start_sleeper(house, pool, house.new_worker())
    before = count_writes(house)
    job = house.submit(lambda_)
    contracted = sleeping.result(PATIENCE_S)
    assert [found.id for found in contracted.jobs] == [int(job)]
    assert count_writes(house) - before == 1
    assert (house.state(job), [state for state, _ in house.trace(job)]) == ("Running", ["Enqueued", "Running"])


def test_a_sleeping_contract_gets_what_is_first_in_the_queue(house: House, pool):
    lambda_ = house.new_lambda()
    better = house.submit(lambda_, priority=1, status="paused")
    sleeping = start_sleeper(house, pool, house.new_worker(), max=1)
    with_room = start_contract(house, pool, house.new_worker())
    until(lambda: count_sleepers(house.services.waiters) == 2)
    house.services.database.write(
        lambda connection: jobs.move_job(connection, int(better), JobState.PAUSED, JobState.ENQUEUED, None)
    )  # nobody has been woken for it yet
    other = house.submit(lambda_)
    assert [found.id for found in sleeping.result(PATIENCE_S).jobs] == [int(better)]
    assert [found.id for found in with_room.result(PATIENCE_S).jobs] == [int(other)]


def test_a_sleeping_contract_outlives_a_submission_that_fails(house: House, pool):
    lambda_ = house.new_lambda()
    first = house.submit(lambda_, key="k")
    house.lease(house.new_worker())
    sleeping = start_sleeper(house, pool, house.new_worker())
    house.call("POST", "/job", {"lambda": lambda_, "key": "k", "priority": 1}, status=409)
    assert house.submit(lambda_, key="k") == first
    until(lambda: count_sleepers(house.services.waiters) > 0)
    job = house.submit(lambda_)
    assert [found.id for found in sleeping.result(PATIENCE_S).jobs] == [int(job)]


def test_the_sleeping_contract_of_a_worker_that_has_just_been_retired_gets_no_job(house: House, pool):
    worker = house.new_worker()
    sleeping = start_sleeper(house, pool, worker)
    now = house.clock()
    house.services.database.write(lambda connection: workers.retire_worker(connection, int(worker), now))
    job = house.submit(house.new_lambda())
    with pytest.raises(WorkerRetired):
        sleeping.result(PATIENCE_S)
    assert house.state(job) == "Enqueued"


def test_the_sleeping_contract_of_a_process_that_was_replaced_takes_nothing_from_the_new_one(house: House, pool):
    worker, lambda_ = house.new_worker(), house.new_lambda()
    old = start_sleeper(house, pool, worker, incarnation="first")
    held = house.submit(lambda_)
    assert [found.id for found in old.result(PATIENCE_S).jobs] == [int(held)]
    old = start_sleeper(house, pool, worker, incarnation="first")
    # The process dies; a new one starts, gets that job when its lease ends, and holds it.
    new = wait_out(house.services.contracts.contract(int(worker), ContractRequest(max=5, incarnation="second")))
    assert [found.id for found in new.jobs] == [int(held)]
    next_ = house.submit(lambda_)
    assert old.result(PATIENCE_S).jobs == ()
    lease = {"job": held, "lease": new.jobs[0].lease}
    house.finish(worker, finished(lease))
    assert house.state(held) == "Finished"
    again = wait_out(house.services.contracts.contract(int(worker), ContractRequest(max=5, incarnation="second")))
    assert [found.id for found in again.jobs] == [int(next_)]


def test_a_contract_whose_time_ends_while_its_turn_is_taken_waits_for_the_answer(pool):
    waiters = Waiters(Places(10))
    with waiters.park(1, anything) as waiter:
        waiter.take_turn = no_turn
        with waiters.engage(LANE) as engaged:
            assert engaged is waiter
            slept = pool.submit(wait_out, waiters.wait(waiter, no_turn, 0))
        assert slept.result(PATIENCE_S)
    with waiters.park(1, anything) as waiter:
        assert not wait_out(waiters.wait(waiter, no_turn, 0))
        with waiters.engage(LANE) as engaged:
            assert engaged is None


def test_a_contract_that_has_not_looked_yet_is_not_engaged():
    waiters = Waiters(Places(10))
    with waiters.park(1, anything), waiters.engage(LANE) as engaged:
        assert engaged is None


def test_outcomes_are_recorded_before_their_contract_waits(house: House, pool):
    worker, lambda_ = house.new_worker(), house.new_lambda()
    first = house.submit(lambda_)
    outcome = report_end(house.lease(worker))
    waiting = start_sleeper(house, pool, worker, outcomes=[outcome])
    assert house.state(first) == "Finished"
    second = house.submit(lambda_)
    contracted = waiting.result(PATIENCE_S)
    assert [found.id for found in contracted.jobs] == [int(second)]
    assert [(ack.job, ack.code) for ack in contracted.acks] == [(int(first), 0)]


def test_outcomes_are_acknowledged_by_a_server_that_cannot_let_their_contract_wait(house: House, pool):
    worker = house.new_worker()
    job = house.submit(house.new_lambda())
    outcome = report_end(house.lease(worker))
    waiting = start_sleeper(house, pool, worker, outcomes=[outcome])
    house.services.release_waiters()
    assert [ack.code for ack in waiting.result(PATIENCE_S).acks] == [0]
    assert [state for state, _ in house.trace(job)].count("Finished") == 1


def test_a_reader_waits_until_the_job_is_in_the_state(house: House, pool):
    worker, job = house.new_worker(), house.submit(house.new_lambda())
    wait = pool.submit(wait_out, house.services.jobs.wait_for(int(job), JobState.FINISHED, 20.0))
    until(lambda: len(house.services.watch) == 1)
    lease = house.lease(worker)
    until(lambda: len(house.services.watch) == 1)
    assert not wait.done()
    house.finish(worker, finished(lease))
    assert wait.result(PATIENCE_S).state is JobState.FINISHED


def test_a_submission_that_waits_is_answered_with_the_jobs_end(house: House, pool):
    worker, lambda_ = house.new_worker(), house.new_lambda()
    body = {"lambda": lambda_, "key": "k", "input": {"text": "x"}}
    client = house.app.test_client()
    waiting = pool.submit(client.post, "/job?wait=20&output=inline", json=body)
    until(lambda: len(house.services.watch) == 1)
    house.finish(worker, finished(house.lease(worker), "done"))
    reply = waiting.result(PATIENCE_S).get_json()
    assert (reply["job"]["state"], reply["job"]["output"]["text"]) == ("Finished", "done")
    again = house.call("POST", "/job?wait=20", body)
    assert (again["id"], again["job"]["state"]) == (reply["id"], "Finished")


def test_a_submission_waits_no_longer_than_it_asked_for(house: House):
    reply = house.call("POST", "/job?wait=0.01", {"lambda": house.new_lambda()})
    assert reply["job"]["state"] == "Enqueued"


def test_a_reader_is_answered_when_the_state_can_no_longer_be_reached(house: House, pool):
    job = house.submit(house.new_lambda())
    wait = pool.submit(wait_out, house.services.jobs.wait_for(int(job), JobState.FINISHED, 20.0))
    until(lambda: len(house.services.watch) == 1)
    house.call("DELETE", f"/job/{job}")
    assert wait.result(PATIENCE_S).state is JobState.CANCELLED


def test_a_reader_of_many_is_answered_at_the_first_or_at_the_last_end(house: House, pool):
    worker, lambda_ = house.new_worker(), house.new_lambda()
    ids = [int(house.submit(lambda_)) for _ in range(2)]
    first = pool.submit(wait_out, house.services.jobs.wait_for_ends(ids, 20.0, need_all=False))
    last = pool.submit(wait_out, house.services.jobs.wait_for_ends(ids, 20.0, need_all=True))
    until(lambda: len(house.services.watch) == 2)
    house.finish(worker, finished(house.lease(worker)))
    first.result(PATIENCE_S)
    until(lambda: len(house.services.watch) == 1)
    assert not last.done()
    house.finish(worker, finished(house.lease(worker)))
    last.result(PATIENCE_S)


def test_a_reader_gets_the_present_state_when_the_time_is_over(house: House):
    job = house.submit(house.new_lambda())
    assert house.call("GET", f"/job/{job}?except=Finished&timeout=0.01")["state"] == "Enqueued"


def test_a_log_is_followed_until_the_job_ends(house: House, pool):
    worker, job = house.new_worker(), house.submit(house.new_lambda())
    lease = house.lease(worker)
    wait = pool.submit(wait_out, house.services.jobs.log(int(job), 0, None, 20.0))
    until(lambda: len(house.services.watch) == 1)
    part = {**lease, "log": "YWJj", "offset": 0}
    house.call("POST", f"/worker/{worker}/heartbeat", {"leases": [lease], "logs": [part]})
    assert wait.result(PATIENCE_S)[1].content == b"abc"


def test_stopping_answers_everyone_and_takes_nobody(house: House, pool):
    waiting = start_contract(house, pool, house.new_worker())
    house.services.release_waiters()
    with pytest.raises(Stopping):
        waiting.result(PATIENCE_S)
    with pytest.raises(Stopping), house.services.watch.park([1], anything):
        pass


def test_more_waiters_than_the_cap_are_refused():
    places = Places(1)
    waiters, watch = Waiters(places), JobWatch(places)
    with waiters.park(1, anything), pytest.raises(CapacityReached), watch.park([1], anything):
        pass
    with watch.park([1], anything):
        assert (len(waiters), len(watch)) == (0, 1)
    assert len(watch) == 0


@pytest.fixture
def _called():
    note_caller(lambda _tell: None)
    yield
    note_caller(None)


@pytest.mark.usefixtures("_called")
def test_who_has_waited_longest_makes_room_when_all_places_are_taken():
    now = 100.0
    places = Places(2, Sleeper(lambda: now))
    waiters, watch = Waiters(places), JobWatch(places)
    with waiters.park(1, anything) as first, watch.park([1], anything) as second:
        now += 5
        with watch.park([2], anything) as third:
            assert (first.sleep(0), first.dismissed) == (True, True)
            with waiters.park(2, anything):
                assert (second.sleep(0), second.dismissed, third.dismissed) == (True, True, False)
                with pytest.raises(CapacityReached), waiters.park(3, anything):
                    pass


@pytest.mark.usefixtures("_called")
def test_a_contract_that_is_given_a_job_just_now_is_not_sent_away():
    now = 100.0
    places = Places(1, Sleeper(lambda: now))
    waiters = Waiters(places)
    with waiters.park(1, anything) as waiter:
        waiter.take_turn = no_turn
        now += 5
        with waiters.engage(LANE) as engaged, waiters.park(2, anything):
            assert (engaged, waiter.dismissed) == (waiter, False)


def test_who_cannot_be_answered_early_keeps_the_place():
    now = 100.0
    places = Places(1, Sleeper(lambda: now))
    watch = JobWatch(places)
    with watch.park([1], anything) as waiter:
        now += 5
        with pytest.raises(CapacityReached), watch.park([2], anything):
            pass
        assert not waiter.dismissed


def wait_called(
    register: Callable[[], AbstractContextManager[Waiter]], called: list[Callable[[], object]]
) -> Waiter:
    """Wait as a request does whose caller ``called`` tells of, and return what waited when that is over."""
    note_caller(called.append)
    try:
        with register() as waiter:
            assert waiter.sleep(PATIENCE_S)
            return waiter
    finally:
        note_caller(None)


@pytest.mark.slow
def test_requests_without_a_connection_end_and_others_wait_on(pool):
    places, called = Places(100), []
    waiters, watch = Waiters(places), JobWatch(places)
    kinds = [partial(waiters.park, 1, anything), partial(watch.park, [1], anything)]
    waiting = []
    for kind in kinds * 2:
        waiting.append(pool.submit(wait_called, kind, called))
        until(lambda: len(called) == len(waiting))
    for leave in called[:2]:
        leave()
    assert all(each.result(PATIENCE_S).dismissed for each in waiting[:2])
    assert (len(waiters), len(watch)) == (1, 1)
    assert not any(each.done() for each in waiting[2:])
    waiters.wake(LANE, 1)
    watch.wake({1: JobState.RUNNING})
    assert not any(each.result(PATIENCE_S).dismissed for each in waiting[2:])
    for leave in called:
        leave()
    assert (len(waiters), len(watch)) == (0, 0)


def test_nobody_looks_out_for_the_caller_of_a_request_that_is_soon_over():
    waiters, called = Waiters(Places(10)), []
    note_caller(called.append)
    with waiters.park(1, anything) as waiter:
        waiters.wake(LANE, 1)
        assert waiter.sleep(PATIENCE_S)
    note_caller(None)
    assert not called


def test_a_reader_that_makes_room_is_answered_with_what_there_is(house: House, pool):
    job = house.submit(house.new_lambda())
    waits = [
        pool.submit(wait_out, house.services.jobs.wait_for(int(job), JobState.FINISHED, 20.0)),
        pool.submit(wait_out, house.services.jobs.log(int(job), 0, None, 20.0)),
    ]
    until(lambda: len(house.services.watch) == 2)
    for waiter in list(house.services.watch._watched[int(job)]):
        house.services.watch._dismiss_one(waiter)
    assert waits[0].result(PATIENCE_S).state is JobState.ENQUEUED
    assert waits[1].result(PATIENCE_S)[1].content == b""


def test_a_waiter_that_is_woken_before_it_sleeps_does_not_sleep():
    waiters = Waiters(Places(10))
    with waiters.park(1, lambda _: True) as waiter:
        waiters.wake(LANE, 1)
        assert waiter.sleep(0)


def test_those_who_wait_longest_are_woken_first():
    waiters = Waiters(Places(10))
    with waiters.park(1, lambda _: True) as first, waiters.park(1, lambda _: True) as second:
        waiters.wake(LANE, 1)
        assert (first.sleep(0), second.sleep(0)) == (True, False)


def test_a_watch_forgets_who_left():
    watch = JobWatch(Places(10))
    with watch.park([1, 2], anything) as one, watch.park([2, 3], anything) as other:
        watch.wake({2: JobState.RUNNING})
        assert one.sleep(0)
        assert other.sleep(0)
        assert sorted(watch.watched()) == [1, 2, 3]
    assert watch.watched() == []
