"""The judge notices when a promise about results is broken, each by one change of the server."""

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from random import Random
from typing import Any
from unittest.mock import patch

import pytest
from history import LiveThrough
from trust import Trust

from piecework.server.services.queue.changing.doubts import Doubts
from piecework.server.services.queue.lifecycle.memo_terms import MemoTerms
from piecework.server.services.queue.trust import agreement
from piecework.server.services.queue.trust.agreement import Agreement, GivenResult, sum_result
from piecework.server.services.queue.trust.memos import Memos
from piecework.server.store.engine.tables.votes import votes as vote_rows
from piecework.server.store.queue.jobs import removal
from piecework.server.store.queue.trust import votes
from piecework.server.store.queue.trust.votes import Vote, put_vote
from piecework.server.store.records import Worker

SEEDS = [seed for seed in range(1, 60) if Trust.draw(Random(-seed))]


def forget_input(terms: MemoTerms, _input: bytes, _files: bytes) -> str:
    return hashlib.sha256(terms.text).hexdigest()


def believe_digests(given: GivenResult) -> str | None:
    digests = given.end.usage.digests if given.end.usage else None
    told = digests.output if digests and digests.output else given.output_sha256
    return sum_result(given._replace(output_sha256=told))


def put_as_agreed(connection: Any, vote: Vote) -> None:
    put_vote(connection, vote._replace(alone=False))


DELETES = tuple(
    statement
    for statement, column in zip(removal._deletes, (*removal.BELONGINGS, None), strict=True)
    if column is not vote_rows.c.job_id
)
AGREE = "agree on its result, and"
CHANGES: dict[str, tuple[Callable[[], AbstractContextManager[object]], str]] = {
    "each worker is an owner": (
        lambda: patch.object(Worker, "whose", property(lambda worker: f"worker {worker.id}")), AGREE,
    ),
    "one vote less is enough": (lambda: patch.object(agreement, "needed_votes", lambda _: 1), AGREE),
    "belief is told as agreement": (lambda: patch.object(votes, "put_vote", put_as_agreed), AGREE),
    "belief is enough for others": (lambda: patch.object(agreement, "is_kept", lambda _: False), AGREE),
    "digests are believed": (
        lambda: patch.object(agreement, "sum_result", believe_digests), "its output is not what its digest says",
    ),
    "who voted is asked again": (
        lambda: patch.object(Agreement, "_move", lambda _self, _connection, job, _tags: job), "who has voted on",
    ),
    "nobody is caught": (lambda: patch.object(votes, "note_wrong", lambda *_: None), "and was not caught"),
    "nothing is run again": (lambda: patch.object(Doubts, "recheck", lambda _: None), "were not looked at"),
    "the input decides nothing": (lambda: patch.object(MemoTerms, "find_key", forget_input), "is not remembered"),
    "equal jobs are not answered": (lambda: patch.object(Memos, "settle", lambda *_: []), "it has not ended"),
    "votes outlive their jobs": (lambda: patch.object(removal, "_deletes", DELETES), "rows of votes are left"),
}  # fmt: skip


@pytest.mark.integration
@pytest.mark.parametrize("change", CHANGES)
def test_broken_promises_about_results_are_noticed(change: str, on_sqlite: LiveThrough):
    alter, text = CHANGES[change]
    with alter():
        assert any(text in fault for seed in SEEDS for fault in on_sqlite(seed).faults)
