"""Where the code of lambdas was pulled from: it is kept and told, and makes no other lambda."""

import io
from typing import Any

import pytest
from house import House

SOURCE = f"oci://registry.example.org/tools/words:1@sha256:{'2c' * 32}"


def source_of(house: House, lambda_: Any) -> str | None:
    found: str | None = house.call("GET", f"/lambda/{lambda_}?view=full").get("source")
    return found


def test_it_is_told_of_a_lambda_that_has_one(house: House):
    lambda_ = house.new_lambda(source=SOURCE, runtime="wasi")
    assert source_of(house, lambda_) == SOURCE
    assert source_of(house, house.new_lambda()) is None
    assert "source" not in house.call("GET", f"/lambda/{lambda_}")


def test_the_same_code_from_elsewhere_is_the_same_lambda(house: House):
    file = {"file": (io.BytesIO(b"code"), "code")}
    codex = house.client.post("/data", data=file).get_json()["id"]
    first = house.new_lambda(codex=codex, source=SOURCE, name="words")
    other = house.new_lambda(codex=codex, source=SOURCE.replace("2c", "3d"), name="words", reuse=True)
    assert other == first
    assert source_of(house, first) == SOURCE


@pytest.mark.parametrize(
    "source",
    [
        "https://x/y",
        SOURCE.partition("@")[0],
        SOURCE[:-1],
        f"oci://a b@sha256:{'0' * 64}",
        f"oci://{'a' * 500}" + SOURCE[-72:],
    ],
)
def test_what_is_no_pinned_reference_is_refused(house: House, source: str):
    body = {"codex": "0", "runtime": "x", "source": source}
    assert "it is oci://HOST/NAME@sha256:" in house.call("POST", "/lambda", body, status=422)["message"]
