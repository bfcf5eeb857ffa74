"""What the rules of all runtimes are made of: imports that somebody offers, exports that somebody calls."""

from collections.abc import Container, Mapping

from piecework.modules.binary import ModuleError, ModuleFacts

_VALUES = {"i": "i32", "I": "i64", "f": "f32", "F": "f64", "v": "v128", "r": "a reference"}
NAMED = 5
"""So many names of what is missing stand in a message."""
PAGE_BYTES = 65_536
"""Of a memory."""
_MIB = 1024 * 1024


def check_room(facts: ModuleFacts, limit_bytes: int) -> None:
    """Raise ModuleError when a module begins with more memory than its limit."""
    if facts.memory is not None and facts.memory[0] * PAGE_BYTES > limit_bytes:
        raise ModuleError(explain_shortage(facts.memory[0] * PAGE_BYTES, limit_bytes))


def explain_shortage(needed_bytes: int, limit_bytes: int) -> str:
    """Say that a guest's memory begins above its limit. The figure that is needed is enough as a limit."""
    if limit_bytes % _MIB:
        sizes = f"{needed_bytes} bytes, limit {limit_bytes} bytes"
    else:
        sizes = f"{-(-needed_bytes // _MIB)} MB, limit {limit_bytes // _MIB} MB"
    return f"it needs {sizes}: with so much memory it begins, so raise the limit"


def check_imports(facts: ModuleFacts, runtime: str, offered: Mapping[str, Container[str]]) -> None:
    """Raise ModuleError unless all that the module imports is offered: names of functions, by module.

    Where these come with their types, others are refused, too.
    """
    unknown = [
        f"{name!r} from {module!r}"
        for module, name in sorted(facts.imports)
        if name not in offered.get(module, ()) or ">" not in facts.imports[module, name]
    ]
    if unknown:
        raise ModuleError(f"the module imports {list_some(unknown)}, which the runtime {runtime} does not have")
    for (module, name), kind in sorted(facts.imports.items()):
        functions = offered[module]
        if isinstance(functions, Mapping) and kind != functions[name]:
            found, wanted = describe(kind), describe(functions[name])
            raise ModuleError(f"the module imports {name!r} from {module!r} as {found}, but it is {wanted}")


def list_some(names: list[str]) -> str:
    """Put names into a message: the first few, and how many more there are."""
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if names[NAMED:] else "")


def check_export(facts: ModuleFacts, name: str, kind: str, advice: str) -> None:
    """Raise ModuleError, with the advice, unless the module exports ``name`` with this type."""
    found = facts.exports.get(name)
    if found is None:
        raise ModuleError(f"the module does not export {describe(kind)} named {name!r}: {advice}")
    if found != kind:
        raise ModuleError(
            f"the module exports {name!r} as {describe(found)}, but it must be {describe(kind)}: {advice}"
        )


def describe(kind: str) -> str:
    """Put a type as ``ModuleFacts`` has it into words."""
    if ">" not in kind:
        return f"a {kind}"
    parameters, results = (", ".join(_VALUES.get(letter, letter) for letter in side) for side in kind.split(">"))
    return f"a function ({parameters}) -> {results or 'nothing'}"
