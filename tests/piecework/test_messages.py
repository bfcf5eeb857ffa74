import pytest
from hypothesis import given, strategies as st
from msgspec import UNSET

from piecework.protocol import bodies
from piecework.protocol.ids import Id
from piecework.protocol.messages import (
    Content,
    ContractRequest,
    FunctionOrders,
    JobSpec,
    JobSubmit,
    JobUpdate,
    LambdaCreate,
    LeaseRef,
    Limits,
    ReplicaOrder,
    WorkerRegister,
    first_set,
)
from piecework.protocol.messages.jobs import LATER_OPTIONS

limits = st.builds(
    Limits,
    timeout_s=st.none() | st.floats(0.1, 10),
    memory_bytes=st.none() | st.integers(1, 9),
    fuel=st.none() | st.integers(1, 9),
)


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b'{"runtime": ["a"]}', ["a"]),
        (b'{"runtimes": ["a", "b"]}', ["a", "b"]),
        (b'{"execulator": ["a"]}', ["a"]),
        (b'{"runtime": null, "execulator": ["a"]}', ["a"]),
        (b'{"runtime": []}', ["default"]),
        (b"{}", ["default"]),
    ],
)
def test_a_worker_names_its_runtimes_under_three_names_or_not_at_all(body, names):
    assert bodies.decode(body, WorkerRegister).runtime_names() == names


@pytest.mark.parametrize(
    ("body", "old"),
    [(b'{"runtime": []}', False), (b'{"runtimes": []}', True), (b'{"execulator": ["a"]}', True)],
)
def test_old_names_of_runtimes_are_told_apart(body, old):
    assert bodies.decode(body, WorkerRegister).speaks_old_names is old


@pytest.mark.parametrize(
    ("body", "lambda_id", "ref", "old"),
    [
        (b'{"lambda": "1", "input": "2"}', 1, "2", False),
        (b'{"functio": "1", "input_id": "2"}', 1, "2", True),
        (b'{"lambda": 1, "input": 2}', 1, 2, False),
        (b'{"lambda": null, "functio": "3"}', 3, None, True),
        (b"{}", None, None, False),
    ],
)
def test_a_submission_is_read_under_old_and_new_names(body, lambda_id, ref, old):
    job = bodies.decode(body, JobSubmit)
    assert (job.lambda_id(), job.input_ref(), job.speaks_old_names) == (lambda_id, ref, old)


@pytest.mark.parametrize("body", [b'{"tags": null}', b'{"tags": []}', b"{}"])
def test_tags_may_be_null_empty_or_absent(body):
    assert bodies.decode(body, JobSpec).all_tags() == []
    assert bodies.decode(body, ContractRequest).all_tags() == []


def test_tags_under_both_names_add_up():
    body = b'{"tags": ["a"], "extra_tag": ["b"]}'
    assert bodies.decode(body, JobSpec).all_tags() == ["a", "b"]
    assert bodies.decode(body, ContractRequest).all_tags() == ["a", "b"]


@pytest.mark.parametrize(
    ("body", "extended"),
    [(b'{"timeout": 5}', False), (b'{"max": 0}', True), (b'{"outcomes": []}', False)],
)
def test_a_contract_that_uses_a_new_field_is_extended(body, extended):
    assert bodies.decode(body, ContractRequest).is_extended is extended


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


@pytest.mark.parametrize("name", LATER_OPTIONS)
def test_an_option_of_a_later_version_is_seen_so_that_it_can_be_refused(name):
    assert bodies.decode(b'{"%s": "x"}' % name.encode(), JobSpec).refused_options() == [name]
    assert bodies.decode(b'{"%s": null}' % name.encode(), JobSpec).refused_options() == []


@pytest.mark.parametrize(
    ("body", "codex"), [(b'{"codex": "5"}', 5), (b'{"code_id": "5"}', 5), (b'{"codex": "0"}', 0), (b"{}", None)]
)
def test_a_codex_is_read_under_old_and_new_names(body, codex):
    create = bodies.decode(body[:-1] + (b", " if len(body) > 2 else b"") + b'"runtime": "wasi"}', LambdaCreate)
    assert create.codex_id() == codex


@pytest.mark.parametrize(
    ("body", "name"), [(b'{"status": "paused"}', "paused"), (b'{"state": "Failed"}', "Failed"), (b"{}", None)]
)
def test_an_update_names_its_state_under_two_names(body, name):
    assert bodies.decode(body, JobUpdate).state_name() == name


@given(limits, limits)
def test_limits_over_others_keep_what_they_say(upper, lower):
    both = upper.over(lower)
    for name in ("timeout_s", "memory_bytes", "fuel"):
        own = getattr(upper, name)
        assert getattr(both, name) == (getattr(lower, name) if own is None else own)


@given(limits)
def test_limits_over_or_under_no_limits_stay_as_they_are(some):
    assert some.over(Limits()) == Limits().over(some) == some


def test_the_first_value_that_is_set_counts_even_when_it_is_empty():
    assert first_set(UNSET, None, 0, 5) == 0
    assert first_set(UNSET, None) is None


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
