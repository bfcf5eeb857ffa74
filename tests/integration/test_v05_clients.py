"""Unmodified v0.5 clients as requester, as worker, and as both, with every other side."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest
from guests import guest
from v05_client import NEWEST, OLDEST, V05Api, V05Error, V05Requester, V05Worker

from piecework import Client
from piecework.client import JobFailed
from piecework.local import LocalAgent, LocalServer

pytestmark = pytest.mark.integration

PATIENCE_S = 30.0
SCRIPT = b"shout"


def shout(code: bytes, content: bytes) -> bytes:
    """The only script that the v0.5 worker of these tests can run."""
    if code != SCRIPT:
        raise RuntimeError(code)
    return content.upper()


@pytest.fixture(params=["", "/", "/api/v0.5", "/api/v0.5/"], ids=["root", "slash", "api", "api-slash"])
def base(request: pytest.FixtureRequest, server: LocalServer) -> str:
    """Every base URL under which the server answers."""
    return server.url + request.param


@pytest.fixture(params=[NEWEST, OLDEST], ids=["newest", "oldest"])
def api(request: pytest.FixtureRequest, server: LocalServer) -> V05Api:
    """The API as the newest and the oldest generation of clients use it."""
    return V05Api(server.url, request.param)


@contextmanager
def working(worker: V05Worker) -> Iterator[V05Worker]:
    """Run a worker's loop in a thread; a crash of it fails the test."""
    with ThreadPoolExecutor(1) as pool:
        loop = pool.submit(worker.run)
        try:
            yield worker
        finally:
            worker.stop.set()
        loop.result(PATIENCE_S)


def test_a_v05_requester_is_served_by_our_agent(api: V05Api, agent: LocalAgent):
    assert V05Requester(api).run(guest("uppercase"), "wasi", b"hello\xff") == b"HELLO\xff"


def test_a_v05_requester_is_served_under_every_base_url(base: str, agent: LocalAgent):
    assert V05Requester(V05Api(base)).run(guest("uppercase"), "default", b"hello") == b"HELLO"


def test_a_v05_worker_serves_our_client(client: Client, api: V05Api):
    lambda_id = client.create_lambda(SCRIPT, runtime="shouting")
    with working(V05Worker(api, shout, ("shouting",))):
        ids = client.submit_many(lambda_id, [f"text {n}" for n in range(10)])
        outputs = {job: result.read() for job, result in client.results(ids, PATIENCE_S)}
    assert [outputs[job] for job in ids] == [f"TEXT {n}".encode() for n in range(10)]


@pytest.mark.parametrize("other", [NEWEST, OLDEST], ids=["to-newest", "to-oldest"])
def test_v05_clients_of_all_generations_serve_each_other(api: V05Api, other):
    runtime = f"between-{api.names.codex}-{other.codex}"
    with working(V05Worker(replace(api, names=other), shout, (runtime,))):
        assert V05Requester(api).run(SCRIPT, runtime, b"hello") == b"HELLO"


def test_a_v05_worker_without_runtimes_is_a_default_worker(server: LocalServer):
    api = V05Api(server.url)
    reply = api.post("/worker", {"runtime": []})
    assert reply["runtime"] == ["default"]


def test_a_v05_worker_goes_on_under_the_id_of_its_configuration(api: V05Api):
    runtime = f"kept-{api.names.codex}"
    with working(V05Worker(api, shout, (runtime,))) as first:
        assert V05Requester(api).run(SCRIPT, runtime, b"one") == b"ONE"
    again = V05Worker(api, shout, configuration=first.configuration)
    with working(again):
        assert V05Requester(api).run(SCRIPT, runtime, b"two") == b"TWO"
    assert again.configuration == first.configuration


def test_a_failure_that_a_v05_worker_reports_reaches_both_kinds_of_requester(client: Client, api: V05Api):
    runtime = f"failing-{api.names.codex}"
    with working(V05Worker(api, shout, (runtime,))):
        codex = api.upload(b"mumble")
        job = api.submit(api.create_lambda(codex, runtime), api.upload(b"x"))
        with pytest.raises(JobFailed):
            client.result(job, PATIENCE_S)
        with pytest.raises(V05Error, match="Fail_Execution"):
            V05Requester(api).fetch(job)


def test_a_blob_that_does_not_exist_is_told_in_the_words_that_old_clients_compare(server: LocalServer):
    with pytest.raises(V05Error, match=r"^BLOB data object is not exist$"):
        V05Api(server.url).download("12345")


def test_keys_and_values_of_v05_clients(base: str):
    api = V05Api(base)
    for consistency in (None, "none", "eventual"):
        namespace = api.create_namespace(consistency)
        assert api.has_namespace(namespace)
        assert api.set_value(namespace, "example-key", "one", get=True, append=True) == ""
        assert api.set_value(namespace, "example-key", " two", append=True) == "one two"
        assert api.set_value(namespace, "example-key", "three", get=True) == "one two"
        assert api.get_value(namespace, "example-key") == "three"
        api.set_value(namespace, "example-key", "")
        assert api.get_value(namespace, "example-key") == ""
        with pytest.raises(V05Error, match=r"^404 application/json.*1012"):
            api.get_value(namespace, "another-key")
    with pytest.raises(V05Error, match=r"^422 application/json"):
        api.create_namespace("strong")


def test_values_of_v05_clients_expire(server: LocalServer):
    api = V05Api(server.url)
    namespace = api.create_namespace()
    api.set_value(namespace, "k", "v", expire=1)
    assert api.get_value(namespace, "k") == "v"
    for _ in range(100):
        threading.Event().wait(0.05)
        try:
            api.get_value(namespace, "k")
        except V05Error:
            return
    raise AssertionError("the value stays")


def test_keys_arrive_with_the_slashes_that_were_sent_encoded(base: str, client: Client):
    api = V05Api(base)
    namespace = api.create_namespace()
    sent = {"a/b": "a/b", "a%2fb%2F": "a/b/", "%2F%2Fa": "//a", "%252F": "%2F", "%E2%82%AC%20%3F": "€ ?"}
    for spelled, key in sent.items():
        api.set_value(namespace, spelled, key)
        assert api.get_value(namespace, spelled) == client.get_value(namespace, key) == key
    assert list(client.keys(namespace)) == sorted(sent.values(), key=str.encode)
    for spelled in ("", "%2E%2e", "%FF", "a%00"):
        with pytest.raises(V05Error, match=r"^4"):
            api.set_value(namespace, spelled, "x")
    assert len(list(client.keys(namespace))) == len(sent)


def test_a_contract_without_a_job_is_answered_before_the_time_that_was_asked_for(api: V05Api):
    assert api.contract(api.register("nothing-to-do"), timeout_s=2) is None
