"""Damaged and odd code made out of sound code: the same for the same noise."""

from collections.abc import Callable
from random import Random

HEADER_BYTES = 8
_ODD_BYTES = (0x00, 0x01, 0x0B, 0x40, 0x7F, 0x80, 0xC0, 0xFF)
_NUMBERS = (0, 1, 2, 127, 128, 65_535, 65_536, 200_000, 1_000_001, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63)
_I32_CONST = 0x41
_CODE = 10

Section = tuple[int, bytes]
"""The number of a section, and what is in it."""
Mutation = Callable[[Random, bytes, bytes], bytes]
"""Takes noise, the code, and other code; returns new code."""


def mutate(noise: Random, code: bytes, other: bytes) -> bytes:
    """Return code with one to three changes; what it lacks may be taken from other code."""
    mutations = OF_MODULES if code.startswith(b"\0asm") else OF_TEXTS
    for _ in range(noise.choice((1, 1, 1, 2, 3))):
        code = noise.choice(mutations)(noise, code, other)
    return code


def encode_number(value: int, spare: int = 0) -> bytes:
    """Return an unsigned LEB128 number, with spare bytes that it does not need."""
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F)
    groups += [0] * spare
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])


def split_sections(code: bytes) -> list[Section]:
    """Return the sections of a module or component, as far as it is sound."""
    sections, at = [], HEADER_BYTES
    while at < len(code):
        number, size, shift, at = code[at], 0, 0, at + 1
        while at < len(code):
            byte, at = code[at], at + 1
            size, shift = size | (byte & 0x7F) << shift, shift + 7
            if byte < 0x80:
                break
        sections.append((number, code[at : at + size]))
        at += size
    return sections


def join_sections(sections: list[Section], header: bytes) -> bytes:
    """Return a binary that starts like ``header`` and has these sections."""
    parts = [bytes([number]) + encode_number(len(content)) + content for number, content in sections]
    return header[:HEADER_BYTES] + b"".join(parts)


def _pick_part(noise: Random, code: bytes, most: int = 64) -> slice:
    start = noise.randrange(len(code) + 1)
    return slice(start, start + noise.randint(1, most))


def flip_bits(noise: Random, code: bytes, _other: bytes) -> bytes:
    changed = bytearray(code)
    for _ in range(noise.randint(1, 8) if code else 0):
        changed[noise.randrange(len(changed))] ^= 1 << noise.randrange(8)
    return bytes(changed)


def put_odd_byte(noise: Random, code: bytes, _other: bytes) -> bytes:
    place = noise.randrange(len(code) + 1)
    return code[:place] + bytes([noise.choice(_ODD_BYTES)]) + code[place + noise.randrange(2) :]


def truncate(noise: Random, code: bytes, _other: bytes) -> bytes:
    return code[: noise.randrange(len(code) + 1)]


def cut_out(noise: Random, code: bytes, _other: bytes) -> bytes:
    part = _pick_part(noise, code)
    return code[: part.start] + code[part.stop :]


def repeat(noise: Random, code: bytes, _other: bytes) -> bytes:
    part = _pick_part(noise, code)
    return code[: part.start] + code[part] * noise.choice((2, 3, 100)) + code[part.stop :]


def mix(noise: Random, code: bytes, other: bytes) -> bytes:
    place = noise.randrange(len(code) + 1)
    return code[:place] + other[_pick_part(noise, other, 400)] + code[place:]


def change_number(noise: Random, code: bytes, _other: bytes) -> bytes:
    """Put another number where one might be, also one that is longer than it needs to be."""
    start = end = noise.randrange(len(code) + 1)
    while end < len(code) and code[end] & 0x80:
        end += 1
    return code[:start] + encode_number(noise.choice(_NUMBERS), noise.choice((0, 0, 1, 9))) + code[end + 1 :]


def rearrange_sections(noise: Random, code: bytes, _other: bytes) -> bytes:
    """Swap two sections, drop one, or have one twice."""
    sections = split_sections(code)
    if not sections:
        return code
    one, two = noise.randrange(len(sections)), noise.randrange(len(sections))
    kind = noise.randrange(3)
    if kind == 0:
        sections[one], sections[two] = sections[two], sections[one]
    elif kind == 1:
        del sections[one]
    else:
        sections.insert(two, sections[one])
    return join_sections(sections, code)


def splice_section(noise: Random, code: bytes, other: bytes) -> bytes:
    """Put a section of other code in the place of one with the same number, or where it would be."""
    sections, others = split_sections(code), split_sections(other)
    if not others:
        return code
    number, content = noise.choice(others)
    kept = [section for section in sections if section[0] != number or number == 0]
    place = sum(section[0] < number for section in kept)
    return join_sections([*kept[:place], (number, content), *kept[place:]], code)


def change_within(noise: Random, code: bytes, _other: bytes) -> bytes:
    """Change bytes of one section and leave all sizes as they are: what comes out is often sound."""
    sections = split_sections(code)
    if not sections:
        return code
    place = noise.randrange(len(sections))
    number, content = sections[place]
    sections[place] = (number, flip_bits(noise, content, b""))
    return join_sections(sections, code)


def change_constants(noise: Random, code: bytes, _other: bytes) -> bytes:
    """Change numbers in functions: places, sizes, handles that the guest passes to the host."""
    sections = split_sections(code)
    for place, (number, content) in enumerate(sections):
        if number == _CODE:
            changed = bytearray(content)
            found = [at for at, byte in enumerate(content[:-1]) if byte == _I32_CONST]
            for at in noise.sample(found, min(len(found), 3)):
                # The bit that says whether the number goes on stays.
                odd = noise.choice((0, 1, 0x3F, 0x40, 0x7F, noise.randrange(128)))
                changed[at + 1] = changed[at + 1] & 0x80 | odd
            sections[place] = (number, bytes(changed))
    return join_sections(sections, code)


OF_TEXTS: tuple[Mutation, ...] = (flip_bits, put_odd_byte, truncate, cut_out, repeat, mix)
OF_MODULES: tuple[Mutation, ...] = (
    *(flip_bits, put_odd_byte, truncate, cut_out, repeat, mix),
    *(change_number, rearrange_sections, splice_section),
    *(change_within,) * 4,
    *(change_constants,) * 10,
)
"""Those that leave more sound come more often: what is refused at once tests least."""
