import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from piecework.extras import LIBRARIES, describe_missing

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def names(requirements):
    return {re.match(r"[A-Za-z0-9_-]+", each)[0].lower().replace("_", "-") for each in requirements}


def test_all_has_every_extra_for_users():
    assert EXTRAS["all"] == ["piecework[server,worker,postgres,s3,scripts,otel]"]
    assert set(EXTRAS) == {
        "server",
        "worker",
        "postgres",
        "s3",
        "scripts",
        "otel",
        "all",
        "samples",
        "docs",
        "test",
        "dev",
        "release",
    }


@pytest.fixture(scope="module")
def distributions():
    return metadata.packages_distributions().items()


@pytest.mark.slow
@pytest.mark.parametrize("extra", ["server", "worker", "postgres", "s3"])
def test_every_library_of_an_extra_is_known_by_its_import(extra, distributions):
    for distribution in names(EXTRAS[extra]):
        imports = [name for name, owners in distributions if distribution in names(owners) and name[0] != "_"]
        assert [name for name in imports if extra in LIBRARIES.get(name, ())], distribution


def test_a_library_of_several_extras_is_told_by_the_one_that_was_to_run():
    error = ModuleNotFoundError("no", name="structlog.dev")
    said = "structlog.dev is not installed: run pip install 'piecework[{}]'"
    assert describe_missing(error, "worker") == said.format("worker")
    assert describe_missing(error, "server") == describe_missing(error) == said.format("server")
    assert describe_missing(ModuleNotFoundError("no", name="piecework.nothing")) is None


def test_on_windows_the_way_is_told():
    assert "WSL 2" in describe_missing(ModuleNotFoundError("no", name="fcntl"), "server")


@pytest.mark.integration
@pytest.mark.parametrize(
    ("command", "library", "extra"),
    [
        (["piecework", "server", "run"], "structlog", "server"),
        (["piecework", "server", "run"], "sqlalchemy", "server"),
        (["piecework", "server", "token", "list", "--database-url", "postgresql://h/d"], "psycopg", "postgres"),
        (["piecework", "worker", "run"], "structlog", "worker"),
        (["piecework", "worker", "run"], "wasmtime", "worker"),
        (["worker-agent", "runtimes"], "structlog", "worker"),
        (["worker-agent", "run"], "wasmtime", "worker"),
        (["worker-agent", "exec", "FILE", "--allow-http", "x"], "wasmtime", "worker"),
        (["worker-agent", "serve", "FILE", "--port", "0"], "granian", "worker"),
    ],
)
def test_a_missing_extra_is_told_in_one_line_by_every_command(tmp_path, command, library, extra):
    (tmp_path / "a.wasm").write_bytes(b"\0asm\1\0\0\0")
    words = [str(tmp_path / "a.wasm") if word == "FILE" else word for word in command[1:]]
    module = "piecework.cli.main" if command[0] == "piecework" else "piecework.worker_agent.__main__"
    code = (
        f"import sys; sys.modules[{library!r}] = None\n"
        f"from {module} import main; sys.argv = {[command[0], *words]!r}; main()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120
    )
    assert re.fullmatch(
        rf"{command[0]}: {library}[\w.]* is not installed: run pip install 'piecework\[{extra}\]'\n", ran.stderr
    )
    assert ran.returncode == 1
