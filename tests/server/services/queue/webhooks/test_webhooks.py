"""Webhooks: told of ends that were committed, signed, again and again until they take it, and nowhere private."""

import json
import ssl
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme
from house import House, failed, finished
from patience import LONG_S, until
from places import Place
from raw_server import RawServer, http, reset
from receiver import OK, deliveries, is_signed, read, register, send
from scheduling import create as create_schedule, jobs_of, pass_by

from piecework.http import sockets
from piecework.protocol.states import JobState
from piecework.server.errors import BadTransition
from piecework.server.services.queue.lifecycle.endings import Ended
from piecework.server.services.queue.waiting.waiting import Changes
from piecework.server.services.queue.webhooks import posting
from piecework.server.services.queue.webhooks.deliveries import LEASE_MS, PAUSES_S
from piecework.server.services.queue.webhooks.posting import Posted
from piecework.server.services.tokens.token_acts import create_token
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.jobs import jobs as job_rows

URL = "https://192.0.2.7/ends?token=s3cret"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.integration)])
def house(request: pytest.FixtureRequest) -> Iterator[House]:
    place: Place = request.getfixturevalue(f"{request.param}_place")
    house = House(place.data, place.database_url, settings={"webhook_private": "127.0.0.1, 192.0.2.0/24"})
    yield house
    house.close()


@pytest.fixture
def receiver() -> Iterator[RawServer]:
    server = RawServer()
    yield server
    server.close()


def end_one(house: House, **fields: Any) -> str:
    """Submit a job that tells the webhook, and finish it. Returns its id."""
    job, worker = house.submit(house.new_lambda(), **{"on_end": "hook"} | fields), house.new_worker()
    house.finish(worker, finished(house.lease(worker)))
    return job


def answer_with(house: House, *receipts: Posted) -> list[str]:
    """Have a house send to nobody, and be answered so. Returns the ids that it sends."""
    left, sent = list(receipts), []

    def post(_url: str, _secrets: list[str], message: Any) -> Posted:
        sent.append(message.id)
        return left.pop(0) if len(left) > 1 else left[0]

    house.services.sender._post = post
    return sent


# --- What is told ---


def test_a_job_that_ends_is_told_signed_and_without_its_output(house: House, receiver: RawServer):
    secret = register(house, f"{receiver.url}/ends?a=b")
    job = end_one(house, key="order 7", group="g")
    receiver.answer(OK)
    assert send(house) == 1
    [request] = receiver.requests
    assert request.startswith(b"POST /ends?a=b HTTP/1.1\r\n")
    assert is_signed(request, secret)
    headers, event = read(request)
    [delivery] = deliveries(house)
    assert headers["webhook-id"] == delivery["id"]
    assert (headers["content-type"], headers["host"]) == ("application/json", receiver.authority)
    data = event["data"]
    info = house.call("GET", f"/job/{job}")
    assert (event["type"], event["timestamp"]) == ("job.finished", "2026-09-21T14:13:20.000Z")
    assert data["lambda"] == {key: info["lambda"][key] for key in ("id", "runtime", "codex")}
    assert {key: data[key] for key in ("job", "state", "attempt", "key", "group", "output")} == {
        "job": job, "state": "Finished", "attempt": 1, "key": "order 7", "group": info["group"],
        "output": info["output"]["id"],
    }  # fmt: skip
    assert "error" not in data
    assert (delivery["state"], delivery["status"], delivery["subject"]) == ("delivered", 204, job)
    assert send(house) == 0


def test_what_was_written_before_a_failure_is_no_output(house: House):
    register(house, URL)
    job, worker = house.submit(house.new_lambda(), on_end="hook"), house.new_worker()
    house.finish(worker, failed(house.lease(worker), "load") | {"output": {"text": "unsat"}, "exit_code": 20})
    [delivery] = deliveries(house)
    data = json.loads(house.call("GET", f"/delivery/{delivery['id']}")["body"])["data"]
    kept = house.call("GET", f"/job/{job}?view=full")["failed_output"]
    assert (data["exit_code"], data["failed_output"]) == (20, kept)
    assert "output" not in data


def test_failures_and_cancellations_are_told_without_their_messages(house: House):
    register(house, URL)
    lambda_id, worker = house.new_lambda(), house.new_worker()
    house.submit(lambda_id, on_end="hook", max_attempts=2, backoff={"kind": "none"})
    house.finish(worker, failed(house.lease(worker), "trap", "s3cret"))
    assert deliveries(house) == []
    house.finish(worker, failed(house.lease(worker), "trap", "s3cret"))
    cancelled = house.submit(lambda_id, on_end="hook")
    after = house.submit(lambda_id, after=[cancelled], on_end="hook")
    house.call("DELETE", f"/job/{cancelled}")
    told = [
        json.loads(house.call("GET", f"/delivery/{each['id']}")["body"]) for each in reversed(deliveries(house))
    ]
    assert [each["type"] for each in told] == ["job.failed", "job.cancelled", "job.cancelled"]
    assert [each["data"].get("error") for each in told] == ["trap", None, "parent"]
    assert told[2]["data"]["job"] == after
    assert "s3cret" not in json.dumps(told)


def test_jobs_without_a_webhook_tell_nobody(house: House):
    register(house, URL)
    end_one(house, on_end=None)
    assert deliveries(house) == []


def test_an_end_that_was_not_committed_is_not_told(house: House):
    register(house, URL)
    job = int(house.submit(house.new_lambda(), on_end="hook"))

    def end_and_fail(connection: Connection) -> None:
        [row] = job_rows.lock_jobs(connection, [job]).values()
        job_rows.cancel_jobs(connection, [job], house.clock())
        changes = Changes()
        house.services.endings.pass_on(connection, [Ended(row, JobState.CANCELLED)], changes, house.clock())
        assert changes.has_deliveries
        raise BadTransition("no")

    with pytest.raises(BadTransition):
        house.services.database.write(end_and_fail)
    assert deliveries(house) == []


def test_each_end_of_a_job_that_is_run_again_is_told(house: House):
    register(house, URL)
    job, worker = house.submit(house.new_lambda(), on_end="hook", max_attempts=1), house.new_worker()
    house.finish(worker, failed(house.lease(worker)))
    house.call("POST", "/job/bulk", {"action": "retry", "ids": [job]})
    house.finish(worker, finished(house.lease(worker)))
    assert [(each["type"], each["subject"]) for each in deliveries(house)] == [
        ("job.finished", job),
        ("job.failed", job),
    ]


def test_a_group_tells_once_it_is_done(house: House):
    register(house, URL)
    lambda_id, worker = house.new_lambda(), house.new_worker()
    house.call("POST", "/group", {"name": "g", "on_end": "hook"})
    for _ in range(3):
        house.submit(lambda_id, group="g", max_attempts=1)
    house.finish(worker, failed(house.lease(worker)))
    for _ in range(2):
        house.finish(worker, finished(house.lease(worker)))
    house.move_on()
    assert deliveries(house) == []
    group = house.call("POST", "/group/g/seal")["group"]
    assert group["on_end"] == "hook"
    house.services.groups._looked_at = -1e9
    house.move_on()
    [delivery] = deliveries(house)
    told = json.loads(house.call("GET", f"/delivery/{delivery['id']}")["body"])
    assert told["type"] == "group.failed"
    assert told["data"] == {
        "group": group["id"],
        "name": "g",
        "state": "Fail_Execution",
        "jobs": 3,
        "counts": [{"state": "Fail_Execution", "jobs": 1}, {"state": "Finished", "jobs": 2}],
    }


def test_a_webhook_can_be_named_when_a_group_is_sealed(house: House):
    register(house, URL)
    register(house, URL, "other")
    house.call("POST", "/group", {"name": "g"})
    for _ in range(2):
        assert house.call("POST", "/group/g/seal", {"on_end": "hook"})["group"]["on_end"] == "hook"
        house.services.groups._looked_at = -1e9
        house.move_on()
    assert [each["type"] for each in deliveries(house)] == ["group.finished"]
    refused = house.call("POST", "/group/g/seal", {"on_end": "other"}, status=409)
    assert "done already" in refused["message"]


def test_a_schedules_jobs_tell_which_schedule_it_is(house: House):
    register(house, URL)
    schedule = create_schedule(house, job={"on_end": "hook"})
    pass_by(house, 60)
    worker = house.new_worker()
    house.finish(worker, finished(house.lease(worker)))
    [delivery] = deliveries(house)
    assert delivery["subject"] == jobs_of(house)[0]
    told = json.loads(house.call("GET", f"/delivery/{delivery['id']}")["body"])
    assert told["data"]["schedule"] == schedule["id"]


def test_an_unknown_webhook_is_refused_where_it_is_named(house: House):
    lambda_id = house.new_lambda()
    for path, body in (
        ("/job", {"lambda": lambda_id, "on_end": "nobody"}),
        ("/job", {"jobs": [{"lambda": lambda_id}, {"lambda": lambda_id, "on_end": "nobody"}]}),
        ("/group", {"name": "g", "on_end": "nobody"}),
        ("/schedule", {"name": "s", "every_s": 60, "job": {"lambda": lambda_id, "on_end": "nobody"}}),
    ):
        answer = house.call("POST", path, body, status=404)
        assert (answer["code"], answer["message"]) == (951, "there is no webhook nobody")
    assert house.call("GET", "/job")["jobs"] == house.call("GET", "/group")["groups"] == []


# --- Attempts ---


def test_it_is_sent_again_with_growing_pauses_and_then_given_up(house: House):
    register(house, URL)
    house.services.deliveries._chance = lambda: 0.5
    end_one(house)
    sent = answer_with(house, Posted(500, "it answered 500"))
    for attempt, pause_s in enumerate(PAUSES_S, 1):
        assert send(house) == 1
        [delivery] = deliveries(house)
        assert (delivery["state"], delivery["attempts"]) == ("waiting", attempt)
        assert delivery["next_at"] == pytest.approx(house.clock() / 1000 + 1.1 * pause_s)
        house.clock.forward(1.1 * pause_s - 0.01)
        house.services.sender._failures.clear()
        assert send(house) == 0
        house.clock.forward(0.02)
    assert send(house) == 1
    [delivery] = deliveries(house, query="state=failed")
    assert (delivery["attempts"], delivery["detail"]) == (len(PAUSES_S) + 1, "it answered 500")
    assert len(set(sent)) == 1
    assert 24 * 3600 < sum(PAUSES_S) < 48 * 3600
    assert house.call("GET", "/webhook/hook")["failed"] == 1


def test_what_failed_is_sent_again_when_somebody_wants_it(house: House):
    register(house, URL)
    for _ in range(3):
        house.call("POST", "/webhook/hook/test")
    answer_with(house, Posted(None, "no connection"), Posted(200, "it answered 200"))
    while deliveries(house, query="state=waiting"):
        house.services.sender._failures.clear()
        send(house)
    [lost] = deliveries(house, query="state=failed")
    assert house.call("POST", f"/delivery/{lost['id']}/retry")["delivery"]["state"] == "waiting"
    assert send(house) == 1
    assert len(deliveries(house, query="state=delivered")) == 3
    assert house.call("POST", "/webhook/hook/retry") == {
        "code": 0, "status": "ok", "retried": 0, "has_more": False,
    }  # fmt: skip
    house.call("POST", "/delivery/7/retry", status=404)


def test_a_webhook_that_failed_is_left_alone_for_a_moment(house: House):
    register(house, URL)
    for _ in range(5):
        end_one(house)
    sent = answer_with(house, Posted(503, "it answered 503"))
    for _ in range(5):
        send(house)
    assert len(sent) <= 2
    assert sum(each["attempts"] for each in deliveries(house)) == len(sent)


def test_who_says_when_to_come_again_is_believed(house: House):
    register(house, URL)
    end_one(house)
    answer_with(house, Posted(429, "it answered 429", retry_after_s=1800))
    send(house)
    assert deliveries(house)[0]["next_at"] == house.clock() / 1000 + 1800


def test_who_answers_410_is_told_nothing_any_more(house: House):
    register(house, URL)
    end_one(house)
    answer_with(house, Posted(410, "it answered 410"))
    send(house)
    assert deliveries(house)[0]["state"] == "failed"
    shown = house.call("GET", "/webhook/hook")
    assert "410 Gone" in shown["trouble"]
    end_one(house)
    assert send(house) == 0
    resumed = house.call("POST", "/webhook/hook/resume")
    assert not {"paused_at", "trouble"} & resumed.keys()
    assert send(house) == 1


def test_an_attempt_that_nobody_records_is_made_again_under_the_same_id(house: House):
    """As after ``kill -9`` between sending and noting."""
    register(house, URL)
    end_one(house)
    [lost] = house.services.deliveries.take(house.services.webhooks.get("hook").id, 2)
    house.restart()
    sent = answer_with(house, Posted(200, "it answered 200"))
    assert send(house) == 0
    house.clock.forward(LEASE_MS / 1000 + 0.001)
    assert send(house) == 1
    assert sent == [str(lost.delivery.id)]
    assert [(each["state"], each["attempts"]) for each in deliveries(house)] == [("delivered", 2)]
    house.services.deliveries.record(lost, Posted(500, "late"), 1, goes_on=False)
    assert deliveries(house)[0]["state"] == "delivered"


def test_no_more_than_two_are_sent_to_a_webhook_at_once(house: House):
    register(house, URL)
    register(house, URL, "other")
    for _ in range(4):
        end_one(house)
        end_one(house, on_end="other")
    hook, other = (house.services.webhooks.get(name).id for name in ("hook", "other"))
    take = house.services.deliveries.take
    hanging = take(hook, 2)
    assert (len(hanging), len(take(hook, 2)), len(take(other, 2))) == (2, 0, 2)
    following = house.services.deliveries.record(hanging[0], Posted(200, "ok"), 1, goes_on=True)
    assert following is not None
    assert take(hook, 2) == []
    assert len(deliveries(house, query="state=sending")) == 2


# --- Operators ---


def test_a_secret_is_shown_once_and_nothing_logs_it(house: House, capsys: pytest.CaptureFixture[str]):
    made = house.call("POST", "/webhook", {"name": "hook", "url": URL})
    assert made["secret"].startswith("whsec_")
    end_one(house)
    answer_with(house, Posted(500, "it answered 500"))
    send(house)
    shown = [
        house.fetch(path).get_data(as_text=True)
        for path in ("/webhook", "/webhook/hook", "/webhook/hook/deliveries", f"/webhook/{made['id']}", "/metrics")
    ]
    for text in (*shown, *capsys.readouterr(), repr(house.services.webhooks.get("hook"))):
        assert made["secret"] not in text
    assert "s3cret" not in capsys.readouterr().out + repr(house.services.webhooks.get("hook"))


def test_after_a_rotation_both_secrets_sign_for_a_day(house: House, receiver: RawServer):
    old = register(house, receiver.url)
    rotated = house.call("POST", "/webhook/hook/rotate")
    assert rotated["old_secret_until"] == house.clock() / 1000 + 86_400
    receiver.answer(OK)
    end_one(house)
    send(house)
    house.clock.forward(86_401)
    receiver.answer(OK)
    end_one(house)
    send(house)
    new = rotated["secret"]
    assert [(is_signed(each, old), is_signed(each, new)) for each in receiver.requests] == [
        (True, True),
        (False, True),
    ]
    newest = house.call("POST", "/webhook/hook/rotate?at_once=true")
    assert "old_secret_until" not in newest
    assert len({old, new, newest["secret"]}) == 3


def test_what_is_paused_waits_and_is_sent_when_it_goes_on(house: House):
    register(house, URL)
    for _ in range(2):
        assert "paused_at" in house.call("POST", "/webhook/hook/pause")
    end_one(house)
    sent = answer_with(house, Posted(200, "it answered 200"))
    assert send(house) == 0
    assert "resume it first" in house.call("POST", "/webhook/hook/test", status=422)["message"]
    assert house.call("GET", "/webhook/hook")["waiting"] == 1
    house.call("POST", "/webhook/hook/resume")
    assert (send(house), len(sent)) == (1, 1)


def test_a_webhook_that_is_deleted_takes_its_deliveries_along(house: House):
    register(house, URL)
    job = house.submit(house.new_lambda(), on_end="hook")
    end_one(house, priority=1)
    [going] = house.services.deliveries.take(house.services.webhooks.get("hook").id, 1)
    house.call("DELETE", "/webhook/hook")
    house.call("GET", "/webhook/hook", status=404)
    house.services.deliveries.record(going, Posted(500, "it answered 500"), 1, goes_on=True)
    house.call("DELETE", f"/job/{job}")
    assert house.state(job) == "Cancelled"
    assert send(house) == 0
    while house.services.deliveries.sweep():
        pass
    house.call("GET", f"/delivery/{going.delivery.id}", status=404)
    register(house, URL)
    assert deliveries(house) == house.call("GET", "/webhook")["webhooks"][1:] == []


def test_what_a_schedule_or_an_open_group_names_is_not_deleted(house: House):
    register(house, URL, "a_b")
    register(house, URL, "axb")
    create_schedule(house, "nightly", job={"on_end": "a_b"})
    assert "schedule nightly names" in house.call("DELETE", "/webhook/a_b", status=409)["message"]
    house.call("DELETE", "/webhook/axb")
    house.call("PATCH", "/schedule/nightly", {"job": {"on_end": None}})
    group = house.call("POST", "/group", {"on_end": "a_b"})["group"]["id"]
    assert f"group {group} names" in house.call("DELETE", "/webhook/a_b", status=409)["message"]
    house.call("POST", f"/group/{group}/seal")
    house.services.groups._looked_at = -1e9
    house.move_on()
    house.call("DELETE", "/webhook/a_b")


def test_old_deliveries_are_forgotten_in_steps(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("piecework.server.services.queue.webhooks.deliveries.STEP", 2)
    register(house, URL)
    for _ in range(3):
        end_one(house)
    house.clock.forward(6 * 86_400)
    end_one(house)
    assert not house.services.deliveries.sweep()
    house.clock.forward(1.5 * 86_400)
    assert (house.services.deliveries.sweep(), house.services.deliveries.sweep()) == (True, False)
    assert len(deliveries(house)) == 1


# --- Bad answers ---


@pytest.mark.parametrize(
    ("answers", "state", "said"),
    [
        ([http(b"no", status="500 Oh")], "waiting", "it answered 500: no"),
        ([http(b"", "Location: http://127.0.0.1/", status="302 Found")], "waiting", "redirects are not followed"),
        ([b"HTTP/1.1 two hundred\r\n\r\n"], "waiting", "the answer is not HTTP"),
        ([b"\x16\x03\x01 rubbish"], "waiting", "the answer is not HTTP"),
        ([], "waiting", "no answer"),
        ([http(b"x" * 50_000_000)], "delivered", "it answered 200: xxx"),
        ([http(b"x\0\x1b[31m\n y" + b"x" * 9000, status="400 Bad")], "waiting", "it answered 400: x [31m yxx"),
        ([http(b"ok", length=False) + b"\r\n"], "delivered", "it answered 200: ok"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\nabc"], "delivered", "it answered 200: abc"),
    ],
)
def test_bad_answers_are_told_and_harm_nobody(
    house: House, receiver: RawServer, answers: list[bytes], state: str, said: str
):
    register(house, receiver.url)
    end_one(house)
    receiver.answer(*answers)
    assert send(house) == 1
    [delivery] = deliveries(house)
    assert delivery["state"] == state
    assert said in delivery["detail"]
    assert len(delivery["detail"]) < 600
    assert delivery["detail"].isprintable()


def test_who_hangs_up_at_once_is_told_so(house: House, receiver: RawServer):
    register(house, receiver.url)
    end_one(house)
    receiver.answer(reset)
    send(house)
    [delivery] = deliveries(house)
    assert (delivery["state"], "status" in delivery) == ("waiting", False)
    assert "connection" in delivery["detail"]


def test_who_says_nothing_is_given_up_after_the_time(
    house: House, receiver: RawServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("piecework.server.services.queue.webhooks.posting.TIMEOUT_S", 0.05)
    register(house, receiver.url)
    end_one(house)
    receiver.answer(lambda connection: connection.recv(65536) and connection.recv(65536))
    send(house)
    assert deliveries(house)[0]["detail"] == "no answer: it took too long"


def test_a_webhook_that_hangs_does_not_hold_up_others(
    house: House, receiver: RawServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("piecework.server.services.queue.webhooks.posting.TIMEOUT_S", LONG_S)
    hold, hanging = threading.Event(), RawServer()
    register(house, hanging.url, "hanging")
    register(house, receiver.url)
    for _ in range(4):
        hanging.answer(lambda _: hold.wait(LONG_S))
        end_one(house, on_end="hanging")
    house.services.sender.start()
    try:
        until(lambda: len(deliveries(house, "hanging", "state=sending")) == 2)
        for _ in range(3):
            receiver.answer(OK)
            end_one(house)
        until(lambda: len(deliveries(house, query="state=delivered")) == 3)
        assert len(deliveries(house, "hanging", "state=waiting")) == 2
    finally:
        hold.set()
        house.services.sender.stop()
        hanging.close()


@pytest.mark.slow
def test_certificates_are_checked(house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    authority, theirs = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(theirs)
    secure = RawServer(theirs)
    register(house, secure.url)
    end_one(house)
    secure.answer(OK)
    posting._trust.cache_clear()
    send(house)
    assert "certificate was not accepted" in deliveries(house)[0]["detail"]
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("PIECEWORK_CA", str(tmp_path / "ca.pem"))
    posting._trust.cache_clear()
    secure.answer(OK)
    house.call("POST", f"/delivery/{deliveries(house)[0]['id']}/retry")
    send(house)
    posting._trust.cache_clear()
    secure.close()
    assert deliveries(house)[0]["state"] == "delivered"


# --- Where it may lead ---


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://example.org", "must begin with https:// or http://"),
        ("https://", "and a host"),
        ("not a url", "must begin with"),
        ("https://me:pw@example.org", "no user, no password"),
        ("https://example.org/#x", "no fragment"),
        ("https://example.org:99999/", "cannot be read"),
        ("https://[::1", "cannot be read"),
        ("https://x/" + "y" * 2000, "at most 2000"),
        ("http://10.1.2.3/", "10.1.2.3, which is not public: PIECEWORK_WEBHOOK_PRIVATE=10.1.2.3 would allow it"),
        ("http://169.254.169.254/latest", "which is not public"),
        ("http://2130706434/", "leads to 127.0.0.2, which is not public"),
        ("http://0x7f.2/", "leads to 127.0.0.2, which is not public"),
        ("http://[::1]/", "leads to ::1, which is not public"),
        ("http://[::ffff:10.0.0.1]/", "which is not public"),
    ],
)
def test_urls_that_nothing_may_be_sent_to_are_refused(house: House, url: str, said: str):
    assert said in house.call("POST", "/webhook", {"name": "hook", "url": url}, status=422)["message"]
    register(house, URL)
    assert said in house.call("PATCH", "/webhook/hook", {"url": url}, status=422)["message"]


def test_a_name_that_leads_to_a_private_address_later_is_not_followed(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    """As with a name that is bound to another address once it was looked at."""

    def answer(*addresses: str) -> None:
        found = [(2, 1, 6, "", (each, 443)) for each in addresses]
        for module in (sockets, posting):
            monkeypatch.setattr(module, "look_up", lambda *_: found)

    answer("93.184.216.34")
    register(house, "https://rebound.example/")
    end_one(house)
    answer("93.184.216.34", "10.0.0.1")
    send(house)
    [delivery] = deliveries(house)
    assert "leads to 10.0.0.1, which is not public" in delivery["detail"]
    assert (delivery["state"], "status" in delivery) == ("waiting", False)


def test_a_name_that_is_not_found_can_be_registered(house: House, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise OSError("no such name")

    monkeypatch.setattr("piecework.server.services.queue.webhooks.posting.look_up", fail)
    register(house, "https://later.example/")
    assert house.call("GET", "/webhook/hook")["url"] == "https://later.example/"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/webhook", {"name": "hook", "url": URL}, 409),
        ("POST", "/webhook", {"name": "1234", "url": URL}, 422),
        ("POST", "/webhook", {"name": "a b", "url": URL}, 422),
        ("POST", "/webhook", {"name": "x"}, 422),
        ("GET", "/webhook/nobody", None, 404),
        ("GET", "/webhook/123", None, 404),
        ("DELETE", "/webhook/nobody", None, 404),
        ("POST", "/webhook/nobody/rotate", None, 404),
        ("POST", "/webhook/nobody/test", None, 404),
        ("GET", "/webhook/hook/deliveries?state=lost", None, 400),
        ("GET", "/delivery/x", None, 400),
        ("GET", "/delivery/123", None, 404),
    ],
)
def test_bad_requests(house: House, method: str, path: str, body: Any, status: int):
    register(house, URL)
    assert house.call(method, path, body, status=status)["message"]
    assert len(house.call("GET", "/webhook")["webhooks"]) == 1


def test_whoever_submits_cannot_read_webhooks(house: House):
    database, now = house.services.database, house.clock()
    tokens = {scope: create_token(database, scope, scope, now) for scope in ("submit", "operate")}
    call = partial(house.call, "POST", "/webhook", {"name": "hook", "url": URL})
    headers = {scope: {"Authorization": f"Bearer {token}"} for scope, token in tokens.items()}
    assert call(status=403, headers=headers["submit"])["code"] == 5
    assert call(headers=headers["operate"])["created_by"] == "operate"
    house.call("GET", "/webhook", status=403, headers=headers["submit"])
