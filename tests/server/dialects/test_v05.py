"""Requests under older names, as the views of the server get them, and what a job's update reports."""

import pytest
from msgspec import UNSET

from piecework.protocol.bodies import JSON, decode, encode
from piecework.protocol.messages import ContractRequest, JobSubmit, JobUpdate, LambdaCreate, WorkerRegister
from piecework.server.dialects import v05


@pytest.mark.parametrize(
    ("body", "type_", "read"),
    [
        (b'{"runtimes": ["a", "b"]}', WorkerRegister, {"runtime": ["a", "b"]}),
        (b'{"execulator": ["a"]}', WorkerRegister, {"runtime": ["a"]}),
        (b'{"runtime": null, "execulator": ["a"]}', WorkerRegister, {"runtime": ["a"]}),
        (b'{"runtime": [], "execulator": ["a"]}', WorkerRegister, {"runtime": []}),
        (b'{"functio": "1", "input_id": "2"}', JobSubmit, {"lambda_": "1", "input": "2"}),
        (b'{"lambda": 1, "input": 2}', JobSubmit, {"lambda_": 1, "input": 2}),
        (b'{"lambda": null, "functio": "3"}', JobSubmit, {"lambda_": "3", "input": UNSET}),
        (b'{"lambda": "4", "functio": "3"}', JobSubmit, {"lambda_": "4"}),
        (b'{"tags": null}', JobSubmit, {"tags": None}),
        (b'{"tags": ["a"], "extra_tag": ["b"]}', JobSubmit, {"tags": ["a", "b"]}),
        (b'{"tags": ["a"], "extra_tag": ["b"]}', ContractRequest, {"tags": ["a", "b"]}),
        (b'{"runtime": "x", "code_id": "5"}', LambdaCreate, {"codex": 5}),
        (b'{"runtime": "x", "codex": "0", "code_id": "5"}', LambdaCreate, {"codex": 0}),
        (b'{"state": "Failed"}', JobUpdate, {"status": "Failed"}),
        (b'{"status": "paused"}', JobUpdate, {"status": "paused"}),
    ],
)
def test_older_names_are_read_as_the_newer_ones(body, type_, read):
    message = v05.read(body, type_, JSON)
    assert {name: getattr(message, name) for name in read} == read
    assert isinstance(message, type_)


def test_older_names_are_read_in_each_of_many_jobs():
    message = v05.read(b'{"jobs": [{"functio": "1"}, {"lambda": "2", "extra_tag": ["a"]}]}', JobSubmit, JSON)
    assert [(spec.lambda_, spec.tags) for spec in message.jobs] == [("1", None), ("2", ["a"])]


@pytest.mark.parametrize("type_", v05.NAMES, ids=lambda type_: type_.__name__)
def test_no_message_has_an_older_name_itself(type_):
    assert not v05.NAMES[type_].keys() & set(type_.__struct_fields__)
    assert set(v05.NAMES[type_].values()) <= set(type_.__struct_fields__)


def test_what_newer_clients_send_is_read_as_it_is():
    sent = JobSubmit(tags=["a"], key="k", priority=3)
    assert decode(encode(v05.read(encode(sent), JobSubmit, JSON)), JobSubmit) == sent
