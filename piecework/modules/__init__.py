"""Looking at wasm modules without running them: what they need and offer, and whether a runtime can run them.

The server looks when a lambda is made, from the bytes; an agent looks before it runs one. Both ask the same rules.
"""

from collections.abc import Callable

from piecework.modules.binary import ModuleError, ModuleFacts, inspect_component, inspect_module
from piecework.modules.capsule import check_capsule
from piecework.modules.component import check_component
from piecework.modules.funless import check_funless
from piecework.modules.wasi import check_wasi

__all__ = ["CHECKS", "COMPONENT", "ModuleError", "ModuleFacts", "check_code", "inspect_module"]

COMPONENT = "component"
"""The runtime whose code is no core module."""

CHECKS: dict[str, Callable[[ModuleFacts], None]] = {
    "wasi": check_wasi,
    "capsule": check_capsule,
    "funless": check_funless,
    COMPONENT: check_component,
}
"""Each raises ModuleError, saying why, for a module that its runtime cannot run."""


def check_code(runtime: str, code: bytes) -> None:
    """Raise ModuleError for code that the runtime of this name cannot run. Of other runtimes nothing is known."""
    if runtime in CHECKS:
        CHECKS[runtime](inspect_component(code) if runtime == COMPONENT else inspect_module(code))
