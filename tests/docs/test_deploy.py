"""The files in deploy/ fit the programs that they start."""

import configparser
import json
import re
import shlex
import shutil
import subprocess

import pytest
import yaml
from deploying import PROGRAMS, SERVER_VARIABLES, find_metrics, list_metrics, parse
from house import House, finished

from piecework.worker_agent.config.settings import VARIABLES


def read_unit(path):
    unit = configparser.ConfigParser(interpolation=None, strict=False, comment_prefixes=("#",))
    unit.optionxform = str
    unit.read_string(path.read_text())
    return unit


@pytest.mark.parametrize(
    ("name", "variables"), [("server", SERVER_VARIABLES), ("agent", set(VARIABLES))], ids=["server", "agent"]
)
def test_units_and_their_settings_fit_the_program(root, name, variables):
    service = read_unit(root / "deploy" / f"piecework-{name}.service")["Service"]
    program, *words = shlex.split(service["ExecStart"])
    assert parse(PROGRAMS[program.rpartition("/")[2]], words).params["log_format"] == "json"
    used = set(re.findall(r"^#?(\w+)=", (root / "deploy" / f"{name}.env").read_text(), re.MULTILINE))
    used.add(service["Environment"].partition("=")[0])
    assert used <= variables
    assert len(used) > 2


def test_an_agent_has_time_to_drain_and_is_started_again_when_it_is_stuck(root):
    service = read_unit(root / "deploy" / "piecework-agent.service")["Service"]
    drain_timeout_s = 30
    assert float(service["TimeoutStopSec"]) > drain_timeout_s + 20  # the longest poll that may have to end
    assert service["Restart"] == "on-failure"


@pytest.mark.parametrize("name", ["server", "agent"])
def test_units_keep_data_and_settings_from_others(root, name):
    service = read_unit(root / "deploy" / f"piecework-{name}.service")["Service"]
    assert (service["StateDirectoryMode"], service["UMask"], service["NoNewPrivileges"]) == ("0700", "0077", "yes")
    assert service["Environment"].partition("=")[2] == f"/var/lib/{service['StateDirectory']}"


def test_dashboard_and_alerts_use_figures_that_there_are(root, documents):
    board = json.loads((root / "deploy/grafana-dashboard.json").read_text())
    asked = find_metrics(" ".join(each["expr"] for panel in board["panels"] for each in panel["targets"]))
    rules = yaml.safe_load((root / "deploy/prometheus-rules.yml").read_text())
    alerts = [rule for group in rules["groups"] for rule in group["rules"]]
    asked |= find_metrics(" ".join(rule["expr"] for rule in alerts))
    assert len(asked) > 15
    assert asked <= list_metrics(documents)
    assert all(rule["annotations"]["summary"] for rule in alerts)
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool here: apt-get install prometheus")
def test_prometheus_takes_the_alerts_and_they_fire_when_they_should(root):
    for words in (["check", "rules", "prometheus-rules.yml"], ["test", "rules", "prometheus-rules-test.yml"]):
        done = subprocess.run(
            ["promtool", *words], cwd=root / "deploy", capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool here: apt-get install prometheus")
def test_prometheus_reads_the_figures(tmp_path):
    house = House(tmp_path)
    worker = house.new_worker()
    house.submit(house.new_lambda(name="upper"))
    house.finish(worker, finished(house.lease(worker)))
    figures = house.fetch("/metrics").get_data()
    house.close()
    done = subprocess.run(["promtool", "check", "metrics"], input=figures, capture_output=True, check=False)
    assert done.returncode in {0, 3}, done.stderr  # 3: names that it would choose otherwise
    assert b"error while linting" not in done.stderr


def test_autoscalers_are_shown_fields_and_figures_that_there_are(documents, tmp_path):
    blocks = re.findall(r"```yaml\n(.*?)```", documents["docs/operations.md"], re.DOTALL)
    triggers = [
        each
        for block in blocks
        for part in yaml.safe_load_all(block)
        if "triggers" in block or "serverAddress" in block
        for each in (part if isinstance(part, list) else part["spec"].get("triggers", []))
    ]
    by_type = {each["type"]: each["metadata"] for each in triggers}
    api, prometheus = by_type["metrics-api"], by_type["prometheus"]
    house = House(tmp_path)
    answer = house.call("GET", api["url"].partition(":8000")[2])
    assert isinstance(answer[api["valueLocation"]], int)
    house.submit(house.new_lambda(runtime="wasi"))
    figures = house.fetch("/metrics").get_data(as_text=True)
    house.close()
    assert re.search(r"\((.*)\)", prometheus["query"])[1] in figures
