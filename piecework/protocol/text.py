"""The one rule for texts of messages: no character NUL, and no half of a surrogate pair.

A program gets its arguments and variables up to the first NUL, PostgreSQL stores none, and half a pair cannot be
written as UTF-8. Bytes, and what an input holds, may be anything.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import msgspec

Name = Annotated[str, msgspec.Meta(min_length=1)]
"""What something is called: not empty."""
VariableName = Annotated[str, msgspec.Meta(pattern=r"^[^=\x00]+\Z")]
"""Of an environment."""
FILE_NAME_CHARS = 255
_VARIABLE = "the name of a variable: not empty, without = and NUL"
_VARIABLE_FAULT = re.compile(r"`str` matching regex '\^\[\^=.*?\\Z'")
_FAULT = re.compile("[\0\ud800-\udfff]")


def find_fault(value: object) -> str | None:
    """Say which text in a message, or in any value, breaks the rule, and how; None when all are well."""
    for place, text in _walk(value, ""):
        if found := _FAULT.search(text):
            return f"{place or 'the text'} has {_name(found[0])}; no text of a request can have that"
    return None


def has_fault(text: str) -> bool:
    """Tell whether a text breaks the rule."""
    return _FAULT.search(text) is not None


def clean_text(text: str) -> str:
    """Return a text made for people, with a replacement character for each that it cannot have."""
    return _FAULT.sub("\ufffd", text)


def read_file_name(text: str) -> str | None:
    """Return what a file is called, from what a sender says: without folders, cut, in printable characters.

    None when nothing is left.
    """
    last = re.split(r"[/\\]", text)[-1]
    return "".join(filter(str.isprintable, last)).strip()[:FILE_NAME_CHARS] or None


def find_variable_fault(env: Mapping[str, str]) -> str | None:
    """Say which variable no process could have; None when all are well."""
    for name in env:
        if not name or "=" in name:
            return f"{name[:100]!r} is no name of a variable: one is not empty, and has no = and no NUL"
    return find_fault(env)


def explain(error: msgspec.ValidationError) -> str:
    """Return what is wrong with a message, in words for people."""
    return _VARIABLE_FAULT.sub(_VARIABLE, str(error))


def _name(fault: str) -> str:
    if fault == "\0":
        return "the character NUL"
    # As these, Python has bytes in arguments of programs and names of files that are no UTF-8.
    return "a byte that is not UTF-8" if "\udc80" <= fault <= "\udcff" else "half of a surrogate pair"


def _walk(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Yield every text with its place, as ``jobs[1].args[0]``."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield f"a name in {place or 'the object'}", str(key)
            yield from _walk(each, _join(place, clean_text(str(key))[:100]))
    elif isinstance(value, list | tuple):
        for number, each in enumerate(value):
            yield from _walk(each, f"{place}[{number}]")
    elif isinstance(value, msgspec.Struct):
        free = getattr(value, "free_texts", ())
        for name, shown in zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True):
            if shown not in free:
                yield from _walk(getattr(value, name), _join(place, shown))


def _join(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name
