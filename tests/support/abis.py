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


ONE_ANSWER = "its output is one answer, which is given when the guest is done: there is nothing to close"

ABIS = {
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
            "tell": "clock and random numbers are wasmtime's own: a deterministic lambda must not want them",
        },
        header=b"\0asm\x0d\0\x01\0", other_header=b"\0asm\x01\0\0\0", other_hint="core module",
        shows_memory=False,
    ),
    "funless": Abi(
        JSON, quote, unquote, b"{}", "no luck", b"", b"\n", "outside of the guest's memory", "'__invoke'",
        lacks={"write_after_close": ONE_ANSWER},
    ),
}  # fmt: skip
