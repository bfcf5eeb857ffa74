"""Fields that there are not: told to who uses extensions, ignored for v0.5."""

from typing import Any

import pytest
from house import House


@pytest.mark.parametrize(
    ("fields", "hint"),
    [
        ({"priorty": 7}, "`priority`"),
        ({"input": "0", "priorty": 7}, "`priority`"),
        ({"priority": 1, "timeout": 5}, "`timeout_s`"),
        ({"key": "k", "wholly_other": 1}, "lists those"),
        ({"jobs": [{"priority": 1}, {"max_attempt": 2}]}, "`max_attempts`"),
    ],
)
def test_an_unknown_field_of_an_extended_job_is_refused(house: House, fields: dict[str, Any], hint: str):
    body = {"lambda": house.new_lambda(), "input": {"text": "x"}} | fields
    reply = house.call("POST", "/job", body, status=422)
    assert reply["message"].startswith("there is no field `")
    assert hint in reply["message"]
    assert house.call("GET", "/job")["jobs"] == []


@pytest.mark.parametrize(
    "fields", [{"wid": "1"}, {"timeout": 5}, {"wholly_other": {"a": 1}}, {"status": "paused", "id": "1"}]
)
def test_the_shape_of_v05_stays_lenient(house: House, fields: dict[str, Any]):
    reply = house.call("POST", "/job", {"functio": house.new_lambda(), "input_id": "0"} | fields)
    assert reply.keys() == {"code", "status", "id", "jid"}
    assert house.call("POST", "/lambda", {"code_id": "0", "runtime": "x", **fields}).keys() == {
        "code",
        "status",
        "id",
    }


def test_an_unknown_field_of_an_extended_lambda_is_refused(house: House):
    for fields in ({"name": "n", "wholly_other": 1}, {"determinstic": True}):
        assert (
            "there is no field"
            in house.call("POST", "/lambda", {"codex": "0", "runtime": "x"} | fields, status=422)["message"]
        )
