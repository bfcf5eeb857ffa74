"""Fields that there are not: told to who uses extensions, ignored for v0.5 and of workers."""

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
        (
            {"jobs": [{"priority": 1}, {"max_attempt": 2}]},
            "`max_attempt` in `jobs[1]`: did you mean `max_attempts`",
        ),
        ({"jobs": [{"limits": {"memory": 2}}]}, "`memory` in `jobs[0].limits`: did you mean `memory_bytes`?"),
        ({"limits": {"memry_bytes": 2}}, "`memry_bytes` in `limits`: did you mean `memory_bytes`?"),
        ({"input": "0", "limits": {"memry_bytes": 2}}, "`memry_bytes` in `limits`"),
        ({"input": "0", "other": 1, "limits": {"memry_bytes": 2}}, "`memry_bytes` in `limits`"),
        ({"files": {"a": {"txt": "x"}}}, "`txt` in `files[...]`: did you mean `text`?"),
        ({"jobs": [{"files": {"a": {"txt": "x"}}}]}, "`txt` in `jobs[0].files[...]`"),
        ({"backoff": {"base": 5}}, "`base` in `backoff`: did you mean `base_s`?"),
        ({"input": {"text": "x", "wholly_other": 1}}, "`wholly_other` in `input`: the page"),
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


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"limits": {"fule": 1}}, "there is no field `fule` in `limits`: did you mean `fuel`?"),
        ({"grants": {"htpp": ["a"]}}, "there is no field `htpp` in `grants`: did you mean `http`?"),
    ],
)
def test_an_unknown_field_in_a_part_of_a_lambda_is_refused(house: House, fields: dict[str, Any], message: str):
    body = {"codex": "0", "runtime": "x"} | fields
    assert house.call("POST", "/lambda", body, status=422)["message"] == message


@pytest.mark.parametrize(
    ("method", "path", "body", "hint"),
    [
        ("PUT", "/deployments/hola/blue", {"lambda": "LAMBDA", "replica": 2}, "`replicas`"),
        ("PUT", "/deployments/hola/blue", {"lambda": "LAMBDA", "limits": {"memory": 2}}, "`memory_bytes`"),
        ("PATCH", "/deployments/hola/blue", {"replicas": 1, "runtime": "x"}, "lists those"),
        ("PUT", "/deployments/hola/default", {"revision": "blue", "weight": 3}, "lists those"),
        ("PUT", "/deployments/hola/split", {"weights": {"blue": 1}, "default": "blue"}, "lists those"),
        ("DELETE", "/kv/1/field/a", {"if_valu": "x"}, "`if_value`"),
    ],
)
def test_an_unknown_field_of_what_v05_has_not_is_refused(
    house: House, method: str, path: str, body: dict[str, Any], hint: str
):
    body = {name: house.new_lambda() if value == "LAMBDA" else value for name, value in body.items()}
    message = house.call(method, path, body, status=422)["message"]
    assert message.startswith("there is no field `")
    assert hint in message


def test_parts_of_a_request_are_kept_as_they_are(house: House):
    limits = {"memory_bytes": 2**20, "timeout_s": 5.0}
    body = {"codex": "0", "runtime": "x", "limits": limits, "grants": {"http": ["a.test"]}}
    created = house.call("POST", "/lambda", body)["id"]
    found = house.call("GET", f"/lambda/{created}?view=full")
    assert (found["limits"], found["grants"]) == (limits, {"http": ["a.test"]})


def test_newer_workers_may_say_more(house: House):
    """Agents and servers of different versions work together: what a server does not know yet it ignores."""
    more = {"newer": {"a": 1}}
    worker = house.call("POST", "/worker", {"runtime": ["default"], "incarnation": "one", **more})["id"]
    job = house.call("POST", "/job", {"lambda": house.new_lambda(), "input": {"text": "x"}})["id"]
    contract = {"max": 1, "timeout": 0, "incarnation": "one", **more}
    leased = house.call("POST", f"/worker/{worker}/contract", contract)["jobs"][0]
    ref = {"job": job, "lease": leased["lease"]}
    kept = house.call("POST", f"/worker/{worker}/heartbeat", {"leases": [ref | more], **more})
    assert [each["job"] for each in kept["leases"]] == [job]
    outcome = ref | {
        "state": "Finished",
        "output": {"text": "y", **more},
        "usage": {"wall_s": 1.0, **more},
        **more,
    }
    acks = house.call("POST", f"/worker/{worker}/finish", {"outcomes": [outcome], **more})["acks"]
    assert [each["code"] for each in acks] == [0]
