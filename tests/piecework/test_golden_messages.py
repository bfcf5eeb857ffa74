"""Every message type has a golden sample in samples/wire that reads and writes to the same bytes."""

import re
from pathlib import Path

import msgspec
import pytest

from piecework.protocol import bodies, messages
from piecework.server.dialects import v05

WIRE = Path(__file__).parents[2] / "samples" / "wire"
SAMPLES = sorted(WIRE.glob("*.json"))

BASES = {messages.Message, messages.Reply}
KINDS = (*BASES, messages.CapsuleReply)
BODIES = {
    type_
    for name in messages.__all__
    if isinstance(type_ := getattr(messages, name), type) and issubclass(type_, KINDS) and type_ not in BASES
}


def snake(name):
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


class OldJobList(messages.JobList, kw_only=True):
    jobs: list[v05.OldJobInfo]


class OldJobCreated(v05.OldJobCreated, kw_only=True):
    job: messages.Maybe[v05.OldJobInfo] = msgspec.UNSET


OLD_REPLIES = (
    v05.OldJobInfo,
    OldJobList,
    OldJobCreated,
    v05.OldContractReply,
    v05.OldNamespaceCreated,
    v05.OldWorkerRegistered,
)
"""Answers with what older clients read; ``v05.wire_type`` has the requests with what they send."""
TYPES = {snake(type_.__name__): v05.wire_type(type_) for type_ in BODIES}
TYPES |= {snake(type_.__name__.removeprefix("Old")): type_ for type_ in OLD_REPLIES}


def name_of(sample):
    """``job_info.v05.json`` is another sample of ``JobInfo``: one for each way of speaking."""
    return sample.name.partition(".")[0]


def type_of(sample):
    return TYPES[name_of(sample)]


def test_every_message_that_travels_as_a_body_has_a_golden_sample():
    assert {name_of(sample) for sample in SAMPLES} == {snake(type_.__name__) for type_ in BODIES}


@pytest.mark.parametrize("name", sorted(TYPES))
def test_the_samples_of_a_message_show_all_of_its_fields(name):
    shown = {
        field
        for sample in SAMPLES
        if name_of(sample) == name
        for field in msgspec.json.decode(sample.read_bytes())
    }
    assert {field.encode_name for field in msgspec.structs.fields(TYPES[name])} == shown


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.stem)
def test_a_golden_sample_reads_and_writes_to_the_same_text(sample):
    text = sample.read_bytes()
    message = bodies.decode(text, type_of(sample))
    written = bodies.encode(message)
    if type(message).__base__ in v05.NAMES:  # nobody writes these: they are read in whatever order
        assert msgspec.json.decode(written) == msgspec.json.decode(text)
    else:
        assert msgspec.json.format(written, indent=2) + b"\n" == text


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.stem)
def test_a_golden_sample_survives_the_way_through_message_pack(sample):
    message = bodies.decode(sample.read_bytes(), type_of(sample))
    packed = bodies.encode(message, bodies.MSGPACK)
    assert bodies.decode(packed, type_of(sample), bodies.MSGPACK) == message


@pytest.mark.parametrize(
    "sample",
    [each for each in SAMPLES if ".v05" not in each.name and TYPES[name_of(each)].__base__ in v05.NAMES],
    ids=lambda sample: sample.stem,
)
def test_what_newer_clients_send_is_a_sample_without_older_names(sample):
    message = bodies.decode(sample.read_bytes(), TYPES[name_of(sample)].__base__)
    text = re.sub(rb'\n *"extra_tag": null,', b"", sample.read_bytes())
    assert msgspec.json.format(bodies.encode(message), indent=2) + b"\n" == text


PROTOCOL = {snake(type_.__name__): type_ for type_ in BODIES}
"""The messages as agents and clients read them, and servers those of workers."""
MAPS = {"env", "files", "inputs", "job", "json", "kinds", "runtimes", "weights", "set_aside", "split", "workers"}
"""Objects whose names are not fields."""


def add_fields(value):
    """Return what a newer program might send: with a field more in each object."""
    if isinstance(value, list):
        return [add_fields(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        name: {key: each for key, each in add_fields(part).items() if key != "newer"}
        if name in MAPS and isinstance(part, dict)
        else add_fields(part)
        for name, part in value.items()
    } | {"newer": {"a": 1}}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.stem)
def test_what_a_newer_program_sends_is_read_without_what_is_new(sample):
    text, type_ = sample.read_bytes(), PROTOCOL[name_of(sample)]
    newer = msgspec.json.encode(add_fields(msgspec.json.decode(text)))
    assert bodies.decode(newer, type_) == bodies.decode(text, type_)
