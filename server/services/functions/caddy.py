"""The routes as configuration of Caddy, a web server that real traffic can go through instead of this one.

Made for version 2.6 and later: weights are spelled as an upstream that is listed more often. Replica tokens are
put in by a ``map`` of the upstream's address, which Caddy looks up when it has chosen one.
"""

import ipaddress
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from piecework.server.services.functions.routing import DEFAULT, FunctionRoutes, Table, Target

ENTRIES_MAX = 100
"""Upstreams of one route, repeated ones too: weights are right up to a hundredth."""
PASSED_BY = "5s"
"""How long an upstream that failed is left out."""
PATIENCE = "3s"
"""How long another upstream is looked for."""
TOKEN = "{piecework.token}"  # noqa: S105  # the name of a placeholder
HOSTPORT = "{http.reverse_proxy.upstream.hostport}"
Document = dict[str, Any]


@dataclass(frozen=True)
class CaddyRoute:
    """Where requests below a path go."""

    prefix: str
    """The path, which is taken off."""
    base: str
    """The path that is put before the rest."""
    tls: bool
    dials: Sequence[str]
    """Addresses ``host:port``, each as often as its weight."""
    tokens: Mapping[str, str]
    """What replicas must be shown, by address."""

    @property
    def pattern(self) -> str:
        """What the path must match: Caddy's own matcher of paths takes no notice of case."""
        return f"^{self.prefix.replace('.', '[.]')}(/|$)"


def list_routes(table: Table) -> list[CaddyRoute]:
    """Return the routes of everything that a URL serves, the longest path of each function first."""
    return [route for function in table.values() for route in _list_function(function)]


def _list_function(function: FunctionRoutes) -> Iterator[CaddyRoute]:
    home = f"/functions/{function.name}"
    for revision in function.revisions.values():
        if revision.targets and (revision.name != DEFAULT or not (function.alias or function.split)):
            yield _route(f"{home}/{revision.name}", dict.fromkeys(revision.targets, 1.0))
    weights: defaultdict[Target, float] = defaultdict(float)
    for name, weight in function.default_revisions().items():
        targets = function.revisions[name].targets
        for target in targets:
            weights[target] += weight / len(targets)
    if weights:
        if function.alias or function.split:
            yield _route(f"{home}/{DEFAULT}", weights)
        yield _route(home, weights)


def _route(prefix: str, weights: Mapping[Target, float]) -> CaddyRoute:
    """Return a route to the targets that have the same scheme and path, which Caddy needs; to the most of them."""
    kinds: defaultdict[tuple[str, str], float] = defaultdict(float)
    for target, weight in weights.items():
        kinds[_kind(target)] += weight
    scheme, base = max(kinds, key=kinds.__getitem__)
    fitting = {target: weight for target, weight in weights.items() if _kind(target) == (scheme, base)}
    dials = {_dial(target): weight for target, weight in fitting.items()}
    tokens = {_dial(target): target.token for target in fitting if target.token}
    return CaddyRoute(prefix, base, scheme == "https", _repeat(dials), tokens)


def _kind(target: Target) -> tuple[str, str]:
    parts = urlsplit(target.url)
    return parts.scheme, parts.path.rstrip("/")


def _dial(target: Target) -> str:
    parts = urlsplit(target.url)
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def _repeat(weights: Mapping[str, float]) -> list[str]:
    """Return the addresses, each as often as its share of ENTRIES_MAX says, and those of equal weight once.

    Those of one address are as far apart as can be: Caddy goes through the list from call to call.
    """
    total = sum(weights.values())
    counts = {dial: max(1, round(weight / total * ENTRIES_MAX)) for dial, weight in weights.items()}
    if len({round(weight, 9) for weight in weights.values()}) == 1:
        counts = dict.fromkeys(weights, 1)
    common = math.gcd(*counts.values())
    shares = {dial: count // common for dial, count in counts.items()}
    turns = sorted(((turn + 0.5) / share, dial) for dial, share in shares.items() for turn in range(share))
    return [dial for _, dial in turns]


def write_json(routes: Sequence[CaddyRoute], listen: str, home: str) -> Document:
    """Return a whole configuration. What has no route goes to this server, whose address is ``home``."""
    rest = {"match": [{"path": ["/functions/*"]}], "handle": [_proxy([home])], "terminal": True}
    server = {"listen": [listen], "routes": [*map(_write_route, routes), rest]}
    return {"apps": {"http": {"servers": {"piecework": server}}}}


def _write_route(route: CaddyRoute) -> Document:
    handlers: list[Document] = [{"handler": "rewrite", "strip_path_prefix": route.prefix}]
    if route.base:
        handlers.append({"handler": "rewrite", "uri": route.base + "{http.request.uri}"})
    proxy = _proxy(route.dials)
    if route.tls:
        proxy["transport"] = {"protocol": "http", "tls": {}}
        proxy["headers"] = {"request": {"set": {"Host": [HOSTPORT]}}}
    if route.tokens:
        mappings = [{"input": dial, "outputs": [token]} for dial, token in route.tokens.items()]
        handlers.append({
            "handler": "map", "source": HOSTPORT, "destinations": [TOKEN], "mappings": mappings, "defaults": [""],
        })  # fmt: skip
        headers = proxy.setdefault("headers", {"request": {"set": {}}})
        headers["request"]["set"]["Piecework-Replica-Token"] = [TOKEN]
    return {"match": [{"path_regexp": {"pattern": route.pattern}}], "handle": [*handlers, proxy], "terminal": True}


def _proxy(dials: Sequence[str]) -> Document:
    return {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": dial} for dial in dials],
        "load_balancing": {"selection_policy": {"policy": "round_robin"}, "try_duration": PATIENCE},
        "health_checks": {"passive": {"fail_duration": PASSED_BY, "max_fails": 1}},
        "flush_interval": -1,
    }


def write_caddyfile(routes: Sequence[CaddyRoute], listen: str, home: str) -> str:
    """Return the same as a Caddyfile."""
    lines = _write_site(listen)
    for number, route in enumerate(routes):
        name = f"@route{number}"
        lines += [
            f"\t{name} path_regexp {route.pattern}",
            f"\troute {name} {{",
            *_write_block(route),
            "\t}",
        ]
    rest = ["\troute /functions/* {", *_write_proxy([home], []), "\t}"]
    return "\n".join([*lines, *rest, "}", ""])


def _write_site(listen: str) -> list[str]:
    """Return the first lines. Caddy takes an address that it is told as a site's for one that wants TLS."""
    host, _, port = listen.rpartition(":")
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return [f"{listen} {{"]
    return [f"http://:{port} {{", f"\tbind {host.strip('[]')}"]


def _write_block(route: CaddyRoute) -> Iterator[str]:
    yield f"\t\turi strip_prefix {route.prefix}"
    if route.base:
        yield f"\t\trewrite * {route.base}{{uri}}"
    extra = ["header_up Host {upstream_hostport}"] if route.tls else []
    if route.tokens:
        yield f"\t\tmap {HOSTPORT} {TOKEN} {{"
        yield from (f"\t\t\t{dial} {token}" for dial, token in route.tokens.items())
        yield '\t\t\tdefault ""'
        yield "\t\t}"
        extra.append(f"header_up Piecework-Replica-Token {TOKEN}")
    yield from _write_proxy([f"https://{dial}" if route.tls else dial for dial in route.dials], extra)


def _write_proxy(dials: Sequence[str], extra: Sequence[str]) -> Iterator[str]:
    settings = [f"lb_try_duration {PATIENCE}", f"fail_duration {PASSED_BY}", "max_fails 1", "flush_interval -1"]
    yield f"\t\treverse_proxy {' '.join(dials)} {{"
    yield from (f"\t\t\t{line}" for line in ("lb_policy round_robin", *settings, *extra))
    yield "\t\t}"
