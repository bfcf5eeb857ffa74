"""The functions of ``piecework``: keys and values of the server, where a lambda may use them.

Each answers with an error number of WASI preview 1. What came of it, a text, or what is wrong, waits for
``kv_answer``: so no answer is lost for want of room.
"""

from collections.abc import Callable

from msgspec import UNSET

from piecework.modules.kv import KV_FUNCTIONS
from piecework.protocol.keys import KEY_CHARS, find_key_fault
from piecework.protocol.messages import ValueSet
from piecework.protocol.text import has_fault
from piecework.worker_agent.runtimes.services import ANSWER_BYTES, DeniedError
from piecework.worker_agent.runtimes.services.entries import EntryAnswer, EntryFault, EntryRequest
from piecework.worker_agent.runtimes.wasi.clocks import read_number
from piecework.worker_agent.runtimes.wasi.errno import WasiError
from piecework.worker_agent.runtimes.wasi.guest import Guest

APPEND, OLD, IF_ABSENT, IF_VALUE = 1, 2, 4, 8
"""Flags of ``kv_set``; ``kv_delete`` knows the last."""
_KEY_BYTES = 4 * KEY_CHARS
_NAME_BYTES = 400
_U32 = 0xFFFF_FFFF
_I64_SIGN = 1 << 63


class _BadCallError(Exception):
    """What the guest passed cannot be asked for."""

    def __init__(self, fault: EntryFault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


def kv_get(guest: Guest, name: int, name_size: int, key: int, key_size: int, size: int) -> EntryFault:
    """Get the value under a key."""

    def make() -> EntryRequest:
        wanted = _read_key(guest, key, key_size)
        return EntryRequest("get", _find(guest, name, name_size), wanted)

    return _run(guest, "kv_get", make, size)


def kv_set(
    guest: Guest,
    name: int,
    name_size: int,
    key: int,
    key_size: int,
    value: int,
    value_size: int,
    flags: int,
    expire_ms: int,
    expected: int,
    expected_size: int,
    size: int,
) -> EntryFault:
    """Set the value under a key. Its answer is what is there now or, with OLD, was before."""

    def make() -> EntryRequest:
        _check_flags(flags, APPEND | OLD | IF_ABSENT | IF_VALUE)
        wanted = _read_key(guest, key, key_size)
        change = ValueSet(
            value=_read_value(guest, value, value_size),
            expire=_read_expire(expire_ms),
            append=bool(flags & APPEND) or UNSET,
            get=bool(flags & OLD) or UNSET,
            if_absent=bool(flags & IF_ABSENT) or UNSET,
            if_value=_read_value(guest, expected, expected_size) if flags & IF_VALUE else UNSET,
        )
        return EntryRequest("set", _find(guest, name, name_size, write=True), wanted, change)

    return _run(guest, "kv_set", make, size)


def kv_add(
    guest: Guest, name: int, name_size: int, key: int, key_size: int, amount: int, expire_ms: int, total: int
) -> EntryFault:
    """Add to the number under a key, and write the sum, an i64."""

    def make() -> EntryRequest:
        wanted = _read_key(guest, key, key_size)
        change = ValueSet(incr=_sign(amount), expire=_read_expire(expire_ms))
        return EntryRequest("set", _find(guest, name, name_size, write=True), wanted, change)

    guest.memory.write_u64(total, 0)
    fault = _run(guest, "kv_add", make)
    if fault is EntryFault.NONE:
        guest.memory.write_u64(total, int(guest.answer))
    return fault


def kv_delete(
    guest: Guest, name: int, name_size: int, key: int, key_size: int, flags: int, expected: int, expected_size: int
) -> EntryFault:
    """Remove a key and its value."""

    def make() -> EntryRequest:
        _check_flags(flags, IF_VALUE)
        wanted = _read_key(guest, key, key_size)
        if_value = _read_value(guest, expected, expected_size) if flags & IF_VALUE else None
        return EntryRequest("delete", _find(guest, name, name_size, write=True), wanted, None, if_value)

    return _run(guest, "kv_delete", make)


def kv_keys(
    guest: Guest, name: int, name_size: int, prefix: int, prefix_size: int, after: int, after_size: int, size: int
) -> EntryFault:
    """List keys with a prefix, behind ``after``: so many as go into one answer, none at the end of the list."""

    def make() -> EntryRequest:
        start = _read_text(guest, prefix, prefix_size, _KEY_BYTES, "a prefix")
        last = _read_text(guest, after, after_size, _KEY_BYTES, "a key")
        return EntryRequest("keys", _find(guest, name, name_size), start, after=last)

    return _run(guest, "kv_keys", make, size)


def kv_answer(guest: Guest, buffer: int, size: int) -> int:
    """Copy what came of the call before, as far as there is room, and tell how many bytes; -1: no such place."""
    data = guest.answer[: size & _U32]
    try:
        guest.memory.write(buffer, data)
    except WasiError:
        return -1
    return len(data)


def _run(guest: Guest, function: str, make: Callable[[], EntryRequest], size: int | None = None) -> EntryFault:
    """Do what a function is for. ``size``: where the size of the answer goes; None: nowhere."""
    if size is not None:
        guest.memory.write_u32(size, 0)  # a place outside of the memory is told before anything is done
    try:
        answer = guest.call.ask_entries(make())
    except DeniedError as error:
        guest.call.log.write(f"{function} denied: {error}\n".encode())
        answer = EntryAnswer.fail(EntryFault.DENIED, str(error))
    except _BadCallError as error:
        answer = EntryAnswer.fail(error.fault, str(error))
    guest.answer = answer.text
    if size is not None:
        guest.memory.write_u32(size, len(answer.text))
    return answer.fault


def _find(guest: Guest, name: int, size: int, *, write: bool = False) -> int:
    text = _read_text(guest, name, size, _NAME_BYTES, "a namespace's name")
    access, journal = guest.call.access, guest.call.journal
    if journal is None:
        return access.find_namespace(text, write=write)
    asked = f"{text}:rw" if write else text
    return read_number(
        journal.through("namespace", asked.encode(), lambda: b"%d" % access.find_namespace(text, write=write))
    )


def _read_key(guest: Guest, pointer: int, size: int) -> str:
    key = _read_text(guest, pointer, size, _KEY_BYTES, "a key")
    if fault := find_key_fault(key):
        raise _BadCallError(EntryFault.INVALID, fault)
    return key


def _read_value(guest: Guest, pointer: int, size: int) -> str:
    if size & _U32 > ANSWER_BYTES:
        raise _BadCallError(EntryFault.TOO_LARGE, f"the value has {size & _U32} bytes, more than {ANSWER_BYTES}")
    return _read_text(guest, pointer, size, ANSWER_BYTES, "a value")


def _read_text(guest: Guest, pointer: int, size: int, most: int, what: str) -> str:
    """Return a text of at most ``most`` bytes, which are not copied before they are counted."""
    if size & _U32 > most:
        raise _BadCallError(EntryFault.INVALID, f"{size & _U32} bytes are too many for {what}")
    try:
        text = guest.memory.read(pointer, size).decode()
    except UnicodeDecodeError:
        raise _BadCallError(EntryFault.NO_TEXT, f"{what} is UTF-8; encode what is not, as with base64") from None
    if has_fault(text):
        raise _BadCallError(EntryFault.INVALID, f"{what} has no zero bytes")
    return text


def _read_expire(expire_ms: int) -> float | None:
    """Return seconds; None for a negative number: as it is, or for ever."""
    found = _sign(expire_ms)
    return None if found < 0 else found / 1000


def _check_flags(flags: int, known: int) -> None:
    if flags & _U32 & ~known or (flags & IF_ABSENT and flags & IF_VALUE):
        raise _BadCallError(EntryFault.INVALID, f"there are no such flags as {flags & _U32}")


def _sign(number: int) -> int:
    """Return an i64, which may come as an unsigned number, with its sign."""
    return (number & (1 << 64) - 1 ^ _I64_SIGN) - _I64_SIGN


_CALLS: dict[str, Callable[..., int]] = {
    "kv_get": kv_get,
    "kv_set": kv_set,
    "kv_add": kv_add,
    "kv_delete": kv_delete,
    "kv_keys": kv_keys,
    "kv_answer": kv_answer,
}
CALLS = {name: (KV_FUNCTIONS[name].partition(">")[0], call) for name, call in _CALLS.items()}
