"""What log lines tell of jobs."""

from lessons import leased_job

from piecework.protocol.codes import ErrorKind
from piecework.protocol.ids import Id
from piecework.protocol.messages import JobError, LeasedLambda, Outcome, Usage
from piecework.protocol.states import JobState
from piecework.worker_agent.jobs.job_logger import KNOWN_MAX, JobLogger

LAMBDAS = [
    LeasedLambda(id=Id(1), name="resize", runtime="wasi", codex=Id(0)),
    LeasedLambda(id=Id(2), runtime="wasi", codex=Id(0)),
]


def ended(job, state=JobState.FINISHED, **fields):
    return Outcome(job=job.job, lease="lease", state=state, usage=Usage(wall_s=0.5), **fields)


def test_a_job_is_told_with_its_lambda_and_the_size_of_its_input(log):
    job_logger, first, second = JobLogger(), leased_job(input_size=7), leased_job(input_size=5)
    job_logger.note_contract([first, second], LAMBDAS)
    job_logger.note_ends(
        [ended(first), ended(second, JobState.FAILED, error=JobError(kind=ErrorKind.GUEST, message="no"))]
    )
    assert log[0] == {
        "event": "contracted", "log_level": "info", "lambda": "resize", "jobs": [first.job, second.job],
        "input_bytes": 12,
    }  # fmt: skip
    assert [(line["event"], line["lambda"], line["input_bytes"]) for line in log[1:]] == [
        ("finished", "resize", 7),
        ("failed", "resize", 5),
    ]


def test_a_lambda_without_a_name_is_told_by_its_id(log):
    JobLogger().note_contract([leased_job(lambda_=Id(2)), leased_job()], LAMBDAS)
    assert [(line["lambda"], len(line["jobs"])) for line in log] == [("2", 1), ("resize", 1)]


def test_how_long_a_job_took_is_told_where_it_is_known(log):
    JobLogger().note_ends([ended(leased_job()), Outcome(job=Id(9), lease="lease", state=JobState.FINISHED)])
    assert [line.get("wall_s") for line in log] == [0.5, None]
    assert "wall_s" not in log[1]


def test_what_is_known_of_jobs_is_bounded_and_goes_with_them():
    job_logger = JobLogger()
    jobs = [leased_job() for _ in range(KNOWN_MAX + 500)]
    job_logger.note_contract(jobs, LAMBDAS)
    assert list(job_logger._known) == [job.job for job in jobs[-KNOWN_MAX:]]
    job_logger.note_ends([ended(job) for job in jobs])
    assert job_logger._known == {}
