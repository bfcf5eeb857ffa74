import os

import pytest
from fake_control_server import unreachable

from piecework.client import Busy, NotFound, ServerUnreachable
from piecework.protocol.ids import Id
from piecework.protocol.messages import WorkerRegister
from piecework.worker_agent.link.membership import Membership
from piecework.worker_agent.link.state import StateDirectory, StateError

URL = "http://server.test"


@pytest.fixture
def state(tmp_path):
    with StateDirectory(tmp_path / "new" / "state") as state:
        yield state


def registration(**fields):
    return WorkerRegister(**{"runtime": ["wasi"], "name": "n", "incarnation": "first", **fields})


def join(server, state, **fields):
    membership = Membership(server, URL, state, registration(**fields))
    membership.join()
    return membership


def test_second_agent_in_a_state_directory_is_told_who_has_it(state):
    with pytest.raises(StateError, match=rf"process {os.getpid()}.*--state"):
        StateDirectory(state.path).open()


def test_state_directory_can_be_used_again_after_closing(state):
    state.close()
    state.close()
    again = StateDirectory(state.path).open()
    with pytest.raises(StateError, match=f"process {os.getpid()}"):
        StateDirectory(state.path).open()
    again.close()


def test_state_directory_that_is_a_file_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="cannot use the state directory"):
        StateDirectory(tmp_path / "file").open()


def test_worker_id_is_found_again_for_the_same_server(state):
    state.keep_worker(URL, "digest", Id(7))
    state.keep_worker("http://other.test", "another", Id(8))
    assert state.find_worker(URL) == (7, "digest")
    assert state.find_worker("http://other.test") == (8, "another")
    assert state.find_worker("http://third.test") is None


def test_keeping_a_worker_id_leaves_no_half_written_file(state):
    state.keep_worker(URL, "digest", Id(7))
    state.keep_worker(URL, "digest", Id(8))
    assert state.find_worker(URL) == (8, "digest")
    assert sorted(path.suffix for path in state.path.iterdir()) == ["", ".json"]


@pytest.mark.parametrize("content", [b"", b"{}", b"not json", b'{"server":"x","worker":"y","registration":"z"}'])
def test_broken_worker_file_means_registering_anew(state, content, log):
    state.keep_worker(URL, "digest", Id(7))
    next(state.path.glob("worker-*.json")).write_bytes(content)
    assert state.find_worker(URL) is None
    assert log[0]["event"].startswith("worker id file cannot be read")


def test_first_start_registers_and_the_next_one_does_not(server, state):
    first = join(server, state).worker_id
    second = join(server, state, incarnation="second").worker_id
    assert first == second
    assert len(server.sent("register")) == 1


def test_new_start_makes_itself_known_so_that_old_leases_end(server, state):
    worker = join(server, state).worker_id
    job = server.add_job()
    server.contract(worker, server.sent("contract")[0] if server.sent("contract") else contract(1))
    assert server.jobs[job].lease
    join(server, state, incarnation="second")
    assert server.workers[worker].incarnation == "second"
    assert not server.jobs[job].lease


def contract(room):
    from piecework.protocol.messages import ContractRequest

    return ContractRequest(max=room, incarnation="first")


@pytest.mark.parametrize("change", [{"tags": ["gpu"]}, {"runtime": ["default"]}, {"slots": 4}, {"name": "other"}])
def test_agent_that_offers_something_else_keeps_its_id(server, state, change):
    first = join(server, state).worker_id
    assert join(server, state, incarnation="second", **change).worker_id == first
    assert server.workers[first].registered == registration(incarnation="second", known_as=first, **change)
    assert join(server, state, incarnation="third", **change).worker_id == first
    assert len(server.sent("register")) == 2, "what it offers is known by now"


@pytest.mark.parametrize("lose", ["forget_workers", "retire"])
def test_server_that_does_not_know_the_worker_gets_a_new_registration(server, state, lose):
    first = join(server, state).worker_id
    if lose == "retire":
        server.workers[first].retired = True
    else:
        server.forget_workers()
    assert join(server, state).worker_id != first
    assert len(server.sent("register")) == 2


def test_another_refusal_of_the_known_worker_is_passed_on(server, state):
    join(server, state)
    server.fail_once("contract", NotFound(404, 10, "no such path"))
    with pytest.raises(NotFound):
        join(server, state)
    server.fail_once("contract", Busy(503, 9, "away"))
    with pytest.raises(Busy):
        join(server, state)


def test_only_one_of_many_threads_registers_again(server, state):
    membership = join(server, state)
    stale = membership.worker_id
    server.forget_workers()
    membership.renew(stale)
    fresh = membership.worker_id
    membership.renew(stale)
    assert membership.worker_id == fresh != stale
    assert len(server.sent("register")) == 2


def test_registering_at_a_server_that_is_away_raises(server, state):
    server.fail_once("register", unreachable())
    with pytest.raises(ServerUnreachable):
        join(server, state)


def test_worker_id_that_cannot_be_kept_is_used_all_the_same(server, state, log):
    state.path.joinpath("lock").unlink()
    state.path.rmdir()
    membership = join(server, state)
    assert membership.worker_id in server.workers
    assert "worker id not kept, the next start will register anew" in [line["event"] for line in log]
