"""A control server in memory, with leases that run out by a given clock, and with faults at will.

It passes the same conformance suite as the real one (tests/integration/test_worker_api_conformance.py).
"""

import hashlib
import threading
from dataclasses import dataclass, field
from pathlib import Path

from msgspec import UNSET
from patience import PATIENCE_S

from piecework.client import BadReply, ChecksumMismatch, NotFound, ServerUnreachable
from piecework.protocol import bodies
from piecework.protocol.codes import Code
from piecework.protocol.ids import Id
from piecework.protocol.messages import (
    CallsTaken,
    Content,
    ContractReply,
    DataReply,
    FinishReply,
    FunctionOrders,
    HeartbeatReply,
    LeasedFile,
    LeasedFolder,
    LeasedJob,
    LeasedLambda,
    LeasedReplay,
    Limits,
    OutcomeAck,
    RenewedLease,
    WorkerRegister,
    WorkerRegistered,
    given,
    read_ref,
)
from piecework.protocol.states import JobState

HELD_POLL_S = 2 * PATIENCE_S
"""A held poll ends by itself after this, so that a broken test ends too."""
LIMITS = Limits(timeout_s=10, memory_bytes=2**26, output_bytes=2**26, log_bytes=2**16)


@dataclass
class Worker:
    registered: WorkerRegister
    incarnation: str
    draining: bool = False
    retired: bool = False
    stopped: bool = False


@dataclass
class Job:
    lambda_: Id
    input: Id
    state: JobState = JobState.ENQUEUED
    lease: str | None = None
    last_lease: str | None = None
    lease_until: float = 0.0
    worker: Id | None = None
    attempts: int = 0
    files: dict[str, Id] = field(default_factory=dict)
    """Blobs that it gets as files; id 0 is an empty one."""
    folder: dict[str, Id] | None = None
    """Blobs that are files in its own directory; None: it has none."""
    outputs: tuple[str, ...] = ()
    """Patterns of the files that it gives back."""
    replay: LeasedReplay | None = None
    """It does the run of another again."""
    accepted: list = field(default_factory=list)
    """Outcomes that counted; the job's own is the last."""
    log: bytes = b""


class FakeControlServer:
    """Fulfils ``piecework.worker_agent.link.control.ControlServer``; the rest of its methods is for tests."""

    def __init__(self, clock, *, lease_s=15.0):
        self.clock = clock
        self.lease_s = lease_s
        self.workers = {}
        self.jobs = {}
        self.lambdas = {}
        self.blobs = {}
        self.requests = []
        """Every request, as (method, message)."""
        self.refused = []
        """Outcomes that did not count."""
        self.orders = []
        """Replicas that its workers shall run."""
        self.away = False
        self.holds_polls = False
        self._faults = {}
        self._numbers = iter(range(100, 10**6))
        self._changed = threading.Condition(threading.RLock())

    # What tests do

    def new_id(self):
        return Id(next(self._numbers))

    def add_blob(self, data):
        blob = self.new_id()
        self.blobs[blob] = data
        return blob

    def add_lambda(self, code=b"code", **options):
        codex = options.pop("codex", None) or self.add_blob(code)
        id_ = self.new_id()
        self.lambdas[id_] = {"codex": codex, "runtime": "wasi", **options}
        return id_

    def add_job(self, given=b"", lambda_=None, blob=None, files=None, folder=None, outputs=()):
        with self._changed:
            id_ = self.new_id()
            lambda_ = lambda_ or (next(iter(self.lambdas), None) or self.add_lambda())
            self.jobs[id_] = Job(lambda_, blob or (self.add_blob(given) if given else Id(0)))
            for name, data in (files or {}).items():
                self.jobs[id_].files[name] = self.add_blob(data) if data else Id(0)
            if folder is not None:
                self.jobs[id_].folder = {name: self.add_blob(data) for name, data in folder.items()}
                self.jobs[id_].outputs = outputs
            self._changed.notify_all()
        return id_

    def cancel(self, id_):
        job = self.jobs[id_]
        job.state, job.lease = JobState.CANCELLED, None

    def drain_all(self):
        for worker in self.workers.values():
            worker.draining = True

    def forget_workers(self):
        self.workers.clear()

    def fail_once(self, method, error):
        """Let the next request of this kind fail, undone."""
        self._faults.setdefault(method, []).append((error, False))

    def lose_answer(self, method):
        """Let the next request of this kind be done, and its answer be lost."""
        self._faults.setdefault(method, []).append((unreachable(), True))

    def release_polls(self):
        with self._changed:
            self.holds_polls = False
            self._changed.notify_all()

    def wait_for(self, reached, timeout_s=60.0):
        """Wait until something is the case; looked at after each request."""
        with self._changed:
            return self._changed.wait_for(reached, timeout_s)

    def states(self):
        return [job.state for job in self.jobs.values()]

    def sent(self, method):
        return [message for name, message in self.requests if name == method]

    # What the agent does

    def register(self, worker):
        return self._answer("register", worker, self._register)

    def contract(self, worker_id, contract):
        return self._answer("contract", contract, lambda message: self._contract(worker_id, message))

    def heartbeat(self, worker_id, heartbeat):
        return self._answer("heartbeat", heartbeat, lambda message: self._heartbeat(worker_id, message))

    def report_functions(self, worker_id, report):
        return self._answer("functions", report, lambda _: self._order(worker_id))

    def hand_in_calls(self, worker_id, calls):
        return self._answer("calls", calls, lambda message: CallsTaken(kept=len(message.calls)))

    def _order(self, worker_id):
        worker = self._hear_of(worker_id, "")
        return FunctionOrders(replicas=list(self.orders), drain=worker.draining)

    def leave(self, worker_id, leave):
        return self._answer("leave", leave, lambda message: self._leave(worker_id, message))

    def finish(self, worker_id, finish):
        return self._answer("finish", finish, lambda message: self._finish(worker_id, message))

    def upload(self, source):
        data = source if isinstance(source, bytes) else source.read_bytes() if isinstance(source, Path) else None
        if data is None:
            source.seek(0)  # it is read anew when the request is repeated
            data = source.read()
        return self._answer("upload", data, self._upload)

    def download(self, blob_id, path, *, checksum=None):
        data = self._answer("download", blob_id, self._read)
        found = hashlib.sha256(data).hexdigest()
        if checksum is not None and found != checksum:
            raise ChecksumMismatch(f"blob {blob_id}", checksum, found)
        path.write_bytes(data)
        return len(data)

    def _answer(self, method, message, handle):
        with self._changed:
            message = cross_wire(message)
            self.requests.append((method, message))
            error, done = self._faults.get(method, []).pop(0) if self._faults.get(method) else (None, True)
            self._changed.notify_all()
            if self.away:
                raise unreachable()
            reply = handle(message) if done else None
            self._changed.notify_all()
            if error is not None:
                raise error
            return cross_wire(reply)

    def _register(self, message):
        known = self.workers.get(message.known_as or None)
        id_ = message.known_as if known and not known.retired else self.new_id()
        self._end_leases(id_)
        self.workers[id_] = Worker(message, message.incarnation)
        return WorkerRegistered(id=id_, runtime=given(message.runtime) or ["default"])

    def _leave(self, worker_id, message):
        if self.workers[worker_id].incarnation == message.incarnation:
            self.workers[worker_id].stopped = True
            self._end_leases(worker_id)
            self._rescue()
        return f"worker {worker_id} left"

    def _end_leases(self, worker_id):
        for job in self.jobs.values():
            if job.worker == worker_id:
                job.lease_until = self.clock()

    def _contract(self, worker_id, message):
        worker = self._hear_of(worker_id, message.incarnation)
        acks = [self._judge(worker_id, outcome) for outcome in message.outcomes]
        if message.timeout and message.max and self.holds_polls:
            self._changed.notify_all()
            ready = lambda: not self.holds_polls or self._waiting_jobs() or worker.draining  # noqa: E731
            self._changed.wait_for(ready, HELD_POLL_S)
        chosen = [] if worker.draining or worker.stopped else self._waiting_jobs()[: message.max]
        lease = f"lease-{next(self._numbers)}"
        leased = [self._lease(id_, worker_id, lease, message.inline_max_bytes) for id_ in chosen]
        used = {job.lambda_ for job in leased}
        return ContractReply(
            id=worker_id,
            jobs=leased,
            lambdas=[self._describe(id_) for id_ in used],
            acks=acks,
            drain=worker.draining,
        )

    def _lease(self, id_, worker_id, lease, inline_max_bytes):
        job = self.jobs[id_]
        job.state, job.lease, job.worker = JobState.RUNNING, lease, worker_id
        job.attempts += 1
        job.lease_until = self.clock() + self.lease_s
        data = self.blobs.get(job.input)
        inline = data is not None and len(data) <= inline_max_bytes
        return LeasedJob(
            job=id_,
            lease=lease,
            lease_s=self.lease_s,
            attempt=job.attempts,
            lambda_=job.lambda_,
            input=Content(id=job.input, raw=data) if inline else Content(id=job.input),
            input_checksum=digest(data),
            input_size=len(data or b""),
            limits=LIMITS,
            files=[self._describe_file(*item) for item in job.files.items()] or UNSET,
            folder=self._describe_folder(job),
            replay=job.replay or UNSET,
        )

    def _describe_folder(self, job):
        if job.folder is None:
            return UNSET
        files = [self._describe_file(*item) for item in job.folder.items()]
        return LeasedFolder(files=files, outputs=list(job.outputs))

    def _describe_file(self, name, blob):
        data = self.blobs.get(blob)
        return LeasedFile(name=name, blob=blob, checksum=digest(data), size=len(data or b""))

    def _describe(self, id_):
        options = self.lambdas[id_]
        return LeasedLambda(id=id_, codex_checksum=digest(self.blobs.get(options["codex"])), **options)

    def _heartbeat(self, worker_id, message):
        worker = self._hear_of(worker_id, message.incarnation)
        self._rescue()
        kept = [ref for ref in message.leases if self._is_current(ref)]
        gone = [ref for ref in message.leases if ref not in kept]
        for ref in kept:
            self.jobs[ref.job].lease_until = self.clock() + self.lease_s
        for part in message.logs:
            if self._is_current(part):
                self.jobs[part.job].log += part.log
        cancelled = [ref.job for ref in gone if self._state(ref.job) is JobState.CANCELLED]
        return HeartbeatReply(
            leases=[RenewedLease(job=ref.job, lease=ref.lease, lease_s=self.lease_s) for ref in kept],
            lost=[ref.job for ref in gone if ref.job not in cancelled],
            cancel=cancelled,
            drain=worker.draining,
        )

    def _finish(self, worker_id, message):
        self._rescue()
        return FinishReply(acks=[self._judge(worker_id, outcome) for outcome in message.outcomes])

    def _upload(self, data):
        return DataReply(id=self.add_blob(data), checksum=digest(data))

    def _read(self, id_):
        if id_ not in self.blobs:
            raise NotFound(404, Code.BLOB_NOT_FOUND, "BLOB data object is not exist")
        return self.blobs[id_]

    def _hear_of(self, worker_id, incarnation):
        worker = self.workers.get(worker_id)
        if worker is None:
            raise NotFound(404, Code.WORKER_NOT_FOUND, f"there is no worker {worker_id}")
        if worker.retired:
            raise NotFound(404, Code.WORKER_RETIRED, f"worker {worker_id} was retired")
        if incarnation and incarnation != worker.incarnation:
            worker.incarnation, worker.draining, worker.stopped = incarnation, False, False
            self._end_leases(worker_id)
        self._rescue()
        return worker

    def _rescue(self):
        for job in self.jobs.values():
            if job.state is JobState.RUNNING and job.lease_until <= self.clock():
                job.state, job.lease = JobState.ENQUEUED, None

    def _waiting_jobs(self):
        return [id_ for id_, job in self.jobs.items() if job.state is JobState.ENQUEUED]

    def _is_current(self, ref):
        return ref.job in self.jobs and self.jobs[ref.job].lease == ref.lease

    def _state(self, id_):
        return self.jobs[id_].state if id_ in self.jobs else None

    def _judge(self, worker_id, outcome):
        job = self.jobs.get(outcome.job)
        ack = OutcomeAck(job=outcome.job, lease=outcome.lease)
        if job is not None and job.lease == outcome.lease and job.worker == worker_id:
            job.state, job.lease, job.last_lease = outcome.state, None, outcome.lease
            job.attempts -= outcome.state is JobState.ENQUEUED
            job.accepted.append(outcome)
        elif job is None or job.last_lease != outcome.lease:
            self.refused.append(outcome)
            ack.code = Code.LEASE_LOST if job else Code.JOB_NOT_FOUND
            ack.message = "the lease is not the current one"
        return ack

    def output(self, id_):
        """Return the output of the job's last accepted outcome."""
        output = self.jobs[id_].accepted[-1].output
        content, id_ = read_ref(output)
        return self.blobs[id_] if content is None else content


def unreachable():
    return ServerUnreachable("http://server.test", "connection refused")


def not_a_server():
    return BadReply("http://server.test did not answer like a Piecework server")


def digest(data):
    return "" if data is None else hashlib.sha256(data).hexdigest()


def cross_wire(message):
    """Send a message through its encoding, as a real server would get it."""
    if message is None or isinstance(message, bytes | str | Id):
        return message
    return bodies.decode(bodies.encode(message, bodies.MSGPACK), type(message), bodies.MSGPACK)
