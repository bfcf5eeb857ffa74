"""Paths with nothing but numbers in their variable parts are found as the map of the app finds them."""

import re

import pytest
from house import House
from werkzeug.exceptions import HTTPException
from werkzeug.routing import MapAdapter

from piecework.server.web.routing import QuickAdapter, QuickRules


def test_what_is_found_quickly_is_what_the_map_says(house: House):
    rules = house.app.url_map
    quick, found = QuickRules(rules), 0
    for rule in rules.iter_rules():
        path = re.sub("<[^>]+>", lambda part: str(700 + len(part[0])), rule.rule)
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
            at_once = quick.find(method, path)
            try:
                said = MapAdapter(rules, "", "/", None, "http", path, method).match(return_rule=True)
            except HTTPException:
                assert at_once is None
                continue
            assert at_once is None or at_once == said
            found += at_once is not None
    assert found > 100


@pytest.mark.parametrize(
    "path", ["/", "/job/7/", "/job/7x", "/job/-7", "/nothing/7", "/job/7/8/9", "/lambda/shout", "/job/\u0667"]
)
def test_other_paths_are_left_to_the_map(house: House, path: str):
    rules = house.app.url_map
    assert QuickRules(rules).find("GET", path) is None
    adapter = QuickAdapter(rules, QuickRules(rules), "GET", path)
    plain = MapAdapter(rules, "", "/", None, "http", path, "GET")
    assert _match(adapter) == _match(plain)


def test_a_method_that_a_path_does_not_take_is_refused_as_before(house: House):
    assert house.call("PUT", "/job/7", status=405)["message"].startswith("/job/7 takes ")


def _match(adapter: MapAdapter) -> object:
    try:
        return adapter.match(return_rule=True)
    except HTTPException as error:
        return error.code
