"""wasmtime's C API as plain functions, and all that this project uses of wasmtime's private parts.

The functions are described in wasmtime's C headers (``store.h``, ``func.h``, ``instance.h``, ``linker.h``,
``memory.h``, ``trap.h``, ``config.h``); ``wasmtime._bindings`` is generated from them. Pointers are plain integers
here, and None is null: that is what makes calls quick.
"""

from ctypes import (
    CDLL,
    CFUNCTYPE,
    POINTER,
    PyDLL,
    Structure,
    c_bool,
    c_char_p,
    c_int32,
    c_int64,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
    cast,
)
from functools import partial
from typing import Any

from wasmtime import (
    Trap,
    WasmtimeError,
    _bindings as bindings,
    _ffi as ffi,
)

WRITTEN_FOR = "50.0.1"
"""The version of the package ``wasmtime`` that this was written for and tested with."""

# Functions that return at once keep the interpreter's lock; those that run guests, or free their memory, do not.
_BRIEF = PyDLL(ffi.dll._name, handle=ffi.dll._handle)  # noqa: SLF001  # both libraries are the same
_LONG = CDLL(ffi.dll._name, handle=ffi.dll._handle)  # noqa: SLF001  # both libraries are the same
_AT = c_void_p
_LIMIT = c_int64

Callback = CFUNCTYPE(c_void_p, c_void_p, c_void_p, POINTER(c_int32), c_size_t)
"""A host function: data, caller, parameters and results in one array, its length; returns a trap or nothing."""
VALUE_WORDS = 4
"""A value in such an array takes 16 bytes, and the number is at its start."""


def _find(library: CDLL, name: str, result: Any, *parameters: Any) -> Any:
    function = library[name]
    function.restype, function.argtypes = result, parameters
    return function


bind_brief, bind_long = partial(_find, _BRIEF), partial(_find, _LONG)
"""Make a function of the library callable: its name, the type of its result, those of its parameters."""


store_new = _find(_BRIEF, "wasmtime_store_new", _AT, _AT, _AT, _AT)
store_delete = _find(_LONG, "wasmtime_store_delete", None, _AT)
store_context = _find(_BRIEF, "wasmtime_store_context", _AT, _AT)
store_limiter = _find(_BRIEF, "wasmtime_store_limiter", None, _AT, _LIMIT, _LIMIT, _LIMIT, _LIMIT, _LIMIT)
set_epoch_deadline = _find(_BRIEF, "wasmtime_context_set_epoch_deadline", None, _AT, c_uint64)
set_fuel = _find(_BRIEF, "wasmtime_context_set_fuel", _AT, _AT, c_uint64)
get_fuel = _find(_BRIEF, "wasmtime_context_get_fuel", _AT, _AT, _AT)
instantiate = _find(_LONG, "wasmtime_instance_pre_instantiate", _AT, _AT, _AT, _AT, _AT)
get_export = _find(_BRIEF, "wasmtime_instance_export_nth", c_bool, _AT, _AT, c_size_t, _AT, _AT, _AT)
get_export_of_caller = _find(_BRIEF, "wasmtime_caller_export_get", c_bool, _AT, c_char_p, c_size_t, _AT)
call = _find(_LONG, "wasmtime_func_call_unchecked", _AT, _AT, _AT, _AT, c_size_t, _AT)
memory_data = _find(_BRIEF, "wasmtime_memory_data", _AT, _AT, _AT)
memory_size = _find(_BRIEF, "wasmtime_memory_data_size", c_size_t, _AT, _AT)
trap_new = _find(_BRIEF, "wasmtime_trap_new", _AT, c_char_p, c_size_t)
trap_delete = _find(_BRIEF, "wasm_trap_delete", None, _AT)
error_delete = _find(_BRIEF, "wasmtime_error_delete", None, _AT)
_define = _find(
    _BRIEF, "wasmtime_linker_define_func_unchecked",
    _AT, _AT, c_char_p, c_size_t, c_char_p, c_size_t, _AT, Callback, _AT, _AT,
)  # fmt: skip


class Room(Structure):
    """Where wasmtime puts what it returns for one guest. The constants below are places in it."""

    _fields_ = (
        ("instance", bindings.wasmtime_instance_t),
        ("trap", c_void_p),
        ("name", c_void_p),
        ("name_size", c_size_t),
        ("fuel", c_uint64),
        ("function", bindings.wasmtime_extern_t),
        ("memory", bindings.wasmtime_extern_t),
    )


TRAP: int = Room.trap.offset
NAME: int = Room.name.offset
NAME_SIZE: int = Room.name_size.offset
FUEL: int = Room.fuel.offset
FUNCTION: int = Room.function.offset
MEMORY: int = Room.memory.offset
OF: int = bindings.wasmtime_extern_t.of.offset
"""Within an export: the description of the function or memory that it is."""
MEMORY_KIND: int = ffi.WASMTIME_EXTERN_MEMORY.value


_set_async_stack = _find(_BRIEF, "wasmtime_config_async_stack_size_set", None, _AT, c_uint64)
_new_pool = _find(_BRIEF, "wasmtime_pooling_allocation_config_new", _AT)
_delete_pool = _find(_BRIEF, "wasmtime_pooling_allocation_config_delete", None, _AT)
_use_pool = _find(_BRIEF, "wasmtime_pooling_allocation_strategy_set", None, _AT, _AT)


def use_pool(config: Any, counts: dict[str, int], sizes: dict[str, int]) -> None:
    """Have an engine take what its guests need from a pool; ``config.h`` says which counts and sizes it has."""
    pool = _new_pool()
    for limits, kind in ((counts, c_uint32), (sizes, c_size_t)):
        for name, limit in limits.items():
            _find(_BRIEF, f"wasmtime_pooling_allocation_config_{name}_set", None, _AT, kind)(pool, limit)
    _use_pool(find_address(config), pool)
    _delete_pool(pool)


def set_async_stack(config: Any, size: int) -> None:
    """Set the size of the stack of asynchronous calls, of which there are none: no other may be larger."""
    _set_async_stack(find_address(config), size)


def define(linker: Any, module: str, name: str, kind: Any, callback: Any) -> None:
    """Offer a host function, which must be kept alive. Raises WasmtimeError."""
    where, what = module.encode(), name.encode()
    places = find_address(linker), find_address(kind)
    raise_error(_define(places[0], where, len(where), what, len(what), places[1], callback, None, None))


def find_address(wrapper: Any) -> int:
    """Return where the C object is that belongs to an object of the Python package."""
    address = cast(wrapper.ptr(), c_void_p).value
    assert address is not None
    return address


def raise_error(error: int | None) -> None:
    """Raise WasmtimeError when there is an error."""
    if error:
        raise WasmtimeError._from_ptr(cast(error, POINTER(bindings.wasmtime_error_t)))  # noqa: SLF001  # owns it now


def make_trap(trap: int) -> Trap:
    """Return the exception for a trap."""
    return Trap._from_ptr(cast(trap, POINTER(bindings.wasm_trap_t)))  # noqa: SLF001  # owns it now
