"""Workers that lie: how many wrong results are accepted, and what it costs to find them.

``python benchmarks/liars.py`` runs a server's services in this process, with workers of twenty owners that
hand in outcomes as agents do; nothing is executed. Of the owners some lie, in one of four ways. It tells how many
wrong results stand at the end, how many runs a job took, and beside it what follows from the rule (closed form).
"""

import argparse
import hashlib
import random
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from harness.tables import Table, number

from piecework.protocol.ids import Id
from piecework.protocol.messages import (
    Content,
    ContractRequest,
    Digests,
    JobSpec,
    LambdaCreate,
    Outcome,
    Usage,
    Verify,
    WorkerRegister,
)
from piecework.protocol.states import JobState
from piecework.server.services import Services, open_services
from piecework.server.services.queue.trust.agreement import STREAK_LEAST
from piecework.server.services.queue.waiting.pauses import wait_out
from piecework.server.settings import Settings
from piecework.server.store.queue.jobs.jobs import find_jobs_with_outputs, find_states
from piecework.server.store.queue.trust.votes import find_caught

OWNERS = 20
BATCH = 200
"""Jobs that are under way at a time."""
KINDS = ("random", "targeted", "sleepers", "colluding")
TRUSTED = "trusted"
LIE_SHARE = 0.2
"""The share of its results that a liar of the first kind makes up."""
AWAKE_AFTER = 100
"""Results after which a sleeper begins to lie."""


@dataclass
class Owner:
    """An owner's one worker, and how it lies; ``kind`` empty: not at all."""

    name: str
    worker: int
    kind: str
    chance: random.Random
    given: int = 0

    def answer(self, job: str) -> str:
        """Return what the worker says that a job gives."""
        self.given += 1
        if not self._lies(job):
            return f"right {job}"
        return f"wrong {job}" if self.kind == "colluding" else f"wrong {job} {self.name}"

    def _lies(self, job: str) -> bool:
        match self.kind:
            case "random":
                return self.chance.random() < LIE_SHARE
            case "targeted" | "colluding":  # always on the same jobs
                return hashlib.sha256(job.encode()).digest()[0] < LIE_SHARE * 256
            case "sleepers":
                return self.given > AWAKE_AFTER and self.chance.random() < LIE_SHARE
        return False


@dataclass
class Ended:
    """How a run of all jobs ended."""

    wrong: int = 0
    failed: int = 0
    executions: int = 0
    caught: set[str] = field(default_factory=set)


def simulate(folder: Path, kind: str, liars: int, jobs: int, verify: Verify, seed: int) -> Ended:
    """Run all jobs, with so many liars among the owners."""
    chance = random.Random(seed)
    settings = Settings(data=folder, synchronous="OFF", trusted_owners=TRUSTED, max_attempts=100, vanished_max=100)
    services = open_services(settings)
    try:
        return _run(services, kind, liars, jobs, verify, chance)
    finally:
        services.close()


def _run(services: Services, kind: str, liars: int, jobs: int, verify: Verify, chance: random.Random) -> Ended:
    create = LambdaCreate(codex=Id(0), runtime="liars", deterministic=True, verify=verify)
    lambda_id = services.lambdas.create(create).id
    owners = [
        Owner(name, services.workers.register(WorkerRegister(runtime=["liars"]), name).id, lies, chance)
        for name, lies in [
            (TRUSTED, ""), *((f"owner {n}", kind if n < liars else "") for n in range(OWNERS)),
        ]
    ]  # fmt: skip
    ended, expected, submitted = Ended(), {}, 0
    while submitted < jobs or not _are_done(services, expected):
        if submitted < jobs:
            specs = [JobSpec(lambda_=Id(lambda_id), input=Content(text=str(submitted + n))) for n in range(BATCH)]
            ids = services.submission.submit(specs)
            expected |= {id_: f"right {submitted + n}" for n, id_ in enumerate(ids)}
            submitted += BATCH
        for _ in range(3):
            chance.shuffle(owners)
            for owner in owners:
                ended.executions += _work(services, owner, expected, 1 if owner.name == TRUSTED else 20)
        services.doubts.recheck()
    for start in range(0, jobs, 1000):
        ids = list(expected)[start : start + 1000]
        with services.database.read() as connection:
            found = find_jobs_with_outputs(connection, ids)
        for id_, (job, blob) in found.items():
            text = (blob.content or b"").decode() if blob else ""
            ended.failed += job.state is JobState.FAILED
            ended.wrong += job.state is JobState.FINISHED and text != expected[id_]
    ended.caught = {each.name for each in services.agreement.list_owners() if each.wrong}
    return ended


def _work(services: Services, owner: Owner, expected: dict[int, str], most: int) -> int:
    """Have an owner's worker lease some jobs and answer. Returns how many."""
    ask = ContractRequest(max=most, timeout=0, inline_max_bytes=100)
    leased = wait_out(services.contracts.contract(owner.worker, ask)).jobs
    outcomes = []
    for job in leased:
        text = owner.answer(expected[job.id].removeprefix("right ")).encode()
        digests = Digests(module="", input="", output=hashlib.sha256(text).hexdigest())
        outcomes.append(
            Outcome(
                job=Id(job.id), lease=job.lease or "", state=JobState.FINISHED, output=Content(raw=text),
                usage=Usage(fuel=1, digests=digests),
            )
        )  # fmt: skip
    if outcomes:
        services.outcomes.finish(owner.worker, outcomes)
    return len(outcomes)


def _are_done(services: Services, expected: dict[int, str]) -> bool:
    with services.database.read() as connection:
        states = find_states(connection, expected)
        return all(state.is_final for state in states.values()) and not find_caught(connection, 1)


def closed_form(verify: Verify, jobs: int) -> float:
    """Return the executions of a job among honest owners: two until an owner is believed, then a share of two."""
    if verify.quorum is not None:
        return float(verify.quorum)
    until = OWNERS * STREAK_LEAST / 2  # each of these jobs counts for two owners
    checked = min(jobs, until) + max(0.0, jobs - until) * (verify.sample or 0.0)
    return 1 + checked / jobs


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rules = {"sample 5 %": Verify(sample=0.05), "quorum 2": Verify(quorum=2), "quorum 3": Verify(quorum=3)}
    rows = []
    for name, verify in rules.items():
        for liars in (0, 2, 4, 8):
            for kind in KINDS if liars else KINDS[:1]:
                with tempfile.TemporaryDirectory(prefix="piecework-liars-") as folder:
                    found = simulate(Path(folder), kind, liars, options.jobs, verify, options.seed)
                form = number(closed_form(verify, options.jobs)) if not liars else ""
                executions = number(found.executions / options.jobs)
                who = [name, f"{liars * 100 // OWNERS} %", kind if liars else ""]
                ends = [str(found.wrong), str(found.failed), f"{len(found.caught)} of {liars}"]
                rows.append([*who, *ends, executions, form])
                print(*rows[-1], sep=" | ", flush=True)
    columns = [
        "rule",
        "liars",
        "of which kind",
        "wrong results",
        "failed",
        "caught",
        "runs of a job",
        "closed form",
    ]
    Table(f"{options.jobs:,} jobs on workers of {OWNERS} owners and a trusted one", columns, rows).show()


if __name__ == "__main__":
    main()
