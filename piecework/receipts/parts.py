"""The parts of a run: the bytes that a receipt names by their digests."""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from piecework.protocol.job_files import FILES_MAX, PATH_BYTES, find_clash, is_path
from piecework.receipts.canonical import read_canonical
from piecework.receipts.errors import ReceiptError
from piecework.receipts.payload import ReceiptPayload

DIGEST = re.compile("[0-9a-f]{64}")
LIST_MAX_BYTES = FILES_MAX * (PATH_BYTES + 67)
TEXTS_MAX_BYTES = 64 * 1024 * 1024
"""The largest list of arguments, or environment, that is read."""
_args = msgspec.json.Decoder(list[str])
_env = msgspec.json.Decoder(dict[str, str])


class ReceiptPart(NamedTuple):
    """Bytes that a receipt names."""

    what: str
    """For people, such as ``the module``."""
    digest: str


def list_parts(payload: ReceiptPayload) -> list[ReceiptPart]:
    """Return what a receipt names itself; its lists of files name more."""
    subject, result = payload.claim.subject, payload.claim.result
    named = [
        ("the module", subject.module),
        ("the input", subject.input),
        ("the arguments", subject.args),
        ("the environment", subject.env),
        ("the list of its files", subject.files),
        ("the list of its inputs", subject.inputs),
        ("the journal", subject.journal),
        ("the output", result.output),
        ("the list of the files that it gave back", result.made),
    ]
    return [ReceiptPart(what, digest) for what, digest in named if digest is not None]


def list_files(payload: ReceiptPayload, read: Callable[[str, int], bytes]) -> list[ReceiptPart]:
    """Return the files that a receipt's lists name.

    ``read`` returns the bytes under a digest, up to so many. Raises ReceiptError, and what ``read`` raises.
    """
    subject, result = payload.claim.subject, payload.claim.result
    lists = [
        ("its file {!r}", "the list of its files", subject.files),
        ("its input {!r}", "the list of its inputs", subject.inputs),
        ("the file {!r} that it gave back", "the list of the files that it gave back", result.made),
    ]
    return [
        ReceiptPart(how.format(path), found)
        for how, what, digest in lists
        if digest is not None
        for path, found in read_list(read(digest, LIST_MAX_BYTES), what)
    ]


def write_list(files: Iterable[tuple[str, str]]) -> bytes:
    """Return the bytes of which ``sum_files`` gives the digest, for pairs of a path and a digest."""
    return "".join([f"{digest}  {path}\n" for path, digest in sorted(files)]).encode()


def read_list(data: bytes, what: str) -> list[tuple[str, str]]:
    """Return the paths and digests in a list of files. Raises ReceiptError that names the line."""
    try:
        lines = data.decode().split("\n")
    except UnicodeDecodeError as error:
        raise ReceiptError(f"{what} is not UTF-8: {error}") from error
    if lines.pop():
        raise ReceiptError(f"{what} does not end with its last line")
    found = []
    for n, line in enumerate(lines, 1):
        digest, path = line[:64], line[66:]
        if not DIGEST.fullmatch(digest) or line[64:66] != "  " or not is_path(path):
            raise ReceiptError(f"{what} is damaged in line {n}: {line[:100]!r} is no digest and path")
        found.append((path, digest))
    paths = [path for path, _ in found]
    if len(found) > FILES_MAX or paths != sorted(set(paths)) or find_clash(paths):
        raise ReceiptError(f"{what} is damaged: these are not the paths of up to {FILES_MAX} files, in order")
    return found


def read_args(data: bytes) -> list[str]:
    """Return the command line in a part. Raises ReceiptError."""
    return read_canonical(data, _args, "the list of arguments")


def read_env(data: bytes) -> dict[str, str]:
    """Return the environment in a part. Raises ReceiptError."""
    return read_canonical(data, _env, "the environment")
