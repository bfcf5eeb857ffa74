import json

import pytest

from piecework.client.queue.jobs.results import JobWait
from piecework.protocol.states import JobState


@pytest.fixture
def picky(client, worker):
    """A lambda that shouts, but fails on ``odd``."""
    return client.create_lambda(0, "test", args=["fail-on", "odd"])


@pytest.fixture
def files(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text(f"from {name}")
    return [tmp_path / "b", tmp_path / "a"]


def test_map_prints_an_output_for_each_line_in_their_order(run, picky):
    for given in ([], ["-"]):
        assert run("job", "map", picky, *given, given=b"one\ntwo\r\n\nfour").out == "ONE\nTWO\n\nFOUR\n"


def test_map_of_nothing_prints_nothing(run, picky):
    assert run("job", "map", picky, given=b"").out == ""


def test_map_prints_the_outputs_of_files_in_the_order_given(run, picky, files):
    assert run("job", "map", picky, *files).out == "FROM B\nFROM A\n"


def test_map_writes_each_files_output_to_a_file_of_its_name(run, picky, files, tmp_path):
    ran = run("job", "map", picky, *files, "-o", tmp_path / "out")
    assert ran.out == ""
    assert {file.name: file.read_text() for file in (tmp_path / "out").iterdir()} == {"a": "FROM A", "b": "FROM B"}


def test_a_failure_is_told_and_does_not_stop_the_others(run, picky):
    ran = run("job", "map", picky, "--max-attempts", 1, given=b"one\nodd\nthree\n", exit_code=1)
    assert ran.out == "ONE\nTHREE\n"
    assert ran.err.startswith("piecework: line 2: job ")
    assert ran.err.endswith("failed (guest): not odd\n")


def test_map_as_json_prints_a_document_a_line(run, picky):
    ran = run("job", "map", picky, "--max-attempts", 1, "--json", given=b"one\nodd\n", exit_code=1)
    fine, failed = map(json.loads, ran.out.splitlines())
    assert (fine["source"], fine["output"]["text"], fine["state"]) == ("line 1", "ONE", JobState.FINISHED)
    assert (failed["source"], failed["error"]["message"]) == ("line 2", "not odd")


def test_outputs_never_overwrite_inputs_or_each_other(run, picky, files, tmp_path):
    assert "would overwrite the inputs" in run("job", "map", picky, *files, "-o", tmp_path, exit_code=2).err
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a").touch()
    ran = run("job", "map", picky, *files, tmp_path / "sub" / "a", "-o", tmp_path / "out", exit_code=2)
    assert "several files named a" in ran.err
    assert "goes with no files" in run("job", "map", picky, *files, "-", given=b"x", exit_code=2).err
    assert "lines have no names" in run("job", "map", picky, "-o", tmp_path / "out", given=b"x", exit_code=2).err
    assert not (tmp_path / "out").exists()


def test_an_interrupted_map_cancels_its_jobs(run, client, idle_lambda, monkeypatch):
    def interrupt(self, *_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(JobWait, "look", interrupt)
    run("job", "map", idle_lambda, given=b"one\ntwo\n", exit_code=130)
    assert {job.state for job in client.jobs(lambda_=idle_lambda)} == {JobState.CANCELLED}
