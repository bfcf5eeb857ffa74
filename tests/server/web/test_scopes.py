"""What a token lets one do, of all that there is: every endpoint is asked with a token of every scope."""

import re

import pytest
from house import House

from piecework.server.api.table import ENDPOINTS
from piecework.server.services.tokens.access import GRANTS
from piecework.server.services.tokens.token_acts import create_token
from piecework.server.web.endpoint import Endpoint

OPEN = {"/ping", "/healthz", "/readyz", "/docs", "/openapi.json"}
EVERYONE = set(GRANTS)
READERS = {"view", "submit", "operate", "admin"}
PARTS: list[tuple[str, set[str], set[str]]] = [
    (
        r"(PUT|PATCH|DELETE) /deployments/.*|POST .*/drain|DELETE /worker/.*|GET /routes/caddy",
        {"operate", "admin"},
        {"view", "submit", "worker"},
    ),
    (r"(PUT|DELETE) /(limit|tenant)/.*|POST /limit", {"operate", "admin"}, {"view", "submit", "worker"}),
    (r".* /data/(.*/)?direct", {"worker", "admin"}, READERS - {"admin"}),
    (r"POST /worker(/.*)?", {"worker", "admin"}, READERS - {"admin"}),
    (r"GET /kv|(POST|DELETE) /kv(/.*)?", READERS - {"view"} | {"worker"}, {"view"}),
    (r"GET /kv/namespaces", READERS, {"worker"}),
    (r"GET /kv/.*", READERS | {"worker"}, set()),
    (r"(POST|DELETE) /memory/.*", {"operate", "worker", "admin"}, {"view", "submit"}),
    (r".* /(webhook|delivery|audit).*", {"operate", "admin"}, {"view", "submit", "worker"}),
    (r"POST /(job|lambda)|DELETE /job/.*", READERS - {"view"}, {"view", "worker"}),
    (r"GET .*", READERS, set()),
    (r".*", READERS - {"view"}, {"view"}),
]
"""Requests, the scopes that must do, and those that must not; the first that fits counts."""


def find_scopes(asked: str) -> tuple[set[str], set[str]]:
    """Return which scopes must do for a request, and which must not: one that invokes does for none."""
    if asked.split()[1] in OPEN:
        return EVERYONE, set()
    may, may_not = next((may, may_not) for pattern, may, may_not in PARTS if re.fullmatch(pattern, asked))
    return may, may_not | {"invoke"}


def ask(house: House, endpoint: Endpoint, secret: str) -> int:
    path = re.sub(r"<[^>]*>", "1", endpoint.path)
    headers = {"Authorization": f"Bearer {secret}"}
    return house.client.open(path, method=endpoint.method, json={}, headers=headers).status_code


@pytest.mark.slow
@pytest.mark.parametrize("scope", GRANTS)
def test_a_token_does_for_its_part_of_the_endpoints(house: House, scope: str):
    secret = create_token(house.services.database, "t", scope, house.clock())
    for endpoint in ENDPOINTS:
        asked = f"{endpoint.method} {endpoint.path}"
        may, may_not = find_scopes(asked)
        status = ask(house, endpoint, secret)
        assert status != 401, asked
        assert scope not in may or status != 403, asked
        assert scope not in may_not or status == 403, asked


def test_without_a_token_only_what_is_open_answers(house: House):
    create_token(house.services.database, "t", "admin", house.clock())
    refused = {each.path for each in ENDPOINTS if ask(house, each, "wrong") == 401}
    assert refused == {each.path for each in ENDPOINTS} - OPEN
