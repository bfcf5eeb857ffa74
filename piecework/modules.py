"""Looking into a wasm binary without running it: what kind it is, what it imports and exports.

Source: WebAssembly core specification 2.0, chapter 5 (binary format).
"""

from dataclasses import dataclass

MAGIC = b"\0asm"
CORE_VERSION = b"\x01\0\0\0"
COMPONENT_LAYER = b"\x0d\0\x01\0"
_IMPORT_SECTION, _EXPORT_SECTION = 2, 7
_FUNCTION, _TABLE, _MEMORY, _GLOBAL, _TAG = range(5)
NAMES_MAX = 100_000
"""More imports or exports than any real module has."""

WASI_PREVIEW1 = "wasi_snapshot_preview1"
WASI_FUNCTIONS = frozenset(
    [
        "args_get",
        "args_sizes_get",
        "environ_get",
        "environ_sizes_get",
        "clock_res_get",
        "clock_time_get",
        "fd_advise",
        "fd_allocate",
        "fd_close",
        "fd_datasync",
        "fd_fdstat_get",
        "fd_fdstat_set_flags",
        "fd_fdstat_set_rights",
        "fd_filestat_get",
        "fd_filestat_set_size",
        "fd_filestat_set_times",
        "fd_pread",
        "fd_prestat_get",
        "fd_prestat_dir_name",
        "fd_pwrite",
        "fd_read",
        "fd_readdir",
        "fd_renumber",
        "fd_seek",
        "fd_sync",
        "fd_tell",
        "fd_write",
        "path_create_directory",
        "path_filestat_get",
        "path_filestat_set_times",
        "path_link",
        "path_open",
        "path_readlink",
        "path_remove_directory",
        "path_rename",
        "path_symlink",
        "path_unlink_file",
        "poll_oneoff",
        "proc_exit",
        "proc_raise",
        "sched_yield",
        "random_get",
        "sock_accept",
        "sock_recv",
        "sock_send",
        "sock_shutdown",
    ]
)
"""The functions of WASI preview 1."""


class ModuleError(ValueError):
    """The bytes are not a wasm module that can run; the message says why."""


@dataclass(frozen=True, slots=True)
class ModuleFacts:
    """What a core module asks for and offers."""

    imports: frozenset[tuple[str, str]]
    """(module, name) of everything that it imports."""
    exports: frozenset[str]


class _Reader:
    """Walks over the bytes. Running off the end is a ModuleError."""

    def __init__(self, data: bytes, at: int, end: int) -> None:
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

    def count(self) -> int:
        number = self.number()
        if number > NAMES_MAX:
            raise ModuleError(f"the module lists {number} names in one section, more than {NAMES_MAX}")
        return number

    def name(self) -> str:
        length = self.number()
        self.skip(length)
        try:
            return self._data[self.at - length : self.at].decode()
        except UnicodeDecodeError as error:
            raise ModuleError("the module is damaged: a name in it is not UTF-8") from error

    def skip(self, length: int) -> None:
        self.at += length
        if self.at > self._end:
            raise ModuleError("the module is cut off or damaged: it ends inside a section")


def inspect_module(data: bytes) -> ModuleFacts:
    """Return what a core module imports and exports. Raises ModuleError when it is not one."""
    if data[:4] != MAGIC:
        raise ModuleError("this is not a wasm binary: it does not start with the bytes 00 61 73 6d")
    if data[4:8] == COMPONENT_LAYER:
        raise ModuleError("this is a wasm component, not a core module")
    if data[4:8] != CORE_VERSION:
        raise ModuleError(f"this wasm binary has an unknown version {data[4:8].hex()}")
    imports: set[tuple[str, str]] = set()
    exports: set[str] = set()
    reader = _Reader(data, 8, len(data))
    while reader.at < len(data):
        section, size = reader.byte(), reader.number()
        start = reader.at
        reader.skip(size)
        inside = _Reader(data, start, start + size)
        if section == _IMPORT_SECTION:
            imports |= {_read_import(inside) for _ in range(inside.count())}
        elif section == _EXPORT_SECTION:
            exports |= {_read_export(inside) for _ in range(inside.count())}
    return ModuleFacts(frozenset(imports), frozenset(exports))


def _read_import(reader: _Reader) -> tuple[str, str]:
    name = (reader.name(), reader.name())
    kind = reader.byte()
    if kind == _FUNCTION:
        reader.number()
    elif kind in {_TABLE, _MEMORY}:
        if kind == _TABLE:
            reader.byte()
        flags = reader.byte()
        reader.number()
        if flags & 1:
            reader.number()
    elif kind == _GLOBAL:
        reader.skip(2)
    elif kind == _TAG:
        reader.byte()
        reader.number()
    else:
        raise ModuleError(f"the module is damaged: import {name} has the unknown kind {kind}")
    return name


def _read_export(reader: _Reader) -> str:
    name = reader.name()
    reader.byte()
    reader.number()
    return name


def check_wasi_command(facts: ModuleFacts) -> None:
    """Raise ModuleError, naming what is missing, unless the module is a WASI preview 1 command."""
    unknown = sorted(
        f"{module}.{name}"
        for module, name in facts.imports
        if module != WASI_PREVIEW1 or name not in WASI_FUNCTIONS
    )
    if unknown:
        names = ", ".join(unknown[:5]) + (f" and {len(unknown) - 5} more" if len(unknown) > 5 else "")
        raise ModuleError(f"the module imports what the runtime wasi does not have: {names}")
    if "_start" not in facts.exports:
        raise ModuleError(
            "the module does not export `_start`: build it as a command, not as a library or reactor"
        )
