"""How often tests try what they draw by lot, and how long drills last: see ``--tries`` in CONTRIBUTING.md."""

from typing import Any

from hypothesis import HealthCheck, settings

FACTORS = {"few": 0.1, "usual": 1.0, "many": 10.0}
EXAMPLES = 100
"""What Hypothesis tries of a property, as a rule."""

_factor = FACTORS["few"]


def choose_tries(name: str) -> None:
    """Take one of FACTORS; before any test is collected."""
    global _factor  # noqa: PLW0603  # an option of the whole run
    _factor = FACTORS[name]
    # A busy machine is no failure. A failure is told so that it can be found again.
    patient: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
    settings.register_profile("ours", max_examples=tries(EXAMPLES), print_blob=True, **patient)
    settings.load_profile("ours")


def tries(usual: int) -> int:
    """Return how often to try something that is tried so often when nobody waits for it."""
    return max(1, round(usual * _factor))
