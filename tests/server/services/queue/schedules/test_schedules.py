"""Schedules as people handle them: created, looked at, changed, paused, run and removed."""

from datetime import datetime
from typing import Any

import pytest
from house import House
from scheduling import START, create, ticks


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_a_schedule_tells_when_it_ticks_and_what_it_submits(house: House):
    lambda_ = house.new_lambda()
    job = {"lambda": lambda_, "input": {"text": "x"}, "args": ["a"], "priority": 3, "limits": {"fuel": 7}}
    made = create(house, cron="30 2 * * MON-FRI", timezone="Europe/Berlin", job=job)
    assert made == house.call("GET", "/schedule/n") == house.call("GET", f"/schedule/{made['id']}")
    assert (made["cron"], made["timezone"], made["catch_up"], made["overlap"]) == (
        "30 2 * * MON-FRI", "Europe/Berlin", "one", "allow",
    )  # fmt: skip
    assert made["next_at"] == made["upcoming"][0] == at("2026-09-22T02:30+02:00")
    assert made["upcoming"][4] == at("2026-09-28T02:30+02:00")
    assert made["lambda"] == made["job"]["lambda"] == lambda_
    assert made["job"]["args"] == ["a"]
    assert made["job"]["limits"] == {"fuel": 7}
    assert house.fetch(f"/data/{made['job']['input']}/blob").data == b"x"


def test_an_interval_begins_when_it_is_created(house: House):
    assert create(house, every_s=90)["upcoming"] == [START + 90 * each for each in range(1, 6)]


def test_variables_that_look_secret_are_not_shown_but_sent(house: House):
    made = create(house, job={"lambda": house.new_lambda(), "env": {"API_TOKEN": "abc", "LANG": "C"}})
    assert made["job"]["env"] == {"API_TOKEN": "***", "LANG": "C"}
    house.call("PATCH", "/schedule/n", {"job": {"args": ["x"]}})
    house.clock.forward(60)
    house.move_on()
    [leased] = house.contract(house.new_worker())["jobs"]
    assert (leased["env"], leased["args"]) == ({"API_TOKEN": "abc", "LANG": "C"}, ["x"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"every_s": 0}, "every_s is 0, but a schedule ticks every second at most"),
        ({"every_s": 0.5}, "every_s is 0.5"),
        ({"every_s": 1e10}, "Expected `float` <= "),
        ({"every_s": 60, "cron": "@daily"}, "either `cron` or `every_s`"),
        ({"every_s": None}, "either `cron` or `every_s`"),
        ({"every_s": 60, "timezone": "Europe/Berlin"}, "an interval has no `timezone`"),
        ({"cron": "0 0 30 2 *"}, "never ticks"),
        ({"cron": "@daily", "timezone": "Berlin"}, "did you mean Europe/Berlin?"),
        ({"cron": "1," * 5000 + "1 * * * *"}, "at most 500 are taken"),
        ({"catch_up": "some"}, "Invalid enum value 'some'"),
        ({"overlap": "queue"}, "Invalid enum value 'queue'"),
        ({"jitter_s": 3601}, "jitter_s is 3601, but must be 3600 at most"),
        ({"jitter_s": -1}, "Expected `float` >= 0"),
        ({"expires_s": 0.5}, "expires_s is 0.5"),
        ({"name": ""}, "a name has 1 to 100 of the characters"),
        ({"name": "a b"}, "a name has 1 to 100 of the characters"),
        ({"name": "n" * 101}, "a name has 1 to 100 of the characters"),
        ({"name": "12345678"}, "and is no number"),
        ({"catchup": "all"}, "there is no field `catchup`: did you mean `catch_up`?"),
        ({"job": {"lambda": "LAMBDA", "priorty": 1}}, "no field `priorty` in `job`: did you mean `priority`?"),
        ({"job": {"lambda": "LAMBDA", "limits": {"memory": 1}}}, "`memory` in `job.limits`"),
        ({"job": {"lambda": "LAMBDA", "key": "k"}}, "the job of a schedule has no `key`"),
        ({"job": {"lambda": "LAMBDA", "run_at": "2027-01-01T00:00:00Z"}}, "has no `run_at`"),
        ({"job": {"lambda": "LAMBDA", "expires_at": "2027-01-01T00:00:00Z"}}, "has no `expires_at`"),
        ({"job": {"lambda": "LAMBDA", "after": ["7"]}}, "has no `after`"),
        ({"job": {"lambda": "LAMBDA", "input": {"job": "7"}}}, "waits for no others"),
        ({"job": {"lambda": "LAMBDA", "max_attempts": 0}}, "max_attempts is 0"),
        ({"job": {"lambda": "LAMBDA", "args": ["x" * 300_000]}}, "args and env have 300000 characters"),
        ({"job": {"lambda": "LAMBDA", "tags": ["t" * 1000]}}, "tag"),
        ({"job": {"lambda": None}}, "a job needs `lambda`"),
        ({"job": None}, "Expected `object`, got `null` - at `$.job`"),
    ],
)
def test_what_makes_no_schedule_is_refused_with_what_is_wrong(house: House, fields: dict[str, Any], message: str):
    lambda_ = house.new_lambda()
    body = {"name": "n", "every_s": None if "cron" in fields else 60, "job": {"lambda": lambda_}} | fields
    if body["job"] and body["job"]["lambda"]:
        body["job"]["lambda"] = lambda_
    assert message in house.call("POST", "/schedule", body, status=422)["message"]
    assert house.call("GET", "/schedule")["schedules"] == []


@pytest.mark.parametrize(
    ("job", "code", "message"),
    [({"lambda": "77"}, 701, "77"), ({"input": "78"}, 601, "the input 78 does not exist")],
)
def test_what_its_job_names_must_be_there(house: House, job: dict[str, Any], code: int, message: str):
    reply = create(house, status=404, job={"lambda": house.new_lambda()} | job)
    assert reply["code"] == code
    assert message in reply["message"]


def test_a_number_that_no_message_can_have_is_refused(house: House):
    refused = house.call("PATCH", "/schedule/n", {"job": {"priority": 2**64}}, status=422)
    assert refused["message"] == "a whole number needs more than 64 bits"


def test_a_job_that_could_not_be_stored_is_refused_at_once_and_leaves_nothing(house: House):
    lambda_ = house.new_lambda()
    reply = create(house, status=422, job={"lambda": lambda_, "concurrency_key": "k"})
    assert "the concurrency key 'k' has no limit yet" in reply["message"]
    create(house, job={"lambda": lambda_, "input": {"text": "x"}, "concurrency_key": "k", "concurrency_limit": 1})
    house.call("PATCH", "/schedule/n", {"job": {"concurrency_key": "j"}})
    reply = house.call(
        "PATCH", "/schedule/n", {"job": {"concurrency_limit": None, "concurrency_key": "i"}}, status=422
    )
    assert "the concurrency key 'i' has no limit yet" in reply["message"]
    assert house.call("GET", "/job")["jobs"] == []
    assert house.call("GET", "/schedule/n")["job"]["concurrency_key"] == "j"


def test_a_name_is_taken_once(house: House):
    create(house)
    reply = create(house, status=409, cron="@daily")
    assert (reply["code"], reply["message"]) == (922, "there is a schedule named 'n' already")
    assert house.call("GET", "/schedule/n")["every_s"] == 60
    house.call("DELETE", "/schedule/n")
    assert create(house, cron="@daily")["cron"] == "@daily"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None), ("PATCH", "", {"every_s": 5}), ("DELETE", "", None), ("POST", "/pause", None),
        ("POST", "/resume", None), ("POST", "/run", {}), ("GET", "/ticks", None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("ref", ["nobody", "12345678"])
def test_a_schedule_that_is_not_there(house: House, method: str, path: str, body: Any, ref: str):
    reply = house.call(method, f"/schedule/{ref}{path}", body, status=404)
    assert (reply["code"], reply["message"]) == (921, f"there is no schedule {ref}")


def test_a_number_that_is_no_id_names_no_schedule(house: House):
    number = "9" * 30
    for path, status in ((f"/schedule/{number}", 400), (f"/job?schedule={number}", 422)):
        assert "the schedule " in house.call("GET", path, status=status)["message"]


def test_schedules_are_listed_in_pages_newest_first_with_their_last_jobs(house: House):
    for number in range(5):
        create(house, f"n{number}")
    house.clock.forward(60)
    house.move_on()
    first = house.call("GET", "/schedule?limit=3")
    rest = house.call("GET", f"/schedule?limit=3&cursor={first['next']}")
    listed = [*first["schedules"], *rest["schedules"]]
    assert [each["name"] for each in listed] == ["n4", "n3", "n2", "n1", "n0"]
    assert "next" not in rest
    assert {each["last_state"] for each in listed} == {"Enqueued"}
    assert {each["last_at"] for each in listed} == {START + 60}
    assert not any(each.keys() & {"job", "upcoming"} for each in listed)


def test_jobs_tell_their_schedule_and_are_found_by_it(house: House):
    made = create(house)
    create(house, "other")
    house.submit(house.new_lambda())
    for _ in range(2):
        house.clock.forward(60)
        house.move_on()
    for ref in ("n", made["id"]):
        found = house.call("GET", f"/job?schedule={ref}&total=true")
        assert [each["schedule"] for each in found["jobs"]] == [made["id"]] * 2
        assert found["total"] == 2
    assert [each["job"] for each in ticks(house)] == [each["id"] for each in found["jobs"]]
    assert house.call("GET", "/job?schedule=nobody", status=404)["code"] == 921
    house.call("DELETE", "/schedule/n")
    assert len(house.call("GET", f"/job?schedule={made['id']}")["jobs"]) == 2


def test_a_change_of_the_timing_counts_from_now(house: House):
    create(house)
    house.clock.forward(30)
    changed = house.call("PATCH", "/schedule/n", {"every_s": 100})
    assert changed["upcoming"][:2] == [START + 130, START + 230]
    assert changed["changed_at"] == START + 30
    changed = house.call("PATCH", "/schedule/n", {"cron": "@daily", "timezone": "Asia/Tokyo"})
    assert "every_s" not in changed
    assert changed["next_at"] == at("2026-09-22T00:00+09:00")
    changed = house.call("PATCH", "/schedule/n", {"timezone": None})
    assert changed["next_at"] == at("2026-09-22T00:00+00:00")
    changed = house.call("PATCH", "/schedule/n", {"timezone": "Asia/Tokyo"})
    changed = house.call("PATCH", "/schedule/n", {"every_s": 5})
    assert ("cron" in changed, changed["timezone"], changed["next_at"]) == (False, "UTC", START + 35)


def test_what_a_change_does_not_name_stays(house: House):
    job = {"lambda": house.new_lambda(), "args": ["a"], "env": {"A": "1"}, "limits": {"fuel": 5, "log_bytes": 9}}
    made = create(house, catch_up="all", jitter_s=3, expires_s=70, job=job)
    house.clock.forward(30)
    changed = house.call("PATCH", "/schedule/n", {"job": {"env": {"B": "2"}, "args": None, "limits": {"fuel": 6}}})
    assert changed["job"]["env"] == {"A": "1", "B": "2"}
    assert changed["job"]["args"] is None
    assert changed["job"]["limits"] == {"fuel": 6, "log_bytes": 9}
    moved = {"job", "changed_at"}
    assert {name: changed[name] for name in changed.keys() - moved} == {
        name: made[name] for name in made.keys() - moved
    }
    changed = house.call(
        "PATCH", "/schedule/n", {"catch_up": "skip", "overlap": "replace", "jitter_s": 0, "expires_s": None}
    )
    assert (changed["catch_up"], changed["overlap"]) == ("skip", "replace")
    assert not changed.keys() & {"jitter_s", "expires_s"}
    assert changed["next_at"] == made["next_at"]
    same = house.call("PATCH", "/schedule/n", {})
    assert same == changed


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"every_s": 0.1}, 422, "a schedule ticks every second at most"),
        ({"cron": "0 0 31 2 *"}, 422, "never ticks"),
        ({"cron": None, "every_s": None}, 200, None),
        ({"timezone": "Nowhere"}, 422, "there is no time zone 'Nowhere'"),
        ({"name": "m"}, 422, "there is no field `name`"),
        ({"job": {"lambda": "77"}}, 404, "there is no lambda 77"),
        ({"job": {"lambda": None}}, 422, "a job needs `lambda`"),
        ({"job": {"key": "k"}}, 422, "has no `key`"),
        ({"job": {"argz": ["k"]}}, 422, "there is no field `argz`: did you mean `args`?"),
        ({"job": {"priority": "high"}}, 422, "priority"),
        ({"job": {"limits": {"memory": 1}}}, 422, "there is no field `memory` in `limits`"),
        ({"job": {"input": "78"}}, 404, "the input 78 does not exist"),
        ({"job": {"input": {"base64": "?"}}}, 422, "base64 content is broken"),
        ({"job": ["a"]}, 422, "Expected `object`"),
    ],
)
def test_a_change_that_cannot_be_changes_nothing(house: House, body: Any, status: int, message: str | None):
    made = create(house, cron="@daily")
    reply = house.call("PATCH", "/schedule/n", body, status=status)
    assert message is None or message in reply["message"]
    assert house.call("GET", "/schedule/n") == made


def test_parts_of_what_it_runs_with_are_taken_away_one_by_one(house: House):
    job = {"env": {"A_KEY": "1", "B": "2"}, "limits": {"fuel": 5, "log_bytes": 9}, "backoff": {"kind": "none"}}
    create(house, job=job)
    body = {"env": {"A_KEY": None, "C": "3"}, "limits": {"log_bytes": None}, "backoff": None}
    changed = house.call("PATCH", "/schedule/n", {"job": body})["job"]
    assert (changed["env"], changed["limits"], changed["backoff"]) == ({"B": "2", "C": "3"}, {"fuel": 5}, {})
    changed = house.call("PATCH", "/schedule/n", {"job": {"env": None, "limits": None, "backoff": {"cap_s": 9}}})
    assert (changed["job"]["env"], changed["job"]["limits"]) == (None, {})
    assert changed["job"]["backoff"] == {"cap_s": 9.0}
    for wrong in ({"env": ["A"]}, {"env": {"A": 1}}, {"limits": {"fuel": "x"}}, {"limits": 5}):
        house.call("PATCH", "/schedule/n", {"job": wrong}, status=422)
    assert house.call("GET", "/schedule/n") == changed


def test_another_input_takes_the_place_of_the_first(house: House):
    made = create(house, job={"lambda": house.new_lambda(), "input": {"text": "a"}})
    changed = house.call("PATCH", "/schedule/n", {"job": {"input": {"base64": "Yg=="}}})
    assert house.fetch(f"/data/{changed['job']['input']}/blob").data == b"b"
    assert house.call("DELETE", f"/data/{changed['job']['input']}", status=409)["code"] == 604
    house.call("DELETE", f"/data/{made['job']['input']}")
    assert house.call("PATCH", "/schedule/n", {"job": {"input": None}})["job"]["input"] == "0"
    house.call("DELETE", f"/data/{changed['job']['input']}")


def test_a_schedule_that_is_paused_does_not_tick_and_makes_up_for_nothing(house: House):
    create(house, catch_up="all", paused=True)
    house.clock.forward(200)
    house.move_on()
    assert (ticks(house), house.call("GET", "/schedule/n")["upcoming"]) == ([], [])
    resumed = house.call("POST", "/schedule/n/resume")
    assert "paused_at" not in resumed
    assert resumed["next_at"] == START + 240
    assert house.call("POST", "/schedule/n/resume") == resumed
    house.clock.forward(45)
    house.move_on()
    assert len(ticks(house)) == 1
    paused = house.call("POST", "/schedule/n/pause")
    assert paused["paused_at"] == START + 245
    assert "next_at" not in paused
    house.clock.forward(500)
    house.move_on()
    assert house.call("POST", "/schedule/n/pause") == paused
    assert len(ticks(house)) == 1
    assert "next_at" not in house.call("PATCH", "/schedule/n", {"every_s": 10})


def test_running_it_now_is_beside_its_ticks(house: House):
    made = create(house, overlap="skip", paused=True, jitter_s=60)
    jobs = [house.call("POST", "/schedule/n/run", {})["id"] for _ in range(2)]
    assert [house.state(job) for job in jobs] == ["Enqueued"] * 2
    found = ticks(house)
    assert [(each["by_hand"], each["outcome"], each["job"]) for each in found] == [
        (True, "submitted", job) for job in reversed(jobs)
    ]
    shown = house.call("GET", "/schedule/n")
    assert (shown["last_job"], shown["last_at"], shown["paused_at"]) == (jobs[1], START, made["paused_at"])


def test_running_it_again_with_the_same_key_gives_the_same_job(house: House):
    create(house)
    first, again = (house.call("POST", "/schedule/n/run", {"key": "k"})["id"] for _ in range(2))
    assert first == again
    assert len(ticks(house)) == 1
    assert house.call("POST", "/schedule/n/run", {"key": ""}, status=422)["code"] == 3
    assert (
        "there is no field `keys`" in house.call("POST", "/schedule/n/run", {"keys": "k"}, status=422)["message"]
    )


def test_running_it_needs_no_body(house: House):
    create(house)
    assert house.client.post("/schedule/n/run").status_code == 200


def test_a_schedule_that_is_removed_leaves_its_jobs(house: House):
    create(house)
    house.clock.forward(60)
    house.move_on()
    [tick] = ticks(house)
    assert house.call("DELETE", "/schedule/n")["message"] == "schedule n is removed"
    house.clock.forward(600)
    house.move_on()
    assert house.state(tick["job"]) == "Enqueued"
    assert len(house.call("GET", "/job")["jobs"]) == 1


def test_ticks_are_listed_in_pages(house: House):
    create(house)
    for _ in range(5):
        house.clock.forward(60)
        house.move_on()
    first = house.call("GET", "/schedule/n/ticks?limit=3")
    rest = house.call("GET", f"/schedule/n/ticks?limit=3&cursor={first['next']}")
    assert [each["at"] - START for each in [*first["ticks"], *rest["ticks"]]] == [300, 240, 180, 120, 60]
    assert "next" not in rest
    assert "limit is 0" in house.call("GET", "/schedule/n/ticks?limit=0", status=400)["message"]
