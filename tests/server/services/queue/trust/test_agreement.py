"""Results on which workers of several owners must agree."""

from typing import Any

import pytest
from house import House, failed
from owners import earn, new_worker, owner, result, run, told, verified


def test_two_owners_must_say_the_same(house: House):
    ada, ben = new_worker(house, "ada"), new_worker(house, "ben")
    job = house.submit(verified(house, quorum=2))
    run(house, ada)
    assert house.state(job) == "Enqueued"
    assert house.trace(job)[-1] == ("Enqueued", "one owner's worker gave a result: another has to agree")
    run(house, ben)
    assert (house.state(job), result(house, job)) == ("Finished", "right")
    assert owner(house, "ada") == owner(house, "ben") == (1, 1, 0)


def test_no_two_workers_of_one_owner_vote_on_a_job(house: House):
    ada, twin, ben = (new_worker(house, name) for name in ("ada", "ada", "ben"))
    house.submit(verified(house, quorum=2))
    run(house, ada)
    assert house.contract(ada)["jobs"] == house.contract(twin)["jobs"] == []
    assert house.contract(twin, tags=["-owner:ada"])["jobs"] == []
    assert len(house.contract(ben)["jobs"]) == 1


def test_without_tokens_each_worker_is_its_own_owner(house: House):
    job = house.submit(verified(house, quorum=2))
    for worker in (new_worker(house, None), new_worker(house, None)):
        run(house, worker)
    assert house.state(job) == "Finished"


def test_the_attempts_of_a_job_are_not_used_up_by_votes(house: House):
    workers = [new_worker(house, name) for name in "abc"]
    job = house.submit(verified(house, quorum=3), max_attempts=1)
    for worker in workers:
        run(house, worker)
    assert house.state(job) == "Finished"


def test_a_majority_wins_and_who_differs_is_caught(house: House):
    ada, eve, ben = (new_worker(house, name) for name in ("ada", "eve", "ben"))
    job = house.submit(verified(house, quorum=2))
    run(house, ada)
    run(house, eve, "wrong")
    assert house.trace(job)[-1][1] == "2 owners do not agree: another has to agree"
    run(house, ben)
    assert result(house, job) == "right"
    assert owner(house, "eve") == (0, 0, 1)
    assert owner(house, "ada") == (1, 1, 0)


@pytest.mark.parametrize("change", [{"fuel": 101}, {"text": "wrong"}])
def test_output_and_fuel_must_be_alike(house: House, change: dict[str, Any]):
    ada, ben = new_worker(house, "ada"), new_worker(house, "ben")
    job = house.submit(verified(house, quorum=2))
    run(house, ada)
    run(house, ben, **change)
    assert house.state(job) == "Enqueued"


def test_digests_that_are_not_those_of_the_output_are_wrong(house: House):
    eve = new_worker(house, "eve")
    job = house.submit(verified(house, sample=0.0))
    lie = told(house.lease(eve), "right") | {"output": {"text": "wrong"}}
    house.finish(eve, lie)
    assert house.state(job) != "Finished"
    assert "its worker told other digests than those of its result" in house.trace(job)[-1][1]
    assert owner(house, "eve") == (0, 0, 1)


def test_failures_need_others_who_agree_too(house: House):
    ada, eve, ben = (new_worker(house, name) for name in ("ada", "eve", "ben"))
    job = house.submit(verified(house, quorum=2), max_attempts=1)
    house.finish(eve, failed(house.lease(eve), "load", "it does not compile"))
    assert house.state(job) == "Enqueued"
    run(house, ada)
    run(house, ben)
    assert house.state(job) == "Finished"
    assert owner(house, "eve") == (0, 0, 1)


def test_a_share_of_what_a_believed_owner_gives_is_looked_at(house: House):
    lambda_id = verified(house, sample=1.0)
    ada, ben = new_worker(house, "ada"), new_worker(house, "ben")
    earn(house, lambda_id, ada, ben)
    job = house.submit(lambda_id)
    run(house, ada)
    assert house.state(job) == "Enqueued"


def test_a_trusted_owner_breaks_a_tie(tmp_path_factory: pytest.TempPathFactory):
    house = House(tmp_path_factory.mktemp("house"), settings={"trusted_owners": "me, my-ci"})
    eve, mal, ada, mine = (new_worker(house, name) for name in ("eve", "mal", "ada", "me"))
    job = house.submit(verified(house, quorum=2))
    run(house, eve, "wrong")
    run(house, ada)
    assert house.contract(mal)["jobs"] == []
    run(house, mine)
    assert result(house, job) == "right"
    assert owner(house, "eve") == (0, 0, 1)
    assert house.call("GET", f"/job/{job}?view=full")["verified"] is True
    house.close()


def test_a_job_says_that_it_waits_for_another_owner(tmp_path_factory: pytest.TempPathFactory):
    house = House(tmp_path_factory.mktemp("house"), settings={"trusted_owners": "me"})
    ada, ben = new_worker(house, "ada"), new_worker(house, "ben")
    job = house.submit(verified(house, quorum=3))

    def why() -> str | None:
        found: str | None = house.call("GET", f"/job/{job}?view=full").get("advice")
        return found

    run(house, ada)
    assert why() is None  # ben may have it
    run(house, ben)
    lacking = "others must agree on its result, and no worker of another owner than ada, ben was heard of lately"
    assert why() == lacking
    run(house, new_worker(house, "cid"), "wrong")
    lacking = "no worker of a trusted owner was heard of lately, and only that decides where others do not agree"
    assert why() == lacking
    new_worker(house, "me")
    assert why() is None
    house.close()


def test_another_engine_is_asked_for(house: House):
    ada, ben = new_worker(house, "ada"), new_worker(house, "ben")
    pulley = new_worker(house, "cid", tags=["engine:pulley"])
    job = house.submit(verified(house, quorum=2, diverse=True))
    run(house, ada)
    assert house.contract(ben)["jobs"] == []
    run(house, pulley)
    assert house.state(job) == "Finished"


def test_when_nobody_agrees_the_job_fails_and_says_so(house: House):
    job = house.submit(verified(house, quorum=2))
    for number in range(7):
        run(house, new_worker(house, f"owner {number}"), f"text {number}")
    found = house.call("GET", f"/job/{job}?view=full")
    assert found["state"] == "Fail_Execution"
    assert found["error"]["message"] == "7 owners of workers do not agree: the largest group of them has 1"
    assert "verified" not in found


def test_jobs_tell_whether_others_agreed(house: House):
    lambda_id = verified(house, sample=0.0)
    ada, ben = new_worker(house, "ada"), new_worker(house, "ben")
    earn(house, lambda_id, ada, ben)
    job = house.submit(lambda_id)
    assert "verified" not in house.call("GET", f"/job/{job}?view=full")
    run(house, ada)
    assert house.call("GET", f"/job/{job}?view=full")["verified"] is False


@pytest.mark.parametrize("tag", ["owner:ben", "+owner:ben", "trusted"])
def test_workers_cannot_give_themselves_the_servers_tags(house: House, tag: str):
    said = house.call("POST", "/worker", {"runtime": ["default"], "tags": [tag]}, status=422)
    assert said["message"] == f"the tag {tag!r} is not for workers to have: the server gives it"


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"verify": {"quorum": 2}}, "`verify` needs `deterministic`"),
        ({"deterministic": True, "verify": {}}, "`verify` has one of `sample` and `quorum`"),
        ({"deterministic": True, "verify": {"quorum": 2, "sample": 0.1}}, "`verify` has one of"),
        ({"deterministic": True, "verify": {"quorum": 1}}, "verify.quorum"),
    ],
)
def test_rules_that_cannot_be_kept_are_refused(house: House, fields: dict[str, Any], complaint: str):
    body = {"codex": "0", "runtime": "default"} | fields
    assert complaint in house.call("POST", "/lambda", body, status=422)["message"]
