"""Schedules in tests: creating them, and letting time pass for them."""

from typing import Any

from house import START_MS, House

START = START_MS / 1000
"""2026-09-21T14:13:20Z"""


def create(house: House, name: str = "n", status: int = 200, **fields: Any) -> Any:
    """Create a schedule that ticks each minute, unless ``fields`` say otherwise."""
    timing = {} if fields.keys() & {"cron", "every_s"} else {"every_s": 60}
    job = fields.pop("job", {})
    if "lambda" not in job:
        job = {"lambda": house.new_lambda()} | job
    return house.call("POST", "/schedule", {"name": name, "job": job} | timing | fields, status=status)


def ticks(house: House, name: str = "n") -> list[Any]:
    """Return what came of a schedule's ticks, newest first."""
    found: list[Any] = house.call("GET", f"/schedule/{name}/ticks")["ticks"]
    return found


def outcomes(house: House, name: str = "n") -> list[tuple[float, str]]:
    """Return the seconds of ticks since the start, and what came of them, oldest first."""
    return [(each["at"] - START, each["outcome"]) for each in reversed(ticks(house, name))]


def jobs_of(house: House, name: str = "n") -> list[str]:
    """Return the jobs of a schedule, newest first."""
    return [each["id"] for each in house.call("GET", f"/job?schedule={name}&limit=1000")["jobs"]]


def catch_up(house: House) -> None:
    """Let the timekeeper do all that is due."""
    while house.services.timekeeper.move_on() == 0.0:
        pass


def pass_by(house: House, seconds: float) -> None:
    """Let time pass, and the timekeeper do all that is due then."""
    house.clock.forward(seconds)
    catch_up(house)
