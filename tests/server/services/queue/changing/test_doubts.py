"""What becomes of accepted results when an owner of workers is caught."""

from typing import Any

import pytest
from house import House, failed
from owners import DIGESTS, earn, new_worker, owner, result, run, verified

CODE = b"#!deterministic"


@pytest.mark.slow
def test_an_owner_is_believed_after_a_streak_and_no_longer_once_it_is_caught(house: House):
    lambda_id = verified(house, sample=0.0)
    ada, ben, cid = (new_worker(house, name) for name in ("ada", "ben", "cid"))
    earn(house, lambda_id, ada, ben)
    assert owner(house, "ada")[0] == 10
    trusted = house.submit(lambda_id)
    run(house, ada, "wrong, and nobody looks")
    assert house.state(trusted) == "Finished"
    # A lambda of which each result is looked at catches it.
    checked = house.submit(verified(house, quorum=2))
    run(house, ada, "wrong")
    run(house, ben)
    run(house, cid)
    assert house.state(checked) == "Finished"
    assert owner(house, "ada")[0] == 0
    house.services.doubts.recheck()
    assert house.trace(trusted)[-1] == ("Enqueued", "run again: ada gave a wrong result elsewhere")
    assert house.contract(ada)["jobs"] == []
    run(house, ben)
    assert result(house, trusted) == "right"
    house.services.doubts.recheck()
    house.services.doubts.recheck()
    assert house.services.agreement.list_owners()[0].caught_at is None


def test_what_only_caught_owners_agreed_on_is_run_again(house: House):
    lambda_id = verified(house, quorum=2)
    eve, mal, ada, ben = (new_worker(house, name) for name in ("eve", "mal", "ada", "ben"))
    together = house.submit(lambda_id)
    run(house, eve, "wrong")
    run(house, mal, "wrong")
    assert result(house, together) == "wrong"
    for liar in (eve, mal):
        house.submit(lambda_id)
        run(house, liar, "wrong")
        run(house, ada)
        run(house, ben)
        house.services.doubts.recheck()
    assert house.trace(together)[-1] == ("Enqueued", "run again: mal gave a wrong result elsewhere")
    run(house, ada)
    run(house, ben)
    assert result(house, together) == "right"


def test_votes_of_others_on_open_jobs_stay(house: House):
    lambda_id = verified(house, quorum=3)
    eve, ada, ben, cid = (new_worker(house, name) for name in ("eve", "ada", "ben", "cid"))
    other, job = house.submit(lambda_id, priority=1), house.submit(lambda_id)
    run(house, eve, "wrong")
    run(house, eve, "wrong")
    for worker in (ada, ben, cid):
        run(house, worker)  # the other one
    run(house, ada)
    assert (house.state(other), owner(house, "eve")[2]) == ("Finished", 1)
    house.services.doubts.recheck()
    run(house, ben)
    run(house, cid)
    assert (house.state(job), result(house, job)) == ("Finished", "right")


def test_who_voted_honestly_may_run_it_again(house: House):
    lambda_id = verified(house, quorum=2)
    eve, mal, ada, ben = (new_worker(house, name) for name in ("eve", "mal", "ada", "ben"))
    job = house.submit(lambda_id)
    run(house, eve, "wrong")
    run(house, ada)
    run(house, mal, "wrong")  # the two liars agree
    assert result(house, job) == "wrong"
    for liar in (eve, mal):
        catch(house, liar, ada, ben)
    house.services.doubts.recheck()
    run(house, ada)
    run(house, ben)
    assert result(house, job) == "right"


def test_a_failure_that_is_run_again_is_voted_on_anew(tmp_path_factory: pytest.TempPathFactory):
    house = House(tmp_path_factory.mktemp("house"), settings={"trusted_owners": "me"})
    mine, ada, eve = (new_worker(house, name) for name in ("me", "ada", "eve"))
    job = house.submit(verified(house, quorum=3))
    house.finish(mine, fails(house.lease(mine)))
    assert house.state(job) == "Fail_Execution"
    house.call("POST", "/job/bulk", {"action": "retry", "ids": [job]})
    house.finish(ada, fails(house.lease(ada)))
    run(house, eve, "wrong")  # now the trusted owner decides, who had voted before
    house.finish(mine, fails(house.lease(mine)))
    assert house.state(job) == "Fail_Execution"
    assert house.call("GET", f"/job/{job}?view=full")["verified"] is True
    assert owner(house, "eve")[2] == 1
    house.close()


def fails(lease: dict[str, str]) -> dict[str, Any]:
    """Return an outcome of a deterministic run that failed."""
    return failed(lease, "guest", "no luck") | {"usage": {"fuel": 7, "digests": DIGESTS}}


def catch(house: House, liar: str, *honest: str) -> None:
    """Have a liar be found out, by two others."""
    house.submit(verified(house, quorum=2), input={"text": "another"})
    run(house, liar, "wrong")
    for worker in honest:
        run(house, worker)


@pytest.fixture
def codex(house: House) -> str:
    found = house.call("POST", "/data", data=CODE, content_type="application/octet-stream")["id"]
    return str(found)


def remembered(house: House, codex: str, **verify: Any) -> str:
    """Create a lambda whose equal jobs are run once, as soon as owners agreed."""
    return house.new_lambda(codex=codex, deterministic=True, memo=True, verify=verify)


def told_of(house: House, job: str) -> tuple[Any, Any]:
    """Return whether others agreed with a job's result, and with which job's it was answered."""
    found = house.call("GET", f"/job/{job}?view=full")
    return found.get("verified"), found.get("recalled")


def test_others_are_answered_only_with_what_was_agreed_on(house: House, codex: str):
    ada, ben = new_worker(house, "ada"), new_worker(house, "ben")
    earn(house, verified(house, sample=0.0), ada, ben)
    lambda_id = remembered(house, codex, sample=0.0)
    first = house.submit(lambda_id)
    run(house, ada)
    assert house.state(first) == "Enqueued"  # ada is believed, but not for others
    run(house, ben)
    again = house.submit(lambda_id)
    assert (house.state(again), told_of(house, again)) == ("Finished", (True, first))
    alone = house.submit(lambda_id, memo=False)
    run(house, ada)
    assert (house.state(alone), told_of(house, alone)) == ("Finished", (False, None))


def test_what_was_accepted_on_fewer_words_answers_nobody(house: House, codex: str):
    ada = new_worker(house, "ada")
    house.submit(house.new_lambda(codex=codex, deterministic=True, memo=True))
    run(house, ada)
    assert house.state(house.submit(remembered(house, codex, quorum=2))) == "Enqueued"


def test_jobs_answered_with_a_doubtful_result_run_again(house: House, codex: str):
    eve, mal, ada, ben = (new_worker(house, name) for name in ("eve", "mal", "ada", "ben"))
    lambda_id = remembered(house, codex, quorum=2)
    first, meanwhile = house.submit(lambda_id), house.submit(lambda_id)
    run(house, eve, "wrong")
    run(house, mal, "wrong")
    later = house.submit(lambda_id)
    jobs = (first, meanwhile, later)
    assert [result(house, job) for job in jobs] == ["wrong"] * 3
    catch(house, eve, ada, ben)
    catch(house, mal, ada, ben)
    for _ in range(3):
        house.services.doubts.recheck()
    assert all(house.trace(job)[-1][1].startswith("run again: ") for job in jobs)
    for worker in (ada, ben):
        for _ in jobs:
            run(house, worker)
    assert [result(house, job) for job in jobs] == ["right"] * 3
    assert [told_of(house, job) for job in jobs] == [(True, None)] * 3
    assert house.state(house.submit(lambda_id)) == "Enqueued"  # what was kept is forgotten
    house.services.doubts.recheck()
    assert [each.caught_at for each in house.services.agreement.list_owners()] == [None] * 4
