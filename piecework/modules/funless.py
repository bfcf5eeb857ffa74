"""What makes a module a FunLess function, of either kind."""

from piecework.modules.binary import ModuleFacts
from piecework.modules.rules import check_export, check_imports
from piecework.modules.wasi import COMMON, check_wasi

ENTRY = "__invoke"
INTERFACE = "fl_imps"
FUNCTIONS = {
    "__get_input_data": "i>",
    "__insert_response": "ii>",
    "__insert_error": "ii>",
    "__console_log": "ii>",
    "__http_request": "iiiiiiiiii>",
}
"""Types of the host's functions."""


def is_funless(facts: ModuleFacts) -> bool:
    """Tell whether the module is made for FunLess 0.8 or later. Older ones look like any WASI command."""
    return ENTRY in facts.exports and any(module == INTERFACE for module, _ in facts.imports)


def check_funless(facts: ModuleFacts) -> None:
    """Raise ModuleError, naming what is missing, unless the module is a function of FunLess."""
    if ENTRY not in facts.exports and "_start" in facts.exports:
        check_wasi(facts)
        return
    check_imports(facts, "funless", {INTERFACE: FUNCTIONS, **COMMON})
    check_export(facts, ENTRY, "i>i", "FunLess calls it with the length of the input")
    check_export(facts, "memory", "memory", "FunLess puts the input there")
    if "_initialize" in facts.exports:
        check_export(facts, "_initialize", ">", "it runs before the function is called")
