"""What becomes of a replica, whatever happens to its processes."""

import pytest
from hand_clock import HandClock
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from replica_world import World
from tries import tries

from piecework.protocol.messages import ReplicaState
from piecework.worker_agent.replicas.replica import LONGEST_PAUSE_S, Replica, Times

TIMES = Times(start_s=10.0, settled_s=60.0, drain_s=5.0)


@pytest.fixture
def states():
    return []


@pytest.fixture
def replica(world, clock, states):
    made = Replica(world.spawn, clock=clock, on_change=lambda: states.append(made.state), times=TIMES)
    return made


@pytest.fixture
def running(replica):
    replica.step()
    replica.step()
    assert replica.state is ReplicaState.RUNNING
    return replica


def pass_s(replica, clock, seconds):
    """Let time pass, with all steps that are due."""
    until = clock.now + seconds
    while clock.now < until:
        clock.now = min(until, clock.now + max(replica.step(), 0.001))
    replica.step()


def test_runs_and_has_a_url_only_once_it_is_healthy(replica, world, clock):
    world.starts_well = False
    pass_s(replica, clock, 3)
    assert (replica.state, replica.url) == (ReplicaState.STARTING, None)
    [process] = world.processes
    process.well = True
    pass_s(replica, clock, 0.1)
    assert (replica.state, replica.url, replica.pid) == (ReplicaState.RUNNING, process.url, process.pid)
    assert replica.figures.calls == process.pid


def test_process_that_never_gets_healthy_is_ended_after_the_time_for_a_start(replica, world, clock):
    world.starts_well = False
    pass_s(replica, clock, 9.9)
    assert replica.state is ReplicaState.STARTING
    pass_s(replica, clock, 0.1)
    assert replica.error == "it did not answer GET /health within 10 s of its start"
    assert world.killed == [100]


def test_process_that_ends_is_replaced_after_a_pause_that_grows(running, world, clock):
    for pause_s in (0.1, 0.2, 0.4, 0.8):
        world.alive[0].alive = False
        assert running.step() == pytest.approx(pause_s)
        assert (running.state, running.url) == (ReplicaState.FAILED, None)
        assert running.error == "it ended: exit code 1"
        clock.now += pause_s
        running.step()
        running.step()
        assert running.state is ReplicaState.RUNNING
    assert running.failures == 4


def test_pause_never_grows_beyond_its_bound(replica, world, clock):
    world.refuses = "the disk is full"
    for _ in range(2000):
        clock.now += replica.step()
    assert replica.step() == LONGEST_PAUSE_S
    assert replica.error == "the disk is full"


def test_failures_are_forgotten_after_long_health(running, world, clock):
    world.alive[0].alive = False
    pass_s(running, clock, 30)
    assert running.failures == 1
    pass_s(running, clock, 40)
    assert running.failures == 0


def test_process_is_replaced_after_three_misses_in_a_row(running, world, clock):
    [process] = world.processes
    process.well = False
    running.step()
    running.step()
    process.well = True
    running.step()
    process.well = False
    running.step()
    running.step()
    assert running.state is ReplicaState.RUNNING
    running.step()
    assert (running.state, world.alive) == (ReplicaState.FAILED, [])
    assert running.error == "it did not answer GET /health 3 times in a row"


def test_death_while_it_was_asked_is_told_as_such(running, world):
    [process] = world.processes
    process.probe = lambda: setattr(process, "alive", False)
    running.step()
    assert running.error == "it ended: exit code 1"


def test_stopped_replica_drains_first(running, world):
    running.stop()
    running.step()
    assert (running.gone, world.drained, world.alive) == (True, [100], [])


def test_process_that_does_not_drain_is_killed_in_the_end(running, world, clock):
    [process] = world.processes
    process.stubborn = True
    running.stop()
    assert running.step() == TIMES.drain_s
    assert (running.state, running.url, running.gone) == (ReplicaState.STOPPING, None, False)
    clock.now += 5.0
    running.step()
    assert (running.gone, world.killed) == (True, [100])


def test_replica_that_waits_for_its_next_try_is_gone_at_once(replica, world):
    world.refuses = "no"
    replica.step()
    replica.stop()
    replica.step()
    assert (replica.gone, world.processes) == (True, [])


def test_each_new_state_is_told_once(running, world, clock, states):
    pass_s(running, clock, 5)
    world.alive[0].alive = False
    pass_s(running, clock, 1)
    assert states == [ReplicaState.RUNNING, ReplicaState.FAILED, ReplicaState.STARTING, ReplicaState.RUNNING]


class Histories(RuleBasedStateMachine):
    """Anything may happen at any time."""

    def __init__(self):
        super().__init__()
        self.world, self.clock = World(), HandClock(1000.0, per_s=1)
        self.replica = Replica(self.world.spawn, clock=self.clock, on_change=self.look, times=TIMES)
        self.stopped = False

    def look(self):
        if self.replica.state is ReplicaState.RUNNING:
            assert self.replica.url == self.world.processes[-1].url
        else:
            assert self.replica.url is None

    @rule()
    def step(self):
        if not self.replica.gone:
            assert self.replica.step() >= 0

    @rule(seconds=st.sampled_from([0.05, 0.1, 1.0, 7.0, 40.0, 100.0]))
    def wait(self, seconds):
        self.clock.now += seconds

    @rule()
    def die(self):
        for process in self.world.processes:
            process.alive = False

    @rule(well=st.booleans())
    def turn(self, well):
        for process in self.world.processes:
            process.well = well

    @rule(refuses=st.sampled_from([None, "no"]), starts_well=st.booleans(), stubborn=st.booleans())
    def change(self, refuses, starts_well, stubborn):
        self.world.refuses, self.world.starts_well, self.world.stubborn = refuses, starts_well, stubborn

    @rule()
    def stop(self):
        self.replica.stop()
        self.stopped = True

    @invariant()
    def at_most_one_process_lives(self):
        assert len(self.world.alive) <= 1
        assert not (self.replica.gone and self.world.alive)

    def teardown(self):
        self.change(None, starts_well=True, stubborn=False)
        self.turn(well=True)
        for _ in range(20):
            if not self.replica.gone:
                self.clock.now += self.replica.step()
        self.at_most_one_process_lives()
        wanted = "gone" if self.stopped else "running"
        found = "gone" if self.replica.gone else self.replica.state.value
        assert found == wanted
        assert len(self.world.alive) == (0 if self.stopped else 1)


def test_no_history_loses_a_replica_or_leaves_a_process_behind():
    run_state_machine_as_test(
        Histories, settings=settings(max_examples=tries(100), stateful_step_count=30, deadline=None)
    )
