"""The work of a soak: pieces of every kind, each of which checks what came of it, byte by byte."""

import hashlib
import itertools
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from typing import TypeVar

from guests import guest
from v05_client import V05Api, V05Error, V05Requester, V05Worker

from piecework import Client, ClientError, NotFound
from piecework.protocol.ids import Id
from piecework.protocol.messages import Backoff, Grants, Limits
from piecework.protocol.states import JobState
from soaking.ledger import Ledger
from soaking.loops import SoakLoop

Answer = TypeVar("Answer")

PATIENCE_S = 180.0
AT_ONCE = Backoff(kind="none")
FAR_S = 86_400.0
LARGE_BYTES = (40_000, 400_000)
KEPT_S = 60.0
"""Uploads are deleted when they are older: their files are old enough to go with them then."""
SCHEDULE = "every-second"
OLD_RUNTIME = "v05"
TICKS_S = 5.0
DEAD = (OSError, HTTPException, V05Error, KeyError, ValueError)
"""What a client of v0.5 meets while its server is away: broken connections and answers that it does not know."""


@dataclass(frozen=True)
class Lambdas:
    """What jobs run."""

    upper: Id
    echo: Id
    fail: Id
    crash: Id
    sleep: Id
    keep: Id
    old: Id
    """For workers of v0.5."""
    space: Id
    """The namespace that ``keep`` may write."""


def create_lambdas(client: Client) -> Lambdas:
    """Create them, and the schedule."""
    space = client.create_namespace()
    upper = client.create_lambda(guest("uppercase"), name="upper")
    client.create_schedule(SCHEDULE, upper, b"tick", every_s=1.0, catch_up="one")
    return Lambdas(
        upper=upper,
        echo=client.create_lambda(guest("echo"), name="echo"),
        fail=client.create_lambda(guest("exit_with_code"), name="fail"),
        crash=client.create_lambda(guest("crash"), name="crash"),
        sleep=client.create_lambda(guest("sleep_forever"), name="sleep"),
        keep=client.create_lambda(guest("keep_values"), name="keep", grants=Grants(kv=[f"s={space}:rw"])),
        old=client.create_lambda(client.upload(b"upper case"), OLD_RUNTIME),
        space=space,
    )


class Work:
    """Pieces of work, as methods. Each returns when all of its jobs have ended and were looked at."""

    def __init__(self, client: Client, ledger: Ledger, lambdas: Lambdas, noise: random.Random) -> None:
        self._client = client
        self._ledger = ledger
        self._lambdas = lambdas
        self._noise = noise
        self._uploads: deque[tuple[float, Id]] = deque()
        self._names = (f"{noise.getrandbits(48):x}-{number}" for number in itertools.count())

    def run_small(self) -> None:
        """Some no-ops at once."""
        inputs = [f"{next(self._names)} ".encode() * self._noise.randint(1, 20) for _ in range(20)]
        jobs = self._client.submit_many(self._lambdas.upper, inputs)
        self._expect(jobs)
        self._compare(dict(zip(jobs, (each.upper() for each in inputs), strict=True)))

    def run_large(self) -> None:
        """A large input, which comes back."""
        content = self._noise.randbytes(self._noise.randint(*LARGE_BYTES))
        blob = self._client.upload(content).id
        job = self._client.submit(self._lambdas.echo, blob)
        self._expect([job])
        self._compare({job: content})
        self._uploads.append((time.monotonic(), blob))

    def run_failing(self) -> None:
        """Guests that fail and are tried again; one of them is then run again by hand, with other code."""
        jobs = self._client.submit_many(self._lambdas.fail, [b"x"] * 2, max_attempts=2, backoff=AT_ONCE)
        jobs += self._client.submit_many(self._lambdas.crash, [b"x"] * 2, max_attempts=2, backoff=AT_ONCE)
        self._expect(jobs, JobState.FAILED)
        for job, result in self._client.results(jobs, PATIENCE_S):
            if result.info.state is not JobState.FAILED or result.info.attempt < 2:
                self._ledger.note_wrong(f"job {job} that fails is {result.info.state} after {result.info.attempt}")
        again = self._client.retry(jobs[0], lambda_=self._lambdas.upper, input=b"again")
        self._expect([again])
        self._compare({again: b"AGAIN"})

    def run_delayed(self) -> None:
        """A job that must not start too early."""
        delay_s = self._noise.uniform(0.5, 4)
        job = self._client.submit(self._lambdas.upper, b"late", delay_s=delay_s)
        self._expect([job])
        self._compare({job: b"LATE"})
        info = self._client.job(job)
        if float(info.started_at or 0) < info.created_at + delay_s - 0.01:
            self._ledger.note_wrong(f"job {job} started too early")

    def run_cancelled(self) -> None:
        """A job that is cancelled while it waits, and one while it sleeps."""
        client, lambdas = self._client, self._lambdas
        waits = client.submit(lambdas.upper, b"never", delay_s=FAR_S)
        sleeps = client.submit(lambdas.sleep, b"", limits=Limits(timeout_s=600.0), priority=1)
        self._expect([waits, sleeps], JobState.CANCELLED)
        threading.Event().wait(self._noise.uniform(0, 1))
        for job in (waits, sleeps):
            client.cancel(job)
            if client.job(job).state is not JobState.CANCELLED:
                self._ledger.note_wrong(f"job {job} was cancelled and is {client.job(job).state}")

    def run_grouped(self) -> None:
        """A group with a job after it, and a job on the output of another."""
        client, name = self._client, next(self._names)
        first = client.submit(self._lambdas.upper, name.encode(), group=name)
        second = client.submit(self._lambdas.echo, first, group=name)
        last = client.submit_then(name, self._lambdas.upper, name.encode())
        self._expect([first, second, last])
        self._compare(dict.fromkeys((first, second, last), name.upper().encode()))

    def run_limited(self) -> None:
        """Jobs of one key, of which few start in a second and few run at once."""
        jobs = self._client.submit_many(
            self._lambdas.upper,
            [b"x"] * 6,
            rate_key="soak",
            rate_limit=20,
            rate_period_s=1.0,
            concurrency_key="soak",
            concurrency_limit=4,
        )
        self._expect(jobs)
        self._compare(dict.fromkeys(jobs, b"X"))

    def run_values(self) -> None:
        """A guest sets a value; it is read and removed from here, and others expire."""
        client, space, key = self._client, self._lambdas.space, next(self._names)
        client.set_value(space, f"{key}-short", "x" * 1000, expire_s=20)
        job = client.submit(self._lambdas.keep, args=["s", "set", key, key * 2])
        self._expect([job])
        client.result(job, PATIENCE_S)
        if client.get_value(space, key) != key * 2:
            self._ledger.note_wrong(f"another value under {key}")
        client.delete_value(space, key)

    def run_old(self) -> None:
        """What a client of v0.5 does; such a client forgives nothing, so here it starts anew when it must."""
        api, content = V05Api(self._client.url), next(self._names).encode()
        lambda_ = self._noise.choice((self._lambdas.upper, self._lambdas.old))
        blob = self._insist(lambda: api.upload(content))
        job = self._insist(lambda: api.submit(str(lambda_), blob))
        self._expect([Id(int(job))])
        if self._insist(lambda: V05Requester(api).fetch(job)) != content.upper():
            self._ledger.note_wrong(f"v0.5 read something else of job {job}")
        output = self._insist(lambda: str(api.job(job)["job_output_id"]))
        uploads = [blob, output] if lambda_ == self._lambdas.old else [blob]
        self._uploads.extend((time.monotonic(), Id(int(upload))) for upload in uploads)

    def _insist(self, ask: Callable[[], Answer]) -> Answer:
        """Ask again and again. Raises what it met last after a while."""
        until, pause = time.monotonic() + PATIENCE_S, threading.Event()
        while True:
            try:
                return ask()
            except DEAD:
                if time.monotonic() > until:
                    raise
            pause.wait(0.5)

    def tidy(self) -> None:
        """Delete uploads that nothing needs any more."""
        while self._uploads and self._uploads[0][0] < time.monotonic() - KEPT_S:
            with suppress(NotFound):  # the answer to the first try was lost, or it went with its job
                self._client.delete_data(self._uploads.popleft()[1])

    def _expect(self, jobs: Iterable[Id], state: JobState = JobState.FINISHED) -> None:
        self._ledger.expect(jobs, state)

    def _compare(self, wanted: dict[Id, bytes]) -> None:
        for job, result in self._client.results(wanted, PATIENCE_S):
            if result.read() != wanted[job]:
                digest = hashlib.sha256(result.output).hexdigest()[:12]
                self._ledger.note_wrong(f"job {job} gave {len(result.output)} other bytes, of digest {digest}")


KINDS = {
    "no-ops": (Work.run_small, 6),
    "large blobs": (Work.run_large, 4),
    "failing": (Work.run_failing, 2),
    "delayed": (Work.run_delayed, 1),
    "cancelled": (Work.run_cancelled, 1),
    "grouped": (Work.run_grouped, 2),
    "limited": (Work.run_limited, 2),
    "values": (Work.run_values, 2),
    "v0.5": (Work.run_old, 2),
}
"""Kinds of work, and how often each comes."""


class Hand(SoakLoop):
    """Does one piece of work after the other, chosen by chance, with pauses."""

    def __init__(self, client: Client, ledger: Ledger, lambdas: Lambdas, seed: str, pause_s: float) -> None:
        super().__init__(f"hand {seed}", pause_s)
        self._noise = random.Random(seed)
        self._work = Work(client, ledger, lambdas, self._noise)
        self._ledger = ledger

    def choose_pause_s(self) -> float:
        return self._noise.expovariate(1 / self.pause_s)

    def take_turn(self) -> None:
        [kind] = self._noise.choices(list(KINDS), [weight for _, weight in KINDS.values()])
        try:
            KINDS[kind][0](self._work)
            self._work.tidy()
        except Exception as error:  # noqa: BLE001  # whatever it is belongs into the verdict
            self._ledger.note_wrong(f"{kind}: {type(error).__name__}: {error}")
        else:
            self._ledger.note_unit(kind)


class Ticks(SoakLoop):
    """Notes the jobs of the schedule, which nobody submits, as acknowledged."""

    def __init__(self, client: Client, ledger: Ledger) -> None:
        super().__init__("ticks", TICKS_S)
        self._client = client
        self._ledger = ledger

    def take_turn(self) -> None:
        try:
            self._look()
        except ClientError as error:
            self._ledger.note_wrong(f"ticks cannot be read: {error}")

    def end(self) -> None:
        with suppress(ClientError):
            self._client.pause_schedule(SCHEDULE)
        self.take_turn()

    def _look(self) -> None:
        for tick in self._client.ticks(SCHEDULE, limit=100):
            if isinstance(tick.job, Id):
                self._ledger.expect([tick.job], JobState.FINISHED)
            elif tick.outcome == "failed":
                self._ledger.note_wrong(f"a tick failed: {tick.detail}")


class OldWorker(SoakLoop):
    """A worker of v0.5 that turns text into upper case; a supervisor starts it again whenever it ends."""

    def __init__(self, url: str) -> None:
        super().__init__("worker of v0.5", 0.2)
        self._worker = V05Worker(V05Api(url), lambda _code, content: content.upper(), (OLD_RUNTIME,))
        self._worker.stop = self.stopping

    def take_turn(self) -> None:
        with suppress(*DEAD):
            self._worker.run()
