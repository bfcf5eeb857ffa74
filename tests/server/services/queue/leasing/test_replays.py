"""Replays on workers, as the server sees them: who may do one, what it is given, and what it leaves alone."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from house import House, finished
from msgspec import UNSET
from places import Place
from signing_worker import RUNTIME, SigningWorker, deterministic_lambda, proof_of, receipt_of

from piecework.protocol import bodies
from piecework.protocol.codes import Code
from piecework.protocol.messages import ContractReply
from piecework.receipts import read_receipt
from piecework.server.services.tokens.token_acts import create_token

AGENT = {"agent_version": "0.1.0"}
TAGS = ["inputs", "files", "replay"]


@pytest.fixture
def house(place: Place) -> Iterator[House]:
    house = House(place.data, place.database_url)
    yield house
    house.close()


@pytest.fixture
def worker(house: House) -> SigningWorker:
    return SigningWorker(house, name="first")


def done_job(house: House, worker: SigningWorker, output: bytes = b"out", **fields: Any) -> str:
    """Return a job that has a receipt."""
    tags = fields.pop("lambda_tags", [])
    limits = {"memory_bytes": 1_000_000}
    lambda_ = deterministic_lambda(
        house, deterministic=True, args=["-v"], env={"A": "1"}, limits=limits, tags=tags
    )
    job = house.submit(lambda_, **fields)
    worker.hand_in(worker.work(output))
    assert house.state(job) == "Finished"
    return job


def start(house: House, job: str, worker: str, status: int = 200, headers: Any = None, **fields: Any) -> Any:
    more = {"headers": headers} if headers else {}
    return house.call("POST", f"/job/{job}/replay", {"worker": worker} | fields, status=status, **more)


def lease(house: House, worker: str) -> ContractReply:
    told = house.contract(worker, tags=TAGS, inline_max_bytes=1000)
    return bodies.decode(json.dumps(told).encode(), ContractReply)


def test_a_worker_gets_all_that_the_job_had_and_its_receipt(house: House, worker: SigningWorker):
    files = {"a": {"text": "file"}, "empty": {"text": ""}}
    job = done_job(house, worker, env={"API_KEY": "hush"}, args=["x"], files=files, outputs=["*"], ok_codes=[3])
    other = house.new_worker(RUNTIME, name="second", **AGENT)
    started = start(house, job, "second", engine="pulley", timeout_s=7)
    assert started["worker"] == other
    assert not house.contract(worker.id, tags=TAGS)["jobs"]  # the one that ran it is another
    reply = lease(house, other)
    [leased], [lambda_] = reply.jobs, reply.lambdas
    assert str(leased.job) == started["id"]
    assert (leased.lambda_, lambda_.deterministic, lambda_.runtime) == (lambda_.id, True, RUNTIME)
    assert (leased.args, leased.env, leased.ok_codes) == (["x"], {"A": "1", "API_KEY": "hush"}, [3])
    assert (leased.limits.timeout_s, leased.limits.memory_bytes) == (7, 1_000_000)
    assert leased.input.read() == b"x"
    assert [each.name for each in leased.folder.files] == ["a", "empty"]
    assert read_receipt(leased.replay.receipt) == read_receipt(receipt_of(house, job))
    assert (leased.replay.engine, leased.replay.journal, leased.replay.made) == ("pulley", UNSET, [])
    assert leased.replay.output.checksum == read_receipt(receipt_of(house, job)).claim.result.output


def test_the_job_and_all_that_is_known_of_its_lambda_stay_as_they_are(house: House, worker: SigningWorker):
    job = done_job(house, worker)
    other, lambda_ = house.new_worker(RUNTIME, **AGENT), house.call("GET", f"/job/{job}")["lambda"]["id"]
    before = [house.call("GET", path) for path in (f"/job/{job}?view=full", f"/stats?lambda={lambda_}")]
    replay = start(house, job, other)["id"]
    house.finish(other, finished(house.lease(other, tags=TAGS), "what came of it"))
    after = [house.call("GET", path) for path in (f"/job/{job}?view=full", f"/stats?lambda={lambda_}")]
    assert after == before
    info = house.call("GET", f"/job/{replay}?view=full&output=inline")
    assert (info["replays"], info["output"]["text"]) == (job, "what came of it")
    assert (info["lambda"]["name"], info["priority"]) == ("(replays)", 100)
    assert "env" not in info or info["env"] == {}
    assert [each["id"] for each in house.call("GET", "/lambda")["lambdas"]] == [lambda_]
    assert house.call("GET", "/job?lambda=" + lambda_)["jobs"][0]["id"] == job
    refused = house.call("POST", "/job", {"lambda": info["lambda"]["id"]}, status=404)["message"]
    assert refused == f"lambda {info['lambda']['id']} was deleted"


def test_all_replays_are_of_one_lambda_that_stays(house: House, worker: SigningWorker):
    job, other = done_job(house, worker), house.new_worker(RUNTIME, **AGENT)
    lambdas = set()
    for _ in range(2):
        replay = start(house, job, other)["id"]
        house.finish(other, finished(house.lease(other, tags=TAGS)))
        lambdas.add(house.call("GET", f"/job/{replay}")["lambda"]["id"])
        house.call("POST", "/job/bulk", {"action": "delete", "ids": [replay]})
        house.clock.forward(3600)
        house.services.leftovers.sweep_lambdas()
        house.call("POST", f"/worker/{other}/contract", {"max": 0, "timeout": 0})
    assert len(lambdas) == 1


@pytest.mark.parametrize(
    ("fields", "act", "says"),
    [
        ({}, "retire", "was retired"),
        ({}, "leave", "has stopped"),
        ({}, "silence", "was not heard of for over a minute"),
        ({}, "drain", "drains, and takes no more jobs"),
        ({}, "trouble", "takes no jobs now: the disk is full"),
        ({"agent_version": ""}, "", "does no replays: it is another program than piecework's agent"),
        ({"runtime": ["lua5.4"]}, "", f"does not offer the runtime {RUNTIME}; it offers lua5.4"),
        ({"tags": ["slow"]}, "", "which has the tags +gpu -slow"),
    ],
)
def test_a_worker_that_cannot_do_it_is_refused(house: House, worker: SigningWorker, fields, act: str, says: str):
    SigningWorker(house)
    gpu = SigningWorker(house, tags=["gpu"])
    job = done_job(house, gpu, lambda_tags=["+gpu", "-slow"]) if "tags" in fields else done_job(house, worker)
    other = house.new_worker(**{"runtime": [RUNTIME], "name": "other", "incarnation": "i"} | AGENT | fields)
    contract = {"max": 0, "timeout": 0, "incarnation": "i"}
    if act == "retire":
        house.call("DELETE", f"/worker/{other}")
    elif act == "leave":
        house.call("POST", f"/worker/{other}/leave", {"incarnation": "i"})
    elif act == "silence":
        house.clock.forward(61)
    elif act == "drain":
        house.call("POST", f"/worker/{other}/drain")
    elif act == "trouble":
        house.call("POST", f"/worker/{other}/contract", contract | {"trouble": "the disk is full"})
    told = start(house, job, other, status=409)
    assert told["code"] == Code.WORKER_UNFIT
    assert told["message"].startswith(f"worker other ({other}) ")
    assert told["message"].endswith(says)


def test_a_worker_is_named_by_its_id_or_a_name_that_is_its_own(house: House, worker: SigningWorker):
    job = done_job(house, worker)
    twins = [house.new_worker(RUNTIME, name="twin", incarnation="i", **AGENT) for _ in range(2)]
    said = start(house, job, "twin", status=422)["message"]
    assert said.startswith("several workers are named 'twin': say which by its id, one of ")
    assert all(twin in said for twin in twins)
    assert start(house, job, twins[0])["worker"] == twins[0]
    house.call("POST", f"/worker/{twins[0]}/leave", {"incarnation": "i"})
    assert start(house, job, "twin")["worker"] == twins[1]
    assert start(house, job, "nobody", status=404)["message"] == "there is no worker named 'nobody'"
    assert start(house, job, "9" * 30, status=422)["message"].startswith("the worker is wrong: ")
    start(house, job, twins[1], status=422, engine="no such")
    start(house, job, twins[1], status=422, timeout_s=0)


def test_a_job_without_a_receipt_has_no_replay(house: House, worker: SigningWorker):
    other = house.new_worker(RUNTIME, **AGENT)
    assert start(house, "5", other, status=404)["message"] == "there is no job 5"
    job = house.submit(deterministic_lambda(house, deterministic=True))
    told = start(house, job, other, status=404)
    assert (told["code"], told["message"]) == (Code.RECEIPT_NOT_FOUND, f"job {job} has no receipt: it is Enqueued")


def test_repeating_a_request_with_its_key_is_the_same_replay(house: House, worker: SigningWorker):
    job, other = done_job(house, worker), house.new_worker(RUNTIME, **AGENT)
    first = start(house, job, other, key="k")
    assert start(house, job, other, key="k") == first
    assert start(house, job, other, key="k", engine="pulley", status=409)["code"] == Code.KEY_CONFLICT
    assert start(house, job, other)["id"] != first["id"]


def test_a_replay_whose_job_has_gone_is_told_so(house: House, worker: SigningWorker):
    job, other = done_job(house, worker), house.new_worker(RUNTIME, **AGENT)
    start(house, job, other)
    house.call("POST", "/job/bulk", {"action": "delete", "ids": [job]})
    [leased] = lease(house, other).jobs
    assert leased.replay.receipt is UNSET


def test_a_replay_is_not_run_again_and_ends_with_its_time(house: House, worker: SigningWorker):
    job, other = done_job(house, worker), house.new_worker(RUNTIME, **AGENT)
    replay = start(house, job, other, timeout_s=5)["id"]
    house.clock.forward(16)
    house.move_on()
    assert house.state(replay) == "Cancelled"
    again = house.call("POST", "/job/bulk", {"action": "retry", "ids": [replay]})
    assert again["refused"][0]["message"] == "it is a replay: ask for another one"


def why(house: House, job: str) -> tuple[str | None, str]:
    info = house.call("GET", f"/job/{job}?view=full")
    return info.get("waits_for"), info.get("advice", "")


def test_it_is_said_what_a_replay_waits_for(house: House, worker: SigningWorker):
    job, other = done_job(house, worker), house.new_worker(RUNTIME, name="other", incarnation="i", **AGENT)
    replay = start(house, job, other)["id"]
    assert why(house, replay) == (None, "")
    house.clock.forward(31)
    assert why(house, replay) == ("no_worker", "worker other is idle and does not take it: its agent is too old")
    house.call("POST", f"/worker/{other}/leave", {"incarnation": "i"})
    assert why(house, replay) == ("no_worker", f"it is for worker other ({other}) alone, which has stopped")
    house.call("DELETE", f"/worker/{other}")
    assert why(house, replay) == ("no_worker", f"it is for worker {other} alone, which is not in service")


def test_no_worker_gives_itself_the_tag_of_another(house: House, worker: SigningWorker):
    job, other = done_job(house, worker), house.new_worker(RUNTIME, **AGENT)
    start(house, job, other)
    assert not house.contract(worker.id, tags=[*TAGS, f"worker:{other}"])["jobs"]
    body = {"runtime": [RUNTIME], "tags": [f"worker:{other}"], "incarnation": "i"} | proof_of(worker.key, "i")
    said = house.call("POST", "/worker", body, status=422)["message"]
    assert said == f"the tag 'worker:{other}' is not for workers to have: the server gives it"


def test_jobs_of_anybody_can_be_for_one_worker(house: House):
    first, second = house.new_worker(), house.new_worker()
    job = house.submit(house.new_lambda(), tags=[f"+worker:{second}"])
    assert not house.contract(first)["jobs"]
    assert house.lease(second)["job"] == job


def test_who_asks_is_in_the_audit(house: House, worker: SigningWorker):
    job, other = done_job(house, worker), house.new_worker(RUNTIME, **AGENT)
    start(house, job, other, engine="pulley")
    [act] = house.call("GET", "/audit?act=replay job")["entries"]
    assert (act["target"], act["detail"]) == (job, f"worker={other}, engine=pulley")


def test_secret_variables_go_to_a_worker_of_choice_only_for_their_owner_and_operators(
    house: House, worker: SigningWorker
):
    other = house.new_worker(RUNTIME, **AGENT)
    plain, secret = done_job(house, worker), done_job(house, worker, env={"API_KEY": "hush"})
    shown: dict[str, Any] = {}
    for name, scope in (("ada", "submit"), ("ben", "submit"), ("ops", "operate"), ("root", "admin")):
        made = create_token(house.services.database, name, scope, house.clock())
        shown[name] = {"headers": {"Authorization": f"Bearer {made}"}}
    house.clock.forward(1.1)
    for name, job, status in (("ada", plain, 200), ("ada", secret, 403), ("ops", secret, 200)):
        assert start(house, job, other, status, **shown[name])
    house.client.environ_base["HTTP_AUTHORIZATION"] = shown["root"]["headers"]["Authorization"]
    lambda_ = deterministic_lambda(house, deterministic=True)
    body = {"lambda": lambda_, "env": {"API_KEY": "hush"}}
    own = str(house.call("POST", "/job", body, **shown["ada"])["id"])
    worker.hand_in(worker.work())
    for name, status in (("ben", 403), ("ada", 200), ("root", 200)):
        assert start(house, own, other, status, **shown[name])
