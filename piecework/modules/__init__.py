"""Looking at wasm modules without running them: what they need and offer, and whether a runtime can run them.

The server looks when a lambda is made, from the bytes; an agent looks before it runs one. Both ask the same rules.
"""

from piecework.modules.binary import (
    HEADER_BYTES,
    MAGIC,
    Binary,
    ModuleError,
    ModuleFacts,
    claims_component,
    inspect_component,
    inspect_module,
)
from piecework.modules.inspection import (
    CHECKS,
    COMPONENT,
    LOOK_BYTES,
    Inspection,
    describe_bytes,
    inspect_code,
    name_interface,
    read_facts,
    recognise,
)
from piecework.modules.rules import PAGE_BYTES, check_room, explain_shortage

__all__ = [
    "CHECKED",
    "CHECKS",
    "COMPONENT",
    "HEADER_BYTES",
    "MAGIC",
    "PAGE_BYTES",
    "Binary",
    "Inspection",
    "ModuleError",
    "ModuleFacts",
    "check_code",
    "check_room",
    "claims_component",
    "describe_bytes",
    "explain_shortage",
    "inspect_code",
    "inspect_module",
    "name_interface",
]

DEFAULT = "default"
"""The runtime that looks at the code and chooses."""
CHECKED = frozenset({DEFAULT, *CHECKS})
"""The runtimes whose code ``check_code`` can judge."""
NAMED = 10
"""So many exports stand in a message."""


def check_code(runtime: str, code: Binary) -> None:
    """Raise ModuleError for code that the runtime of this name cannot run. Of other runtimes nothing is known.

    With ``default`` code that is no wasm binary passes: other agents may know what to do with it.
    """
    if runtime not in CHECKED:
        return
    if code[: len(MAGIC)] != MAGIC:
        if runtime == DEFAULT:
            return
        raise ModuleError(
            f"this is {describe_bytes(code[:LOOK_BYTES])}, not a wasm binary: "
            "it does not start with the bytes 00 61 73 6d"
        )
    if runtime == DEFAULT:
        _check_any(code)
    else:
        CHECKS[runtime](inspect_component(code) if runtime == COMPONENT else inspect_module(code))


def _check_any(code: Binary) -> None:
    component, facts = read_facts(code)
    runtime = recognise(facts, component=component) or (COMPONENT if component else None)
    if runtime is None:
        names = ", ".join(sorted(facts.exports)[:NAMED]) or "nothing"
        raise ModuleError(f"no runtime recognises the module: it exports {names}, and no function that one calls")
    CHECKS[runtime](facts)
