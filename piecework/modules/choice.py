"""Which runtime code is for: told from a name that somebody gave, the code, and what its file is called."""

import difflib
import re
from collections.abc import Callable, Iterable
from pathlib import PurePath

from piecework.modules.binary import MAGIC, Binary, ModuleError
from piecework.modules.inspection import CHECKS, read_facts, recognise
from piecework.modules.kinds import LOOK_BYTES, find_kind, read_shebang
from piecework.protocol.matching import RuntimeName

DEFAULT = "default"
"""The runtime that looks at the code and chooses."""
JAVASCRIPT, LUA, MICROPYTHON, PYTHON = "javascript", "lua5.4", "micropython", "python3.12"
SCRIPTS = frozenset({JAVASCRIPT, LUA, MICROPYTHON, PYTHON, "dlabLua", "dlabLua54"})
"""The runtimes whose code is a script, under all of their names."""
BUILT_IN = frozenset({DEFAULT, *CHECKS, *SCRIPTS})
"""The runtimes that agents have without a description by their operator."""
ALIASES = {
    **dict.fromkeys(("js", "mjs", "qjs", "quickjs"), JAVASCRIPT),
    **dict.fromkeys(("lua", "lua5", "lua54"), LUA),
    **dict.fromkeys(("py", "python", "python3", "python312", "cpython"), PYTHON),
    **dict.fromkeys(("mpy", "upy"), MICROPYTHON),
}
"""What people call them, in lower case."""
ENDINGS = {".js": JAVASCRIPT, ".mjs": JAVASCRIPT, ".cjs": JAVASCRIPT, ".lua": LUA, ".py": PYTHON, ".pyw": PYTHON}
"""Of files with scripts."""
LANGUAGES = {
    **dict.fromkeys((".c", ".h"), "C"),
    **dict.fromkeys((".cc", ".cpp", ".cxx", ".hpp"), "C++"),
    ".go": "Go",
    ".rs": "Rust",
    ".ts": "TypeScript",
    ".zig": "Zig",
    ".java": "Java",
    ".kt": "Kotlin",
    ".cs": "C#",
    ".swift": "Swift",
}
"""Of files with sources that must be compiled, by their endings."""
_INTERPRETERS = (
    (re.compile(r"micropython[\d.]*"), MICROPYTHON),
    (re.compile(r"python[\d.]*"), PYTHON),
    (re.compile(r"lua[\d.]*"), LUA),
    (re.compile(r"node|nodejs|qjs|quickjs|js|bun|deno"), JAVASCRIPT),
)
_NAMES = f"{LUA}, {JAVASCRIPT}, {PYTHON} or {MICROPYTHON}"


def choose_runtime(wanted: str, code: Binary, file_name: str = "") -> str:
    """Return the runtime that code needs: the one that is wanted, or with ``default`` what the code is for.

    A wasm binary tells it; a script by its first line, or the ending of its file. Raises ModuleError.
    """
    if wanted != DEFAULT:
        return wanted
    if code[: len(MAGIC)] == MAGIC:
        component, facts = read_facts(code)
        return recognise(facts, component=component) or wanted
    found = find_script_runtime(code[:LOOK_BYTES], file_name)
    if found is None:
        raise ModuleError(_explain_unknown(code[:LOOK_BYTES], file_name))
    return found


def find_script_runtime(code: bytes, file_name: str = "") -> str | None:
    """Return the runtime for a script: its first line decides before the ending of its file. None: not known."""
    kind = find_kind(code)
    if kind.binary:
        return None
    program = PurePath(next(filter(_is_program, read_shebang(code).split()), "")).name.lower()
    named = next((runtime for pattern, runtime in _INTERPRETERS if pattern.fullmatch(program)), None)
    return named or (None if program else ENDINGS.get(PurePath(file_name).suffix.lower()))


def check_script(runtime: str, code: Binary) -> None:
    """Raise ModuleError for code that is certainly no script for this runtime; of others than ours little is."""
    if code[: len(MAGIC)] == MAGIC:
        component, facts = read_facts(code)
        better = recognise(facts, component=component)
        advice = f"name the runtime {better}, or none" if better else "name a runtime for modules"
        raise ModuleError(f"this is a wasm binary, and {runtime} runs scripts: {advice}")
    kind = find_kind(code[:LOOK_BYTES])
    is_own = code[:4] == b"\x1bLua" and runtime in {LUA, "dlabLua", "dlabLua54"}
    if kind.binary and not is_own and runtime in SCRIPTS:
        advice = f": {kind.advice}" if kind.advice else ""
        raise ModuleError(f"this is {kind.words}, and {runtime} runs scripts{advice}")


def resolve_runtime(wanted: str, offered: Callable[[], Iterable[str] | None]) -> str:
    """Return the name of a runtime for what somebody calls it: ``python`` is ``python3.12``, features stay.

    Only for a name that is not built in, ``offered`` is asked which there are; a name that is among them is
    itself. It may give None: nobody knows, so any name is taken. Raises ModuleError, with the nearest name.
    """
    base, plus, features = wanted.strip().partition("+")
    if base in BUILT_IN:
        return wanted.strip()
    found = offered()
    names = {RuntimeName.parse(each).base for each in found or ()}
    if base in names:
        return wanted.strip()
    if base.lower() in ALIASES:
        return ALIASES[base.lower()] + plus + features
    if found is None:
        return wanted.strip()
    raise ModuleError(_explain_name(base, names))


def suggest_runtime(base: str, offered: Iterable[str] = ()) -> str:
    """Return the runtime that somebody most likely means by a name that none has; empty: none is near."""
    by_lower = {each.lower(): each for each in (*ALIASES, *BUILT_IN, *offered)}
    near = difflib.get_close_matches(base.lower(), by_lower, n=1)
    nearest = by_lower[near[0]] if near else ""
    return ALIASES.get(nearest, nearest)


def _explain_name(name: str, offered: Iterable[str]) -> str:
    nearest = suggest_runtime(name, offered)
    meant = f"did you mean {nearest}? There are" if nearest else "there are"
    return f"there is no runtime {name!r}: {meant} {', '.join(sorted(BUILT_IN.union(offered)))}"


def _is_program(word: str) -> bool:
    """Tell whether a word of a first line may be the program: not ``env``, nor an option or a variable of it."""
    return not (word.startswith("-") or "=" in word or PurePath(word).name == "env")


def _explain_unknown(code: bytes, file_name: str) -> str:
    kind, language = find_kind(code), LANGUAGES.get(PurePath(file_name).suffix.lower())
    if language and not kind.binary:
        return f"this is source in {language}: compile it to WASI, as docs/guests.md tells"
    shebang = read_shebang(code)
    if shebang:
        return f"this is a script for {shebang}, which no runtime has: name the runtime that does, {_NAMES}"
    advice = kind.advice or f"for a script, name the runtime: {_NAMES}"
    return f"this is {kind.words}, not a wasm module: {advice}"
