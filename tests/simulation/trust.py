"""Trust in simulated histories: lambdas whose results are kept or agreed on, owners of workers, and liars."""

import hashlib
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

import msgspec
from agents import GUEST_FAILED, Script

from piecework.client import Client
from piecework.protocol.ids import Id
from piecework.protocol.messages import Digests, JobError, JobInfo, Usage, Verify, given
from piecework.worker_agent.tasks import LeasedTask, Result

HISTORIES_SHARE = 0.3
"""So many of the histories have lambdas of these kinds; they have more workers than others."""
STREAK_LEAST = 2
"""Owners are believed after so many results: a history has few."""
MEMO_CHECK = 0.3
"""The share of answered jobs that are run all the same."""
HONEST = 4
"""Owners whose workers do not lie. Three of them must be able to agree on a job that one of them has left."""
POOL = 5
"""Scripts that jobs have in common."""
ALWAYS = 10**6
"""So often does a script fail that fails each time."""
LIE_SHARE = 0.5
AWAKE_AFTER = 2
"""Results after which a sleeper begins to lie."""
LIES = ("random", "targeted", "sleepers", "colluding")


@dataclass(frozen=True)
class Rule:
    """What a lambda says of its results."""

    name: str
    memo: bool = False
    verify: Verify | None = None

    @property
    def is_sampled(self) -> bool:
        return self.verify is not None and self.verify.sample is not None

    @property
    def votes(self) -> int:
        """How many owners must give the same before it is accepted, unless one is believed."""
        return (self.verify.quorum or 2) if self.verify else 1


RULES = (
    Rule("memo", memo=True),
    Rule("quorum 2", verify=Verify(quorum=2)),
    Rule("quorum 3", verify=Verify(quorum=3)),
    Rule("sample", verify=Verify(sample=0.2)),
    Rule("memo, quorum 2", memo=True, verify=Verify(quorum=2)),
    Rule("memo, sample", memo=True, verify=Verify(sample=0.2)),
)


class Gave(NamedTuple):
    """What a job gave, as far as others compare it."""

    kind: str
    """Why it failed; empty: it did not."""
    output: str | None
    memory: str | None
    fuel: int | None

    @classmethod
    def of_job(cls, info: JobInfo) -> "Gave":
        return cls._of(given(info.error), given(info.usage) or Usage())

    @classmethod
    def of_result(cls, result: Result) -> "Gave":
        return cls._of(result.error, result.usage)

    @classmethod
    def _of(cls, error: JobError | None, usage: Usage) -> "Gave":
        digests = usage.digests or Digests(module="", input="")
        kind, output = (error.kind.value, None) if error else ("", digests.output)
        return cls(kind, output, digests.memory, usage.fuel)


def compute(script: Script, whose: str = "") -> Result:
    """Return what a deterministic guest gives; another result when ``whose`` says who makes it up."""
    fails = (script.fails > 0) != whose.startswith("failure")
    output = b"" if fails else script.output() + whose.encode()
    digests = Digests(
        module=_sum(b"module"), input=_sum(b"input"), output=_sum(output),
        memory=_sum(b"memory %d %s" % (script.number, whose.encode())),
    )  # fmt: skip
    usage = Usage(wall_s=script.takes_s, fuel=1000 + script.number, digests=digests)
    return Result(output=output, error=GUEST_FAILED if fails else None, usage=usage)


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Owner:
    """Whose workers some are, and how these lie; ``lies`` empty: not at all."""

    name: str
    lies: str
    random: Random
    given: int = 0

    def answer(self, script: Script) -> Result:
        """Return what a worker says that a job gave on whose result others must agree."""
        self.given += 1
        if not self._lies_about(script):
            return compute(script)
        if self.lies == "colluding":
            return compute(script, "output of all")
        if self.lies == "random" and self.random.random() < 0.4:
            return msgspec.structs.replace(compute(script), output=b"not what its digest says", error=None)
        return compute(script, f"{self.random.choice(['output', 'failure'])} of {self.name}")

    def _lies_about(self, script: Script) -> bool:
        match self.lies:
            case "random":
                return self.random.random() < LIE_SHARE
            case "targeted" | "colluding":
                return script.number % 2 == 0
            case "sleepers":
                return self.given > AWAKE_AFTER and self.random.random() < LIE_SHARE
        return False


@dataclass
class Trust:
    """What of it there is in one history."""

    rules: list[Rule]
    owners: list[Owner]
    trusted: frozenset[str]
    """Owners whose word is enough; none of them lies."""
    pool: list[Script]
    lambdas: dict[str, Id] = field(default_factory=dict)
    """By the name of the rule."""
    given: dict[int, dict[str, set[Gave]]] = field(default_factory=dict)
    """What workers said that jobs gave, by job and owner."""

    @classmethod
    def draw(cls, random: Random) -> "Trust | None":
        """Choose what there is; None: nothing, as in most histories."""
        if random.random() > HISTORIES_SHARE:
            return None
        lies = random.choice(LIES)
        count = random.choice([0, 1, 1, 2])
        owners = [Owner(f"honest {n}", "", random) for n in range(HONEST)]
        owners += [Owner(f"liar {n}", lies, random) for n in range(count)]
        trusted = frozenset({"honest 0"} if random.random() < 0.3 else ())
        pool = [
            Script(
                number=1_000_000 + n,
                takes_s=random.choice([0.01, 0.2, random.uniform(0, 4)]),
                fails=random.choice([0, 0, 0, ALWAYS]),
            )
            for n in range(POOL)
        ]  # fmt: skip
        return cls(random.sample(RULES, random.randint(1, 2)), owners, trusted, pool)

    @property
    def colluders(self) -> int:
        return sum(owner.lies == "colluding" for owner in self.owners)

    def find_settings(self) -> dict[str, Any]:
        return {"memo_check": MEMO_CHECK, "trusted_owners": ",".join(sorted(self.trusted))}

    def create_lambdas(self, client: Client, codex: Id) -> None:
        for rule in self.rules:
            verify = {"verify": rule.verify} if rule.verify else {}
            self.lambdas[rule.name] = client.create_lambda(
                codex, "wasi", deterministic=True, memo=rule.memo, **verify
            )

    def answer(self, owner: Owner, task: LeasedTask, script: Script) -> Result:
        """Return what an owner's worker says that a job gave. Whether that arrives, nobody knows yet."""
        assert task.draft is not None
        result = owner.answer(script) if self.rule_of(task.draft.lambda_).verify else compute(script)
        said = self.given.setdefault(int(task.job), {}).setdefault(owner.name, set())
        said.add(Gave.of_result(result))
        return result

    def rule_of(self, lambda_id: Id) -> Rule:
        """Return the rule of a lambda."""
        names = {id_: name for name, id_ in self.lambdas.items()}
        return next(rule for rule in self.rules if rule.name == names[lambda_id])

    def find_agreeing(self, job: int, gave: Gave) -> set[str]:
        """Return the owners of whose workers one said that the job gave this."""
        return {owner for owner, all_ in self.given.get(job, {}).items() if gave in all_}
