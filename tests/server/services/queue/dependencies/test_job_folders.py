"""Jobs with a directory of their own: what is put in there, what they give back, and who keeps the blobs."""

from io import BytesIO
from typing import Any

import pytest
from house import House, failed, finished

from piecework.server.services.queue.dependencies import folders

WORKER_TAGS = ["inputs", "files"]


@pytest.fixture
def worker(house: House) -> str:
    return house.new_worker()


def upload(house: House, data: bytes) -> str:
    return str(house.client.post("/data", data={"file": (BytesIO(data), "f")}).get_json()["id"])


def lease(house: House, worker: str) -> Any:
    [leased] = house.contract(worker, tags=WORKER_TAGS)["jobs"]
    return leased


def ref(leased: Any) -> dict[str, str]:
    return {"job": leased["job"], "lease": leased["lease"]}


def made(**files: str) -> list[dict[str, Any]]:
    return [{"name": name, "content": {"text": text}} for name, text in files.items()]


def read(house: House, job: str) -> Any:
    return house.call("GET", f"/job/{job}?view=full")


def contents(house: House, files: list[dict[str, Any]]) -> dict[str, bytes]:
    return {each["name"]: house.fetch(f"/data/{each['blob']}/blob").data for each in files}


def run_again(house: House, job: str, **fields: Any) -> Any:
    return house.call("POST", "/job/bulk", {"action": "retry", "ids": [job]} | fields)


def test_a_worker_is_told_the_files_and_gives_others_back(house: House, worker: str):
    blob = upload(house, b"large")
    files = {"src/main.c": {"text": "int"}, "b.bin": blob, "a": {"base64": "AAE="}}
    job = house.submit(house.new_lambda(), files=files, outputs=["*.o", "**/log"])
    leased = lease(house, worker)
    folder = leased["folder"]
    assert contents(house, folder["files"]) == {"a": b"\0\1", "b.bin": b"large", "src/main.c": b"int"}
    assert folder["outputs"] == ["**/log", "*.o"]
    assert [each["size"] for each in folder["files"]] == [2, 5, 3]
    house.finish(worker, finished(ref(leased)) | {"made": made(**{"main.o": "OBJ"})})
    info = read(house, job)
    assert contents(house, info["made"]) == {"main.o": b"OBJ"}
    assert [each["name"] for each in info["files"]] == ["a", "b.bin", "src/main.c"]
    assert info["outputs"] == ["**/log", "*.o"]


def test_a_job_without_files_has_no_directory(house: House, worker: str):
    job = house.submit(house.new_lambda())
    leased = lease(house, worker)
    assert "folder" not in leased
    house.finish(worker, finished(ref(leased)) | {"made": made(a="unasked")})
    assert not {"files", "outputs", "made"} & read(house, job).keys()


def test_only_who_gives_jobs_a_directory_is_given_such_jobs(house: House, worker: str):
    job = house.submit(house.new_lambda(), files={"a": {"text": "x"}})
    assert house.contract(worker)["jobs"] == house.contract(worker, tags=["inputs"])["jobs"] == []
    assert "job" not in house.call("POST", f"/worker/{worker}/contract", {"timeout": 0})
    assert read(house, job)["waits_for"] == "no_worker"
    assert lease(house, worker)["job"] == job


def test_a_lambda_says_what_its_jobs_give_back_unless_they_do(house: House, worker: str):
    lambda_ = house.new_lambda(outputs=["*.o"])
    assert house.call("GET", f"/lambda/{lambda_}?view=full")["outputs"] == ["*.o"]
    for own, told in (({}, ["*.o"]), ({"outputs": ["x"]}, ["x"])):
        house.submit(lambda_, **own)
        assert lease(house, worker)["folder"] == {"files": [], "outputs": told}
    house.submit(lambda_, outputs=[])
    assert "folder" not in lease(house, worker)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"files": {"../a": {"text": ""}}}, "`files` has the file '../a': a path is relative"),
        ({"files": {"/a": {"text": ""}}}, "a path is relative"),
        ({"files": {"a//b": {"text": ""}}}, "a path is relative"),
        ({"files": {"": {"text": ""}}}, "a path is relative"),
        ({"files": {"a\nb": {"text": ""}}}, "control characters"),
        ({"files": {"é" * 101: {"text": ""}}}, "200 bytes"),
        ({"files": {"/".join("a" * 33): {"text": ""}}}, "at most 32 parts"),
        ({"files": {"/".join(["a" * 199] * 3): {"text": ""}}}, "500 bytes in all"),
        ({"files": {"a": {"text": ""}, "a/b": {"text": ""}}}, "'a' as a file, and as a folder"),
        ({"files": {"a": {"base64": "%"}}}, "the file 'a' is wrong: base64 content is broken"),
        ({"files": {"a": {"job": "@7"}}}, "the last of this submission is @0"),
        ({"files": {"a": {}}}, "the file 'a' is wrong"),
        ({"files": {f"f{number}": {"text": ""} for number in range(1001)}}, "at most 1000"),
        ({"files": ["a"]}, "files"),
        ({"outputs": ["../*"]}, "`outputs` has the pattern '../*'"),
        ({"outputs": ["/"]}, "the pattern '/'"),
        ({"outputs": [f"f{number}" for number in range(51)]}, "at most 50"),
    ],
)
def test_files_that_cannot_be(house: House, fields: dict[str, Any], said: str):
    body = {"lambda": house.new_lambda()} | fields
    assert said in house.call("POST", "/job", body, status=422)["message"]


@pytest.mark.parametrize("runtime", ["funless", "capsule+http"])
def test_runtimes_without_files_refuse_them(house: House, runtime: str):
    base = runtime.partition("+")[0]
    said = f"jobs of the runtime {base} have no files"
    for fields in ({"files": {"a": {"text": "x"}}}, {"outputs": ["*"]}):
        body = {"lambda": house.new_lambda(runtime=runtime)} | fields
        assert said in house.call("POST", "/job", body, status=422)["message"]
    body = {"codex": "0", "runtime": runtime, "outputs": ["*"]}
    assert said in house.call("POST", "/lambda", body, status=422)["message"]


def test_a_blob_that_is_not_there_is_refused_and_nothing_is_stored(house: House):
    body = {"lambda": house.new_lambda(), "files": {"a": {"text": "x"}, "b": "12345"}}
    assert house.call("POST", "/job", body, status=404)["message"] == "the blob 12345 of the file b does not exist"
    assert house.call("GET", "/job")["jobs"] == house.call("GET", "/data")["data"] == []


def test_a_schedule_takes_no_files(house: House):
    job = {"lambda": house.new_lambda(), "files": {"a": {"text": "x"}}}
    said = house.call("POST", "/schedule", {"name": "n", "every_s": 60, "job": job}, status=422)["message"]
    assert "no `files`" in said


def test_jobs_that_are_alike_share_the_blobs_of_their_files(house: House, worker: str):
    spec = {"lambda": house.new_lambda(), "files": {"a.h": {"text": "shared"}}}
    ids = house.call("POST", "/job", {"jobs": [spec | {"input": {"text": str(each)}} for each in range(3)]})["ids"]
    blobs = {read(house, each)["files"][0]["blob"] for each in ids}
    assert len(blobs) == 1
    house.call("DELETE", f"/job/{ids[0]}")
    house.services.removal.remove([int(ids[0])])
    assert contents(house, read(house, ids[1])["files"]) == {"a.h": b"shared"}


def test_too_many_files_in_one_submission_are_refused(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(folders, "SUBMITTED_MAX", 3)
    spec = {"lambda": house.new_lambda(), "files": {"a": {"text": ""}, "b": {"text": ""}}}
    said = house.call("POST", "/job", {"jobs": [spec, spec]}, status=422)["message"]
    assert said == "the jobs have 4 files together; one submission takes 3"


def test_a_key_knows_its_job_by_what_is_in_its_files(house: House):
    spec = {"lambda": house.new_lambda(), "key": "k", "files": {"b": {"text": "2"}, "a": upload(house, b"1")}}
    job = house.call("POST", "/job", spec)["id"]
    again = spec | {"files": {"a": upload(house, b"1"), "b": upload(house, b"2")}}
    assert house.call("POST", "/job", again)["id"] == job
    for files in ({"a": {"text": "1"}}, {"a": {"text": "1"}, "b": {"text": "3"}}, {}):
        house.call("POST", "/job", spec | {"files": files}, status=409)
    many = {"key": "all", "jobs": [{"lambda": spec["lambda"], "files": {"a": {"text": "1"}}}]}
    ids = house.call("POST", "/job", many)["ids"]
    assert house.call("POST", "/job", many)["ids"] == ids
    house.call("POST", "/job", many | {"jobs": [many["jobs"][0] | {"files": {"a": {"text": "2"}}}]}, status=409)


def test_a_blob_that_a_job_needs_stays_until_the_job_has_ended(house: House, worker: str):
    blob = upload(house, b"x")
    house.submit(house.new_lambda(), files={"a": blob})
    assert "used" in house.call("DELETE", f"/data/{blob}", status=409)["message"]
    house.finish(worker, finished(ref(lease(house, worker))))
    house.call("DELETE", f"/data/{blob}")


def test_files_stay_as_long_as_their_job_and_go_with_it(house: House, worker: str):
    blob = upload(house, b"uploaded")
    job = house.submit(house.new_lambda(), files={"a": {"text": "inline"}, "b": blob}, outputs=["*"])
    late = upload(house, b"late")
    outcome = finished(ref(lease(house, worker))) | {"made": [*made(c="made"), {"name": "d", "content": late}]}
    house.finish(worker, outcome)
    house.clock.forward(40 * 86_400)
    while house.services.leftovers.sweep_uploads():
        pass
    assert contents(house, read(house, job)["made"]) == {"c": b"made", "d": b"late"}
    assert contents(house, read(house, job)["files"]) == {"a": b"inline", "b": b"uploaded"}
    assert house.services.removal.remove([int(job)]) == [int(job)]
    left = [each["id"] for each in house.call("GET", "/data")["data"]]
    assert left == []


def test_what_an_attempt_made_that_is_followed_by_another_is_not_kept(house: House, worker: str):
    job = house.submit(house.new_lambda(), outputs=["*"], max_attempts=2, backoff={"kind": "none"})
    for text in ("first", "second"):
        house.finish(worker, failed(ref(lease(house, worker))) | {"made": made(a=text)})
    info = read(house, job)
    assert info["state"] == "Fail_Execution"
    assert contents(house, info["made"]) == {"a": b"second"}


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        (made(**{"../a": "x"}), "a path is relative"),
        ([*made(a="x"), *made(a="y")], "two files of job"),
        (made(**{f"f{number}": "" for number in range(1001)}), "at most 1000"),
    ],
)
def test_files_that_no_job_can_have_made(house: House, worker: str, listed: Any, said: str):
    house.submit(house.new_lambda(), outputs=["*"])
    outcome = finished(ref(lease(house, worker))) | {"made": listed}
    assert said in house.finish(worker, outcome, status=422)["message"]


def test_an_outcome_with_a_blob_that_is_gone_is_refused(house: House, worker: str):
    job = house.submit(house.new_lambda(), outputs=["*"])
    outcome = finished(ref(lease(house, worker))) | {"made": [{"name": "a", "content": "12345"}]}
    [ack] = house.finish(worker, outcome, status=409)["acks"]
    assert ack["message"] == "there is no blob 12345"
    assert house.state(job) == "Running"


def test_a_job_that_is_run_again_has_its_files_and_forgets_what_it_made(house: House, worker: str):
    job = house.submit(house.new_lambda(), files={"a": {"text": "x"}}, outputs=["*"], max_attempts=1)
    house.finish(worker, failed(ref(lease(house, worker))) | {"made": made(b="old")})
    run_again(house, job)
    assert read(house, job)["made"] == []
    leased = lease(house, worker)
    assert contents(house, leased["folder"]["files"]) == {"a": b"x"}
    house.finish(worker, finished(ref(leased)) | {"made": made(b="new")})
    assert contents(house, read(house, job)["made"]) == {"b": b"new"}


def test_a_job_that_is_run_again_with_changes_has_the_same_files(house: House, worker: str):
    job = house.submit(house.new_lambda(), files={"a": {"text": "x"}}, outputs=["*"], max_attempts=1)
    house.finish(worker, failed(ref(lease(house, worker))))
    [new] = [each["made"] for each in run_again(house, job, edit={"args": ["b"]})["made"]]
    house.services.removal.remove([int(job)])
    leased = lease(house, worker)
    assert leased["job"] == new
    assert contents(house, leased["folder"]["files"]) == {"a": b"x"}
    assert leased["folder"]["outputs"] == ["*"]


def test_a_job_whose_file_was_deleted_is_not_run_again(house: House, worker: str):
    blob = upload(house, b"x")
    job = house.submit(house.new_lambda(), files={"a": blob}, max_attempts=1)
    house.finish(worker, failed(ref(lease(house, worker))))
    house.call("DELETE", f"/data/{blob}")
    assert "one of its files was deleted" in str(run_again(house, job))
    assert read(house, job)["files"] == [{"name": "a", "blob": blob, "size": 0, "checksum": ""}]


# Files of other jobs


def submit_pair(house: House, files: dict[str, Any], **more: Any) -> list[str]:
    lambda_ = house.new_lambda()
    jobs = [{"lambda": lambda_, "outputs": ["*"]}, {"lambda": lambda_, "files": files, **more}]
    ids: list[str] = house.call("POST", "/job", {"jobs": jobs})["ids"]
    return ids


def test_a_job_gets_files_that_another_gave_back(house: House, worker: str):
    files = {"in/a.o": {"job": "@0", "file": "a.o"}, "said": {"job": "@0"}, "b": {"text": "own"}}
    first, second = submit_pair(house, files)
    assert house.state(second) == "Waiting"
    waiting = {each["name"]: each for each in read(house, second)["files"]}
    assert waiting["in/a.o"] == {
        "name": "in/a.o",
        "blob": "0",
        "size": 0,
        "checksum": "",
        "job": first,
        "file": "a.o",
    }
    house.finish(worker, finished(ref(lease(house, worker)), "output") | {"made": made(**{"a.o": "OBJ"})})
    leased = lease(house, worker)
    assert leased["job"] == second
    expected = {"b": b"own", "in/a.o": b"OBJ", "said": b"output"}
    assert contents(house, leased["folder"]["files"]) == expected
    assert house.services.removal.remove([int(first)]) == [int(first)]
    assert contents(house, read(house, second)["files"]) == expected
    assert house.call("GET", f"/job/{second}?view=full")["after"] == [first]


def test_a_job_that_produced_nothing_gives_an_empty_file(house: House, worker: str):
    submit_pair(house, {"a": {"job": "@0"}})
    house.finish(worker, {**ref(lease(house, worker)), "state": "Finished"})
    assert lease(house, worker)["folder"]["files"] == [{"name": "a", "blob": "0", "checksum": "", "size": 0}]


def test_a_file_that_was_not_given_back_cancels_who_needs_it(house: House, worker: str):
    first, second = submit_pair(house, {"a": {"job": "@0", "file": "none"}})
    house.finish(worker, finished(ref(lease(house, worker))) | {"made": made(a="x")})
    info = read(house, second)
    said = f"{first}, which it waited for, gave back no file 'none'"
    assert (info["state"], info["error"]) == ("Cancelled", {"kind": "parent", "message": said})
    assert said in str(run_again(house, second))
    body = {"lambda": info["lambda"]["id"], "files": {"a": {"job": first, "file": "none"}}}
    assert house.call("POST", "/job", body, status=422)["message"] == said
    assert house.state(house.call("POST", "/job", body | {"on_failure": "run"})["id"]) == "Enqueued"


def test_who_runs_whatever_became_of_the_others_runs_without_their_files(house: House, worker: str):
    files = {"a": {"job": "@0", "file": "a"}, "b": {"text": "own"}}
    submit_pair(house, files, on_failure="run")
    house.finish(worker, failed(ref(lease(house, worker)), "load") | {"made": made(a="x")})
    assert contents(house, lease(house, worker)["folder"]["files"]) == {"b": b"own"}


def test_files_of_a_job_that_has_ended_are_there_at_once(house: House, worker: str):
    first = house.submit(house.new_lambda(), outputs=["*"])
    house.finish(worker, finished(ref(lease(house, worker)), "said") | {"made": made(a="x")})
    house.submit(house.new_lambda(), files={"a": {"job": first, "file": "a"}, "b": {"job": first}})
    assert contents(house, lease(house, worker)["folder"]["files"]) == {"a": b"x", "b": b"said"}


def test_a_job_that_is_run_again_gives_its_files_to_those_that_were_cancelled(house: House, worker: str):
    first, second = submit_pair(house, {"a": {"job": "@0", "file": "a"}})
    house.finish(worker, failed(ref(lease(house, worker)), "load"))
    assert house.state(second) == "Cancelled"
    run_again(house, first)
    house.move_on()
    house.finish(worker, finished(ref(lease(house, worker))) | {"made": made(a="new")})
    house.move_on()
    leased = lease(house, worker)
    assert (leased["job"], contents(house, leased["folder"]["files"])) == (second, {"a": b"new"})


def test_a_file_has_the_results_of_a_group(house: House, worker: str):
    lambda_ = house.new_lambda()
    member = house.submit(lambda_, group="all")
    group = house.call("POST", "/group/all/seal")["group"]["id"]
    last = house.submit(lambda_, files={"results.json": {"job": group}, "again": {"job": group}})
    house.finish(worker, finished(ref(lease(house, worker))))
    for _ in range(50):
        house.services.groups._looked_at = -1e9
        house.move_on()
    leased = lease(house, worker)
    assert leased["job"] == last
    found = contents(house, leased["folder"]["files"])
    assert found["again"] == found["results.json"]
    assert member.encode() in found["again"]


def test_one_output_is_the_input_a_file_and_one_of_the_inputs(house: House, worker: str):
    more = {"input": {"job": "@0"}, "inputs": {"a.txt": "@0"}}
    first, second = submit_pair(house, {"a": {"job": "@0"}, "b": {"job": "@0", "file": "b"}}, **more)
    house.finish(worker, finished(ref(lease(house, worker)), "said") | {"made": made(b="made")})
    leased = lease(house, worker)
    assert contents(house, leased["folder"]["files"]) == {"a": b"said", "b": b"made"}
    assert contents(house, leased["files"]) == {"a.txt": b"said"}
    info = read(house, second)
    assert {each["name"] for each in info["inputs"]} == {"-", "a.txt"}
    assert info["after"] == [first]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"job": "@0", "text": "x"}, "stands alone"),
        ({"file": "a"}, "stands alone"),
        ({"job": "@0", "file": "../a"}, "it is of the file '../a'"),
        ({"job": "@7"}, "the last of this submission is @1"),
        ({"job": "none"}, "`files` is wrong"),
        ({"job": "@1"}, "job @1 waits for itself"),
    ],
)
def test_files_of_others_that_cannot_be(house: House, content: dict[str, Any], said: str):
    lambda_ = house.new_lambda()
    jobs = [{"lambda": lambda_}, {"lambda": lambda_, "files": {"a": content}}]
    assert said in house.call("POST", "/job", {"jobs": jobs}, status=422)["message"]
    assert house.call("GET", "/job")["jobs"] == []


def test_a_key_knows_which_files_of_others_a_job_gets(house: House, worker: str):
    first, _ = submit_pair(house, {})
    spec = {"lambda": house.new_lambda(), "key": "k", "files": {"a": {"job": first, "file": "a"}}}
    job = house.call("POST", "/job", spec)["id"]
    assert house.call("POST", "/job", spec)["id"] == job
    house.call("POST", "/job", spec | {"files": {"a": {"job": first, "file": "b"}}}, status=409)


def test_made_files_are_never_those_of_others(house: House, worker: str):
    job = house.submit(house.new_lambda(), outputs=["*"])
    outcome = finished(ref(lease(house, worker))) | {"made": [{"name": "a", "content": {"job": job}}]}
    assert "are bytes or blobs" in house.finish(worker, outcome, status=422)["message"]
