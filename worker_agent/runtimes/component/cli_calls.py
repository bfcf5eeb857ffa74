"""``wasi:cli``, ``wasi:clocks`` and ``wasi:random``: the process, time, random numbers."""

from typing import NoReturn

from piecework.worker_agent.runtimes.component.guest import (
    PROGRAM_NAME,
    ComponentExitError,
    ComponentGuest,
    HostFunction,
    Interface,
    fail,
)
from piecework.worker_agent.runtimes.component.io_calls import (
    INPUT_STREAM,
    OUTPUT_STREAM,
    POLLABLE,
    InputSource,
    Sink,
    Timer,
)
from piecework.worker_agent.runtimes.component.values import (
    BYTES,
    STRING,
    U8,
    U32,
    U64,
    Err,
    ListOf,
    Ok,
    OptionOf,
    Own,
    Record,
    ResultOf,
    TupleOf,
)
from piecework.worker_agent.runtimes.wasi.clocks import NS_PER_S, ClockId

TERMINAL_INPUT, TERMINAL_OUTPUT = 5, 6
RANDOM_BYTES = 4 * 1024 * 1024
"""The most random bytes for one call."""
_U64_MAX = 2**64 - 1


def get_environment(guest: ComponentGuest) -> list[tuple[str, str]]:
    return list((guest.call.env or {}).items())


def get_arguments(guest: ComponentGuest) -> list[str]:
    return [PROGRAM_NAME, *guest.call.args]


def leave(_guest: ComponentGuest, status: Ok | Err) -> NoReturn:
    raise ComponentExitError(0 if isinstance(status, Ok) else 1)


def leave_with_code(_guest: ComponentGuest, code: int) -> NoReturn:
    raise ComponentExitError(code)


def subscribe_instant(_guest: ComponentGuest, when_ns: int) -> Timer:
    return Timer(when_ns)


def subscribe_duration(guest: ComponentGuest, duration_ns: int) -> Timer:
    return Timer(min(guest.now_ns() + duration_ns, _U64_MAX))


def tell_time(guest: ComponentGuest) -> tuple[int, int]:
    return divmod(guest.clock.read_ns(ClockId.REALTIME), NS_PER_S)


def tell_resolution(guest: ComponentGuest) -> tuple[int, int]:
    return divmod(guest.clock.resolution_ns, NS_PER_S)


def get_random_bytes(guest: ComponentGuest, size: int) -> bytes:
    if size > RANDOM_BYTES:
        fail(f"it wants {size} random bytes, which exceeds limit of {RANDOM_BYTES} for a call")
    return guest.random(size)


def get_random_number(guest: ComponentGuest) -> int:
    return int.from_bytes(guest.random(8), "little")


DATETIME = Record(seconds=U64, nanoseconds=U32)
_bytes = HostFunction([U64], BYTES, get_random_bytes)
_number = HostFunction([], U64, get_random_number)


def _no_terminal(number: int) -> HostFunction:
    return HostFunction([], OptionOf(Own(number)), lambda _guest: None)


INTERFACES = {
    "wasi:cli/environment": Interface(
        {
            "get-environment": HostFunction([], ListOf(TupleOf(STRING, STRING)), get_environment),
            "get-arguments": HostFunction([], ListOf(STRING), get_arguments),
            "initial-cwd": HostFunction([], OptionOf(STRING), lambda _guest: None),
        }
    ),
    "wasi:cli/exit": Interface(
        {
            "exit": HostFunction([ResultOf()], None, leave),
            "exit-with-code": HostFunction([U8], None, leave_with_code),
        }
    ),
    "wasi:cli/stdin": Interface(
        {"get-stdin": HostFunction([], Own(INPUT_STREAM), lambda guest: InputSource(guest.input))}
    ),
    "wasi:cli/stdout": Interface(
        {"get-stdout": HostFunction([], Own(OUTPUT_STREAM), lambda guest: Sink(guest.write_output))}
    ),
    "wasi:cli/stderr": Interface(
        {"get-stderr": HostFunction([], Own(OUTPUT_STREAM), lambda guest: Sink(guest.call.log.write))}
    ),
    "wasi:cli/terminal-input": Interface(resources={"terminal-input": TERMINAL_INPUT}),
    "wasi:cli/terminal-output": Interface(resources={"terminal-output": TERMINAL_OUTPUT}),
    "wasi:cli/terminal-stdin": Interface({"get-terminal-stdin": _no_terminal(TERMINAL_INPUT)}),
    "wasi:cli/terminal-stdout": Interface({"get-terminal-stdout": _no_terminal(TERMINAL_OUTPUT)}),
    "wasi:cli/terminal-stderr": Interface({"get-terminal-stderr": _no_terminal(TERMINAL_OUTPUT)}),
    "wasi:clocks/monotonic-clock": Interface(
        {
            "now": HostFunction([], U64, ComponentGuest.now_ns),
            "resolution": HostFunction([], U64, lambda guest: guest.clock.resolution_ns),
            "subscribe-instant": HostFunction([U64], Own(POLLABLE), subscribe_instant),
            "subscribe-duration": HostFunction([U64], Own(POLLABLE), subscribe_duration),
        }
    ),
    "wasi:clocks/wall-clock": Interface(
        {"now": HostFunction([], DATETIME, tell_time), "resolution": HostFunction([], DATETIME, tell_resolution)}
    ),
    "wasi:random/random": Interface({"get-random-bytes": _bytes, "get-random-u64": _number}),
    "wasi:random/insecure": Interface({"get-insecure-random-bytes": _bytes, "get-insecure-random-u64": _number}),
    "wasi:random/insecure-seed": Interface(
        {
            "insecure-seed": HostFunction(
                [], TupleOf(U64, U64), lambda guest: (get_random_number(guest), get_random_number(guest))
            )
        }
    ),
}
