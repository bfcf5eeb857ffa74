"""Directories that a component was granted: it reads in there, and writes where both sides allow that."""

import re
from pathlib import Path

import pytest

from piecework.protocol.messages import Grants
from piecework.worker_agent.runtimes.services.access import NodeRules, SharedDir

TEXT = Path(__file__).with_name("open_path.wat").read_text()
CASES = re.findall(r'"([a-z-]+)"', TEXT[TEXT.index("(enum") : TEXT.index('(export "error-code"')])
DENIED = (b"!not-permitted", b"!read-only", b"!loop", b"!not-directory")
HOSTS = [("/data",), ("/data:rw",)]
"""wasmtime's own WASI, and ours."""
READ, CREATE, TRUNCATE, WRITE = 0, 1, 8, 2


def count_open_files():
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.fixture
def folder(tmp_path):
    shared, beside = tmp_path / "shared", tmp_path / "beside"
    for made in (shared, shared / "sub", beside):
        made.mkdir()
    (shared / "file").write_text("hello")
    (beside / "secret").write_text("secret")
    (shared / "out").symlink_to("../beside/secret")
    (shared / "absolute").symlink_to(beside / "secret")
    (shared / "folder").symlink_to("../beside")
    return shared


@pytest.fixture
def attempt(run, build_text, folder):
    """Return a function that opens a path as a component, and returns what it read, or the error's name."""

    def run_guest(path, *, opening=READ, how=1, grants=("/data",), seed=None):
        text = TEXT
        for name, value in {"path": path, "size": len(path), "opening": opening, "how": how}.items():
            text = text.replace(f"{{{name}}}", str(value))
        rules = NodeRules(dirs=(SharedDir(str(folder), "/data", write=True),))
        code = build_text(text)
        done = run(code, rules, runtime="component", grants=Grants(dirs=list(grants)), seed=seed)
        assert done.error is None
        said = done.output
        if said[:1] == b"!":
            return b"!" + (CASES[said[1]].encode() if said[1] < 255 else b"no directory"), done.log
        return said, done.log

    return run_guest


@pytest.mark.parametrize("grants", HOSTS)
def test_granted_directory_is_read(attempt, grants):
    assert attempt("file", grants=grants) == (b"hello", b"")
    assert attempt("sub/../file", grants=grants)[0] == b"hello"


def test_directory_that_is_not_granted_is_not_there(attempt):
    assert attempt("file", grants=())[0] == b"!no directory"
    assert attempt("file", grants=("/other",))[0] == b"!no directory"
    assert attempt("file", seed=b"a")[0] == b"!no directory"


@pytest.mark.parametrize("grants", HOSTS)
@pytest.mark.parametrize(
    "path", ["../beside/secret", "/etc/passwd", "out", "absolute", "folder/secret", "sub/../../beside/secret"]
)
def test_no_path_leads_out(attempt, path, grants):
    assert attempt(path, grants=grants)[0] in DENIED


@pytest.mark.parametrize(
    ("path", "opening", "how"),
    [("file", READ, WRITE), ("file", TRUNCATE, 1 | WRITE), ("file", TRUNCATE, 1), ("new", CREATE, 1 | WRITE)],
)
def test_nothing_is_written_without_that_grant(attempt, folder, path, opening, how):
    assert attempt(path, opening=opening, how=how)[0].startswith(b"!")
    assert (folder / "file").read_text() == "hello"
    assert not (folder / "new").exists()


@pytest.mark.parametrize(("path", "opening"), [("file", TRUNCATE), ("new", CREATE)])
def test_files_are_written_where_that_is_granted(attempt, folder, path, opening):
    assert attempt(path, opening=opening, how=1 | WRITE, grants=("/data:rw",)) == (b"", b"")
    assert (folder / path).read_bytes() == b""


def change_paths(run, build_text, folder, grant):
    """Return how each step of a component ended that makes links and sets times, and where its link leads."""
    rules = NodeRules(dirs=(SharedDir(str(folder), "/data", write=True),))
    code = build_text(Path(__file__).with_name("change_paths.wat").read_text())
    done = run(code, rules, runtime="component", grants=Grants(dirs=[grant], http=["a"]))
    assert done.error is None
    steps = done.output[:14]
    return [CASES[code] if failed else "" for failed, code in zip(steps[::2], steps[1::2], strict=True)], done


def test_links_are_made_and_times_are_set(run, build_text, folder):
    file = folder / "file"
    access_ns = file.stat().st_atime_ns
    steps, done = change_paths(run, build_text, folder, "/data:rw")
    assert steps == ["", "invalid", "", "", "invalid", "", "not-permitted"]
    assert done.output[14:] == b"file"
    assert (file.stat().st_atime_ns, file.stat().st_mtime_ns) == (access_ns, 7_000_000_005)
    assert folder.stat().st_atime_ns == 9_000_000_000
    assert folder.stat().st_mtime_ns > 7_000_000_005
    assert (folder / "again").stat().st_ino == file.stat().st_ino
    assert (folder / "link").readlink() == Path("file")
    assert not (folder / "gone").is_symlink()
    assert b"leads out of /data: denied" in done.log


def test_directory_that_is_gone_is_told_in_the_log(attempt, folder):
    folder.rename(folder.with_name("elsewhere"))
    assert attempt("file") == (
        b"!no directory",
        b"directory /data denied: this node cannot open it: No such file or directory\n",
    )


def test_folder_that_is_swapped_for_a_link_leads_nowhere_else(attempt, folder):
    folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to(folder.with_name("beside"))
    assert attempt("secret")[0] == b"!no directory"


@pytest.mark.parametrize("grants", HOSTS)
def test_runs_leave_no_open_directory(attempt, grants):
    attempt("file", grants=grants)
    before = count_open_files()
    for _ in range(5):
        attempt("file", grants=grants)
    assert count_open_files() == before
