"""What agent and server say of one run, each from what it knows: they must come to the same."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec import structs

from piecework.protocol.job_files import sum_files
from piecework.protocol.messages import Limits, Outcome, given
from piecework.protocol.messages.outcomes import JobError
from piecework.receipts.canonical import write_number
from piecework.receipts.payload import RunLimits, RunResult, RunSubject, is_comparable, sum_args, sum_env

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


class NamedDigest(NamedTuple):
    """A file that a run gets."""

    name: str
    digest: str
    """SHA-256, hex; empty for one that no blob is of: it has no bytes."""


def sum_given(files: Iterable[NamedDigest]) -> str:
    """Return the digest of the list of files that a run gets."""
    return sum_files((name, digest or EMPTY_SHA256) for name, digest in files)


def find_seed(
    module: str,
    input_: str,
    args: Iterable[str],
    env: Mapping[str, str],
    inputs: Sequence[NamedDigest],
    folder: Sequence[NamedDigest] | None,
) -> bytes:
    """Return what a deterministic run draws clock and random numbers from: the same call has the same seed.

    ``input_`` is the digest of the input, empty when there is none; ``inputs`` are the files from other jobs,
    ``folder`` those in its own directory; None: it has none.
    """
    variables = [part for item in sorted(env.items()) for part in item]
    files = [part for each in sorted(inputs) for part in each]
    own = [] if folder is None else ["/", sum_files(folder)]
    more = [*(["", *files] if files else []), *own]
    parts = [module, input_, *args, "", *variables, *more]
    return hashlib.sha256("\0".join(parts).encode()).digest()


def find_recorded_seed(seed: bytes, job: int, lease: str) -> bytes:
    """Return what a recorded run draws random numbers from; ``seed`` is what ``find_seed`` says."""
    return hashlib.sha256(seed + f"{job} {lease}".encode()).digest()


def write_limits(limits: Limits) -> dict[str, int | str]:
    """Return those of some limits that are set and that a guest can notice, as a receipt has them."""
    named = {name: getattr(limits, name) for name in RunLimits.__struct_fields__}
    return {name: write_number(value) for name, value in named.items() if value is not None}


def make_result(outcome: Outcome) -> RunResult | None:
    """Return what an outcome says of its run; None of one that cannot be repeated, or did not end."""
    digests = outcome.usage.digests
    if digests is None or outcome.state not in {"Finished", "Fail_Execution"}:
        return None
    error = given(outcome.error)
    kind = error.kind if isinstance(error, JobError) else None
    fuel = outcome.usage.fuel
    return RunResult(
        state="Finished" if outcome.state == "Finished" else "Fail_Execution",
        exit_code=given(outcome.exit_code) or 0,
        error_kind=kind,
        output=digests.output,
        made=digests.made,
        memory=digests.memory,
        fuel=None if fuel is None else write_number(fuel),
        comparable=is_comparable(kind, fuel) and not digests.journal_cut,
    )


def add_journal(subject: RunSubject, outcome: Outcome) -> RunSubject:
    """Return a subject with the journal that its run wrote, if it wrote one."""
    digests = outcome.usage.digests
    if digests is None or digests.journal is None:
        return subject
    return structs.replace(subject, journal=digests.journal, journal_cut=digests.journal_cut)


def make_subject(
    *,
    runtime: str,
    mode: str,
    profile: str,
    module: str,
    input_: str,
    args: Sequence[str],
    env: Mapping[str, str],
    inputs: Sequence[NamedDigest],
    folder: Sequence[NamedDigest] | None,
    outputs: Sequence[str],
    ok_codes: Sequence[int],
    limits: RunLimits,
    seed: bytes,
) -> RunSubject:
    """Return what a run is of. Digests as in ``find_seed``; everything else as its job and its lambda say."""
    return RunSubject(
        runtime=runtime,
        mode=mode,  # type: ignore[arg-type]  # lambdas have no others
        profile=profile,  # type: ignore[arg-type]  # whoever calls knows the two
        module=module,
        input=input_ or EMPTY_SHA256,
        args=sum_args(args),
        env=sum_env(env),
        files=None if folder is None else sum_given(folder),
        inputs=sum_given(inputs) if inputs else None,
        limits=limits,
        seed=seed.hex(),
        outputs=list(outputs),
        ok_codes=sorted({*ok_codes} - {0}),
    )
