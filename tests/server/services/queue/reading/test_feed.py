"""The feed: every change of a job, once, in one order, whoever made it; and no row for each job."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from house import House, failed, finished
from patience import LONG_S, PATIENCE_S, until
from places import Place

from piecework.protocol.states import JobState
from piecework.server.errors import BadTransition, FeedGone, InvalidParameter, Stopping
from piecework.server.services.queue.reading.feed import Interest
from piecework.server.store.engine.connections import notes_of
from piecework.server.store.engine.tables.feed import feed as packs, outbox
from piecework.server.store.queue.figures import feed
from piecework.server.store.queue.figures.feed import PACK, Run

ALL = Interest()


def read(house: House, after: int = 0, which: Interest = ALL, limit: int = 1000) -> list[tuple[int, int, str]]:
    """Return (number, job, state) of all changes that follow a number."""
    house.services.feed.number()
    found = []
    while True:
        page = house.services.feed.read(after, which, limit)
        found += [(each.number, each.job_id, each.state.value) for each in page.changes]
        after = page.upto
        if not page.is_behind:
            return found


def states(house: House, job: str | int) -> list[str]:
    return [state for _, _, state in read(house, which=Interest(frozenset([int(job)])))]


def count(house: House, table: object) -> int:
    with house.services.database.read() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())


def run(house: House, job_ids: list[str], **fields: object) -> None:
    worker = house.new_worker()
    leased = house.contract(worker, max=len(job_ids), **fields)["jobs"]
    house.finish(worker, *(finished({"job": each["job"], "lease": each["lease"]}) for each in leased))


def test_a_jobs_life_is_told_in_order_without_gaps(house: House):
    job = house.submit(house.new_lambda())
    run(house, [job])
    assert read(house) == [(1, int(job), "Enqueued"), (2, int(job), "Running"), (3, int(job), "Finished")]
    assert read(house, after=2) == [(3, int(job), "Finished")]
    assert read(house, after=3) == []


def test_every_way_of_changing_a_job_is_told(house: House):
    lambda_id, worker = house.new_lambda(), house.new_worker()
    retried = house.submit(lambda_id, max_attempts=2, backoff={"kind": "fixed", "base_s": 10})
    house.finish(worker, failed(house.lease(worker)))
    house.clock.forward(11)
    house.move_on()
    house.finish(worker, failed(house.lease(worker)))
    assert states(house, retried) == [
        "Enqueued", "Running", "Waiting", "Enqueued", "Running", "Fail_Execution",
    ]  # fmt: skip
    paused = house.submit(lambda_id, status="paused")
    house.call("POST", f"/job/{paused}", {"status": "enqueued"})
    house.call("DELETE", f"/job/{paused}")
    assert states(house, paused) == ["Paused", "Enqueued", "Cancelled"]
    lost = house.submit(lambda_id)
    house.lease(worker)
    house.clock.forward(60)
    house.move_on()
    assert states(house, lost) == ["Enqueued", "Running", "Enqueued"]
    expiring = house.submit(lambda_id, delay_s=3600, expires_at="2026-09-21T15:00:00Z")
    house.clock.forward(3 * 86_400)
    house.move_on()
    assert states(house, expiring)[-1] == "Cancelled"


def test_an_outcome_that_is_refused_is_no_change(house: House):
    job, worker = house.submit(house.new_lambda()), house.new_worker()
    lease = house.lease(worker)
    house.finish(worker, {**lease, "lease": "other", "state": "Finished"}, status=409)
    assert states(house, job) == ["Enqueued", "Running"]


def test_what_a_transaction_did_not_store_is_not_told(house: House):
    job = house.submit(house.new_lambda())
    run(house, [job])
    last = read(house)[-1][0]
    house.call("POST", f"/job/{job}", {"status": "paused"}, status=409)

    def change_and_fail(connection: object) -> None:
        notes_of(connection).append(Run(1, "Paused", "", [int(job)]))
        raise BadTransition("no")

    with pytest.raises(BadTransition):
        house.services.database.write(change_and_fail)
    assert read(house, after=last) == []


@pytest.mark.slow
def test_many_jobs_cost_few_rows(house: House):
    lambda_id = house.new_lambda()
    specs = [{"lambda": lambda_id} for _ in range(PACK + 500)]
    ids = house.call("POST", "/job", {"jobs": specs})["ids"]
    assert count(house, outbox) == 2
    worker = house.new_worker()
    for _ in range(2):
        leased = house.contract(worker, max=750)["jobs"]
        house.finish(worker, *(finished({"job": each["job"], "lease": each["lease"]}) for each in leased))
    assert len(read(house)) == 3 * len(ids)
    assert count(house, outbox) == 0
    assert count(house, packs) <= 8


def test_many_small_transactions_are_packed_together(house: House):
    lambda_id = house.new_lambda()
    ids = [int(house.submit(lambda_id)) for _ in range(30)]
    assert [job for _, job, _ in read(house)] == ids
    assert count(house, packs) == 1


def test_filters(house: House):
    upper, lower = house.new_lambda(name="upper"), house.new_lambda()
    first, second = int(house.submit(upper)), int(house.submit(lower))
    run(house, [str(first), str(second)])
    newer = house.new_lambda(name="upper")
    third = int(house.submit(newer))
    assert {job for _, job, _ in read(house, which=Interest(lambda_="upper"))} == {first, third}
    assert {job for _, job, _ in read(house, which=Interest(lambda_=int(upper)))} == {first}
    ended = read(house, which=Interest(states=frozenset([JobState.FINISHED])))
    assert sorted(job for _, job, _ in ended) == [first, second]
    assert {job for _, job, _ in read(house, which=Interest(job_ids=frozenset([second])))} == {second}
    assert read(house, which=Interest(group_ids=frozenset([5]))) == []


def test_jobs_of_a_group_are_told_with_it(house: House):
    job = int(house.submit(house.new_lambda()))
    house.services.database.write(
        lambda connection: notes_of(connection).append(Run(7, "Paused", "why", [job], 5, 6))
    )
    house.services.feed.number()
    [change] = house.services.feed.read(0, Interest(group_ids=frozenset([6])), 10).changes
    assert (change.at, change.lambda_id, change.group_id, change.detail) == (7, 5, 6, "why")


def test_the_lambda_of_a_job_that_is_removed_at_once_is_known(house: House):
    lambda_id = house.new_lambda()
    job = house.submit(lambda_id)
    run(house, [job])
    house.services.removal.remove([int(job)])
    told = house.services.feed.read(0, Interest(lambda_=int(lambda_id)), 10).changes
    assert [each.state for each in told] == ["Enqueued", "Running", "Finished"]


def test_pages_follow_each_other_whatever_their_size(house: House):
    lambda_id = house.new_lambda()
    house.call("POST", "/job", {"jobs": [{"lambda": lambda_id} for _ in range(25)]})
    house.services.feed.number()
    found, after = [], 0
    for _ in range(9):
        page = house.services.feed.read(after, ALL, 3)
        found += [each.number for each in page.changes]
        after = page.upto
    assert found == list(range(1, 26))
    assert not page.is_behind


def test_a_reader_who_comes_too_late_is_told_where_to_go_on(house: House):
    house.services.close()
    house.settings["events_max"] = 2
    house.restart()
    lambda_id = house.new_lambda()
    for _ in range(5):
        house.submit(lambda_id)
        house.services.feed.number()
    assert not house.services.feed.forget(), "there is no more of it"
    assert house.services.feed.bounds() == (4, 5)
    with pytest.raises(FeedGone, match="oldest that there is has number 4; read on with after=3"):
        house.services.feed.read(1, ALL, 10)
    assert [number for number, _, _ in read(house, after=3)] == [4, 5]
    house.clock.forward(8 * 86_400)
    house.services.feed.forget()
    assert house.services.feed.bounds() == (6, 5)
    with pytest.raises(FeedGone):
        house.services.feed.read(4, ALL, 10)
    assert read(house, after=5) == []
    house.submit(lambda_id)
    assert [number for number, _, _ in read(house, after=5)] == [6]


def test_a_number_from_the_future_is_refused(house: House):
    with pytest.raises(InvalidParameter, match="the feed has got to 0"):
        house.services.feed.check(1)


def test_numbers_go_on_after_a_restart(house: House):
    lambda_id = house.new_lambda()
    house.submit(lambda_id)
    house.restart()
    house.submit(lambda_id)
    assert [number for number, _, _ in read(house)] == [1, 2]


def test_a_listener_is_woken_by_what_it_wants(house: House):
    lambda_id = house.new_lambda()
    other, mine = house.submit(lambda_id), house.submit(lambda_id)
    wait = partial(house.services.feed.wait_page, 2, Interest(frozenset([int(mine)])), 10, 20)
    house.services.feed.number()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(wait)
        until(lambda: len(house.services.feed.listeners) == 1)
        house.call("DELETE", f"/job/{other}")
        house.call("DELETE", f"/job/{mine}")
        page = future.result(PATIENCE_S)
    assert [(each.number, each.state) for each in page.changes] == [(4, "Cancelled")]


def test_those_who_listen_are_answered_when_the_server_stops(house: House):
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(house.services.feed.wait_page, 0, ALL, 10, 20)
        until(lambda: len(house.services.feed.listeners) == 1)
        house.services.release_waiters()
        assert future.result(PATIENCE_S).changes == []
    with pytest.raises(Stopping):
        house.services.feed.wait_page(0, ALL, 10, 20)


@pytest.fixture
def shared(postgres_place: Place) -> Iterator[House]:
    house = House(postgres_place.data, database_url=postgres_place.database_url)
    yield house
    house.close()


@pytest.mark.integration
def test_a_transaction_that_began_first_and_commits_last_is_not_left_out(shared: House):
    house, database = shared, shared.services.database
    began, go_on = threading.Event(), threading.Event()

    def slow(connection: object) -> None:
        feed.seal(connection, [Run(1, "Paused", "", [100], 5)])
        began.set()
        assert go_on.wait(LONG_S)

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(database.write, slow)
        assert began.wait(LONG_S)
        database.write(lambda connection: notes_of(connection).append(Run(2, "Paused", "", [200], 5)))
        assert read(house) == [(1, 200, "Paused")]
        go_on.set()
        future.result(PATIENCE_S)
    assert read(house, after=1) == [(2, 100, "Paused")]


@pytest.mark.integration
def test_two_servers_give_each_number_once(shared: House):
    house = shared
    other = House(house.data / "other", database_url=house.database_url)
    lambda_id = house.new_lambda()
    with ThreadPoolExecutor(4) as pool:
        asked: list[Future[Any]] = []
        for each in (house, other):
            asked += [pool.submit(each.services.feed.number) for _ in range(10)]
            asked += [pool.submit(each.submit, lambda_id) for _ in range(20)]
        for answer in asked:
            answer.result(LONG_S)
    assert [number for number, _, _ in read(other)] == list(range(1, 41))
    other.close()


def test_what_was_noted_outside_of_a_transaction_is_not_stored(house: House):
    with house.services.database.read() as connection:
        notes_of(connection).append(Run(1, "Paused", "", [1], 5))
    house.submit(house.new_lambda())
    assert [state for _, _, state in read(house)] == ["Enqueued"]
