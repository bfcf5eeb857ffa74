import base64
import threading

import pytest

from piecework.cli.failures import warn
from piecework.cli.queue.jobs import waiting
from piecework.client import Client
from piecework.protocol.ids import Id
from piecework.protocol.messages import Backoff, Content, ErrorReply, MessageReply


@pytest.fixture
def finished(client, worker, lambda_id):
    job = client.submit(lambda_id, "hello", tags=["here"])
    client.wait([job], 10)
    return job


@pytest.fixture
def failed(client, worker, lambda_id):
    job = client.submit(lambda_id, args=["fail", "out of luck"], max_attempts=1)
    client.wait([job], 10)
    return job


def test_submit_prints_the_id_alone(run, client, lambda_id):
    job = run("job", "submit", lambda_id, "--delay", 60).out
    assert job.endswith("\n")
    assert client.job(job.strip()).lambda_.id == lambda_id


def test_submit_as_json_is_an_object_with_the_id(run, client, lambda_id):
    document = run("job", "submit", lambda_id, "--delay", 60, "--json").document
    assert list(document) == ["id"]
    assert client.job(document["id"])


def test_options_of_a_submission_reach_the_job(run, client, idle_lambda):
    args = ("--priority", 3, "--tag", "+gpu", "--tag", "near", "--key", "cli", "--max-attempts", 2, "--memory", 64)
    job = run("job", "submit", idle_lambda, *args, "--timeout", 9).out.strip()
    info = client.job(job)
    assert (info.priority, info.tags, info.key, info.max_attempts) == (3, ["+gpu", "near"], "cli", 2)
    assert run("job", "submit", idle_lambda, *args, "--timeout", 9).out.strip() == job
    refused = run("job", "submit", idle_lambda, "--key", "cli", exit_code=1)
    assert "key 'cli' and other content" in refused.err


def test_submit_and_wait_prints_the_output(run, worker, lambda_id, tmp_path):
    (tmp_path / "in").write_bytes(b"from a file")
    assert run("job", "submit", lambda_id, "--wait", "--input", tmp_path / "in").out == "FROM A FILE"
    assert run("job", "submit", lambda_id, "--wait", "--input", "-", given=b"from stdin").out == "FROM STDIN"


def test_submit_takes_a_blobs_id_as_input(run, client, worker, lambda_id):
    blob = client.upload(b"from a blob").id
    assert run("job", "submit", lambda_id, "--wait", "--input", blob).out == "FROM A BLOB"


def test_an_input_that_is_neither_file_nor_id_is_a_mistake(run, lambda_id):
    ran = run("job", "submit", lambda_id, "--input", "nothing.txt", exit_code=2)
    assert ran.err.startswith("piecework: Invalid value for '--input': there is no file 'nothing.txt'")


def test_arguments_and_environment_of_a_job_are_passed(run, worker, lambda_id):
    ran = run("job", "submit", lambda_id, "--wait", "--arg", "env", "--env", "A=1", "--env", "B=x=y")
    assert ran.out == "A=1 B=x=y"


def test_an_environment_without_a_value_is_a_mistake(run, lambda_id):
    assert "'A' is not KEY=VALUE." in run("job", "submit", lambda_id, "--env", "A", exit_code=2).err


def test_bytes_go_to_stdout_and_to_a_file_as_they_are(run, worker, lambda_id, tmp_path):
    data = bytes(range(256))
    ran = run("job", "submit", lambda_id, "--wait", "--arg", "same", "--input", "-", given=data)
    assert ran.out_bytes == data
    ran = run("job", "submit", lambda_id, "-o", tmp_path / "out", "--arg", "same", "--input", "-", given=data)
    assert ran.out_bytes == b""
    assert (tmp_path / "out").read_bytes() == data


def test_a_job_that_fails_while_waited_for_gives_its_reason(run, worker, lambda_id):
    args = ("job", "submit", lambda_id, "--wait", "--max-attempts", 1, "--arg", "fail", "--arg", "no luck")
    ran = run(*args, exit_code=1)
    assert ran.out == ""
    assert ran.err.startswith("piecework: job ")
    assert "failed (guest): no luck. See 'piecework job trace " in ran.err
    document = run(*args, "--json", exit_code=1).document
    assert document["error"] == {"kind": "guest", "message": "no luck"}


def test_a_job_waited_for_as_json_is_the_job_with_its_output(run, worker, lambda_id):
    document = run("job", "submit", lambda_id, "--wait", "--input", "-", "--json", given=b"hi").document
    assert document["state"] == "Finished"
    assert document["output"]["text"] == "HI"


def test_a_job_that_nobody_can_run_says_why_it_waits(run, client, idle_lambda, monkeypatch):
    told = threading.Event()
    monkeypatch.setattr(waiting, "FIRST_S", 0.0)
    monkeypatch.setattr(waiting, "TICK_S", 0.001)
    monkeypatch.setattr(waiting, "warn", lambda message: (warn(message), told.set()))
    monkeypatch.setattr(Client, "follow_log", lambda _, job: told.wait(60) and client.cancel(job) and iter(()))
    ran = run("job", "submit", idle_lambda, "--wait", exit_code=1)
    assert ran.err.count(" waits: no worker") == 1
    assert "cancelled" in ran.err


@pytest.fixture
def inputs(tmp_path):
    directory = tmp_path / "inputs"
    directory.mkdir()
    for name in ("b.txt", "a.txt", "c.txt"):
        (directory / name).write_text(name)
    (directory / "sub").mkdir()
    return directory


def test_a_directory_gives_one_job_for_each_file(run, client, idle_lambda, inputs):
    rows = run("job", "submit", idle_lambda, "--input-dir", inputs).rows
    assert [path for _, path in rows] == [str(inputs / name) for name in ("a.txt", "b.txt", "c.txt")]
    assert {client.job(job).lambda_.id for job, _ in rows} == {idle_lambda}


def test_a_directory_waited_for_gives_a_table_and_the_outputs(run, worker, lambda_id, inputs, tmp_path):
    rows = run("job", "submit", lambda_id, "--input-dir", inputs, "-o", tmp_path / "outputs").rows
    assert [row[2] for row in rows] == ["Finished"] * 3
    assert {path.name: path.read_text() for path in (tmp_path / "outputs").iterdir()} == {
        "a.txt": "A.TXT",
        "b.txt": "B.TXT",
        "c.txt": "C.TXT",
    }


def test_a_directory_as_json_is_an_array_of_jobs(run, worker, lambda_id, inputs):
    document = run("job", "submit", lambda_id, "--input-dir", inputs, "--wait", "--json").document
    assert [each["file"].rpartition("/")[2] for each in document] == ["a.txt", "b.txt", "c.txt"]
    assert {each["state"] for each in document} == {"Finished"}


def test_a_directory_with_a_job_that_fails_ends_with_1(run, worker, lambda_id, inputs):
    args = ("--max-attempts", 1, "--arg", "fail", "--arg", "no luck")
    rows = run("job", "submit", lambda_id, "--input-dir", inputs, "--wait", *args, exit_code=1).rows
    assert rows[0][2:4] == ["Fail_Execution", "1"]
    assert rows[0][-3:] == ["guest:", "no", "luck"]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--input-dir", "{inputs}", "--input", "-"], "exclude each other"),
        (["--input-dir", "{inputs}/sub"], "there are no files in"),
        (["--input-dir", "{inputs}", "-o", "{inputs}"], "would overwrite the inputs"),
        (["--input-dir", "{inputs}/none"], "does not exist"),
        (["--priority", "500"], "500 is not in the range"),
        (["--timeout", "0"], "0"),
    ],
)
def test_submissions_that_make_no_sense_are_mistakes(run, lambda_id, inputs, args, words):
    ran = run("job", "submit", lambda_id, *(arg.format(inputs=inputs) for arg in args), exit_code=2)
    assert words in ran.err
    assert "Try 'piecework job submit --help'." in ran.err


def test_list_shows_the_newest_first_with_whole_ids(run, client, lambda_id, finished):
    other = client.submit(lambda_id, delay_s=60)
    ran = run("job", "list", "--lambda", lambda_id)
    assert [row[0] for row in ran.rows] == [str(other), str(finished)]
    assert run("job", "list").out.split()[:8] == [
        "id",
        "lambda",
        "runtime",
        "created",
        "state",
        "attempts",
        "took",
        "reason",
    ]
    assert "\x1b" not in ran.out


def test_list_can_be_narrowed(run, lambda_id, finished, client):
    client.submit(lambda_id, delay_s=60)
    assert [row[0] for row in run("job", "list", "--lambda", lambda_id, "--state", "finished").rows] == [
        str(finished)
    ]
    assert [row[0] for row in run("job", "list", "--lambda", lambda_id, "--tag", "here").rows] == [str(finished)]
    assert len(run("job", "list", "--lambda", lambda_id, "--limit", 1).rows) == 1
    failed = run("job", "list", "--lambda", lambda_id, "--state", "Fail_Execution")
    assert failed.rows == run("job", "list", "--lambda", lambda_id, "--state", "failed").rows == []
    assert "there is no job state 'happy'" in run("job", "list", "--state", "happy", exit_code=2).err


def test_list_as_json_is_an_array_without_fields_for_old_clients(run, lambda_id, finished):
    [document] = run("job", "list", "--lambda", lambda_id, "--json").document
    assert document["id"] == str(finished)
    assert document["lambda"] == {"id": str(lambda_id), "runtime": "test", "codex": "0"}
    old = {"code", "status", "job_status", "job_input_id", "job_output_id", "functio", "lambda_id", "runtime"}
    assert not old & document.keys()


def test_show_tells_what_matters_about_a_job(run, client, finished, worker):
    text = run("job", "show", finished).out
    fields = dict(line.split(maxsplit=1) for line in text.splitlines())
    assert fields["id"] == str(finished)
    assert fields["state"] == "Finished"
    assert fields["worker"] == str(worker.id)
    assert fields["attempts"] == "0 of 3 failed"
    assert fields["used"] == "wall 250 ms"
    assert "expires" not in fields
    assert run("job", "show", finished, "--json").document["state"] == "Finished"


def test_show_tells_what_a_job_was_run_with(run, client, tmp_path):
    (tmp_path / "words.txt").write_text("hello")
    lambda_id = client.create_lambda(0, "exotic", name="upper")
    job = run(
        *("job", "submit", "upper", "--input", tmp_path / "words.txt", "--arg", "-v", "--arg", "two words"),
        *("--env", "API_KEY=k", "--env", "LANG=C", "--timeout", 90, "--memory", 64, "--backoff", "fixed:10s"),
        *("--retry-on", "timeout,memory"),
    ).out.strip()
    fields = dict(
        line.split(maxsplit=1) if not line.startswith("retried on") else ("retried on", line[10:].strip())
        for line in run("job", "show", job[-8:]).out.splitlines()
    )
    assert fields["lambda"] == f"upper@{lambda_id}"
    assert fields["input"].endswith(", words.txt, 5 bytes")
    assert fields["args"] == "-v 'two words'"
    assert fields["env"] == "API_KEY=*** LANG=C"
    assert fields["timeout"] == "90 s"
    assert fields["limits"].startswith("memory 67.1 MB, output 67.1 MB, log ")
    assert fields["backoff"] == "fixed, 10 s"
    assert fields["retried on"] == "timeout memory"
    document = run("job", "show", job, "--json").document
    assert (document["args"], document["env"]["API_KEY"]) == (["-v", "two words"], "***")
    assert document["limits"]["memory_bytes"] == 64 * 1024 * 1024
    client.cancel(job)


def test_show_says_why_a_job_failed_or_does_not_start(run, client, failed, idle_lambda):
    assert "guest: out of luck" in run("job", "show", failed).out
    assert "no worker" in run("job", "show", client.submit(idle_lambda)).out


def test_an_unknown_job_is_one_line(run):
    ran = run("job", "show", 17, exit_code=1)
    assert ran.err == "piecework: there is no job 17\n"
    assert ran.out == ""


def test_what_is_no_id_is_a_mistake(run):
    ran = run("job", "show", "seventeen", exit_code=2)
    assert ran.err.startswith("piecework: Invalid value for 'ID': an id is a decimal number")


def test_wait_shows_how_jobs_ended_in_the_order_given(run, client, worker, lambda_id, finished):
    other = client.submit(lambda_id, "x")
    rows = run("job", "wait", other, finished, finished).rows
    assert [row[:2] for row in rows] == [[str(other), "Finished"], [str(finished), "Finished"]]
    assert len(run("job", "wait", finished, "--json").document) == 1


def test_wait_ends_with_1_when_a_job_failed(run, finished, failed):
    rows = run("job", "wait", finished, failed, exit_code=1).rows
    assert rows[1][:2] == [str(failed), "Fail_Execution"]


@pytest.mark.slow
def test_wait_for_a_limited_time_shows_what_has_ended(run, client, lambda_id, finished):
    slow = client.submit(lambda_id, delay_s=60)
    ran = run("job", "wait", finished, slow, "--timeout", 0.1, exit_code=1)
    assert [row[0] for row in ran.rows] == [str(finished)]
    assert "1 job has not ended within the time to wait" in ran.err


def test_output_goes_to_stdout_a_file_or_a_document(run, finished, tmp_path):
    assert run("job", "output", finished).out == "HELLO"
    run("job", "output", finished, "-o", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"HELLO"
    assert run("job", "output", finished, "--json").document["text"] == "HELLO"


def test_output_that_is_no_text_is_base64_in_a_document(run, client, worker, lambda_id):
    job = client.submit(lambda_id, b"\xff\x00", args=["same"])
    client.wait([job], 10)
    assert base64.b64decode(run("job", "output", job, "--json").document["base64"]) == b"\xff\x00"


def test_output_of_a_job_without_any_is_empty(run, client, worker, lambda_id, tmp_path):
    job = client.submit(lambda_id, args=["log", "only a log"])
    client.wait([job], 10)
    assert run("job", "output", job).out == ""
    run("job", "output", job, "-o", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b""


def test_output_of_a_job_that_has_none_yet_or_never_is_an_error(run, client, lambda_id, failed):
    waiting = client.submit(lambda_id, delay_s=60)
    assert f"job {waiting} is Waiting: see" in run("job", "output", waiting, exit_code=1).err
    assert "out of luck" in run("job", "output", failed, exit_code=1).err


def test_log_is_printed_followed_or_given_as_a_document(run, client, worker, lambda_id):
    job = client.submit(lambda_id, args=["log", "one\ntwo\n"])
    assert run("job", "log", job, "-f").out == "one\ntwo\n"
    assert run("job", "log", job).out == "one\ntwo\n"
    assert run("job", "log", job, "--json").document["text"] == "one\ntwo\n"
    assert "exclude each other" in run("job", "log", job, "-f", "--json", exit_code=2).err


def test_logs_of_other_attempts_than_the_latest_are_printed(run, client, worker, lambda_id):
    job = client.submit(lambda_id, args=["complain", "no"], max_attempts=2, backoff=Backoff(kind="none"))
    client.wait([job], 10)
    assert run("job", "log", job).out == "no 2"
    assert run("job", "log", job, "--attempt", 1).out == "no 1"
    assert run("job", "log", job, "--attempt", 1, "--json").document["attempt"] == 1
    assert run("job", "log", job, "--all").out == "--- attempt 1 of 2\nno 1\n--- attempt 2 of 2\nno 2\n"
    assert [each["text"] for each in run("job", "log", job, "--all", "--json").document["logs"]] == [
        "no 1",
        "no 2",
    ]
    assert [each.text for each in client.logs(job).logs] == ["no 1", "no 2"]
    refused = run("job", "log", job, "--attempt", 3, exit_code=1)
    assert f"job {job} has made 2 attempts so far: attempt 3 is none of them" in refused.err
    for others in (["--all", "--attempt", 1], ["--all", "-f"], ["-f", "--attempt", 1]):
        assert "exclude each other" in run("job", "log", job, *others, exit_code=2).err


def test_trace_tells_the_steps(run, worker, finished):
    ran = run("job", "trace", finished)
    assert [row[2] for row in ran.rows] == ["Enqueued", "Running", "Finished"]
    document = run("job", "trace", finished, "--json").document
    assert document[1]["worker"] == str(worker.id)


def test_cancel_says_what_became_of_each_job(run, client, lambda_id):
    jobs = client.submit_many(lambda_id, "ab", delay_s=60)
    ran = run("job", "cancel", *jobs)
    assert ran.out == "".join(f"job {job} is Cancelled\n" for job in jobs)


def test_cancel_goes_on_after_a_job_that_is_not_there(run, client, lambda_id):
    job = client.submit(lambda_id, delay_s=60)
    ran = run("job", "cancel", 17, job, "--json", exit_code=1)
    assert ran.err == "piecework: 17: there is no job 17\n"
    assert ran.document == {"cancelled": [str(job)]}
    assert client.job(job).state == "Cancelled"


def test_control_characters_of_a_guest_do_not_reach_the_terminal(run, client, worker, lambda_id):
    job = client.submit(lambda_id, args=["fail", "\x1b[2J evil\nline [red]markup[/red]"], max_attempts=1)
    client.wait([job], 10)
    out = run("job", "list", "--lambda", lambda_id).out
    assert "\x1b" not in out
    assert len(out.splitlines()) == 2
    assert "evil line [red]markup[/red]" in out


def test_an_output_document_keeps_the_blobs_id(run, finished, client):
    output = client.job(finished).output
    assert isinstance(output, Content)
    assert run("job", "output", finished, "--json").document["id"] == str(output.id)


def test_the_end_of_an_id_stands_for_it(run, client, idle_lambda):
    job = client.submit(idle_lambda)
    end = str(job)[-8:]
    assert run("job", "show", end, "--json").document["id"] == str(job)
    assert str(job) in run("job", "list", "--lambda", str(idle_lambda)[-8:]).out
    assert run("lambda", "show", str(idle_lambda)[-6:], "--json").document["id"] == str(idle_lambda)
    run("job", "cancel", end, job)
    assert client.job(job).state == "Cancelled"


def test_the_end_of_a_blobs_id_stands_for_it(run, client, idle_lambda):
    blob = client.upload(b"hello").id
    end = str(blob)[-8:]
    assert run("data", "get", end).out == "hello"
    job = run("job", "submit", idle_lambda, "--input", end).out.strip()
    assert client.job(job).input.id == blob
    assert f"blob {blob}" in run("data", "delete", end, exit_code=1).err
    client.cancel(job)


@pytest.mark.slow
def test_a_lambda_stands_for_its_name_pinned_by_the_end_of_an_id(run, client):
    old, new = (client.create_lambda(0, "exotic", name="pinned") for _ in range(2))
    for ref, lambda_id in (("pinned", new), (f"pinned@{old}", old), (f"pinned@{str(old)[-8:]}", old)):
        job = run("job", "submit", ref).out.strip()
        assert client.job(job).lambda_.id == lambda_id
        assert run("lambda", "show", ref, "--json").document["id"] == str(lambda_id)
        client.cancel(job)
    assert len(run("job", "list", "--lambda", "pinned").rows) == 3
    assert len(run("job", "list", "--lambda", f"pinned@{str(old)[-6:]}").rows) == 2
    assert [row[1] for row in run("job", "list", "--lambda", "pinned").rows] == ["pinned"] * 3
    ran = run("lambda", "inspect", "pined.wasm", exit_code=1)
    assert ran.err == "piecework: there is no file 'pined.wasm', and there is no lambda named 'pined.wasm'.\n"
    ran = run("job", "submit", "pined", exit_code=1)
    assert ran.err == "piecework: there is no lambda named 'pined'\n"
    ran = run("lambda", "create", "0", "--runtime", "exotic", "--name", "12", exit_code=2)
    assert "and is no number" in ran.err


def test_an_end_that_several_ids_have_is_refused(run, monkeypatch):
    monkeypatch.setattr(Client, "find_ids", lambda *_: [Id(2_123_456), Id(1_123_456)])
    ran = run("job", "cancel", "123456", exit_code=2)
    assert "several ids of a job end with 123456: 2123456, 1123456." in ran.err
    assert "several ids of a blob end with" in run("data", "show", "123456", exit_code=2).err


def test_an_end_that_no_id_has_is_taken_for_an_id(run):
    assert "there is no job 12345678" in run("job", "show", "12345678", exit_code=1).err


@pytest.mark.parametrize("status", [400, 403, 404])
def test_an_end_is_an_id_at_a_server_that_cannot_look(run, script, status):
    script.answer(ErrorReply(code=1, message="there is nothing"), status=status)
    script.answer(MessageReply(message="job 12345678 is cancelled"))
    assert run("job", "cancel", "12345678", url=script.url).out == "job 12345678 is cancelled\n"


def test_an_output_that_does_not_fit_on_the_disk_is_told_with_its_name(run, finished, lambda_id):
    assert run("job", "output", finished, "-o", "/dev/full", exit_code=1).err == (
        "piecework: /dev/full: No space left on device\n"
    )
    ran = run("job", "submit", lambda_id, "--input", "-", "-o", "/dev/full", given=b"x", exit_code=1)
    assert ran.err.endswith("piecework: /dev/full: No space left on device\n")


def test_a_list_says_how_many_it_does_not_show(run, client, idle_lambda):
    client.submit_many(idle_lambda, ["x"] * 5)
    ran = run("job", "list", "--lambda", idle_lambda, "--limit", 2)
    assert (len(ran.rows), ran.err) == (2, "piecework: shows 2 of 5: --limit 5 shows all\n")
    ran = run("job", "list", "--lambda", idle_lambda, "--limit", 5, "--json")
    assert (len(ran.document), ran.err) == (5, "")
    assert client.count_jobs(lambda_=idle_lambda, state="finished") == 0


def test_a_list_of_lambdas_says_that_there_are_more(run, client):
    for _ in range(2):
        client.create_lambda(0, "exotic")
    assert run("lambda", "list", "--limit", 1).err == "piecework: shows 1 of more: --limit shows further ones\n"
