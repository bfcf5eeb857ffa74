from datetime import UTC, datetime, timedelta

import pytest

from piecework.client import Conflict, Invalid, NotFound
from piecework.client.queue.jobs.selection import select_jobs, to_query
from piecework.protocol import bodies
from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import JobBulk, JobBulkReply, JobSelection
from piecework.protocol.states import JobState


@pytest.fixture
def lambda_id(client, worker):
    del worker
    return client.create_lambda(0, "test", args=["fail", "no"])


def fail(client, lambda_id, count=1):
    jobs = [client.submit(lambda_id, b"word", max_attempts=1) for _ in range(count)]
    client.wait(jobs, 20)
    return jobs


def test_a_failed_job_is_run_again_as_it_is_or_with_changes(client, lambda_id):
    [job] = fail(client, lambda_id)
    assert client.retry(job) == job
    assert client.wait([job], 20)[0].attempt == 2
    made = client.retry(job, args=["same"], input="other", timeout_s=60)
    assert client.result(made, 20) == b"other"
    assert client.retry(job, args=["same"], input=None) != made
    assert client.job(made).retry_of == job
    assert client.job(job).run_again_as[0] == made


def test_a_job_that_cannot_be_run_again_says_why(client, lambda_id):
    done = client.submit(client.create_lambda(0, "test"), b"word")
    client.wait([done], 20)
    with pytest.raises(Conflict, match="it is Finished: only jobs that failed or were cancelled"):
        client.retry(done)
    with pytest.raises(NotFound, match="there is no such job"):
        client.retry(1)
    with pytest.raises(NotFound, match="there is no lambda"):
        client.retry(fail(client, lambda_id)[0], lambda_=17)


def test_all_jobs_that_match_are_counted_then_worked_on(client, lambda_id):
    jobs = fail(client, lambda_id, 3)
    counted = client.count_bulk("delete", lambda_=lambda_id, kind=ErrorKind.GUEST)
    assert counted.matched == 3
    later = fail(client, lambda_id)
    seen = []
    result = client.bulk("delete", counted=counted, advance=seen.append, lambda_=lambda_id, kind="guest")
    assert (result.matched, result.changed, sum(seen)) == (3, 3, 3)
    for job in jobs:
        with pytest.raises(NotFound):
            client.job(job)
    assert [job.id for job in client.jobs(lambda_=lambda_id)] == later


def test_without_a_count_all_that_match_now_are_worked_on(client, lambda_id):
    fail(client, lambda_id, 2)
    good = client.describe_edit(args=["same"])
    assert client.bulk("retry", lambda_=lambda_id, edit=good).changed == 2
    assert client.count_bulk("retry", lambda_=lambda_id).matched == 0
    assert client.count_jobs(lambda_=lambda_id) == 4
    with pytest.raises(Invalid, match="retry is for jobs"):
        client.bulk("retry", lambda_=lambda_id, state=JobState.RUNNING)


def test_many_named_jobs_go_in_several_requests(client, lambda_id):
    jobs = [client.submit(lambda_id, status="paused") for _ in range(3)]
    result = client.bulk_ids("cancel", [*jobs, *jobs, *range(1, 300)])
    assert (result.matched, result.changed) == (3, 3)
    [refused] = result.refused
    assert (refused.message, refused.count) == ("there is no such job", 299)


@pytest.mark.slow
def test_a_request_that_is_repeated_is_the_same(script, client, lambda_id):
    """Of named jobs it has a key, and of others the cursor of a count."""
    with client.__class__(script.url) as other:
        script.answer(hang_up=True)
        script.answer(JobBulkReply(matched=1, changed=1))
        other.bulk_ids("retry", [1])
        first, again = (bodies.decode(seen.body, JobBulk, bodies.MSGPACK) for seen in script.seen)
        assert first == again
        assert first.key
        script.answer(JobBulkReply(matched=0, begin="5.-1.-1.0"))
        script.answer(JobBulkReply(matched=2, changed=2, next="5.1.1.0"))
        script.answer(JobBulkReply(matched=0))
        assert other.bulk("cancel", tag="x").changed == 2
        sent = [bodies.decode(seen.body, JobBulk, bodies.MSGPACK) for seen in script.seen[2:]]
        assert [(each.dry_run, each.cursor or None) for each in sent] == [
            (True, None), (False, "5.-1.-1.0"), (False, "5.1.1.0"),
        ]  # fmt: skip


def test_failures_are_counted(client, lambda_id):
    fail(client, lambda_id, 2)
    [failure] = client.failures(lambda_=lambda_id).failures
    assert (failure.count, failure.kind, failure.message) == (2, "guest", "no")


def test_a_selection_takes_times_in_many_forms():
    at = datetime(2026, 11, 30, 8, tzinfo=UTC)
    assert select_jobs(since=timedelta(hours=1), before=at) == JobSelection(
        since="3600.0", before=at.astimezone().isoformat()
    )
    assert to_query(select_jobs(state=JobState.FAILED, lambda_="upper", since="1h")) == {
        "state": "Fail_Execution", "lambda": "upper", "group": None, "tag": None, "tenant": None, "worker": None,
        "schedule": None, "submitter": None, "key": None, "text": None, "kind": None, "since": "1h",
            "before": None,
    }  # fmt: skip
