"""Gates and recorded calls, on the pages of their function."""

import base64
from pathlib import Path

import pytest
from console import Browser
from house import House
from recorded import some_call

from piecework.http.exchange import Request

WASM = (Path(__file__).parents[3] / "samples" / "echo.wasm").read_bytes()
PLACE = "/console/functions/hola"


@pytest.fixture
def calls(house: House) -> list[str]:
    """The ids of two recorded calls of ``hola/blue``, the newest first."""
    codex = house.call("POST", "/data", data=WASM, content_type="application/octet-stream")["id"]
    host = house.new_worker("wasi")
    house.call("POST", f"/worker/{host}/functions", {"slots": 1})
    house.call("PUT", "/deployments/hola/blue", {"codex": codex, "record": {"share": 0.05}})
    [order] = house.call("POST", f"/worker/{host}/functions", {"slots": 1})["replicas"]
    made = [some_call(WASM), some_call(WASM, Request("GET", "/bad"), None)]
    told = [{"replica": order["id"], "call": base64.b64encode(each).decode()} for each in made]
    house.call("POST", f"/worker/{host}/calls", {"calls": told})
    found = [each["id"] for each in house.call("GET", "/deployments/hola/blue/calls")["calls"]]
    evidence = {
        "old": "1", "function": "hola/blue", "checksum": order["codex_checksum"], "runtime": "wasi",
        "policy": "same-status", "passed": True, "compared": 2, "identical": 1, "outputs": 1, "engine": "x",
        "findings": [{"job": found[1], "kind": "output", "message": "<b>byte 4</b>"}],
    }  # fmt: skip
    house.call("PUT", "/deployments/hola/green", {"codex": codex, "replicas": 0, "gate": evidence})
    return found


def test_a_function_shows_its_gates_and_records(house: House, browser: Browser, calls: list[str]):
    page = browser.get(PLACE)
    for text in ("gate of green", "passed (same-status): 1 of 2 calls of", "output: <b>byte 4</b>", "2 calls"):
        assert text in page.text, text
    assert {f"{PLACE}/blue/calls", f"{PLACE}/blue/calls/{calls[1]}"} <= set(page.links)
    green = next(each for each in house.call("GET", "/deployments/hola")["revisions"] if each["name"] == "green")
    assert "1 of 2 calls of hola/blue came to the same" in browser.get(f"/console/lambdas/{green['lambda']}").text


def test_recorded_calls_are_listed_and_shown(browser: Browser, calls: list[str]):
    page = browser.get(f"{PLACE}/blue/calls")
    for text in ("POST /a?b=c", "200", "GET /bad", "failed: trap", "1,234"):
        assert text in page.text, text
    page = browser.get(f"{PLACE}/blue/calls/{calls[1]}")
    for text in ("POST /a?b=c", "hi", "hello", "Accept: */*", "1,234", "clock b'REALTIME'", "http b'GET': denied"):
        assert text in page.text, text
    assert "The function failed: trap" in browser.get(f"{PLACE}/blue/calls/{calls[0]}").text


def test_recorded_calls_are_removed_on_their_page(house: House, browser: Browser, calls: list[str]):
    browser.send(browser.get(f"{PLACE}/blue/calls"), f"{PLACE}/act", 303)
    page = browser.get(PLACE)
    assert "2 recorded calls of hola/blue are removed" in page.text
    assert house.call("GET", "/deployments/hola/blue/calls")["calls"] == []
    assert "There are none." in browser.get(f"{PLACE}/blue/calls").text
