"""What is true of blobs in S3 alone: keys, parts, faults of the server and on the way, bytes that changed."""

import hashlib
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import botocore.auth
import pytest
from patience import LONG_S
from relay import Relay
from s3_place import S3Place
from s3_server import BUCKET, SECRET, S3Server, run_s3
from structlog.testing import capture_logs

from piecework.server.blobs import BlobStore, Received, bucket as bucket_module, check_places, s3
from piecework.server.blobs.bucket import Bucket
from piecework.server.errors import BlobDamaged, BlobNotFound, BlobsAway, BlobsRefused
from piecework.server.logs import Condition
from piecework.server.settings import BlobPlace, Settings
from server.blobs.s3 import MARK_S, QUIET_S, name_of

pytestmark = pytest.mark.integration
HOUR_S = 3600.0
MB = 1 << 20
CONTENT = bytes(range(256)) * 400


@pytest.fixture
def place(s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> S3Place:
    return S3Place(s3_server, tmp_path / "incoming", monkeypatch)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[S3Server]:
    """A server that a test may kill."""
    try:
        with run_s3(tmp_path / "s3") as server:
            yield server
    except LookupError as error:
        pytest.skip(str(error))


def put(store: BlobStore, content: bytes = CONTENT) -> Received:
    with store.receive(0) as writer:
        writer.write(content)
        return writer.finish()


def get(store: BlobStore, sha256: bytes) -> bytes:
    with store.open(sha256) as reader:
        return reader.read()


def overwrite(server: S3Server, place: S3Place, sha256: bytes, content: bytes) -> None:
    """Put other bytes under a blob's key."""
    server.client.put_object(Bucket=BUCKET, Key=place.place.prefix + name_of(sha256), Body=content)


# --- Parts ---


def test_a_large_blob_goes_in_parts_and_comes_back_whole(place: S3Place, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bucket_module, "MULTIPART_BYTES", 6 * MB)
    monkeypatch.setattr(bucket_module, "PART_BYTES", 5 * MB)
    store, content = place.open(), os.urandom(13 * MB + 7)
    received = put(store, content)
    assert received == Received(hashlib.sha256(content).digest(), len(content), None)
    assert get(store, received.sha256) == content
    with store.open(received.sha256, 5 * MB - 3, 5 * MB + 3) as reader:
        assert reader.read() == content[5 * MB - 3 : 5 * MB + 3]
    assert place.count() == 1


def test_parts_that_are_refused_leave_nothing(place: S3Place, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bucket_module, "MULTIPART_BYTES", 6 * MB)
    monkeypatch.setattr(bucket_module, "PART_BYTES", 5 * MB)
    store = place.open()

    def cut(params, **_):
        if params["PartNumber"] == 2:
            raise OSError(5, "Input/output error")

    for each in place._buckets:
        each.events.register("before-parameter-build.s3.UploadPart", cut)
    with pytest.raises(OSError, match="Input/output"):
        put(store, bytes(13 * MB))
    assert place.count() == 0


def test_an_upload_in_parts_that_goes_on_is_not_swept(place: S3Place):
    store = place.open()
    place.die_in_upload()
    place.age(HOUR_S)
    [upload] = place.bucket.walk_uploads()
    key = {"Bucket": BUCKET, "Key": place.place.prefix + upload.key, "UploadId": upload.upload}
    place.bucket._client.upload_part(**key, PartNumber=2, Body=b"more")
    place._ages.clear()
    assert (store.sweep(HOUR_S, lambda _: False), place.count()) == (0, 1)


# --- Removing, beside uploads ---


def test_a_blob_that_comes_between_the_last_look_and_its_removal_is_stored_again(
    place: S3Place, monkeypatch: pytest.MonkeyPatch
):
    sweeping, storing = place.open(), place.open()
    sha256 = put(sweeping).sha256
    place.age(HOUR_S)
    looked, stored = threading.Event(), threading.Event()
    delete, put_object = Bucket.delete, Bucket.put

    def wait_and_delete(bucket: Bucket, key: str) -> None:
        if key == name_of(sha256):
            looked.set()
            stored.wait(LONG_S)
        delete(bucket, key)

    def put_and_let_go(bucket: Bucket, key: str, *what: Any) -> None:
        put_object(bucket, key, *what)
        if key == name_of(sha256) and not stored.is_set():
            stored.set()
            assert sweep.result(LONG_S) == 1

    with ThreadPoolExecutor() as pool:
        monkeypatch.setattr(Bucket, "delete", wait_and_delete)
        sweep = pool.submit(sweeping.sweep, HOUR_S, lambda _: False)
        assert looked.wait(LONG_S)
        monkeypatch.setattr(Bucket, "put", put_and_let_go)
        put(storing)
    assert (get(storing, sha256), place.count()) == (CONTENT, 1)


def test_who_stores_waits_for_a_removal_and_stores_again(place: S3Place, monkeypatch: pytest.MonkeyPatch):
    store, pauses = place.open(), []
    key = name_of(hashlib.sha256(CONTENT).digest())
    mark = f"{key}.{'0' * 16}"
    with store.open_file() as nothing:
        place.bucket.put(mark, nothing, 0)

    class Pause:
        def wait(self, seconds: float) -> None:
            pauses.append(seconds)
            place.bucket.delete(key)
            place.bucket.delete(mark)

    monkeypatch.setattr(s3.threading, "Event", Pause)
    sha256 = put(store).sha256
    assert (len(pauses), get(store, sha256), place.count()) == (1, CONTENT, 1)


def test_a_removal_that_does_not_end_is_told(place: S3Place, monkeypatch: pytest.MonkeyPatch):
    store = place.open()
    key = name_of(hashlib.sha256(CONTENT).digest())
    with store.open_file() as nothing:
        place.bucket.put(f"{key}.{'0' * 16}", nothing, 0)
    monkeypatch.setattr(s3, "LOOK_S", 0)
    with pytest.raises(BlobsAway, match="is being removed; try again"):
        put(store)
    place.age(MARK_S + 2)
    assert get(store, put(store).sha256) == CONTENT
    place.age(HOUR_S)
    assert store.sweep(HOUR_S, lambda _: True) == 1, "the mark of a server that died"


# --- What changed in S3 ---


@pytest.mark.parametrize("content", [CONTENT[:-1] + b"?", CONTENT[:-1], CONTENT + b"!", b""])
def test_other_bytes_than_those_of_the_digest_are_told(s3_server: S3Server, place: S3Place, content: bytes):
    store = place.open()
    sha256 = put(store).sha256
    overwrite(s3_server, place, sha256, content)
    with pytest.raises(BlobDamaged, match=sha256.hex()), store.open(sha256) as reader:
        for _ in reader:
            pass
    with pytest.raises(BlobDamaged), store.view(sha256):
        pass
    put(store)
    assert get(store, sha256) == CONTENT


def test_objects_of_others_in_the_bucket_are_passed_over(s3_server: S3Server, place: S3Place):
    store = place.open()
    for name in ("notes.txt", "ab/notes.txt", f"ab/{'a' * 64}", "incoming/plan"):
        s3_server.client.put_object(Bucket=BUCKET, Key=place.place.prefix + name, Body=b"somebody's")
    place.age(HOUR_S)
    assert (store.sweep(HOUR_S, lambda _: False), list(store.walk()), place.count()) == (0, [], 4)


# --- Faults on the way ---


@pytest.fixture
def relayed(s3_server: S3Server, place: S3Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """A relay before the server, which every store that is opened from now on uses."""
    relay = Relay(int(s3_server.url.rpartition(":")[2]))
    monkeypatch.setenv("AWS_ENDPOINT_URL", relay.url)
    yield relay
    relay.close()


def test_bytes_that_break_off_go_on_where_they_were(place: S3Place, relayed: Relay):
    store, content = place.open(), os.urandom(4 * MB)
    sha256 = put(store, content).sha256
    with store.open(sha256) as reader:
        start = reader.read(1000)
        for way in relayed._ways:
            way.close()
        assert start + reader.read() == content


def test_bytes_that_break_off_for_good_are_told(place: S3Place, relayed: Relay):
    store = place.open()
    sha256 = put(store, os.urandom(32 * MB)).sha256  # more than the sockets between can hold
    with store.open(sha256) as reader:
        reader.read(1000)
        relayed.close()
        with pytest.raises(BlobsAway, match="does not answer"):
            reader.read()


def test_the_log_tells_once_that_s3_went_and_once_that_it_is_back(
    own_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    place = S3Place(own_server, tmp_path / "incoming", monkeypatch)
    now = [0.0]
    store = place.open(monotonic=lambda: now[0])
    with capture_logs() as logs:
        sha256 = put(store).sha256
        own_server.kill()
        for _ in range(2):
            for act in (lambda: put(store), lambda: get(store, sha256), store.try_out):
                with pytest.raises(BlobsAway, match="does not answer"):
                    act()
        own_server.start()
        now[0] += QUIET_S
        assert get(store, sha256) == CONTENT
        assert get(store, put(store, CONTENT[1:]).sha256) == CONTENT[1:]
    assert [line["event"] for line in logs] == [
        "the store of large blobs is away", "the store of large blobs answers again"
    ]  # fmt: skip
    assert store.find_size(hashlib.sha256(CONTENT).digest()) == len(CONTENT)


def test_a_server_that_dies_in_the_middle_of_an_upload_shows_no_half_blob(
    own_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bucket_module, "MULTIPART_BYTES", 6 * MB)
    monkeypatch.setattr(bucket_module, "PART_BYTES", 5 * MB)
    place, content = S3Place(own_server, tmp_path / "incoming", monkeypatch), os.urandom(13 * MB)
    store = place.open()

    def kill(params, **_):
        if params["PartNumber"] == 3:
            own_server.kill()

    for each in place._buckets:
        each.events.register("before-parameter-build.s3.UploadPart", kill)
    with pytest.raises(BlobsAway):
        put(store, content)
    own_server.start()
    sha256 = hashlib.sha256(content).digest()
    assert store.find_size(sha256) is None
    with pytest.raises(BlobNotFound):
        store.open(sha256)
    place.age(HOUR_S)
    store.sweep(HOUR_S, lambda _: True)
    assert place.count() == 0


def test_a_bucket_that_hangs_is_given_up(own_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    place = S3Place(own_server, tmp_path / "incoming", monkeypatch)
    bucket = Bucket(place.place, Condition("away", "back"), 1, 1, virtual_hosts=False)
    os.kill(own_server.pid, signal.SIGSTOP)
    try:
        with pytest.raises(BlobsAway, match="does not answer"):
            bucket.find("a")
    finally:
        os.kill(own_server.pid, signal.SIGCONT)


# --- What somebody must change first ---


@pytest.mark.parametrize(
    ("variables", "place_name", "told"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, f"s3://{BUCKET}", "does not take the key of this server"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, f"s3://{BUCKET}", "does not take the key of this server"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, f"s3://{BUCKET}", "there is no key for S3"),
        ({}, "s3://nowhere", "there is no such bucket"),
        ({"AWS_ENDPOINT_URL": "127.0.0.1:9"}, f"s3://{BUCKET}", "Invalid endpoint"),
    ],
)
def test_a_server_does_not_start_with_an_s3_that_will_never_do(
    place: S3Place,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    place_name: str,
    told: str,
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    with pytest.raises(BlobsRefused, match=told) as raised:
        check_places(Settings(data=tmp_path, blobs=place_name))
    assert SECRET not in str(raised.value)


def test_a_server_starts_with_an_s3_that_is_away(place: S3Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    check_places(Settings(data=tmp_path, blobs=f"s3://{BUCKET}"))


def test_a_wrong_clock_is_told(place: S3Place, monkeypatch: pytest.MonkeyPatch):
    now = datetime.now(UTC) - timedelta(hours=1)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda **_: now)
    with pytest.raises(BlobsRefused, match="clock"):
        list(place.bucket.walk())


@pytest.mark.parametrize(
    ("text", "bucket", "prefix"),
    [("s3://ab1", "ab1", ""), ("s3://a.b-c/", "a.b-c", ""), ("s3://abc/x/y/", "abc", "x/y/")],
)
def test_places_are_read(text: str, bucket: str, prefix: str):
    assert BlobPlace.read(text) == (bucket, prefix)


@pytest.mark.parametrize(
    "text", ["s3://", "s3:/abc", "s3://a/b", "s3://abc//x", "http://abc", "", "s3://abc/x y", "s3://abc/../x"]
)
def test_what_is_no_place_is_refused(text: str):
    assert BlobPlace.read(text) is None
