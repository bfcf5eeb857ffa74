"""Where the parts of a run are on a server: what it takes to make a bundle of a job."""

import hashlib
from collections.abc import Iterable, Mapping

from piecework.protocol.ids import Id
from piecework.protocol.messages import Content, JobFile, JobInfo, blob_id, given
from piecework.protocol.secrets import MASK
from piecework.receipts.canonical import encode_canonical
from piecework.receipts.claims import EMPTY_SHA256
from piecework.receipts.errors import ReceiptError
from piecework.receipts.parts import write_list
from piecework.receipts.payload import ReceiptPayload

Places = dict[str, "bytes | Id"]
"""Parts by their digests: their bytes, or the blob that has them."""


def find_places(
    payload: ReceiptPayload, info: JobInfo, inputs: Mapping[str, tuple[Id, str]], env: Mapping[str, str]
) -> Places:
    """Return where the parts of a job's run are, as far as its server says.

    ``inputs`` are the blobs with what it got from other jobs, and their digests, by the names of the files.
    ``env`` has variables whose values the server does not tell. Raises ReceiptError when they would be needed.
    """
    subject, result = payload.claim.subject, payload.claim.result
    places: Places = {EMPTY_SHA256: b""}
    output = blob_id(info.output) if isinstance(info.output, Content) else given(info.failed_output)
    for digest, blob in (
        (subject.module, info.lambda_.codex),
        (subject.input, blob_id(info.input)),
        (subject.journal, given(info.journal)),
        (result.output, output),
    ):
        if digest is not None and blob:
            places[digest] = Id(blob)
    _put(places, encode_canonical(given(info.args) or []))
    _put_env(places, subject.env, given(info.env) or {}, env)
    for listed in (given(info.files), given(info.made)):
        if listed is not None:
            _put_files(places, listed)
    _put(places, write_list((name, digest or EMPTY_SHA256) for name, (_, digest) in inputs.items()))
    places.update({digest: blob for blob, digest in inputs.values() if digest})
    return places


def _put(places: Places, data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    places.setdefault(digest, data)
    return digest


def _put_files(places: Places, listed: Iterable[JobFile]) -> None:
    _put(places, write_list((each.name, each.checksum or EMPTY_SHA256) for each in listed))
    places.update({each.checksum: each.blob for each in listed if each.checksum})


def _put_env(places: Places, digest: str, told: Mapping[str, str], env: Mapping[str, str]) -> None:
    known = {name: env.get(name, value) if value == MASK else value for name, value in told.items()}
    if _put(places, encode_canonical(known)) == digest:
        return
    hidden = [name for name, value in known.items() if value == MASK]
    if hidden:
        raise ReceiptError(
            "the job has variables whose names look secret, and its server does not tell their values: give them "
            f"with {' '.join(f'--env {name}=VALUE' for name in hidden)}"
        )
    raise ReceiptError("the environment is another than that of the receipt")
