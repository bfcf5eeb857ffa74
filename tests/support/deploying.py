"""Files of deploy/ beside the programs that they start: commands, settings and figures that there are."""

import re
from dataclasses import fields

import click

from piecework.cli.groups import LazyCommand
from piecework.cli.main import main as piecework_command
from piecework.server.settings import PREFIX, Settings
from piecework.worker_agent.cli import worker_commands

SERVER_VARIABLES = {PREFIX + each.name.upper() for each in fields(Settings)} | {"PIECEWORK_LOG_FORMAT"}
PROGRAMS = {"piecework": piecework_command, "worker-agent": worker_commands}


def parse(command, words):
    """Let click read a command line as far as the command that would run; wrong options raise."""
    while isinstance(command, LazyCommand | click.Group):
        command = command.load() if isinstance(command, LazyCommand) else command.commands[words.pop(0)]
    return command.make_context(command.name, words)


def list_metrics(documents):
    """Return the names of figures of server and agent, which are in tables, with those of histograms' parts."""
    names = set(re.findall(r"^\| `(piecework_\w+)`", documents["docs/operations.md"], re.MULTILINE))
    return names | {f"{name}_{part}" for name in names for part in ("bucket", "sum", "count")}


def find_metrics(text):
    return set(re.findall(r"\b(piecework_[a-z_]+)\b", text))
