"""Limits by key and tenants through the client, against a real server."""

import pytest

from piecework.client import Invalid, NotFound
from piecework.protocol.codes import Code
from piecework.protocol.states import JobState


@pytest.fixture
def lambda_id(client):
    return client.create_lambda(b"", runtime="nowhere")


def test_jobs_above_a_limit_wait_and_say_why(client, lambda_id):
    limited = {"concurrency_key": "a/b", "concurrency_limit": 2, "rate_key": "r", "rate_limit": 9}
    ids = client.submit_many(lambda_id, ["1", "2", "3"], **limited)
    infos = [client.job(each) for each in ids]
    assert [info.state for info in infos] == [JobState.ENQUEUED, JobState.ENQUEUED, JobState.WAITING]
    assert (infos[2].concurrency_key, infos[2].rate_key, infos[2].waits_for) == ("a/b", "r", "limit")
    [info] = client.limit("a/b")
    assert (info.kind, info.limit, info.set_by, info.used, info.waiting) == ("concurrency", 2, "job", 0, 1)
    listed = [(each.kind, each.key) for each in client.limits()]
    assert listed == sorted(listed)
    assert {("concurrency", "a/b"), ("rate", "r")} <= set(listed)
    assert len(list(client.limits(limit=1))) == 1


def test_an_operators_limit_counts_until_it_is_taken_back(client, lambda_id):
    [concurrency, rate] = client.set_limit("mine", concurrency=0, rate=5, period_s=60)
    assert (concurrency.limit, concurrency.set_by) == (0, "operator")
    assert (rate.limit, rate.period_s) == (5, 60)
    job = client.submit(lambda_id, concurrency_key="mine", concurrency_limit=3)
    assert client.job(job).advice == "limit of key mine reached: an operator lets none run"
    [concurrency, _] = client.limit("mine")
    assert (concurrency.limit, concurrency.said) == (0, 3)
    assert client.clear_limit("mine") == "what jobs say counts again for the key mine"
    assert client.job(job).state is JobState.ENQUEUED
    assert client.check_limits().repaired == 0


def test_what_is_no_limit_is_refused(client):
    with pytest.raises(NotFound) as missing:
        client.limit("nobody's")
    assert missing.value.code == Code.LIMIT_NOT_FOUND
    with pytest.raises(NotFound):
        client.clear_limit("nobody's")
    for wrong in ({}, {"concurrency": -1}, {"rate": 1, "period_s": 0}, {"concurrency": 10**7}):
        with pytest.raises(Invalid):
            client.set_limit("bad", **wrong)
    with pytest.raises(Invalid, match="1 to 255 characters"):
        client.set_limit("bad" * 100, concurrency=1)
    with pytest.raises(ValueError, match="no key"):
        client.limit("..")
    assert not [each for each in client.limits() if each.key.startswith("bad")]


def test_tenants_are_listed_and_weighed(client, lambda_id):
    jobs = [client.submit(lambda_id, tenant=name) for name in ("crimson", "crimson", "blue")]
    assert client.set_tenant("crimson", 3).weight == 3
    listed = {each.name: (each.weight, each.enqueued) for each in client.tenants()}
    assert (listed["blue"], listed["crimson"]) == ((1, 1), (3, 2))
    assert client.job(jobs[0]).tenant == "crimson"
    for name, weight in (("crimson", 0), ("crimson", 1001), (" x", 1), ("x" * 101, 1)):
        with pytest.raises(Invalid):
            client.set_tenant(name, weight)
    with pytest.raises(Invalid, match="tenant's name"):
        client.submit(lambda_id, tenant="")
