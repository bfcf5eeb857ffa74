"""Jobs with a directory of their own, as commands: files go in, files come back."""

import tarfile
import zipfile

import pytest


@pytest.fixture
def sources(tmp_path):
    """A directory with two files, one of them below."""
    folder = tmp_path / "src"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.c").write_text("one")
    (folder / "sub" / "b.c").write_text("two")
    return folder


@pytest.fixture
def ended(run, client, worker, lambda_id, sources):
    """A job that gave two files back."""
    job = client.submit(lambda_id, files={"a": b"one", "d/b": sources / "sub" / "b.c"}, outputs=["**"])
    client.wait([job], 10)
    return job


def names(client, job):
    return [each.name for each in client.job(job).files]


def test_files_are_given_under_their_own_names_or_others(run, client, idle_lambda, sources):
    given = ("--file", sources / "a.c", "--file", f"x/y={sources / 'sub' / 'b.c'}", "--file", sources)
    job = run("job", "submit", idle_lambda, *given, "--collect", "*.o").out.strip()
    assert names(client, job) == ["a.c", "src/a.c", "src/sub/b.c", "x/y"]
    shown = run("job", "show", job).out
    assert "src/sub/b.c, 3 bytes" in shown
    assert "*.o" in shown
    top = run("job", "submit", idle_lambda, "--file", f".={sources}").out.strip()
    assert names(client, top) == ["a.c", "sub/b.c"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--file", "/nowhere"), "'/nowhere' does not exist"),
        (("--file", "../a={a}"), "'../a' is no name of a job's file: a path is relative"),
        (("--file", "{a}", "--file", "a.c={a}"), "names 'a.c' twice"),
        (("--file", "x={empty}"), "there are no files in"),
        (("--collect", "/x"), "'/x' is no pattern"),
        (("--input-dir", "{src}", "--into", "{empty}"), "--into is for one job"),
    ],
)
def test_files_that_cannot_be_given(run, idle_lambda, sources, tmp_path, options, said):
    (tmp_path / "empty").mkdir()
    places = {"a": sources / "a.c", "src": sources, "empty": tmp_path / "empty"}
    words = [each.format(**places) for each in options]
    assert said in run("job", "submit", idle_lambda, *words, exit_code=2).err


def test_a_file_that_came_back_is_printed_or_written(run, ended, tmp_path):
    assert run("job", "output", ended, "a.up").out == "ONE"
    run("job", "output", ended, "d/b.up", "-o", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "TWO"
    run("job", "output", ended, "d/b.up", "-o", f"{tmp_path}/")
    assert (tmp_path / "b.up").read_text() == "TWO"
    assert "gave back no file 'c', but a.up, d/b.up" in run("job", "output", ended, "c", exit_code=1).err
    assert "gave back" in run("job", "show", ended).out


def test_all_files_are_written_to_a_directory(run, ended, tmp_path):
    assert "wrote 2 files" in run("job", "output", ended, "-o", f"{tmp_path}/new/").err
    assert (tmp_path / "new" / "a.up").read_text() == "ONE"
    assert (tmp_path / "new" / "d" / "b.up").read_text() == "TWO"
    listed = run("job", "output", ended, "-o", tmp_path, "--json").document
    assert [(each["name"], each["size"]) for each in listed] == [("a.up", 3), ("d/b.up", 3)]


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "tgz", "zip"])
def test_all_files_are_written_into_an_archive(run, ended, tmp_path, ending):
    path = tmp_path / f"all.{ending}"
    run("job", "output", ended, "--archive", path)
    if ending == "zip":
        with zipfile.ZipFile(path) as archive:
            found = {each: archive.read(each) for each in archive.namelist()}
    else:
        with tarfile.open(path) as archive:
            found = {each.name: archive.extractfile(each).read() for each in archive}
    assert found == {"a.up": b"ONE", "d/b.up": b"TWO"}
    first = path.read_bytes()
    run("job", "output", ended, "--archive", path)
    assert len(path.read_bytes()) == len(first)
    assert list(tmp_path.glob(".*.part")) == []


def test_an_archive_of_another_kind_is_refused(run, ended, tmp_path):
    assert "its name ends with" in run("job", "output", ended, "--archive", tmp_path / "a.rar", exit_code=2).err
    both = ("--archive", tmp_path / "a.tar", "-o", tmp_path)
    assert "--archive goes neither" in run("job", "output", ended, *both, exit_code=2).err


def test_a_job_that_gives_back_nothing_says_so(run, client, worker, lambda_id, tmp_path):
    job = client.submit(lambda_id)
    client.wait([job], 10)
    for how in (("x",), ("-o", f"{tmp_path}/"), ("--archive", tmp_path / "a.tar")):
        assert "gave back no files" in run("job", "output", job, *how, exit_code=1).err
    assert list(tmp_path.iterdir()) == []


def test_waiting_for_a_job_fetches_its_files(run, worker, lambda_id, sources, tmp_path):
    given = ("--file", sources / "a.c", "--collect", "*.up", "--into", tmp_path / "out")
    ran = run("job", "submit", lambda_id, "--input", sources / "a.c", *given)
    assert ran.out == "ONE"
    assert (tmp_path / "out" / "a.c.up").read_text() == "ONE"


def test_files_of_a_failed_job_come_back_too(run, client, worker, lambda_id, tmp_path):
    job = client.submit(lambda_id, args=["fail", "no"], max_attempts=1, files={"a": b"x"}, outputs=["*"])
    client.wait([job], 10)
    assert "no" in run("job", "output", job, "-o", f"{tmp_path}/", exit_code=1).err
    assert (tmp_path / "a.up").read_text() == "X"


def test_a_lambda_says_what_its_jobs_give_back(run, client, worker, tmp_path):
    (tmp_path / "code").write_bytes(b"x")
    made = run("lambda", "create", tmp_path / "code", "--runtime", "test", "--collect", "*.o").out.strip()
    assert client.lambda_(made).outputs == ["*.o"]
    assert "*.o" in run("lambda", "show", made).out


def test_a_job_gets_files_that_another_gives_back(run, client, worker, lambda_id, ended):
    given = ("--file-from", f"x={ended}:d/b.up", "--file-from", f"y={ended}", "--collect", "*")
    job = run("job", "submit", lambda_id, *given, "--wait").out
    [info] = client.jobs(limit=1)
    assert client.read_file(info.id, "x.up") == b"TWO"
    assert job == ""
    shown = run("job", "show", info.id).out
    assert f"x, d/b.up of {ended}, 3 bytes; y, from {ended}" in shown
    for wrong, said in (("x", "is not NAME=ID:FILE"), (f"x={ended}:../a", "is not NAME=ID:FILE")):
        assert said in run("job", "submit", lambda_id, "--file-from", wrong, exit_code=2).err
    refused = run("job", "submit", lambda_id, "--file-from", f"x={ended}:none", exit_code=1).err
    assert "gave back no file 'none'" in refused
