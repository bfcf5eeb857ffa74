"""Finding what answers a path: of most, the variable parts are numbers alone, and those are found by one look."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, MapAdapter, Rule

_NUMBER = re.compile(r"(?<=/)[0-9]+(?=/|$)")
_PART = re.compile(r"<(?:\w+:)?(\w+)>")
_ANY = "0"
"""Stands for each number of a path."""


class _Found(NamedTuple):
    rule: Rule
    names: list[str]
    """What its numbers are called, in their order."""


class QuickRules:
    """What the map of an app says of each method and path with numbers alone, asked once for each."""

    def __init__(self, rules: Map) -> None:
        self._found: dict[tuple[str, str], _Found] = {}
        for rule in rules.iter_rules():
            path, names = _PART.sub(_ANY, rule.rule), _PART.findall(rule.rule)
            for method in rule.methods or ():
                if _ask(rules, method, path) == (rule, dict.fromkeys(names, _ANY)):
                    self._found[method, path] = _Found(rule, names)

    def find(self, method: str, path: str) -> tuple[Rule, dict[str, Any]] | None:
        """Return the rule and the parts of a path; None when the map itself must be asked."""
        found = self._found.get((method, _NUMBER.sub(_ANY, path)))
        return found and (found.rule, dict(zip(found.names, _NUMBER.findall(path), strict=True)))


def _ask(rules: Map, method: str, path: str) -> tuple[Rule, Mapping[str, Any]] | None:
    try:
        return MapAdapter(rules, "", "/", None, "http", path, method).match(return_rule=True)
    except HTTPException:
        return None


class QuickAdapter(MapAdapter):
    """Matches one request, by its method and path alone: to look at its host takes longer than that."""

    def __init__(self, rules: Map, quick: QuickRules, method: str, path: str) -> None:
        super().__init__(rules, "", "/", None, "http", path, method)
        self._quick = quick

    def match(self, *given: Any, **more: Any) -> Any:
        """Do what any adapter does."""
        found = self._quick.find(self.default_method, self.path_info) if more == {"return_rule": True} else None
        return found or super().match(*given, **more)
