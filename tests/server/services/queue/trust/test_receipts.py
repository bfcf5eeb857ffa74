"""Receipts at the server: what fits is signed and kept, what does not costs the attempt."""

import stat
from collections.abc import Iterator

import msgspec
import pytest
from house import House
from msgspec import UNSET
from places import Place
from signing_worker import (
    RUNTIME,
    SigningWorker,
    deterministic_lambda,
    keys_of,
    proof_of,
    receipt_of,
    sha256,
)

from piecework.protocol.codes import Code
from piecework.protocol.messages import Envelope, JobError, Usage
from piecework.protocol.messages.receipts import RECEIPT_TYPE
from piecework.protocol.states import JobState
from piecework.receipts import PrivateKey, ReceiptError, countersign, verify_receipt


@pytest.fixture
def house(place: Place) -> Iterator[House]:
    house = House(place.data, place.database_url)
    yield house
    house.close()


@pytest.fixture
def worker(house: House) -> SigningWorker:
    return SigningWorker(house)


def submit(house: House, **fields) -> str:
    lambda_ = deterministic_lambda(house, deterministic=True, args=["-v"], env={"A": "1"}, ok_codes=[3])
    return house.submit(lambda_, **{"backoff": {"kind": "none"}} | fields)


@pytest.mark.slow
def test_a_receipt_that_fits_is_signed_and_kept(house: House, worker: SigningWorker):
    job = submit(house, env={"B": "2"}, timeout_s=5)
    outcome = worker.work()
    [ack] = worker.hand_in(outcome).acks
    assert ack.code == 0
    checked = verify_receipt(receipt_of(house, job), keys_of(house))
    assert checked.payload.claim.result.output == sha256(b"out")
    assert [str(key.id) for key in checked.signers if key.owner == "worker"] == [worker.id]
    assert house.services.receipts.count() == {"accepted": 1, "refused": 0}
    assert stat.S_IMODE((house.data / "receipts.key").stat().st_mode) == 0o600
    assert 'piecework_receipts_total{outcome="accepted"} 1.0' in house.fetch("/metrics").text


def test_repeating_an_outcome_with_its_receipt_changes_nothing(house: House, worker: SigningWorker):
    job = submit(house)
    outcome = worker.work()
    worker.hand_in(outcome)
    kept = receipt_of(house, job)
    assert [ack.code for ack in worker.hand_in(outcome, outcome).acks] == [0, 0]
    assert receipt_of(house, job) == kept


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda p: p.update(job="5"), "job is 5"),
        (lambda p: p.update(attempt=2), "attempt is 2, and the server has 1"),
        (lambda p: p.update({"lambda": "5"}), "lambda is 5"),
        (lambda p: p.update(worker="5"), "worker is 5"),
        *(
            (lambda p, name=name: p["claim"]["subject"].update({name: "0" * 64}), f"claim.subject.{name} is 0000")
            for name in ("module", "input", "args", "env", "files", "inputs", "seed", "journal")
        ),
        (lambda p: p["claim"]["subject"].update(runtime="wasi"), "claim.subject.runtime is wasi"),
        (lambda p: p["claim"]["subject"].update(mode="http"), "claim.subject.mode is http"),
        (lambda p: p["claim"]["subject"].update(profile="record"), "claim.subject.profile is record"),
        (lambda p: p["claim"]["subject"].update(outputs=["a"]), "claim.subject.outputs is"),
        (lambda p: p["claim"]["subject"].update(ok_codes=[]), "claim.subject.ok_codes is"),
        (lambda p: p["claim"]["subject"].update(journal_cut=True), "claim.subject.journal_cut is True"),
        (
            lambda p: p["claim"]["subject"]["limits"].update(memory_bytes=1),
            "claim.subject.limits.memory_bytes is 1, and the server has 1000000",
        ),
        (lambda p: p["claim"]["result"].update(state="Fail_Execution"), "claim.result.state is Fail"),
        (lambda p: p["claim"]["result"].update(exit_code=3), "claim.result.exit_code is 3"),
        (lambda p: p["claim"]["result"].update(error_kind="trap"), "claim.result.error_kind is trap"),
        (lambda p: p["claim"]["result"].update(output="0" * 64), "claim.result.output is 0000"),
        (lambda p: p["claim"]["result"].update(made="0" * 64), "claim.result.made is 0000"),
        (lambda p: p["claim"]["result"].update(memory="0" * 64), "claim.result.memory is 0000"),
        (lambda p: p["claim"]["result"].update(fuel=78), "claim.result.fuel is 78, and the server has 77"),
        (lambda p: p["claim"]["result"].update(comparable=False), "claim.result.comparable is False"),
    ],
)
def test_a_receipt_that_says_something_else_costs_the_attempt_and_the_worker_is_told(
    house: House, worker: SigningWorker, change, what
):
    job = submit(house, limits={"memory_bytes": 1_000_000})
    outcome = worker.edit(worker.work(), change)
    [ack] = worker.hand_in(outcome, status=409).acks
    assert ack.code == Code.RECEIPT_REFUSED
    assert ack.message.startswith(f"the receipt does not fit: {what}")
    info = house.call("GET", f"/job/{job}?view=full")
    assert (info["state"], info["error"]["kind"], info["lost"]) == ("Enqueued", "worker", 1)
    assert info["error"]["message"].startswith(f"its worker's receipt does not fit: {what}")
    assert "output" not in info
    assert house.call("GET", f"/job/{job}/receipt", status=404)["message"].endswith("it is Enqueued")
    [act] = house.call("GET", "/audit?act=refused receipt")["entries"]
    assert (act["by"], act["who"], act["target"]) == ("worker", worker.id, job)
    assert act["detail"].startswith(what)
    assert house.services.receipts.count() == {"accepted": 0, "refused": 1}
    assert [each.code for each in worker.hand_in(outcome).acks] == [0]  # told again, and nothing more


def test_the_job_runs_elsewhere_and_has_the_receipt_of_who_told_the_truth(house: House, worker: SigningWorker):
    job, honest = submit(house), SigningWorker(house)
    liar = worker.work(b"a lie")
    liar.receipt = honest.edit(liar, lambda p: p.update(worker=honest.id)).receipt
    [ack] = worker.hand_in(liar, status=409).acks
    assert f"it is signed with the key {honest.key.keyid}, and its worker has {worker.key.keyid}" in ack.message
    assert honest.hand_in(honest.work(b"the truth")).acks[0].code == 0
    checked = verify_receipt(receipt_of(house, job), keys_of(house))
    assert (checked.payload.worker, checked.payload.attempt) == (honest.id, 2)
    assert checked.payload.claim.result.output == sha256(b"the truth")
    assert house.call("GET", f"/job/{job}?output=inline")["output"]["text"] == "the truth"


def test_other_outcomes_of_the_same_request_count(house: House, worker: SigningWorker):
    jobs = [submit(house), submit(house, input={"text": "other"})]
    bad, good = worker.edit(worker.work(), lambda p: p.update(job="5")), worker.work()
    acks = worker.hand_in(bad, good).acks
    assert [ack.code for ack in acks] == [Code.RECEIPT_REFUSED, 0]
    assert sorted(map(house.state, jobs)) == ["Enqueued", "Finished"]


def test_a_signature_with_another_byte_is_refused(house: House, worker: SigningWorker):
    submit(house)
    outcome = worker.work()
    [signature] = outcome.receipt.signatures
    sig = bytes([signature.sig[0] ^ 1]) + signature.sig[1:]
    changed = [msgspec.structs.replace(signature, sig=sig)]
    outcome.receipt = Envelope(payload_type=RECEIPT_TYPE, payload=outcome.receipt.payload, signatures=changed)
    [ack] = worker.hand_in(outcome, status=409).acks
    assert ack.message.endswith("its signature is wrong: the worker's key did not sign these bytes")


def test_more_signatures_and_other_payloads_are_refused(house: House, worker: SigningWorker):
    submit(house)
    twice = worker.work()
    twice.receipt = countersign(twice.receipt, PrivateKey.new())
    assert "it has 2 signatures" in worker.hand_in(twice, status=409).acks[0].message
    no_receipt = worker.work()
    old = no_receipt.receipt
    no_receipt.receipt = Envelope(payload_type="text/plain", payload=old.payload, signatures=old.signatures)
    assert "its signature is wrong" in worker.hand_in(no_receipt, status=409).acks[0].message


def test_outcomes_without_receipts_count_as_before(house: House, worker: SigningWorker):
    job = submit(house)
    outcome = worker.work()
    outcome.receipt = UNSET
    assert worker.hand_in(outcome).acks[0].code == 0
    told = house.call("GET", f"/job/{job}/receipt", status=404)
    assert (told["code"], house.state(job)) == (Code.RECEIPT_NOT_FOUND, "Finished")
    assert told["message"].endswith("or its worker signs none")
    assert not (house.data / "receipts.key").exists()


def test_receipts_of_a_worker_without_a_key_are_passed_over(house: House):
    worker = SigningWorker(house, public_key=None, key_proof=None)
    job = submit(house)
    assert worker.hand_in(worker.work()).acks[0].code == 0
    house.call("GET", f"/job/{job}/receipt", status=404)


def test_a_receipt_of_a_lambda_that_cannot_be_repeated_is_refused(house: House, worker: SigningWorker):
    submit(house)
    lying = worker.work()
    worker.hand_in(lying)
    house.submit(deterministic_lambda(house, env={"C": "3"}))
    _, job, _ = worker.lease()
    lying.job, lying.lease = job.job, job.lease
    lying = worker.edit(lying, lambda p: p.update({"job": str(int(job.job)), "lambda": str(int(job.lambda_))}))
    assert "its lambda's runs cannot be repeated" in worker.hand_in(lying, status=409).acks[0].message


def test_an_outcome_must_say_what_its_receipt_says(house: House, worker: SigningWorker):
    submit(house)
    outcome = worker.work()
    outcome.usage = Usage()
    assert "`usage` has no `digests`" in worker.hand_in(outcome, status=409).acks[0].message


def test_only_the_last_attempt_of_a_job_has_a_receipt(house: House, worker: SigningWorker):
    job = submit(house, max_attempts=2)
    fields = {"state": JobState.FAILED, "error": JobError(kind="timeout", message="it took too long")}
    assert worker.hand_in(worker.work(**fields)).acks[0].code == 0
    assert house.call("GET", f"/job/{job}/receipt", status=404)["message"].endswith("it is Enqueued")
    worker.hand_in(worker.work(**fields))
    payload = verify_receipt(receipt_of(house, job), keys_of(house)).payload
    assert (payload.attempt, payload.claim.result.state) == (2, "Fail_Execution")
    assert (payload.claim.result.error_kind, payload.claim.result.comparable) == ("timeout", False)
    house.call("POST", "/job/bulk", {"action": "retry", "ids": [job]})
    house.call("GET", f"/job/{job}/receipt", status=404)
    house.call("DELETE", f"/job/{job}")
    assert house.call("GET", f"/job/{job}/receipt", status=404)["message"].endswith("it was cancelled")


def test_receipts_go_with_their_jobs(house: House, worker: SigningWorker):
    job = submit(house)
    worker.hand_in(worker.work())
    receipt_of(house, job)
    house.call("POST", "/job/bulk", {"action": "delete", "ids": [job]})
    assert "there is no job" in house.call("GET", f"/job/{job}/receipt", status=404)["message"]
    with house.services.database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM receipts").scalar() == 0


def test_a_key_needs_a_proof(house: House):
    key, other = PrivateKey.new(), PrivateKey.new()
    body = {"incarnation": "i", "public_key": proof_of(key, "i")["public_key"]}
    for proof in (
        {},
        {"key_proof": proof_of(other, "i")["key_proof"]},
        {"key_proof": proof_of(key, "j")["key_proof"]},
    ):
        told = house.call("POST", "/worker", body | proof, status=422)
        assert told["message"] == "`key_proof` does not show that the worker has the private part of `public_key`"
    assert house.call("POST", "/worker", body | proof_of(key, "i"))["keyid"] == key.keyid
    assert "keyid" not in house.call("POST", "/worker", {"incarnation": "i"})


def test_a_key_that_is_replaced_is_told_of_and_what_it_signed_counts(house: House, worker: SigningWorker):
    job = submit(house)
    worker.hand_in(worker.work())
    late = [submit(house, input={"text": "late"}), worker.work()]
    old, worker.key = worker.key, PrivateKey.new()
    house.clock.forward(1.0)
    assert str(worker.register(known_as=worker.id)["id"]) == worker.id
    verify_receipt(receipt_of(house, job), keys_of(house))
    keys = {key["keyid"]: key for key in house.call("GET", "/keys")["keys"] if key["owner"] == "worker"}
    assert keys[old.keyid]["replaced_at"] > keys[old.keyid]["first_seen"]
    assert "replaced_at" not in keys[worker.key.keyid]
    [act] = house.call("GET", "/audit?act=replace key")["entries"]
    assert (act["who"], act["detail"]) == (worker.id, f"{worker.key.keyid} for {old.keyid}")
    assert f"signed with the key {old.keyid}" in worker.hand_in(late[1], status=409).acks[0].message
    worker.register(known_as=worker.id)  # the same again is no change
    assert len(house.call("GET", "/audit?act=replace key")["entries"]) == 1


def test_a_worker_that_registers_without_a_key_keeps_the_one_that_it_had(house: House, worker: SigningWorker):
    job = submit(house)
    worker.register(known_as=worker.id, public_key=None, key_proof=None)
    worker.hand_in(worker.work())
    receipt = receipt_of(house, job)
    verify_receipt(receipt, keys_of(house))
    assert receipt.signatures[0].keyid == worker.key.keyid


def test_keys_are_listed_in_pages_and_by_name(house: House):
    workers = [SigningWorker(house) for _ in range(3)]
    page = house.call("GET", "/keys?limit=2")
    rest = house.call("GET", f"/keys?limit=2&cursor={page['next']}")
    assert [key["id"] for key in page["keys"] + rest["keys"]] == [worker.id for worker in reversed(workers)]
    [found] = house.call("GET", f"/keys?keyid={workers[1].key.keyid}")["keys"]
    assert (found["owner"], found["id"]) == ("worker", workers[1].id)


@pytest.mark.integration
def test_each_server_of_a_database_signs_with_its_own_key(postgres_place: Place):
    house, other = (House(postgres_place.data / name, postgres_place.database_url) for name in ("one", "other"))
    worker = SigningWorker(house)
    try:
        jobs = []
        for server in (house, other):
            worker.house = server
            jobs.append(submit(server, input={"text": str(len(jobs))}))
            worker.hand_in(worker.work())
        signers = {verify_receipt(receipt_of(house, job), keys_of(other)).signers[1].keyid for job in jobs}
        assert len(signers) == 2
    finally:
        house.close()
        other.close()


def test_a_server_whose_key_is_damaged_takes_results_without_receipts(house: House, worker: SigningWorker):
    (house.data / "receipts.key").touch(0o600)
    job = submit(house)
    assert worker.hand_in(worker.work()).acks[0].code == 0
    house.call("GET", f"/job/{job}/receipt", status=404)
    (house.data / "receipts.key").unlink()
    later = submit(house, input={"text": "later"})
    worker.hand_in(worker.work())
    receipt_of(house, later)


def test_a_receipt_is_good_for_its_own_job_alone(house: House, worker: SigningWorker):
    jobs = [submit(house), submit(house, input={"text": "y"})]
    for _ in jobs:
        worker.hand_in(worker.work())
    first, second = (receipt_of(house, job) for job in jobs)
    mixed = msgspec.structs.replace(first, signatures=second.signatures)
    with pytest.raises(ReceiptError, match="signature 1 is wrong"):
        verify_receipt(mixed, keys_of(house))


def test_a_job_that_another_ones_result_answers_has_none_and_points_to_that(house: House, worker: SigningWorker):
    lambda_ = deterministic_lambda(house, deterministic=True, memo=True)
    first = house.submit(lambda_)
    worker.hand_in(worker.work())
    again = house.submit(lambda_)
    told = house.call("GET", f"/job/{again}/receipt", status=404)["message"]
    assert told.endswith(f"it was answered with the result of job {first}: see the receipt of that one")
    receipt_of(house, first)


# Lambdas that require receipts


def submit_strict(house: House) -> str:
    lambda_ = deterministic_lambda(house, deterministic=True, receipts=True, tags=["near"])
    return house.submit(lambda_, backoff={"kind": "none"})


def test_only_workers_with_a_key_get_jobs_that_require_receipts(house: House, worker: SigningWorker):
    job, plain = submit_strict(house), house.new_worker(RUNTIME, agent_version="0.1.0")
    assert not house.contract(plain, tags=["receipts"])["jobs"]
    assert worker.hand_in(worker.work()).acks[0].code == 0
    info = house.call("GET", f"/job/{job}?view=full")
    assert (info["state"], info["receipts"], info["tags"]) == ("Finished", True, ["near", "+receipts"])
    lambda_ = house.call("GET", f"/lambda/{info['lambda']['id']}?view=full")
    assert (lambda_["receipts"], lambda_["tags"]) == (True, ["near", "+receipts"])
    assert receipt_of(house, job).signatures


@pytest.mark.parametrize(
    "changes",
    [{}, {"state": JobState.FAILED, "exit_code": 1, "error": JobError(kind="guest", message="no")}],
    ids=["result", "failure of the guest"],
)
def test_a_result_without_a_required_receipt_is_refused_and_another_gives_it(
    house: House, worker: SigningWorker, changes
):
    job, outcome = submit_strict(house), worker.work(**changes)
    outcome.receipt = UNSET
    [ack] = worker.hand_in(outcome, status=409).acks
    why = "receipt is missing: its lambda takes no result without one"
    assert (ack.code, ack.message) == (Code.RECEIPT_REFUSED, f"the {why}")
    info = house.call("GET", f"/job/{job}?view=full")
    assert (info["state"], info["lost"]) == ("Enqueued", 1)
    assert (info["error"]["kind"], info["error"]["message"]) == ("worker", f"its worker's {why}")
    [act] = house.call("GET", "/audit?act=refused receipt")["entries"]
    assert act["detail"] == why.removeprefix("receipt ")
    other = SigningWorker(house)
    assert other.hand_in(other.work()).acks[0].code == 0
    assert house.state(job) == "Finished"


def test_a_job_that_gets_no_receipt_from_anybody_fails(house: House, worker: SigningWorker):
    job = submit_strict(house)
    for _ in range(house.services.settings.vanished_max + 1):
        outcome = worker.work()
        outcome.receipt = UNSET
        worker.hand_in(outcome, status=409)
    assert house.state(job) == "Fail_Execution"


def test_an_attempt_that_came_to_no_end_needs_no_receipt(house: House, worker: SigningWorker):
    job = submit_strict(house)
    error = JobError(kind="timeout", message="too long")
    outcome = worker.work(state=JobState.FAILED, error=error, usage=Usage(wall_s=1.0))
    assert outcome.receipt is UNSET
    assert worker.hand_in(outcome).acks[0].code == 0
    assert house.call("GET", f"/job/{job}?view=full")["error"]["kind"] == "timeout"


def test_receipts_are_required_only_of_what_can_be_repeated(house: House):
    body = {"codex": "0", "runtime": RUNTIME, "receipts": True}
    said = house.call("POST", "/lambda", body, status=422)["message"]
    assert said == "`receipts` needs `deterministic` or `record`: only what can be repeated has receipts"
    house.call("POST", "/lambda", body | {"record": True})


def test_a_server_that_cannot_sign_says_so_where_receipts_are_required(house: House, worker: SigningWorker):
    (house.data / "receipts.key").touch(mode=0o600)
    submit_strict(house)
    [ack] = worker.hand_in(worker.work(), status=409).acks
    assert ack.message == "the receipt cannot be signed by this server: 'piecework doctor' says why"
