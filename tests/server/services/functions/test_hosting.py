"""Hosts report, replicas find hosts, dead hosts lose theirs."""

import tempfile
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from house import House
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tries import tries

from piecework.protocol.messages import FunctionReport
from piecework.server.services.functions.hosting import BLIND_MS, HostVisibility
from piecework.server.services.functions.routing import HOST_SILENT_MS

WASM = (Path(__file__).parents[4] / "samples" / "echo.wasm").read_bytes()


class Node:
    """A host as a test plays it: it does what it is told, and says so with its next report."""

    def __init__(self, house: House, *runtimes: str, slots: int = 4, **fields: Any) -> None:
        self.house = house
        self.slots = slots
        self.id = house.new_worker(*runtimes or ("wasi",), **fields)
        self.running: dict[str, Any] = {}
        self.drain = False

    def report(self, **fields: Any) -> list[dict[str, Any]]:
        """Report all as running, with these fields for each, and start and stop what the answer says."""
        said = [
            {"id": each, "state": "running", "url": f"http://node:{int(each) % 50_000}", "pid": 1} | fields
            for each in self.running
        ]
        body = {"slots": self.slots, "replicas": said}
        reply = self.house.call("POST", f"/worker/{self.id}/functions", body)
        self.running = {each["id"]: each for each in reply["replicas"]}
        self.drain = reply["drain"]
        return reply["replicas"]


def upload(house: House) -> str:
    return house.call("POST", "/data", data=WASM, content_type="application/octet-stream")["id"]


def deploy(house: House, replicas: int = 1, name: str = "hola/blue", **fields: Any) -> dict[str, Any]:
    body = {"codex": upload(house), "replicas": replicas} | fields
    return house.call("PUT", f"/deployments/{name}", body)


def replicas_of(house: House, function: str = "hola") -> list[dict[str, Any]]:
    [revision] = house.call("GET", f"/deployments/{function}")["revisions"]
    return revision["replicas"]


def nodes_with(house: House, replicas: int) -> list[Node]:
    """Return two hosts that share the replicas of a function."""
    nodes = [Node(house), Node(house)]
    for node in nodes:
        node.report()
    deploy(house, replicas)
    for node in nodes:
        assert len(node.report()) >= replicas // 2
        node.report()
    return nodes


def test_an_order_has_all_that_a_host_needs_to_run_a_replica(house: House):
    deploy(house, args=["-v"], env={"TOKEN": "s"}, limits={"timeout_s": 5}, grants={"redis": True})
    [order] = Node(house).report()
    assert (order["function"], order["revision"], order["runtime"], order["mode"]) == (
        "hola", "blue", "wasi", "http",
    )  # fmt: skip
    assert (order["args"], order["env"], order["grants"]) == (["-v"], {"TOKEN": "s"}, {"redis": True})
    assert order["limits"]["timeout_s"] == 5
    assert order["limits"]["memory_bytes"] == house.services.settings.memory_bytes
    assert order["codex_size"] == len(WASM)
    assert house.fetch(f"/data/{order['codex']}/blob").data == WASM
    assert len(order["token"]) == 32


def test_orders_stay_the_same_and_what_a_host_says_is_seen(house: House):
    deploy(house, 2)
    node = Node(house, name="kitchen")
    first = node.report()
    assert node.report(calls=3, errors=1, p50_ms=2.5, p99_ms=7) == first
    [one, _] = replicas_of(house)
    assert one == one | {
        "state": "running", "worker_name": "kitchen", "pid": 1, "calls": 3, "errors": 1, "p50_ms": 2.5,
        "p99_ms": 7.0,
    }  # fmt: skip


def test_replicas_of_an_agent_that_died_go_to_another_host_when_its_time_is_over(house: House):
    dying, other = nodes_with(house, 3)
    lost = set(dying.running)
    for _ in range(HOST_SILENT_MS // 1000):
        house.clock.forward(1)
        assert len(other.report()) < 3
    house.clock.forward(0.001)
    assert len(other.report()) == 3
    assert {each["worker"] for each in replicas_of(house)} == {other.id}
    assert not lost & {each["id"] for each in dying.report()}


def test_without_any_report_the_timekeeper_takes_the_replicas_of_the_dead_away(house: House):
    deploy(house, 1)
    Node(house).report()
    for _ in range(3):
        house.clock.forward(HOST_SILENT_MS / 1000 / 2)
        house.services.hosting.look_around()
    assert replicas_of(house) == []


def test_after_a_pause_of_the_server_itself_no_host_counts_as_dead(house: House):
    nodes = nodes_with(house, 2)
    before = [node.report() for node in nodes]
    house.clock.forward(60)
    assert [node.report() for node in nodes] == before


def test_a_server_that_starts_gives_every_host_its_full_time(house: House):
    nodes = nodes_with(house, 2)
    before = [node.report() for node in nodes]
    house.clock.forward(60)
    house.restart()
    assert [node.report() for node in nodes] == before


def test_a_host_that_has_yet_to_show_that_it_lives_gets_nothing_new(house: House):
    silent, other = nodes_with(house, 2)
    house.clock.forward(60)
    house.restart()
    house.call("PATCH", "/deployments/hola/blue", {"replicas": 4})
    assert len(other.report()) == 3
    assert Counter(each["worker"] for each in replicas_of(house)) == {silent.id: 1, other.id: 3}


def routes(house: House) -> list[str]:
    return [target.url for target in house.services.routing.get_function("hola").revisions["blue"].targets]


def test_calls_go_to_a_replica_from_the_report_on_that_it_runs_until_the_one_that_it_does_not(house: House):
    deploy(house)
    node = Node(house)
    node.report()
    assert routes(house) == []
    node.report()
    assert len(routes(house)) == 1
    node.report(url="http://node:2")
    assert routes(house) == ["http://node:2"]
    node.report(state="failed", url=None)
    assert routes(house) == []


def test_calls_go_no_more_to_replicas_that_somebody_took_away(house: House):
    node, _ = nodes_with(house, 2)
    assert len(routes(house)) == 2
    house.call("PATCH", "/deployments/hola/blue", {"replicas": 1})
    assert len(routes(house)) == 1
    house.call("PATCH", "/deployments/hola/blue", {"replicas": 0})
    assert routes(house) == []
    assert node.running


def test_replicas_that_are_too_many_are_not_in_the_next_orders(house: House):
    deploy(house, 3)
    node = Node(house)
    first = node.report()
    house.call("PATCH", "/deployments/hola/blue", {"replicas": 1})
    assert node.report() == first[:1]
    house.call("DELETE", "/deployments/hola")
    assert node.report() == []


def test_a_host_that_drains_is_told_and_keeps_a_replica_until_another_host_runs_it(house: House):
    leaving, other = nodes_with(house, 2)
    house.call("POST", f"/worker/{leaving.id}/drain")
    assert len(leaving.report()) == 1
    assert leaving.drain
    assert len(other.report()) == 2
    assert len(leaving.report()) == 1, "its replacement has yet to start"
    other.report()
    assert leaving.report() == []


def test_a_host_that_drains_gives_its_replicas_up_at_once_when_nobody_has_room(house: House):
    leaving, other = nodes_with(house, 2)
    other.slots = 1
    other.report()
    house.call("POST", f"/worker/{leaving.id}/drain")
    assert leaving.report() == []


def test_a_retired_host_keeps_nothing(house: House):
    retired, other = nodes_with(house, 2)
    house.call("DELETE", f"/worker/{retired.id}")
    assert {each["worker"] for each in replicas_of(house)} >= {retired.id}
    other.report()
    assert [each["worker"] for each in replicas_of(house)] == [other.id, other.id]


def test_a_host_without_slots_gives_its_replicas_up(house: House):
    leaving, other = nodes_with(house, 2)
    leaving.slots = 0
    assert len(leaving.report()) == 1
    assert len(other.report()) == 2
    other.report()
    assert leaving.report() == []


def test_a_replica_that_fails_five_times_moves_to_a_host_with_room(house: House):
    deploy(house)
    broken = Node(house)
    broken.report()
    other = Node(house)
    other.report()
    failing = {"state": "failed", "url": None, "error": "exit code 1"}
    assert len(broken.report(**failing, failures=4)) == 1
    assert replicas_of(house)[0]["error"] == "exit code 1"
    assert broken.report(**failing, failures=5) == []
    assert len(other.report()) == 1


def test_a_replica_that_fails_everywhere_stays_when_there_is_no_other_host(house: House):
    deploy(house)
    broken = Node(house)
    broken.report()
    assert len(broken.report(state="failed", url=None, error="exit code 1", failures=9)) == 1


def test_a_replica_that_its_agent_lost_starts_again_on_the_same_host(house: House):
    deploy(house)
    node = Node(house)
    [order] = node.report()
    node.report()
    node.running = {}
    assert [each["id"] for each in node.report()] == [order["id"]]
    [replica] = replicas_of(house)
    assert replica["state"] == "starting"
    assert "url" not in replica


def test_replicas_that_the_server_does_not_know_are_ignored(house: House):
    node = Node(house)
    node.running = {"123": {}}
    assert node.report() == []


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ({"slots": -1}, "slots"),
        ({"slots": 1, "replicas": [{"id": "1", "state": "running"}]}, "has no url"),
        ({"slots": 1, "replicas": [{"id": "1", "state": "running", "url": "ftp://h"}]}, "ftp://h"),
        ({"slots": 1, "replicas": [{"id": "1", "state": "asleep"}]}, "state"),
        ({"slots": 1, "replicas": [{"id": "1", "state": "failed", "pid": 2**40}]}, "pid"),
    ],
)
def test_a_report_that_makes_no_sense_is_refused(house: House, body, part):
    worker = house.new_worker()
    assert part in house.call("POST", f"/worker/{worker}/functions", body, status=422)["message"]


def test_reports_of_workers_that_are_none_tell_them_to_register(house: House):
    assert house.call("POST", "/worker/99/functions", {"slots": 1}, status=404)["code"] == 801
    worker = house.new_worker()
    house.call("DELETE", f"/worker/{worker}")
    assert house.call("POST", f"/worker/{worker}/functions", {"slots": 1}, status=404)["code"] == 802


def test_hosts_that_report_at_the_same_time_get_no_replica_twice(house: House):
    deploy(house, 8)
    nodes = [Node(house, slots=4) for _ in range(4)]
    start = threading.Barrier(len(nodes))

    def report(node: Node) -> list[str]:
        start.wait()
        told = house.services.hosting.report(int(node.id), FunctionReport(slots=4))
        return [str(int(each.id)) for each in told.replicas]

    with ThreadPoolExecutor(len(nodes)) as pool:
        list(pool.map(report, nodes))
    assert len(replicas_of(house)) == 8
    told = [each["id"] for node in nodes for each in node.report()]
    assert sorted(told) == sorted({each["id"] for each in replicas_of(house)})


def test_a_host_has_its_time_from_when_the_server_began_to_look_and_after_each_break_anew():
    assert 2 * BLIND_MS == HOST_SILENT_MS
    now = 1
    visibility = HostVisibility(lambda: now)
    assert visibility.look() == 0
    now += BLIND_MS
    assert visibility.look() == 0
    now += BLIND_MS
    assert visibility.look() == 1
    now += BLIND_MS
    assert visibility.look() == 1 + BLIND_MS
    now += BLIND_MS + 1
    assert visibility.look() == 0


class Nodes(RuleBasedStateMachine):
    """Deploys, scales, kills hosts and lets time pass, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.house = House(Path(self.folder.name))
        self.wanted: dict[str, int] = {}

    def teardown(self) -> None:
        self.settle()
        self.house.close()
        self.folder.cleanup()

    @initialize()
    def furnish(self) -> None:
        self.nodes = [Node(self.house, slots=3) for _ in range(3)]
        self.alive = [True, True, True]

    @rule(name=st.sampled_from(["hola/blue", "hola/green", "hey/blue"]), replicas=st.integers(0, 4))
    def deploy(self, name, replicas):
        deploy(self.house, replicas, name)
        self.wanted[name] = replicas

    @rule(name=st.sampled_from(["hola/blue", "hola/green", "hey/blue"]))
    def undeploy(self, name):
        status = 200 if name in self.wanted else 404
        self.house.call("DELETE", f"/deployments/{name}?force=true", status=status)
        self.wanted.pop(name, None)

    @rule(which=st.integers(0, 2), state=st.sampled_from(["running", "failed"]), failures=st.integers(0, 6))
    def report(self, which, state, failures):
        if self.alive[which]:
            url = "http://h:1" if state == "running" else None
            self.nodes[which].report(state=state, url=url, failures=failures if url is None else 0)

    @rule(which=st.integers(0, 2))
    def die(self, which):
        self.alive[which] = False

    @rule(which=st.integers(0, 2))
    def come_back(self, which):
        self.alive[which] = True
        self.nodes[which].running = {}

    @rule(seconds=st.sampled_from([0.5, 2, 5.5]))
    def wait(self, seconds):
        self.house.clock.forward(seconds)
        self.house.services.hosting.look_around()

    @invariant()
    def nothing_is_too_much(self):
        rows = self.house.call("GET", "/functions")["functions"]
        shown = {f"{function['name']}/{each['name']}": each for function in rows for each in function["revisions"]}
        assert shown.keys() == self.wanted.keys()
        for name, each in shown.items():
            assert len(each["replicas"]) <= each["wanted"] == self.wanted[name]

    def settle(self):
        """After some quiet turns everything runs for which there is room, on hosts that live."""
        for _ in range(12):
            self.house.clock.forward(1)
            self.house.services.hosting.look_around()
            told = [node.report() if alive else [] for node, alive in zip(self.nodes, self.alive, strict=True)]
        room = 3 * sum(self.alive)
        assert sum(map(len, told)) == min(room, sum(self.wanted.values()))
        hosts = {
            each["worker"]
            for function in self.house.call("GET", "/functions")["functions"]
            for revision in function["revisions"]
            for each in revision["replicas"]
        }
        assert hosts <= {node.id for node, alive in zip(self.nodes, self.alive, strict=True) if alive}


TestNodes = Nodes.TestCase
TestNodes.settings = settings(
    max_examples=tries(40), stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
