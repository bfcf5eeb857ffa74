"""Files and functions stay short enough to be read in one go, and folders small enough to find a thing in."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("piecework", "server", "worker_agent")
FILE_LINES, FUNCTION_LINES, FOLDER_FILES = 400, 50, 15
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def walk_statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all that has statements in it; functions are statements, and expressions the many."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.expr):
            yield child
            yield from walk_statements(child)


def find_long(source: str, place: str) -> Iterator[str]:
    """Yield what is too long in a file, with its length."""
    lines = len(source.splitlines())
    if lines > FILE_LINES:
        yield f"{place} has {lines} lines, at most {FILE_LINES} are allowed"
    for node in walk_statements(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            lines = node.end_lineno - node.lineno + 1
            if lines > FUNCTION_LINES:
                yield f"{place}:{node.lineno} {node.name} has {lines} lines, at most {FUNCTION_LINES} are allowed"


@pytest.mark.slow
def test_no_file_and_no_function_is_too_long():
    assert len(FILES) > 300
    found = [long for path in FILES for long in find_long(path.read_text(), str(path.relative_to(ROOT)))]
    assert not found, "\n".join(found)


def test_no_folder_has_too_many_files():
    counts = Counter(str(path.parent.relative_to(ROOT)) for path in FILES)
    found = {folder: count for folder, count in counts.items() if count > FOLDER_FILES}
    assert not found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("x = 1\n" * 400, []),
        ("x = 1\n" * 401, ["a.py has 401 lines, at most 400 are allowed"]),
        ("def f():\n" + "    x = 1\n" * 49, []),
        ("\ndef f():\n" + "    x = 1\n" * 50, ["a.py:2 f has 51 lines, at most 50 are allowed"]),
        (
            "class A:\n    async def f(self):\n" + "        x = 1\n" * 50,
            ["a.py:2 f has 51 lines, at most 50 are allowed"],
        ),
    ],
)
def test_what_is_too_long_is_named_with_its_length(source: str, found: list[str]):
    assert list(find_long(source, "a.py")) == found
