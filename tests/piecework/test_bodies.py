import threading
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given, strategies as st

from piecework.protocol import bodies
from piecework.protocol.ids import ID_MAX, Id
from piecework.protocol.messages import ContractRequest, DataReply, JobSubmit, Outcome, WorkerRegister
from piecework.protocol.states import JobState

MEDIA_TYPES = (bodies.JSON, bodies.MSGPACK)

outcomes = st.builds(
    Outcome,
    job=st.integers(0, ID_MAX).map(Id),
    lease=st.text(max_size=20),
    state=st.sampled_from(JobState),
    log=st.binary(max_size=50),
    log_offset=st.integers(0, 2**40),
)


@given(outcomes, st.sampled_from(MEDIA_TYPES))
def test_a_message_is_read_as_it_was_written(outcome, media_type):
    assert bodies.decode(bodies.encode(outcome, media_type), Outcome, media_type) == outcome


@given(st.binary(max_size=200), st.sampled_from([*MEDIA_TYPES, None, "text/plain"]))
def test_any_bytes_either_make_a_message_or_a_body_or_message_error(body, media_type):
    try:
        message = bodies.decode(body, ContractRequest, media_type)
    except (bodies.BodyDecodeError, bodies.MessageError):
        return
    assert isinstance(message, ContractRequest)


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
def test_an_id_travels_as_a_decimal_string(media_type):
    body = bodies.encode(DataReply(id=Id(7), checksum="c"), media_type)
    decoder = msgspec.msgpack if media_type == bodies.MSGPACK else msgspec.json
    assert decoder.decode(body)["id"] == "7"


@pytest.mark.parametrize("media_type", [None, "", "application/octet-stream", "application/json; charset=utf-8"])
def test_a_body_not_announced_as_message_pack_is_read_as_json(media_type):
    assert bodies.decode(b'{"runtime": ["wasi"]}', WorkerRegister, media_type).runtime == ["wasi"]


def test_message_pack_is_known_with_parameters_and_in_any_case():
    body = bodies.encode(WorkerRegister(slots=3), bodies.MSGPACK)
    assert bodies.decode(body, WorkerRegister, "Application/MsgPack; v=1").slots == 3


@pytest.mark.parametrize("media_type", [*MEDIA_TYPES, None])
def test_an_empty_body_is_the_empty_object(media_type):
    assert bodies.decode(b"", ContractRequest, media_type) == ContractRequest()


def test_numbers_may_come_as_strings():
    assert bodies.decode(b'{"timeout": "2.5", "max": "3"}', ContractRequest) == ContractRequest(timeout=2.5, max=3)


def test_unknown_fields_are_ignored():
    assert bodies.decode(b'{"worker_id": "1", "mood": "good"}', ContractRequest) == ContractRequest()


@pytest.mark.parametrize(
    ("body", "media_type", "kind"),
    [(b"{", bodies.JSON, "JSON"), (b"\xc1", bodies.MSGPACK, "MessagePack"), (b"\xff\xfe", bodies.JSON, "JSON")],
)
def test_broken_bodies_are_called_by_the_format_that_they_should_have(body, media_type, kind):
    with pytest.raises(bodies.BodyDecodeError, match=f"not {kind}:"):
        bodies.decode(body, ContractRequest, media_type)


def test_deep_nesting_is_refused_and_does_not_crash():
    body = b'{"input":{"json":' + b"[" * 100_000 + b"]" * 100_000 + b"}}"
    with pytest.raises(bodies.BodyDecodeError, match="not JSON"):
        bodies.decode(body, JobSubmit)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"max": -1}', r"\$\.max"),
        (b'{"tags": "gpu"}', r"\$\.tags"),
        (b'{"outcomes": [{"lease": "x"}]}', "job"),
        (b'{"outcomes": [{"job": "abc", "lease": "x", "state": "Finished"}]}', "an id is a decimal number"),
        (b"[]", "object"),
    ],
)
def test_a_field_that_does_not_fit_is_named(body, words):
    with pytest.raises(bodies.MessageError, match=words):
        bodies.decode(body, ContractRequest)


def test_what_has_no_wire_form_is_not_sent():
    with pytest.raises(TypeError, match="cannot send a object"):
        bodies.encode(object())


def test_what_has_no_wire_form_is_not_read():
    class Strange:
        pass

    with pytest.raises(bodies.MessageError, match="cannot read a Strange"):
        bodies.decode(b"1", Strange)


class Learner:
    """Stands for a type of a field; msgspec asks for it when it learns what a class has."""

    def __init__(self, patience_s=0.0):
        self.asked, self.most = 0, 0
        self._inside = 0
        self._both = threading.Barrier(2)
        self._patience_s = patience_s

    def __call__(self):
        self.asked += 1
        self._inside += 1
        self.most = max(self.most, self._inside)
        with suppress(threading.BrokenBarrierError):
            self._both.wait(self._patience_s)
        self._inside -= 1
        return int


def make_struct(learner, base=msgspec.Struct):
    globals()["learn"] = learner
    return msgspec.defstruct("Learned", [("x", "learn()")], bases=(base,), module=__name__)


def test_two_threads_never_learn_a_class_at_once():
    learner = Learner(patience_s=0.05)
    type_ = make_struct(learner)
    threads = [
        threading.Thread(target=bodies.decode, args=(bodies.encode({"x": 1}, media_type), type_, media_type))
        for media_type in (bodies.JSON, bodies.MSGPACK)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (learner.asked > 0, learner.most) == (True, 1)


def test_prepared_classes_are_not_learned_again():
    class Base(msgspec.Struct):
        pass

    learner = Learner()
    type_ = make_struct(learner, make_struct(Learner(), Base))
    globals()["learn"] = learner
    bodies.prepare_structs(Base)
    asked = learner.asked
    assert asked
    assert bodies.decode(b'{"x": 1}', type_).x == 1
    assert learner.asked == asked
