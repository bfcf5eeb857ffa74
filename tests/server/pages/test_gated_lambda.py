"""What a gate found, on the page of the lambda that passed it."""

import hashlib
import io

from console import Browser
from house import House


def test_a_lambda_shows_what_its_gate_found(house: House, browser: Browser):
    old, plain = house.new_lambda(), house.new_lambda()
    codex = house.client.post("/data", data={"file": (io.BytesIO(b"code"), "code")}).get_json()["id"]
    evidence = {
        "old": old, "checksum": hashlib.sha256(b"code").hexdigest(), "runtime": "x", "policy": "same-status",
        "passed": True, "compared": 3, "identical": 2, "outputs": 1, "engine": "wasmtime 1, cranelift",
        "findings": [{"job": "13", "kind": "output", "message": "<b>byte 4</b>", "byte": 4}],
    }  # fmt: skip
    page = browser.get(f"/console/lambdas/{house.new_lambda(codex=codex, gate=evidence)}")
    for text in ("passed (same-status): 2 of 3 calls of lambda", "output: <b>byte 4</b>"):
        assert text in page.text, text
    assert f"/console/lambdas/{old}" in page.links
    assert "/console/jobs/13" in page.links
    assert "calls of lambda" not in browser.get(f"/console/lambdas/{plain}").text
