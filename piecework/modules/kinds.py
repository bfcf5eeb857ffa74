"""What bytes are that are no wasm binary, and what to do instead."""

import codecs
from typing import NamedTuple

LOOK_BYTES = 4096
"""So many tell what code is that is no wasm binary."""
_COMPILE = "compile it to WASI, as docs/guests.md tells"
_UNPACK = "unpack it, and take the wasm file or the script in it"
_SOURCE = "take its source"
_SAVED = "see what the address really answers"


class ContentKind(NamedTuple):
    """What bytes are."""

    words: str
    advice: str = ""
    """What to do with such a thing; empty: nothing can be said."""
    binary: bool = False
    """They are certainly no script."""


_ELF = {1: "an ELF object file", 2: "an ELF program for Linux", 3: "an ELF program for Linux"}
_OF_WASMTIME = 200
"""The system for which an ELF file is that wasmtime compiled."""
_FAT_MACH_O_MAX = 40
"""The same four bytes begin a Java class: there a version of the format follows, here a number of programs."""
_STARTS = (
    (b"\xcf\xfa\xed\xfe", "a Mach-O program for macOS", _COMPILE),
    (b"\xce\xfa\xed\xfe", "a Mach-O program for macOS", _COMPILE),
    (b"\xfe\xed\xfa\xcf", "a Mach-O program for macOS", _COMPILE),
    (b"\xfe\xed\xfa\xce", "a Mach-O program for macOS", _COMPILE),
    (b"MZ", "a program for Windows", _COMPILE),
    (b"!<arch>\n", "an archive of object files", _COMPILE),
    (b"BC\xc0\xde", "LLVM bitcode", _COMPILE),
    (b"\x1bLua", "compiled Lua", _SOURCE),
    (b"\x1f\x8b", "a gzip archive", _UNPACK),
    (b"PK\x03\x04", "a zip archive", _UNPACK),
    (b"BZh", "a bzip2 archive", _UNPACK),
    (b"\xfd7zXZ\0", "an xz archive", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"%PDF", "a PDF document", ""),
    (b"\x89PNG", "a picture (PNG)", ""),
    (b"\xff\xd8\xff", "a picture (JPEG)", ""),
    (b"GIF8", "a picture (GIF)", ""),
    (b"SQLite format 3\0", "an SQLite database", ""),
    (b"\xff\xfe", "text in UTF-16", "save it as UTF-8"),
    (b"\xfe\xff", "text in UTF-16", "save it as UTF-8"),
)
_WAT = ContentKind("WebAssembly in the text format", "build it with wat2wasm")
_TEXTS = (
    (b"<!doctype html", ContentKind("an HTML page", _SAVED, binary=True)),
    (b"<html", ContentKind("an HTML page", _SAVED, binary=True)),
    (b"<?xml", ContentKind("an XML document", _SAVED, binary=True)),
    (b"(module", _WAT),
    (b"(component", _WAT),
    (b";;", _WAT),
    (b"{", ContentKind("a text, perhaps JSON")),
    (b"[", ContentKind("a text, perhaps JSON")),
)
_TAR = (257, b"ustar")
_COMPILED_PYTHON = (2, b"\r\n\0\0")


def find_kind(code: bytes) -> ContentKind:
    """Tell what bytes are that are no wasm binary."""
    return _find_binary(code) or _find_text(code) or ContentKind("bytes of no known kind")


def describe_bytes(code: bytes) -> str:
    """Say what bytes are that are no wasm binary, and, where that is known, what to do."""
    kind = find_kind(code)
    return f"{kind.words}: {kind.advice}" if kind.advice else kind.words


def read_shebang(code: bytes) -> str:
    """Return what the first line of a script says that runs it, ``/usr/bin/env python3``; empty: nothing."""
    line = code[:LOOK_BYTES].removeprefix(codecs.BOM_UTF8).partition(b"\n")[0]
    return line[2:].decode(errors="replace").strip()[:80] if line.startswith(b"#!") else ""


def _find_binary(code: bytes) -> ContentKind | None:
    if code.startswith(b"\x7fELF"):
        return _find_elf(code)
    if code.startswith(b"\xca\xfe\xba\xbe"):
        is_fat = int.from_bytes(code[4:8], "big") < _FAT_MACH_O_MAX
        words = "a Mach-O program for macOS" if is_fat else "a Java class"
        return ContentKind(words, _COMPILE, binary=True)
    for start, words, advice in _STARTS:
        # A script may begin with the letters MZ.
        if code.startswith(start) and not (start.isalnum() and _is_text(code)):
            return ContentKind(words, advice, binary=True)
    if code.startswith(_COMPILED_PYTHON[1], _COMPILED_PYTHON[0]):
        return ContentKind("compiled Python", _SOURCE, binary=True)
    return ContentKind("a tar archive", _UNPACK, binary=True) if code.startswith(_TAR[1], _TAR[0]) else None


def _find_elf(code: bytes) -> ContentKind:
    if code[7:8] == bytes([_OF_WASMTIME]):
        return ContentKind(
            "machine code that wasmtime compiled", "give the wasm file that it was made of", binary=True
        )
    order = "big" if code[5:6] == b"\2" else "little"
    form = int.from_bytes(code[16:18], order)  # type: ignore[arg-type]  # one of the two
    return ContentKind(_ELF.get(form, "an ELF file"), _COMPILE, binary=True)


def _find_text(code: bytes) -> ContentKind | None:
    if not code:
        return ContentKind("empty")
    text = code[:LOOK_BYTES].removeprefix(codecs.BOM_UTF8).lstrip()
    shebang = read_shebang(code)
    if shebang:
        return ContentKind(f"a script for {shebang}")
    found = next((kind for start, kind in _TEXTS if text[:100].lower().startswith(start)), None)
    return found or (ContentKind("a text, perhaps a script") if _is_text(code) else None)


def _is_text(code: bytes) -> bool:
    start = code[:LOOK_BYTES]
    decoder = codecs.getincrementaldecoder("utf-8")()  # a character may be cut at the end
    try:
        decoder.decode(start)
    except UnicodeDecodeError:
        return False
    return b"\0" not in start
