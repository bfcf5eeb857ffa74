"""The part of wasmtime's C API that is about components, as plain functions, as ``linkage.capi`` has the rest.

The functions are described in wasmtime's C headers (``component/linker.h``, ``component/val.h``,
``component/types/resource.h``). Pointers are plain integers here, and None is null.
"""

from ctypes import CFUNCTYPE, c_bool, c_char_p, c_size_t, c_uint32, c_void_p, sizeof
from typing import Any

from wasmtime import _bindings as bindings

from piecework.worker_agent.runtimes.linkage.capi import bind_brief, bind_long, find_address, raise_error

__all__ = ["find_address", "raise_error"]

_AT = c_void_p
VALUE_BYTES = 32
"""A value: its kind in the first byte, then, from ``OF`` on, what it is."""
OF = 8
NAME_BYTES = 16
"""Before the value of a record's field stands its name: length and place."""

Callback = CFUNCTYPE(c_size_t, c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_size_t)
"""A host function: data, store, type, arguments, their number, results, their number; returns an error or 0."""
Destructor = CFUNCTYPE(c_size_t, c_void_p, c_void_p, c_uint32)
"""Called when a guest drops a resource of the host: data, store, number; returns an error or 0."""

name_new = bind_brief("wasm_byte_vec_new", None, _AT, c_size_t, c_char_p)
value_new = bind_brief("wasmtime_component_val_new", _AT, _AT)
values_new = bind_brief("wasmtime_component_vallist_new", None, _AT, c_size_t, _AT)
entries_new = bind_brief("wasmtime_component_valrecord_new", None, _AT, c_size_t, _AT)
names_new = bind_brief("wasmtime_component_valflags_new", None, _AT, c_size_t, _AT)
value_delete = bind_brief("wasmtime_component_val_delete", None, _AT)
error_new = bind_brief("wasmtime_error_new", _AT, c_char_p)
resource_new = bind_brief("wasmtime_component_resource_host_new", _AT, c_bool, c_uint32, c_uint32)
resource_number = bind_brief("wasmtime_component_resource_host_rep", c_uint32, _AT)
resource_delete = bind_brief("wasmtime_component_resource_host_delete", None, _AT)
resource_lower = bind_brief("wasmtime_component_resource_host_to_any", _AT, _AT, _AT, _AT)
resource_lift = bind_brief("wasmtime_component_resource_any_to_host", _AT, _AT, _AT, _AT)
type_new = bind_brief("wasmtime_component_resource_type_new_host", _AT, c_uint32)
type_delete = bind_brief("wasmtime_component_resource_type_delete", None, _AT)
call = bind_long("wasmtime_component_func_call", _AT, _AT, _AT, _AT, c_size_t, _AT, c_size_t)
_add_function = bind_brief(
    "wasmtime_component_linker_instance_add_func", _AT, _AT, c_char_p, c_size_t, Callback, _AT, _AT
)
_add_resource = bind_brief(
    "wasmtime_component_linker_instance_add_resource", _AT, _AT, c_char_p, c_size_t, _AT, Destructor, _AT, _AT
)


def fits() -> bool:
    """Tell whether the installed wasmtime lays out values as it is written here."""
    value, entry = bindings.wasmtime_component_val, bindings.wasmtime_component_valrecord_entry
    return (sizeof(value), value.of.offset, entry.val.offset) == (VALUE_BYTES, OF, NAME_BYTES)


def add_function(instance: Any, name: str, callback: Any) -> None:
    """Offer a function in an instance of a linker. The callback must be kept alive. Raises WasmtimeError."""
    what = name.encode()
    raise_error(_add_function(find_address(instance), what, len(what), callback, None, None))


def add_resource(instance: Any, name: str, number: int, destructor: Any) -> None:
    """Offer the resource type with this number, likewise."""
    what, kind = name.encode(), type_new(number)
    try:
        raise_error(_add_resource(find_address(instance), what, len(what), kind, destructor, None, None))
    finally:
        type_delete(kind)
