"""`piecework job watch`."""

import json

import pytest


def lines(ran):
    return [json.loads(line) for line in ran.out.splitlines()]


def test_what_has_happened_is_printed_a_line_for_each_step(run, client, idle_lambda):
    before = client.newest_event()
    job = client.submit(idle_lambda)
    client.cancel(job)
    rows = [line.split() for line in run("job", "watch", "--after", before, "--no-follow").out.splitlines()]
    assert [row[2:] for row in rows] == [
        [str(job), "Enqueued", str(idle_lambda)],
        [str(job), "Cancelled", str(idle_lambda), "cancelled"],
    ]


def test_json_has_a_document_on_each_line_with_the_number_to_go_on_from(run, client, idle_lambda):
    before = client.newest_event()
    job = client.submit(idle_lambda)
    client.cancel(job)
    first, second = lines(run("job", "watch", "--after", before, "--no-follow", "--json"))
    assert (first["job"], first["state"], second["state"]) == (str(job), "Enqueued", "Cancelled")
    assert lines(run("job", "watch", "--after", first["number"], "--no-follow", "--json")) == [second]


def test_jobs_that_are_named_are_watched_to_their_end(run, client, lambda_id, worker):
    job = client.submit(lambda_id, b"hello")
    told = lines(run("job", "watch", job, "--json"))
    assert told[-1]["state"] == "Finished"
    assert [each["state"] for each in told] == list(dict.fromkeys(each["state"] for each in told))
    again = lines(run("job", "watch", job, "--json"))
    assert [each["state"] for each in again] == ["Finished"], "where it stands, and no wait"


def test_steps_can_be_chosen(run, client, idle_lambda):
    before = client.newest_event()
    first, second = client.submit(idle_lambda), client.submit(idle_lambda)
    client.cancel(first)
    client.cancel(second)
    base = ("job", "watch", "--after", before, "--no-follow", "--json")
    assert [each["job"] for each in lines(run(*base, "--state", "cancelled"))] == [str(first), str(second)]
    assert len(lines(run(*base, "--lambda", idle_lambda))) == 4
    assert [each["state"] for each in lines(run(*base, second))] == ["Enqueued", "Cancelled"]
    assert len(lines(run("job", "watch", "--all", "--no-follow", "--json"))) >= 4


@pytest.mark.parametrize(
    ("args", "message", "exit_code"),
    [
        (["--after", "999999999", "--no-follow"], "the feed has got to", 1),
        (["--state", "nope"], "nope", 2),
        (["--lambda", "nothing"], "no lambda named", 1),
        (["--group", "nothing"], "no group nothing", 1),
        (["--all", "--after", "3"], "exclude each other", 2),
        (["--after", "-1"], "range", 2),
        (["123456789012345678"], "no job", 1),
    ],
)
def test_what_cannot_be_watched_is_refused(run, args, message, exit_code):
    assert message in run("job", "watch", *args, exit_code=exit_code).err
