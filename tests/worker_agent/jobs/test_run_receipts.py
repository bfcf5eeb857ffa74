"""Receipts in the agent: what it signs, and what it does when the server does not believe it."""

import hashlib

import pytest
from msgspec import UNSET

from piecework.protocol.codes import Code, ErrorKind
from piecework.protocol.ids import Id
from piecework.protocol.messages import Digests, JobError, LeasedJob, LeasedLambda, Outcome, OutcomeAck, Usage
from piecework.protocol.messages.content import Content
from piecework.protocol.states import JobState
from piecework.receipts import EngineFacts, PrivateKey, read_receipt
from piecework.worker_agent.jobs.work.inputs import find_run_seed
from piecework.worker_agent.jobs.work.receipts import ReceiptMaker, draft_receipt
from piecework.worker_agent.tasks import LeasedTask, Task

ENGINE = EngineFacts(name="wasmtime", version="50.0.0", strategy="cranelift", opt_level="speed")
SUM = hashlib.sha256(b"x").hexdigest()


def leased(**lambda_):
    job = LeasedJob(
        job=Id(1), lease="l", lease_s=5.0, attempt=2, lambda_=Id(2), input=Content(raw=b"x"), input_checksum=SUM
    )
    return job, LeasedLambda(id=Id(2), runtime="wasi", codex=Id(3), codex_checksum=SUM, **lambda_)


def sign(given, outcome, key=None):
    job, lambda_ = given
    draft = draft_receipt(job, lambda_, find_run_seed(job, lambda_))
    task = LeasedTask(Id(1), "l", Task(runtime="wasi", codex="", checksum=SUM), draft)
    return ReceiptMaker(key or PrivateKey.new(), lambda: Id(7), lambda _: ENGINE).sign(task, outcome)


def ended(state=JobState.FINISHED, usage=None, **fields):
    digests = Digests(module=SUM, input=SUM, output=SUM)
    return Outcome(job=Id(1), lease="l", state=state, usage=usage or Usage(fuel=5, digests=digests), **fields)


def test_a_receipt_tells_of_job_attempt_worker_and_limits():
    payload = read_receipt(sign(leased(deterministic=True), ended()))
    assert (payload.job, payload.attempt, payload.lambda_, payload.worker) == ("1", 2, "2", "7")
    assert payload.claim.subject.limits.memory_bytes == 256 * 1024 * 1024
    assert payload.engine == ENGINE


@pytest.mark.parametrize(
    ("lambda_", "outcome"),
    [
        ({}, ended()),
        ({"deterministic": True}, ended(usage=Usage(fuel=5))),
        ({"deterministic": True}, ended(JobState.ENQUEUED)),
        ({"deterministic": True}, ended(JobState.CANCELLED)),
        ({"record": True}, ended(usage=Usage(digests=Digests(module=SUM, input=SUM, journal=SUM)))),
    ],
    ids=["not repeatable", "killed", "handed back", "cancelled", "its journal was not taken"],
)
def test_other_ends_have_no_receipt(lambda_, outcome):
    assert sign(leased(**lambda_), outcome) is UNSET


def test_an_agent_without_a_key_signs_nothing():
    job, lambda_ = leased(deterministic=True)
    task = LeasedTask(Id(1), "l", Task(runtime="", codex="", checksum=""), draft_receipt(job, lambda_, b"s" * 32))
    assert ReceiptMaker(None, lambda: Id(7), lambda: ENGINE).sign(task, ended()) is UNSET


def test_numbers_of_any_size_are_told():
    usage = Usage(fuel=2**60, digests=Digests(module=SUM, input=SUM))
    failed = ended(JobState.FAILED, usage, error=JobError(kind=ErrorKind.TRAP, message="unreachable"))
    result = read_receipt(sign(leased(deterministic=True), failed)).claim.result
    assert (result.fuel, result.error_kind, result.comparable) == (str(2**60), ErrorKind.TRAP, True)


def test_an_agent_whose_receipt_is_refused_takes_no_jobs_for_a_while(agent, server):
    ack = OutcomeAck(job=Id(1), lease="l", code=int(Code.RECEIPT_REFUSED), message="the receipt does not fit: job")
    agent.parts.reporter._sender.settle([], [ack])
    assert agent.parts.fitness.trouble == "the server refused what it signed: the receipt does not fit: job"
    assert server.sent("contract")[-1].trouble == agent.parts.fitness.trouble
