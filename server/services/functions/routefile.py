"""The configuration file with routes, as Capsule had it: functions, their revisions, the URLs of those, in YAML.

    hola:
      default:
        - http://localhost:9091

There may be a key ``functions`` above it all.
"""

from collections.abc import Iterator
from pathlib import Path

import yaml

from piecework.server.services.functions.functions import RouteFile

FILE_MAX_BYTES = 16 * 1024 * 1024
WRAPPER = "functions"


class RouteFileError(ValueError):
    """The file cannot be used; the message says where and why, in one line."""


def read_route_file(path: Path) -> RouteFile:
    """Return the routes in a file. Raises RouteFileError."""
    try:
        if path.stat().st_size > FILE_MAX_BYTES:
            raise RouteFileError(f"{path} is larger than {FILE_MAX_BYTES} bytes")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise RouteFileError(f"{path} is not UTF-8 text") from None
    except OSError as error:
        raise RouteFileError(f"cannot read {path}: {error.strerror}") from error
    try:
        return parse_routes(text)
    except RouteFileError as error:
        raise RouteFileError(f"{path}, {error}") from None


def parse_routes(text: str) -> RouteFile:
    """Return the routes in a text. Raises RouteFileError that begins with the line."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "it is not YAML"
        raise RouteFileError(f"line {mark.line + 1 if mark else 1}: {problem}") from None
    except RecursionError:
        raise RouteFileError("line 1: it is nested too deeply") from None
    if root is None:
        return {}
    entries = dict(_entries(root, "functions"))
    if list(entries) == [WRAPPER] and _is_mapping_of_mappings(entries[WRAPPER]):
        entries = dict(_entries(entries[WRAPPER], "functions"))
    return {
        function: {revision: _read_urls(urls) for revision, urls in _entries(node, f"revisions of {function}")}
        for function, node in entries.items()
    }


def _entries(node: yaml.Node, what: str) -> Iterator[tuple[str, yaml.Node]]:
    """Yield the entries of a mapping; nothing for what is left empty."""
    if _is_empty(node):
        return
    if not isinstance(node, yaml.MappingNode):
        raise _wrong(node, f"here should be the {what}, each with a colon behind its name")
    seen = set()
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _wrong(key, f"this is no name for one of the {what}")
        if key.value in seen:
            raise _wrong(key, f"{key.value} is there twice among the {what}")
        seen.add(key.value)
        yield key.value, value


def _read_urls(node: yaml.Node) -> list[str]:
    if _is_empty(node):
        return []
    items = node.value if isinstance(node, yaml.SequenceNode) else [node]
    for item in items:
        if not isinstance(item, yaml.ScalarNode):
            raise _wrong(item, "here should be a URL, or a list of URLs")
    return [item.value for item in items]


def _is_empty(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _is_mapping_of_mappings(node: yaml.Node) -> bool:
    return isinstance(node, yaml.MappingNode) and all(
        isinstance(value, yaml.MappingNode) or _is_empty(value) for _, value in node.value
    )


def _wrong(node: yaml.Node, message: str) -> RouteFileError:
    return RouteFileError(f"line {node.start_mark.line + 1}: {message}")
