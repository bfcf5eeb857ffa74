"""The library: its clients, its handles and its errors, from their docstrings."""

import inspect
import re
from collections.abc import Iterator
from typing import Any

import piecework
from piecework.client import errors
from piecework.client.api import AnyClient, Client, ServerCalls
from piecework.client.modes import Method
from piecework.client.queue.events import EventOptions
from piecework.client.queue.jobs.bulk import EditOptions
from piecework.client.queue.jobs.handles import Completes, Submits, SubmitsMany
from piecework.client.queue.jobs.jobs import JobOptions
from piecework.client.queue.jobs.mapping import MapOptions
from piecework.client.queue.jobs.selection import Selection
from piecework.client.stock.lambdas import LambdaOptions
from piecework.testing import guests, plugin, servers
from tables.markdown import as_code, write_table

MODULE = re.compile(r"\b(?:[a-z_]\w*\.)+(?=[A-Za-z_])")
"""In front of a name of a type."""
UNPACKED = re.compile(r"\*<class '?(\w+)'?>|Unpack\[(\w+)\]")
OPTIONS = (JobOptions, LambdaOptions, MapOptions, EditOptions, Selection, EventOptions)
GIVES = {Submits: "Job", SubmitsMany: "list[Job]", Completes: "Iterator[Job]"}
"""What callers get of methods that give them something else than they return."""


def write_client() -> str:
    """All methods of ``Client``, by what they are about."""
    groups = [kind for kind in Client.__mro__ if issubclass(kind, ServerCalls) or kind.__name__.endswith("Calls")]
    parts = [_write_class("### Making one", Client, [AnyClient.__init__, *_own_methods(Client)])]
    for kind in groups:
        methods = list(_own_methods(kind))
        if methods and kind not in {Client, AnyClient}:
            parts.append(_write_class(f"### {_title(kind)}", kind, methods))
    return "\n\n".join(parts)


def write_class(name: str) -> str:
    """One class, by its name at the top of the package, with its methods."""
    kind = getattr(piecework, name)
    methods = [each for part in reversed(kind.__mro__) if _is_ours(part) for each in _own_methods(part)]
    return _write_class("", kind, methods)


def write_function(name: str) -> str:
    """One function, by its name at the top of the package."""
    return _describe(getattr(piecework, name))


def write_options() -> str:
    """What ``**options`` may be, for each method that takes some."""
    parts = []
    for kind in OPTIONS:
        fields: dict[str, Any] = {**kind.__annotations__}
        if kind is MapOptions:
            fields = {name: what for name, what in fields.items() if name not in JobOptions.__annotations__}
        rows = [(as_code(name), as_code(_bare(what))) for name, what in fields.items()]
        table = write_table(["option", "type"], rows)
        parts.append(f"### {kind.__name__}\n\n{_tidy(kind.__doc__)}\n\n{table}")
    return "\n\n".join(parts)


def write_errors() -> str:
    """The errors that the client raises, with what each is a kind of."""
    kinds = filter(inspect.isclass, vars(errors).values())
    found = [each for each in kinds if issubclass(each, errors.ClientError)] + [piecework.FunctionRaised]
    rows = [(as_code(each.__name__), as_code(each.__bases__[0].__name__), _tidy(each.__doc__)) for each in found]
    return write_table(["error", "is a", "when"], rows)


def write_fixtures() -> str:
    """The fixtures of the pytest plugin."""
    found = {name: each for name, each in vars(plugin).items() if hasattr(each, "_get_wrapped_function")}
    rows = [(as_code(name), _tidy(each.__doc__)) for name, each in found.items()]
    return write_table(["fixture", "what it is"], rows)


def write_testing() -> str:
    """What else there is for tests."""
    clock = [servers.MovableClock.forward]
    return "\n\n".join([_describe(guests.run_guest), *map(_describe, clock)])


def _write_class(heading: str, kind: type, methods: list[Any]) -> str:
    doc = _tidy(kind.__doc__)
    told = "" if heading == f"### {doc.rstrip('.')}" else doc  # the heading says it already
    return "\n\n".join(filter(None, [heading, told, *map(_describe, methods)]))


def _title(kind: type) -> str:
    """Return what a group of methods is about: the words before the first colon or full stop of its docstring."""
    return re.split(r"[:.]", _tidy(kind.__doc__))[0]


def _is_ours(kind: type) -> bool:
    return kind.__module__.startswith("piecework.") and kind.__module__ != "piecework.protocol.ids"


def _own_methods(kind: type) -> Iterator[Any]:
    """Go through the public methods of a class that it defines itself and that have a docstring."""
    for name, each in vars(kind).items():
        is_method = isinstance(each, Method) or inspect.isfunction(each)
        if is_method and each.__doc__ and not name.startswith("_"):
            yield each


def _describe(each: Any) -> str:
    """Return the signature and the docstring of a method or function."""
    function = each.method if isinstance(each, Method) else each
    signature = inspect.signature(function)
    parameters = [_write(parameter) for parameter in signature.parameters.values() if parameter.name != "self"]
    gives = GIVES.get(type(each)) or _bare(signature.return_annotation).replace("Async", "")
    name = "Client" if function is AnyClient.__init__ else function.__name__
    tail = "" if name == "Client" else f" -> {gives}"
    return f"**`{name}({', '.join(_mark(signature, parameters))}){tail}`**\n\n{_tidy(function.__doc__)}"


def _mark(signature: inspect.Signature, parameters: list[str]) -> Iterator[str]:
    """Go through parameters, with the star before those that are given by name."""
    kinds = [each.kind for each in signature.parameters.values() if each.name != "self"]
    for place, (kind, text) in enumerate(zip(kinds, parameters, strict=True)):
        if kind is inspect.Parameter.KEYWORD_ONLY and inspect.Parameter.KEYWORD_ONLY not in kinds[:place]:
            yield "*"
        yield text


def _write(parameter: inspect.Parameter) -> str:
    stars = {inspect.Parameter.VAR_KEYWORD: "**", inspect.Parameter.VAR_POSITIONAL: "*"}.get(parameter.kind, "")
    text = f"{stars}{parameter.name}: {_bare(parameter.annotation)}"
    if parameter.default is inspect.Parameter.empty:
        return text
    return f"{text} = {'…' if callable(parameter.default) else repr(parameter.default)}"


def _bare(annotation: Any) -> str:
    """Return a type as it is written, without the modules of its names."""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    text = UNPACKED.sub(lambda found: found[1] or found[2], MODULE.sub("", text))
    return text.replace("~", "")


def _tidy(doc: str | None) -> str:
    """Return a docstring as paragraphs of Markdown."""
    paragraphs = inspect.cleandoc(doc or "").split("\n\n")
    return "\n\n".join(" ".join(part.split()) for part in paragraphs).replace("``", "`")
