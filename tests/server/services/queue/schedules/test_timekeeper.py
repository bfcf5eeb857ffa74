"""How long the timekeeper sleeps between two turns, whatever a turn comes to."""

from collections.abc import Callable, Iterator

import pytest
import structlog
from house import House

from piecework.server.errors import DatabaseAway
from piecework.server.services.queue.schedules.timekeeper import SHARED_TICK_S, TICK_S, Chore, Timekeeper


class Sleep:
    """Takes the place of the events that its threads wait for: notes how long, and ends them the last time."""

    def __init__(self, times: int) -> None:
        self._left = times
        self.slept_s: list[float] = []

    def wait(self, timeout_s: float) -> None:
        self.slept_s.append(timeout_s)
        self._left -= 1

    def is_set(self) -> bool:
        return not self._left

    def set(self) -> None:
        self._left = 0

    def clear(self) -> None:
        """Nothing is remembered."""


@pytest.fixture
def keeper(house: House) -> Iterator[Timekeeper]:
    keeper = house.services.timekeeper
    events = keeper._poke, keeper._stopping
    yield keeper
    keeper._poke, keeper._stopping = events


@pytest.fixture
def tick_s(keeper: Timekeeper) -> float:
    return SHARED_TICK_S if keeper._database.is_shared else TICK_S


def sleeps_of(keeper: Timekeeper, times: int, run: Callable[[], None] | None = None) -> list[float]:
    """Let it run, here, and return how long it slept before each turn."""
    sleep = keeper._poke = keeper._stopping = Sleep(times)  # type: ignore[assignment]
    (run or keeper._run)()
    return sleep.slept_s


def fail_with(error: Exception) -> Callable[..., float]:
    def fail(*_: object) -> float:
        raise error

    return fail


def test_it_looks_at_once_and_then_every_tick(keeper: Timekeeper, tick_s: float):
    assert (TICK_S, SHARED_TICK_S) == (1.0, 0.25)
    assert sleeps_of(keeper, 4)[:3] == [0.0, tick_s, tick_s]


def test_it_wakes_when_the_next_job_is_due(house: House, keeper: Timekeeper):
    house.submit(house.new_lambda(), delay_s=0.1)
    assert sleeps_of(keeper, 3)[:2] == [0.0, 0.1]


def test_it_looks_again_at_once_after_it_found_something_due(house: House, keeper: Timekeeper, tick_s: float):
    job = house.submit(house.new_lambda(), delay_s=0.1)
    house.clock.forward(0.1)
    assert sleeps_of(keeper, 4)[:3] == [0.0, 0.0, tick_s]
    assert house.state(job) == "Enqueued"


@pytest.mark.parametrize("error", [DatabaseAway("gone"), RuntimeError("a bug")])
def test_it_pauses_after_a_failure_and_goes_on(
    keeper: Timekeeper, error: Exception, monkeypatch: pytest.MonkeyPatch
):
    turns = iter([fail_with(error), lambda: 0.5, fail_with(error), lambda: 0.0])

    def take_turn() -> float:
        return next(turns)()

    monkeypatch.setattr(keeper, "move_on", take_turn)
    with structlog.testing.capture_logs():
        assert sleeps_of(keeper, 4) == [0.0, 1.0, 0.5, 1.0]


def test_it_listens_again_after_a_pause_while_the_database_is_away(
    keeper: Timekeeper, monkeypatch: pytest.MonkeyPatch
):
    tries = iter([fail_with(DatabaseAway("gone")), fail_with(DatabaseAway("gone")), lambda *_: None])
    monkeypatch.setattr(type(keeper._database), "listen", lambda _, *given: next(tries)(*given))
    assert sleeps_of(keeper, 9, keeper._listen) == [1.0, 1.0]


def test_chores_are_done_when_their_time_has_come(keeper: Timekeeper):
    done: list[tuple[int, str]] = []
    keeper._chores = [
        Chore("often", 1.0, lambda: done.append((now, "often")), last_s=0.0),
        Chore("seldom", 3.0, lambda: done.append((now, "seldom")), last_s=0.0),
    ]
    for now in (0, 1, 2, 3, 5, 6):
        keeper._now_s = lambda: float(now)  # noqa: B023  # at once
        keeper.do_chores()
    assert [now for now, name in done if name == "often"] == [1, 2, 3, 5, 6]
    assert [now for now, name in done if name == "seldom"] == [3, 6]


def test_a_chore_that_fails_is_not_done_again_at_once(keeper: Timekeeper):
    keeper._chores = [Chore("broken", 60.0, fail_with(OSError("full")), last_s=-100.0)]
    with pytest.raises(OSError, match="full"):
        keeper.do_chores()
    keeper.do_chores()
