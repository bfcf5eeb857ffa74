"""Traffic through a real Caddy that our routes configure, to real replicas, registered URLs, and jobs."""

import http.client
import json
import os
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from caddy import Caddy, run_caddy
from guest_texts import build
from patience import until
from upstreams import Upstream

from piecework import Client
from piecework.http.ports import find_port
from piecework.local import LocalAgent, LocalServer
from piecework.protocol.messages import DeploymentPut

pytestmark = pytest.mark.integration
PATIENCE_S = 30.0


def saying(text: str) -> bytes:
    """Return a command that answers every request with a text."""
    size = "".join(f"\\{byte:02x}" for byte in len(text).to_bytes(4, "little"))
    return build(f"""(module
      (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (data (i32.const 0) "\\10\\00\\00\\00{size}") (data (i32.const 16) "{text}")
      (func (export "_start") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))""")


@dataclass
class Site:
    """Functions that are served, and the Caddy before them."""

    server: LocalServer
    client: Client
    upstream: Upstream
    caddy: Caddy
    port: int

    def configure(self, form: str) -> None:
        """Let Caddy have the routes as they are now.

        While its server before ends, Caddy may take a connection and close it, once in 800 times: the first one.
        """
        query = {"format": form, "listen": f"127.0.0.1:{self.port}"}
        reply = requests.get(f"{self.server.url}/routes/caddy", query, timeout=PATIENCE_S)
        reply.raise_for_status()
        self.caddy.load(reply.content, form)
        with suppress(http.client.RemoteDisconnected):
            self.call("/other")

    def call(self, path: str, method: str = "GET", body: bytes | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def say(self, path: str) -> str:
        status, body = self.call(path)
        assert status == 200, (body, self.caddy.read_log())
        return body.decode()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server with two functions on a node, one that nothing serves, and one at a URL."""
    folder = tmp_path_factory.mktemp("functions")
    with LocalServer(folder) as server, Client(server.url) as client:
        for name in ("blue", "green", "hey", "cold"):
            client.push_module(f"tests/{name}/1", saying(name))
        agent = LocalAgent(
            server.url, folder, "node", "--slots", "1", "--functions", "4",
            "--functions-first-port", str(find_port("127.0.0.1", 0)),
        )  # fmt: skip
        with agent:
            for function, name, replicas in (("hola", "blue", 2), ("hola", "green", 1), ("hey", "hey", 1)):
                client.deploy(function, name, DeploymentPut(module=f"tests/{name}/1", replicas=replicas))
                client.await_replicas(function, name, PATIENCE_S)
            client.deploy("cold", "cold", DeploymentPut(module="tests/cold/1", replicas=0))
            yield server


@pytest.fixture(params=["json", "caddyfile"])
def site(request: pytest.FixtureRequest, server: LocalServer) -> Iterator[Site]:
    """The functions behind a Caddy that was configured in one form and in the other."""
    with (
        tempfile.TemporaryDirectory() as folder,  # a socket's path must be short
        Upstream() as upstream,
        Client(server.url) as client,
        run_caddy(Path(folder) / "caddy") as caddy,
    ):
        _register(server, upstream)
        client.set_default("hola", "blue")
        site = Site(server, client, upstream, caddy, find_port("127.0.0.1", 0))
        site.configure(request.param)
        yield site
        for name in ("told", "HOLA"):
            requests.delete(
                f"{server.url}/memory/functions/registration", json={"function": name}, timeout=PATIENCE_S
            )


def _register(server: LocalServer, upstream: Upstream) -> None:
    """Have functions at a URL with a path."""
    for name in ("told", "HOLA"):
        route = {"function": name, "url": f"{upstream.url}/base"}
        reply = requests.post(f"{server.url}/memory/functions/registration", json=route, timeout=PATIENCE_S)
        reply.raise_for_status()


def test_functions_are_reached_by_name_revision_and_default(site: Site):
    said = {
        path: site.say(f"/functions/{path}") for path in ("hola/blue", "hola/green", "hola", "hola/default", "hey")
    }
    assert said == {
        "hola/blue": "blue",
        "hola/green": "green",
        "hola": "blue",
        "hola/default": "blue",
        "hey": "hey",
    }
    assert json.loads(site.say("/functions/HOLA/x"))["path"] == "/base/x"
    assert site.call("/other")[1] == b""


def test_replicas_answer_caddy_and_nobody_else(site: Site):
    found = site.client.function("hola")
    urls = [each.url for revision in found.revisions for each in revision.replicas]
    assert len(urls) == 3
    assert {requests.get(url, timeout=PATIENCE_S).status_code for url in urls} <= {401, 403}
    assert [site.say("/functions/hola/blue") for _ in range(6)] == ["blue"] * 6


def test_path_query_body_and_caller_reach_the_function(site: Site):
    status, body = site.call("/functions/told/default/a/b%20c?d=e%2Ff", "POST", b"x" * 1_000_000)
    told = json.loads(body)
    assert (status, told["method"], told["path"], told["size"]) == (
        200,
        "POST",
        "/base/a/b%20c?d=e%2Ff",
        1_000_000,
    )
    headers = dict(told["headers"])
    assert (headers["x-forwarded-for"], headers["x-forwarded-host"]) == ("127.0.0.1", f"127.0.0.1:{site.port}")
    assert "piecework-replica-token" not in headers
    assert json.loads(site.call("/functions/told")[1])["path"].rstrip("/") == "/base"


def test_a_split_is_kept_call_by_call(site: Site, request: pytest.FixtureRequest):
    site.client.split("hola", {"blue": 3, "green": 1})
    site.configure(request.node.callspec.params["site"])
    said = Counter(site.say("/functions/hola") for _ in range(40))
    assert abs(said["blue"] - 30) <= 2, said
    assert said.total() == 40
    assert site.say("/functions/hola/green") == "green"


def test_blue_becomes_green_with_the_next_configuration(site: Site, request: pytest.FixtureRequest):
    assert site.say("/functions/hola") == "blue"
    site.client.set_default("hola", "green")
    site.configure(request.node.callspec.params["site"])
    assert [site.say("/functions/hola") for _ in range(4)] == ["green"] * 4
    assert site.say("/functions/hola/blue") == "blue"


def test_what_nothing_serves_goes_to_the_server_which_runs_it_as_a_job(site: Site):
    assert site.say("/functions/cold") == "cold"
    status, body = site.call("/functions/nobody")
    assert (status, json.loads(body)["code"]) == (404, "ERROR")


def test_a_replica_that_dies_costs_no_call(site: Site):
    def find_pids() -> list[object]:
        [blue] = [each for each in site.client.function("hola").revisions if each.name == "blue"]
        return [each.pid for each in blue.replicas]

    pid = find_pids()[0]
    assert isinstance(pid, int)
    os.kill(pid, signal.SIGKILL)
    assert [site.say("/functions/hola/blue") for _ in range(10)] == ["blue"] * 10
    until(lambda: pid not in find_pids())
    site.client.await_replicas("hola", "blue", PATIENCE_S)
