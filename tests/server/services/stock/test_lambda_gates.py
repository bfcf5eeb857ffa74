"""What a gate found is kept with a lambda, when it is about its code, and makes no other lambda."""

import hashlib
import io
from typing import Any

from house import House

EVIDENCE = {
    "old": "12", "checksum": hashlib.sha256(b"code").hexdigest(), "runtime": "x", "policy": "identical",
    "passed": True, "compared": 3, "identical": 2, "engine": "wasmtime 1, cranelift",
    "findings": [{"job": "13", "kind": "output", "message": "<b>other</b>", "byte": 4}],
}  # fmt: skip


def upload(house: House) -> Any:
    return house.client.post("/data", data={"file": (io.BytesIO(b"code"), "code")}).get_json()["id"]


def test_evidence_is_kept_and_told(house: House):
    codex = upload(house)
    first = house.new_lambda(codex=codex, name="words", gate=EVIDENCE)
    assert house.call("GET", f"/lambda/{first}?view=full")["gate"] == EVIDENCE
    assert "gate" not in house.call("GET", f"/lambda/{house.new_lambda()}?view=full")
    assert house.new_lambda(codex=codex, name="words", reuse=True) == first


def test_evidence_about_other_code_is_refused(house: House):
    body = {"codex": upload(house), "runtime": "x", "gate": EVIDENCE | {"checksum": "0" * 64}}
    said = house.call("POST", "/lambda", body, status=422)["message"]
    assert said.startswith(f"gate is about code with the checksum {'0' * 64}, and the code is ")
    said = house.call("POST", "/lambda", {"codex": "0", "runtime": "x", "gate": EVIDENCE}, status=422)["message"]
    assert said.endswith("the code is none that is here")


def test_evidence_that_is_too_long_is_refused(house: House):
    finding = EVIDENCE["findings"][0]  # type: ignore[index]
    for gate in (
        EVIDENCE | {"findings": [finding] * 21},
        EVIDENCE | {"findings": [finding | {"message": "x" * 301}]},  # type: ignore[operator]
        EVIDENCE | {"policy": "any"},
    ):
        body = {"codex": upload(house), "runtime": "x", "gate": gate}
        assert "gate" in house.call("POST", "/lambda", body, status=422)["message"]
