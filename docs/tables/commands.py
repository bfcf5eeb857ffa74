"""The commands of both programs and their options."""

from collections.abc import Iterator

import click

from piecework.cli.groups import LazyCommand
from piecework.cli.main import main as piecework_command
from piecework.worker_agent.cli import worker_commands
from tables.markdown import as_code, write_table

SHARED_OPTIONS = frozenset({"--url", "--token", "--ca", "--profile", "--json"})
"""Options of every command that talks to a server; the page tells them once."""


def write_cli(name: str) -> str:
    """Every command below one of the two programs."""
    root: click.Command = {"piecework": piecework_command, "worker-agent": worker_commands}[name]
    return "\n\n".join(_describe_command(path, command) for path, command in walk_commands(root, (name,)))


def walk_commands(
    command: click.Command, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Go through all commands below one that do something themselves, with the words that call each."""
    if isinstance(command, LazyCommand):
        command = command.load()
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name in command.list_commands(click.Context(command)):
        yield from walk_commands(command.commands[name], (*path, name))


def _describe_command(path: tuple[str, ...], command: click.Command) -> str:
    context = click.Context(command, info_name=" ".join(path))
    usage = " ".join(command.collect_usage_pieces(context))
    help_text = "\n\n".join(" ".join(part.split()) for part in (command.help or "").split("\n\n"))
    parts = [f"### {' '.join(path)}", f"`{' '.join(path)} {usage}`".replace(" `", "`"), help_text]
    rows = [_describe_option(each, context) for each in own_options(command)]
    if rows:
        parts.append(write_table(["option", "meaning"], rows))
    return "\n\n".join(parts)


def own_options(command: click.Command) -> list[click.Option]:
    """Return a command's options, without those that all commands that talk to a server have."""
    options = [each for each in command.params if isinstance(each, click.Option)]
    spellings = {spelling for each in options for spelling in each.opts}
    shared = SHARED_OPTIONS if spellings >= SHARED_OPTIONS else frozenset()
    return [each for each in options if not shared & set(each.opts)]


def _describe_option(option: click.Option, context: click.Context) -> tuple[str, str]:
    record = option.get_help_record(context)
    assert record is not None
    spelling, meaning = record
    return as_code(" ".join(spelling.split())), meaning
