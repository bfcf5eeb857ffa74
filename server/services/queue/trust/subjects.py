"""What a job's run is of, from its row: what a receipt says of it must be the same."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from piecework.protocol.messages import Digests, Limits, Usage
from piecework.receipts.claims import (
    EMPTY_SHA256,
    NamedDigest,
    find_recorded_seed,
    find_seed,
    sum_given,
    write_limits,
)
from piecework.receipts.payload import RunSubject, sum_args, sum_env
from piecework.server.services.queue.dependencies.contents import find_inputs
from piecework.server.services.queue.lifecycle.details import merge_terms
from piecework.server.store.engine.database import Connection
from piecework.server.store.options import LambdaOptions
from piecework.server.store.queue.jobs import files
from piecework.server.store.queue.jobs.files import StoredFile
from piecework.server.store.records import Job, Lambda
from piecework.server.store.stock import blobs

NO_LIMITS = Limits()
NO_DIGESTS = Digests(module="", input="")


class KnownRun(NamedTuple):
    """What the server knows of a run."""

    profile: str | None
    """None: the lambda's runs cannot be repeated."""
    subject: Mapping[str, object]
    """The fields of its subject, but for those that only the worker knows."""
    limits: Mapping[str, object]
    """Limits that its job or lambda set; where they are silent, servers and workers have their own."""


def find_profile(options: LambdaOptions) -> str | None:
    """Return how a lambda's runs are made repeatable; None: they are not."""
    if options.record:
        return "record"
    return "deterministic" if options.deterministic else None


def find_runs(connection: Connection, found: Sequence[Job], known: Mapping[int, Lambda]) -> dict[int, KnownRun]:
    """Return what is known of the runs of some jobs, by job id."""
    codices = {each.codex for each in known.values() if each.codex_sha256 is None}
    digests = blobs.find_digests(connection, {*codices, *(job.input_id for job in found)})
    inputs = find_inputs(connection, found)
    with_folder = [job.id for job in found if job.options_json and job.options.has_folder]
    folders = files.find_files(connection, "given", with_folder) if with_folder else {}
    return {
        job.id: _describe(
            job,
            known[job.lambda_id],
            digests,
            inputs.get(job.id, ()),
            folders.get(job.id, []) if job.id in with_folder else None,
        )
        for job in found
    }


def _describe(
    job: Job,
    lambda_: Lambda,
    digests: Mapping[int, tuple[bytes, int]],
    inputs: Sequence[StoredFile],
    folder: Sequence[StoredFile] | None,
) -> KnownRun:
    terms = merge_terms(job, lambda_, NO_LIMITS)
    module = (lambda_.codex_sha256 or digests.get(lambda_.codex, (b"", 0))[0]).hex()
    input_ = digests.get(job.input_id, (b"", 0))[0].hex()
    given = _name(inputs)
    own = None if folder is None else _name([each for each in folder if each.blob_id is not None])
    profile = find_profile(lambda_.options)
    seed = find_seed(module, input_, terms.args, terms.env, given, own)
    if profile == "record":
        seed = find_recorded_seed(seed, job.id, job.lease or "")
    subject: dict[str, object] = {
        "runtime": lambda_.runtime,
        "mode": lambda_.options.mode,
        "profile": profile,
        "module": module,
        "input": input_ or EMPTY_SHA256,
        "args": sum_args(terms.args),
        "env": sum_env(terms.env),
        "files": None if own is None else sum_given(own),
        "inputs": sum_given(given) if given else None,
        "seed": seed.hex(),
        "outputs": list(job.options.outputs) if own is not None else [],
        "ok_codes": sorted({*terms.ok_codes} - {0}),
    }
    return KnownRun(profile, subject, write_limits(terms.limits))


def _name(listed: Sequence[StoredFile]) -> list[NamedDigest]:
    return [NamedDigest(each.name, each.sha256.hex()) for each in listed]


def find_subject_fault(claimed: RunSubject, run: KnownRun, usage: Usage) -> str | None:
    """Return what a receipt says of a run that the server knows otherwise; None: nothing."""
    if run.profile is None:
        return "its lambda's runs cannot be repeated: they have no receipts"
    digests = usage.digests or NO_DIGESTS
    journal = {"journal": digests.journal, "journal_cut": digests.journal_cut}
    for name, known in (*run.subject.items(), *journal.items()):
        found = getattr(claimed, name)
        if found != known:
            return f"claim.subject.{name} is {_show(found)}, and the server has {_show(known)}"
    for name, known in run.limits.items():
        found = getattr(claimed.limits, name)
        if found != known:
            return f"claim.subject.limits.{name} is {_show(found)}, and the server has {_show(known)}"
    return None


def _show(value: object) -> str:
    return "nothing" if value is None else str(value)[:100]
