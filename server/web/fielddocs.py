"""The sentences under the fields of messages, read from their source: one place for people and for OpenAPI."""

import ast
import inspect
import sys
from enum import Enum
from functools import cache
from itertools import pairwise

import msgspec


@cache
def field_docs(type_: type) -> dict[str, str]:
    """Return the docstrings of a message's fields, inherited ones too, by their names on the wire.

    Empty when the source is not there, as in a frozen program.
    """
    docs: dict[str, str] = {}
    for each in reversed(type_.__mro__):
        if issubclass(each, msgspec.Struct) and each is not msgspec.Struct:
            docs |= _own_docs(each)
    on_wire = {field.name: field.encode_name for field in msgspec.structs.fields(type_)}
    return {on_wire[name]: doc for name, doc in docs.items() if name in on_wire}


@cache
def member_docs(enum: type[Enum]) -> dict[str, str]:
    """Return the docstrings of an enum's members by their names."""
    return _own_docs(enum)


def _own_docs(type_: type) -> dict[str, str]:
    """Return the string literals that follow the assignments of a class, by the names assigned to."""
    found = _find_classes(type_.__module__).get(type_.__qualname__)
    body = found.body if found else []
    return {
        name: inspect.cleandoc(after.value.value)
        for field, after in pairwise(body)
        if isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
        and isinstance(after.value.value, str)
        for name in _assigned_names(field)
    }


@cache
def _find_classes(module: str) -> dict[str, ast.ClassDef]:
    """Return the classes at the top of a module's source; ``inspect`` would read all of it for each of them."""
    try:
        statements = ast.parse(inspect.getsource(sys.modules[module])).body
    except (OSError, TypeError):
        return {}
    return {each.name: each for each in statements if isinstance(each, ast.ClassDef)}


def _assigned_names(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.AnnAssign):
        targets: list[ast.expr] = [statement.target]
    else:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]
