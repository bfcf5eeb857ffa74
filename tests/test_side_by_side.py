"""The tests run in several processes, and what goes wrong in any of them is seen."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from patience import until
from side_by_side import PROJECT, USUAL_TIMES, main, put_in_order
from turns import choose

CONFTEST = """
import pytest

@pytest.fixture
def {name}():
    return 7
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with some files of tests, in two folders."""
    tests = tmp_path / "tests"
    (tests / "inner").mkdir(parents=True)
    (tests / "conftest.py").write_text(CONFTEST.format(name="base"))
    (tests / "inner" / "conftest.py").write_text(CONFTEST.format(name="number"))
    for name in ("a", "b", "inner/c", "inner/d"):
        given = "base, number" if name > "c" else "base"
        (tests / f"{name}.py").with_stem(f"test_{name[-1]}").write_text(f"def test_it({given}): pass\n")
    (tests / "test_none.py").write_text("")
    return tmp_path


def test_files_are_taken_by_their_times_and_those_without_by_their_size(tmp_path: Path):
    sizes = {"short": 0, "new": 30_000, "long": 0, "shorter": 0}
    for name, size in sizes.items():
        (tmp_path / name).write_bytes(bytes(size))
    times = {"long": 4.0, "short": 2.0, "shorter": 0.5}
    assert list(put_in_order(tmp_path, sizes, times).items()) == [
        ("long", 4.0),
        ("new", 3.0),
        ("short", 2.0),
        ("shorter", 0.5),
    ]


FILES = {"a/long": 4.0, "b/one": 3.0, "b/two": 2.5, "a/short": 1.0, "c/small": 0.5}


@pytest.mark.parametrize(
    ("taken", "folder", "next_file"),
    [
        ([], "", "b/one"),
        (["b/one"], "b", "b/two"),
        (["b/one"], "", "a/long"),
        (["b/one", "b/two", "a/long"], "b", "c/small"),
        (["b/one", "a/long", "c/small"], "c", "b/two"),
        (list(FILES), "c", None),
    ],
)
def test_a_process_stays_in_a_folder_and_then_goes_where_nobody_is(
    taken: list[str], folder: str, next_file: str | None
):
    assert choose(FILES, set(taken), folder) == next_file


def test_files_that_are_known_to_take_long_are_there():
    assert [file for file in json.loads(USUAL_TIMES.read_text()) if not (PROJECT / file).is_file()] == []


def read_times(project: Path) -> dict[str, dict[str, float]]:
    times: dict[str, dict[str, float]] = json.loads(
        (project / "build" / "tests" / "times-by-options.json").read_text()
    )
    return times


@pytest.mark.integration
@pytest.mark.parametrize("processes", [1, 3])
def test_each_test_runs_once_and_its_time_is_kept(
    project: Path, capsys: pytest.CaptureFixture[str], processes: int
):
    (project / "tests" / "test_once.py").write_text("import os\ndef test_once(): os.mkdir('once')\n")
    assert main(project, ["-q"], processes) == 0
    said = capsys.readouterr().out
    passed = [int(line.split(" passed")[0]) for line in said.splitlines() if " passed" in line]
    assert sum(passed) == 5
    assert f"in {processes} processes" in said
    times = read_times(project)["-q"]
    assert len(times) == 6
    assert times.pop("tests/test_none.py") == 0
    assert min(times.values()) > 0


@pytest.mark.integration
def test_options_choose_and_have_times_of_their_own(project: Path, capsys: pytest.CaptureFixture[str]):
    marked = "import pytest\n@pytest.mark.filterwarnings('error')\ndef test_m(): pass\ndef test_n(): pass\n"
    (project / "tests" / "test_m.py").write_text(marked)
    assert main(project, ["-q", "-m", "filterwarnings"], 2) == 0
    assert main(project, ["-q", "-k", "test_n or test_d"], 1) == 0
    said = capsys.readouterr().out
    assert "1 passed, " in said
    assert "2 passed, 4 deselected" in said
    assert set(read_times(project)) == {"-q -m filterwarnings", "-q -k test_n or test_d"}


@pytest.mark.integration
@pytest.mark.parametrize(
    ("file", "broken"),
    [
        ("test_e.py", "def test_e(): assert 'this' == 'that'\n"),
        ("test_e.py", "from nowhere import that\n"),
        ("inner/conftest.py", "from nowhere import that\n"),
    ],
)
def test_what_goes_wrong_in_one_process_is_shown(
    project: Path, capsys: pytest.CaptureFixture[str], file: str, broken: str
):
    (project / "tests" / file).write_text(broken)
    assert main(project, [], 2) == 1
    assert "that" in capsys.readouterr().out


ENDLESS = """
import pathlib, threading, pytest

@pytest.fixture(scope="session")
def server():
    yield
    pathlib.Path("stopped").touch()

def test_it(server):
    pathlib.Path("begun").touch()
    threading.Event().wait()
"""


@pytest.mark.integration
def test_a_stop_ends_what_fixtures_began(project: Path):
    (project / "tests" / "test_endless.py").write_text(ENDLESS)
    run = f"from side_by_side import *; stop_in_order(); main(Path({str(project)!r}), [], 2)"
    process = subprocess.Popen([sys.executable, "-c", run], cwd=PROJECT / "tests" / "support")
    until((project / "begun").exists)
    process.terminate()
    process.wait()
    assert (project / "stopped").exists()
