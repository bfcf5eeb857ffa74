"""Nothing that people can use is missing from the documents, whatever wrote them."""

import re
from dataclasses import MISSING, fields
from pathlib import Path

import click
import msgspec
import pytest
from house import House

from piecework.cli.groups import LazyCommand
from piecework.cli.main import main as piecework_command
from piecework.protocol import messages
from piecework.protocol.codes import Code, ErrorKind
from piecework.protocol.states import JobState
from piecework.server.api.table import ENDPOINTS
from piecework.server.services.tokens.access import GRANTS
from piecework.server.settings import PREFIX, Settings
from piecework.server.web.fielddocs import field_docs
from piecework.worker_agent.cli import worker_commands
from piecework.worker_agent.config.settings import VARIABLES, Settings as AgentSettings


def rows(text):
    """Return the rows of all tables of a document, by their first cell without its backticks."""
    cells = [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:1] == "|"
    ]
    return {row[0].strip(" `"): row for row in cells}


@pytest.fixture
def house(tmp_path: Path):
    house = House(tmp_path)
    yield house
    house.close()


@pytest.mark.slow
def test_every_endpoint_has_a_heading_and_a_row_in_the_protocol(documents, house):
    text = documents["docs/protocol.md"]
    assert len(ENDPOINTS) > 25
    for each in ENDPOINTS:
        path = re.sub(r"<\w+:(\w+)>", r"{\1}", re.sub(r"<\w+>", "{id}", each.path))
        name = f"{each.method} {path}"
        assert f"\n### {name}\n" in text, name
        assert name in rows(text), name


def test_every_code_has_its_number_name_and_meaning(documents):
    found = rows(documents["docs/protocol.md"])
    for code in Code:
        _, status, name, meaning = found[str(int(code))]
        assert name == f"`{code.name}`"
        assert meaning, code
        assert re.fullmatch(r"any|\d{3}(, \d{3})*", status), code


@pytest.mark.parametrize("enum", [ErrorKind, JobState])
def test_every_error_kind_and_state_is_explained(documents, enum):
    found = rows(documents["docs/protocol.md"])
    assert all(found[member.value][1] for member in enum)


@pytest.mark.slow
def test_every_message_is_on_the_page_and_every_field_is_explained(documents):
    text = documents["docs/protocol.md"]
    for name in set(messages.__all__) - {"Message", "Reply"}:
        type_ = getattr(messages, name)
        if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
            assert re.search(rf"\b{name}\b", text), name
            docs = field_docs(type_)
            assert not [each.encode_name for each in msgspec.structs.fields(type_) if each.encode_name not in docs]


def test_every_setting_of_the_server_is_documented_with_its_default(documents):
    found = rows(documents["docs/operations.md"])
    for each in fields(Settings):
        _, default, meaning = found[PREFIX + each.name.upper()]
        shown = str(each.default).lower() if isinstance(each.default, bool) else str(each.default)
        assert default.strip("`") == shown
        assert meaning, each.name


def test_every_setting_of_the_agent_is_documented_with_its_default(documents):
    found = rows(documents["docs/operations.md"])
    assert {name for name, _ in VARIABLES.values()} == {each.name for each in fields(AgentSettings)}
    for variable, (name, read) in VARIABLES.items():
        default = next(each.default for each in fields(AgentSettings) if each.name == name)
        shown = found[variable][1].strip("`")
        if default is MISSING:
            assert shown.startswith(("one per", "the host")), variable
        else:
            assert (read(shown) if shown else None) == (None if default in {(), ""} else default), variable


def commands(command, path):
    if isinstance(command, LazyCommand):
        command = command.load()
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            yield from commands(command.commands[name], f"{path} {name}")
    else:
        yield path, command


def test_every_command_and_every_option_is_on_the_page_of_commands(documents):
    text = documents["docs/cli.md"]
    introduction = text.partition("## piecework")[0]
    found = dict([*commands(piecework_command, "piecework"), *commands(worker_commands, "worker-agent")])
    assert len(found) > 25
    for path, command in found.items():
        _, heading, section = text.partition(f"\n### {path}\n")
        assert heading, path
        section = re.split(r"\n##", section)[0]
        for option in (each for each in command.params if isinstance(each, click.Option)):
            for spelling in (*option.opts, *option.secondary_opts):
                assert f"{spelling}" in section or f"`{spelling}" in introduction, (path, spelling)


def test_every_figure_is_among_the_operators(documents, house):
    house.call("GET", "/ping")
    exposed = house.fetch("/metrics").get_data(as_text=True)
    names = set(re.findall(r"^# TYPE (piecework_\w+) ", exposed, re.MULTILINE))
    assert len(names) > 5
    assert {name for name in names if not name.endswith("_created")} <= rows(
        documents["docs/operations.md"]
    ).keys()


def test_every_scope_is_among_the_operators(documents):
    assert GRANTS.keys() <= rows(documents["docs/operations.md"]).keys()


def test_every_sample_is_among_the_guests(documents, root):
    found = rows(documents["docs/guests.md"])
    assert all(found[f"samples/{path.name}"][1] for path in root.glob("samples/*.wasm"))
