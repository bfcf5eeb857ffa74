"""What an agent relies on in a control server: one list for the real one and for the one in memory."""

import pytest
from fake_control_server import FakeControlServer

from piecework import Client
from piecework.client import NotFound
from piecework.protocol.codes import Code, ErrorKind
from piecework.protocol.ids import Id
from piecework.protocol.messages import (
    Content,
    ContractRequest,
    FinishRequest,
    HeartbeatRequest,
    JobError,
    LambdaCreate,
    LeaseRef,
    Outcome,
    WorkerLeave,
    WorkerRegister,
)
from piecework.protocol.states import JobState

pytestmark = pytest.mark.integration

CODE = bytes.fromhex("0061736d01000000") + b"\x00\x03\x02xy"
"""A module that does nothing, with a section of its own."""


class RealWorld:
    """The real server, as the tests below drive it."""

    def __init__(self, client):
        self.client = self.server = client

    def add_lambda(self, *, codex=None):
        codex = codex or self.client.upload(CODE).id
        # A runtime without inspection: these modules are never run.
        return self.client.create_lambda(LambdaCreate(codex=codex, runtime="conformance"))

    def add_job(self, lambda_, given=b""):
        return self.client.submit(lambda_, given) if given else self.client.submit(lambda_)

    def state(self, job):
        return self.client.job(job).state

    def attempts(self, job):
        return self.client.job(job).attempt

    def output(self, job):
        return self.client.result(job, timeout_s=60)

    def cancel(self, job):
        self.client.cancel(job)

    def drain(self, worker):
        self.client.drain_worker(worker)

    def retire(self, worker):
        self.client.retire_worker(worker)


class FakeWorld:
    """The server in memory, driven in the same way."""

    def __init__(self):
        self.server = FakeControlServer(lambda: 0.0)

    def add_lambda(self, *, codex=None):
        return self.server.add_lambda(CODE, codex=codex, runtime="conformance")

    def add_job(self, lambda_, given=b""):
        return self.server.add_job(given, lambda_)

    def state(self, job):
        return self.server.jobs[job].state

    def attempts(self, job):
        return self.server.jobs[job].attempts

    def output(self, job):
        return self.server.output(job)

    def cancel(self, job):
        self.server.cancel(job)

    def drain(self, worker):
        self.server.workers[worker].draining = True

    def retire(self, worker):
        self.server.workers[worker].retired = True


@pytest.fixture(params=["real", "fake"])
def world(request):
    if request.param == "fake":
        yield FakeWorld()
        return
    client: Client = request.getfixturevalue("client")
    world = RealWorld(client)
    yield world
    for state in (JobState.ENQUEUED, JobState.RUNNING):  # a lease may run out while a later test goes on
        for job in client.jobs(state=state):
            client.cancel(job.id)


@pytest.fixture
def worker(world):
    return join(world)


def join(world, incarnation="first"):
    registration = WorkerRegister(runtime=["conformance"], name="w", slots=2, incarnation=incarnation)
    return world.server.register(registration).id


def contract(world, worker, room=10, outcomes=(), incarnation="first", inline_max_bytes=100):
    request = ContractRequest(
        max=room, inline_max_bytes=inline_max_bytes, outcomes=list(outcomes), incarnation=incarnation
    )
    return world.server.contract(worker, request)


def lease_one(world, worker, **options):
    (job,) = contract(world, worker, 1, **options).jobs
    return job


def outcome(leased, state=JobState.FINISHED, **fields):
    return Outcome(job=leased.job, lease=leased.lease, state=state, **fields)


def heartbeat(world, worker, *refs, incarnation="first"):
    leases = [LeaseRef(job=ref.job, lease=ref.lease) for ref in refs]
    return world.server.heartbeat(worker, HeartbeatRequest(leases=leases, incarnation=incarnation))


def finish(world, worker, *outcomes):
    return world.server.finish(worker, FinishRequest(outcomes=list(outcomes))).acks


def test_contract_has_all_that_is_needed_to_run_its_jobs(world, worker):
    lambda_ = world.add_lambda()
    jobs = [world.add_job(lambda_, b"one"), world.add_job(lambda_)]
    reply = contract(world, worker)
    assert [leased.job for leased in reply.jobs] == jobs
    assert [each.id for each in reply.lambdas] == [lambda_]
    assert len(reply.lambdas[0].codex_checksum) == 64
    first, second = reply.jobs
    assert (first.input.read(), first.attempt, first.lambda_) == (b"one", 1, lambda_)
    assert len(first.input_checksum) == 64
    assert not second.input.is_inline
    assert not second.input.id
    assert first.lease_s > 0
    assert None not in (first.limits.timeout_s, first.limits.memory_bytes, first.limits.output_bytes)


def test_input_above_the_bound_comes_as_an_id_that_can_be_downloaded(world, worker, tmp_path):
    world.add_job(world.add_lambda(), b"x" * 101)
    leased = lease_one(world, worker)
    assert not leased.input.is_inline
    assert world.server.download(leased.input.id, tmp_path / "in", checksum=leased.input_checksum) == 101


def test_codex_that_does_not_exist_has_no_checksum(world, worker):
    world.add_job(world.add_lambda(codex=Id(7)))
    assert [each.codex_checksum for each in contract(world, worker).lambdas] == [""]


def test_no_more_jobs_come_than_there_is_room_for(world, worker):
    lambda_ = world.add_lambda()
    for _ in range(3):
        world.add_job(lambda_)
    assert len(contract(world, worker, 2).jobs) == 2
    assert contract(world, worker, 0).jobs == []
    assert len(contract(world, worker, 2).jobs) == 1


@pytest.mark.parametrize("way", ["contract", "finish"])
def test_outcome_is_accepted_once_however_often_it_is_sent(world, worker, way):
    job = world.add_job(world.add_lambda())
    done = outcome(lease_one(world, worker), output=Content(raw=b"out"))
    for _ in range(2):
        if way == "finish":
            (ack,) = finish(world, worker, done)
        else:
            (ack,) = contract(world, worker, 0, [done]).acks
        assert (ack.job, ack.lease, ack.code) == (job, done.lease, 0)
    assert world.state(job) is JobState.FINISHED
    assert world.output(job) == b"out"


def test_output_may_be_a_blob_that_was_uploaded_before(world, worker):
    job = world.add_job(world.add_lambda())
    leased = lease_one(world, worker)
    blob = world.server.upload(b"large").id
    assert finish(world, worker, outcome(leased, output=str(int(blob))))[0].code == 0
    assert world.output(job) == b"large"


def test_outcome_under_another_lease_is_refused(world, worker):
    job = world.add_job(world.add_lambda())
    leased = lease_one(world, worker)
    leased.lease = "made-up"
    assert finish(world, worker, outcome(leased))[0].code == Code.LEASE_LOST
    assert world.state(job) is JobState.RUNNING


def test_outcome_of_an_unknown_job_is_refused(world, worker):
    assert finish(world, worker, Outcome(job=Id(1), lease="l", state=JobState.FINISHED))[0].code


def test_outcome_from_another_worker_is_refused(world, worker):
    job = world.add_job(world.add_lambda())
    leased = lease_one(world, worker)
    assert finish(world, join(world), outcome(leased))[0].code == Code.LEASE_LOST
    assert world.state(job) is JobState.RUNNING


def test_each_outcome_of_a_request_is_judged_alone(world, worker):
    world.add_job(world.add_lambda())
    leased = lease_one(world, worker)
    stale = Outcome(job=leased.job, lease="stale", state=JobState.FINISHED)
    assert [bool(ack.code) for ack in finish(world, worker, stale, outcome(leased))] == [True, False]


def test_job_handed_back_can_be_leased_again_and_is_not_counted(world, worker):
    job = world.add_job(world.add_lambda())
    first = lease_one(world, worker)
    assert world.attempts(job) == 1
    assert finish(world, worker, outcome(first, JobState.ENQUEUED))[0].code == 0
    assert (world.state(job), world.attempts(job)) == (JobState.ENQUEUED, 0)
    again = lease_one(world, worker)
    assert (again.job, again.attempt) == (job, 1)
    assert again.lease != first.lease


def test_failed_attempt_is_taken_with_its_reason(world, worker):
    world.add_job(world.add_lambda())
    error = JobError(kind=ErrorKind.LOAD, message="no such import")
    assert finish(world, worker, outcome(lease_one(world, worker), JobState.FAILED, error=error))[0].code == 0


def test_heartbeat_renews_what_is_held(world, worker):
    world.add_job(world.add_lambda())
    leased = lease_one(world, worker)
    reply = heartbeat(world, worker, leased)
    assert [(each.job, each.lease) for each in reply.leases] == [(leased.job, leased.lease)]
    assert reply.leases[0].lease_s > 0
    assert (reply.lost, reply.cancel, reply.drain) == ([], [], False)


def test_heartbeat_tells_what_is_lost_and_what_is_cancelled(world, worker):
    lambda_ = world.add_lambda()
    for _ in range(2):
        world.add_job(lambda_)
    kept, cancelled = contract(world, worker).jobs
    world.cancel(cancelled.job)
    stale = LeaseRef(job=kept.job, lease="stale")
    reply = heartbeat(world, worker, stale, cancelled)
    assert (reply.lost, reply.cancel, reply.leases) == ([kept.job], [cancelled.job], [])


def test_report_of_a_cancelled_job_as_cancelled_is_acked(world, worker):
    job = world.add_job(world.add_lambda())
    leased = lease_one(world, worker)
    world.cancel(job)
    assert [ack.job for ack in finish(world, worker, outcome(leased, JobState.CANCELLED))] == [job]
    assert world.state(job) is JobState.CANCELLED


def test_new_start_of_the_process_ends_the_leases_of_the_one_before(world, worker):
    job = world.add_job(world.add_lambda())
    old = lease_one(world, worker)
    new = lease_one(world, worker, incarnation="second")
    assert new.job == job
    assert finish(world, worker, outcome(old))[0].code == Code.LEASE_LOST
    assert finish(world, worker, outcome(new))[0].code == 0


def test_drain_is_told_until_the_process_starts_anew(world, worker):
    world.add_job(world.add_lambda())
    world.drain(worker)
    reply = contract(world, worker)
    assert (reply.drain, reply.jobs) == (True, [])
    assert heartbeat(world, worker).drain
    assert len(contract(world, worker, incarnation="second").jobs) == 1


def test_worker_that_left_gets_nothing_until_its_next_start(world, worker):
    job = world.add_job(world.add_lambda())
    contract(world, worker)
    world.server.leave(worker, WorkerLeave(incarnation="first"))
    assert contract(world, worker).jobs == []
    assert [leased.job for leased in contract(world, worker, incarnation="second").jobs] == [job]


def test_goodbye_of_an_older_start_is_not_heeded(world, worker):
    contract(world, worker, incarnation="second")
    world.server.leave(worker, WorkerLeave(incarnation="first"))
    world.add_job(world.add_lambda())
    assert len(contract(world, worker, incarnation="second").jobs) == 1


def test_worker_that_was_known_keeps_its_id_unless_retired(world, worker):
    known = WorkerRegister(runtime=["other"], name="w", slots=1, incarnation="second", known_as=worker)
    assert world.server.register(known).id == worker
    world.retire(worker)
    assert world.server.register(known).id != worker


@pytest.mark.parametrize("request_of", [contract, heartbeat])
def test_unknown_worker_is_told_to_register(world, request_of):
    with pytest.raises(NotFound) as caught:
        request_of(world, Id(1))
    assert caught.value.code == Code.WORKER_NOT_FOUND


@pytest.mark.parametrize("request_of", [contract, heartbeat])
def test_retired_worker_is_told_to_register(world, worker, request_of):
    world.retire(worker)
    with pytest.raises(NotFound) as caught:
        request_of(world, worker)
    assert caught.value.code == Code.WORKER_RETIRED


def test_unknown_blob_is_not_found(world, tmp_path):
    with pytest.raises(NotFound) as caught:
        world.server.download(Id(1), tmp_path / "blob")
    assert caught.value.code == Code.BLOB_NOT_FOUND
    assert list(tmp_path.iterdir()) == []
