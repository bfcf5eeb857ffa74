"""Every message type has a golden sample in samples/wire that reads and writes to the same bytes."""

import re
from pathlib import Path

import msgspec
import pytest

from piecework.protocol import bodies, messages
from piecework.protocol.messages.jobs import LATER_OPTIONS

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


TYPES = {snake(type_.__name__): type_ for type_ in BODIES}


def type_of(sample):
    """``job_info.v05.json`` is another sample of ``JobInfo``: one for each way of speaking."""
    return TYPES[sample.name.partition(".")[0]]


def test_every_message_that_travels_as_a_body_has_a_golden_sample():
    assert {type_of(sample) for sample in SAMPLES} == BODIES


@pytest.mark.parametrize("type_", sorted(BODIES, key=lambda type_: type_.__name__))
def test_the_samples_of_a_message_show_all_of_its_fields(type_):
    shown = {
        field
        for sample in SAMPLES
        if type_of(sample) is type_
        for field in msgspec.json.decode(sample.read_bytes())
    }
    assert {field.encode_name for field in msgspec.structs.fields(type_)} - set(LATER_OPTIONS) == shown


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.stem)
def test_a_golden_sample_reads_and_writes_to_the_same_text(sample):
    text = sample.read_bytes()
    message = bodies.decode(text, type_of(sample))
    assert msgspec.json.format(bodies.encode(message), indent=2) + b"\n" == text


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.stem)
def test_a_golden_sample_survives_the_way_through_message_pack(sample):
    message = bodies.decode(sample.read_bytes(), type_of(sample))
    packed = bodies.encode(message, bodies.MSGPACK)
    assert bodies.decode(packed, type_of(sample), bodies.MSGPACK) == message
