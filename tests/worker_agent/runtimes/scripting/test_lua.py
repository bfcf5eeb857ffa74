"""Building Lua: what is refused, and what is not done twice."""

import hashlib
import io
import tarfile

import pytest

from piecework.worker_agent.errors import InterpreterError
from piecework.worker_agent.runtimes.scripting import lua
from piecework.worker_agent.runtimes.scripting.interpreters import find_built


@pytest.fixture
def said():
    return []


def make_source(path, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def put(folder, content=b"\0asm"):
    folder.mkdir(exist_ok=True)
    path = folder / f"lua5.4-{hashlib.sha256(content).hexdigest()}.wasm"
    path.write_bytes(content)
    return path


def test_changed_source_is_refused_before_it_is_opened(tmp_path, said):
    source = tmp_path / "lupa-2.8.tar.gz"
    source.write_bytes(b"something else")
    with pytest.raises(InterpreterError, match=r"lupa-2\.8\.tar\.gz is not the source of lupa==2\.8: its SHA-256"):
        lua.install_lua(tmp_path / "here", said.append, source)
    assert [path.name for path in (tmp_path / "here").iterdir()] == [".lock"]


def test_lua_that_is_here_is_left_alone_and_nothing_is_downloaded(tmp_path, said):
    path = put(tmp_path / "here")
    assert lua.install_lua(tmp_path / "here", said.append) == path
    assert said == [f"lua5.4 is here: {path}"]


def test_damaged_lua_is_removed_and_leftovers_of_a_killed_build_too(tmp_path, said):
    path = put(tmp_path / "here")
    path.write_bytes(b"damaged")
    (tmp_path / "here" / ".building-x").mkdir()
    (tmp_path / "source").touch()
    with pytest.raises(InterpreterError, match="is not the source"):
        lua.install_lua(tmp_path / "here", said.append, tmp_path / "source")
    assert said == [f"{path} is damaged: building it again"]
    assert find_built(tmp_path / "here") is None
    assert [path.name for path in (tmp_path / "here").iterdir()] == [".lock"]


def test_only_the_c_files_of_lua_are_unpacked(tmp_path):
    inside = "lupa-2.8/third-party/lua54/"
    source = make_source(
        tmp_path / "source.tar.gz",
        {
            f"{inside}lua.c": b"yes",
            f"{inside}lua.h": b"yes",
            f"{inside}onelua.c": b"no",
            f"{inside}makefile": b"no",
            f"{inside}testes/other.c": b"no",
            f"{inside}../../../../out.c": b"no",
            "lupa-2.8/third-party/lua53/lua.c": b"no",
        },
    )
    lua._unpack(source, tmp_path / "into")
    assert {path.name: path.read_bytes() for path in (tmp_path / "into").iterdir()} == {
        "lua.c": b"yes",
        "lua.h": b"yes",
    }


def test_command_that_fails_is_reported_with_its_last_words(tmp_path):
    with pytest.raises(InterpreterError, match="the compiler failed with code 1:\nno such thing"):
        lua._run(["sh", "-c", "echo no such thing >&2; exit 1"], tmp_path, "the compiler")


def test_folder_that_cannot_be_used_is_named(tmp_path, said):
    (tmp_path / "file").touch()
    with pytest.raises(InterpreterError, match=r"lua5\.4 cannot be built in"):
        lua.install_lua(tmp_path / "file", said.append)
