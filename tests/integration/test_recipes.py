"""The recipes, typed: each prints what the page says that it prints."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from piecework.http.ports import find_port
from piecework.local import LocalAgent, LocalServer

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
TIMEOUT_S = 120
RECIPE = re.compile(
    r"^## (.+?)$(?:(?!^## ).)*?<!-- recipe -->\n```bash\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL | re.MULTILINE
)
RECIPES = {
    title: (typed, printed) for title, typed, printed in RECIPE.findall((ROOT / "docs/recipes.md").read_text())
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    environ = {"PIECEWORK_WEBHOOK_PRIVATE": "127.0.0.1"}
    with LocalServer(tmp_path_factory.mktemp("server"), environ=environ) as server:
        yield server


@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe_prints_what_it_says(title: str, server: LocalServer, agent: LocalAgent, tmp_path: Path):
    typed, printed = RECIPES[title]
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    (tmp_path / "README.md").symlink_to(ROOT / "README.md")
    environ = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "PIECEWORK_URL": server.url}
    environ["PORT"] = str(find_port("127.0.0.1", 0))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", typed],
        check=False,
        cwd=tmp_path,
        env=environ,
        timeout=TIMEOUT_S,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(as_pattern(printed), done.stdout), done.stdout
    assert agent.exit_code is None


def as_pattern(printed: str) -> str:
    """Return a pattern for what is printed, in which ``…`` stands for anything within a line."""
    return ".*".join(map(re.escape, printed.split("…")))


def test_every_recipe_is_typed():
    page = (ROOT / "docs/recipes.md").read_text()
    assert len(RECIPES) == page.count("\n## ")
    assert len(RECIPES) >= 8
