"""A server whose large blobs are in S3: real programs, with S3 going away and blobs moving below them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from patience import LONG_S, until
from s3_server import BUCKET, MISSING, SECRET, WEED, S3Server

from piecework import ApiError, Client, ServerUnreachable
from piecework.local import LocalAgent, LocalServer, is_ready
from piecework.protocol.codes import Code

pytestmark = [pytest.mark.integration, pytest.mark.skipif(not WEED.exists(), reason=MISSING)]
LARGE = os.urandom(300_000)
ECHO = Path(__file__).parents[2] / "samples" / "echo.wasm"


@pytest.fixture
def s3(tmp_path: Path):
    server = S3Server(tmp_path / "s3")
    yield server
    server.kill()


def run(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "piecework", "server", *words]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=LONG_S, env=os.environ | environ, check=False
    )


def count(server: LocalServer, method: str, endpoint: str) -> int:
    """Return how many requests the server answered."""
    text = requests.get(f"{server.url}/metrics", timeout=LONG_S).text
    line = rf'^piecework_requests_total{{method="{method}",path="{re.escape(endpoint)}",status="200"}} (\S+)$'
    found = re.search(line, text, re.MULTILINE)
    return int(float(found[1])) if found else 0


def is_back(server: LocalServer) -> bool:
    """Ask whether the server is ready, and return whether its log tells that S3 is back."""
    return is_ready(server.port) and "the store of large blobs answers again" in server.read_log()


def test_jobs_run_with_inputs_outputs_and_code_in_s3_and_wait_while_it_is_away(s3: S3Server, tmp_path: Path):
    environ = s3.environ | {"PIECEWORK_BLOBS": f"s3://{BUCKET}/server"}
    with LocalServer(tmp_path, environ=environ) as server, Client(server.url) as client:
        with LocalAgent(server.url, tmp_path, "agent"):
            lambda_ = client.create_lambda(client.upload(ECHO).id, "wasi")
            assert client.submit(lambda_, LARGE).result() == LARGE
            keys = [each["Key"] for each in s3.client.list_objects_v2(Bucket=BUCKET)["Contents"]]
            assert keys
            assert all(key.startswith("server/") for key in keys)
            assert not [path for path in (server.data / "blobs").rglob("*") if path.is_file()]

            job = client.submit(lambda_, LARGE[1:])
            s3.kill()
            with pytest.raises(ApiError, match="S3 does not answer") as raised:
                client.upload(LARGE[2:])
            assert raised.value.code == Code.BLOBS_AWAY
            ready = requests.get(f"{server.url}/readyz", timeout=LONG_S)
            assert (ready.status_code, "S3 does not answer" in ready.text) == (503, True)
            [found] = [each for each in client.status().findings if each.check == "blobs"]
            assert found.level == "wrong"
            s3.start()
            assert job.result() == LARGE[1:]
            until(lambda: is_back(server), look_s=0.5)
        assert server.read_log().count("the store of large blobs is away") == 1
        assert SECRET not in server.read_log()


def test_agents_go_to_s3_by_themselves_where_they_may(s3: S3Server, tmp_path: Path):
    environ = s3.environ | {"PIECEWORK_BLOBS": f"s3://{BUCKET}", "PIECEWORK_BLOBS_DIRECT": "true"}
    with LocalServer(tmp_path, environ=environ) as server, Client(server.url) as client:
        with LocalAgent(server.url, tmp_path, "agent"):
            lambda_ = client.create_lambda(client.upload(ECHO.with_name("uppercase.wasm")).id, "wasi")
            before, content = count(server, "POST", "/data"), os.urandom(1_500_000).hex().encode()
            job = client.submit(lambda_, content)
            output = job.result()
            assert output == content.upper()
        assert client.read(client.job(job).output.id) == output
        assert count(server, "POST", "/data/direct") == 2, "where to, and that it is there"
        assert count(server, "GET", "/data/<data>/direct") >= 1
        assert count(server, "POST", "/data") == before + 1, "the input, from here"


def test_blobs_move_to_s3_and_back_while_the_server_works(s3: S3Server, tmp_path: Path):
    place, data = f"s3://{BUCKET}", str(tmp_path / "data")
    with LocalServer(tmp_path) as server, Client(server.url) as client:
        blob = client.upload(LARGE).id
    for now, before in ((place, "directory"), ("directory", place)):
        environ = s3.environ | {"PIECEWORK_BLOBS": now, "PIECEWORK_BLOBS_FROM": before}
        with LocalServer(tmp_path, environ=environ) as server, Client(server.url) as client:
            assert client.read(blob) == LARGE
            [found] = [each for each in client.status().findings if each.check == "blobs"]
            assert "piecework server blobs move" in found.advice
            moved = run("blobs", "move", "--data", data, **environ)
            assert (moved.returncode, moved.stdout.startswith("1 blobs with")) == (0, True), moved.stderr
            assert client.read(blob) == LARGE
        environ = s3.environ | {"PIECEWORK_BLOBS": now}
        with LocalServer(tmp_path, environ=environ) as server, Client(server.url) as client:
            assert client.read(blob) == LARGE
            assert not [each for each in client.status().findings if each.check == "blobs"]
            assert client.storage().stored_in.startswith(place if now == place else "the directory")


def test_a_backup_has_the_blobs_of_s3_and_is_restored_into_a_directory(s3: S3Server, tmp_path: Path):
    environ = s3.environ | {"PIECEWORK_BLOBS": f"s3://{BUCKET}"}
    with LocalServer(tmp_path, environ=environ) as server, Client(server.url) as client:
        blob = client.upload(LARGE).id
        saved = run("backup", str(tmp_path / "b.tar"), "--data", str(server.data), **environ)
        assert "1 large blobs" in saved.stdout, saved.stderr
    restored = run("restore", str(tmp_path / "b.tar"), "--data", str(tmp_path / "new" / "data"))
    assert restored.returncode != 0, "its parent is not there"
    (tmp_path / "new").mkdir()
    assert run("restore", str(tmp_path / "b.tar"), "--data", str(tmp_path / "new" / "data")).returncode == 0
    with LocalServer(tmp_path / "new") as server, Client(server.url) as client:
        assert client.read(blob) == LARGE


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "does not take the key"),
        ({"PIECEWORK_BLOBS": "s3://nowhere"}, "there is no such bucket"),
        ({"PIECEWORK_BLOBS": "s3:/x"}, "must be directory or s3://BUCKET/PREFIX"),
        ({"PIECEWORK_BLOBS_FROM": f"s3://{BUCKET}"}, "leave it out"),
    ],
)
def test_a_server_that_cannot_use_its_s3_says_why_and_ends(
    s3: S3Server, tmp_path: Path, changed: dict[str, str], told: str
):
    environ = s3.environ | {"PIECEWORK_BLOBS": f"s3://{BUCKET}"} | changed
    ended = run("run", "--data", str(tmp_path / "data"), "--port", "0", **environ)
    assert ended.returncode == 1
    assert told in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


def test_a_move_to_nowhere_is_refused(s3: S3Server, tmp_path: Path):
    environ = s3.environ | {"PIECEWORK_BLOBS": "s3://nowhere", "PIECEWORK_BLOBS_FROM": "directory"}
    ended = run("blobs", "move", "--data", str(tmp_path), **environ)
    assert (ended.returncode, "there is no such bucket" in ended.stderr, ended.stdout) == (1, True, "")


def test_a_move_without_a_place_to_move_from_is_refused(tmp_path: Path):
    ended = run("blobs", "move", "--data", str(tmp_path))
    assert (ended.returncode, "PIECEWORK_BLOBS_FROM" in ended.stderr) == (2, True)


@pytest.mark.parametrize("size", [100_000, 3_000_000])
def test_a_blob_with_other_bytes_in_s3_is_never_given_out_whole(s3: S3Server, tmp_path: Path, size: int):
    environ = s3.environ | {"PIECEWORK_BLOBS": f"s3://{BUCKET}"}
    content = os.urandom(size)
    with LocalServer(tmp_path, environ=environ) as server, Client(server.url, attempts=1) as client:
        stored = client.upload(content)
        key = f"{stored.checksum[:2]}/{stored.checksum}"
        s3.client.put_object(Bucket=BUCKET, Key=key, Body=content[:-1] + b"?")
        with pytest.raises((ApiError, ServerUnreachable), match=r"has other bytes|broke off"):
            client.read(stored.id)
        with requests.get(f"{server.url}/data/{stored.id}/blob", stream=True, timeout=LONG_S) as reply:
            assert reply.status_code == (500 if size < 256 * 1024 else 200)
        assert "Traceback" not in server.read_log()
        assert server.read_log().count("has other bytes under") >= 1
