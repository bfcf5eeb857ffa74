"""Building Lua on the node: its C sources are in a Python package, and so is the compiler.

The sources are checked against a digest before anything looks into them. Nothing half-done is ever found: the
module gets its name, which has its digest, when it is complete.
"""

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from piecework.worker_agent.errors import InterpreterError
from piecework.worker_agent.runtimes.scripting.interpreters import LUA, find_built

SOURCE = "lupa==2.8"
SOURCE_SHA256 = "d8022641b9ec8ecf2c5ecbe9f47e5a70e0b87c4b5ae921b92cb02a638e0acd08"
"""Of the source distribution, 6 MB."""
COMPILER = "ziglang==0.17.1"
SETUPTOOLS = "setuptools>=80"
"""What pip needs to accept a source distribution."""
_FOLDER = "/third-party/lua54/"
_LEFT_OUT = ("onelua.c", "ltests.c")
_WITHIN_S = 1200

_SHIM = """\
#include <errno.h>
#include <stdio.h>
int system(const char *command) { errno = ENOTSUP; return command ? -1 : 0; }
FILE *tmpfile(void) { errno = ENOTSUP; return 0; }
char *tmpnam(char *name) { (void)name; return 0; }
"""
"""What WASI's libc lacks: it fails when it is called."""
_TAG = ".tagtype __c_longjmp i32\n.globl __c_longjmp\n__c_longjmp:\n"
"""What ``longjmp`` throws: Lua's errors are exceptions of WebAssembly."""
_FLAGS = (
    *("-target", "wasm32-wasi", "-O2", "-s", "-w", "-Wl,-z,stack-size=1048576"),
    *("-mexception-handling", "-mllvm", "-wasm-enable-sjlj", "-mllvm", "-wasm-use-legacy-eh=false"),
    *("-D_WASI_EMULATED_SIGNAL", "-D_WASI_EMULATED_PROCESS_CLOCKS", "-DL_tmpnam=16"),
    *("-lwasi-emulated-signal", "-lwasi-emulated-process-clocks", "-lm"),
)

Say = Callable[[str], object]
"""Tells the operator what is about to happen."""


def install_lua(folder: Path, say: Say, source: Path | None = None) -> Path:
    """Build Lua into a folder, unless it is there, and return the module.

    ``source`` is the source distribution, if it is here already. Raises InterpreterError.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _alone_in(folder):
            return _find_sound(folder, say) or _build(folder, say, source)
    except OSError as error:
        raise InterpreterError(f"{LUA} cannot be built in {folder}: {error}") from error


def _find_sound(folder: Path, say: Say) -> Path | None:
    found = find_built(folder)
    if found is None:
        return None
    path, checksum = found
    if _digest(path) != checksum:
        say(f"{path} is damaged: building it again")
        path.unlink()
        return None
    say(f"{LUA} is here: {path}")
    return path


def _build(folder: Path, say: Say, source: Path | None) -> Path:
    with tempfile.TemporaryDirectory(prefix=".building-", dir=folder) as name:
        work = Path(name)
        if source is None:
            source = _download(work, say)
        found = _digest(source)
        if found != SOURCE_SHA256:
            raise InterpreterError(f"{source.name} is not the source of {SOURCE}: its SHA-256 is {found}")
        _unpack(source, work / "lua")
        wasm = _compile(work, say)
        path = folder / f"{LUA}-{_digest(wasm)}.wasm"
        with wasm.open("rb") as file:
            os.fsync(file.fileno())
        wasm.replace(path)
    say(f"built {path}, {path.stat().st_size // 1024} KiB")
    return path


def _download(work: Path, say: Say) -> Path:
    say(f"downloading the C sources of Lua: the source distribution of {SOURCE} (6 MB), with pip")
    _get_tool(SETUPTOOLS, work, "1 MB, to read its metadata", say)
    wanted = work / "wanted.txt"
    wanted.write_text(f"{SOURCE} --hash=sha256:{SOURCE_SHA256}\n")
    options = ("--no-deps", "--no-binary", ":all:", "--no-build-isolation", "--require-hashes", "--dest")
    _run([*_PIP, "download", *options, str(work / "source"), "--requirement", str(wanted)], work, "pip download")
    return next((work / "source").iterdir())


def _compile(work: Path, say: Say) -> Path:
    if importlib.util.find_spec("ziglang") is None:
        _get_tool(COMPILER, work, "100 MB, to compile them; it is removed afterwards", say)
    say("compiling Lua: a minute or two")
    (work / "shim.c").write_text(_SHIM)
    (work / "tag.s").write_text(_TAG)
    wasm = work / "lua.wasm"
    sources = [str(path) for path in sorted((work / "lua").glob("*.c"))]
    compiler = [sys.executable, "-m", "ziglang", "cc", *_FLAGS]
    _run([*compiler, *sources, str(work / "shim.c"), str(work / "tag.s"), "-o", str(wasm)], work, "the compiler")
    wasm.chmod(0o600)
    return wasm


_PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")


def _get_tool(wanted: str, work: Path, why: str, say: Say) -> None:
    say(f"downloading {wanted} ({why})")
    _run([*_PIP, "install", "--target", str(work / "tools"), "--upgrade", wanted], work, "pip install")


def _run(command: list[str], work: Path, what: str) -> None:
    # Lupa is not built: it shall not look for libraries to build it with.
    environ = os.environ | {
        "PYTHONPATH": str(work / "tools"),
        "LUPA_NO_BUNDLE": "true",
        "ZIG_GLOBAL_CACHE_DIR": str(work / "zig"),
        "ZIG_LOCAL_CACHE_DIR": str(work / "zig"),
    }
    try:
        done = subprocess.run(  # noqa: S603  # our own commands
            command, env=environ, cwd=work, capture_output=True, text=True, check=False, timeout=_WITHIN_S
        )
    except subprocess.TimeoutExpired as error:
        raise InterpreterError(f"{what} did not end within {_WITHIN_S} s") from error
    if done.returncode:
        words = "\n".join((done.stderr or done.stdout).strip().splitlines()[-12:])
        raise InterpreterError(f"{what} failed with code {done.returncode}:\n{words}")


def _unpack(source: Path, folder: Path) -> None:
    """Write the C files of Lua into a folder, and nothing else."""
    folder.mkdir()
    with tarfile.open(source) as archive:
        for member in archive:
            name = Path(member.name).name
            inside = member.isfile() and member.name.endswith(_FOLDER + name)
            if inside and name.endswith((".c", ".h")) and name not in _LEFT_OUT:
                file = archive.extractfile(member)
                assert file is not None
                (folder / name).write_bytes(file.read())


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Let one process at a time build, and remove what one that was killed has left."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for leftover in folder.glob(".building-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
