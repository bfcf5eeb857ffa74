"""A real Prometheus takes the figures of a server and an agent: each panel shows something, and an alert fires."""

import json
import re
import shutil
import signal
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from guests import guest
from patience import LONG_S, until

from piecework import Client
from piecework.http.ports import find_port
from piecework.local import ChildProgram, LocalAgent, LocalServer
from piecework.protocol.messages import DeploymentPut

PROGRAM = shutil.which("prometheus")
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(PROGRAM is None, reason="no Prometheus here: apt-get install prometheus"),
]
DEPLOY = Path(__file__).parent.parent.parent / "deploy"
RATE_INTERVAL = "10s"
"""What Grafana would ask for, at two scrapes a second."""


class Prometheus(ChildProgram):
    """A Prometheus of this machine that looks twice a second, and fires at once."""

    def __init__(self, folder: Path, targets: dict[str, str]) -> None:
        self.port = find_port("127.0.0.1", 0)
        scrapes = [
            {"job_name": name, "static_configs": [{"targets": [target]}]} for name, target in targets.items()
        ]
        rules = re.sub(r"\bfor: \w+", "for: 0s", (DEPLOY / "prometheus-rules.yml").read_text())
        (folder / "rules.yml").write_text(rules)
        config = {
            "global": {"scrape_interval": "500ms", "evaluation_interval": "500ms"},
            "rule_files": ["rules.yml"],
            "scrape_configs": scrapes,
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        address = f"--web.listen-address=127.0.0.1:{self.port}"
        files = (f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}")
        super().__init__("prometheus", [str(PROGRAM), address, *files], folder / "prometheus.log")
        self.wait_for_line(re.compile("Server is ready"))

    def ask(self, path: str, **query: str) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> list[Any]:
        """Return the series that an expression has now."""
        return list(self.ask("query", query=expression)["result"])

    def find_firing(self) -> set[str]:
        return {each["labels"]["alertname"] for each in self.ask("alerts")["alerts"] if each["state"] == "firing"}


@pytest.fixture
def metrics_port() -> int:
    return find_port("127.0.0.1", 0)


@pytest.fixture
def agent(server: LocalServer, tmp_path: Path, metrics_port: int) -> Iterator[LocalAgent]:
    options = ("--slots", "1", "--functions", "1", "--metrics-port", str(metrics_port))
    with LocalAgent(server.url, tmp_path / "agent", "watched", *options) as agent:
        yield agent


@pytest.fixture
def prometheus(server: LocalServer, tmp_path: Path, metrics_port: int) -> Iterator[Prometheus]:
    targets = {"piecework": f"127.0.0.1:{server.port}", "piecework-agents": f"127.0.0.1:{metrics_port}"}
    with Prometheus(tmp_path, targets) as prometheus:
        yield prometheus


def list_expressions() -> list[str]:
    """Return what the panels of the dashboard ask."""
    board = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    return [expression.replace("$__rate_interval", RATE_INTERVAL) for expression in asked]


def test_each_panel_shows_something_and_an_alert_fires(
    server: LocalServer, client: Client, agent: LocalAgent, prometheus: Prometheus
):
    hello = client.create_lambda(guest("capsule_hello"), runtime="capsule")
    client.deploy("hello", "one", DeploymentPut(lambda_=hello, replicas=1))
    lambdas = [client.create_lambda(guest(name), name=name) for name in ("echo", "crash")]

    def find_empty() -> list[str]:
        """Have something happen, and return what then shows nothing."""
        client.wait([client.submit(each, "x", max_attempts=1) for each in lambdas])
        urllib.request.urlopen(f"{server.url}/functions/hello").close()
        return [expression for expression in list_expressions() if not shows(prometheus, expression)]

    until(lambda: not find_empty(), LONG_S, look_s=0.3)
    assert {each["health"] for each in prometheus.ask("targets")["activeTargets"]} == {"up"}
    assert not prometheus.find_firing() - {"PieceworkJobsFail"}  # half of the jobs do fail
    agent.stop(signal.SIGTERM)
    client.submit("echo", "x")
    until(lambda: "PieceworkNoWorkers" in prometheus.find_firing(), LONG_S, look_s=0.1)


def shows(prometheus: Prometheus, expression: str) -> bool:
    """Tell whether there is a number; 0/0 is none."""
    return any(each["value"][1] != "NaN" for each in prometheus.query(expression))
