"""Routes for other proxies."""

import pytest
from house import House

from piecework.server.services.tokens.token_acts import create_token


def test_caddys_configuration_names_this_server_for_what_has_no_route(house: House):
    body = {"function": "hola", "url": "http://127.0.0.1:9091"}
    house.call("POST", "/memory/functions/registration", body, status=202)
    server = house.call("GET", "/routes/caddy")["apps"]["http"]["servers"]["piecework"]
    assert server["listen"] == [":8080"]
    assert server["routes"][-1]["handle"][0]["upstreams"] == [{"dial": "localhost"}]
    response = house.fetch("/routes/caddy?format=caddyfile&listen=:80&home=10.0.0.1:8000")
    assert response.text.startswith(":80 {\n\t@route0 path_regexp ^/functions/hola/default(/|$)\n")
    assert "reverse_proxy 10.0.0.1:8000 {" in response.text


@pytest.mark.parametrize("query", ["format=nginx", "listen=a b", "home=x{y}", "home=a;b", "listen=%0A"])
def test_what_is_no_address_or_format_is_refused(house: House, query: str):
    assert house.call("GET", f"/routes/caddy?{query}", status=400)["message"]


def test_only_operators_get_it_for_it_has_tokens_of_replicas(house: House):
    secret = create_token(house.services.database, "t", "submit", house.clock())
    house.clock.forward(2)
    assert house.fetch("/routes/caddy", headers={"Authorization": f"Bearer {secret}"}).status_code == 403
