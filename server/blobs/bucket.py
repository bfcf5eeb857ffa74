"""One bucket of an S3 server, as the store of large blobs uses it. Only this file knows botocore."""

import io
import os
from base64 import b64encode
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple, Protocol

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.loaders import create_loader

from piecework.server.blobs.refusals import explain
from piecework.server.errors import BlobNotFound, BlobsAway, ServerError
from piecework.server.logs import Condition
from piecework.server.settings import BlobPlace

MULTIPART_BYTES = 64 << 20
"""What is larger goes in parts."""
PART_BYTES = 16 << 20
PARTS_MAX = 10_000
"""S3 takes no more of one object."""
PARTS_AT_ONCE = 4
CONNECTIONS_MAX = 128
"""Of one server that stay open; requests of more threads at once get connections of their own."""
CONNECT_S = 5
REGIONS = ["AWS_REGION", "AWS_DEFAULT_REGION"]
NO_REGION = "us-east-1"
"""What servers that have no regions take."""


class StoredObject(NamedTuple):
    """An object in the bucket, or an upload in parts that has not ended."""

    key: str
    size: int
    modified_at: float
    """When it was stored, or began, seconds since 1970."""
    upload: str = ""
    """S3's name of an upload in parts."""


class ObjectStream(Protocol):
    """The bytes of an object on their way."""

    def read(self, amt: int | None = None) -> bytes:
        """Return so many bytes or fewer; b"" at the end."""

    def close(self) -> None:
        """Let go of the connection."""


class Bucket:
    """What is stored in a bucket under a prefix. Safe to use from several threads.

    All methods raise BlobsAway, or BlobsRefused when somebody must change something first.
    """

    def __init__(
        self, place: BlobPlace, away: Condition, attempts: int, answer_s: int, *, virtual_hosts: bool
    ) -> None:
        """``away`` is told of failures; ``attempts``: how often a request is tried; ``answer_s``: how long each.

        Where S3 is, and the keys for it, botocore finds in the AWS_… variables, AWS's files or the machine's role.
        """
        self.place = place
        self._away = away
        session = botocore.session.Session(session_vars={"region": ("region", REGIONS, NO_REGION, None)})
        session.register_component("data_loader", _open_loader())
        with self._failures_translated():
            self._client: Any = session.create_client(
                "s3", config=_configure(virtual_hosts=virtual_hosts, attempts=attempts, answer_s=answer_s)
            )
            endpoint = self._client.meta.endpoint_url
            self._of = {"Bucket": place.bucket}
        self.endpoint = endpoint

    @property
    def events(self) -> Any:
        """What tests hook into: botocore's events of requests."""
        return self._client.meta.events

    def put(self, key: str, file: io.BufferedRandom, size: int) -> None:
        """Store a file's bytes under a key, at one stroke, once S3 has checked them."""
        with self._failures_translated():
            if size > MULTIPART_BYTES:
                self._put_parts(key, file.fileno(), size)
            else:
                self._ask("put_object", Key=self._name(key), Body=_Section(file.fileno(), 0, size))

    def get(self, key: str, begin: int, end: int | None) -> tuple[ObjectStream, int]:
        """Return the bytes of an object from ``begin`` to before ``end``, and the size of the whole.

        Raises BlobNotFound.
        """
        empty: ObjectStream = io.BytesIO()
        if end is not None and end <= begin:
            return empty, self._get_size(key)
        part = {} if begin == 0 and end is None else {"Range": f"bytes={begin}-{'' if end is None else end - 1}"}
        with self._failures_translated():
            try:
                answer = self._ask("get_object", Key=self._name(key), **part)
            except ClientError as error:
                if _code(error) == "NoSuchKey":
                    raise BlobNotFound from error
                if _code(error) != "InvalidRange":
                    raise
                return empty, self._get_size(key)
        size = answer["ContentRange"].rpartition("/")[2] if part else answer["ContentLength"]
        return answer["Body"], int(size)

    def find(self, key: str) -> StoredObject | None:
        """Return what is stored under a key; None when nothing is."""
        with self._failures_translated():
            try:
                answer = self._ask("head_object", Key=self._name(key))
            except ClientError as error:
                if _code(error) != "404":
                    raise
                return None
        return StoredObject(key, answer["ContentLength"], answer["LastModified"].timestamp())

    def walk(self, start: str = "") -> Iterator[StoredObject]:
        """Give what is stored under keys that begin so."""
        for page in self._pages("list_objects_v2", Prefix=self._name(start)):
            for each in page.get("Contents", ()):
                yield StoredObject(self._key(each["Key"]), each["Size"], each["LastModified"].timestamp())

    def walk_uploads(self) -> Iterator[StoredObject]:
        """Give the uploads in parts that have not ended, with the time at which the last part came."""
        for page in self._pages("list_multipart_uploads", Prefix=self._name("")):
            for each in page.get("Uploads", ()):
                began_at: datetime = each["Initiated"]
                of = {"Key": each["Key"], "UploadId": each["UploadId"]}
                parts = [part for page in self._pages("list_parts", **of) for part in page.get("Parts", ())]
                last_at = max([began_at, *(part["LastModified"] for part in parts)])
                size = sum(part["Size"] for part in parts)
                yield StoredObject(self._key(each["Key"]), size, last_at.timestamp(), each["UploadId"])

    def delete(self, key: str) -> None:
        """Remove what is stored under a key. Safe to repeat."""
        with self._failures_translated():
            self._ask("delete_object", Key=self._name(key))

    def abort(self, upload: StoredObject) -> None:
        """Forget an upload in parts. Safe to repeat."""
        with self._failures_translated(), suppress(self._client.exceptions.NoSuchUpload):
            self._ask("abort_multipart_upload", Key=self._name(upload.key), UploadId=upload.upload)

    def sign_get(self, key: str, seconds: int) -> str:
        """Return a URL that gives an object for so long."""
        return self._sign("get_object", seconds, Key=self._name(key))

    def sign_put(self, key: str, size: int, sha256: bytes, seconds: int) -> tuple[str, list[str]]:
        """Return a URL, and headers, with which an object of these bytes and no others can be put for so long."""
        checksum = b64encode(sha256).decode()
        url = self._sign("put_object", seconds, Key=self._name(key), ContentLength=size, ChecksumSHA256=checksum)
        return url, [f"x-amz-checksum-sha256: {checksum}"]

    def takes_wrong_digest(self, key: str) -> bool:
        """Return whether S3 stores bytes although their digest is said to be another."""
        with self._failures_translated():
            try:
                self._ask(
                    "put_object", Key=self._name(key), Body=b"bytes", ChecksumSHA256=b64encode(bytes(32)).decode()
                )
            except ClientError as error:
                if _code(error) in {"AccessDenied", "NoSuchBucket"} or _status(error) >= 500:
                    raise
                return False
        return True

    @contextmanager
    def stream_translated(self) -> Iterator[None]:
        """Raise BlobsAway when reading a stream fails in the block."""
        with self._failures_translated(is_answer=False):
            yield

    def _put_parts(self, key: str, descriptor: int, size: int) -> None:
        of = {"Key": self._name(key)}
        of["UploadId"] = self._ask("create_multipart_upload", **of)["UploadId"]
        step = max(PART_BYTES, -(-size // PARTS_MAX))

        def put(number: int, begin: int) -> dict[str, object]:
            body = _Section(descriptor, begin, min(begin + step, size))
            return {
                "PartNumber": number,
                "ETag": self._ask("upload_part", PartNumber=number, Body=body, **of)["ETag"],
            }

        try:
            with ThreadPoolExecutor(PARTS_AT_ONCE) as pool:
                parts = list(pool.map(put, *zip(*enumerate(range(0, size, step), 1), strict=True)))
            self._ask("complete_multipart_upload", MultipartUpload={"Parts": parts}, **of)
        except BaseException:
            with suppress(BotoCoreError, ClientError):  # a sweep finds it later
                self._ask("abort_multipart_upload", **of)
            raise

    def _get_size(self, key: str) -> int:
        found = self.find(key)
        if found is None:
            raise BlobNotFound
        return found.size

    def _ask(self, operation: str, **parameters: Any) -> Any:
        return getattr(self._client, operation)(**self._of, **parameters)

    def _sign(self, operation: str, seconds: int, **parameters: Any) -> str:
        with self._failures_translated(is_answer=False):
            url: str = self._client.generate_presigned_url(
                operation, Params=self._of | parameters, ExpiresIn=seconds
            )
        return url

    def _pages(self, operation: str, **parameters: Any) -> Iterable[dict[str, Any]]:
        pages = iter(self._client.get_paginator(operation).paginate(**self._of, **parameters))
        while True:
            with self._failures_translated():
                page = next(pages, None)
            if page is None:
                return
            yield page

    def _name(self, key: str) -> str:
        return self.place.prefix + key

    def _key(self, name: str) -> str:
        return name.removeprefix(self.place.prefix)

    @contextmanager
    def _failures_translated(self, *, is_answer: bool = True) -> Iterator[None]:
        try:
            yield
        except (ClientError, BotoCoreError, HTTPClientError, ValueError) as error:
            ours = explain(error, self.place, getattr(self, "endpoint", ""))
            self._away.begin(ours)
            raise ours from error
        except BlobsAway as error:
            self._away.begin(error)
            raise
        except ServerError:
            self._away.end()
            raise
        if is_answer:
            self._away.end()


@cache
def _open_loader() -> Any:
    """Return what reads botocore's description of S3, which takes a tenth of a second, once."""
    return create_loader()


def _configure(*, virtual_hosts: bool, attempts: int, answer_s: int) -> Config:
    return Config(
        connect_timeout=CONNECT_S,
        read_timeout=answer_s,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=CONNECTIONS_MAX,
        signature_version="s3v4",
        # The digest of each body is signed, which every server checks; other checksums not every one knows.
        s3={"payload_signing_enabled": True, "addressing_style": "virtual" if virtual_hosts else "path"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


class _Section:
    """A part of a file, with a place of its own in it, as botocore reads bodies."""

    def __init__(self, descriptor: int, begin: int, end: int) -> None:
        self._descriptor, self._begin, self._end, self._at = descriptor, begin, end, begin

    def read(self, size: int = -1) -> bytes:
        left = self._end - self._at
        data = os.pread(self._descriptor, left if size < 0 else min(size, left), self._at)
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: self._begin, io.SEEK_CUR: self._at, io.SEEK_END: self._end}[whence]
        self._at = start + offset
        return self.tell()

    def tell(self) -> int:
        return self._at - self._begin
