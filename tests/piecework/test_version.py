"""The version is in one place, and everything tells the same."""

import re
import tomllib
from pathlib import Path

from click.testing import CliRunner
from house import House

from piecework import __version__
from piecework.cli.main import main
from piecework.worker_agent.cli import worker_commands

ROOT = Path(__file__).parents[2]


def test_commands_and_server_tell_one_version(tmp_path):
    for name, command in (("piecework", main), ("worker-agent", worker_commands)):
        assert CliRunner().invoke(command, ["--version"]).stdout == f"{name}, version {__version__}\n"
    house = House(tmp_path)
    told = [
        house.call("GET", "/sys/version")["version"],
        house.call("GET", "/sys/status")["version"],
        house.call("GET", "/openapi.json")["info"]["version"],
    ]
    house.close()
    assert set(told) == {__version__}


def test_the_version_is_written_once_and_is_one():
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", __version__)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in project["project"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "piecework.__version__"}
    newest = re.search(r"^## (\S+?),? ", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest
    assert newest[1] == __version__
