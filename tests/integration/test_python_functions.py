"""Python functions that run as jobs, with a real server, a real agent and both interpreters."""

import asyncio
import hashlib
import json

import pytest
from patience import LONG_S

import piecework
from piecework import AsyncClient, Client, FunctionRaised, JobFailed, LambdaOptions
from piecework.protocol.messages import Limits

pytestmark = pytest.mark.integration

RUNTIMES = ("python3.12", "micropython")
OFFSET = 10


@pytest.fixture(params=RUNTIMES)
def make(request, client: Client, agent):
    """Decorate a function for a runtime, with a client of the real server."""

    def make(function, **options):
        return piecework.function(runtime=request.param, client=client, **options)(function)

    return make


def add(number, other=1, *, scale=1):
    print("this goes to the log")  # noqa: T201
    return {"sum": (number + other + OFFSET) * scale, "text": json.dumps([None, "ö"])}


def reverse(data: bytes) -> bytes:
    return bytes(reversed(data))


def size(data: bytes):
    return len(data)


def divide(number):
    return inner_division(number)


def inner_division(number):
    return 1 / number


def give_bytes(number):
    return b"x" * number


def spin():
    while True:
        pass


def test_a_function_runs_as_a_job(make):
    remote = make(add)
    expected = {"sum": 26, "text": '[null, "\\u00f6"]'}
    assert remote(2, scale=2)["sum"] == 26
    call = remote.submit(2, scale=2)
    found = call.result(LONG_S)
    assert (found["sum"], json.loads(found["text"])) == (expected["sum"], [None, "ö"])
    assert "this goes to the log" in "".join(call.job.follow_log())
    assert remote.remote(1, 2)["sum"] == 13


def test_bytes_travel_as_they_are(make, tmp_path):
    data = bytes(range(256)) * 300
    assert make(reverse).remote(data) == data[::-1]
    (tmp_path / "input").write_bytes(data)
    assert make(size).remote(tmp_path / "input") == len(data)


def test_many_inputs_are_mapped_in_order(make):
    assert [each["sum"] for each in make(add).map(range(50))] == [number + 11 for number in range(50)]


def test_an_exception_comes_back_with_its_traceback(make):
    call = make(divide).using(max_attempts=1).submit(0)
    with pytest.raises(FunctionRaised, match="ZeroDivisionError: divi") as caught:
        call.result(LONG_S)
    assert "in inner_division" in caught.value.traceback
    assert "in divide" in "".join(caught.value.__notes__)
    results = make(divide).using(max_attempts=1).map([1, 0])
    assert next(results) == 1
    with pytest.raises(FunctionRaised):
        next(results)


def test_an_event_loop_calls_functions_too(make, server):
    async def main():
        async with AsyncClient(server.url) as client:
            with pytest.raises(FunctionRaised, match="ZeroDivisionError"):
                await make(divide).using(max_attempts=1).remote_async(client, 0)
            return await asyncio.gather(*(make(divide).remote_async(client, 4) for _ in range(20)))

    assert asyncio.run(main()) == [0.25] * 20


def test_what_is_returned_must_be_what_is_annotated(make):
    with pytest.raises(FunctionRaised, match="annotate it with -> bytes"):
        make(give_bytes).using(max_attempts=1).remote(3)


def test_other_failures_are_those_of_jobs(make):
    remote = make(spin, limits=Limits(fuel=10_000_000)).using(max_attempts=1)
    with pytest.raises(JobFailed) as caught:
        remote.remote()
    assert not isinstance(caught.value, FunctionRaised)


def test_the_same_source_is_one_lambda_and_nothing_is_uploaded_twice(make, client: Client):
    first, second = make(size), make(size)
    assert first.lambda_id() == second.lambda_id()
    assert make(size, tags=["elsewhere"]).lambda_id() != first.lambda_id()
    assert make(size).remote(b"abc") == 3
    code = hashlib.sha256(first.source.encode()).hexdigest()
    assert [each.checksum for each in client.list_data()].count(code) == 1
    client.delete_lambda(first.lambda_id(), cancel=True)
    assert first.remote(b"abcd") == 4


def test_options_of_lambdas_are_those_of_create_lambda():
    assert {"name", "tags", "limits"} <= set(LambdaOptions.__annotations__)
