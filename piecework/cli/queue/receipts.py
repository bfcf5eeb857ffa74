"""`piecework receipt` and `piecework bundle`: what was run and what came out, signed, with all that it names."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import rich_click as click

from piecework.cli.failures import warn
from piecework.cli.options.kinds import JOB, FileOrId, KeyValueType
from piecework.cli.remote import Remote, remote_command
from piecework.protocol.ids import Id
from piecework.protocol.messages import Envelope, SigningKeyInfo
from piecework.receipts.bundle import Bundle, is_bundle
from piecework.receipts.envelope import (
    ENVELOPE_MAX_BYTES,
    CheckedReceipt,
    read_envelope,
    read_receipt,
    verify_receipt,
    write_envelope,
)
from piecework.receipts.errors import ReceiptError
from piecework.receipts.keys import KEYS_MAX_BYTES, KeyRing, name_owner, read_keys
from piecework.receipts.payload import ReceiptPayload, result_digest, subject_digest

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
NEW_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group
def receipt() -> None:
    """Look at receipts of jobs, keep them, and check them without a server."""


@receipt.command
@click.argument("what", metavar="JOB|FILE", type=FileOrId("job"))
@remote_command
def show(remote: Remote, what: Path | Id) -> None:
    """Show what a receipt says, and whose signatures it has.

    That of a job is checked with the keys that its server tells. That of a file is only read: 'piecework receipt
    verify' checks it.
    """
    if isinstance(what, Path):
        envelope, signers = _read_file(what)[0], None
    else:
        envelope = remote.client.receipt(what)
        signers = _verify(envelope, _ask_keys(remote, envelope)).signers
    payload = _guarded(lambda: read_receipt(envelope))
    if remote.display.as_json:
        remote.display.document(_to_document(payload))
    else:
        remote.display.fields(_describe(payload) | _describe_signatures(envelope, signers))


@receipt.command
@click.argument("job_id", metavar="JOB", type=JOB)
@click.option(
    "-o", "--output", "path", metavar="FILE", type=NEW_FILE, required=True, help="Write it to this file."
)
@remote_command
def get(remote: Remote, job_id: Id, path: Path) -> None:
    """Keep the receipt of a job in a file."""
    path.write_bytes(write_envelope(remote.client.receipt(job_id)) + b"\n")
    if remote.display.as_json:
        remote.display.document({"job": str(job_id), "file": str(path)})


@receipt.command
@click.argument("file", metavar="FILE", type=FILE)
@click.option("--keys", metavar="FILE", type=FILE, help="The public keys to trust, as GET /keys answers.")
@click.option("--output", metavar="FILE", type=FILE, help="See whether this is the output.")
@click.option("--input", metavar="FILE", type=FILE, help="See whether this is the input.")
@click.option("--module", metavar="FILE", type=FILE, help="See whether this is the code.")
@remote_command
def verify(remote: Remote, file: Path, keys: Path | None, **files: Path | None) -> None:
    """Check a receipt or a bundle, without a server.

    The exit code is 0 when all is well and 1 when something is not. The keys in a bundle prove nothing: whoever
    made the bundle chose them. Keep those of a server that you trust, and give them with --keys.
    """
    checked = _guarded(lambda: _check_all(file, keys, files))
    payload = checked.payload
    if remote.display.as_json:
        remote.display.document(_to_document(payload))
        return
    names = " and ".join(f"{name_owner(key)} (key {key.keyid})" for key in checked.signers)
    remote.display.line(f"good: job {payload.job}, {payload.claim.result.state}, signed by {names}")
    if keys is None:
        warn("the keys came with the bundle: give those that you trust with --keys")


@click.command
@click.argument("job_id", metavar="JOB", type=JOB)
@click.option(
    "-o", "--output", "path", metavar="FILE", type=NEW_FILE, required=True, help="Write it to this file."
)
@click.option(
    "--env", type=KeyValueType(), multiple=True, help="A variable of the job whose value the server hides."
)
@remote_command
def bundle(remote: Remote, job_id: Id, path: Path, env: Sequence[tuple[str, str]]) -> None:
    """Put a job's receipt, and all that it names, into one file.

    Code, input, arguments, variables, files, output and journal are in there: 'piecework replay' does the run
    again from it, anywhere.
    """
    envelope = _guarded(lambda: remote.client.bundle(job_id, path, env=dict(env)))
    _verify(envelope, _ask_keys(remote, envelope))
    if remote.display.as_json:
        remote.display.document({"job": str(job_id), "file": str(path), "bytes": path.stat().st_size})
    else:
        warn(f"wrote {path}, {path.stat().st_size:,} bytes")


def _guarded(work: Any) -> Any:
    """Do something; what is wrong with a receipt ends the command."""
    try:
        return work()
    except ReceiptError as error:
        raise click.ClickException(f"{error}.") from error


def _verify(envelope: Envelope, keys: KeyRing) -> CheckedReceipt:
    checked: CheckedReceipt = _guarded(lambda: verify_receipt(envelope, keys))
    return checked


def _ask_keys(remote: Remote, envelope: Envelope) -> KeyRing:
    ids = dict.fromkeys(each.keyid for each in envelope.signatures)
    found = [key for keyid in ids for key in remote.client.signing_keys(keyid)]
    ring: KeyRing = _guarded(lambda: KeyRing(found))
    return ring


def _read_file(file: Path) -> tuple[Envelope, KeyRing | None]:
    """Return the receipt in a file, and the keys that came along."""

    def read() -> tuple[Envelope, KeyRing | None]:
        with file.open("rb") as opened:
            start = opened.read(ENVELOPE_MAX_BYTES + 1)
        if not is_bundle(start):
            return read_envelope(start, str(file)), None
        with Bundle(file) as whole:
            whole.check_parts()
            return whole.envelope, whole.keys

    found: tuple[Envelope, KeyRing | None] = _guarded(read)
    return found


def _check_all(file: Path, keys: Path | None, files: dict[str, Path | None]) -> CheckedReceipt:
    envelope, own = _read_file(file)
    if keys is None and own is None:
        raise click.UsageError("a receipt has no keys in it: give those that you trust with --keys.")
    ring = own if keys is None else _read_keys(keys)
    assert ring is not None
    checked = verify_receipt(envelope, ring)
    claim = checked.payload.claim
    told = {"output": claim.result.output, "input": claim.subject.input, "module": claim.subject.module}
    for what, path in files.items():
        if path is not None:
            _compare(what, path, told[what])
    return checked


def _read_keys(path: Path) -> KeyRing:
    with path.open("rb") as file:
        return read_keys(file.read(KEYS_MAX_BYTES + 1), str(path))


def _compare(what: str, path: Path, digest: str | None) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if digest is None:
        raise ReceiptError(f"the receipt tells of no {what}: the guest did not end by itself")
    if found != digest:
        raise ReceiptError(f"{path} is not the {what}: its digest is {found}, and that of the receipt {digest}")


def _to_document(payload: ReceiptPayload) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(payload)
    claim = payload.claim
    digests = {"subject_digest": subject_digest(claim.subject), "result_digest": result_digest(claim.result)}
    return fields | digests


def _describe(payload: ReceiptPayload) -> dict[str, object]:
    subject, result, engine = payload.claim.subject, payload.claim.result, payload.engine
    limits = msgspec.to_builtins(subject.limits)
    digests = {name: getattr(subject, name) for name in ("module", "input", "args", "env", "files", "inputs")}
    digests |= {"journal": subject.journal}
    digests |= {name: getattr(result, name) for name in ("output", "made", "memory")}
    digests |= {"interpreter": engine.interpreter}
    return {
        "job": payload.job,
        "attempt": payload.attempt,
        "lambda": payload.lambda_,
        "worker": payload.worker,
        "state": result.state,
        "error": result.error_kind,
        "exit code": result.exit_code,
        "comparable": "yes" if result.comparable else "no: how it ended depends on the machine",
        "runtime": subject.runtime,
        "profile": subject.profile,
        "limits": ", ".join(f"{name} {value}" for name, value in limits.items()),
        "fuel": result.fuel,
        **{f"SHA-256 of {name}": digest for name, digest in digests.items()},
        "seed": subject.seed,
        "subject": subject_digest(subject),
        "result": result_digest(result),
        "engine": f"{engine.name} {engine.version}, {engine.strategy}, {engine.opt_level}",
    }


def _describe_signatures(envelope: Envelope, signers: Sequence[SigningKeyInfo] | None) -> dict[str, object]:
    if signers is None:
        return {
            f"signature {n}": f"key {each.keyid}, not checked" for n, each in enumerate(envelope.signatures, 1)
        }
    return {f"signature {n}": f"good, {name_owner(key)}, key {key.keyid}" for n, key in enumerate(signers, 1)}
