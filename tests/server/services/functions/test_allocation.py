"""Which host gets which replica."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from hypothesis import given, strategies as st

from piecework.protocol.matching import TagSet
from piecework.protocol.messages import ReplicaState
from piecework.server.services.functions.allocation import AllocationPlan, HostState, allocate
from piecework.server.store.functions.replicas import ReplicaRow, WantedRevision

RUNTIMES = ("wasi", "capsule", "capsule+redis")


def wanted(revision: str = "blue", replicas: int = 1, runtime: str = "wasi", *tags: str) -> WantedRevision:
    return WantedRevision("hola", revision, replicas, 1, runtime, TagSet.parse(tags))


def host(
    worker: int, slots: int = 4, *runtimes: str, tags: tuple[str, ...] = (), is_open: bool = True
) -> HostState:
    return HostState(worker, slots, runtimes or ("wasi",), frozenset(tags), is_open)


def replica(id_: int, worker: int, revision: str = "blue", **fields: Any) -> ReplicaRow:
    defaults = {
        "state": ReplicaState.RUNNING, "url": "http://h", "pid": 1, "token": "t", "error": "", "calls": 0,
        "errors": 0, "p50_ms": None, "p99_ms": None, "since": 0,
    }  # fmt: skip
    row = {"id": id_, "function": "hola", "revision": revision, "worker_id": worker}
    return ReplicaRow(**row | defaults | fields)


def added(plan: AllocationPlan) -> list[tuple[str, int]]:
    return [(each.revision, worker) for each, worker in plan.add]


def test_replicas_are_spread_over_hosts_and_then_over_free_slots():
    plan = allocate([wanted(replicas=3)], [host(1), host(2)], [])
    assert added(plan) == [("blue", 1), ("blue", 2), ("blue", 1)]
    assert added(allocate([wanted()], [host(1), host(2)], [replica(9, 1, "green")])) == [("blue", 1)]
    keep_green = [wanted(), wanted("green")]
    assert added(allocate(keep_green, [host(1), host(2)], [replica(9, 1, "green")])) == [("blue", 2)]


def test_when_slots_are_scarce_each_revision_gets_one_in_turn():
    plan = allocate([wanted("blue", 10), wanted("green", 2)], [host(1, 4)], [])
    assert Counter(revision for revision, _ in added(plan)) == {"blue": 2, "green": 2}


def test_what_is_there_stays_where_it_is():
    there = [replica(1, 1), replica(2, 1), replica(3, 1)]
    assert allocate([wanted(replicas=3)], [host(1), host(2)], there) == AllocationPlan(frozenset(), [])


def test_of_too_many_go_first_those_that_do_not_run_then_the_newest():
    there = [replica(1, 1, state=ReplicaState.FAILED), replica(2, 1), replica(3, 2), replica(4, 2)]
    assert allocate([wanted(replicas=2)], [host(1), host(2)], there).drop == {1, 4}
    assert allocate([], [host(1), host(2)], there).drop == {1, 2, 3, 4}


def test_replicas_of_a_dead_host_go_to_another_and_without_one_just_go():
    there = [replica(1, 1), replica(2, 2)]
    assert allocate([wanted(replicas=2)], [host(2)], there) == AllocationPlan(
        frozenset({1}), [(wanted(replicas=2), 2)]
    )
    assert allocate([wanted(replicas=2)], [host(2, 1)], there) == AllocationPlan(frozenset({1}), [])


def test_a_host_that_is_not_open_keeps_its_replicas_and_gets_no_more():
    plan = allocate([wanted(replicas=3)], [host(1, is_open=False), host(2)], [replica(1, 1)])
    assert plan.drop == set()
    assert added(plan) == [("blue", 2), ("blue", 2)]


def test_a_host_with_fewer_slots_than_replicas_gives_the_newest_up_once_another_runs():
    hosts, there = [host(1, 1), host(2)], [replica(1, 1), replica(2, 1), replica(3, 2)]
    assert added(allocate([wanted(replicas=3)], hosts, there)) == [("blue", 2)]
    for state, dropped in (
        (ReplicaState.STARTING, set()),
        (ReplicaState.FAILED, set()),
        (ReplicaState.RUNNING, {2}),
    ):
        plan = allocate([wanted(replicas=3)], hosts, [*there, replica(4, 2, state=state)])
        assert plan == AllocationPlan(frozenset(dropped), [])


def test_a_host_that_leaves_is_lent_only_as_many_replicas_as_start_elsewhere():
    there = [replica(n, 1) for n in (1, 2, 3)]
    plan = allocate([wanted(replicas=3)], [host(1, 0), host(2, 2)], there)
    assert plan.drop == {3}
    assert added(plan) == [("blue", 2)] * 2
    assert allocate([wanted(replicas=3)], [host(1, 0)], there).drop == {1, 2, 3}


def test_what_does_not_run_is_not_kept_where_it_has_to_go():
    starting = replica(1, 1, state=ReplicaState.STARTING)
    assert allocate([wanted()], [host(1, 0), host(2)], [starting]).drop == {1}


def test_runtime_features_and_tags_decide_as_for_jobs():
    hosts = [
        host(1, 4, "wasi"),
        host(2, 4, "capsule"),
        host(3, 4, "capsule+redis", tags=("eu", "slow")),
        host(4, 4, "capsule+redis", tags=("eu",)),
    ]
    assert added(allocate([wanted("blue", 1, "capsule+redis", "+eu", "-slow")], hosts, [])) == [("blue", 4)]
    assert added(allocate([wanted("blue", 1, "capsule", "slow")], hosts, [])) == [("blue", 3)]
    assert added(allocate([wanted("blue", 1, "capsule", "+us")], hosts, [])) == []
    assert allocate([wanted("blue", 1, "capsule")], hosts, [replica(1, 1)]).drop == {1}


def test_a_replica_that_fails_goes_to_another_host_if_one_has_room():
    plan = allocate([wanted(replicas=2)], [host(1), host(2)], [replica(1, 1), replica(2, 2)], failing={1})
    assert plan.drop == {1}
    assert added(plan) == [("blue", 2)]
    assert allocate([wanted()], [host(1), host(2, 0)], [replica(1, 1)], failing={1}) == AllocationPlan(
        frozenset(), []
    )


def test_of_too_many_go_those_that_fail_before_those_that_run_well():
    plan = allocate([wanted()], [host(1), host(2)], [replica(1, 1), replica(2, 2)], failing={1})
    assert plan == AllocationPlan(frozenset({1}), [])


def test_what_is_spread_makes_room_for_what_could_not_be_spread_before():
    hosts = [host(1, 1, "wasi"), host(2, 2, "wasi", "capsule"), host(3, 2, "capsule")]
    there = [
        replica(id_, worker, revision, state=ReplicaState.STARTING)
        for id_, worker, revision in ((1, 2, "green"), (2, 2, "green"), (3, 3, "blue"), (4, 3, "blue"))
    ]
    plan = allocate([wanted("green", 2), wanted("blue", 2, "capsule")], hosts, there)
    assert plan.drop == {2, 4}
    assert added(plan) == [("green", 1), ("blue", 2)]


def test_what_only_starts_is_spread_when_another_host_comes_and_what_runs_stays():
    starting = [replica(n, 1, state=ReplicaState.STARTING) for n in (1, 2, 3)]
    plan = allocate([wanted(replicas=3)], [host(1), host(2)], starting)
    assert plan.drop == {3}
    assert added(plan) == [("blue", 2)]
    assert allocate([wanted(replicas=3)], [host(1), host(2)], [replica(n, 1) for n in (1, 2, 3)]).drop == set()
    tagged = wanted("blue", 3, "wasi", "eu")
    assert allocate([tagged], [host(1, tags=("eu",)), host(2)], starting).drop == set()


wishes = st.builds(
    lambda names, counts, runtimes: [wanted(*each) for each in zip(names, counts, runtimes, strict=False)],
    st.permutations(["blue", "green", "red"]),
    st.lists(st.integers(1, 5), max_size=3),
    st.lists(st.sampled_from(RUNTIMES), min_size=3, max_size=3),
)
machines = st.lists(
    st.builds(
        lambda worker, slots, runtime, is_open: host(worker, slots, runtime, is_open=is_open),
        st.integers(1, 5), st.integers(0, 4), st.sampled_from(RUNTIMES), st.booleans(),
    ),
    max_size=5,
    unique_by=lambda each: each.worker_id,
)  # fmt: skip
places = st.lists(
    st.builds(
        replica, st.integers(1, 99), st.integers(1, 6), st.sampled_from(["blue", "green", "red", "gone"]),
        state=st.sampled_from(ReplicaState),
    ),
    max_size=12,
    unique_by=lambda each: each.id,
)  # fmt: skip


def carry_out(plan: AllocationPlan, there: Sequence[ReplicaRow]) -> list[ReplicaRow]:
    """Return what there is after a plan: what is new only starts."""
    new = enumerate(plan.add, start=100 + max((each.id for each in there), default=0))
    starting = [replica(id_, worker, each.revision, state=ReplicaState.STARTING) for id_, (each, worker) in new]
    return [each for each in there if each.id not in plan.drop] + starting


@given(wishes, machines, places, st.sets(st.integers(1, 99)))
def test_whatever_there_is_becomes_no_more_than_is_wanted_and_only_where_it_may_be(wishes, hosts, there, failing):
    plan = allocate(wishes, hosts, there, failing)
    by_name = {each.name: each for each in wishes}
    by_worker = {each.worker_id: each for each in hosts}
    assert all(by_worker[worker].is_open for _, worker in plan.add)
    after = carry_out(plan, there)
    for runs in (True, False):
        alike = [each for each in after if each.runs is runs]
        for name, count in Counter(each.name for each in alike).items():
            assert count <= by_name[name].replicas, "what is lent is never more than what starts"
    running = [each._replace(state=ReplicaState.RUNNING) for each in after]
    settled = carry_out(allocate(wishes, hosts, running), running)
    for name, count in Counter(each.name for each in settled).items():
        assert count <= by_name[name].replicas
    for worker, count in Counter(each.worker_id for each in settled).items():
        assert count <= by_worker[worker].slots
    assert all(by_worker[each.worker_id].fits(by_name[each.name]) for each in settled)


@given(wishes, machines, places)
def test_one_plan_is_enough_and_leaves_nothing_missing_that_could_be_placed(wishes, hosts, there):
    plan = allocate(wishes, hosts, there)
    after = carry_out(plan, there)
    assert allocate(wishes, hosts, after) == AllocationPlan(frozenset(), [])
    running = [each._replace(state=ReplicaState.RUNNING) for each in after]
    after = carry_out(allocate(wishes, hosts, running), running)
    have, used = Counter(each.name for each in after), Counter(each.worker_id for each in after)
    for each in wishes:
        free = [host for host in hosts if host.is_open and host.fits(each) and used[host.worker_id] < host.slots]
        assert have[each.name] == each.replicas or not free
