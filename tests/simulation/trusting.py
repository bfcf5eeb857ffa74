"""What users do who want results to be kept, or agreed on."""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from agents import Script
from trust import ALWAYS, Rule, Trust
from workload import Asked, Workload

from piecework.protocol.messages import JobInfo

Look = Callable[[Asked, JobInfo], None]
"""Is shown a job as somebody saw it."""


@dataclass(kw_only=True)
class TrustingWorkload(Workload):
    """A user who has such lambdas, beside the usual one."""

    trust: Trust
    on_look: Look

    def list_actions(self) -> list[tuple[Callable[[], object], float]]:
        forget = 0.7 if any(rule.memo for rule in self.trust.rules) else 0
        usual = [(act, weight / 2) for act, weight in super().list_actions()]
        return [*usual, (self.submit_to_rule, 8), (self.look_at_one, 2), (self.forget_results, forget)]

    def submit_to_rule(self) -> None:
        """Submit jobs of a lambda with a rule, of which some are equal to others."""
        random, rule = self.random, self.random.choice(self.trust.rules)
        options = self.new_options()
        if random.random() < 0.7:
            options.pop("delay_s", None)  # else the result of no other is taken
        if random.random() < 0.2:
            options["retain_s"] = random.uniform(1, 20)
        if rule.memo and random.random() < 0.1:
            options["memo"] = False
        scripts = [self.choose_script(rule) for _ in range(random.randint(1, 4))]
        inputs = map(msgspec.json.encode, scripts)
        ids = self.client.submit_many(self.trust.lambdas[rule.name], inputs, **options)
        for id_, script in zip(ids, scripts, strict=True):
            self.note(id_, script, options, rule)

    def choose_script(self, rule: Rule) -> Script:
        if self.random.random() < (0.8 if rule.memo else 0.2):
            return self.random.choice(self.trust.pool)
        fails = self.random.choice([0, 0, 0, ALWAYS])
        return msgspec.structs.replace(self.new_script(), fails=fails)

    def look_at_one(self) -> None:
        """Look at a job of a lambda with a rule; it may have ended."""
        if ruled := [job for job in self.asked.values() if job.rule]:
            chosen = self.random.choice(ruled)
            self.on_look(chosen, self.client.job(chosen.id))

    def forget_results(self) -> None:
        """Have all results forgotten that are kept for equal jobs."""
        rule = self.random.choice([rule for rule in self.trust.rules if rule.memo])
        self.client.forget_memos(self.trust.lambdas[rule.name])
