"""What type checkers say of programs that use the library: nothing of right ones, all of wrong ones."""

import re
from pathlib import Path

import pytest
from mypy import api

pytestmark = pytest.mark.integration

PROGRAMS = Path(__file__).parent / "typed"
FOUND = re.compile(r"^.*?(\w+)\.py:(\d+): error: .*\[([\w-]+)\]$", re.MULTILINE)
EXPECTED = re.compile(r"# error: ([\w-]+)$")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The errors in all programs, by the name of the program and the number of the line."""
    cache = tmp_path_factory.mktemp("mypy")
    options = ["--strict", "--config-file", "", "--cache-dir", str(cache), "--hide-error-context"]
    said, problems, _ = api.run([*options, *map(str, sorted(PROGRAMS.glob("*.py")))])
    assert not problems, problems
    return {(name, int(line)): code for name, line, code in FOUND.findall(said)}


@pytest.mark.parametrize("program", sorted(PROGRAMS.glob("*.py")), ids=lambda path: path.stem)
def test_a_type_checker_finds_what_is_wrong_and_nothing_else(program, found):
    lines = enumerate(program.read_text().splitlines(), 1)
    expected = {number: match[1] for number, line in lines if (match := EXPECTED.search(line))}
    assert {line: code for (name, line), code in found.items() if name == program.stem} == expected
    assert bool(expected) == (program.stem == "wrong")
