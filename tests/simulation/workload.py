"""What users of a simulated queue do: they submit, cancel, pause and resume, by lot."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec
from agents import Script
from fibers import World
from msgspec import UNSET
from trust import Rule

from piecework.client import ApiError, Client, ClientError, Conflict, NotFound
from piecework.client.transport import PreparedRequest
from piecework.protocol.ids import Id
from piecework.protocol.messages import (
    Content,
    JobSpec,
    JobUpdate,
    ScheduleCreate,
    ScheduleInfo,
)

SCHEDULES_MAX = 2
GROUPS_MAX = 3
LIMITS = {"one": 1, "three": 3}
"""How many jobs of a key may run at once."""
RATE_LIMIT, RATE_PERIOD_S = 5, 2.0
"""How many jobs of the key of rates may start within a period."""
TOLD = "told"
"""The webhook that hears of some ends."""
THINK_S = 1.5
"""A user does something this often, on average."""


@dataclass
class Asked:
    """A job whose submission was acknowledged, and what was asked of it since."""

    id: Id
    script: Script
    options: dict[str, Any]
    rule: Rule | None = None
    """What its lambda says of results, if it says anything."""
    may_be_cancelled: bool = False
    retries: int = 0
    """How often it may have been run again."""

    @property
    def has_one_end(self) -> bool:
        """Whether it stays, and ends once unless somebody asks for more."""
        return "retain_s" not in self.options and not (self.rule and self.rule.verify)


@dataclass
class Deeds:
    """What somebody did to everybody's jobs."""

    retries: int = 0
    cancels: int = 0
    resumes: int = 0
    """How often somebody asked for the lambda to go on."""
    resuming: int = 0
    """Users who ask for the lambda to go on, and have no answer yet."""
    held_since_s: float | None = None
    """Since when the lambda is known to be paused; None: it may not be."""


@dataclass
class Workload:
    """One user. ``asked`` has each job that the server has acknowledged."""

    world: World
    client: Client
    lambda_id: Id
    random: Random
    deeds: Deeds
    asked: dict[Id, Asked] = field(default_factory=dict)
    schedules: list[str] = field(default_factory=list)
    """Their names; whether there is one is not known where the answer was lost."""
    groups: list[str] = field(default_factory=list)
    """The same of groups, of which each is sealed in the end."""
    numbers: int = 0
    is_done: bool = False

    def run(self, until_s: float) -> None:
        """Use the queue until then, then have whatever was paused go on."""
        calls, weights = zip(*self.list_actions(), strict=True)
        while self.world.now_s < until_s:
            self.world.sleep(self.random.expovariate(1 / THINK_S))
            [act] = self.random.choices(calls, weights)
            try:
                act()
            except ClientError:  # the user gives up; what was not acknowledged may be there or not
                continue
        self.settle_down()
        self.is_done = True

    def list_actions(self) -> list[tuple[Callable[[], object], float]]:
        """Return what this user does, each with how often among others."""
        return [
            (self.submit_one, 6), (self.submit_some, 3), (self.cancel_one, 1), (self.pause_one, 1),
            (self.resume_one, 1), (self.submit_after, 3), (self.submit_chain, 1), (self.submit_group, 1),
            (self.submit_then, 0.5), (self.schedule, 1),
            (self.retry_one, 2), (self.retry_failed, 1), (self.cancel_many, 0.3), (self.hold_all, 0.7),
        ]  # fmt: skip

    def new_script(self) -> Script:
        self.numbers += 1
        random = self.random
        return Script(
            number=self.numbers,
            takes_s=random.choice([0.001, 0.01, 0.2, random.uniform(0, 8)]),
            fails=random.choice([0, 0, 0, 1, 2, 5]),
            kills=random.choice([0] * 12 + [1, 2, 9]),
            output_bytes=random.choice([0, 0, 0, 100_000]),
        )

    def new_options(self) -> dict[str, Any]:
        random = self.random
        options: dict[str, Any] = {"max_attempts": random.randint(1, 4)}
        if random.random() < 0.3:
            options["priority"] = random.randint(-5, 5)
        if random.random() < 0.2:
            options["delay_s"] = random.uniform(0.1, 10)
        if random.random() < 0.3:
            key = random.choice(list(LIMITS))
            options |= {"concurrency_key": key, "concurrency_limit": LIMITS[key]}
        if random.random() < 0.2:
            options |= {"rate_key": "rate", "rate_limit": RATE_LIMIT, "rate_period_s": RATE_PERIOD_S}
        if random.random() < 0.3:
            options["on_end"] = TOLD
        return options

    def submit_one(self) -> None:
        script, options = self.new_script(), self.new_options()
        self.note(self.client.submit(self.lambda_id, msgspec.json.encode(script), **options), script, options)

    def submit_some(self) -> None:
        scripts, options = [self.new_script() for _ in range(self.random.randint(2, 12))], self.new_options()
        ids = self.client.submit_many(self.lambda_id, map(msgspec.json.encode, scripts), **options)
        for id_, script in zip(ids, scripts, strict=True):
            self.note(id_, script, options)

    def submit_after(self) -> None:
        """Submit a job that waits for others."""
        lasting = [id_ for id_, job in self.asked.items() if job.has_one_end]
        parents = self.random.sample(lasting, min(len(lasting), self.random.randint(1, 3)))
        script, options = self.new_script(), self.new_options()
        options |= {"after": parents, "on_failure": self.random.choice(["cancel", "run"])}
        self.note(self.client.submit(self.lambda_id, msgspec.json.encode(script), **options), script, options)

    def submit_chain(self) -> None:
        """Submit jobs together of which each waits for the one before."""
        scripts = [self.new_script() for _ in range(self.random.randint(2, 5))]
        options = {"max_attempts": 2, "on_failure": self.random.choice(["cancel", "run"])}
        specs = [
            JobSpec(
                lambda_=self.lambda_id,
                input=Content(raw=msgspec.json.encode(script)),
                after=[f"@{number - 1}"] if number else UNSET,
                **options if number else {"max_attempts": 2},
            )
            for number, script in enumerate(scripts)
        ]
        ids = self.client.post_batch(specs)
        for number, (id_, script) in enumerate(zip(ids, scripts, strict=True)):
            after = {"after": ids[number - 1 : number], **options} if number else {"max_attempts": 2}
            self.note(id_, script, after)

    def submit_group(self) -> None:
        """Submit jobs that join a group, a new one or one that may be sealed."""
        if len(self.groups) < GROUPS_MAX:
            self.groups.append(f"g-{self.random.getrandbits(32):x}")
        scripts = [self.new_script() for _ in range(self.random.randint(1, 5))]
        options = self.new_options() | {"group": self.random.choice(self.groups)}
        ids = self.client.submit_many(self.lambda_id, map(msgspec.json.encode, scripts), **options)
        for id_, script in zip(ids, scripts, strict=True):
            self.note(id_, script, options)

    def submit_then(self) -> None:
        """Submit a job that runs once a group is done."""
        if self.groups:
            script, options, group = self.new_script(), self.new_options(), self.random.choice(self.groups)
            id_ = self.client.submit_then(group, self.lambda_id, msgspec.json.encode(script), **options)
            self.note(id_, script, options)

    def schedule(self) -> None:
        """Have a job recur every few seconds, until this user settles down."""
        if len(self.schedules) == SCHEDULES_MAX:
            return
        name, script = f"s-{self.random.getrandbits(32):x}", Script(number=0)
        every_s = self.random.uniform(2, 9)
        create = ScheduleCreate(
            name=name,
            every_s=every_s,
            catch_up=self.random.choice(["skip", "one", "all"]),
            overlap=self.random.choice(["allow", "allow", "skip"]),
            job=JobSpec(lambda_=self.lambda_id, input=Content(raw=msgspec.json.encode(script))),
        )
        self.schedules.append(name)
        self.client.transport.call(PreparedRequest("POST", "/schedule", body=create), ScheduleInfo)

    def note(self, id_: Id, script: Script, options: dict[str, Any], rule: Rule | None = None) -> None:
        assert id_ not in self.asked, f"two submissions got the job {id_}"
        self.asked[id_] = Asked(id_, script, options, rule)

    def choose(self) -> Asked | None:
        return self.random.choice(list(self.asked.values())) if self.asked else None

    def cancel_one(self) -> None:
        if chosen := self.choose():
            chosen.may_be_cancelled = True
            self.client.cancel(chosen.id)

    def retry_one(self) -> None:
        """Run a job again, if it failed or was cancelled."""
        if chosen := self.choose():
            chosen.retries += 1
            with suppress(Conflict):
                self.client.retry(chosen.id)

    def retry_failed(self) -> None:
        """Run all jobs again that failed, of other users too."""
        self.deeds.retries += 1
        self.client.bulk("retry", state="Fail_Execution")

    def cancel_many(self) -> None:
        """Cancel whatever waits, of other users too."""
        self.deeds.cancels += 1
        self.client.bulk("cancel", state="Waiting")

    def hold_all(self) -> None:
        """Pause the lambda, and with it every job, for a while."""
        resumes = self.deeds.resumes
        self.client.pause("lambda", self.lambda_id)
        if resumes == self.deeds.resumes:  # else somebody may have let it go on again before the answer was here
            self.deeds.held_since_s = self.world.now_s
        self.world.sleep(self.random.uniform(1, 6))
        self.resume_all()

    def resume_all(self) -> None:
        """Let the lambda go on, also if another user has just paused it."""
        self.deeds.held_since_s = None
        self.deeds.resumes += 1
        self.deeds.resuming += 1
        self.insist(lambda: self.client.resume("lambda", self.lambda_id))
        self.deeds.resuming -= 1

    def pause_one(self) -> None:
        if chosen := self.choose():
            self.steer(chosen.id, "Paused")

    def resume_one(self) -> None:
        if chosen := self.choose():
            self.steer(chosen.id, "Enqueued")

    def steer(self, id_: Id, status: str) -> None:
        """Ask for a state; that it runs or has ended is no failure."""
        try:
            self.client.update_job(id_, JobUpdate(status=status))
        except ApiError as error:
            if error.http_status != 409:
                raise

    def settle_down(self) -> None:
        """Have nothing wait for this user any more."""
        self.resume_all()
        for id_ in self.asked:
            self.insist(lambda id_=id_: self.have_go_on(id_))
        for name in list(self.schedules):
            self.insist(lambda name=name: self.pause_schedule(name))
        for name in self.groups:
            self.insist(lambda name=name: self.seal_group(name))

    def have_go_on(self, id_: Id) -> None:
        with suppress(NotFound):  # its time was over
            if self.client.job(id_).state == "Paused":
                self.steer(id_, "Enqueued")

    def seal_group(self, name: str) -> None:
        with suppress(NotFound):
            self.client.seal_group(name)

    def pause_schedule(self, name: str) -> None:
        try:
            self.client.transport.call(PreparedRequest("POST", f"/schedule/{name}/pause"), ScheduleInfo)
        except NotFound:
            self.schedules.remove(name)

    def insist(self, act: Callable[[], object]) -> None:
        """Do something, however often that takes."""
        while True:
            try:
                act()
            except ClientError:
                self.world.sleep(1.0)
            else:
                return
