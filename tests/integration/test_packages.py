"""What is released: packages that have everything, and are the same bytes wherever they are built."""

import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from packages import EPOCH, ROOT, build, copy_project, read_backend

from piecework import __version__

pytestmark = pytest.mark.integration

STEM = f"piecework-{__version__}"
NAMES = (f"{STEM}.tar.gz", f"{STEM}-py3-none-any.whl")
RUN_TESTS = """
import sys, pytest
code = pytest.main(sys.argv[1:])
import piecework.server
print(piecework.server.__file__)
sys.exit(code)
"""
LINKS = {"piecework/server", "piecework/worker_agent", "piecework/migrations", "piecework/samples"}


@pytest.fixture
def unpacked(built: Path, tmp_path: Path) -> Path:
    """The folder that somebody has who unpacks the sdist."""
    with tarfile.open(built / NAMES[0]) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / STEM


def test_the_sdist_has_all_files_once_and_links_as_links(built: Path):
    with tarfile.open(built / NAMES[0]) as archive:
        entries = {entry.name.removeprefix(f"{STEM}/"): entry for entry in archive}
    assert entries.keys() == {*read_backend()["find_sources"](), "PKG-INFO"}
    assert {name for name, entry in entries.items() if entry.issym()} == LINKS
    assert {(entry.mtime, entry.uid, entry.uname) for entry in entries.values()} == {(int(EPOCH), 0, "")}
    assert entries[".ci/run"].mode == 0o755


def test_the_wheel_has_sources_samples_and_version(built: Path):
    with zipfile.ZipFile(built / NAMES[1]) as wheel:
        names = set(wheel.namelist())
        metadata = wheel.read(f"{STEM}.dist-info/METADATA").decode()
        modes = {stat.S_IMODE(entry.external_attr >> 16) for entry in wheel.infolist()}
    sources = {path for path in read_backend()["find_sources"]() if path.endswith((".py", ".html", ".sql", ".js"))}
    inside = {
        f"piecework/{path}" for path in sources if path.startswith(("server/", "worker_agent/", "migrations/"))
    }
    assert inside | {path for path in sources if path.startswith("piecework/")} <= names
    assert {f"piecework/samples/{path.name}" for path in ROOT.glob("samples/*.wasm")} < names
    assert not [name for name in names if "/wire/" in name or name.startswith(("tests", "samples"))]
    assert re.search(rf"^Version: {__version__}$", metadata, re.MULTILINE)
    assert modes <= {0o644, 0o664}


def test_builds_in_different_places_give_the_same_bytes(built: Path, tmp_path: Path):
    project = copy_project(tmp_path / "another" / "place")
    for path in project.rglob("*"):
        if path.is_file():
            path.chmod(0o700 if path.stat().st_mode & 0o100 else 0o600)
            os.utime(path, (1, 1_600_000_000))
    gone = project / "build" / "lib" / "piecework" / "gone.py"
    gone.parent.mkdir(parents=True)
    gone.write_text("of a build long ago")
    again = build(project, tmp_path / "dist", umask=0o077)
    for name in NAMES:
        assert (again / name).read_bytes() == (built / name).read_bytes(), name


def test_the_sdist_builds_the_same_again(built: Path, unpacked: Path, tmp_path: Path):
    again = build(unpacked, tmp_path / "dist", epoch=None)
    for name in NAMES:
        assert (again / name).read_bytes() == (built / name).read_bytes(), name


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no checkout")
def test_without_a_date_the_commit_has_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    told = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, check=True)
    assert read_backend()["find_epoch"]() == int(told.stdout)


def test_tests_run_in_the_unpacked_sdist(unpacked: Path):
    files = ["tests/test_sizes.py", "tests/piecework/test_golden_messages.py", "tests/docs/test_links.py"]
    done = subprocess.run(
        [sys.executable, "-c", RUN_TESTS, "-p", "no:cacheprovider", *files],
        cwd=unpacked,
        env=os.environ | {"PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith(str(unpacked))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with what makes releases, one commit, and nothing that is not committed."""
    for name in ("release/make_release.py", "piecework/__init__.py"):
        (tmp_path / name).parent.mkdir()
        shutil.copy(ROOT / name, tmp_path / name)
    git(tmp_path, "init", "--quiet")
    commit(tmp_path, "The first")
    return tmp_path


def git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.org")
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


def commit(folder: Path, message: str) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", message)


def refuse(repository: Path) -> str:
    """Try to make a release and return why there is none."""
    command = [sys.executable, repository / "release" / "make_release.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert not (repository / "dist").exists()
    return done.stderr


def test_files_that_are_not_committed_stop_a_release(repository: Path):
    (repository / "left.py").write_text("forgotten")
    assert refuse(repository) == "No release: these files are not committed:\n?? left.py.\n"


def test_a_version_is_released_from_one_commit(repository: Path):
    git(repository, "tag", f"v{__version__}")
    commit(repository, "The second")
    assert f"v{__version__} is another commit: raise __version__" in refuse(repository)
