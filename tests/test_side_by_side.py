"""The tests run in several processes, and what goes wrong in any of them is seen."""

import json
from pathlib import Path

import pytest
from side_by_side import main, share_out

CONFTEST = """
import json

def pytest_addoption(parser):
    parser.addoption("--note-times")

def pytest_sessionfinish(session):
    with open(session.config.getoption("note_times"), "w") as file:
        json.dump({arg: 7.0 for arg in session.config.args}, file)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with three files of tests."""
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "conftest.py").write_text(CONFTEST)
    for name in ("a", "b"):
        (tests / f"test_{name}.py").write_text(f"def test_{name}(): pass\n")
    (tests / "test_none.py").write_text("")
    return tmp_path


def test_files_are_shared_out_by_their_times_and_those_without_by_their_size(tmp_path: Path):
    sizes = {"long": 0, "new": 30_000, "short": 0, "shorter": 0}
    files = [tmp_path / name for name in sizes]
    for file in files:
        file.write_bytes(bytes(sizes[file.name]))
    times = {
        str(tmp_path / name): seconds for name, seconds in {"long": 4.0, "short": 2.0, "shorter": 0.5}.items()
    }
    shares = share_out(files, times, 2)
    assert [[file.name for file in share] for share in shares] == [["long", "shorter"], ["new", "short"]]
    assert len(share_out(files, times, 9)) == 4


@pytest.mark.integration
def test_all_tests_run_and_their_times_are_kept(project: Path, capsys: pytest.CaptureFixture[str]):
    assert main(project, [], 3) == 0
    said = capsys.readouterr().out
    assert said.count("1 passed") == 2
    assert "in 3 processes" in said
    assert set(json.loads((project / "build" / "tests" / "times.json").read_text()).values()) == {7.0}


@pytest.mark.integration
@pytest.mark.parametrize("broken", ["def test_c(): assert 'this' == 'that'\n", "from nowhere import that\n"])
def test_what_goes_wrong_in_one_process_is_shown(project: Path, capsys: pytest.CaptureFixture[str], broken: str):
    (project / "tests" / "test_c.py").write_text(broken)
    assert main(project, [], 2) == 1
    assert "that" in capsys.readouterr().out
