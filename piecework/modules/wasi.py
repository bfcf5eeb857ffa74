"""What makes a module a WASI preview 1 command."""

from collections.abc import Container

from piecework.modules.binary import ModuleFacts
from piecework.modules.kv import KV_FUNCTIONS, KV_INTERFACE
from piecework.modules.rules import check_export, check_imports

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
COMMON: dict[str, Container[str]] = {WASI_PREVIEW1: WASI_FUNCTIONS, KV_INTERFACE: KV_FUNCTIONS}
"""What core modules may import whatever their own interface is."""


def check_wasi(facts: ModuleFacts) -> None:
    """Raise ModuleError, naming what is missing, unless the module is a WASI preview 1 command."""
    check_imports(facts, "wasi", COMMON)
    check_export(facts, "_start", ">", "build it as a WASI command, not as a library or reactor")
