"""Looking at wasm modules without running them: what they need and offer, and whether a runtime can run them.

The server looks when a lambda is made, from the bytes; an agent looks before it runs one. Both ask the same rules.
"""

from piecework.modules.binary import (
    HEADER_BYTES,
    MAGIC,
    Binary,
    ModuleError,
    ModuleFacts,
    inspect_component,
    inspect_module,
)
from piecework.modules.choice import (
    ALIASES,
    BUILT_IN,
    DEFAULT,
    SCRIPTS,
    check_script,
    choose_runtime,
    find_script_runtime,
    resolve_runtime,
    suggest_runtime,
)
from piecework.modules.inspection import (
    CHECKS,
    COMPONENT,
    Inspection,
    answers_requests_alone,
    inspect_code,
    name_interface,
    read_facts,
    recognise,
)
from piecework.modules.kinds import LOOK_BYTES, describe_bytes, find_kind
from piecework.modules.rules import PAGE_BYTES, check_room, explain_shortage

__all__ = [
    "ALIASES",
    "BUILT_IN",
    "CHECKED",
    "CHECKS",
    "COMPONENT",
    "DEFAULT",
    "HEADER_BYTES",
    "MAGIC",
    "PAGE_BYTES",
    "Binary",
    "Inspection",
    "ModuleError",
    "ModuleFacts",
    "answers_requests_alone",
    "check_code",
    "check_room",
    "check_script",
    "choose_runtime",
    "describe_bytes",
    "explain_shortage",
    "find_kind",
    "inspect_code",
    "inspect_module",
    "name_interface",
    "resolve_runtime",
    "suggest_runtime",
]

CHECKED = frozenset({DEFAULT, *CHECKS, *SCRIPTS})
"""The runtimes whose code ``check_code`` can judge."""
NAMED = 10
"""So many exports stand in a message."""


def check_code(runtime: str, code: Binary) -> ModuleFacts | None:
    """Return what a wasm binary imports and exports; None when it is none, or of other runtimes.

    Raises ModuleError for code that the runtime of this name cannot run. Of other runtimes nothing is known. With
    ``default`` code that is no wasm binary passes: other agents may know what to do with it.
    """
    if runtime not in CHECKED:
        return None
    if runtime in SCRIPTS:
        check_script(runtime, code)
        return None
    if code[: len(MAGIC)] != MAGIC:
        if runtime == DEFAULT:
            return None
        raise ModuleError(_explain_bytes(code[:LOOK_BYTES]))
    if runtime == DEFAULT:
        return _check_any(code)
    facts = inspect_component(code) if runtime == COMPONENT else inspect_module(code)
    CHECKS[runtime](facts)
    return facts


def _explain_bytes(code: bytes) -> str:
    kind, runtime = find_kind(code), find_script_runtime(code)
    advice = kind.advice or "it does not start with the bytes 00 61 73 6d"
    if not kind.advice and kind.words.endswith("script"):
        advice = "for a script, name the runtime of its language, such as python3.12"
    return f"this is {kind.words}, not a wasm binary: {f'name the runtime {runtime}' if runtime else advice}"


def _check_any(code: Binary) -> ModuleFacts:
    component, facts = read_facts(code)
    runtime = recognise(facts, component=component) or (COMPONENT if component else None)
    if runtime is None:
        names = ", ".join(sorted(facts.exports)[:NAMED]) or "nothing"
        raise ModuleError(f"no runtime recognises the module: it exports {names}, and no function that one calls")
    CHECKS[runtime](facts)
    return facts
