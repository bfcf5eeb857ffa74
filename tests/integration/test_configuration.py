"""A server, an agent and commands that have all they need to know from one file."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from piecework.local import LISTENING, ChildProgram

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
SERVER = """
[server]
port = 0
data = "data"
max_attempts = 7
log_format = "json"
"""
REST = """
[agent]
profile = "nodes"
name = "of-the-file"
slots = 3
state = "state"
tags = ["gpu", "big"]
log_format = "json"
[client]
profile = "people"
[profiles.nodes]
url = "{url}"
token_file = "nodes.token"
[profiles.people]
url = "{url}"
token = "{token}"
"""
WITHOUT_EXTRAS = """
import sys
from piecework.extras import LIBRARIES

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in LIBRARIES:
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Missing())
from piecework.cli.main import main
main(sys.argv[1:])
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "own.toml"
    path.touch(mode=0o600)
    return path


@pytest.fixture
def environ(file: Path) -> dict[str, str]:
    """The environment of somebody who has this file and no variables."""
    rest = {name: text for name, text in os.environ.items() if not name.startswith("PIECEWORK_")}
    return rest | {"PIECEWORK_CONFIG": str(file)}


@pytest.fixture
def work(environ: dict[str, str], tmp_path: Path):
    """Return a function that runs ``piecework`` and returns what it printed."""

    def work(*words: str) -> str:
        command = [sys.executable, "-m", "piecework", *words]
        ran = subprocess.run(
            command, env=environ, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
        )
        assert ran.returncode == 0, ran.stderr
        assert ran.stderr == ""
        return ran.stdout.strip()

    return work


@pytest.fixture
def url(file: Path, tmp_path: Path) -> Iterator[str]:
    """The URL of a server that was told nothing but the file."""
    file.write_text(SERVER)
    command = [sys.executable, "-m", "piecework", "server", "run"]
    environ = {"PIECEWORK_CONFIG": str(file), "PIECEWORK_DATA": ""}
    with ChildProgram("the server", command, tmp_path / "server.log", environ) as server:
        yield f"http://127.0.0.1:{server.wait_for_line(LISTENING)[1]}"


def test_all_programs_work_by_one_file(url: str, file: Path, tmp_path: Path, environ: dict[str, str], work):
    assert (tmp_path / "data" / "piecework.db").exists()
    assert all(json.loads(line) for line in (tmp_path / "server.log").read_text().splitlines())
    nodes = tmp_path / "nodes.token"
    nodes.touch(mode=0o600)
    nodes.write_text(work("server", "token", "create", "nodes", "--scope", "worker"))
    token = work("server", "token", "create", "people", "--scope", "submit")
    file.write_text(SERVER + REST.format(url=url, token=token))
    agent = [sys.executable, "-m", "piecework.worker_agent", "run"]
    with ChildProgram("the agent", agent, tmp_path / "agent.log", {"PIECEWORK_CONFIG": str(file)}) as running:
        running.wait_for_line(re.compile("agent started"))
        [worker] = json.loads(work("worker", "list", "--json"))
        assert (worker["name"], worker["slots"], worker["tags"]) == ("of-the-file", 3, ["gpu", "big"])
        lambda_ = work("lambda", "create", "samples/uppercase.wasm")
        job = work("job", "submit", lambda_, "--input", "LICENSE")
        work("job", "wait", job)
        assert work("job", "output", job).startswith("APACHE LICENSE")
        assert json.loads(work("job", "show", job, "--json"))["max_attempts"] == 7
    assert (tmp_path / "state").is_dir()


def test_files_are_checked_in_an_installation_for_clients(file: Path, environ: dict[str, str]):
    file.write_text(SERVER + REST.format(url="http://127.0.0.1:9", token="t"))
    (file.parent / "nodes.token").touch(mode=0o600)
    (file.parent / "nodes.token").write_text("n")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", WITHOUT_EXTRAS, *words]
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=120)

    assert run("config", "check").stdout == f"{file} is well\n"
    shown = json.loads(run("config", "show", "--json").stdout)
    assert (shown["server"]["max_attempts"]["value"], shown["agent"]["slots"]["value"]) == (7, 3)
    file.write_text("[server]\nport = 70000\n[agent]\nslot = 1\n")
    wrong = run("config", "check")
    assert (wrong.returncode, len(wrong.stderr.splitlines())) == (2, 2)
