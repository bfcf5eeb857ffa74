import pytest
from hypothesis import given, strategies as st
from msgspec import UNSET

from piecework.protocol import bodies, messages
from piecework.protocol.ids import Id
from piecework.protocol.messages import (
    Content,
    ContractRequest,
    FunctionOrders,
    JobSubmit,
    LeaseRef,
    Limits,
    ReplicaOrder,
)

limits = st.builds(
    Limits,
    timeout_s=st.none() | st.floats(0.1, 10),
    memory_bytes=st.none() | st.integers(1, 9),
    fuel=st.none() | st.integers(1, 9),
)


@pytest.mark.parametrize(
    ("body", "knows"),
    [(b'{"timeout": 5}', False), (b'{"max": 0}', True), (b'{"outcomes": []}', False)],
)
def test_a_contract_that_names_a_number_of_jobs_knows_leases(body, knows):
    assert bodies.decode(body, ContractRequest).knows_leases is knows


@pytest.mark.parametrize(
    "body",
    [
        b'{"priority": 101}',
        b'{"delay_s": -1}',
        b'{"delay_s": 1e12}',
        b'{"backoff": {"kind": "wild"}}',
        b'{"retry_on": ["mood"]}',
        b'{"run_at": "tomorrow"}',
        b'{"jobs": {"lambda": "1"}}',
    ],
)
def test_options_out_of_range_are_refused(body):
    with pytest.raises(bodies.MessageError):
        bodies.decode(body, JobSubmit)


@given(limits, limits)
def test_limits_over_others_keep_what_they_say(upper, lower):
    both = upper.over(lower)
    for name in ("timeout_s", "memory_bytes", "fuel"):
        own = getattr(upper, name)
        assert getattr(both, name) == (getattr(lower, name) if own is None else own)


@given(limits)
def test_limits_over_or_under_no_limits_stay_as_they_are(some):
    assert some.over(Limits()) == Limits().over(some) == some


def test_what_was_left_out_is_none():
    assert (messages.given(UNSET), messages.given(None), messages.given(0)) == (None, None, 0)


def test_a_message_shows_the_fields_that_are_set():
    shown = repr(JobSubmit(lambda_=3, priority=2, limits=Limits(fuel=9), input=Content(text="hi")))
    assert shown == "JobSubmit(lambda_=3, input=Content(text='hi'), priority=2, limits=Limits(fuel=9))"
    assert repr(Limits()) == "Limits()"


@pytest.mark.parametrize(
    "message",
    [
        JobSubmit(lambda_=3, env={"A": "hush"}),
        LeaseRef(job=Id(1), lease="hush"),
        FunctionOrders(
            replicas=[
                ReplicaOrder(
                    id=Id(1),
                    function="f",
                    revision="r",
                    lambda_=Id(2),
                    runtime="wasi",
                    codex=Id(3),
                    codex_checksum="",
                    codex_size=0,
                    env={"A": "hush"},
                    token="hush",
                )
            ]
        ),
    ],
)
def test_a_message_shows_no_secret(message):
    assert "hush" not in repr(message)
    assert "'***'" in repr(message)


def test_a_message_shows_the_beginning_of_what_is_long():
    assert repr(Content(raw=b"x" * 500)) == f"Content(raw={b'x' * 100!r}… (500 bytes))"
    assert repr(JobSubmit(key="k" * 101)) == f"JobSubmit(key={'k' * 100!r}… (101 characters))"
