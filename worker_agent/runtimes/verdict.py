"""Why a guest failed: from what ended it to the error that its job reports."""

import re
import traceback
from typing import NamedTuple

from wasmtime import Trap, TrapCode, WasmtimeError

from piecework.modules import PAGE_BYTES, explain_shortage
from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import JobError
from piecework.worker_agent.runtimes.base import Call
from piecework.worker_agent.runtimes.stopping import StoppedError, StopReason
from piecework.worker_agent.runtimes.streams import OutputFullError, ScratchError

_FIRST_MEMORY = re.compile(r"memory minimum size of (\d+) pages")
_OUT_OF_BOUNDS = ("out of bounds memory access", "out of bounds table access")
_OUT_OF_MEMORY_WORDS = (
    "out of memory",
    "not enough memory",
    "no more memory",
    "cannot allocate memory",
    "memory allocation of",
    "bad_alloc",
    "memoryerror",
)
"""How the allocators and interpreters that guests bring along say it, in lower case."""
_OUT_OF_MEMORY_TRAPS = (TrapCode.UNREACHABLE, TrapCode.MEMORY_OUT_OF_BOUNDS)
"""How guests end that abort, or go on, when they get no memory."""
_TRAPS = {
    "interrupt": TrapCode.INTERRUPT,
    "all fuel consumed": TrapCode.OUT_OF_FUEL,
    "wasm `unreachable`": TrapCode.UNREACHABLE,
    "out of bounds memory": TrapCode.MEMORY_OUT_OF_BOUNDS,
}
"""How the reasons begin of which wasmtime gives only the text when they end a component."""
_COUNTED_TRAPS = (TrapCode.UNREACHABLE, TrapCode.OUT_OF_FUEL)
"""Those before which compiled code writes down how much fuel it used."""
_FRAME = re.compile(r"^ *\d+: +(?:(0x[0-9a-f]+) - )?(?:[^!\n]*!)?(.+)$", re.MULTILINE)
"""A line of the backtrace in such a text: place, if known, and function, after the name of its module."""


class GuestFailedError(Exception):
    """The guest itself said that it failed; the message is its own."""

    def __init__(self, message: str, trace: str = "", exit_code: int = 0) -> None:
        """Without a ``trace``, which tells more, the last line of the log is added to the message.

        ``exit_code`` is not 0 when the guest ended itself with it.
        """
        super().__init__(message)
        self.trace = trace
        self.exit_code = exit_code


class MemoryUse(NamedTuple):
    """The guest's memory, bytes."""

    at_start: int
    at_end: int


def judge(failure: Exception, call: Call, memory: MemoryUse) -> JobError:
    """Return the error for whatever ended a guest."""
    trap = _find_trap(failure)
    if isinstance(failure, StoppedError) or trap is TrapCode.INTERRUPT:
        return _stopped(call)
    if isinstance(failure, OutputFullError):
        limit = call.bounds.output_bytes
        return JobError(kind=ErrorKind.OUTPUT, message=f"it wrote more output than its limit of {limit} bytes")
    if isinstance(failure, ScratchError):
        return JobError(kind=ErrorKind.WORKER, message=str(failure))
    if trap is TrapCode.OUT_OF_FUEL:
        return JobError(kind=ErrorKind.FUEL, message=f"it used up its {call.bounds.fuel} units of fuel")
    return _judge_guest(failure, trap, call, memory)


def blame_host(failure: Exception) -> JobError:
    """Return the error for a guest that called the host, which then failed."""
    message = f"the host failed in a call of the guest: {type(failure).__name__}: {failure}"
    return JobError(kind=ErrorKind.TRAP, message=message, trace="".join(traceback.format_exception(failure)))


def has_exact_fuel(failure: Exception) -> bool:
    """Tell whether the store of a guest that ended like this says how much fuel it used.

    Compiled code counts in a register. It writes the count down when it calls a function, returns, or gives up by
    itself. A trap of the processor, an epoch that is over, or an error of the engine comes in between: then the
    store has the count of some call before, or none at all.
    """
    end = failure.__cause__ or failure
    return not isinstance(end, Trap | WasmtimeError) or _find_trap(end) in _COUNTED_TRAPS


def _judge_guest(failure: Exception, trap: TrapCode | None, call: Call, memory: MemoryUse) -> JobError:
    """Return the error for a guest that ended by itself, or was refused by wasmtime."""
    if isinstance(failure, GuestFailedError):
        message = str(failure) if failure.trace else _with_last_line(str(failure), call)
        error = JobError(kind=ErrorKind.GUEST, message=message, trace=failure.trace)
        return _out_of_memory(error, call) if _looks_starved(call, memory) else error
    text = _cause(failure)
    if "wasm backtrace" not in str(failure):
        return JobError(kind=ErrorKind.LOAD, message=_explain_refusal(text, call))
    if "heap out of memory" in text:
        return _out_of_memory(JobError(kind=ErrorKind.MEMORY, message=text), call)
    error = JobError(kind=ErrorKind.TRAP, message=text, trace=_backtrace(failure))
    starved = trap in _OUT_OF_MEMORY_TRAPS and _looks_starved(call, memory)
    return _out_of_memory(error, call) if starved else error


def _explain_refusal(text: str, call: Call) -> str:
    """Say why wasmtime made no instance. The guest did not run by then: another attempt would end the same."""
    pages = _FIRST_MEMORY.search(text)
    if pages:
        return explain_shortage(int(pages[1]) * PAGE_BYTES, call.bounds.memory_bytes)
    beyond = text.endswith(_OUT_OF_BOUNDS)
    return f"the module begins with data or elements outside of its memory or table: {text}" if beyond else text


def _find_trap(failure: Exception) -> TrapCode | None:
    """Return which trap ended a guest; None when it was none of those that matter here."""
    if isinstance(failure, Trap):
        return failure.trap_code
    reason = str(failure).rpartition("wasm trap: ")[2]
    return next((code for words, code in _TRAPS.items() if reason.startswith(words)), None)


def _stopped(call: Call) -> JobError:
    if call.stop.reason is StopReason.CANCELLED:
        return JobError(kind=ErrorKind.WORKER, message="it was cancelled")
    if call.stop.reason is StopReason.UNREAD:
        return JobError(kind=ErrorKind.OUTPUT, message="nobody reads what it writes any more")
    limit = call.bounds.timeout_s
    return JobError(kind=ErrorKind.TIMEOUT, message=f"it ran longer than its limit of {limit:g} s")


def _looks_starved(call: Call, memory: MemoryUse) -> bool:
    """Tell whether a failed guest most likely failed for want of memory.

    wasmtime does not tell when it denies growth, and a guest is free to go on without. So this is a rule: the
    memory grew to within an eighth of the limit, or the end of the log says in an allocator's words that there
    is no more.
    """
    limit = call.bounds.memory_bytes
    grew_to_limit = memory.at_end > memory.at_start and limit - memory.at_end < max(limit // 8, PAGE_BYTES)
    _, end = call.log.read(at_most=400)
    text = end.decode(errors="replace").lower()
    return grew_to_limit or any(words in text for words in _OUT_OF_MEMORY_WORDS)


def _out_of_memory(error: JobError, call: Call) -> JobError:
    limit = call.bounds.memory_bytes
    message = f"it wanted more memory than its limit of {limit} bytes ({error.message})"
    return JobError(kind=ErrorKind.MEMORY, message=message, trace=error.trace)


def _with_last_line(message: str, call: Call) -> str:
    line = call.log.last_line()
    return f"{message}: {line}" if line else message


def _cause(failure: Exception) -> str:
    """Return wasmtime's reason without the backtrace and the details that it puts before."""
    text = str(failure).rpartition("Caused by:")[2].rpartition("wasm trap: ")[2]
    return " ".join(text.split())


def _backtrace(failure: Exception) -> str:
    """Return the guest's functions, innermost first, one a line."""
    if not isinstance(failure, Trap):
        return "\n".join(f"{name} at {place}" if place else name for place, name in _FRAME.findall(str(failure)))
    lines = []
    for frame in failure.frames:
        # An offset of all ones: wasmtime does not know it.
        place = f" at 0x{frame.module_offset:x}" if frame.module_offset < 2**63 else ""
        lines.append(f"{frame.func_name or f'function {frame.func_index}'}{place}")
    return "\n".join(lines)
