"""How much is done in one transaction: nobody else writes to a SQLite database meanwhile."""

STEP_S = 0.015
"""How long a transaction is to take."""
STEP_FIRST, STEP_LEAST, STEP_MOST = 100, 10, 1000
"""Jobs of the first transaction, and of others."""


class StepSize:
    """How many jobs a transaction has, so that it takes about STEP_S on this machine."""

    def __init__(self) -> None:
        self.jobs = STEP_FIRST

    def note(self, jobs_done: int, took_s: float) -> None:
        """Learn from a transaction. It grows by half at most, so that a lucky one is not taken for the rule."""
        if jobs_done and took_s > 0:
            wanted = min(self.jobs * 1.5, jobs_done * STEP_S / took_s)
            self.jobs = round(min(max(wanted, STEP_LEAST), STEP_MOST))
