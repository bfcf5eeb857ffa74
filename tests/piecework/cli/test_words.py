"""Words on the command line that no request can have."""

import click
import pytest

from piecework.cli.groups import LazyCommand
from piecework.cli.main import COMMANDS, main

BAD = "a\udcff"
"""As Python has a byte that is not UTF-8."""
OTHERS = {
    "file": "code.wasm",
    "file|-|id": "code.wasm",
    "file|oci://…": "code.wasm",
    "id": "7",
    "integer range": "1",
    "key": "k",
    "key=value": "a=1",
    "lambda": "7",
    "name": "hola",
    "org/module/tag": "o/m/t",
    "org/module/tag|oci://…": "o/m/t",
    "schedule": "nightly",
}
"""A value for each type of an argument that must be there."""
WORDS = {"text": BAD, "key": BAD, "name: value": f"a: {BAD}"}
"""The words in question for each type that takes any text."""


def walk(command, path=()):
    if isinstance(command, LazyCommand):
        command = command.load()
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            yield from walk(each, (*path, name))
    else:
        yield path, command


def list_lines():
    """Every command of a client with one bad word, for each option and argument that takes a text."""
    for name in COMMANDS.keys() - {"server", "completion", "new", "dev", "samples", "demo"}:
        for path, command in walk(main.commands[name], (name,)):
            if path == ("worker", "run"):
                continue
            for parameter in command.params:
                if parameter.type.name in WORDS and parameter.name not in {"url", "token", "profile"}:
                    yield [*path, *_place(command, parameter, WORDS[parameter.type.name])]


def _place(command, parameter, word):
    option = isinstance(parameter, click.Option)
    if option:
        yield from (parameter.opts[0], word)
    for each in command.params:
        if isinstance(each, click.Argument) and (each is parameter or each.required or each.type.name in OTHERS):
            yield word if each is parameter else OTHERS.get(each.type.name, "some")


@pytest.mark.parametrize("line", sorted(list_lines()), ids=lambda line: ascii(" ".join(line)))
def test_a_word_that_no_request_can_have_is_a_mistake_and_nothing_is_sent(run, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "code.wasm").write_bytes(b"\0asm\1\0\0\0")
    ran = run(*line, url="http://127.0.0.1:9", exit_code=2)
    assert "has a byte that is not UTF-8; no text of a request can have that. Try " in ran.err
    assert ran.out == ""
