"""Values of the component model: how wasmtime's C API lays them out, and what they are in Python.

A type is made once, and reads and writes its values: numbers and booleans as such, ``string`` as str, ``list<u8>``
as bytes, other lists as lists, records and tuples as tuples, an option as its value or None, an enum as its case's
name, a variant as ``(name, value)``, flags as a frozenset of names, a result as ``Ok`` or ``Err``, and a resource
as the object of the host that it stands for.
"""

from collections.abc import Sequence
from ctypes import addressof, c_ubyte, c_uint64, c_void_p, memmove, string_at
from struct import Struct
from typing import Any, NamedTuple, Protocol

from piecework.worker_agent.runtimes.component import capi
from piecework.worker_agent.runtimes.component.capi import NAME_BYTES, OF, VALUE_BYTES

_PAIR = Struct("<QQ")
_ENTRY_BYTES = NAME_BYTES + VALUE_BYTES
_BOOL, _U8, _U16, _U32, _U64 = 0, 2, 4, 6, 8
_STRING, _LIST, _RECORD, _TUPLE, _VARIANT, _ENUM, _OPTION, _RESULT, _FLAGS, _RESOURCE = range(12, 22)
"""Kinds of values (``wasmtime_component_valkind_t``)."""


class Ok(NamedTuple):
    """The good end of a result."""

    value: Any = None


class Err(NamedTuple):
    """The other one."""

    value: Any = None


class Resources(Protocol):
    """The objects of the host that one guest has handles of."""

    context: int
    """Where wasmtime's store is."""

    def keep(self, thing: Any) -> int:
        """Return the number under which a guest gets a thing."""

    def look_up(self, number: int) -> Any: ...
    def give_up(self, number: int) -> Any:
        """Return a thing that the guest gives back."""


class Type(Protocol):
    """Of values."""

    def read(self, at: int, own: Resources) -> Any:
        """Return the value at an address."""

    def write(self, at: int, value: Any, own: Resources) -> None:
        """Put a value there."""


class _Number:
    """A number, or a boolean."""

    def __init__(self, kind: int, size: int) -> None:
        self._kind, self._mask = kind, (1 << 8 * size) - 1

    def read(self, at: int, own: Resources) -> int:  # noqa: ARG002
        return c_uint64.from_address(at + OF).value & self._mask

    def write(self, at: int, value: int, own: Resources) -> None:  # noqa: ARG002
        c_uint64.from_address(at).value = self._kind
        c_uint64.from_address(at + OF).value = value & self._mask


BOOL, U8, U16, U32, U64 = _Number(_BOOL, 1), _Number(_U8, 1), _Number(_U16, 2), _Number(_U32, 4), _Number(_U64, 8)


class _String:
    """A text."""

    def read(self, at: int, own: Resources) -> str:  # noqa: ARG002
        return _read_name(at + OF)

    def write(self, at: int, value: str, own: Resources) -> None:  # noqa: ARG002
        _write_name(at, _STRING, value.encode())


STRING = _String()


class _Bytes:
    """A ``list<u8>``. wasmtime has a whole value for each byte: these are copied at the speed of memory, too."""

    def read(self, at: int, own: Resources) -> bytes:  # noqa: ARG002
        size, data = _read_pair(at + OF)
        if not size:
            return b""
        return memoryview((c_ubyte * (size * VALUE_BYTES)).from_address(data)).cast("B")[OF::VALUE_BYTES].tobytes()

    def write(self, at: int, value: bytes, own: Resources) -> None:  # noqa: ARG002
        size = len(value)
        laid_out = bytearray(_A_BYTE * size)
        memoryview(laid_out)[OF::VALUE_BYTES] = value
        c_uint64.from_address(at).value = _LIST
        capi.values_new(at + OF, size, _locate(laid_out))


BYTES = _Bytes()
_A_BYTE = bytes([_U8]) + bytes(VALUE_BYTES - 1)


class ListOf:
    """A list."""

    def __init__(self, item: Type) -> None:
        self._item = item

    def read(self, at: int, own: Resources) -> list[Any]:
        size, data = _read_pair(at + OF)
        return [self._item.read(data + place * VALUE_BYTES, own) for place in range(size)]

    def write(self, at: int, value: Sequence[Any], own: Resources) -> None:
        _write_values(at, _LIST, [self._item] * len(value), value, own)


class TupleOf:
    """A tuple."""

    def __init__(self, *items: Type) -> None:
        self._items = items

    def read(self, at: int, own: Resources) -> tuple[Any, ...]:
        data = _read_pair(at + OF)[1]
        return tuple(item.read(data + place * VALUE_BYTES, own) for place, item in enumerate(self._items))

    def write(self, at: int, value: Sequence[Any], own: Resources) -> None:
        _write_values(at, _TUPLE, self._items, value, own)


class Record:
    """A record: its fields, in their order."""

    def __init__(self, **fields: Type) -> None:
        self._fields = {name.replace("_", "-"): kind for name, kind in fields.items()}

    def read(self, at: int, own: Resources) -> tuple[Any, ...]:
        data = _read_pair(at + OF)[1] + NAME_BYTES
        return tuple(
            kind.read(data + place * _ENTRY_BYTES, own) for place, kind in enumerate(self._fields.values())
        )

    def write(self, at: int, value: Sequence[Any], own: Resources) -> None:
        laid_out = bytearray(_ENTRY_BYTES * len(self._fields))
        start = _locate(laid_out)
        for place, ((name, kind), field) in enumerate(zip(self._fields.items(), value, strict=True)):
            entry = start + place * _ENTRY_BYTES
            kind.write(entry + NAME_BYTES, field, own)
            capi.name_new(entry, len(name), name.encode())
        c_uint64.from_address(at).value = _RECORD
        capi.entries_new(at + OF, len(self._fields), start)


class Variant:
    """A variant: its cases, each with the type of its value, or None."""

    def __init__(self, cases: dict[str, Type | None]) -> None:
        self._cases = cases

    def read(self, at: int, own: Resources) -> tuple[str, Any]:
        name = _read_name(at + OF)
        kind, inner = self._cases[name], c_uint64.from_address(at + OF + NAME_BYTES).value
        return name, kind.read(inner, own) if kind is not None and inner else None

    def write(self, at: int, value: tuple[str, Any], own: Resources) -> None:
        name, inner = value
        kind = self._cases[name]
        boxed = 0 if kind is None else _box(kind, inner, own)
        _write_name(at, _VARIANT, name.encode())
        c_uint64.from_address(at + OF + NAME_BYTES).value = boxed


class Enum:
    """An enum. The guest's type says which cases there are."""

    def read(self, at: int, own: Resources) -> str:  # noqa: ARG002
        return _read_name(at + OF)

    def write(self, at: int, value: str, own: Resources) -> None:  # noqa: ARG002
        _write_name(at, _ENUM, value.encode())


class Flags:
    """Flags, likewise."""

    def read(self, at: int, own: Resources) -> frozenset[str]:  # noqa: ARG002
        size, data = _read_pair(at + OF)
        return frozenset(_read_name(data + place * NAME_BYTES) for place in range(size))

    def write(self, at: int, value: frozenset[str], own: Resources) -> None:  # noqa: ARG002
        laid_out = bytearray(NAME_BYTES * len(value))
        start = _locate(laid_out)
        for place, name in enumerate(sorted(value)):
            capi.name_new(start + place * NAME_BYTES, len(name), name.encode())
        c_uint64.from_address(at).value = _FLAGS
        capi.names_new(at + OF, len(value), start)


class OptionOf:
    """A value, or None."""

    def __init__(self, some: Type) -> None:
        self._some = some

    def read(self, at: int, own: Resources) -> Any:
        inner = c_uint64.from_address(at + OF).value
        return self._some.read(inner, own) if inner else None

    def write(self, at: int, value: Any, own: Resources) -> None:
        boxed = 0 if value is None else _box(self._some, value, own)
        c_uint64.from_address(at).value = _OPTION
        c_uint64.from_address(at + OF).value = boxed


class ResultOf:
    """``Ok`` or ``Err``."""

    def __init__(self, ok: Type | None = None, err: Type | None = None) -> None:
        self._ok, self._err = ok, err

    def read(self, at: int, own: Resources) -> Ok | Err:
        made, kind = (Ok, self._ok) if c_uint64.from_address(at + OF).value & 1 else (Err, self._err)
        inner = c_uint64.from_address(at + OF + 8).value
        return made(kind.read(inner, own) if kind is not None and inner else None)

    def write(self, at: int, value: Ok | Err, own: Resources) -> None:
        is_ok = isinstance(value, Ok)
        kind = self._ok if is_ok else self._err
        boxed = 0 if kind is None else _box(kind, value.value, own)
        c_uint64.from_address(at).value = _RESULT
        memmove(at + OF, _PAIR.pack(is_ok, boxed), _PAIR.size)


class Borrow:
    """A resource of the host that the guest lends."""

    def __init__(self, number: int) -> None:
        self.number = number

    def read(self, at: int, own: Resources) -> Any:
        return own.look_up(_lift(c_uint64.from_address(at + OF).value, own.context))

    def write(self, at: int, value: Any, own: Resources) -> None:  # noqa: ARG002
        raise TypeError("no function of the host lends its resources to a guest")


class Own(Borrow):
    """A resource of the host that changes hands."""

    def read(self, at: int, own: Resources) -> Any:
        return own.give_up(_lift(c_uint64.from_address(at + OF).value, own.context))

    def write(self, at: int, value: Any, own: Resources) -> None:
        resource, handle = capi.resource_new(True, own.keep(value), self.number), c_void_p()
        try:
            capi.raise_error(capi.resource_lower(own.context, resource, addressof(handle)))
        finally:
            capi.resource_delete(resource)
        c_uint64.from_address(at).value = _RESOURCE
        c_uint64.from_address(at + OF).value = handle.value or 0


def _lift(handle: int, context: int) -> int:
    """Return the number of the resource that a handle stands for."""
    resource = c_void_p()
    capi.raise_error(capi.resource_lift(context, handle, addressof(resource)))
    number: int = capi.resource_number(resource)
    capi.resource_delete(resource)
    return number


def _read_pair(at: int) -> tuple[int, int]:
    return _PAIR.unpack(string_at(at, _PAIR.size))


def _read_name(at: int) -> str:
    size, data = _read_pair(at)
    return string_at(data, size).decode(errors="replace") if size else ""


def _write_name(at: int, kind: int, text: bytes) -> None:
    c_uint64.from_address(at).value = kind
    capi.name_new(at + OF, len(text), text)


def _write_values(at: int, kind: int, types: Sequence[Type], values: Sequence[Any], own: Resources) -> None:
    laid_out = bytearray(VALUE_BYTES * len(values))
    start = _locate(laid_out)
    for place, (each, value) in enumerate(zip(types, values, strict=True)):
        each.write(start + place * VALUE_BYTES, value, own)
    c_uint64.from_address(at).value = kind
    capi.values_new(at + OF, len(values), start)


def _box(kind: Type, value: Any, own: Resources) -> int:
    """Return the address of a value of its own."""
    room = (c_ubyte * VALUE_BYTES)()
    kind.write(addressof(room), value, own)
    boxed: int = capi.value_new(addressof(room))
    return boxed


def _locate(data: bytearray) -> int:
    return addressof(c_ubyte.from_buffer(data)) if data else 0
