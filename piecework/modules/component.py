"""What makes a component one that can run: WASI 0.2, and a command's ``run`` or an HTTP handler's ``handle``."""

from piecework.modules.binary import ModuleError, ModuleFacts
from piecework.modules.rules import list_some

ENTRY = "wasi:cli/run@0.2."
"""How the interface begins that a command exports; any patch release of 0.2 follows."""
HANDLER = "wasi:http/incoming-handler@0.2."
"""Likewise, the one of an HTTP handler."""
RUN, HANDLE = "run", "handle"
"""The functions in there."""
OUTGOING = "wasi:http/outgoing-handler@0.2."
_OF_COMMANDS = ("wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:io/", "wasi:random/", "wasi:sockets/")
"""The interfaces that wasmtime itself has for commands."""
_LATER = "@0.3."
"""In the names of interfaces that no runtime has yet."""


def find_entry(facts: ModuleFacts) -> str | None:
    """Return the interface with the function ``run`` that a component exports; None when it is no command."""
    return _find(facts, ENTRY)


def find_handler(facts: ModuleFacts) -> str | None:
    """Return the interface with the function ``handle``; None when it is no HTTP handler."""
    return _find(facts, HANDLER)


def needs_more(facts: ModuleFacts) -> bool:
    """Tell whether it imports more than commands usually do: ``wasi:http``, or what nobody has."""
    return not all(interface.startswith(_OF_COMMANDS) for interface, _ in facts.imports)


def check_component(facts: ModuleFacts) -> None:
    """Raise ModuleError, naming what is missing, unless the component is a command or a handler for WASI 0.2.

    An interface that nobody has may be imported: whoever calls it is ended then.
    """
    names = sorted({interface for interface, _ in facts.imports})
    later = [repr(name) for name in names if _LATER in name]
    if later:
        raise ModuleError(
            f"the component imports {list_some(later)}, which is WASI 0.3: build it for "
            "WASI 0.2, which the runtime component has"
        )
    unknown = [repr(name) for name in names if ":" not in name]
    if unknown:
        raise ModuleError(f"the component imports {list_some(unknown)}, which the runtime component does not have")
    if find_entry(facts) is None and find_handler(facts) is None:
        found = list_some([repr(name) for name in sorted(facts.exports)]) or "nothing"
        raise ModuleError(
            f"the component does not export '{ENTRY}0' or '{HANDLER}0': build it as a command or as an "
            f"HTTP handler, not as a library; it exports {found}"
        )


def _find(facts: ModuleFacts, start: str) -> str | None:
    return next((name for name in facts.exports if name.startswith(start)), None)
