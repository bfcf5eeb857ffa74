"""Real processes under a supervisor: the stand-in keeps the promises of ``worker-agent serve``."""

import http.client
import os
import signal
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import stand_in_replica
from patience import PATIENCE_S, until

from piecework.protocol.messages import Grants, Limits, ReplicaState
from piecework.worker_agent.replicas.launcher import Launcher, Node, ReplicaSpec, list_arguments
from piecework.worker_agent.replicas.ports import Ports
from piecework.worker_agent.replicas.replica import Times
from piecework.worker_agent.replicas.supervisor import Supervisor

pytestmark = pytest.mark.integration

PROGRAM = (sys.executable, stand_in_replica.__file__)


class FileCode:
    """Code that lies there."""

    checksum = "0" * 64

    def __init__(self, path):
        self.path = path
        self.held = 0

    def acquire(self):
        self.held += 1
        return self.path

    def release(self):
        self.held -= 1


@pytest.fixture
def code(tmp_path):
    path = tmp_path / "code"
    path.write_bytes(b"\0asm\1\0\0\0")
    return FileCode(path)


@pytest.fixture
def node():
    ports = Ports(21_000 + os.getpid() % 1000 * 10)
    return Node(ports=ports, program=PROGRAM, kv_environ={"PIECEWORK_TOKEN": "of-the-agent"})


@pytest.fixture
def supervisor(node):
    made = Supervisor(partial(Launcher, node), time.monotonic, Times(look_s=0.05, drain_s=0.3))
    yield made
    assert made.stop(10)


@pytest.fixture
def add(supervisor, code):
    """Return a function that adds a replica and waits until it runs."""

    def add_replica(key="a", *, runs=True, token="", grants=None, **env):
        spec = ReplicaSpec(function="hola", revision="blue", code=code, env=env, token=token, grants=grants)
        post = supervisor.add(key, spec)
        if runs:
            until(lambda: post.replica.state is ReplicaState.RUNNING)
        return post

    return add_replica


def call(post, method="GET", path="/", body=None):
    connection = http.client.HTTPConnection(post.replica.url.removeprefix("http://"), timeout=PATIENCE_S)
    connection.request(method, path, body)
    answer = connection.getresponse().read().decode()
    connection.close()
    return answer


def test_replica_serves_with_its_environment(add):
    assert call(add(MESSAGE="hé")) == "hé"


def test_secrets_are_on_no_command_line(add):
    post = add(TOKEN="DFRE46H5K", token="between-proxy-and-replica")
    words = Path(f"/proc/{post.replica.pid}/cmdline").read_bytes()
    assert b"DFRE46H5K" not in words
    assert b"between-proxy-and-replica" not in words
    assert call(post) == "no token"


def test_only_replicas_with_namespaces_get_the_agents_token(add):
    for key, grants, is_given in (("a", Grants(kv=["7"]), True), ("b", Grants(env=["HOME"]), False)):
        environ = Path(f"/proc/{add(key, grants=grants).replica.pid}/environ").read_bytes()
        assert (b"PIECEWORK_TOKEN=of-the-agent" in environ) == is_given


def test_replica_says_how_it_does(add):
    post = add(token="t")
    until(lambda: post.replica.figures.p99_ms is not None)
    assert post.replica.figures.p99_ms == 2.5


def test_killed_replica_is_replaced_on_the_same_port(add):
    post = add()
    url, pid = post.replica.url, post.replica.pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: post.replica.pid != pid and post.replica.url is not None)
    assert post.replica.url == url
    assert post.replica.error == "it ended: SIGKILL"
    assert not Path(f"/proc/{pid}").exists(), "it was reaped"


@pytest.mark.parametrize("system", ["tells deaths", "does not"])
def test_death_is_noticed_at_once(node, code, system, monkeypatch):
    if system == "does not":
        monkeypatch.delattr(os, "pidfd_open")
    slow = Supervisor(partial(Launcher, node), time.monotonic, Times(look_s=3600))
    post = slow.add("a", ReplicaSpec(function="hola", revision="blue", code=code))
    until(lambda: post.replica.url is not None)
    os.kill(post.replica.pid, signal.SIGKILL)
    until(lambda: post.replica.failures == 1)
    assert slow.stop(10)


def test_replica_that_hangs_is_replaced(add):
    post = add()
    pid = int(call(post, "POST", "/become/deaf"))
    until(lambda: post.replica.pid != pid)
    assert "did not answer GET /health 3 times" in post.replica.error


def test_last_words_are_the_reason(add):
    post = add(runs=False, STAND_IN="exit")
    until(lambda: post.replica.failures > 1)
    assert post.replica.error == "it ended: exit code 1; Error: the module loops"


def test_log_of_the_function_is_kept_and_bounded(add):
    post = add()
    call(post, "POST", "/log", b"hola")
    until(lambda: post.log.read()[1].endswith(b"hola\n"))
    call(post, "POST", "/log", b"x" * 300_000)
    until(lambda: post.log.total > 300_000)
    offset, kept = post.log.read()
    assert len(kept) == 64 * 1024
    assert offset + len(kept) == post.log.total


def test_log_goes_on_with_the_next_process(add):
    post = add()
    call(post, "POST", "/log", b"one")
    until(lambda: post.log.total > 0)
    os.kill(post.replica.pid, signal.SIGKILL)
    until(lambda: post.replica.failures == 1 and post.replica.url is not None)
    call(post, "POST", "/log", b"two")
    until(lambda: post.log.read()[1].endswith(b"two\n"))
    assert post.log.read()[1] == b"one\ntwo\n"


def test_removed_replica_ends_and_lets_go_of_its_code(add, supervisor, code):
    post = add()
    assert code.held == 1
    supervisor.remove("a", "unknown")
    assert supervisor.wait_for(lambda: not supervisor.replicas(), 10)
    until(lambda: code.held == 0)
    assert not Path(f"/proc/{post.replica.pid}").exists()


def test_replica_that_does_not_end_is_killed(add, supervisor):
    pid = add(STAND_IN="stubborn").replica.pid
    assert supervisor.stop(10)
    assert not Path(f"/proc/{pid}").exists()


def test_replicas_stop_together(add, supervisor):
    posts = [add(str(n), runs=False) for n in range(3)]
    until(lambda: all(post.replica.url for post in posts))
    assert len({post.replica.url for post in posts}) == 3
    assert supervisor.stop(10)
    assert supervisor.replicas() == []


def test_environment_too_large_for_a_pipe_is_a_failure(add):
    post = add(runs=False, MESSAGE="x" * 60_000)
    until(lambda: post.replica.failures > 0)
    assert "its environment has 600" in post.replica.error


def test_command_line_says_what_a_replica_may(node, code):
    spec = ReplicaSpec(
        function="f",
        revision="r",
        code=code,
        limits=Limits(timeout_s=2.5, memory_bytes=64 * 2**20, fuel=1000),
        grants=Grants(http=["x.test"]),
        runtime="wasi",
        args=("--loud", "x"),
    )
    assert list_arguments(spec, Path("/code"), replace(node, allowances=("--allow-http", "x.test")), 10_001) == [
        *(
            "serve",
            "/code",
            "--die-with-parent",
            "--allow-http",
            "x.test",
            "--host",
            "127.0.0.1",
            "--port",
            "10001",
        ),
        *("--env-file", "-", "--runtime", "wasi", "--handler", "http", "--timeout", "2.5", "--memory", "64"),
        *("--fuel", "1000", "--grants", '{"http":["x.test"]}', "--", "--loud", "x"),
    ]


@pytest.mark.parametrize(
    ("host", "token", "is_open"),
    [("127.0.0.1", "", False), ("10.0.0.5", "", True), ("10.0.0.5", "secret", False)],
)
def test_only_what_everybody_may_call_is_open(node, code, host, token, is_open):
    spec = ReplicaSpec(function="f", revision="r", code=code, host=host, token=token)
    words = list_arguments(spec, Path("/code"), node, 10_001)
    assert ("--open" in words) is is_open
    assert "secret" not in words
