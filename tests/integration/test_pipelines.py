"""Pipelines without a program around them, on a real server with a real agent."""

import json
from pathlib import Path

import pytest

from piecework import Client
from piecework.client import output_of
from piecework.protocol.ids import Id

SAMPLES = Path(__file__).parents[2] / "samples"
PATIENCE_S = 60
GOES_BACK = "import sys\nprint(open('/inputs/a').read() + open('/inputs/empty').read(), end='')\n"

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("agent")]


def create(client: Client, sample: str) -> Id:
    return client.create_lambda(SAMPLES / f"{sample}.wasm")


def read(client: Client, job: Id) -> bytes:
    [info] = client.ended([job], PATIENCE_S)
    assert info.state == "Finished", info
    return client.output(info)


def test_three_steps_and_a_failure_on_the_way(client: Client):
    upper, copy = create(client, "uppercase"), create(client, "copy_file")
    first = client.submit(upper, "words", delay_s=1)
    second = client.submit(copy, output_of(first))
    third = client.submit(copy, args=["/inputs/second.txt"], files_of={"second.txt": str(second)})
    assert read(client, third) == b"WORDS"
    missing = client.submit(copy, args=["/inputs/none"], max_attempts=1, files_of={"second.txt": str(second)})
    after = client.submit(copy, output_of(missing))
    [ended] = client.ended([after], PATIENCE_S)
    assert (ended.state, getattr(ended.error, "kind", None)) == ("Cancelled", "parent")


def test_what_was_given_cannot_be_changed(client: Client):
    upper, copy = create(client, "uppercase"), create(client, "copy_file")
    first = client.submit(upper, "words")
    bad = client.submit(copy, args=["/inputs/a", "/inputs/a"], max_attempts=1, files_of={"a": str(first)})
    [ended] = client.ended([bad], PATIENCE_S)
    assert ended.state == "Fail_Execution"
    good = client.submit(copy, args=["/inputs/a"], files_of={"a": str(first)})
    assert read(client, good) == b"WORDS"


def test_scripts_find_the_files(client: Client):
    upper, copy = create(client, "uppercase"), create(client, "copy_file")
    first, empty = client.submit(upper, "words"), client.submit(copy)
    script = client.create_lambda(GOES_BACK.encode(), "micropython")
    assert read(client, client.submit(script, files_of={"a": str(first), "empty": str(empty)})) == b"WORDS"


def test_a_job_gets_the_results_of_a_group(client: Client):
    upper, copy = create(client, "uppercase"), create(client, "copy_file")
    members = client.submit_many(upper, ["a", "b", "c"], group="letters")
    then = client.submit_then("letters", copy)
    results = json.loads(read(client, then))
    outputs = [client.read(Id(each["output"])) for each in results["jobs"]]
    assert [Id(each["id"]) for each in results["jobs"]] == members
    assert outputs == [b"A", b"B", b"C"]
