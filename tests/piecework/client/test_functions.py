"""Functions, as programs deploy, see and call them."""

import pytest

from piecework.client import Client, Conflict, Invalid, NotFound, NotReady
from piecework.client.functions.functions import find_revision
from piecework.http.exchange import Request
from piecework.protocol.messages import (
    DeploymentLog,
    DeploymentPut,
    FunctionReport,
    ReplicaLog,
    ReplicaReport,
    ReplicaState,
    WorkerRegister,
)


@pytest.fixture
def codex(client):
    return client.upload(b"print(1)").id


@pytest.fixture
def hola(client, codex):
    """A function whose revision ``blue`` is to have one replica of a runtime of its own."""
    name = f"hola-{codex}"
    client.deploy(name, "blue", DeploymentPut(codex=codex, runtime=f"test-{codex}"))
    yield name
    if any(each.name == name for each in client.functions()):
        client.undeploy(name)


class Host:
    """A worker that runs replicas, as the server sees it."""

    def __init__(self, client, runtime):
        self.client = client
        self.id = client.register(WorkerRegister(runtime=[runtime], name="kitchen")).id

    def report(self, state="running", **fields):
        orders = self.client.report_functions(self.id, FunctionReport(slots=4)).replicas
        url = "http://127.0.0.1:1" if state == "running" else None
        said = [ReplicaReport(id=each.id, state=ReplicaState(state), url=url, **fields) for each in orders]
        return self.client.report_functions(self.id, FunctionReport(slots=4, replicas=said)).replicas


def test_a_function_is_deployed_shown_scaled_and_removed(client, hola, codex):
    assert client.deploy(hola, "green", DeploymentPut(codex=codex, runtime=f"test-{codex}")).default == "blue"
    assert find_revision(client.scale(hola, "green", 3), "green").wanted == 3
    assert client.split(hola, {"blue": 3, "green": 1}).split == {"blue": 3, "green": 1}
    assert client.set_default(hola, "green").default == "green"
    assert not client.remove_default(hola).default
    with pytest.raises(Conflict, match="other args"):
        client.deploy(hola, "green", DeploymentPut(codex=codex, runtime=f"test-{codex}", args=["x"]))
    assert client.undeploy(hola, "blue") == f"{hola}/blue is removed"
    assert [each.name for each in client.function(hola).revisions] == ["green"]
    client.undeploy(hola)
    with pytest.raises(NotFound, match="there is no function"):
        client.function(hola)


def test_the_revision_that_calls_go_to_is_removed_by_force(client, hola, codex):
    client.deploy(hola, "green", DeploymentPut(codex=codex, runtime=f"test-{codex}"))
    with pytest.raises(Conflict):
        client.undeploy(hola, "blue")
    assert client.undeploy(hola, "blue", force=True)


def test_names_that_are_none_are_not_sent(client):
    for call in (client.function, client.undeploy, lambda name: client.scale("hola", name, 1)):
        with pytest.raises(ValueError, match="is no name"):
            call("../worker")


def test_one_waits_until_replicas_run(client, hola):
    host = Host(client, hola.replace("hola", "test"))
    looks = []

    def pause(_):
        looks.append(host.report("starting" if not looks else "running"))

    found = client.await_replicas(hola, "blue", 60, pause)
    assert [each.state for each in found.replicas] == ["running"]
    assert len(looks) == 2


def test_what_keeps_replicas_from_running_is_said_when_the_time_is_over(client, hola):
    with pytest.raises(
        NotReady, match=r"0 of 1 replicas of hola-\d+/blue run within .*: 1 replica has no host: no"
    ):
        client.await_replicas(hola, "blue", 0)
    Host(client, hola.replace("hola", "test")).report("failed", error="exit code 1")
    with pytest.raises(NotReady, match="on kitchen: exit code 1"):
        client.await_replicas(hola, "blue", 0)
    with pytest.raises(NotFound, match="has no revision red; it has blue"):
        client.await_replicas(hola, "red", 0)


def test_a_log_is_followed_without_reading_anything_twice(client, script):
    def log(*parts):
        replicas = [ReplicaLog(replica=id_, worker_name="k", text=t, offset=o, next=n) for id_, t, o, n in parts]
        script.answer(DeploymentLog(replicas=replicas))

    log((7, "one ", 0, 4))
    log((7, "", 4, 4), (8, "two", 0, 3))
    log((8, "three", 3, 8))
    with Client(script.url) as follower:
        parts = follower.follow_function_log("hola", "blue", pause=lambda _: None)
        assert [next(parts).text for _ in range(3)] == ["one ", "two", "three"]
    assert [each.path.partition("?")[2] for each in script.seen] == ["", "after=7%3A4", "after=7%3A4%2C8%3A3"]


def test_a_call_goes_out_as_it_is_and_any_answer_comes_back(script):
    script.answer(status=418, body=b"\xff short", headers={"X-Kind": "teapot"})
    with Client(script.url, token="secret") as caller:
        request = Request("POST", "/a%20b?x=1&x=2", (("X-A", "1"), ("User-Agent", "me")), b"hola")
        answer = caller.invoke("hola", request, "blue")
    [seen] = script.seen
    assert (seen.method, seen.path, seen.body) == ("POST", "/functions/hola/blue/a%20b?x=1&x=2", b"hola")
    assert (seen.headers["X-A"], seen.headers["User-Agent"]) == ("1", "me")
    assert seen.headers["Authorization"] == "Bearer secret"
    assert (answer.status, answer.body, answer.find_header("X-Kind")) == (418, b"\xff short", "teapot")


@pytest.mark.parametrize(
    "request_",
    [
        Request("GET", "/a b"),
        Request("GET", "/\r\nX: y"),
        Request("G T", "/"),
        Request("GET", "/", (("A", "b\r\nC: d"),)),
        Request("GET", "/ö"),
        Request("HEAD", "/"),
    ],
)
def test_requests_that_cannot_be_sent_are_not_sent(client, request_):
    with pytest.raises(ValueError, match=r"ASCII text|HEAD"):
        client.invoke("hola", request_)


def test_refusals_keep_their_kind(client, codex):
    with pytest.raises(Invalid, match="runtime"):
        client.deploy("hola", "blue", DeploymentPut(codex=codex))
    with pytest.raises(NotFound, match="there is no module"):
        client.deploy("hola", "blue", DeploymentPut(module="a/b/c"))
