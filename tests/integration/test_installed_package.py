"""The package as others have it: built, installed, and used by programs whose types are checked."""

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

FOLDERS = ("server", "worker_agent", "migrations")
"""Of a checkout, beside the one that has the package's name."""
USES = """
from typing import assert_type

from piecework import ApiError, Client, JobFailed, JobResult, StillRunning


def add(client: Client, lambda_: int) -> bytes | None:
    try:
        assert_type(client.run(lambda_, {"a": 1}, timeout_s=5), bytes)
        for _, result in client.results([5]):
            assert_type(result, JobResult)
        return client.result(client.submit(lambda_, b"input", priority=3))
    except JobFailed as failure:
        assert_type(failure.kind, str)
    except StillRunning as late:
        print(len(late.unfinished))
    except ApiError as error:
        assert_type(error.http_status, int)
    return None
"""
MISUSES = """
import piecework

piecework.Client(url=5)
piecework.JobFialed
piecework.JobFailed.nothing
piecework.Client().submit(5, b"", prioritee=3)
"""


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment in which the package is installed from its wheel."""
    folder = tmp_path_factory.mktemp("package")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    [packages] = (folder / "venv").glob("lib/python*/site-packages")
    [wheel] = built.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(packages)
    (packages / "what-it-needs.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "venv" / "bin" / "python"


def run(installed: Path, *arguments: str | Path) -> str:
    """Run Python there, in a folder from which the project's own files are not found."""
    ran = subprocess.run(
        [installed, *arguments], cwd=installed.parent, capture_output=True, text=True, check=True, timeout=120
    )
    return ran.stdout


def check_types(installed: Path, program: str) -> list[str]:
    """Return what mypy says of a program that uses the installed package."""
    path = installed.parent / "program.py"
    path.write_text(program)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--python-executable",
        installed,
        "--no-incremental",
        path,
    ]
    ran = subprocess.run(command, cwd=installed.parent, capture_output=True, text=True, check=False, timeout=300)
    return [line for line in ran.stdout.splitlines() if ": error:" in line]


@pytest.mark.integration
def test_the_package_takes_one_name_only(built: Path, installed: Path):
    [wheel] = built.glob("*.whl")
    folders = {Path(name).parts[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name.partition("-")[0] for name in folders} == {"piecework"}
    for name in FOLDERS:
        (installed.parent / f"{name}.py").write_text("raise SystemExit(f'{__name__} is a file of the user')")
    assert "Usage" in run(installed, "-m", "piecework", "server", "run", "--help")
    assert "Usage" in run(installed, "-m", "piecework", "worker", "run", "--help")


@pytest.mark.integration
def test_the_installed_package_works(installed: Path):
    where = run(installed, "-c", "import piecework; print(piecework.__file__, piecework.Client.__name__)")
    assert where.split() == [
        str(next((installed.parents[1]).glob("lib/python*/site-packages/piecework/__init__.py"))),
        "Client",
    ]
    assert "none -> " in run(installed, "-m", "piecework", "server", "migrate", "--data", "data")
    assert "samples/uppercase.c" in run(installed, "-m", "piecework", "samples", "copy", "--all", "samples")
    agent = "from piecework.worker_agent.cli import main; main()"
    said = run(installed, "-c", agent, "exec", "samples/capsule_hello.wasm", "hello")
    assert said.endswith("The first parameter is: hello\n")


@pytest.mark.integration
def test_programs_that_use_the_installed_package_are_checked(installed: Path):
    assert check_types(installed, USES) == []
    wrong = check_types(installed, MISUSES)
    assert [line.split(":")[1] for line in wrong] == ["4", "5", "6", "7"], wrong
