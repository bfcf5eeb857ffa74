"""Functions that a node serves: real server, agent, replicas and proxy, and kills at bad moments."""

import http.client
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from evidence import process_tree
from guest_texts import build, read_guest
from guests import guest
from patience import until
from served import ServedFunction

from piecework import Client
from piecework.http.ports import find_port
from piecework.local import LocalAgent, LocalServer
from piecework.protocol.messages import DeploymentPut

pytestmark = pytest.mark.integration

HEALED_WITHIN_S = 10.0
SERVING = re.compile("agent started")


class Node:
    """An agent with its own API, on a server that is registry and reverse proxy too."""

    def __init__(self, server: LocalServer, folder: Path, *options: str) -> None:
        self.server = server
        self.port = find_port("127.0.0.1", 0)
        self._start = lambda: LocalAgent(
            server.url,
            folder,
            "node",
            *("--slots", "1", "--functions", "4", "--functions-port", str(self.port)),
            *("--functions-first-port", str(self.port + 1), "--functions-start-timeout", "20"),
            *("--reverse-proxy", server.url, "--registry", f"{server.url}/registry", *options),
        )
        self.start()

    def start(self) -> None:
        self.agent = self._start()
        self.agent.wait_for_line(SERVING)

    def ask(self, method: str, path: str, **body: Any) -> Any:
        return ask(self.port, method, path, body)

    def deploy(self, function: str, module: str, **env: str) -> Any:
        body = {"function": function, "revision": "blue", "downloadUrl": module, "envVariables": env}
        return self.ask("POST", "/functions/deploy", **body)

    def pids(self, function: str) -> list[int]:
        found = self.ask("GET", "/functions/list").get(function, {}).get("blue", {"wasmModules": {}})
        return [int(pid) for pid, module in found["wasmModules"].items() if "error" not in module]

    def routes(self) -> Any:
        return ask(self.server.port, "GET", "/memory/functions/list", None)


def ask(port: int, method: str, path: str, body: Any) -> Any:
    answer = fetch(port, method, path, json.dumps(body) if body else None)[1]
    return json.loads(answer)


def fetch(port: int, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def answers(node: Node, function: str) -> bool:
    return fetch(node.server.port, "POST", f"/functions/{function}/blue", "hey")[0] == 200


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("node")
    with LocalServer(folder) as server, Client(server.url) as client:
        client.push_module("k33g/hola/0.0.1", guest("capsule_g1"))
        client.push_module("k33g/unwell/0.0.1", build(read_guest("capsule/unwell")))
        made = Node(server, folder)
        try:
            yield made
        finally:
            made.agent.stop()


@pytest.fixture(autouse=True)
def _clean(node: Node) -> Iterator[None]:
    yield
    for function in node.ask("GET", "/functions/list"):
        node.ask("DELETE", "/functions/deployments", function=function)


def test_deployed_function_is_called_through_the_proxy_by_revision_and_default(node: Node):
    answer = node.deploy("hola", "k33g/hola/0.0.1", MESSAGE="Hola", TOKEN="secret")
    assert answer["code"] == "FUNCTION_DEPLOYED", answer
    assert answer["remoteUrl"] == f"{node.server.url}/functions/hola/blue"
    status, body = fetch(node.server.port, "POST", "/functions/hola/blue", "hey")
    assert (status, body.splitlines()[-1]) == (200, b"hey")
    node.ask("POST", "/functions/set_default_revision", function="hola", revision="blue")
    assert fetch(node.server.port, "POST", "/functions/hola", "hey") == (200, body)
    node.ask("DELETE", "/functions/remove_default_revision", function="hola")
    assert node.routes() == {"hola": {"blue": [answer["localUrl"]]}}


def test_route_of_a_killed_replica_goes_at_once_and_comes_back(node: Node):
    url = node.deploy("hola", "k33g/hola/0.0.1")["localUrl"]
    [pid] = node.pids("hola")
    os.kill(pid, signal.SIGKILL)
    until(lambda: node.routes() == {"hola": {"blue": []}})
    began = time.monotonic()
    until(lambda: len(node.routes()["hola"]["blue"]) == 1)
    assert time.monotonic() - began < HEALED_WITHIN_S
    assert answers(node, "hola")
    assert node.pids("hola") != [pid]
    assert url.startswith("http://localhost:")


def test_replicas_die_with_a_killed_agent_and_its_next_life_has_them_again(node: Node):
    for _ in range(3):
        assert node.deploy("hola", "k33g/hola/0.0.1")["code"] == "FUNCTION_DEPLOYED"
    family = process_tree(node.agent.pid)
    assert len(node.pids("hola")) == 3
    node.agent.kill()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in family))
    node.start()
    until(lambda: len(node.pids("hola")) == 3 and len(node.routes()["hola"]["blue"]) == 3, 60)
    assert answers(node, "hola")


def test_function_that_never_gets_healthy_is_refused_and_leaves_nothing(node: Node, tmp_path: Path):
    impatient = Node(node.server, tmp_path, "--functions-start-timeout", "3")
    try:
        began = time.monotonic()
        answer = impatient.deploy("unwell", "k33g/unwell/0.0.1")
        assert answer["code"] == "ERROR_FUNCTION_NOT_STARTED"
        assert "did not answer GET /health within 3 s" in answer["message"]
        assert time.monotonic() - began < 15
        assert impatient.ask("GET", "/functions/list") == {}
        assert "unwell" not in impatient.routes()
        serving = [pid for pid in process_tree(impatient.agent.pid) if is_serving(pid)]
        assert serving == []
    finally:
        impatient.agent.stop()


def is_serving(pid: int) -> bool:
    return b"serve" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")


def test_agent_that_stops_withdraws_its_routes_and_starts_them_again(node: Node):
    node.deploy("hola", "k33g/hola/0.0.1")
    assert node.agent.stop() == 0
    assert node.routes() == {"hola": {"blue": []}}
    node.start()
    until(lambda: len(node.routes()["hola"]["blue"]) == 1)


def test_replicas_that_the_server_ordered_go_on_while_it_is_away(tmp_path: Path):
    port = find_port("127.0.0.1", 0)
    with LocalServer(tmp_path, port=port) as server, Client(server.url) as client:
        client.push_module("k33g/hola/0.0.1", guest("capsule_g1"))
        client.deploy("hey", "blue", DeploymentPut(module="k33g/hola/0.0.1", replicas=2))
        with LocalAgent(server.url, tmp_path, "host", "--slots", "1", "--functions", "2") as agent:
            until(lambda: len(urls(client)) == 2, 30)
            before = urls(client)
            server.kill()
            with LocalServer(tmp_path, port=port):
                began = time.monotonic()
                until(lambda: urls(client) == before)
                assert time.monotonic() - began < HEALED_WITHIN_S
                assert fetch(port, "POST", "/functions/hey/blue", "x")[0] == 200
                client.undeploy("hey")
                until(lambda: not any(is_listening(url) for url in before))
                agent.stop()


def test_all_doors_open_where_names_lead(tmp_path: Path):
    with LocalServer(tmp_path, "--host", "localhost") as server, Client(server.url) as client:
        client.push_module("k33g/hola/0.0.1", guest("capsule_g1"))
        client.deploy("hey", "blue", DeploymentPut(module="k33g/hola/0.0.1", replicas=1))
        node = Node(server, tmp_path, "--functions-host", "localhost")
        try:
            until(lambda: len(urls(client)) == 1, 30)
            assert urls(client)[0].startswith("http://127.0.0.1:")
            assert fetch(server.port, "POST", "/functions/hey/blue", "x")[0] == 200
            assert node.ask("GET", "/functions/list") == {}
        finally:
            node.agent.stop()


def test_a_served_function_listens_where_a_name_leads(tmp_path: Path):
    (tmp_path / "hola.wasm").write_bytes(guest("capsule_g1"))
    with ServedFunction(tmp_path, tmp_path / "hola.wasm", "--host", "localhost") as served:
        assert served.ask("/", "POST", b"x").status == 200


def urls(client: Client) -> list[str]:
    [revision] = client.function("hey").revisions
    return sorted(each.url for each in revision.replicas if isinstance(each.url, str))


def is_listening(url: str) -> bool:
    try:
        return fetch(int(url.rpartition(":")[2]), "GET", "/health")[0] == 200
    except OSError:
        return False
