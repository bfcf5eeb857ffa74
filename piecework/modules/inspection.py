"""What code is, what it will need, and which runtimes can run it: told from its bytes, without running it."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from piecework.modules.binary import (
    HEADER_BYTES,
    MAGIC,
    Binary,
    ModuleError,
    ModuleFacts,
    inspect_component,
    inspect_module,
    is_component,
)
from piecework.modules.capsule import (
    UNCONFIGURED,
    check_capsule,
    find_generation,
    is_capsule,
    takes_requests_alone,
)
from piecework.modules.component import OUTGOING, check_component, find_entry, find_handler
from piecework.modules.funless import check_funless, is_funless
from piecework.modules.kinds import find_kind
from piecework.modules.kv import KV_FUNCTIONS
from piecework.modules.rules import PAGE_BYTES
from piecework.modules.wasi import check_wasi

COMPONENT = "component"
"""The runtime whose code is no core module."""
Check = Callable[[ModuleFacts], None]
CHECKS: dict[str, Check] = {
    "capsule": check_capsule,
    "funless": check_funless,
    COMPONENT: check_component,
    "wasi": check_wasi,
}
"""Each raises ModuleError, saying why, for a module that its runtime cannot run."""
RECOGNISES: dict[str, Callable[[ModuleFacts], bool]] = {
    "capsule": is_capsule,
    "funless": is_funless,
    COMPONENT: lambda facts: find_entry(facts) is not None or find_handler(facts) is not None,
    "wasi": lambda facts: "_start" in facts.exports,
}
"""Whether a module is meant for a runtime; ``default`` asks in this order."""
GRANTS = {
    "http": ("hostHttp", "hostHTTP", "hostCouchBaseQuery", "__http_request", OUTGOING),
    "redis": ("hostRedisSet", "hostRedisGet", "hostRedisDel", "hostRedisKeys"),
    "files": ("hostReadFile", "hostWriteFile", "path_open"),
    "env": ("hostGetEnv",),
    "kv": tuple(KV_FUNCTIONS),
}
"""Imports for which a lambda needs a grant, or may: every libc that can open files asks for ``path_open``."""
_UNSTEADY = (
    *("clock_", "random_get", "poll_oneoff", "sock_", "path_"),
    *("wasi:clocks/", "wasi:random/", "wasi:sockets/", "wasi:filesystem/", "wasi:http/"),
)
"""How imports begin through which an answer may depend on more than the input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """All that can be told about some code."""

    kind: str
    """``module``, ``component``, or what else it is."""
    size: int
    """Bytes."""
    sha256: str
    runtimes: list[str] = field(default_factory=list)
    """Those that can run it."""
    default: str | None = None
    """The one that ``default`` chooses; None: none."""
    refusals: dict[str, str] = field(default_factory=dict)
    """Why the other runtimes cannot."""
    generation: int | None = None
    """Of Capsule's interface."""
    imports: list[str] = field(default_factory=list)
    exports: list[str] = field(default_factory=list)
    memory_bytes: int | None = None
    """What it starts with; None: not known."""
    memory_max_bytes: int | None = None
    """What it may grow to by its own word; None: as far as the limit."""
    grants: list[str] = field(default_factory=list)
    """What it may ask for outside of its sandbox."""
    pure: bool | None = None
    """It imports no clock, no random numbers, no network and no files; None: it is no wasm binary."""


def inspect_code(code: bytes) -> Inspection:
    """Return what code is and needs. Raises ModuleError for a wasm binary that is damaged."""
    common = {"size": len(code), "sha256": hashlib.sha256(code).hexdigest()}
    if code[: len(MAGIC)] != MAGIC:
        return Inspection(kind=find_kind(code).words, **common)  # type: ignore[arg-type]
    component, facts = read_facts(code)
    refusals = {name: why for name in CHECKS if (why := _find_refusal(name, facts, component=component))}
    imports = sorted(facts.imports)
    first, most = facts.memory or (None, None)
    return Inspection(
        kind=COMPONENT if component else "module",
        runtimes=[name for name in CHECKS if name not in refusals],
        default=recognise(facts, component=component),
        refusals=refusals,
        generation=find_generation(facts) if is_capsule(facts) else None,
        imports=[f"{module} {name}".strip() for module, name in imports],
        exports=sorted(facts.exports),
        memory_bytes=None if first is None else first * PAGE_BYTES,
        memory_max_bytes=None if most is None else most * PAGE_BYTES,
        grants=list_grants(facts),
        pure=not any(_is_unsteady(module, name) for module, name in imports),
        **common,  # type: ignore[arg-type]
    )


def read_facts(code: Binary) -> tuple[bool, ModuleFacts]:
    """Return whether a wasm binary is a component, and what it imports and exports. Raises ModuleError."""
    component = is_component(code[:HEADER_BYTES])
    return component, inspect_component(code) if component else inspect_module(code)


def answers_requests_alone(code: Binary) -> bool:
    """Tell whether code is for HTTP requests and for nothing else: no command, and no function of texts.

    A script is for anything. Raises ModuleError.
    """
    if code[: len(MAGIC)] != MAGIC:
        return False
    component, facts = read_facts(code)
    if component:
        return find_handler(facts) is not None and find_entry(facts) is None
    return takes_requests_alone(facts)


def name_interface(code: Binary) -> str:
    """Return how a wasm binary is called, in few words: ``wasi``, ``component``, ``funless``, ``capsule 4``.

    The number is the generation of Capsule's interface. ``module`` is a core module that no runtime recognises.
    Raises ModuleError.
    """
    component, facts = read_facts(code)
    runtime = recognise(facts, component=component)
    if runtime == "capsule":
        return f"capsule {find_generation(facts) or ''}".strip()
    return runtime or (COMPONENT if component else "module")


def recognise(facts: ModuleFacts, *, component: bool) -> str | None:
    """Return the runtime that ``default`` chooses for a wasm binary; None: none is meant."""
    names: Iterable[str] = [COMPONENT] if component else [name for name in CHECKS if name != COMPONENT]
    return next((name for name in names if RECOGNISES[name](facts)), None)


def list_grants(facts: ModuleFacts) -> list[str]:
    """Return the grants for which a module has imports."""
    names = {OUTGOING if module.startswith(OUTGOING) else name for module, name in facts.imports}
    return [grant for grant, functions in GRANTS.items() if names & set(functions)]


def _find_refusal(runtime: str, facts: ModuleFacts, *, component: bool) -> str | None:
    if component != (runtime == COMPONENT):
        return "it is a component" if component else "it is a core module"
    try:
        CHECKS[runtime](facts)
    except ModuleError as error:
        return str(error)
    return None


def _is_unsteady(module: str, name: str) -> bool:
    needs_grant = any(name in functions for functions in GRANTS.values())
    return needs_grant or name in UNCONFIGURED or (name or module).startswith(_UNSTEADY)
