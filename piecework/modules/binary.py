"""Looking into a wasm binary without running it: what kind it is, what it imports and exports.

Sources: WebAssembly core specification 3.0, chapter 5 (binary format), and ``Binary.md`` of the component model.
"""

from collections.abc import Container, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from mmap import mmap

MAGIC = b"\0asm"
CORE_VERSION = b"\x01\0\0\0"
COMPONENT_LAYER = b"\x0d\0\x01\0"
HEADER_BYTES = 8
_FUNCTION, _TABLE, _MEMORY, _GLOBAL, _TAG = range(5)
KINDS = ("function", "table", "memory", "global", "tag")
_FUNCTION_TYPE, _STRUCT, _ARRAY, _GROUP, _SUBTYPES = 0x60, 0x5F, 0x5E, 0x4E, {0x50, 0x4F}
_VALUE_TYPES = {0x7F: "i", 0x7E: "I", 0x7D: "f", 0x7C: "F", 0x7B: "v"}
_LETTERS = bytes(ord(_VALUE_TYPES.get(code, "r")) for code in range(256))
_CUSTOM, _COMPONENT_IMPORTS, _COMPONENT_EXPORTS = 0, 10, 11
"""Numbers of sections."""
_SORTS = ("core", "function", "value", "type", "component", "instance")
"""What a component imports and exports."""
_LONG_REFERENCES = {0x63, 0x64}
"""References whose heap type follows."""
ENTRIES_MAX = 1_000_000
"""In one section: wasmtime takes no more types or functions either."""
NAMES_MAX = 50_000
"""Imports and exports: the large ones among real modules have some thousands."""
SECTIONS_MAX = 10_000
SECTION_BYTES_MAX = 8 * 1024 * 1024
"""Of those sections that are read: one with the types of 50,000 functions has 1 MB."""
TEXT_BYTES_MAX = 4096
"""Of a custom section with a text about the module; longer ones hold something else."""
MESSAGE_LENGTH = 1000

Binary = bytes | mmap
"""A wasm binary, in memory or in a file."""


class ModuleError(ValueError):
    """The bytes are not a wasm module that can run; the message says why."""

    def __init__(self, message: str) -> None:
        """Cut the message off where names that stand in it are very long."""
        super().__init__(message if len(message) <= MESSAGE_LENGTH else f"{message[:MESSAGE_LENGTH]} ...")


@dataclass(frozen=True, slots=True)
class ModuleFacts:
    """What a core module or a component asks for and offers.

    Of a component it has the names of whole interfaces, as the first part of an import's name. In a core module
    the type of a function is its parameters, ``>`` and its results, a letter each: ``i`` i32, ``I`` i64,
    ``f`` f32, ``F`` f64, ``v`` v128, ``r`` a reference. All else is a word: memory, table, global, tag.
    """

    imports: dict[tuple[str, str], str]
    """Types of what it imports, by module and name."""
    exports: dict[str, str]
    """Types of what it exports, by name."""
    memory: tuple[int, int | None] | None = field(default=None, compare=False)
    """Pages of its memory at the start and, if it says so, at most; None: it has none, or nobody looked."""


class _Reader:
    """Walks over the bytes. Running off the end is a ModuleError."""

    def __init__(self, data: Binary, at: int, end: int) -> None:
        self._data = data
        self.at = at
        self._end = end

    def byte(self) -> int:
        self.skip(1)
        return self._data[self.at - 1]

    def number(self) -> int:
        """Read an unsigned LEB128 number of at most 32 bits (64 for limits)."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise ModuleError("the module is damaged: a number in it does not end")

    def count(self, most: int = ENTRIES_MAX) -> int:
        number = self.number()
        if number > most:
            raise ModuleError(f"the module lists {number} entries in one section, more than {most}")
        return number

    def name(self) -> str:
        try:
            return self.take(self.number()).decode()
        except UnicodeDecodeError as error:
            raise ModuleError("the module is damaged: a name in it is not UTF-8") from error

    def external_name(self) -> str:
        """Read the name of a component's import or export."""
        if self.byte() > 1:
            raise ModuleError("the component is damaged, or newer than this program: a name of an unknown form")
        return self.name()

    def take(self, length: int) -> bytes:
        self.skip(length)
        return self._data[self.at - length : self.at]

    def rest(self) -> bytes:
        return self.take(self._end - self.at)

    def skip(self, length: int) -> None:
        self.at += length
        if self.at > self._end:
            raise ModuleError("the module is cut off or damaged: it ends inside a section")


def inspect_module(data: Binary) -> ModuleFacts:
    """Return what a core module imports and exports. Raises ModuleError when it is not one."""
    if is_component(data[:HEADER_BYTES]):
        raise ModuleError("this is a wasm component, not a core module: it needs the runtime 'component'")
    survey = _Survey()
    for section, reader in _read_sections(data, tuple(survey.readers)):
        survey.read_section(section, reader)
    return ModuleFacts(survey.imports, survey.exports, survey.memory)


def inspect_component(data: Binary) -> ModuleFacts:
    """Return what a component imports and exports. Raises ModuleError when it is not one."""
    if not is_component(data[:HEADER_BYTES]):
        raise ModuleError("this is a core module, not a wasm component: it needs another runtime, such as 'wasi'")
    imports: dict[tuple[str, str], str] = {}
    exports: dict[str, str] = {}
    left = NAMES_MAX
    for section, reader in _read_sections(data, {_COMPONENT_IMPORTS, _COMPONENT_EXPORTS}):
        # There may be any number of either section.
        count = reader.count(left)
        left -= count
        for _ in range(count):
            name = reader.external_name()
            if section == _COMPONENT_IMPORTS:
                imports[name, ""] = _read_description(reader)
                continue
            exports[name] = _read_sort(reader)
            reader.number()
            if reader.byte():
                _read_description(reader)
    return ModuleFacts(imports, exports)


def read_texts(data: Binary, names: Container[str]) -> dict[str, str]:
    """Return the custom sections of these names that are short texts, as compilers put a version into one.

    Raises ModuleError for a binary that is cut off or damaged.
    """
    is_component(data[:HEADER_BYTES])
    found: dict[str, str] = {}
    for _, reader in _read_sections(data, {_CUSTOM}):
        name = reader.name()
        if name in names:
            with suppress(UnicodeDecodeError):
                found[name] = reader.rest().decode()
    return found


def is_component(start: bytes) -> bool:
    """Tell whether a binary that starts with these ``HEADER_BYTES`` is a component, not a core module.

    Raises ModuleError when it is neither.
    """
    if start[:4] != MAGIC:
        raise ModuleError("this is not a wasm binary: it does not start with the bytes 00 61 73 6d")
    if start[4:] not in {COMPONENT_LAYER, CORE_VERSION}:
        raise ModuleError(f"this wasm binary has an unknown version {start[4:].hex()}")
    return start[4:] == COMPONENT_LAYER


def _read_sections(data: Binary, wanted: Container[int]) -> Iterator[tuple[int, _Reader]]:
    """Yield the number of each section that is wanted and a reader of what is in it."""
    reader = _Reader(data, HEADER_BYTES, len(data))
    count = 0
    while reader.at < len(data):
        count += 1
        if count > SECTIONS_MAX:
            raise ModuleError(f"the module has more than {SECTIONS_MAX} sections")
        section, size = reader.byte(), reader.number()
        start = reader.at
        reader.skip(size)
        if section in wanted and not (section == _CUSTOM and size > TEXT_BYTES_MAX):
            if size > SECTION_BYTES_MAX:
                raise ModuleError(
                    f"section {section} of the module has {size} bytes, more than {SECTION_BYTES_MAX}"
                )
            yield section, _Reader(data, start, start + size)


class _Survey:
    """What was seen of a module so far. Sections come in the order of their numbers, types first."""

    def __init__(self) -> None:
        self.imports: dict[tuple[str, str], str] = {}
        self.exports: dict[str, str] = {}
        self.memory: tuple[int, int | None] | None = None
        self.readers = {
            1: (self._read_types, ENTRIES_MAX),
            2: (self._read_import, NAMES_MAX),
            3: (self._read_function, ENTRIES_MAX),
            5: (self._read_memory, ENTRIES_MAX),
            7: (self._read_export, NAMES_MAX),
        }
        """How an entry is read of those sections that matter, and how many there may be."""
        self._types: list[str] = []
        self._functions: list[str] = []
        """Their types: first of those that are imported."""

    def read_section(self, section: int, reader: _Reader) -> None:
        """Take in one of the sections that matter. No module has one twice."""
        if section not in self.readers:
            raise ModuleError(f"the module is damaged: it has section {section} twice")
        read, most = self.readers.pop(section)
        for _ in range(reader.count(most)):
            read(reader)

    def _read_types(self, reader: _Reader) -> None:
        form = reader.byte()
        if form == _GROUP:
            for _ in range(reader.count()):
                self._read_type(reader, reader.byte())
        else:
            self._read_type(reader, form)

    def _read_type(self, reader: _Reader, form: int) -> None:
        if form in _SUBTYPES:
            for _ in range(reader.count()):
                reader.number()
            form = reader.byte()
        if form == _STRUCT:
            for _ in range(reader.count()):
                _read_field(reader)
            self._types.append("struct")
        elif form == _ARRAY:
            _read_field(reader)
            self._types.append("array")
        elif form == _FUNCTION_TYPE:
            self._types.append(">".join((_read_value_types(reader), _read_value_types(reader))))
        else:
            raise ModuleError(f"the module is damaged: a type in it has the unknown form {form:#x}")

    def _read_import(self, reader: _Reader) -> None:
        name = (reader.name(), reader.name())
        kind = reader.byte()
        if kind == _FUNCTION:
            self._read_function(reader)
            self.imports[name] = self._functions[-1]
            return
        _skip_description(reader, kind, name)
        self.imports[name] = KINDS[kind]

    def _read_function(self, reader: _Reader) -> None:
        self._functions.append(_get(self._types, reader.number(), "type"))

    def _read_memory(self, reader: _Reader) -> None:
        if self.memory is not None:
            raise ModuleError("the module has more than one memory, which no runtime takes")
        flags = reader.byte()
        _refuse_shared(flags)
        self.memory = reader.number(), reader.number() if flags & 1 else None

    def _read_export(self, reader: _Reader) -> None:
        name, kind, index = reader.name(), reader.byte(), reader.number()
        if kind >= len(KINDS):
            raise ModuleError(f"the module is damaged: export {name!r} has the unknown kind {kind}")
        self.exports[name] = _get(self._functions, index, "function") if kind == _FUNCTION else KINDS[kind]


def _get(found: list[str], index: int, what: str) -> str:
    if index >= len(found):
        raise ModuleError(f"the module is damaged: it has no {what} {index}")
    return found[index]


def _read_value_types(reader: _Reader) -> str:
    count, start = reader.count(), reader.at
    codes = reader.take(count)
    if _LONG_REFERENCES.isdisjoint(codes):
        return codes.translate(_LETTERS).decode()
    reader.at = start
    return "".join(_read_value_type(reader) for _ in range(count))


def _read_value_type(reader: _Reader) -> str:
    code = reader.byte()
    if code in _LONG_REFERENCES:
        reader.number()  # of a heap type: signed, but of the same length
    return _VALUE_TYPES.get(code, "r")


def _read_field(reader: _Reader) -> None:
    _read_value_type(reader)
    reader.byte()  # whether it can be changed


def _skip_description(reader: _Reader, kind: int, name: tuple[str, str]) -> None:
    """Skip the type of an import that is no function."""
    if kind in {_TABLE, _MEMORY}:
        if kind == _TABLE:
            _read_value_type(reader)
        flags = reader.byte()
        if kind == _MEMORY:
            _refuse_shared(flags)
        reader.number()
        if flags & 1:
            reader.number()
    elif kind == _GLOBAL:
        _read_field(reader)
    elif kind == _TAG:
        reader.byte()
        reader.number()
    else:
        raise ModuleError(f"the module is damaged: import {name} has the unknown kind {kind}")


def _refuse_shared(flags: int) -> None:
    if flags & 2:
        raise ModuleError(
            "the module has a memory that threads share, for which no limit would hold, and there are no threads: "
            "build it without them (for instance without -pthread)"
        )


def _read_description(reader: _Reader) -> str:
    """Read the type of a component's import or export and return its kind."""
    kind = _read_sort(reader)
    if kind == "type" and reader.byte():
        return kind  # a resource, whose type is not told
    reader.number()
    return kind


def _read_sort(reader: _Reader) -> str:
    """Read what kind of thing a component imports or exports."""
    sort = reader.byte()
    if sort >= len(_SORTS) or _SORTS[sort] == "value":
        raise ModuleError(f"the component is damaged: it has an import or export of the unknown kind {sort}")
    if _SORTS[sort] == "core":
        reader.byte()
    return _SORTS[sort]
