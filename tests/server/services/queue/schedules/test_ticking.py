"""Ticks: each once, whatever servers, clocks and jobs do meanwhile."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from house import START_MS, HandClock, House, finished
from patience import PATIENCE_S
from places import Place
from scheduling import START, catch_up, create, jobs_of, outcomes, pass_by, ticks

from piecework.server.errors import BlobNotFound, DatabaseAway
from piecework.server.services.queue.schedules import ticking
from piecework.server.services.queue.schedules.catchup import CAUGHT_UP
from piecework.server.services.queue.submitting.submission import Submission
from piecework.server.services.queue.waiting.pauses import wait_out
from piecework.server.services.tokens.token_acts import create_token
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.schedules import schedules
from piecework.server.store.queue.schedules.schedule_records import Schedule

DAY_S = 86_400


# --- A week over a change of the clocks ---

LINES = {
    "nightly": ("30 2 * * *", 7),  # at 3:00 on the day that has no 2:30
    "hourly": ("0 * * * *", 7 * 24),
    "quarters": ("*/15 * * * *", 7 * 96),
    "gap": ("*/20 2 * * *", 6 * 3),
    "workdays": ("0 9 * * MON-FRI", 5),
    "weekly": ("@weekly", 1),
    "zone": ("0 12 * * *", 7),
}


def expect_week(start: datetime) -> dict[str, set[float]]:
    """Return the ticks of a week over the spring change in Berlin, from looking at a calendar."""
    there, utc = ZoneInfo("Europe/Berlin"), ZoneInfo("UTC")
    steps = [start + timedelta(minutes=each) for each in range(1, 7 * 1440 + 1)]
    local = {each: each.astimezone(there) for each in steps}
    days = [start.date() + timedelta(days=each) for each in range(8)]
    nightly = {
        datetime(day.year, day.month, day.day, 2, 30, tzinfo=there).astimezone(UTC)
        if day.isoformat() != "2026-03-29"
        else datetime(2026, 3, 29, 1, tzinfo=UTC)
        for day in days
    }
    found = {
        "nightly": {each for each in nightly if start < each <= steps[-1]},
        "hourly": {each for each in steps if local[each].minute == 0},
        "quarters": {each for each in steps if local[each].minute % 15 == 0},
        "gap": {each for each in steps if local[each].hour == 2 and local[each].minute % 20 == 0},
        "workdays": {
            each
            for each in steps
            if (local[each].hour, local[each].minute) == (9, 0) and local[each].weekday() < 5
        },
        "weekly": {
            each for each in steps if (local[each].hour, local[each].minute, local[each].weekday()) == (0, 0, 6)
        },
        "zone": {each for each in steps if (each.astimezone(utc).hour, each.minute) == (12, 0)},
    }
    return {name: {each.timestamp() for each in moments} for name, moments in found.items()}


def plan_week(house: House) -> None:
    job = {"lambda": house.new_lambda(), "input": {"text": "x"}}
    for name, (line, _) in LINES.items():
        create(
            house, name, cron=line, timezone="UTC" if name == "zone" else "Europe/Berlin", job=job, catch_up="all"
        )
    create(house, "interval", every_s=1000, catch_up="all", job=job)


def check_week(house: House, start: datetime) -> None:
    """Look whether each tick of the week has one job, and no other job is there."""
    expected = expect_week(start)
    assert {name: len(moments) for name, moments in expected.items()} == {
        name: count for name, (_, count) in LINES.items()
    }
    begin = start.timestamp()
    expected["interval"] = {begin + 1000 * each for each in range(1, 7 * DAY_S // 1000 + 1)}
    every_job: list[str] = []
    for name, moments in expected.items():
        found = house.call("GET", f"/schedule/{name}/ticks?limit=1000")["ticks"]
        assert Counter(each["at"] for each in found) == Counter(moments), name
        assert {each["outcome"] for each in found} == {"submitted"}
        jobs = [each["job"] for each in found]
        assert sorted(jobs_of(house, name)) == sorted(jobs)
        every_job += jobs
    assert len(every_job) == len(set(every_job)) == house.call("GET", "/job?total=true&limit=1")["total"]


BEFORE_SPRING = datetime(2026, 3, 25, 23, 30, tzinfo=UTC)


@pytest.fixture
def spring_clock() -> HandClock:
    return HandClock(round(BEFORE_SPRING.timestamp() * 1000))


@pytest.mark.slow
def test_a_week_over_a_change_of_the_clocks_with_a_restart(sqlite_place: Place, spring_clock: HandClock):
    house = House(sqlite_place.data, clock=spring_clock)
    plan_week(house)
    for hour in range(7 * 24):
        if hour == 70:  # the server is away from 21:30 on Saturday until 11:30 on Sunday
            house.services.close()
        house.clock.forward(3600)
        if hour == 83:
            house.services = house.app.extensions["piecework"] = house._open()
        if not 70 <= hour < 83:
            catch_up(house)
    check_week(house, BEFORE_SPRING)
    house.close()


@pytest.mark.integration
def test_a_week_over_a_change_of_the_clocks_with_two_servers_and_a_restart(
    postgres_place: Place, spring_clock: HandClock
):
    """Both look at the same moments at the same time; one is away for a day, and another for the next."""
    houses = [House(postgres_place.data, postgres_place.database_url, clock=spring_clock) for _ in range(2)]
    plan_week(houses[0])
    with ThreadPoolExecutor(2) as pool:
        for quarter in range(7 * 96):
            spring_clock.forward(900)
            day = quarter // 96
            awake = {3: houses[:1], 4: houses[1:]}.get(day, houses)
            if quarter == 5 * 96:
                houses[1].restart()
            list(pool.map(catch_up, awake))
    check_week(houses[0], BEFORE_SPRING)
    for house in houses:
        house.close()


# --- Absence of all servers ---


def test_after_many_ticks_without_a_server_one_job_is_for_the_last(house: House):
    create(house)
    house.clock.forward(60 * 60)
    house.restart()
    catch_up(house)
    assert outcomes(house) == [(60, "missed"), (3600, "submitted")]
    [_, missed] = ticks(house)
    assert missed["detail"] == "no server was there for it, nor for the others until 2026-09-21T15:12:20+00:00"
    assert house.call("GET", "/schedule/n")["next_at"] == START + 3660


def test_all_are_made_up_for_in_steps_and_other_schedules_have_their_turns(house: House):
    create(house, "n", every_s=1, catch_up="all")
    create(house, "other")
    house.clock.forward(120)
    house.services.timekeeper.move_on()
    assert len(jobs_of(house, "n")) == CAUGHT_UP
    assert len(jobs_of(house, "other")) == 1
    catch_up(house)
    assert outcomes(house) == [(each, "submitted") for each in range(1, 121)][-100:]
    assert len(jobs_of(house, "n")) == 120


def test_skipped_ticks_are_told(house: House):
    create(house, every_s=3600, catch_up="skip")
    pass_by(house, 3 * 3600 + 61)
    assert (outcomes(house), jobs_of(house)) == ([(3600, "missed")], [])
    assert house.call("GET", "/schedule/n")["next_at"] == START + 4 * 3600
    pass_by(house, 3600 - 1)
    assert outcomes(house)[1:] == [(4 * 3600, "submitted")]


# --- Jobs that take longer ---


def test_overlaps_are_allowed_unless_somebody_says_otherwise(house: House):
    create(house)
    for _ in range(3):
        pass_by(house, 60)
    assert [house.state(job) for job in jobs_of(house)] == ["Enqueued"] * 3


def test_a_tick_is_skipped_while_an_earlier_job_has_not_ended(house: House):
    create(house, overlap="skip")
    worker = house.new_worker()
    pass_by(house, 60)
    [job] = jobs_of(house)
    pass_by(house, 60)
    lease = house.lease(worker)
    pass_by(house, 10)
    house.call("POST", f"/worker/{worker}/heartbeat", {"leases": [lease]})
    assert outcomes(house) == [(60, "submitted"), (120, "skipped")]
    assert ticks(house)[0]["detail"] == f"job {job} of an earlier tick has not ended"
    assert "error" not in house.call("GET", "/schedule/n")
    house.finish(worker, finished(lease))
    pass_by(house, 50)
    assert outcomes(house)[2:] == [(180, "submitted")]
    assert len(jobs_of(house)) == 2


def test_a_tick_replaces_what_has_not_ended_also_what_runs(house: House):
    create(house, overlap="replace")
    pass_by(house, 60)
    worker = house.new_worker()
    lease = house.lease(worker)
    house.call("POST", "/schedule/n/run", {})
    pass_by(house, 10)
    house.call("POST", f"/worker/{worker}/heartbeat", {"leases": [lease]})
    house.clock.forward(14)
    house.call("POST", f"/worker/{worker}/heartbeat", {"leases": [lease]})
    house.clock.forward(14)
    house.call("POST", f"/worker/{worker}/heartbeat", {"leases": [lease]})
    house.clock.forward(14)
    house.call("POST", f"/worker/{worker}/heartbeat", {"leases": [lease]})
    pass_by(house, 8)
    newest, *earlier = jobs_of(house)
    assert [house.state(job) for job in earlier] == ["Cancelled"] * 2
    assert house.trace(earlier[0])[-1] == ("Cancelled", f"replaced by job {newest} of its schedule")
    beat = house.call("POST", f"/worker/{worker}/heartbeat", {"leases": [lease]})
    assert lease["job"] in str(beat["cancel"] + beat["lost"])
    assert house.state(newest) == "Enqueued"


# --- What goes wrong with one of them ---


def remove_lambda(house: House, lambda_id: str) -> None:
    """Take a lambda away, as a request to do so will."""
    house.services.database.write(lambda c: c.exec_driver_sql(f"DELETE FROM lambdas WHERE id = {int(lambda_id)}"))
    house.restart()


def test_a_schedule_whose_lambda_is_gone_says_so_and_does_not_stop_others(house: House):
    lambda_ = house.new_lambda()
    create(house, "broken", job={"lambda": lambda_})
    create(house, "sound")
    remove_lambda(house, lambda_)
    pass_by(house, 60)
    broken, sound = (house.call("GET", f"/schedule/{name}") for name in ("broken", "sound"))
    assert broken["error"] == f"there is no lambda {lambda_}"
    assert (broken["next_at"], "last_job" in broken) == (START + 120, False)
    assert outcomes(house, "broken") == [(60, "failed")]
    assert ticks(house, "broken")[0]["detail"] == broken["error"]
    assert sound["last_state"] == "Enqueued"
    house.call("PATCH", "/schedule/broken", {"job": {"lambda": house.new_lambda()}})
    assert "error" not in house.call("GET", "/schedule/broken")
    pass_by(house, 60)
    assert outcomes(house, "broken") == [(60, "failed"), (120, "submitted")]


def test_it_is_tried_again_at_the_next_tick(house: House, monkeypatch: pytest.MonkeyPatch):
    create(house)
    prepare = Submission.prepare
    with monkeypatch.context() as patch:
        patch.setattr(Submission, "prepare", fail_with(BlobNotFound("not there")))
        pass_by(house, 60)
    assert house.call("GET", "/schedule/n")["error"] == "not there"
    assert Submission.prepare is prepare
    pass_by(house, 60)
    assert "error" not in house.call("GET", "/schedule/n")
    assert outcomes(house) == [(60, "failed"), (120, "submitted")]


def test_an_input_that_is_gone_when_the_job_is_stored_fails_its_schedule_alone(house: House):
    blob = house.client.post("/data", data={"file": (__import__("io").BytesIO(b"x"), "x")}).get_json()["id"]
    create(house, "broken", job={"input": blob})
    create(house, "sound")
    house.services.database.write(lambda c: c.exec_driver_sql(f"DELETE FROM blobs WHERE id = {blob}"))
    pass_by(house, 60)
    assert outcomes(house, "broken") == [(60, "failed")]
    assert outcomes(house, "sound") == [(60, "submitted")]
    assert blob in house.call("GET", "/schedule/broken")["error"]


def test_what_another_version_stored_and_this_one_cannot_read_stops_no_others(house: House):
    create(house, "zone", cron="* * * * *")
    create(house, "spec")
    create(house, "sound")
    house.services.database.write(
        lambda c: [
            c.exec_driver_sql("UPDATE schedules SET timezone = 'Luna/Tycho' WHERE name = 'zone'"),
            c.exec_driver_sql("UPDATE schedules SET spec = '{\"priority\": \"?\"}' WHERE name = 'spec'"),
        ]
    )
    house.restart()
    pass_by(house, 60)
    assert outcomes(house, "sound") == [(60, "submitted")]
    with house.services.database.read() as connection:
        found = {each.name: each for each in schedules.list_after(connection, 0, 9)}
    assert found["zone"].error.startswith("there is no time zone 'Luna/Tycho'")
    assert found["spec"].error.startswith("the schedule's job cannot be read: ")
    assert found["zone"].next_at == house.clock() + ticking.UNREADABLE_MS


def test_a_schedule_on_which_the_server_fails_keeps_no_other_from_its_ticks(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    for name in ("a", "broken", "c"):
        create(house, name)
    tell = ticking.timing_of

    def fail_for_one(schedule: Schedule) -> Any:
        if schedule.name == "broken":
            raise RuntimeError("a bug")
        return tell(schedule)

    catch_up(house)
    with monkeypatch.context() as patch:
        patch.setattr(ticking, "timing_of", fail_for_one)
        for minute in range(1, 4):
            house.clock.forward(60)
            for _ in range(10):
                with suppress(RuntimeError):
                    house.services.timekeeper.move_on()
            for name in ("a", "c"):
                assert outcomes(house, name) == [(60 * each, "submitted") for each in range(1, minute + 1)]
    catch_up(house)
    assert outcomes(house, "broken") == [(60, "missed"), (180, "submitted")]
    assert house.services.timekeeper._ticking._limit == ticking.STEP


def fail_with(error: Exception) -> Any:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def test_while_the_database_is_away_ticks_are_late_and_do_not_fail(house: House, monkeypatch: pytest.MonkeyPatch):
    create(house)
    with monkeypatch.context() as patch:
        patch.setattr(Submission, "prepare", fail_with(DatabaseAway("gone")))
        with pytest.raises(DatabaseAway):
            pass_by(house, 60)
    pass_by(house, 5)
    assert outcomes(house) == [(60, "submitted")]


def test_a_tick_whose_transaction_breaks_off_is_made_again(house: House, monkeypatch: pytest.MonkeyPatch):
    create(house)

    def break_off(*_: object) -> None:
        raise RuntimeError("the server died here")

    with monkeypatch.context() as patch:
        patch.setattr(schedules, "move_schedules", break_off)
        with pytest.raises(RuntimeError):
            pass_by(house, 60)
    assert (outcomes(house), jobs_of(house)) == ([], [])
    house.restart()
    pass_by(house, 1)
    assert outcomes(house) == [(60, "submitted")]
    assert len(jobs_of(house)) == 1


def test_what_was_changed_meanwhile_is_not_submitted_as_it_was(house: House, monkeypatch: pytest.MonkeyPatch):
    create(house, job={"args": ["old"]})
    prepare = Submission.prepare

    def change_first(*given: Any) -> Any:
        monkeypatch.setattr(Submission, "prepare", prepare)
        house.call("PATCH", "/schedule/n", {"job": {"args": ["new"]}})
        return prepare(*given)

    monkeypatch.setattr(Submission, "prepare", change_first)
    pass_by(house, 60)
    assert outcomes(house) == [(60, "submitted")]
    [leased] = house.contract(house.new_worker())["jobs"]
    assert leased["args"] == ["new"]


# --- Clocks ---


def test_a_clock_that_goes_back_gives_no_tick_a_second_job(house: House):
    create(house, catch_up="all")
    for _ in range(5):
        pass_by(house, 60)
    house.clock.forward(-250)
    for _ in range(12):
        pass_by(house, 30)
    assert Counter(outcomes(house)) == Counter((60 * each, "submitted") for each in range(1, 7))


def test_a_clock_that_was_far_ahead_leaves_no_gap_once_it_is_right(house: House):
    create(house, "minutes")
    create(house, "daily", cron="@daily")
    pass_by(house, 60)
    pass_by(house, 400 * DAY_S)
    pass_by(house, 60 - 400 * DAY_S)
    assert house.call("GET", "/schedule/minutes")["next_at"] == START + 180
    assert house.call("GET", "/schedule/daily")["next_at"] == datetime(2026, 9, 22, tzinfo=UTC).timestamp()
    pass_by(house, 60)
    pass_by(house, 60)
    made = [(at, outcome) for at, outcome in outcomes(house, "minutes") if at < DAY_S]
    assert made == [(60, "submitted"), (120, "missed"), (180, "submitted"), (240, "submitted")]


def test_a_start_looks_whether_clocks_and_zones_still_say_the_same(house: House):
    made = create(house, cron="@daily")
    create(house, "paused", paused=True)
    create(house, "right", cron="@hourly")
    house.services.database.write(
        lambda c: c.exec_driver_sql("UPDATE schedules SET next_at = next_at + 5000000000 WHERE name = 'n'")
    )
    before = [house.call("GET", f"/schedule/{name}") for name in ("paused", "right")]
    house.restart()
    catch_up(house)
    assert house.call("GET", "/schedule/n") == made
    assert [house.call("GET", f"/schedule/{name}") for name in ("paused", "right")] == before


def test_a_review_goes_through_all_schedules_page_by_page(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ticking, "REVIEWED", 2)
    for number in range(5):
        create(house, f"n{number}")
    house.services.database.write(lambda c: c.exec_driver_sql("UPDATE schedules SET next_at = next_at + 5000000"))
    house.restart()
    catch_up(house)
    assert {each["next_at"] for each in house.call("GET", "/schedule")["schedules"]} == {START + 60}


# --- Jobs of ticks ---


def test_jobs_become_due_by_chance_after_their_ticks(house: House):
    create(house, jitter_s=40)
    house.services.timekeeper._ticking._chance = lambda: 0.25
    pass_by(house, 60)
    [job] = jobs_of(house)
    shown = house.call("GET", f"/job/{job}")
    assert (shown["state"], shown["due_at"]) == ("Waiting", START + 70)
    pass_by(house, 10)
    assert house.state(job) == "Enqueued"


def test_jobs_that_nobody_starts_in_time_are_cancelled(house: House):
    create(house, every_s=3600, expires_s=60)
    pass_by(house, 3600 + 10)
    [job] = jobs_of(house)
    assert house.call("GET", f"/job/{job}")["expires_at"] == START + 3660
    pass_by(house, 50)
    assert house.state(job) == "Cancelled"


def test_a_lambda_that_is_named_by_its_id_stays_the_one_that_runs(house: House):
    lambda_ = house.new_lambda(name="upper")
    create(house, job={"lambda": lambda_})
    house.new_lambda(name="upper")
    pass_by(house, 60)
    assert house.call("GET", f"/job/{jobs_of(house)[0]}")["lambda"]["id"] == lambda_


def test_a_lambda_that_is_named_is_the_newest_of_its_name_at_each_tick(house: House):
    first = house.new_lambda(name="upper")
    create(house, job={"lambda": "upper"})
    create(house, "pinned", job={"lambda": f"upper@{first}"})
    pass_by(house, 60)
    second = house.new_lambda(name="upper")
    pass_by(house, 60)
    found = {
        name: [house.call("GET", f"/job/{job}")["lambda"]["id"] for job in jobs_of(house, name)]
        for name in ("n", "pinned")
    }
    assert found == {"n": [second, first], "pinned": [first, first]}


def test_jobs_are_submitted_in_the_name_of_who_created_their_schedule(house: House):
    database, now = house.services.database, house.clock()
    submit, admin = (
        {"Authorization": f"Bearer {create_token(database, name, scope, now)}"}
        for name, scope in (("reports", "submit"), ("root", "admin"))
    )
    house.clock.forward(2)
    lambda_ = house.call("POST", "/lambda", {"codex": "0", "runtime": "default"}, headers=submit)["id"]
    body = {"name": "n", "every_s": 60, "job": {"lambda": lambda_}}
    assert house.call("POST", "/schedule", body, headers=submit)["submitter"] == "reports"
    house.call("PATCH", "/schedule/n", {"overlap": "skip"}, headers=admin)
    pass_by(house, 60)
    [job] = house.call("GET", "/job?schedule=n", headers=admin)["jobs"]
    assert house.call("GET", f"/job/{job['id']}?view=full", headers=admin)["submitter"] == "reports"
    for method, path in (("GET", "/schedule"), ("POST", "/schedule/n/run")):
        assert house.call(method, path, {} if method == "POST" else None, status=401)["code"] == 4


def test_a_tick_wakes_whoever_waits_for_a_job(house: House):
    create(house)
    worker, waiters = house.new_worker(), house.services.waiters
    pause = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(wait_out, house.services.contracts.contract(int(worker), _ask(20.0)))
        while not waiters._parked:
            pause.wait(0.001)
        pass_by(house, 60)
        assert [str(job.id) for job in asked.result(PATIENCE_S).jobs] == jobs_of(house)


def _ask(timeout_s: float) -> Any:
    from piecework.protocol.messages import ContractRequest

    return ContractRequest(max=1, timeout=timeout_s, incarnation="0")


# --- Many ---


def test_ticks_are_swept_in_steps_and_jobs_stay(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ticking, "SWEPT", 2)
    create(house, every_s=DAY_S)
    for _ in range(35):
        pass_by(house, DAY_S)
    keeper = house.services.timekeeper._ticking
    assert [keeper.sweep() for _ in range(3)] == [True, True, False]
    assert [at / DAY_S for at, _ in outcomes(house)] == list(range(5, 36))
    assert len(jobs_of(house)) == 35


def store_many(house: House, count: int, **fields: Any) -> None:
    """Store copies of the schedule ``n``."""
    with house.services.database.read() as connection:
        found = schedules.find_by_name(connection, "n")
    assert found is not None

    def store(connection: Connection) -> None:
        for number in range(count):
            one = found._replace(id=found.id + 1 + number, name=f"copy{number}", **fields)
            assert schedules.add_schedule(connection, one)

    house.services.database.write(store)


@pytest.mark.slow
def test_ten_thousand_schedules_cost_nothing_while_they_are_idle(house: House):
    create(house, every_s=3600)
    store_many(house, 9_999)
    catch_up(house)
    keeper = house.services.timekeeper._ticking
    reads = Counter[str]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Schedule, "_make", lambda row: reads.update(["row"]))
        for _ in range(100):
            house.clock.forward(1)
            assert keeper.move_on(house.clock()) == START_MS + 3_600_000
    assert not reads


@pytest.mark.slow
def test_schedules_that_tick_at_once_are_handled_in_short_steps(house: House, monkeypatch: pytest.MonkeyPatch):
    create(house, every_s=60, catch_up="all", job={"input": {"text": "x"}})
    store_many(house, 199)
    house.clock.forward(600)
    store, sizes = Submission.store, []

    def note_size(self: Submission, connection: Connection, drafts: Any, now: int) -> Any:
        sizes.append(len(drafts))
        return store(self, connection, drafts, now)

    monkeypatch.setattr(Submission, "store", note_size)
    catch_up(house)
    assert house.call("GET", "/job?total=true&limit=1")["total"] == sum(sizes) == 2000
    assert max(sizes) == ticking.STEP * CAUGHT_UP == 100
