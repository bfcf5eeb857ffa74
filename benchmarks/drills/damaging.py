"""Damaged JSON and MessagePack, texts and requests, out of sound ones: the same for the same noise."""

import json
from collections.abc import Sequence
from random import Random
from typing import Any

import msgspec
from mutations import OF_TEXTS

DEEP = "deep below"
"""Stands for what is nested too deep to be written in any other way."""
LONGEST = 1_000_000
"""Of lists that are made longer, again and again: no request is larger than what comes of these."""
DEPTHS = (3, 200, 2_000, 100_000)
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**400),
    *(0.5, -0.0, 1e308, 5e-324, float("nan"), float("inf"), "NaN", "1e999", "0", "1", "-1", "9" * 5_000),
    *("", " ", "x", "a\0b", "\ud800", "é😀\u2028", "../..", "a" * 10_000, "a" * 1_000_000, "%", "*", "2026-13-45"),
    *([], {}, [[]], [None], {"": {}}, {"id": 1}, [0] * 10_000, ["x"] * 2_000, dict.fromkeys(map(str, range(500)))),
    DEEP,
)  # fmt: skip
"""What stands in the place of any value."""


def damage_value(noise: Random, value: Any) -> Any:
    """Return a copy with one place changed: another type, size or depth, missing, or beside an odd one."""
    if isinstance(value, dict) and value and noise.random() < 0.85:
        name = noise.choice(list(value))
        kind = noise.randrange(8)
        if kind == 0:
            return {key: each for key, each in value.items() if key != name}
        if kind == 1:
            return value | {noise.choice(("x", "", "a" * 300, "id", "\0")): pick_odd(noise)}
        return value | {name: damage_value(noise, value[name])}
    if isinstance(value, list) and value and noise.random() < 0.7:
        at = noise.randrange(len(value))
        if noise.randrange(4) == 0:
            times = noise.choice((2, 50))
            return value * times if len(value) * times <= LONGEST else value
        return [*value[:at], damage_value(noise, value[at]), *value[at + 1 :]]
    return pick_odd(noise)


def pick_odd(noise: Random) -> Any:
    """Return a value that is likely to fit nowhere."""
    return noise.choice(ODD)


def damage_bytes(noise: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Return bytes with up to three changes; what they lack is taken from others."""
    for _ in range(noise.choice((0, 1, 1, 2, 3))):
        data = noise.choice(OF_TEXTS)(noise, data, noise.choice(others))
    return data


def damage_json(noise: Random, sound: Any) -> bytes:
    """Return damaged JSON: most is well-formed, some names come twice, and some bytes are no JSON."""
    for _ in range(noise.choice((0, 1, 1, 1, 2, 4))):
        sound = damage_value(noise, sound)
    text = _write(sound, ensure_ascii=noise.random() < 0.8)
    depth, (begin, end) = noise.choice(DEPTHS), noise.choice(((b"[", b"]"), (b'{"a":', b"}")))
    text = text.replace(b'"' + DEEP.encode() + b'"', begin * depth + b"0" + end * depth)
    kind = noise.randrange(10)
    if kind == 0 and isinstance(sound, dict) and sound:
        twice = _write({noise.choice(list(sound)): pick_odd(noise)})
        text = twice[:-1] + b"," + text[1:]
    return damage_bytes(noise, text, [text]) if kind == 1 else text


def damage_msgpack(noise: Random, sound: Any) -> bytes:
    """Return damaged MessagePack."""
    for _ in range(noise.choice((0, 1, 1, 1, 2, 4))):
        sound = damage_value(noise, sound)
    try:
        packed = msgspec.msgpack.encode(sound)
    except (OverflowError, UnicodeEncodeError):  # it has what MessagePack has not
        packed = msgspec.msgpack.encode(_write(sound))
    packed = packed.replace(msgspec.msgpack.encode(DEEP), b"\x91" * noise.choice(DEPTHS) + b"\xc0")
    return damage_bytes(noise, packed, [packed]) if noise.randrange(3) == 0 else packed


def _write(value: Any, *, ensure_ascii: bool = True) -> bytes:
    text = json.dumps(value, ensure_ascii=ensure_ascii, default=lambda _: "")  # JSON has no bytes
    return text.encode("utf-8", "surrogatepass")
