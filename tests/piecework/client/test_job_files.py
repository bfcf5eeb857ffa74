"""Files of jobs: how they travel, and what comes back of them."""

from typing import Any

import pytest

from piecework.client import BadReply, NotFound
from piecework.client.api import ServerCalls
from piecework.client.modes import call
from piecework.protocol.messages import JobFile

LARGE = b"y" * 40_000


@pytest.fixture
def lambda_id(client):
    return client.create_lambda(0, "test")


@pytest.fixture
def idle_lambda(client):
    """A lambda that no worker can run."""
    return client.create_lambda(0, "exotic")


@pytest.fixture
def uploads(client, monkeypatch):
    """What is uploaded from now on."""
    sources = []
    upload: Any = ServerCalls.upload

    @call
    async def note(self, source, name=""):
        sources.append(source)
        return await upload(self, source, name)

    monkeypatch.setattr(ServerCalls, "upload", note)
    return sources


def contents(client, job):
    return {each.name: client.read(each.blob) for each in client.job(job).files}


def test_files_are_whatever_inputs_are(client, idle_lambda, tmp_path, uploads):
    (tmp_path / "large").write_bytes(LARGE)
    blob = client.upload(b"uploaded").id
    files = {
        "bytes": b"\0", "text": "é", "json": {"a": 1}, "none": None, "deep/path": tmp_path / "large", "blob": blob
    }  # fmt: skip
    found = contents(client, client.submit(idle_lambda, files=files))
    assert found.pop("deep/path") == LARGE
    assert found == {"bytes": b"\0", "text": "é".encode(), "json": b'{"a":1}', "none": b"", "blob": b"uploaded"}
    assert uploads == [b"uploaded", tmp_path / "large"]


def test_files_of_many_jobs_are_uploaded_once(client, idle_lambda, uploads):
    jobs = client.submit_many(idle_lambda, ["1", "2", "3"], files={"a": LARGE, "b": b"x"})
    assert [contents(client, job) for job in jobs] == [{"a": LARGE, "b": b"x"}] * 3
    assert uploads == [LARGE]


def test_map_gives_each_job_the_files(client, worker, lambda_id):
    ids = []
    outputs = client.map(lambda_id, ["1", "2"], files={"a": b"x"}, outputs=["*"], submitted=ids.extend)
    assert list(outputs) == [b"1", b"2"]
    assert [client.read_file(job, "a.up") for job in ids] == [b"X", b"X"]


def test_a_handle_has_the_files_that_its_job_gave_back(client, worker, lambda_id, tmp_path):
    job = client.submit(lambda_id, files={"d/a": b"x"}, outputs=["*"])
    job.wait(10)
    assert [each.name for each in job.files()] == ["d/a.up"]
    assert job.read_file("d/a.up") == b"X"
    assert job.download_files(tmp_path / "new") == [tmp_path / "new" / "d" / "a.up"]
    then = client.submit(lambda_id, files={"whole": job}, outputs=["*"])
    then.wait(10)
    assert client.job(then).files[0].job == job


def test_a_file_that_did_not_come_back_is_not_found(client, worker, lambda_id):
    job = client.submit(lambda_id, files={f"a{number:02}": b"x" for number in range(12)}, outputs=["*"])
    job.wait(10)
    with pytest.raises(NotFound, match=r"no file 'b': a00.up, .*, a09.up, …"):
        client.read_file(job, "b")
    other = client.submit(lambda_id)
    other.wait(10)
    with pytest.raises(NotFound, match="it gave back none"):
        client.read_file(other, "b")


@pytest.mark.parametrize("names", [["../a"], ["/a"], ["a", "a"], ["a", "a/b"], ["a\nb"]])
def test_names_that_lead_out_of_a_directory_are_never_written(client, lambda_id, tmp_path, monkeypatch, names):
    job = client.submit(lambda_id)
    info = client.job(job)
    info.made = [JobFile(name=name, blob=info.input.id, size=0, checksum="") for name in names]

    async def job_of(_):
        return info

    monkeypatch.setattr(client.core, "job", job_of)
    for act in (client.download_files, client.archive_files):
        with pytest.raises(BadReply, match="names that no files can have"):
            act(job, tmp_path / "all.tar")
    assert list(tmp_path.iterdir()) == []


def test_an_archive_needs_an_ending_that_tells_its_kind(client, lambda_id, tmp_path):
    with pytest.raises(ValueError, match=r"'a.rar' ends with none of .tar, .tar.gz, .tgz, .zip"):
        client.archive_files(client.submit(lambda_id), tmp_path / "a.rar")
