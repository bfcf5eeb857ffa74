"""The source of a Python function, with what it takes to run elsewhere: no pickled code, nothing hidden."""

import ast
import builtins
import inspect
import symtable
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FunctionType, ModuleType
from typing import Any

CONSTANTS = (int, float, str, bytes, type(None))
"""What a global may be that goes along, beside tuples of such; its value then is that of the first use."""


class CannotCarry(TypeError):
    """A function cannot run elsewhere; the message says what keeps it, and what to do."""


@dataclass
class Carried:
    """What goes along with a function: by the names under which it is used."""

    imports: dict[str, str] = field(default_factory=dict)
    constants: dict[str, str] = field(default_factory=dict)
    functions: dict[str, str] = field(default_factory=dict)
    """Their sources."""

    def write(self) -> str:
        """Return a script that defines all of it."""
        parts = [*(self.imports[name] for name in sorted(self.imports))]
        parts += [f"{name} = {self.constants[name]}" for name in sorted(self.constants)]
        return "\n".join([*parts, *(f"\n\n{source}" for source in self.functions.values())]).strip() + "\n"


def carry(function: Callable[..., Any], is_ours: Callable[[object], bool]) -> Carried:
    """Return a function's source with the modules, constants and other functions of its module that it uses.

    ``is_ours`` tells of a decorator whether it may be left out. Raises CannotCarry.
    """
    if not isinstance(function, FunctionType):
        raise CannotCarry(f"{function!r} is no function that was written with def")
    carried = Carried()
    _carry_function(function, function.__name__, carried, is_ours)
    return carried


def _carry_function(
    function: FunctionType, name: str, carried: Carried, is_ours: Callable[[object], bool]
) -> None:
    source, node = _read_source(function)
    _check(function, node, is_ours)
    carried.functions[name] = source  # before what it uses: that may use it
    own = function.__globals__
    for used in sorted(_find_globals(node)):
        if used in carried.functions and (used == name or used in own):
            continue
        if used in own:
            _carry_value(function, used, own[used], carried, is_ours)
        elif not hasattr(builtins, used):
            raise CannotCarry(f"{function.__name__} uses {used}, which is nowhere defined")


def _carry_value(
    function: FunctionType, used: str, value: object, carried: Carried, is_ours: Callable[[object], bool]
) -> None:
    """Have a global of a function go along. Raises CannotCarry."""
    if isinstance(value, ModuleType):
        carried.imports[used] = f"import {_check_module(function, used, value.__name__)} as {used}"
    elif _is_constant(value):
        carried.constants[used] = repr(value)
    elif isinstance(value, FunctionType) and value.__module__ == function.__module__:
        _carry_function(value, used, carried, is_ours)
    elif _is_of_a_library(value):
        module, name = _check_module(function, used, str(value.__module__)), getattr(value, "__qualname__", "")
        carried.imports[used] = f"from {module} import {name} as {used}"
    else:
        raise CannotCarry(
            f"{function.__name__} uses the global {used}, a {type(value).__name__}, which cannot go along: "
            "pass it as an argument, or define it inside"
        )


def _read_source(function: FunctionType) -> tuple[str, ast.FunctionDef]:
    """Return the source from ``def`` on, and what it says. Raises CannotCarry."""
    try:
        source = textwrap.dedent(inspect.getsource(function))
        [node] = ast.parse(source).body
    except (OSError, TypeError, SyntaxError, ValueError) as error:
        raise CannotCarry(f"the source of {function.__name__} cannot be read: {error}") from error
    if isinstance(node, ast.AsyncFunctionDef):
        raise CannotCarry(f"{function.__name__} is a coroutine: write it with def alone")
    if not isinstance(node, ast.FunctionDef):
        raise CannotCarry(f"{function.__name__} is no function that was written with def")
    lines = source.splitlines()[node.lineno - 1 : node.end_lineno]
    return "\n".join(lines), node


def _check(function: FunctionType, node: ast.FunctionDef, is_ours: Callable[[object], bool]) -> None:
    if function.__code__.co_freevars:
        names = ", ".join(function.__code__.co_freevars)
        raise CannotCarry(
            f"{function.__name__} uses {names} of the function around it, which cannot go along: "
            "pass it as an argument"
        )
    if hasattr(function, "__wrapped__") and not node.decorator_list:
        raise CannotCarry(f"{function.__name__} stands around another function, which cannot go along")
    if inspect.isgeneratorfunction(function):
        raise CannotCarry(f"{function.__name__} is a generator: return a list")
    for each in node.decorator_list:
        if not _is_left_out(function, each, is_ours):
            raise CannotCarry(f"{function.__name__} has the decorator @{ast.unparse(each)}, which cannot go along")


def _is_left_out(function: FunctionType, decorator: ast.expr, is_ours: Callable[[object], bool]) -> bool:
    target = decorator.func if isinstance(decorator, ast.Call) else decorator
    names = ast.unparse(target).split(".")
    found: object = function.__globals__.get(names[0])
    for name in names[1:]:
        found = getattr(found, name, None)
    return is_ours(found) or (found is None and names[-1] == "function")  # it was imported where it is used


def _find_globals(node: ast.FunctionDef) -> set[str]:
    """Return the names that a function, or one inside of it, looks for outside of both."""
    bare = ast.parse(ast.unparse(node)).body[0]
    assert isinstance(bare, ast.FunctionDef), "it was one"
    bare.decorator_list = []
    for each in ast.walk(bare):  # annotations are not evaluated there
        if isinstance(each, ast.arg):
            each.annotation = None
        elif isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            each.returns = None
    table = symtable.symtable(ast.unparse(bare), "<function>", "exec")
    found = {each.get_name() for each in table.get_symbols() if each.is_referenced() and not each.is_assigned()}
    for inner in _walk(table):
        found |= {each.get_name() for each in inner.get_symbols() if each.is_global() and each.is_referenced()}
    return found


def _walk(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    for inner in table.get_children():
        yield inner
        yield from _walk(inner)


def _is_constant(value: object) -> bool:
    if isinstance(value, tuple):
        return type(value) is tuple and all(map(_is_constant, value))
    return type(value) in {*CONSTANTS, bool} and value == value  # noqa: PLR0124  # a NaN has no literal


def _is_of_a_library(value: Any) -> bool:
    """Tell whether something can be imported by its name from where it says that it is."""
    module = sys.modules.get(str(getattr(value, "__module__", None)))
    name = str(getattr(value, "__qualname__", ""))
    return module is not None and name.isidentifier() and getattr(module, name, None) is value


def _check_module(function: FunctionType, used: str, module: str) -> str:
    """Return the name of a module that is everywhere. Raises CannotCarry for others."""
    if module.partition(".")[0] not in sys.stdlib_module_names:
        raise CannotCarry(
            f"{function.__name__} uses {used} of {module}, which is not in Python's standard library: "
            "a sandbox has no other packages"
        )
    return module
