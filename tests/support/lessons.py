"""Leased jobs, and prefetching that has seen some."""

import itertools

from piecework.protocol.ids import Id
from piecework.protocol.messages import Content, LeasedJob, Limits
from piecework.worker_agent.jobs.leases.outbox import ref_of

numbers = itertools.count(1)


def leased_job(**fields):
    given = {"job": Id(next(numbers)), "lease": "lease", "lease_s": 15.0, "attempt": 1, "lambda_": Id(1)}
    return LeasedJob(**{**given, "input": Content(id=Id(0)), "limits": Limits(), **fields})


def teach(prefetching, *walls_s, lambda_=1):
    """Let jobs of a lambda come with one contract, and end after these times."""
    jobs = [leased_job(lambda_=Id(lambda_)) for _ in walls_s]
    prefetching.take_up(jobs)
    for job, wall_s in zip(jobs, walls_s, strict=True):
        prefetching.observe(ref_of(job), wall_s)
        prefetching.let_go([ref_of(job)])
