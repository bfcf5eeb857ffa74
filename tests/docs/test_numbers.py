"""Numbers that the prose repeats are those of the code."""

import inspect

import pytest

from piecework.backoff import Pauses
from piecework.http.serving import FILES_MAX
from piecework.protocol.messages import Backoff
from piecework.server.services.queue.leasing.contracts import MARGIN_S, UNSEEN_S
from piecework.server.services.queue.leasing.turns import LOOK_AHEAD
from piecework.server.services.queue.reading.jobs import IDS_MAX
from piecework.server.services.queue.submitting.jobspecs import ATTEMPTS_MAX, KEY_LENGTH, TEXT_MAX_BYTES
from piecework.server.services.queue.waiting.pauses import SAFE_S
from piecework.server.services.stock.lambdas import TAGS_MAX
from piecework.server.services.stock.workers import GONE_MS, TOUCH_MS
from piecework.server.serving import CONNECTIONS_PER_WAITER, STOP_TIMEOUT_S
from piecework.server.settings import Settings
from piecework.server.store.engine.connections import CONNECTIONS
from piecework.server.web.paging import DEFAULT_LIMIT
from piecework.worker_agent.config.settings import Settings as AgentSettings
from piecework.worker_agent.guests.executor import COMPILED_BYTES, Executor
from piecework.worker_agent.jobs.job_logger import LINES_MAX
from piecework.worker_agent.jobs.leases.prefetching import STUCK_S, WORK_AHEAD_S
from piecework.worker_agent.jobs.loops.heartbeat import INTERVAL_MAX_S
from piecework.worker_agent.runtimes.sandbox import TABLE_ELEMENTS, TABLES

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
SERVER = Settings()
AGENT = AgentSettings()
LIMITS = f"{SERVER.memory_bytes // MIB} MiB, {SERVER.output_bytes // MIB} MiB, {SERVER.log_bytes // KIB} KiB"


def default_of(function, name):
    return inspect.signature(function).parameters[name].default


SENTENCES = {
    "docs/queue.md": [
        f"It ends {SERVER.lease_s:g} seconds after the last heartbeat",
        f"seems to wait: within {UNSEEN_S:g} s",
        f"The budget for workers** (`PIECEWORK_VANISHED_MAX`, {SERVER.vanished_max})",
        f"`PIECEWORK_WORKER_DRAIN_TIMEOUT_S` ({AGENT.drain_timeout_s:g} s)",
        f"only, {LOOK_AHEAD} more than are wanted",
        f"| 1 to {ATTEMPTS_MAX} | {SERVER.max_attempts} |",
        f"| wall time of an attempt | {SERVER.timeout_s:g} s |",
        f"| {LIMITS}, not counted |",
        f"| {Backoff().kind}, {Backoff().base_s:g} s, {Backoff().cap_s:g} s |",
        f"work for about {WORK_AHEAD_S * 1000:g} ms",
        f"nothing has ended in the agent for {STUCK_S * 1000:g} ms",
        f"growing pauses, {default_of(Pauses, 'longest_s'):g} s at most",
    ],
    "docs/protocol.md": [
        f"at most {SERVER.body_max_bytes // MIB} MiB and a blob at most {SERVER.blob_max_bytes // GIB} GiB",
        f'"Few" is {SERVER.answer_inline_max_bytes // MIB} MiB',
        f"At most {SERVER.bulk_max:,} jobs fit into one request, {TAGS_MAX} tags on a job",
        f"{KEY_LENGTH} characters into a key",
        f"{TEXT_MAX_BYTES // KIB} KiB of text",
        f"reads those jobs, {IDS_MAX} at most",
        f"({DEFAULT_LIMIT} unless given, at most {SERVER.page_max})",
        f"`max` is at most {SERVER.contract_max}",
        f"`timeout` less {MARGIN_S:g} s (less a quarter, when it is short)",
        f"and {SERVER.poll_max_s - MARGIN_S:g} s |",
        f"`timeout`, and {SERVER.wait_max_s:g} s",
        f"When {SERVER.waiters_max} requests are held",
        f"less than {SAFE_S:g} s ago",
        f"`lease_s` is {UNSEEN_S:g} until",
        f"holds `lease_s` seconds, {SERVER.lease_s:g} unless",
        f"holds {SERVER.lease_s:g} s only",
        f"one of {SERVER.legacy_lease_s:g} s",
    ],
    "docs/operations.md": [
        f"{SERVER.waiters_max} at most (`PIECEWORK_WAITERS_MAX`)",
        f"{SERVER.request_threads} threads (`PIECEWORK_REQUEST_THREADS`)",
        f"its own limit to {FILES_MAX:,} if it may",
        f"uses at most {CONNECTIONS + 1} connections",
        f"above {LINES_MAX} a second they are only counted",
        f"others get {STOP_TIMEOUT_S} s",
        f"up to {COMPILED_BYTES // GIB} GiB",
        f"blobs up to {SERVER.inline_max_bytes // KIB} KiB",
    ],
    "docs/guests.md": [
        f"If it does not stop within {default_of(Executor, 'grace_s'):g} s",
        f"more than {TABLE_ELEMENTS:,} elements, more than {TABLES} tables",
    ],
}


@pytest.mark.parametrize("document", SENTENCES)
def test_numbers_in_the_prose_are_those_of_the_code(documents, document):
    text = " ".join(documents[document].split())
    assert [sentence for sentence in SENTENCES[document] if sentence not in text] == []


def test_numbers_that_the_prose_writes_as_words_are_those_of_the_code():
    assert INTERVAL_MAX_S == 5  # "every five seconds at most", "within five seconds"
    assert CONNECTIONS_PER_WAITER == 4  # "four for each agent"
    assert (GONE_MS, TOUCH_MS) == (60_000, 5_000)  # "not heard of for a minute", "to within 5 s"
    assert default_of(Executor, "load_s") == 120  # "more than two minutes to compile"
    assert AGENT.stall_exit_s == 300  # "dead for five minutes"
