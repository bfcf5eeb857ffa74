"""A slot's side of the conversation with its guest process, on a clock that the test moves."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import UNSET

from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import JobError, Usage
from piecework.worker_agent.guests.frames import (
    Assign,
    Done,
    Halt,
    Kept,
    Loaded,
    Loading,
    Logged,
    Ready,
    Recall,
    Returned,
)
from piecework.worker_agent.guests.slot import HALT_WITHIN_S, START_WITHIN_S, News, Policy, Rehearsal, Slot
from piecework.worker_agent.runtimes.compiling.refusals import GAVE_UP
from piecework.worker_agent.tasks import File, Result

GRACE_S, LOAD_S, QUICK_S = 2.0, 100.0, 0.05
POLICY = Policy(grace_s=GRACE_S, load_s=LOAD_S, quick_s=QUICK_S)


class Scene:
    """A slot, its processes one after the other, and its news."""

    def __init__(self, driver, policy=POLICY):
        self.driver, self.news = driver, News()
        self.slot = Slot(policy, self.news)

    @property
    def now(self):
        return self.driver.now

    @property
    def processes(self):
        return self.driver.all.get(self.slot, [])

    @property
    def process(self):
        return self.processes[-1]

    def settle(self):
        """Send and do what the slot wants."""
        self.driver.send(self.slot)
        while self.news.orders:
            self.driver.obey(*self.news.orders.pop(0))

    def pass_time(self, seconds):
        self.driver.now += seconds
        self.slot.tend(self.now)
        if self.slot.wants_start(self.now):
            self.slot.start()
        self.settle()

    def report(self, *frames):
        self.slot.hear(frames, self.now)
        self.settle()

    def die(self, end="SIGSEGV", words=""):
        self.process.end, self.process.last_words = end, words
        self.slot.lost()
        self.settle()

    def give(self, *assignments):
        self.slot.give(assignments, self.now)
        self.settle()

    def recall(self):
        self.slot.recall()
        self.settle()

    def halt(self, task):
        self.slot.halt(task, self.now)
        self.settle()

    def results(self):
        return [(task.key, task.find_result(end, self.now)) for task, end in self.news.ended]

    def only_result(self):
        ((_, result),) = self.results()
        return result


def done(key, output=b"", cancelled=False, **usage):
    return Done(key, Result(output=output, usage=Usage(**usage), cancelled=cancelled))


@pytest.fixture
def scene(driver):
    scene = Scene(driver)
    scene.pass_time(0)
    scene.report(Ready(0))
    return scene


@pytest.fixture
def two_tasks(scene, make_assignment):
    tasks = [make_assignment(timeout_s=10.0), make_assignment(timeout_s=20.0)]
    scene.give(*tasks)
    return tasks


def test_slot_takes_tasks_when_its_process_is_ready(driver):
    scene = Scene(driver)
    assert not scene.slot.is_idle
    scene.pass_time(0)
    assert not scene.slot.is_idle
    scene.report(Ready(0))
    assert scene.slot.is_idle


def test_results_come_back_one_by_one(scene, two_tasks):
    assert scene.process.keys(Assign) == [1, 2]
    scene.report(done(1, b"one"))
    assert [(key, result.output) for key, result in scene.results()] == [(1, b"one")]
    scene.report(done(2, b"two"))
    assert [(key, result.output) for key, result in scene.results()] == [(1, b"one"), (2, b"two")]
    assert scene.slot.is_idle


def test_large_output_is_the_scratch_file(scene, two_tasks):
    scene.report(done(1, File(two_tasks[0].frame.spool)))
    assert scene.only_result().output == File(two_tasks[0].frame.spool)


def test_process_that_does_not_answer_is_killed_after_limit_and_grace(scene, two_tasks):
    scene.report(Logged(1, b"so far", 0))
    scene.pass_time(10 + GRACE_S - 0.01)
    assert not scene.process.killed
    scene.pass_time(0.01)
    assert scene.process.killed
    result = scene.only_result()
    assert result.error.kind is ErrorKind.TIMEOUT
    assert result.usage.wall_s == pytest.approx(10 + GRACE_S)
    assert result.log == b"so far"
    assert [task.key for task in scene.news.returned] == [2]


def test_each_task_has_its_own_time(scene, two_tasks):
    scene.pass_time(9)
    scene.report(done(1))
    scene.pass_time(20 + GRACE_S - 0.01)
    assert not scene.process.killed
    scene.pass_time(0.01)
    assert scene.process.killed


def test_answer_that_is_there_already_counts_at_the_deadline(scene, two_tasks):
    scene.driver.now += 10 + GRACE_S
    scene.report(done(1, b"just in time"))
    scene.pass_time(0)
    assert scene.only_result().output == b"just in time"
    assert not scene.process.killed


def test_loading_has_its_own_time_and_ends_as_a_load_error(scene, two_tasks):
    scene.report(Loading(1))
    scene.pass_time(LOAD_S + GRACE_S - 0.01)
    assert not scene.process.killed
    scene.pass_time(0.01)
    assert scene.only_result().error.kind is ErrorKind.LOAD
    assert f"{LOAD_S:g} s" in scene.only_result().error.message


def test_process_that_gave_up_compiling_ends_its_task_as_a_load_error(scene, two_tasks):
    scene.report(Loading(1))
    scene.die(f"exit code {GAVE_UP}")
    result = scene.only_result()
    assert (result.error.kind, result.error.trace) == (ErrorKind.LOAD, UNSET)
    assert f"{LOAD_S:g} s" in result.error.message


def test_time_of_the_guest_begins_after_loading(scene, two_tasks):
    scene.report(Loading(1))
    scene.pass_time(50)
    scene.report(Loaded(1))
    assert scene.news.compiled
    scene.pass_time(10 + GRACE_S - 0.01)
    assert not scene.process.killed


def test_death_costs_the_first_task_only(scene, two_tasks):
    Path(two_tasks[0].frame.spool).write_bytes(b"half an output")
    scene.die("SIGSEGV", words="Fatal Python error")
    result = scene.only_result()
    assert result.error.kind is ErrorKind.TRAP
    assert "SIGSEGV" in result.error.message
    assert result.error.trace == "Fatal Python error"
    assert not Path(two_tasks[0].frame.spool).exists()
    assert [task.key for task in scene.news.returned] == [2]
    assert two_tasks[1].begun_at is None


def test_death_is_blamed_on_the_task_that_the_process_worked_on(scene, two_tasks):
    scene.process.working_on = 2
    scene.die("SIGSEGV")
    assert [(key, result.error.kind) for key, result in scene.results()] == [(2, ErrorKind.TRAP)]
    assert [task.key for task in scene.news.returned] == [1]


def test_what_was_reported_before_death_counts(scene, two_tasks):
    scene.report(done(1, b"one"))
    scene.die()
    (first, output), (second, error) = [(key, result) for key, result in scene.results()]
    assert (first, output.output) == (1, b"one")
    assert (second, error.error.kind) == (2, ErrorKind.TRAP)


def test_death_while_loading_may_have_been_bad_luck_and_is_no_load_error(scene, two_tasks):
    scene.report(Loading(1))
    scene.die("SIGKILL")
    assert scene.only_result().error.kind is ErrorKind.TRAP
    assert "loading the module: SIGKILL" in scene.only_result().error.message


@pytest.mark.parametrize(
    "words", ["memory allocation of 3960 bytes failed\n...", "thread panicked:\nunhandled out-of-memory error"]
)
def test_module_that_takes_too_much_memory_to_compile_is_a_load_error(scene, two_tasks, words):
    scene.report(Loading(1))
    scene.die("SIGABRT", words)
    result = scene.only_result()
    assert (result.error.kind, result.error.trace) == (ErrorKind.LOAD, words)
    assert "takes more memory to compile" in result.error.message


def test_death_for_want_of_memory_while_a_guest_runs_is_no_load_error(scene, two_tasks):
    scene.die("SIGABRT", "memory allocation of 3960 bytes failed")
    result = scene.only_result()
    assert result.error.kind is ErrorKind.TRAP


def test_death_without_a_task_costs_nothing(scene):
    scene.die()
    assert scene.results() == []
    scene.pass_time(0)
    assert len(scene.processes) == 2


def test_process_is_replaced_at_once_and_ready_later(scene, two_tasks):
    scene.die()
    scene.pass_time(0)
    assert len(scene.processes) == 2
    assert not scene.slot.is_idle
    scene.report(Ready(0))
    scene.give(two_tasks[1])
    assert scene.process.keys(Assign) == [2]


def test_cancelled_task_is_halted_and_its_process_killed_only_if_it_does_not_answer(scene, two_tasks):
    scene.halt(two_tasks[0])
    scene.halt(two_tasks[0])
    assert scene.process.keys(Halt) == [1]
    scene.pass_time(HALT_WITHIN_S - 0.01)
    assert not scene.process.killed
    scene.pass_time(0.01)
    assert scene.process.killed
    assert scene.only_result().cancelled


def test_halted_guest_reports_itself(scene, two_tasks):
    scene.halt(two_tasks[0])
    scene.report(done(1, cancelled=True))
    assert scene.only_result().cancelled
    scene.pass_time(HALT_WITHIN_S)
    assert not scene.process.killed


def test_cancelled_task_that_did_not_begin_ends_when_it_is_returned(scene, two_tasks):
    scene.halt(two_tasks[1])
    scene.report(Returned(2))
    ((key, result),) = scene.results()
    assert (key, result.cancelled) == (2, True)
    assert [task.key for task in scene.slot.tasks] == [1]


def test_cancelled_task_that_did_not_begin_ends_with_its_process(scene, two_tasks):
    scene.halt(two_tasks[1])
    scene.die()
    (_, (key, result)) = scene.results()
    assert (key, result.cancelled) == (2, True)
    assert scene.news.returned == []


def test_cancelled_task_whose_process_dies_is_cancelled(scene, two_tasks):
    scene.halt(two_tasks[0])
    scene.die()
    assert scene.only_result().cancelled


def test_recall_asks_once_for_what_did_not_begin(scene, two_tasks):
    scene.recall()
    scene.recall()
    assert scene.process.keys(Recall) == [2]
    scene.report(Returned(2))
    assert [task.key for task in scene.news.returned] == [2]
    assert not two_tasks[1].recalled


def test_recalled_task_that_began_stays(scene, two_tasks):
    scene.recall()
    scene.report(done(1), Kept(2))
    assert not two_tasks[1].recalled
    scene.recall()
    assert scene.process.keys(Recall) == [2]
    scene.report(done(2, b"two"))
    assert scene.results()[1][1].output == b"two"


def test_slot_is_quick_only_after_quick_tasks(scene, two_tasks):
    assert not scene.slot.is_quick(scene.now)
    scene.report(done(1))
    assert scene.slot.is_quick(scene.now)
    assert not scene.slot.is_quick(scene.now + QUICK_S)
    scene.driver.now += 1
    scene.report(done(2))
    assert not scene.slot.is_quick(scene.now)


@pytest.mark.parametrize(
    ("wall_s", "depth"), [(0.0, 64), (0.0001, 50), (0.001, 5), (0.004, 2), (QUICK_S / 2, 2), (QUICK_S, 1)]
)
def test_slot_takes_about_5_ms_of_work(scene, make_assignment, wall_s, depth):
    assert scene.slot.find_depth(scene.now) == 1
    scene.give(make_assignment())
    scene.report(done(1, wall_s=wall_s))
    assert scene.slot.find_depth(scene.now) == depth


def test_one_slow_task_ends_the_sending_ahead_for_a_while(scene, make_assignment):
    scene.give(*[make_assignment() for _ in range(20)])
    depths = []
    for key in range(1, 21):
        scene.report(done(key, wall_s=1.0 if key == 2 else 0.001))
        depths.append(scene.slot.find_depth(scene.now))
    assert depths[:3] == [5, 1, 1]
    assert depths[-1] == 2


def test_process_that_never_gets_ready_is_given_up(driver):
    scene = Scene(driver)
    scene.pass_time(0)
    scene.pass_time(START_WITHIN_S)
    assert scene.process.killed
    assert scene.news.failed_starts[0][1] == 1


def test_starts_that_fail_are_repeated_ever_more_slowly(driver):
    scene = Scene(driver)
    driver.start_error = "no memory"
    pauses = []
    for _ in range(12):
        scene.pass_time(0)
        pauses.append(scene.slot.next_due_at(scene.now) - scene.now)
        driver.now += pauses[-1]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (pytest.approx(0.2), pytest.approx(30))
    assert scene.news.failed_starts[-1] == ("no memory", 12)


def test_process_that_dies_before_it_is_ready_tells_why(driver):
    scene = Scene(driver)
    scene.pass_time(0)
    scene.die("exit code 1", words="ModuleNotFoundError: no module")
    assert scene.news.failed_starts == [("exit code 1: ModuleNotFoundError: no module", 1)]


def test_next_due_is_the_deadline_or_the_moment_to_share(scene, two_tasks):
    assert scene.slot.next_due_at(scene.now) == scene.now + QUICK_S
    assert scene.slot.next_due_at(scene.now + QUICK_S) == scene.now + 10 + GRACE_S
    scene.report(done(1), done(2))
    assert scene.slot.next_due_at(scene.now) == math.inf


def test_shut_down_fails_what_is_there(scene, two_tasks):
    scene.slot.shut_down()
    scene.settle()
    assert scene.process.killed
    assert [(key, result.error.kind) for key, result in scene.results()] == [
        (1, ErrorKind.WORKER),
        (2, ErrorKind.WORKER),
    ]


def test_reports_about_unknown_tasks_are_ignored(scene):
    scene.report(done(77), Logged(78, b"x", 0))
    assert scene.results() == []


def test_slot_without_a_process_hears_nothing(driver):
    scene = Scene(driver)
    scene.recall()
    scene.slot.shut_down()
    scene.settle()
    assert scene.results() == []


CAREFUL = replace(POLICY, repeats=False)
"""As for calls: what may have begun is never begun again."""


@pytest.mark.parametrize(
    ("working_on", "lost"), [(0, []), (1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (9, [])], ids=str
)
def test_what_may_have_begun_is_lost_where_nothing_is_repeated(driver, make_assignment, working_on, lost):
    scene = Scene(driver, CAREFUL)
    scene.pass_time(0)
    scene.report(Ready(0))
    scene.give(*[make_assignment() for _ in range(3)])
    scene.process.working_on = working_on
    scene.die()
    assert [key for key, _ in scene.results()] == lost
    assert [task.key for task in scene.news.returned] == [key for key in (1, 2, 3) if key not in lost]


def test_slot_that_did_not_take_all_that_was_sent_gets_nothing_ahead(scene, two_tasks):
    scene.report(done(1))
    assert scene.slot.find_depth(scene.now) > 1
    scene.slot.is_blocked = True
    assert scene.slot.find_depth(scene.now) == 1


@pytest.fixture
def rehearsing(driver, make_assignment):
    """Return a slot whose process is ready, and rehearses."""
    rehearsal = Rehearsal(make_assignment, lambda error: f"no use: {error.message}")
    scene = Scene(driver, replace(CAREFUL, rehearsal=rehearsal))
    scene.pass_time(0)
    scene.report(Ready(0))
    return scene


def test_process_rehearses_before_it_takes_tasks(rehearsing):
    assert rehearsing.process.keys(Assign) == [1]
    assert not rehearsing.slot.is_ready
    rehearsing.report(Loading(1), Loaded(1), done(1))
    assert rehearsing.slot.is_idle
    assert rehearsing.results() == rehearsing.news.failed_starts == []
    assert not rehearsing.slot.is_quick(rehearsing.now)


def test_process_whose_rehearsal_fails_did_not_start(rehearsing):
    error = JobError(kind=ErrorKind.TRAP, message="unreachable")
    rehearsing.report(Done(1, Result(error=error, usage=Usage())))
    assert rehearsing.process.killed
    assert rehearsing.news.failed_starts == [("no use: unreachable", 1)]
    assert rehearsing.results() == []


def test_process_that_dies_or_hangs_in_its_rehearsal_did_not_start(rehearsing):
    rehearsing.die("SIGSEGV", "Fatal Python error")
    rehearsing.pass_time(0.2)
    rehearsing.report(Ready(0))
    rehearsing.pass_time(10 + GRACE_S)
    assert rehearsing.process.killed
    assert rehearsing.news.failed_starts == [
        ("the process ended while running the guest: SIGSEGV Fatal Python error", 1),
        ("it ran longer than its limit of 10 s, and could only be killed", 2),
    ]


def test_retired_process_ends_unless_it_has_a_task(driver, scene, rehearsing, two_tasks):
    starting = Scene(driver)
    starting.pass_time(0)
    for each in (scene, rehearsing, starting):
        each.slot.retire()
        each.settle()
    assert [each.process.killed for each in (scene, rehearsing, starting)] == [False, True, True]
    assert rehearsing.news.failed_starts == starting.news.failed_starts == []
