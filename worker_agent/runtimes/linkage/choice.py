"""Which linkage a process uses: the direct one where it fits the installed wasmtime, else the public one.

Likewise where the memory of guests comes from: from a pool, else from the system anew for each.
"""

import mmap
import resource
from collections.abc import Callable
from importlib import import_module

from wasmtime import Config, Engine, Module, Trap, TrapCode

from piecework.worker_agent.runtimes.base import LoadError
from piecework.worker_agent.runtimes.compiling.headroom import work_behind
from piecework.worker_agent.runtimes.linkage import TABLE_ELEMENTS, TABLES, Allowance, GuestStore, LinkageMaker
from piecework.worker_agent.runtimes.linkage.installed import find_version
from piecework.worker_agent.runtimes.linkage.public import PublicLinkage

_PAGE_BYTES = 65_536
_PROBE = """
(module
  (import "host" "add" (func $add (param i32 i64) (result i32)))
  (import "host" "fail" (func $fail))
  (memory (export "memory") 2)
  (func (export "add") (param i32) (result i32) (call $add (local.get 0) (i64.const -5000000000)))
  (func (export "fail") (call $fail))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "trap") unreachable))
"""
_ALLOWANCE = Allowance(memory_bytes=3 * _PAGE_BYTES, tables=1, table_elements=1)

GUESTS_AT_ONCE = 8
"""More guests of one engine cannot run side by side when their memory is pooled. It costs only addresses."""
_ADDRESSES_BYTES = 5 * 1024**3
"""One guest has 4 GiB for its memory and some around it, where nothing is."""
_NO_ACCESS = 0
"""``PROT_NONE``, see ``mmap(2)``."""
_WIPED_TABLE_BYTES = 8192
"""So much of each table is wiped by writing over it: that is quicker than having the system take it away."""
_INSTANCE_BYTES = 64 * 1024 * 1024
"""What wasmtime may need to know of one guest: a few bytes for each function."""


class UnfitLinkageError(Exception):
    """The linkage does not do what it should."""


class _HostError(Exception):
    """What the probe's host raises."""


def choose_linkage() -> LinkageMaker:
    """Return the fastest linkage that works here."""
    try:
        # It may not even load, beside another wasmtime.
        direct = import_module("piecework.worker_agent.runtimes.linkage.direct")
        check_version(direct.capi.WRITTEN_FOR)
        check_linkage(direct.DirectLinkage)
    except Exception as error:  # noqa: BLE001  # whatever does not fit: the other linkage does
        _warn("guests are called the slow way", error)
        return PublicLinkage
    chosen: LinkageMaker = direct.DirectLinkage
    return chosen


PLAIN_STACK_BYTES = 2 * 1024 * 1024
"""wasmtime takes no larger one, unless the stack of asynchronous calls, unused here, is larger still."""
_HOST_STACK_BYTES = 1024 * 1024
"""What the host's functions need below the guest's stack."""


def make_stack_room(config: Config, stack_bytes: int) -> None:
    """Have an engine take a larger stack for its guests than usual. Raises LoadError where that cannot be."""
    soft = resource.getrlimit(resource.RLIMIT_STACK)[0]
    try:
        if soft != resource.RLIM_INFINITY and soft < stack_bytes + _HOST_STACK_BYTES:
            raise UnfitLinkageError(f"the process has {soft} bytes")
        capi = import_module("piecework.worker_agent.runtimes.linkage.capi")
        check_version(capi.WRITTEN_FOR)
        capi.set_async_stack(config, stack_bytes)
    except (ImportError, AttributeError, UnfitLinkageError) as error:
        raise LoadError(f"this worker has no stack of {stack_bytes} bytes: {error}") from error


def make_engine(new_config: Callable[[], Config]) -> Engine:
    """Return an engine with this configuration, whose guests get their memory from a pool where that is possible.

    What a guest left is wiped before the next one has it. Both kinds of engines run the same machine code.
    """
    try:
        config = new_config()
        pool_guests(config)
        return Engine(config)
    except (ImportError, AttributeError, OSError, UnfitLinkageError) as error:
        # Another wasmtime, or an operator who gives processes few addresses.
        _warn("guests get their memory the slow way", error)
        return Engine(new_config())


def pool_guests(config: Config) -> None:
    """Have an engine keep places for its guests. Raises what shows that the installed wasmtime does not fit."""
    capi = import_module("piecework.worker_agent.runtimes.linkage.capi")
    check_version(capi.WRITTEN_FOR)
    # wasmtime ends the process when there are not enough.
    mmap.mmap(
        -1, GUESTS_AT_ONCE * _ADDRESSES_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=_NO_ACCESS
    ).close()
    capi.use_pool(
        config,
        counts={
            "total_core_instances": GUESTS_AT_ONCE,
            "total_memories": GUESTS_AT_ONCE,
            "total_tables": GUESTS_AT_ONCE * TABLES,
            "total_gc_heaps": GUESTS_AT_ONCE,
            "max_tables_per_module": TABLES,
        },
        sizes={
            "table_elements": TABLE_ELEMENTS,
            "max_core_instance_size": _INSTANCE_BYTES,
            "table_keep_resident": _WIPED_TABLE_BYTES,
        },
    )


def check_version(wanted: str) -> None:
    """Raise UnfitLinkageError when another wasmtime is installed than the one with this version."""
    found = find_version()
    if found != wanted:
        raise UnfitLinkageError(f"it is written for wasmtime {wanted}, not {found}")


def check_linkage(make: LinkageMaker) -> None:
    """Run a small guest under a linkage. Raises UnfitLinkageError, or anything else, when that goes wrong."""
    config = Config()
    config.epoch_interruption = True
    engine = Engine(config)
    linkage = make(engine)
    linkage.define("host", "add", "iI", lambda left, right: left + right // 1_000_000, answers=True)
    linkage.define("host", "fail", "", _fail, answers=False)
    # The threads that compile stay as they were when the first module was compiled.
    with work_behind(lambda: Module(engine, _PROBE)) as module:
        prepared = linkage.prepare(module)
        guest_store = prepared.open(_ALLOWANCE)
        try:
            _check_guest_store(guest_store)
        finally:
            guest_store.close()
            prepared.close()


def _check_guest_store(guest_store: GuestStore) -> None:
    guest_store.instantiate()
    seen = (
        guest_store.call("add", -7),
        guest_store.memory_at_start // _PAGE_BYTES,
        guest_store.call("grow", 1),
        guest_store.locate_memory()[1] // _PAGE_BYTES,
        guest_store.call("grow", 1),
        _find_end(guest_store, "trap"),
        _find_end(guest_store, "fail"),
    )
    if seen != (-5007, 2, 2, 3, -1, TrapCode.UNREACHABLE, _HostError):
        raise UnfitLinkageError(f"its probe ended with {seen}")


def _fail() -> None:
    raise _HostError


def _find_end(guest_store: GuestStore, name: str) -> object:
    try:
        guest_store.call(name)
    except Trap as trap:
        return trap.trap_code
    except _HostError:
        return _HostError
    return None


def _warn(event: str, error: Exception) -> None:
    import structlog  # noqa: PLC0415  # it would be half of the start of each guest process, and all are fit

    structlog.get_logger(__name__).warning(event, reason=f"{type(error).__name__}: {error}")
