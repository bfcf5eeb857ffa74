"""Replays that the server asks for, between a server in memory and an executor worked by hand."""

import hashlib
from pathlib import Path

import pytest
from msgspec import UNSET, structs

from piecework.protocol import bodies
from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import Digests, LeasedFile, LeasedReplay, Usage
from piecework.protocol.states import JobState
from piecework.receipts import PrivateKey, read_receipt, seal, write_payload
from piecework.receipts.replays import Replay
from piecework.worker_agent.runtimes.journal.differences import CallDifference


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def used(output=b"then", fuel=5, **digests):
    return Usage(wall_s=0.25, fuel=fuel, digests=Digests(module="m", input="i", output=sha256(output), **digests))


@pytest.fixture
def agent(make_agent):
    agent = make_agent(around={"key": PrivateKey.new()})
    assert agent.join()
    agent.parts.start_crews()
    yield agent
    agent.shared.stop.set()
    agent.parts.fetchers.stop(5)
    agent.parts.uploaders.stop(5)


def lease(agent):
    agent.parts.contracting.step()
    assert agent.parts.executor.wait_for(1)


def outcome_of(agent, server, job):
    assert agent.lease_table.wait_until_idle(5)
    agent.parts.contracting.step()
    [outcome] = server.jobs[job].accepted
    return outcome


@pytest.fixture
def original(agent, server):
    """A job that ended with a receipt, and its output at the server."""
    job = server.add_job(b"in", server.add_lambda(deterministic=True))
    lease(agent)
    agent.parts.executor.finish(job, b"then", usage=used())
    receipt = outcome_of(agent, server, job).receipt
    blob = server.add_blob(b"then")
    output = LeasedFile(name="", blob=blob, checksum=sha256(b"then"), size=4)
    return LeasedReplay(receipt=receipt, output=output)


def add_replay(server, replay, given=b"in"):
    job = server.add_job(given)
    server.jobs[job].replay = replay
    return job


def ended(agent, server, replay, output=b"then", **fields):
    """Do a replay; return what came of it."""
    job = add_replay(server, replay)
    lease(agent)
    agent.parts.executor.finish(job, output, **{"usage": used(output)} | fields)
    outcome = outcome_of(agent, server, job)
    assert (outcome.state, outcome.usage, outcome.receipt) == (JobState.FINISHED, Usage(), UNSET)
    return bodies.decode(outcome.output.read(), Replay)


def refused(agent, server, replay, given=b"in"):
    """Return why a replay is not done."""
    job = add_replay(server, replay, given)
    agent.parts.contracting.step()
    outcome = outcome_of(agent, server, job)
    assert (outcome.state, outcome.error.kind) == (JobState.FAILED, "input")
    return outcome.error.message


def sign_other(replay, **subject):
    """Return the order of a replay whose receipt says something else of its subject."""
    payload = read_receipt(replay.receipt)
    other = structs.replace(payload.claim.subject, **subject)
    payload = structs.replace(payload, claim=structs.replace(payload.claim, subject=other))
    return LeasedReplay(receipt=seal(write_payload(payload), PrivateKey.new()))


def test_a_task_is_sealed_and_has_the_seed_of_the_receipt(agent, server, original):
    add_replay(server, original)
    lease(agent)
    [leased] = agent.parts.executor.tasks
    assert leased.task.sealed
    assert leased.task.seed.hex() == read_receipt(original.receipt).claim.subject.seed
    assert (leased.task.engine, leased.task.grants, leased.draft) == ("cranelift", None, None)


def test_the_same_is_identical_under_the_engine_that_was_asked_for(agent, server, original):
    found = ended(agent, server, LeasedReplay(receipt=original.receipt, output=original.output, engine="pulley"))
    assert (found.verdict, found.engine, found.wall_s, found.difference) == ("identical", "pulley", 0.25, None)
    assert original.output.blob not in server.sent("download")


def test_another_output_is_fetched_to_name_the_byte(agent, server, original):
    found = ended(agent, server, original, b"them")
    assert (found.verdict, found.difference.where, found.difference.byte) == ("different", "output", 3)
    assert found.difference.message == "the output differs from byte 3 on: then 4 bytes, now 4"
    assert ended(agent, server, original, b"the").difference.byte == 3


def test_an_output_that_is_gone_leaves_only_that_it_differs(agent, server, original):
    server.blobs.pop(original.output.blob)
    message = ended(agent, server, original, b"them").difference.message
    assert message.startswith("the output differs, from which byte on is not known: what it wrote then is gone: ")
    message = ended(agent, server, LeasedReplay(receipt=original.receipt), b"them").difference.message
    assert message.endswith(f"the server has nothing with the digest {sha256(b'then')}")


def test_a_host_call_that_differs_is_named(agent, server, original):
    found = ended(agent, server, original, difference=CallDifference(7, 2, "host call 7: no"))
    assert (found.difference.where, found.difference.call, found.difference.byte) == ("host call", 7, 2)


def test_a_guest_that_fails_now_is_a_difference(agent, server, original):
    job = add_replay(server, original)
    lease(agent)
    agent.parts.executor.fail(job, ErrorKind.TRAP, "unreachable", usage=used(), log=b"oh no\n")
    outcome = outcome_of(agent, server, job)
    assert (outcome.state, outcome.log) == (JobState.FINISHED, b"oh no\n")
    difference = bodies.decode(outcome.output.read(), Replay).difference
    assert difference.message == "the state differs: then Finished, now Fail_Execution: unreachable"


def test_code_that_cannot_be_loaded_here_gives_no_result(agent, server, original):
    job = add_replay(server, original)
    lease(agent)
    agent.parts.executor.fail(job, ErrorKind.LOAD, "no such import")
    outcome = outcome_of(agent, server, job)
    assert outcome.error.message == "the run cannot be repeated here: no such import"


def test_what_a_replay_gets_must_be_what_its_receipt_names(agent, server, original):
    before = "the run cannot be done again: "
    assert refused(agent, server, original, b"other") == f"{before}its input is another than that of its receipt"
    for name, value in (("args", "0" * 64), ("env", "0" * 64), ("module", "0" * 64), ("runtime", "lua5.4")):
        message = refused(agent, server, sign_other(original, **{name: value}))
        assert message == f"{before}its {name} is another than that of its receipt"


def test_a_replay_that_cannot_be_done_says_why(agent, server, original):
    assert refused(agent, server, LeasedReplay()).startswith("the job whose run was to be done again is gone")
    message = refused(agent, server, LeasedReplay(receipt=original.receipt, engine="turbo"))
    assert "this worker has no engine 'turbo'; it has cranelift, cranelift-none, pulley" in message


def test_a_recorded_run_needs_its_journal(agent, server):
    job = server.add_job(b"in", server.add_lambda(record=True))
    lease(agent)
    agent.parts.executor.finish(job, b"then", usage=used(journal=sha256(b"journal")), journal=b"journal")
    receipt = outcome_of(agent, server, job).receipt
    assert "the journal is gone" in refused(agent, server, LeasedReplay(receipt=receipt))
    blob = server.add_blob(b"journal")
    journal = LeasedFile(name="", blob=blob, checksum=sha256(b"journal"), size=7)
    job = add_replay(server, LeasedReplay(receipt=receipt, journal=journal))
    lease(agent)
    [leased] = agent.parts.executor.tasks
    assert Path(leased.task.journal.path).read_bytes() == b"journal"
    agent.parts.executor.finish(job, b"then", usage=used())
    assert bodies.decode(outcome_of(agent, server, job).output.read(), Replay).verdict == "identical"
