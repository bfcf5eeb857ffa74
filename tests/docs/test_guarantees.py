"""Each promise names tests that are there."""

import ast
import re

import pytest

FILE = re.compile(r"^- \[[\w/.]+\]\(\.\./(tests/[\w/]+\.py)\)", re.MULTILINE)


@pytest.mark.slow
def test_every_promise_names_tests_that_exist(documents, root):
    promises = re.split(r"^## ", documents["docs/guarantees.md"], flags=re.MULTILINE)[1:]
    assert len(promises) >= 10
    for promise in promises:
        assert "*Not promised:*" in promise
        _, *parts = FILE.split(promise)
        assert parts, promise.splitlines()[0]
        for path, names in zip(parts[::2], parts[1::2], strict=True):
            named = set(re.findall(r"`(test_\w+)`", names))
            assert named
            assert named <= functions(root / path)


def functions(path):
    """Return the names of the functions of a file."""
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}
