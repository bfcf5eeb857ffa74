"""Lambdas that are there already: found by their code's digest, and given again to those who allow it."""

import hashlib
from typing import Any

import pytest
from house import House

from piecework.protocol.ids import Id
from piecework.protocol.messages import LambdaCreate
from piecework.server.errors import BlobNotFound
from piecework.server.services.stock.lambdas import store_lambda

CODE = b"print('hello')"
DIGEST = hashlib.sha256(CODE).hexdigest()


def upload(house: House, code: bytes = CODE) -> str:
    return str(house.client.post("/data", data=code, content_type="application/octet-stream").get_json()["id"])


def create(house: House, **fields: Any) -> str:
    return str(house.call("POST", "/lambda", {"runtime": "default"} | fields)["id"])


def test_the_same_lambda_is_given_again_though_its_code_was_uploaded_again(house: House):
    first = create(house, codex=upload(house), reuse=True, args=["a"], tags=["x", "y"], env={"A": "1", "B": "2"})
    same = {"reuse": True, "args": ["a"], "tags": ["y", "x"], "env": {"B": "2", "A": "1"}}
    assert create(house, codex=upload(house), **same) == first
    assert create(house, codex_checksum=DIGEST, **same) == first
    assert create(house, codex_checksum=DIGEST.upper(), **same) == first
    assert create(house, codex_checksum=DIGEST, **same | {"reuse": False}) != first


@pytest.mark.parametrize(
    "other",
    [
        {"runtime": "other"}, {"args": ["b"]}, {"env": {"A": "1"}}, {"limits": {"timeout_s": 1}},
        {"name": "upper"}, {"deterministic": True}, {"record": True}, {"mode": "json"}, {"tags": ["z"]},
        {"grants": {"redis": True}},
    ],
)  # fmt: skip
def test_what_differs_in_anything_is_another_lambda(house: House, other: dict[str, Any]):
    codex = upload(house)
    first = create(house, codex=codex)
    made = create(house, codex=codex, reuse=True, **other)
    assert made != first
    assert create(house, codex=codex, reuse=True, **other) == made
    assert create(house, codex=codex, reuse=True) == first


def test_other_code_is_another_lambda(house: House):
    assert create(house, codex=upload(house), reuse=True) != create(house, codex=upload(house, b"x"), reuse=True)
    assert create(house, codex="0", reuse=True) != create(house, codex="0", reuse=True), "code that is not known"


def test_of_a_name_only_the_newest_is_given_again_so_that_the_name_means_it(house: House):
    old = create(house, codex=upload(house, b"old"), name="upper")
    assert create(house, codex=upload(house, b"old"), name="upper", reuse=True) == old
    new = create(house, codex=upload(house, b"new"), name="upper", reuse=True)
    back = create(house, codex=upload(house, b"old"), name="upper", reuse=True)
    assert len({old, new, back}) == 3
    assert house.call("GET", "/lambda/upper")["id"] == back


def test_code_that_no_lambda_has_must_be_uploaded(house: House):
    upload(house)
    reply = house.call("POST", "/lambda", {"runtime": "default", "codex_checksum": DIGEST}, status=404)
    assert (reply["code"], "upload it" in reply["message"]) == (601, True)
    codex = upload(house)
    create(house, codex=codex)
    made = house.call("GET", f"/lambda/{create(house, codex_checksum=DIGEST, args=['a'])}?view=full")
    assert (made["codex"], made["codex_checksum"], made["args"]) == (codex, DIGEST, ["a"])


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"codex_checksum": "xyz"}, "no SHA-256 in hex"),
        ({"codex_checksum": DIGEST, "codex": "1"}, "one of"),
        ({"reuse": "perhaps", "codex": "0"}, "reuse"),
        ({"reuse": True}, "`codex`"),
    ],
)
def test_a_reuse_that_makes_no_sense_is_refused(house: House, fields: dict[str, Any], says: str):
    assert says in house.call("POST", "/lambda", {"runtime": "default"} | fields, status=422)["message"]


def test_code_that_was_removed_since_somebody_looked_is_told(house: House):
    codex = upload(house)
    new = house.services.lambdas.prepare(LambdaCreate(codex=Id(int(codex)), runtime="default"))
    house.call("DELETE", f"/data/{codex}")
    with pytest.raises(BlobNotFound, match="upload it again"):
        house.services.database.write(lambda connection: store_lambda(connection, new))
    assert house.call("GET", "/lambda")["lambdas"] == []
