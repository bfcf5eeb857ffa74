"""What makes a component one that can run: WASI 0.2, and the export ``run`` of a command."""

from piecework.modules.binary import ModuleError, ModuleFacts
from piecework.modules.rules import list_some

ENTRY = "wasi:cli/run@0.2."
"""How the interface begins that a command exports; any patch release of 0.2 follows."""
OFFERED = tuple(f"wasi:{package}/" for package in ("cli", "clocks", "filesystem", "io", "random", "sockets"))
"""How the names of the interfaces begin that can be imported, all of release 0.2."""
UNSTEADY = ("wasi:clocks/", "wasi:random/")
"""Interfaces whose answers differ from run to run."""


def find_entry(facts: ModuleFacts) -> str | None:
    """Return the interface with the function ``run`` that a component exports; None when it is no command."""
    return next((name for name in facts.exports if name.startswith(ENTRY)), None)


def check_component(facts: ModuleFacts) -> None:
    """Raise ModuleError, naming what is missing, unless the component is a command for WASI 0.2."""
    names = sorted({interface for interface, _ in facts.imports})
    unknown = [repr(name) for name in names if not name.startswith(OFFERED) or "@0.2." not in name]
    if unknown:
        raise ModuleError(f"the component imports {list_some(unknown)}, which the runtime component does not have")
    if find_entry(facts) is None:
        found = list_some([repr(name) for name in sorted(facts.exports)]) or "nothing"
        raise ModuleError(
            f"the component does not export '{ENTRY}0': build it as a command, not as a library or an HTTP "
            f"handler; it exports {found}"
        )


def list_unsteady(facts: ModuleFacts) -> list[str]:
    """Return the interfaces that a component imports and that a deterministic lambda must not have."""
    return sorted({interface for interface, _ in facts.imports if interface.startswith(UNSTEADY)})
