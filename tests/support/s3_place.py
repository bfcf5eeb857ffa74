"""A bucket of a real S3 server as a place for blobs, and what tests do to it behind a store's back."""

import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from io import BufferedRandom
from pathlib import Path
from typing import Any

import pytest
from s3_server import BUCKET, READER_KEY, READER_SECRET, S3Server

from piecework.server.blobs.bucket import Bucket
from piecework.server.logs import Condition
from piecework.server.settings import BlobPlace
from server.blobs.s3 import S3Store, name_of

NUMBERS = itertools.count()


class S3Place:
    """A prefix of its own in the bucket of a server."""

    def __init__(self, server: S3Server, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self._monkeypatch = monkeypatch
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        self.place = BlobPlace(BUCKET, f"test-{os.getpid()}-{next(NUMBERS)}/")
        self._ages: dict[str, float] = {}
        """How much older than they are objects are said to be, and uploads by their id, seconds."""
        self._buckets: list[Bucket] = []
        self.bucket = self._open_bucket(Condition("away", "back"), 1, 30)

    def open(self, limit_bytes: int = 1 << 40, monotonic: Callable[[], float] = time.monotonic) -> S3Store:
        """Return a store over this place, as one of several servers has it."""
        return S3Store(self._open_bucket, self.root, limit_bytes, monotonic)

    def count(self) -> int:
        """Return how many things lie there: blobs, and what was left of others."""
        return len([*self.bucket.walk(), *self.bucket.walk_uploads(), *self.root.glob("*")])

    def age(self, seconds: float) -> None:
        """Make all that is there so much older."""
        for name in [
            *(each.key for each in self.bucket.walk()),
            *(each.upload for each in self.bucket.walk_uploads()),
        ]:
            self._ages[name] = self._ages.get(name, 0) + seconds

    def lose(self, sha256: bytes) -> None:
        """Take a blob away."""
        self.bucket.delete(name_of(sha256))

    def damage(self, sha256: bytes) -> None:
        """Change a byte of a blob."""
        key = {"Bucket": BUCKET, "Key": f"{self.place.prefix}{name_of(sha256)}"}
        content = self.bucket._client.get_object(**key)["Body"].read()
        self.bucket._client.put_object(**key, Body=content[:-1] + b"?")

    def die_in_upload(self) -> None:
        """Leave what a server leaves that dies while it stores a blob."""
        key = {"Bucket": BUCKET, "Key": f"{self.place.prefix}{name_of(bytes(32))}"}
        upload = self.bucket._client.create_multipart_upload(**key)["UploadId"]
        self.bucket._client.upload_part(**key, UploadId=upload, PartNumber=1, Body=b"the first part")

    @contextmanager
    def full(self) -> Iterator[None]:
        """Let nothing more be stored: blobs on their way go to a device that is always full."""

        def open_file(_: S3Store) -> BufferedRandom:
            return Path("/dev/full").open("w+b")

        with self._monkeypatch.context() as patch:
            patch.setattr(S3Store, "open_file", open_file)
            yield

    @contextmanager
    def unwritable(self) -> Iterator[None]:
        """Let nothing be stored, for another reason than a full disk: the key may only read."""
        keys = [each._client._request_signer._credentials for each in self._buckets]
        before = [(key.access_key, key.secret_key) for key in keys]
        for key in keys:
            key.access_key, key.secret_key = READER_KEY, READER_SECRET
        yield
        for key, pair in zip(keys, before, strict=True):
            key.access_key, key.secret_key = pair

    @contextmanager
    def at_each_flush(self, call: Callable[[], None]) -> Iterator[None]:
        """Call something before each time when a blob is stored, or is looked at whether it is."""

        def handle(model: Any, **_: object) -> None:
            if model.name in {"PutObject", "ListObjectsV2"}:
                call()

        for each in self._buckets:
            each.events.register("before-call.s3", handle)
        yield
        for each in self._buckets:
            each.events.unregister("before-call.s3", handle)

    def _open_bucket(self, away: Condition, attempts: int, answer_s: int) -> Bucket:
        bucket = Bucket(self.place, away, attempts, answer_s, virtual_hosts=False)
        bucket.events.register("before-parameter-build.s3", self._note)
        bucket.events.register("after-call.s3", self._age_answer)
        self._buckets.append(bucket)
        return bucket

    def _note(self, params: dict[str, Any], model: Any, context: dict[str, Any], **_: object) -> None:
        context["of"] = params.get("UploadId") or params.get("Key", "").removeprefix(self.place.prefix)
        if model.name in {"PutObject", "CompleteMultipartUpload"}:
            self._ages.pop(params["Key"].removeprefix(self.place.prefix), None)

    def _age_answer(self, parsed: dict[str, Any], context: dict[str, Any], **_: object) -> None:
        of = context.get("of", "")
        for each in [parsed, *parsed.get("Contents", ()), *parsed.get("Uploads", ()), *parsed.get("Parts", ())]:
            name = each.get("UploadId") or each.get("Key", "").removeprefix(self.place.prefix) or of
            for field in {"LastModified", "Initiated"} & each.keys():
                each[field] -= timedelta(seconds=self._ages.get(name, 0))
