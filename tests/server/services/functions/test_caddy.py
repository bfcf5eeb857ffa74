"""The routes as configuration of Caddy. That a real one takes it is an integration test."""

from collections import Counter
from typing import Any

from piecework.server.services.functions.caddy import list_routes, write_caddyfile, write_json
from piecework.server.services.functions.routing import FunctionRoutes, RevisionRoutes, Table, Target


def table(alias: str | None = None, split: dict[str, int] | None = None, **revisions: list[Target]) -> Table:
    found = {name: RevisionRoutes("hola", name, None, tuple(targets)) for name, targets in revisions.items()}
    return {"hola": FunctionRoutes("hola", alias, split, found)}


def proxies(routes: Table) -> dict[str, Any]:
    """Return the last handler of each route by its path."""
    document = write_json(list_routes(routes), ":8080", "server:8000")
    written = document["apps"]["http"]["servers"]["piecework"]["routes"]
    return {path_of(route["match"][0]): route["handle"][-1] for route in written}


def path_of(matcher: Any) -> str:
    path: str = matcher["path"][0] if "path" in matcher else matcher["path_regexp"]["pattern"]
    return path.removeprefix("^").removesuffix("(/|$)").replace("[.]", ".")


def dials(proxy: Any) -> Counter[str]:
    return Counter(upstream["dial"] for upstream in proxy["upstreams"])


BLUE, GREEN = [Target("http://a:1"), Target("http://b")], [Target("http://g:3/")]


def test_each_revision_and_the_default_have_a_route_and_the_rest_comes_here():
    found = proxies(table(alias="green", blue=BLUE, green=GREEN))
    assert {path: sorted(dials(proxy)) for path, proxy in found.items()} == {
        "/functions/hola/blue": ["a:1", "b:80"],
        "/functions/hola/green": ["g:3"],
        "/functions/hola/default": ["g:3"],
        "/functions/hola": ["g:3"],
        "/functions/*": ["server:8000"],
    }


def test_longer_paths_come_before_those_that_they_begin_with():
    paths = list(proxies(table(alias="blue", blue=BLUE)))
    assert paths.index("/functions/hola/blue") < paths.index("/functions/hola") < paths.index("/functions/*")


def test_a_split_is_as_many_entries_as_its_weights_say():
    found = proxies(table(split={"blue": 90, "green": 10}, blue=BLUE, green=GREEN))
    assert dials(found["/functions/hola"]) == {"a:1": 9, "b:80": 9, "g:3": 2}
    uneven = proxies(table(split={"blue": 999, "green": 1}, blue=BLUE, green=GREEN))
    assert dials(uneven["/functions/hola"]) == {"a:1": 50, "b:80": 50, "g:3": 1}


def test_the_entries_of_an_address_are_spread_over_the_list():
    found = proxies(table(split={"blue": 90, "green": 10}, blue=BLUE, green=GREEN))
    order = [upstream["dial"] for upstream in found["/functions/hola"]["upstreams"]]
    assert [order.index("g:3"), order[::-1].index("g:3")] == [4, 4]
    assert "b:80" in order[:2]


def test_the_path_of_a_url_and_its_scheme_are_kept():
    routes = list_routes(table(default=[Target("https://[::1]/base/")]))
    [route] = [each for each in routes if each.prefix == "/functions/hola"]
    assert (route.base, route.tls, route.dials) == ("/base", True, ["[::1]:443"])
    document = write_json([route], ":8080", "home:1")
    _, rewrite, proxy = document["apps"]["http"]["servers"]["piecework"]["routes"][0]["handle"]
    assert rewrite["uri"] == "/base{http.request.uri}"
    assert proxy["transport"] == {"protocol": "http", "tls": {}}
    assert "reverse_proxy https://[::1]:443 {" in write_caddyfile([route], ":8080", "home:1")


def test_replicas_are_shown_their_own_tokens():
    replicas = [Target("http://a:1", "t1"), Target("http://a:2", "t2")]
    routes = list_routes(table(default=replicas))
    text = write_caddyfile(routes, ":8080", "home:1")
    assert "a:1 t1" in text
    assert "header_up Piecework-Replica-Token {piecework.token}" in text
    document = write_json(routes, ":8080", "home:1")
    handlers = document["apps"]["http"]["servers"]["piecework"]["routes"][0]["handle"]
    [mapping] = [each for each in handlers if each["handler"] == "map"]
    assert mapping["mappings"] == [{"input": "a:1", "outputs": ["t1"]}, {"input": "a:2", "outputs": ["t2"]}]


def test_an_address_to_listen_on_is_no_site_that_wants_tls():
    assert write_caddyfile([], "127.0.0.1:80", "home:1").startswith("http://:80 {\n\tbind 127.0.0.1\n")
    assert write_caddyfile([], "[::1]:80", "home:1").startswith("http://:80 {\n\tbind ::1\n")
    assert write_caddyfile([], ":80", "home:1").startswith(":80 {\n\troute")
    assert write_caddyfile([], "functions.example", "home:1").startswith("functions.example {\n\troute")


def test_what_nothing_serves_has_no_route_of_its_own():
    assert list(proxies(table(alias="blue", blue=[]))) == ["/functions/*"]
