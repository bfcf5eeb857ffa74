"""The files in deploy/ fit the programs that they start."""

import configparser
import re
import shlex
from dataclasses import fields

import click
import pytest

from piecework.cli.groups import LazyCommand
from piecework.cli.main import main as piecework_command
from server.settings import PREFIX, Settings
from worker_agent.cli import worker_commands
from worker_agent.settings import VARIABLES

SERVER_VARIABLES = {PREFIX + each.name.upper() for each in fields(Settings)} | {"PIECEWORK_LOG_FORMAT"}
PROGRAMS = {"piecework": piecework_command, "worker-agent": worker_commands}


def read_unit(path):
    unit = configparser.ConfigParser(interpolation=None, strict=False, comment_prefixes=("#",))
    unit.optionxform = str
    unit.read_string(path.read_text())
    return unit


def parse(command, words):
    """Let click read a command line as far as the command that would run; wrong options raise."""
    while isinstance(command, LazyCommand | click.Group):
        command = command.load() if isinstance(command, LazyCommand) else command.commands[words.pop(0)]
    return command.make_context(command.name, words)


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
