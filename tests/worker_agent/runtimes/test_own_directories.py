"""Directories that jobs have for themselves: what guests of each kind do there."""

import struct
from pathlib import Path

import pytest
from wasi_hand import CREATE, WRITE, Hand

from piecework.protocol.messages import Grants
from piecework.worker_agent.runtimes.services.access import NodeRules, Permissions, SharedDir
from piecework.worker_agent.runtimes.wasi.errno import Errno
from piecework.worker_agent.tasks import JobFolder

SAMPLES = Path(__file__).parents[3] / "samples"
COMPONENT = Path(__file__).with_name("open_path.wat").read_text()
MICROPYTHON = b"""
import os
with open("/src/a") as given, open("made", "w") as made:
    made.write(given.read())
with open("/src/a", "w") as given:
    given.write("changed")
print(sorted(os.listdir("/")))
"""
JAVASCRIPT = b"""
import * as std from "qjs:std";
const file = std.open("made", "w");
file.puts(std.loadFile("src/a")); file.close();
print(std.loadFile("/src/a"));
"""
LUA = b"""
local file = assert(io.open("src/a")); local text = file:read("a"); file:close()
file = assert(io.open("/made", "w")); file:write(text); file:close()
print(text)
"""


@pytest.fixture
def own(tmp_path):
    folder = tmp_path / "own"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "a").write_text("given")
    return folder


@pytest.fixture
def make_hand(make_probe, own):
    def make(grants=Grants(), rules=NodeRules(), *, sealed=False, **bounds):  # noqa: B008  # they are frozen
        access = Permissions.of(grants, rules, "owner", None, str(own), sealed=sealed)
        return Hand(make_probe(access=access, **bounds))

    return make


def test_a_command_reads_and_writes_there(run, own):
    code = (SAMPLES / "copy_file.wasm").read_bytes()
    done = run(code, args=("src/a", "/made"), folder=JobFolder(str(own)))
    assert done.error is None, done
    assert (own / "made").read_text() == "given"


@pytest.mark.integration  # interpreters are built and compiled first, where they have not been
@pytest.mark.parametrize(
    ("runtime", "code", "said"),
    [
        ("micropython", MICROPYTHON, "src"),
        ("javascript", JAVASCRIPT, "given"),
        ("lua5.4", LUA, "given"),
    ],
)
def test_scripts_read_and_write_there_and_find_themselves(run, own, runtime, code, said):
    done = run(code, runtime=runtime, folder=JobFolder(str(own)))
    assert done.error is None, done
    assert said in done.output.decode()
    assert (own / "made").read_text() == "given"
    assert sorted(each.name for each in own.iterdir()) == ["made", "src"]


@pytest.mark.parametrize("seed", [None, b"seed"])
def test_a_component_reads_and_writes_there(run, build_text, own, seed):
    def attempt(path, opening, how):
        text = COMPONENT
        for name, value in {"path": path, "size": len(path), "opening": opening, "how": how}.items():
            text = text.replace(f"{{{name}}}", str(value))
        done = run(build_text(text), runtime="component", folder=JobFolder(str(own)), seed=seed)
        assert done.error is None
        return done.output

    assert attempt("src/a", 0, 1) == b"given"
    attempt("made", 1, 2)
    assert (own / "made").exists()


@pytest.mark.parametrize("sample", ["capsule_hello", "funless_fetch"])
def test_code_that_has_no_files_is_told_so(run, own, sample):
    code = (SAMPLES / f"{sample}.wasm").read_bytes()
    done = run(code, runtime="default", folder=JobFolder(str(own)))
    assert (done.error.kind, done.error.message) == (
        "load",
        "code of this kind has no files: the job's cannot be given to it",
    )


def test_it_takes_the_place_of_what_is_granted_there(make_hand, own, tmp_path):
    (tmp_path / "node").mkdir()
    rules = NodeRules(folder=str(tmp_path / "private"), dirs=(SharedDir(str(tmp_path / "node"), "/", True),))
    guest = make_hand(Grants(files="write", dirs=["/:rw"]), rules)
    assert guest.names() == [b"/", b"/dev"]
    assert guest.read(guest.open(b"src/a")) == b"given"
    assert not (tmp_path / "private").exists()


def test_what_is_given_counts_as_what_the_guest_makes(make_hand):
    guest = make_hand(files_count=3)
    assert not isinstance(guest.open(b"third", WRITE, CREATE), Errno)
    assert guest.open(b"fourth", WRITE, CREATE) is Errno.DQUOT


def test_a_deterministic_guest_is_told_nothing_of_the_node(make_hand, own):
    guest = make_hand(sealed=True)
    (own / "src" / "link").hardlink_to(own / "src" / "a")
    first, folder, again = guest.stat(b"src/a"), guest.stat(b"src"), guest.stat(b"src/link")
    assert (first[1], folder[1], again[1]) == (2, 4, 2)
    assert (first[4], folder[4], folder[3]) == (5, 0, 1)
    assert first[5:] == folder[5:] == (0, 0, 0)
    opened = guest.open(b"src/a")
    assert guest.probe.call("fd_filestat_get", opened, 0) == 0
    assert struct.unpack("<8xQ", guest.probe.get(0, 16)) == (2,)
