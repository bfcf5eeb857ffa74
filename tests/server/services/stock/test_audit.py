"""The audit: who did what is stored with what was done, or not at all; and nothing secret is."""

from pathlib import Path
from typing import Any

import pytest
from hand_clock import START_MS
from house import House, finished

from piecework.server.api.table import ENDPOINTS
from piecework.server.errors import Forbidden, Unauthorized
from piecework.server.services.stock.refusals import HOUR_MAX, MINUTE_MAX
from piecework.server.services.tokens.token_acts import create_token, revoke_token, rotate_token
from piecework.server.store.engine.tables.audit import audit as table
from piecework.server.store.stock import audit as store
from piecework.server.store.stock.audit import Actor, AuditFilter
from piecework.server.store.stock.quotas import Quota
from piecework.server.web.acts import ACTS, NOT_KEPT


def read(house: House, query: str = "", **more: Any) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = house.call("GET", f"/audit?{query}", **more)["entries"]
    return entries


def acts(house: House, query: str = "", **more: Any) -> list[tuple[Any, ...]]:
    """Return (act, target, count) of all acts, oldest first, but for submits."""
    found = [(each["act"], each.get("target"), each["count"]) for each in reversed(read(house, query, **more))]
    return [each for each in found if each[0] != "submit jobs"]


def token(house: House, name: str, scope: str) -> dict[str, Any]:
    secret = create_token(house.services.database, name, scope, house.clock())
    house.clock.forward(2)
    return {"headers": {"Authorization": f"Bearer {secret}"}}


def test_every_request_that_changes_something_is_kept_or_has_a_reason_why_not():
    changing = {(each.method, each.path) for each in ENDPOINTS if each.method != "GET"}
    assert changing == ACTS.keys() | NOT_KEPT.keys()
    assert not ACTS.keys() & NOT_KEPT.keys()
    assert all(len(words.act) <= 40 for words in ACTS.values())


def test_it_tells_who_cancelled_a_job_with_the_cancellation(house: House):
    boss = token(house, "boss", "admin")
    lambda_id = house.call("POST", "/lambda", {"codex": "0", "runtime": "x", "name": "up"}, **boss)["id"]
    job = house.call("POST", "/job", {"lambda": lambda_id, "input": {"text": "x"}}, **boss)["id"]
    house.call("DELETE", f"/job/{job}", **boss)
    house.call("DELETE", f"/job/{job}", **boss)  # it is cancelled already: nothing is done
    entries = read(house, "act=cancel", **boss)
    assert [(each["by"], each["who"], each["act"], each["target"]) for each in entries] == [
        ("token", "boss", "cancel job", str(job))
    ]
    assert entries[0]["at"] == house.clock() / 1000
    assert acts(house, "who=boss", **boss) == [("create lambda", "up", 1), ("cancel job", str(job), 1)]


def test_submits_are_counted_by_minute_and_token(house: House):
    boss, guest = token(house, "boss", "admin"), token(house, "guest", "submit")
    lambda_id = house.call("POST", "/lambda", {"codex": "0", "runtime": "x"}, **boss)["id"]
    spec = {"lambda": lambda_id, "input": {"text": "x"}}
    house.call("POST", "/job", {"jobs": [spec] * 3}, **boss)
    house.call("POST", "/job", spec, **boss)
    house.call("POST", "/job", spec, **guest)
    house.services.feed.number()
    house.call("POST", "/job", spec, **boss)
    house.services.feed.number()
    house.clock.forward(60)
    house.call("POST", "/job", spec, **boss)
    house.services.feed.number()
    counted = [(each["who"], each["count"]) for each in read(house, "act=submit", **boss)]
    assert sorted(counted) == [("boss", 1), ("boss", 5), ("guest", 1)]


def test_who_needed_no_token_acts_from_this_machine(house: House):
    house.submit(house.new_lambda())
    house.services.feed.number()
    assert {(each["act"], each["by"]) for each in read(house)} == {
        ("create lambda", "loopback"), ("submit jobs", "loopback"),
    }  # fmt: skip


def test_what_is_refused_is_not_told_as_done(house: House):
    house.call("DELETE", "/schedule/missing", status=404)
    house.call("POST", "/schedule", {"name": "x", "cron": "nonsense", "job": {}}, status=None)
    assert acts(house) == []


def test_an_act_that_is_refused_after_it_stored_something_says_so(house: House):
    def do() -> None:
        with house.services.audit.acting(Actor("token", "boss"), "do two things", "here"):
            house.services.database.write(lambda _: None)
            raise Forbidden("not the second")

    with pytest.raises(Forbidden):
        do()
    [entry] = read(house, "act=do")
    assert (entry["detail"], entry["count"]) == ("refused: not the second", 0)


def test_bulk_acts_tell_of_how_many(house: House):
    lambda_id, worker = house.new_lambda(), house.new_worker()
    jobs = [house.submit(lambda_id) for _ in range(7)]
    house.call("POST", "/job/bulk", {"action": "pause", "ids": jobs[:2]})
    house.call("POST", "/job/bulk", {"action": "cancel", "ids": jobs[:4], "dry_run": True})
    house.call("POST", "/job/bulk", {"action": "cancel", "where": {"lambda": lambda_id}})
    house.call("POST", "/job/bulk", {"action": "retry", "ids": jobs[:1]})
    house.finish(worker, finished(house.lease(worker)))
    house.call("POST", "/job/bulk", {"action": "delete", "where": {"lambda": lambda_id}})
    assert [(act, count) for act, _, count in acts(house)][1:] == [
        ("pause jobs", 2), ("cancel jobs", 7), ("retry jobs", 1), ("delete jobs", 7),
    ]  # fmt: skip
    details = [each["detail"] for each in read(house, "act=cancel")]
    assert details == [f"where=(lambda={lambda_id})"]


def test_all_kinds_of_acts_are_told(house: House):
    lambda_id, worker = house.new_lambda(name="up"), house.new_worker()
    house.call("POST", "/schedule", {"name": "s", "every_s": 60, "job": {"lambda": lambda_id}})
    house.call("POST", "/schedule/s/pause")
    house.call("DELETE", "/schedule/s")
    house.call("PUT", "/limit/db", {"concurrency": 2})
    house.call("DELETE", "/limit/db")
    house.call("PUT", "/hold/lambda/up", {"note": "broken"})
    house.call("DELETE", "/hold/lambda/up")
    house.call("PUT", "/tenant/a", {"weight": 3})
    house.call("POST", "/webhook", {"name": "w", "url": "https://93.184.215.14/hunter2"})
    house.call("POST", "/webhook/w/rotate")
    house.call("DELETE", "/webhook/w")
    house.call("PUT", "/deployments/f/blue", {"lambda": lambda_id, "replicas": 0})
    house.call("DELETE", "/deployments/f")
    house.call("POST", f"/worker/{worker}/drain")
    house.call("DELETE", f"/worker/{worker}")
    assert [(act, target) for act, target, _ in acts(house)][1:] == [
        ("create schedule", "s"), ("pause schedule", "s"), ("remove schedule", "s"), ("set limit", "db"),
        ("clear limit", "db"), ("pause lambda", "up"), ("resume lambda", "up"), ("weigh tenant", "a"),
        ("create webhook", "w"), ("rotate webhook", "w"), ("delete webhook", "w"), ("deploy", "f/blue"),
        ("undeploy", "f"), ("drain worker", worker), ("retire worker", worker),
    ]  # fmt: skip
    assert "hunter2" not in str(read(house))
    assert "concurrency=2" in str(read(house, "act=set"))


def test_a_workers_requests_are_not_acts_of_people(house: House):
    boss, node = token(house, "boss", "admin"), token(house, "node", "worker")
    worker = house.call("POST", "/worker", {"runtime": ["x"], "name": "w"}, **node)["id"]
    house.call("POST", f"/worker/{worker}/contract", {"max": 1, "timeout": 0}, **node)
    house.call("POST", "/kv", {}, **node)
    assert acts(house, "who=node", **boss) == []


def test_tokens_that_are_made_and_revoked_are_told_without_their_secrets(house: House):
    boss = token(house, "boss", "admin")
    database, day_ms = house.services.database, 86_400_000
    secret = create_token(database, "other", "view", START_MS, expires_at=START_MS + day_ms)
    secret += rotate_token(database, "other", START_MS, overlap_ms=0)
    revoke_token(house.services.database, "other", house.clock())
    assert acts(house, **boss) == [
        ("create token", "boss", 1),
        ("create token", "other", 1),
        ("rotate token", "other", 1),
        ("revoke token", "other", 1),
    ]
    assert {each["by"] for each in read(house, **boss)} == {"command"}
    details = [each.get("detail") for each in read(house, **boss)]
    assert "scope=view expires=2026-09-22T14:13:20Z" in details
    assert "old until=2026-09-21T14:13:20Z expires=2026-09-22T14:13:20Z" in details
    for part in secret.split("pw_")[1:]:
        assert part not in str(read(house, **boss))


def test_refusals_are_counted(house: House):
    boss, guest = token(house, "boss", "admin"), token(house, "guest", "view")
    lambda_id = house.call("POST", "/lambda", {"codex": "0", "runtime": "x"}, **boss)["id"]
    for _ in range(3):
        house.call("GET", "/job", status=401)
    house.call("GET", "/job", status=401, headers={"Authorization": "Bearer pw_guess"})
    house.call("DELETE", f"/lambda/{lambda_id}", status=403, **guest)
    house.call("GET", "/audit", status=403, **guest)
    house.call("GET", f"/job/{lambda_id}?wait=hunter2", status=401)
    house.client.get("/console/jobs", **guest | {"headers": {"Cookie": "piecework-session=hunter2"}})
    house.client.post(
        "/functions/hunter2/x", headers={"Authorization": "Bearer hunter2", "X-Forwarded-For": "::2"}
    )
    found = {
        (each["act"], each.get("who"), each["target"], each["detail"], each["count"])
        for each in read(house, "act=refused", **boss)
    }
    near = "from 127.0.0.1"
    assert found == {
        ("refused (401)", None, "GET /job", near, 4),
        ("refused (401)", None, "GET /job/<job>", near, 1),
        ("refused (401)", None, "GET /console/jobs", near, 1),
        ("refused (401)", None, "call /functions/<function>", "from ::2 by way of 127.0.0.1", 1),
        ("refused (403)", "guest", "DELETE /lambda/<ref:lambda>", near, 1),
        ("refused (403)", "guest", "GET /audit", near, 1),
    }
    kept = str(read(house, **boss))
    assert not [word for word in ("guess", "hunter2") if word in kept]
    figures = house.client.get("/metrics", **boss).text
    assert 'piecework_requests_refused_total{status="401"} 7.0' in figures
    assert 'piecework_requests_refused_total{status="403"} 2.0' in figures


def test_a_used_up_quota_is_told_as_refused(house: House):
    boss = token(house, "boss", "admin")
    lambda_id = house.call("POST", "/lambda", {"codex": "0", "runtime": "x"}, **boss)["id"]
    secret = create_token(house.services.database, "shop", "submit", house.clock(), quota=Quota(rate=1))
    house.clock.forward(2)
    for status in (200, 429, 429):
        shown = {"Authorization": f"Bearer {secret}"}
        house.call("POST", "/job", {"lambda": lambda_id}, status=status, headers=shown)
    [entry] = read(house, "act=refused", **boss)
    assert [entry[name] for name in ("act", "who", "target", "count")] == ["refused (429)", "shop", "POST /job", 2]


def test_different_refusals_take_no_more_than_a_bounded_number_of_rows(house: House):
    refusals = house.services.audit.refusals
    for number in range(1500):
        refusals.note(Actor("token", f"t{number}"), 403, "GET /job", "from ::1")
        if number % 100 == 0:
            refusals.store()
    rows = house.services.audit.list_page(AuditFilter(), before=2**62, limit=5000)
    assert (len(rows), sum(row.times for row in rows)) == (MINUTE_MAX + 1, 1500)


def test_a_flood_of_refusals_takes_a_bounded_number_of_rows_in_an_hour(house: House):
    refusals = house.services.audit.refusals
    for minute in range(60):
        for number in range(100):
            refusals.note(Actor("nobody"), 401, "GET /job", f"from ::{minute}:{number}")
        refusals.store()
        house.clock.forward(60)
    rows = house.services.audit.list_page(AuditFilter(), before=2**62, limit=10_000)
    # The clock begins within an hour: the second one has room again.
    assert len(rows) <= 2 * HOUR_MAX + 60
    assert sum(row.times for row in rows) == 6000


def test_refusals_are_stored_again_whose_rows_are_gone(house: House):
    refusals = house.services.audit.refusals
    for _ in range(2):
        refusals.note(Actor("nobody"), 401, "GET /job", "from ::1")
        refusals.store()
        [row] = house.services.audit.list_page(AuditFilter(), before=2**62, limit=10)
        assert row.times == 1
        house.services.database.write(lambda connection: store.forget_acts(connection, 2**62, 0, 100))


def test_pages_and_times(house: House):
    for number in range(5):
        house.call("PUT", f"/tenant/t{number}", {"weight": 1})
        house.clock.forward(10)
    page = house.call("GET", "/audit?limit=2")
    assert [each["target"] for each in page["entries"]] == ["t4", "t3"]
    page = house.call("GET", f"/audit?limit=2&cursor={page['next']}")
    assert [each["target"] for each in page["entries"]] == ["t2", "t1"]
    assert [each["target"] for each in read(house, "since=25s")] == ["t4", "t3"]
    assert [each["target"] for each in read(house, "before=25s")] == ["t2", "t1", "t0"]
    house.call("GET", "/audit?since=yesterday", status=400)
    assert [each["target"] for each in read(house, "target=t1")] == ["t1"]
    house.call("GET", "/audit?whom=x", status=400)


def test_old_acts_are_forgotten(house: House):
    house.call("PUT", "/tenant/old", {"weight": 1})
    house.clock.forward(91 * 86_400)
    house.call("PUT", "/tenant/new", {"weight": 1})
    assert house.services.audit.forget() is False
    assert [target for _, target, _ in acts(house)] == ["new"]
    house.services.database.write(lambda connection: store.forget_acts(connection, 0, 0, 100))
    assert acts(house) == []


def test_acts_that_come_at_once_are_told_each_of_its_own(house: House):
    from concurrent.futures import ThreadPoolExecutor

    boss = token(house, "boss", "admin")

    def weigh(number: int) -> None:
        answer = house.app.test_client().put(f"/tenant/t{number}", json={"weight": 1}, **boss)
        assert answer.status_code == 200

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(weigh, range(40)))
    assert sorted(target for act, target, _ in acts(house, **boss) if act == "weigh tenant") == sorted(
        f"t{number}" for number in range(40)
    )


def test_a_transaction_that_fails_leaves_no_act(house: House):
    def fail(connection: Any) -> None:
        connection.exec_driver_sql("DELETE FROM tenants")
        raise Unauthorized("no")

    with pytest.raises(Unauthorized), house.services.audit.acting(Actor("loopback"), "try"):
        house.services.database.write(fail)
    with house.services.database.read() as connection:
        assert not connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()


def test_a_server_that_closes_stores_what_it_refused(tmp_path: Path):
    house = House(tmp_path)
    boss = token(house, "boss", "admin")
    house.call("GET", "/job", status=401)
    house.restart()
    assert len(read(house, "act=refused", **boss)) == 1
    house.close()
