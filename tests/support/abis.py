"""What runtimes differ in, for the list of tests that all of them pass."""

from collections.abc import Callable
from typing import NamedTuple

MIB = 1024 * 1024


def keep(text: bytes) -> bytes:
    return text


def quote(text: bytes) -> bytes:
    return b'"%b"' % text


def unquote(text: bytes) -> bytes:
    return bytes.fromhex(text.strip(b'"').decode())


TEXTS = {
    "one byte": b"x",
    "utf-8": "snow ☃ and 🏓".encode(),
    "NUL": b"a\0b",
    "zeros": b"\0" * 65_537,
}
BINARY = {**TEXTS, "empty": b"", "binary": bytes(range(256)) * 3}
JSON = {
    "one byte": b"7",
    "utf-8": '{"snow": "☃ and 🏓"}'.encode(),
    "NUL": b'"a\\u0000b"',
    "array": b"[null, true, 1.5e300, []]",
    "large number": b"123456789012345678901234567890",
}


class Abi(NamedTuple):
    """One runtime's ways."""

    echoes: dict[str, bytes]
    """The widest that it carries."""
    wrap: Callable[[bytes], bytes]
    """Make an input or output of ASCII text."""
    unwrap_told: Callable[[bytes], bytes]
    """Return the bytes that ``tell`` found."""
    for_nothing: bytes
    """What ``echo`` gives without an input."""
    failure: str
    """The error of ``fail``."""
    failure_log: bytes
    line_end: bytes
    """What is added to each text that a guest logs."""
    outside: str
    """In the error of a guest whose output lies outside of its memory."""
    entry: str
    lacks: dict[str, str]
    """Behaviours that it has no guest for, and why."""
    header: bytes = b"\0asm\x01\0\0\0"
    """How its code begins, and how code begins that is for others."""
    other_header: bytes = b"\0asm\x0d\0\x01\0"
    other_hint: str = "component"
    shows_memory: bool = True
    """How much memory a guest had is in its usage."""
    suffix: str = "wat"
    """Of its guests' files."""
    depth: str = "call stack exhausted"
    """In the error of a guest that recurses without end."""
    fuel: int = 10_000
    """More than ``echo`` needs."""
    seed: bytes | None = None
    """Makes ``echo`` use the same fuel in every run."""
    memory_bytes: int = 3 * 65_536
    """More than ``echo`` takes."""
    content_type: str = "text/plain; charset=utf-8"
    """Of the answer to a request."""


ONE_ANSWER = "its output is one answer, which is given when the guest is done: there is nothing to close"

NO_MODULE = "its code is a script, and its module is always the same"
OF_MODULES = ("grow_table", "no_entry", "result_negative", "result_outside", "trap", "unknown_import")
SCRIPTS_LACK = dict.fromkeys((*OF_MODULES, "write_after_close"), NO_MODULE)


def make_script_abi(
    suffix: str, complaint: str, log: bytes, depth: str, lacks: dict[str, str] | None = None
) -> Abi:
    return Abi(
        BINARY, keep, keep, b"", f"exit code 1: {complaint}", log, b"", "", "", SCRIPTS_LACK | (lacks or {}),
        suffix=suffix, depth=depth, fuel=10**10, seed=b"seed", memory_bytes=40 * MIB,
    )  # fmt: skip


LUA_LOG = b"""lua: script.lua:3: no luck
stack traceback:
\t[C]: in function 'error'
\tscript.lua:3: in local 'give_up'
\tscript.lua:5: in main chunk
\t[C]: in ?
"""
JAVASCRIPT_LOG = b"""Error: no luck
    at giveUp (script.js:3:13)
    at <anonymous> (script.js:5:1)

"""
MICROPYTHON_LOG = b"""Traceback (most recent call last):
  File "script.py", line 6, in <module>
  File "script.py", line 3, in give_up
ValueError: no luck
"""
PYTHON_LOG = b"""Traceback (most recent call last):
  File "/script.py", line 6, in <module>
    give_up()
  File "/script.py", line 3, in give_up
    raise ValueError("no luck")
ValueError: no luck
"""

SCRIPT_ABIS = {
    "javascript": make_script_abi("js", "Error: no luck (line 3)", JAVASCRIPT_LOG, "out of bounds memory access"),
    "lua5.4": make_script_abi(
        "lua",
        "lua: script.lua:3: no luck",
        LUA_LOG,
        "stack overflow",
        {"sleep": "Lua has no function that sleeps"},
    ),
    "micropython": make_script_abi(
        "py", "ValueError: no luck (line 3)", MICROPYTHON_LOG, "maximum recursion depth exceeded"
    ),
    "python3.12": make_script_abi(
        "py", "ValueError: no luck (line 3)", PYTHON_LOG, "maximum recursion depth exceeded"
    ),
}
MODULE_ABIS = {
    "wasi": Abi(
        BINARY, keep, keep, b"", "exit code 3: no luck", b"no luck\n", b"", "exit code 21", "'_start'", lacks={}
    ),
    "capsule": Abi(
        BINARY, keep, keep, b"", "no luck", b"", b"\n", "outside of the guest's memory", "'callHandle'",
        lacks={"write_after_close": ONE_ANSWER},
    ),
    "component": Abi(
        BINARY, keep, keep, b"", "exit code 1: no luck", b"no luck\n", b"", "", "'wasi:cli/run@0.2.0'",
        lacks={
            "sleep": "wasmtime's own clock does not hear of a stop: the executor kills the process, see its tests",
            "write_after_close": "a stream that was given back has no handle any more: to use one is a trap",
            "result_outside": "wasmtime checks what a guest points to: it is a trap",
            "result_negative": "wasmtime checks what a guest points to: it is a trap",
            "tell": "WASI 0.2 has other calls for these: see its tests",
        },
        header=b"\0asm\x0d\0\x01\0", other_header=b"\0asm\x01\0\0\0", other_hint="core module",
        shows_memory=False,
    ),
    "funless": Abi(
        JSON, quote, unquote, b"{}", "no luck", b"", b"\n", "outside of the guest's memory", "'__invoke'",
        lacks={"write_after_close": ONE_ANSWER}, content_type="application/json",
    ),
}  # fmt: skip
ABIS = MODULE_ABIS | SCRIPT_ABIS

BEHAVIOURS = {
    "echo": "gives back its input, whatever it is: nothing, 10 MB from a file, any bytes or any JSON; keeps "
    "nothing for the next run; answers requests; its fuel is the same in each run",
    "read_part": "may leave its input unread",
    "fail": "fails with its last words and without output; a request gets the status 500",
    "trap": "ends with the cause of its trap and the functions where it was, and does no harm to the next",
    "loop": "is stopped at its time limit when it computes",
    "sleep": "is stopped at its time limit when it sleeps",
    "eat_memory": "is stopped at its memory limit",
    "grow_table": "gets no table without end",
    "recurse": "runs out of stack alone",
    "flood_output": "is stopped at its output limit, and leaves nothing",
    "flood_log": "loses the oldest of a log that is too long, and nothing else",
    "write_after_close": "cannot write to an output that it closed",
    "result_outside": "cannot give away what lies outside of its memory",
    "result_negative": "cannot give away what lies before its memory",
    "unknown_import": "is told which import nobody has",
    "no_entry": "is told which export is missing",
    "tell": "finds clock, random numbers and NaNs that depend on its seed alone, or else differ from run to run",
}
"""What every guest must do, or have done to it, by the name of the guest that shows it."""
