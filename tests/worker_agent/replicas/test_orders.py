"""Orders of the control server, from its answers to replicas, whatever happens in between."""

import threading
from pathlib import Path

import pytest
from fake_control_server import FakeControlServer, unreachable
from hand_clock import HandClock
from hand_supervisor import HandSupervisor
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from replica_world import World
from tries import tries

from piecework.backoff import Pauses
from piecework.client import Invalid
from piecework.protocol.codes import Code
from piecework.protocol.ids import Id
from piecework.protocol.messages import Grants, Limits, ReplicaOrder, ReplicaState, WorkerRegister
from piecework.worker_agent.cache import BlobCache
from piecework.worker_agent.config.settings import Settings
from piecework.worker_agent.errors import AgentError
from piecework.worker_agent.host import ReplicaHost
from piecework.worker_agent.link.link import Link
from piecework.worker_agent.link.membership import Membership
from piecework.worker_agent.link.shared import Pace, Shared
from piecework.worker_agent.link.state import StateDirectory
from piecework.worker_agent.replicas.code import CodeStore
from piecework.worker_agent.replicas.launcher import ReplicaSpec
from piecework.worker_agent.replicas.orders import LOG_PART_BYTES, LONGEST_PAUSE_S, REFUSED_PAUSE_S, Orders
from piecework.worker_agent.replicas.recordings import Recordings


def order(number, **fields):
    given = {
        "id": Id(number),
        "function": "hola",
        "revision": "blue",
        "lambda_": Id(1),
        "runtime": "capsule",
        "codex": Id(2),
        "codex_checksum": "0" * 64,
        "codex_size": 8,
        "token": "secret",
    }
    return ReplicaOrder(**{**given, **fields})


class Waits(threading.Event):
    """Notes for how long somebody would wait."""

    def __init__(self):
        super().__init__()
        self.pauses = []

    def wait(self, timeout=None):
        self.pauses.append(timeout)
        return self.is_set()


class Node:
    """A node between a server in memory and processes made of nothing."""

    def __init__(self, folder, slots=4):
        self.clock, self.world = HandClock(1000.0, per_s=1), World()
        self.server = FakeControlServer(self.clock)
        self.stop = Waits()
        self.drained = []
        self.shared = shared = Shared(
            server=self.server,
            pulse_server=self.server,
            link=Link(self.clock),
            new_backoff=lambda: Pauses(lambda: 0.9),
            clock=self.clock,
            pace=Pace(),
            stop=self.stop,
        )
        registration = WorkerRegister(runtime=["wasi"], name="node", slots=1, incarnation="first")
        self.membership = Membership(self.server, "http://server.test", StateDirectory(folder), registration)
        self.supervisor = HandSupervisor(self.world, self.clock)
        self.orders = Orders(
            shared,
            self.membership,
            self.supervisor,
            CodeStore(None, folder, None, self.server),
            Recordings(folder / "calls"),
            host="10.0.0.5",
            find_slots=lambda: slots,
            on_drain=lambda: self.drained.append(True),
        )
        self.orders._wake = Waits()
        self.supervisor.listeners[:] = [self.orders._wake.set]

    @property
    def reports(self):
        return self.server.sent("functions")

    def report(self):
        """Return what the node reports now, by the replicas' ids."""
        self.orders.step()
        return {each.id: each for each in self.reports[-1].replicas}


@pytest.fixture
def node(tmp_path):
    made = Node(tmp_path)
    made.membership.join()
    return made


def test_nothing_is_reported_before_there_is_a_worker(tmp_path):
    node = Node(tmp_path)
    node.orders.step()
    node.orders.leave()
    node.orders.hand_over(0)
    assert node.reports == []


def test_ordered_replica_starts_runs_and_is_reported(node):
    node.server.orders = [order(7)]
    node.orders.step()
    assert (node.reports[0].slots, node.reports[0].replicas, node.reports[0].incarnation) == (4, [], "first")
    assert node.report()[7].state is ReplicaState.STARTING
    node.supervisor.settle(node.clock)
    found = node.report()[7]
    [process] = node.world.processes
    assert (found.state, found.url, found.pid, found.calls) == (
        ReplicaState.RUNNING,
        process.url,
        process.pid,
        process.pid,
    )


def test_replica_gets_all_that_its_order_says(node):
    env, limits, grants = {"A": "1"}, Limits(timeout_s=2.0), Grants(http=["x.test"])
    node.server.orders = [order(7, env=env, args=["a"], limits=limits, grants=grants, mode="json")]
    node.orders.step()
    spec = node.supervisor.added[0].spec
    assert spec.code.checksum == "0" * 64
    assert spec == ReplicaSpec(
        function="hola",
        revision="blue",
        code=spec.code,
        runtime="capsule",
        args=("a",),
        env=env,
        limits=limits,
        grants=grants,
        mode="json",
        token="secret",
        host="10.0.0.5",
    )
    assert "secret" not in repr(spec)


def test_replica_that_is_not_ordered_any_more_is_drained(node):
    node.server.orders = [order(7), order(8)]
    node.orders.step()
    node.supervisor.settle(node.clock)
    node.world.stubborn = True
    node.server.orders = [order(8)]
    node.world.processes[0].stubborn = True
    node.orders.step()
    node.supervisor.step()
    assert node.report()[7].state is ReplicaState.STOPPING
    assert node.world.drained == [node.world.processes[0].pid]
    node.supervisor.settle(node.clock, 100)
    assert node.report().keys() == {8}


def test_failure_is_reported_with_its_reason(node):
    node.server.orders = [order(7)]
    node.world.refuses = "no port is free"
    node.orders.step()
    node.supervisor.settle(node.clock, 1)
    found = node.report()[7]
    assert (found.state, found.error, found.failures) == (ReplicaState.FAILED, "no port is free", 1)


def test_each_byte_of_the_log_is_sent_once_also_when_an_answer_was_lost(node):
    node.server.orders = [order(7)]
    node.orders.step()
    node.supervisor.added[0].log.write(b"one\n")
    node.server.fail_once("functions", unreachable())
    assert (node.report()[7].log, node.report()[7].log) == (b"one\n", b"one\n")
    node.supervisor.added[0].log.write(b"two\n")
    found = node.report()[7]
    assert (found.log, found.log_start) == (b"two\n", 4)
    assert node.report()[7].log == b""


def test_newest_part_of_a_flood_is_sent(node):
    node.server.orders = [order(7)]
    node.orders.step()
    node.supervisor.added[0].log.write(b"x" * LOG_PART_BYTES + b"end")
    found = node.report()[7]
    assert (len(found.log), found.log_start) == (LOG_PART_BYTES, 3)


def test_replicas_go_on_while_the_server_is_away(node):
    node.server.orders = [order(7)]
    node.orders.step()
    node.supervisor.settle(node.clock)
    node.server.away = True
    for _ in range(10):
        node.orders.step()
        node.supervisor.step()
    assert len(node.world.alive) == 1
    assert 0 < max(node.stop.pauses) <= LONGEST_PAUSE_S
    node.server.away = False
    assert node.report()[7].state is ReplicaState.RUNNING


def test_worker_that_the_server_forgot_registers_again(node):
    before = node.membership.worker_id
    node.server.forget_workers()
    node.orders.step()
    assert node.membership.worker_id != before
    node.server.orders = [order(7)]
    node.orders.step()
    assert len(node.supervisor.added) == 1


def test_server_that_refuses_reports_is_not_asked_all_the_time(node):
    node.server.fail_once("functions", Invalid(422, Code.INVALID, "no"))
    node.orders.step()
    assert node.stop.pauses == [REFUSED_PAUSE_S]


def test_change_of_a_replica_is_reported_at_once(node):
    node.server.orders = [order(7)]
    node.orders.step()
    assert not node.orders._wake.is_set()
    node.supervisor.settle(node.clock, 2)
    assert node.orders._wake.is_set()


def test_host_that_leaves_keeps_what_the_server_still_orders_and_takes_no_more(node):
    node.server.orders = [order(7), order(8)]
    node.orders.step()
    node.supervisor.settle(node.clock)
    node.orders.leave()
    node.server.orders = [order(7), order(9)]
    node.orders.step()
    last = node.reports[-1]
    assert (last.slots, [each.state for each in last.replicas]) == (0, [ReplicaState.RUNNING] * 2)
    node.supervisor.settle(node.clock)
    assert [post.key for post in node.supervisor.replicas()] == ["order-7"]
    assert not node.orders._released.is_set()
    node.server.orders = []
    node.orders.step()
    assert node.orders._released.is_set()


def test_what_the_server_orders_for_too_long_ends_and_the_server_knows(node):
    node.server.orders = [order(7)]
    node.orders.step()
    node.supervisor.settle(node.clock)
    node.orders.leave()
    node.orders.hand_over(0)
    last = node.reports[-1]
    assert (last.slots, [each.state for each in last.replicas]) == (0, [ReplicaState.STOPPING])
    node.orders.step()
    assert node.reports[-1] is last, "it has left"


@pytest.fixture
def host(node, tmp_path):
    cache = BlobCache(tmp_path / "blobs", capacity_bytes=1)
    return ReplicaHost(Settings(functions=3), tmp_path, cache, {}, node.shared, node.membership, lambda: None)


def test_host_that_stops_tells_the_server_first(node, host):
    host.withdraw()
    host.stop()
    assert [report.slots for report in node.reports] == [0]


def test_host_that_stops_waits_for_others_as_long_as_jobs_may_run(node, host):
    host._orders, node.orders._released = node.orders, Waits()
    node.server.orders = [order(7)]
    node.orders.step()
    host.withdraw()
    node.clock.now += 10
    host.stop()
    assert node.orders._released.pauses == [20.0]


def test_leaving_does_not_need_the_server(node):
    node.server.orders = [order(7)]
    node.orders.step()
    node.server.away = True
    node.orders.leave()
    node.orders.step()
    assert node.orders._released.is_set(), "it does not wait for a server that does not answer"
    node.orders.hand_over(0)
    assert [report.slots for report in node.reports] == [4, 0, 0], "it tried once more"


def test_operator_who_drains_the_worker_is_obeyed(node):
    node.server.drain_all()
    node.orders.step()
    assert node.drained == [True]


def test_what_was_deployed_on_the_node_itself_is_not_the_servers(node):
    post = node.supervisor.add("local", ReplicaSpec(function="f", revision="r", code=None))
    node.orders.step()
    assert node.reports[0].replicas == []
    assert post in node.supervisor.replicas()


def test_code_that_cannot_be_fetched_is_the_reason_of_a_failure(node, tmp_path):
    codes = CodeStore(BlobCache(tmp_path / "blobs", capacity_bytes=2**20), tmp_path, None, node.server)
    with pytest.raises(AgentError, match=r"its code cannot be fetched: .*"):
        codes.of_server(Id(99), "0" * 64).acquire()


class Histories(RuleBasedStateMachine):
    """Orders change, answers get lost, processes die: in the end exactly what is ordered runs."""

    folder: Path

    def __init__(self):
        super().__init__()
        self.node = Node(self.folder)
        self.node.membership.join()

    @rule(numbers=st.sets(st.integers(1, 6), max_size=4))
    def order(self, numbers):
        self.node.server.orders = [order(number) for number in sorted(numbers)]

    @rule()
    def exchange(self):
        self.node.orders.step()

    @rule()
    def lose_answer(self):
        self.node.server.lose_answer("functions")

    @rule(away=st.booleans())
    def turn_server(self, away):
        self.node.server.away = away

    @rule()
    def forget(self):
        self.node.server.forget_workers()

    @rule(steps=st.integers(1, 5))
    def live(self, steps):
        self.node.supervisor.settle(self.node.clock, steps)

    @rule()
    def kill(self):
        for process in self.node.world.processes[-2:]:
            process.alive = False

    @rule(stubborn=st.booleans())
    def change(self, stubborn):
        self.node.world.stubborn = stubborn

    @invariant()
    def no_more_processes_than_replicas(self):
        assert len(self.node.world.alive) <= len(self.node.supervisor.replicas())

    def teardown(self):
        self.node.server.away = False
        self.node.server._faults.clear()
        for _ in range(4):
            self.node.orders.step()
            self.node.supervisor.settle(self.node.clock, 100)
        ordered = {int(each.id) for each in self.node.server.orders}
        assert {int(each) for each in self.node.report()} == ordered
        assert all(each.url for each in self.node.reports[-1].replicas)
        assert len(self.node.world.alive) == len(ordered)


def test_no_history_loses_a_replica_or_runs_more_than_is_ordered(tmp_path):
    Histories.folder = tmp_path
    run_state_machine_as_test(
        Histories, settings=settings(max_examples=tries(60), stateful_step_count=25, deadline=None)
    )
