"""Getting a job's bundle from its server: the receipt, the keys, and all parts that the receipt names."""

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from piecework.client import Client
from piecework.protocol.ids import Id
from piecework.protocol.messages import Content, JobInfo, blob_id, given
from piecework.receipts import ReceiptError, read_receipt, write_bundle
from piecework.receipts.canonical import encode_canonical
from piecework.receipts.parts import list_files, list_parts, write_list
from piecework.receipts.payload import ReceiptPayload

EMPTY = hashlib.sha256(b"").hexdigest()


class _Named(NamedTuple):
    """A blob that a job has, as its receipt may name it."""

    name: str
    blob: Id
    """0: it is empty."""
    digest: str


def save_bundle(client: Client, job: Id, path: Path) -> None:
    """Write the bundle of a job's run to a file. Safe to repeat.

    Raises NotFound, with the reason, when the job has no receipt; ReceiptError when the server has not all of it
    any more, or does not show it; OSError.
    """
    envelope = client.receipt(job)
    payload = read_receipt(envelope)
    signers = {each.keyid for each in envelope.signatures}
    keys = [key for keyid in sorted(signers) for key in client.signing_keys(keyid)]
    with tempfile.TemporaryDirectory(prefix=".bundle-", dir=path.absolute().parent) as folder:
        parts = _gather(client, client.job(job), payload, Path(folder))
        if payload.claim.subject.env not in parts:
            raise ReceiptError(
                f"job {job} has variables whose names look secret: its server does not show them, so that nobody "
                "but its submitter can put its bundle together"
            )
        write_bundle(path, envelope, keys, parts)


def _gather(client: Client, info: JobInfo, payload: ReceiptPayload, folder: Path) -> dict[str, bytes | Path]:
    """Return what a receipt names, as far as the server has it, by digest; large parts are in a folder."""
    texts = [b"", encode_canonical(given(info.args) or []), encode_canonical(given(info.env) or {})]
    lists = (_list_files(info), _list_made(info), [*_find_inputs(client, info)])
    texts += [write_list([(each.name, each.digest or EMPTY) for each in listed]) for listed in lists]
    known = {hashlib.sha256(text).hexdigest(): text for text in texts}
    named = [each for each in list_parts(payload) if each.digest in known]
    found: dict[str, bytes | Path] = {each.digest: known[each.digest] for each in named}
    wanted = {each.digest for each in list_parts(payload)}
    if all(digest in known for digest in (payload.claim.subject.files, payload.claim.subject.inputs) if digest):
        wanted |= {each.digest for each in list_files(payload, lambda digest, _most: known[digest])}
    for each in (*_find_blobs(client, info), *(one for listed in lists for one in listed)):
        if each.digest in wanted and each.digest not in found:
            target = folder / each.digest
            client.download(each.blob, target, checksum=each.digest)
            found[each.digest] = target
    if EMPTY in wanted:
        found[EMPTY] = b""
    return found


def _list_files(info: JobInfo) -> list[_Named]:
    return [_Named(each.name, each.blob, each.checksum) for each in given(info.files) or ()]


def _list_made(info: JobInfo) -> list[_Named]:
    return [_Named(each.name, each.blob, each.checksum) for each in given(info.made) or ()]


def _find_inputs(client: Client, info: JobInfo) -> Iterator[_Named]:
    """Find what a job gets from others in ``/inputs``."""
    for source in given(info.inputs) or ():
        if source.name != "-":
            output = client.job(source.job).output
            blob = blob_id(output) if isinstance(output, Content) else None
            yield _name(client, source.name, blob)


def _find_blobs(client: Client, info: JobInfo) -> Iterator[_Named]:
    """Find code, input, output and journal."""
    output = info.output if isinstance(info.output, Content) else given(info.failed_output)
    for blob in (client.lambda_(info.lambda_.id).codex, blob_id(info.input), blob_id(output), given(info.journal)):
        yield _name(client, "", blob)


def _name(client: Client, name: str, blob: Id | None) -> _Named:
    return _Named(name, blob, client.data(blob).checksum) if blob else _Named(name, Id(0), EMPTY)
