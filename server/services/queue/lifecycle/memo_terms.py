"""What decides the result of a deterministic job, and what two runs of one have alike. No input or output."""

import hashlib
from typing import NamedTuple

import msgspec

from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import Limits, Usage, Verify
from piecework.protocol.states import JobState
from piecework.server.services.queue.lifecycle.details import merge_options
from piecework.server.store.engine.statements import to_json
from piecework.server.store.options import JobOptions
from piecework.server.store.records import KeptUsage, Lambda

REPEATABLE = frozenset({ErrorKind.GUEST, ErrorKind.TRAP, ErrorKind.FUEL, ErrorKind.OUTPUT})
"""Kinds of failures that a deterministic guest brings about again, on any node."""
VERSION = 1
"""Of what keys are made of."""


class MemoTerms(NamedTuple):
    """What decides the results of alike jobs, but for their inputs and files."""

    text: bytes
    code_sha256: str
    """Hex."""
    is_verified: bool
    """Owners of workers must agree on them."""

    def find_key(self, input_sha256: bytes, files: bytes) -> str:
        """Return the key for an input, empty bytes for none, and the digest of files."""
        return hashlib.sha256(b"\0".join((self.text, files.hex().encode(), input_sha256))).hexdigest()


class Facts(NamedTuple):
    """What two runs of one job must have alike."""

    state: str
    kind: str
    """Why it failed; empty when it did not."""
    exit_code: int
    output: str | None
    memory: str | None
    fuel: int | None

    def differs_in(self, other: "Facts") -> str:
        """Name what is not alike; empty when all is."""
        names = ("end", "kind of failure", "exit code", "output", "memory", "fuel")
        return ", ".join(name for name, mine, theirs in zip(names, self, other, strict=True) if mine != theirs)


def needed_votes(verify: Verify) -> int:
    """Return how many owners must give a result alike, unless one of them is believed."""
    return verify.quorum or 2


def find_memo_terms(lambda_: Lambda, options: JobOptions, tenant: str, defaults: Limits) -> MemoTerms | None:
    """Return what decides the results of jobs; None when they are not kept."""
    if not lambda_.options.memo or lambda_.codex_sha256 is None or options.outputs or options.has_files:
        return None
    terms, code = merge_options(options, lambda_, defaults), lambda_.codex_sha256.hex()
    parts: tuple[object, ...] = (
        VERSION, tenant, code, lambda_.runtime, lambda_.options.mode, terms.args, terms.env,
        msgspec.structs.replace(terms.limits, timeout_s=None, log_bytes=None), terms.ok_codes, options.has_folder,
    )  # fmt: skip
    if verify := lambda_.options.verify:  # what was accepted on fewer words is not enough
        parts = (*parts, needed_votes(verify), verify.diverse)
    return MemoTerms(msgspec.json.encode(parts, order="deterministic"), code, is_verified=verify is not None)


def read_facts(state: str | None, error_json: str | None, usage_json: str | None) -> Facts | None:
    """Return what another run of the job would have, too; None when that is not known, or may differ."""
    usage = msgspec.json.decode(usage_json, type=KeptUsage) if usage_json else None
    if state is None or usage is None or usage.digests is None or usage.fuel is None:
        return None
    kind = job_error_kind(error_json) if state == JobState.FAILED else ""
    if state == JobState.FINISHED:
        is_whole = usage.digests.output is not None
    else:
        is_whole = state == JobState.FAILED and kind in REPEATABLE
    if not is_whole:
        return None
    return Facts(state, kind, usage.exit_code, usage.digests.output, usage.digests.memory, usage.fuel)


def job_error_kind(error_json: str | None) -> str:
    """Return why a job failed; empty when it did not."""
    return msgspec.json.decode(error_json)["kind"] if error_json else ""


def without_times(usage_json: str | None) -> str | None:
    """Return what a job used, but for its times: nobody runs what is answered."""
    if usage_json is None:
        return None
    usage: Usage = msgspec.json.decode(usage_json, type=KeptUsage)
    return to_json(msgspec.structs.replace(usage, wall_s=None, cpu_s=None))
