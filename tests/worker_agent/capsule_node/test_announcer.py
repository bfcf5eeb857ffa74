"""Routes at a proxy, whatever it lists and whatever happens to it."""

import threading

import pytest

from piecework.worker_agent.capsule_node.announcer import Announcement, Announcer
from piecework.worker_agent.capsule_node.reverse_proxy import ProxyRoute, ReverseProxy, ReverseProxyError

ONE, TWO = "http://localhost:10001", "http://localhost:10002"


class Node:
    """What should be, and what is kept."""

    def __init__(self, proxy):
        self.routes, self.places = set(), set()
        self.announced, self.created = set(), set()
        self.kept = []
        self.announcer = Announcer(
            ReverseProxy(proxy.url),
            self.want,
            self.announced,
            self.created,
            lambda: self.kept.append(set(self.announced)),
        )

    def want(self):
        return Announcement(
            {ProxyRoute(*route) for route in self.routes}, self.places | {route[:2] for route in self.routes}
        )

    def announce(self, *routes):
        self.routes = set(routes)
        self.announcer.announce()


@pytest.fixture
def node(proxy):
    return Node(proxy)


def test_nothing_is_asked_for_nothing(node, proxy):
    proxy.close()
    node.announce()
    proxy.open()
    assert proxy.requests == []


def test_functions_revisions_and_urls_are_registered_once(node, proxy):
    wanted = [("hola", "blue", ONE), ("hola", "blue", TWO), ("hola", "green", ONE), ("hey", "one", ONE)]
    node.announce(*wanted)
    node.announce(*wanted)
    assert proxy.routes == {"hola": {"blue": [ONE, TWO], "green": [ONE]}, "hey": {"one": [ONE]}}
    assert len(proxy.requests) == 4


def test_what_others_registered_stays(node, proxy):
    proxy.routes = {"hola": {"blue": ["http://other:1"]}, "hey": {"one": ["http://other:2"]}}
    node.announce(("hola", "blue", ONE), ("hola", "green", ONE))
    assert proxy.routes["hola"] == {"blue": ["http://other:1", ONE], "green": [ONE]}
    node.announce()
    assert proxy.routes == {"hola": {"blue": ["http://other:1"]}, "hey": {"one": ["http://other:2"]}}


def test_registered_meanwhile_by_another_is_fine(node, proxy, monkeypatch):
    monkeypatch.setattr(node.announcer._proxy, "list_routes", dict)
    proxy.routes = {"hola": {"blue": ["http://other:1"]}}
    node.announce(("hola", "blue", ONE), ("hola", "green", ONE))
    assert proxy.routes == {"hola": {"blue": ["http://other:1", ONE], "green": [ONE]}}


def test_dead_replica_loses_its_url_at_once_but_its_revision_stays(node, proxy):
    node.announce(("hola", "blue", ONE))
    node.places = {("hola", "blue")}
    node.announce()
    assert proxy.routes == {"hola": {"blue": []}}
    node.announce(("hola", "blue", TWO))
    assert proxy.routes == {"hola": {"blue": [TWO]}}


def test_undeployed_revision_goes_and_the_function_with_its_last(node, proxy):
    node.announce(("hola", "blue", ONE), ("hola", "green", TWO))
    node.announce(("hola", "green", TWO))
    assert proxy.routes == {"hola": {"green": [TWO]}}
    node.announce()
    assert proxy.routes == {}
    assert (node.announced, node.created) == (set(), set())


def test_revision_that_died_before_it_was_undeployed_goes_too(node, proxy):
    node.announce(("hola", "blue", ONE))
    node.places = {("hola", "blue")}
    node.announce()
    node.places = set()
    node.announce()
    assert proxy.routes == {}


def test_revision_that_somebody_else_made_is_not_removed(node, proxy):
    proxy.routes = {"hola": {"blue": []}}
    node.announce(("hola", "blue", ONE))
    node.announce()
    assert proxy.routes == {"hola": {"blue": []}}


def test_revision_that_another_worker_serves_by_now_is_not_removed(node, proxy):
    node.announce(("hola", "blue", ONE))
    proxy.routes["hola"]["blue"].append("http://other:1")
    node.announce()
    assert proxy.routes == {"hola": {"blue": ["http://other:1"]}}


def test_forgetful_proxy_gets_its_routes_again(node, proxy):
    node.announce(("hola", "blue", ONE))
    proxy.routes = {}
    node.announce(("hola", "blue", ONE))
    assert proxy.routes == {"hola": {"blue": [ONE]}}


def test_what_an_earlier_life_registered_is_removed(node, proxy):
    proxy.routes = {"hola": {"blue": [ONE, TWO]}}
    node.announced.add(ProxyRoute("hola", "blue", ONE))
    node.announce(("hola", "blue", TWO))
    assert proxy.routes == {"hola": {"blue": [TWO]}}


def test_routes_are_kept_before_they_are_registered(node, proxy):
    def crash(*_):
        raise KeyError("ERROR")

    proxy.change = crash
    with pytest.raises(ReverseProxyError):
        node.announce(("hola", "blue", ONE))
    assert node.kept[0] == {ProxyRoute("hola", "blue", ONE)}


def test_what_was_not_removed_is_removed_later(node, proxy):
    node.announce(("hola", "blue", ONE))
    proxy.broken = True
    with pytest.raises(ReverseProxyError):
        node.announce()
    proxy.broken = False
    node.announce()
    assert proxy.routes == {}


def test_loop_tries_again_while_the_proxy_is_away(node, proxy):
    proxy.close()
    node.routes = {("hola", "blue", ONE)}
    stop = threading.Event()
    stop.set()
    node.announcer.step(stop)
    proxy.open()
    node.announcer._wake.wait = lambda _seconds: None
    node.announcer.step(stop)
    assert proxy.routes == {"hola": {"blue": [ONE]}}


def test_capsules_proxy_knows_no_aliases(proxy):
    assert ReverseProxy(proxy.url).set_default("hola", "blue") is False
