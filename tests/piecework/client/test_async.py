"""The client for event loops does what the other one does; its sockets wait otherwise."""

import asyncio
import inspect

import pytest
from job_infos import info
from patience import LONG_S

from piecework.client import (
    AsyncClient,
    AsyncJob,
    Busy,
    Client,
    JobCancelled,
    JobFailed,
    NotFound,
    ServerUnreachable,
    StillRunning,
)
from piecework.client.modes import Method, run
from piecework.protocol.ids import Id
from piecework.protocol.messages import Content, JobCreated, JobList, MessageReply
from piecework.protocol.states import JobState

TASKS = 250


@pytest.fixture
def shout(client, worker):
    return client.create_lambda(0, "test")


@pytest.fixture
def exotic(client):
    """A lambda that no worker can run."""
    return client.create_lambda(0, "exotic")


@pytest.fixture
def go(server_url):
    """Run a coroutine function on a client of the real server."""

    def go(main, url=server_url, **options):
        async def within():
            async with AsyncClient(url, **options) as client:
                return await asyncio.wait_for(main(client), LONG_S)

        return asyncio.run(within())

    return go


def test_both_clients_have_the_same_methods():
    names = {name for name in dir(Client) if not name.startswith("_")}
    assert names - {name for name in dir(AsyncClient) if not name.startswith("_")} == {"core", "executor"}
    methods = [each for kind in Client.__mro__ for each in vars(kind).values() if isinstance(each, Method)]
    assert len(methods) > 100
    for name in ("job", "submit", "set_value", "upload"):
        assert inspect.signature(getattr(Client, name)) == inspect.signature(getattr(AsyncClient, name))
        assert getattr(Client, name).__doc__ == getattr(AsyncClient, name).__doc__ != None  # noqa: E711


def test_a_job_is_submitted_and_awaited(go, shout):
    async def main(client):
        job = await client.submit(shout, "hello")
        assert isinstance(job, AsyncJob)
        assert (await job.result(), await job.status(), (await job.wait()).id) == (
            b"HELLO",
            JobState.FINISHED,
            job,
        )
        assert [each.id async for each in client.jobs(lambda_=shout)] == [job]
        return await client.run(shout, "again"), await client.ping()

    assert go(main) == (b"AGAIN", "pong")


def test_jobs_are_gathered_and_come_as_they_end(go, shout, exotic):
    async def main(client):
        jobs = await client.submit_many(shout, ["a", "b"])
        never = await client.submit(exotic)
        assert await client.gather(jobs) == [b"A", b"B"]
        ended = {job: await job.result() async for job in client.as_completed(jobs)}
        assert ended == {jobs[0]: b"A", jobs[1]: b"B"}
        with pytest.raises(StillRunning):
            await never.result(timeout_s=0)
        await never.cancel()
        with pytest.raises(JobCancelled):
            await never.result()

    go(main)


def test_many_inputs_are_mapped_and_what_has_not_ended_is_cancelled(go, shout, exotic):
    async def main(client):
        assert [output async for output in client.map(shout, ["a", "b", "c"])] == [b"A", b"B", b"C"]
        submitted, some = [], asyncio.Event()
        results = client.map(exotic, ["x", "y"], submitted=lambda ids: submitted.extend(ids) or some.set())
        step = asyncio.ensure_future(anext(results))
        await some.wait()
        step.cancel()
        with pytest.raises(asyncio.CancelledError):
            await step
        return [(await client.job(job)).state for job in submitted]

    assert go(main) == [JobState.CANCELLED] * 2


@pytest.mark.slow
def test_blobs_go_up_and_down_and_are_checked(go, tmp_path):
    content = bytes(range(256)) * 20_000
    (tmp_path / "up").write_bytes(content)

    async def main(client):
        blob = await client.upload(tmp_path / "up")
        assert await client.read(blob.id) == content
        assert b"".join([piece async for piece in client.stream(blob.id)]) == content
        return await client.download(blob.id, tmp_path / "down")

    assert go(main) == len(content)
    assert (tmp_path / "down").read_bytes() == content


@pytest.mark.integration
def test_hundreds_of_coroutines_share_a_client(go, shout):
    async def main(client):
        outputs = await asyncio.gather(*(client.run(shout, f"word {number}") for number in range(TASKS)))
        assert outputs == [f"WORD {number}".encode() for number in range(TASKS)]
        assert len(await asyncio.gather(*(client.ping() for _ in range(TASKS)))) == TASKS

    go(main)


@pytest.mark.slow
def test_who_reads_piece_by_piece_may_send_other_requests_meanwhile(go, monkeypatch, tmp_path):
    monkeypatch.setattr("piecework.http.async_connections.CONNECTIONS", 2)

    async def read(client, blob):
        async for _ in client.stream(blob):
            await client.ping()

    async def main(client):
        blob = (await client.upload(b"x" * 1_000_000)).id
        await asyncio.gather(*(read(client, blob) for _ in range(5)))
        assert await asyncio.gather(*(client.ping() for _ in range(20))) == ["pong"] * 20

    go(main)


@pytest.mark.slow
def test_no_threads_are_made(go, shout):
    import threading

    async def main(client):
        before = set(threading.enumerate())
        await asyncio.gather(*(client.run(shout, "x") for _ in range(20)))
        return {each.name for each in set(threading.enumerate()) - before if "process_request" not in each.name}

    assert go(main) == set()


def test_errors_are_those_of_the_other_client(go, shout, client):
    failing = client.create_lambda(0, "test", args=["fail", "no luck"])

    async def main(client):
        with pytest.raises(NotFound):
            await client.job(5)
        with pytest.raises(ValueError, match="id"):
            await client.job("five")
        with pytest.raises(JobFailed, match="no luck"):
            await client.run(failing, max_attempts=1)

    go(main)


def test_connections_are_kept_and_requests_repeated(go, script):
    script.answer(MessageReply(message="one"))
    script.answer(hang_up=True)
    script.answer(MessageReply(message="two"))
    script.answer(status=503, message=MessageReply(message="later"))
    script.answer(MessageReply(message="three"))

    async def main(client):
        return [await client.ping() for _ in range(3)]

    assert go(main, script.url) == ["one", "two", "three"]
    connections = [seen.connection for seen in script.seen]
    assert (connections[0] == connections[1], connections[1] != connections[2], len(set(connections[2:]))) == (
        True, True, 1
    )  # fmt: skip


def test_what_is_not_repeatable_is_tried_once(go, script):
    script.answer(status=503, message=MessageReply(message="later"))

    async def main(client):
        with pytest.raises(Busy):
            await client.create_namespace()

    go(main, script.url)
    assert len(script.seen) == 1


def test_a_cancelled_call_closes_its_connection_and_the_next_goes_on(go, script):
    import threading

    held = threading.Event()
    script.answer(MessageReply(message="late"), hold=held)
    script.answer(MessageReply(message="next"))

    async def main(client):
        call = asyncio.ensure_future(client.ping())
        await asyncio.to_thread(script.wait_for_requests, 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        found = await client.ping()
        held.set()
        return found

    assert go(main, script.url) == "next"
    assert script.seen[0].connection != script.seen[1].connection


def test_a_silent_server_is_given_up_in_time(go, script):
    import threading

    held = threading.Event()
    script.answer(MessageReply(message="late"), hold=held)

    async def main(client):
        with pytest.raises(ServerUnreachable, match="took too long"):
            await client.ping()
        held.set()

    go(main, script.url, attempts=1, read_timeout_s=0.05)


def test_nobody_at_the_address_is_an_error(go):
    async def main(client):
        with pytest.raises(ServerUnreachable, match="refused"):
            await client.ping()

    go(main, "http://127.0.0.1:1", attempts=1)


def test_a_client_that_blocks_may_be_used_inside_of_an_event_loop(client, shout):
    async def main():
        return client.run(shout, "inside"), [job.id for job in client.jobs(lambda_=shout)]

    assert asyncio.run(main())[0] == b"INSIDE"


def test_one_request_waits_for_many_jobs(go, script):
    script.answer(JobCreated(ids=[Id(1), Id(2)]))
    script.answer(JobList(jobs=[info(1, output=Content(text="a")), info(2, output=Content(text="b"))]))

    async def main(client):
        return await client.gather(await client.submit_many(7, ["x", "y"]))

    assert go(main, script.url) == [b"a", b"b"]
    assert len(script.seen) == 2


def test_a_call_that_would_be_suspended_is_no_call_of_a_client_that_blocks():
    with pytest.raises(AssertionError, match="suspended"):
        run(asyncio.sleep(0))
