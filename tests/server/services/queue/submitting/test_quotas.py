"""Quotas of tokens: of which lambdas they submit, how many jobs unfinished at once, how many in a time."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from house import House

from piecework.server.api.table import ENDPOINTS
from piecework.server.errors import InvalidRequest
from piecework.server.services.tokens import token_acts
from piecework.server.store.stock.quotas import Quota
from piecework.server.web.narrowing import FOR_SOME_LAMBDAS, UNCOUNTED


def make(house: House, name: str = "shop", *, scope: str = "submit", **quota: Any) -> dict[str, Any]:
    """Make a token, and return how requests show it."""
    made = Quota(**quota) if quota else None
    secret = token_acts.create_token(house.services.database, name, scope, house.clock(), quota=made)
    house.clock.forward(1.1)
    return {"headers": {"Authorization": f"Bearer {secret}"}}


def admin(house: House) -> dict[str, Any]:
    return make(house, "root", scope="admin")


def new_lambda(house: House, shown: dict[str, Any], **fields: Any) -> str:
    body = {"codex": "0", "runtime": "default"} | fields
    return str(house.call("POST", "/lambda", body, **shown)["id"])


def submit(
    house: House, lambda_: str, count: int, shown: dict[str, Any], *, status: int = 200, **more: Any
) -> Any:
    spec = {"lambda": lambda_, "input": {"text": "x"}} | more
    return house.call("POST", "/job", {"jobs": [spec] * count}, status=status, **shown)


def count_jobs(house: House, shown: dict[str, Any]) -> int:
    return len(house.call("GET", "/job", **shown)["jobs"])


def retry_after(house: House, lambda_: str, count: int, shown: dict[str, Any]) -> int:
    body = {"jobs": [{"lambda": lambda_}] * count}
    response = house.client.post("/job", json=body, **shown)
    assert response.status_code == 429, response.data
    assert response.get_json()["code"] == 15
    return int(response.headers["Retry-After"])


def test_a_token_for_some_lambdas_submits_no_others_and_is_told_what_it_may(house: House):
    root = admin(house)
    old, new, other = (new_lambda(house, root, name=name) for name in ("hola", "hola", "ciao"))
    shop = make(house, lambdas=("hola",))
    for ref in (old, new, "hola"):
        submit(house, ref, 2, shop)
    for ref in (other, "ciao"):
        refused = house.call("POST", "/job", {"lambda": ref}, status=403, **shop)
        assert refused["message"] == "the token shop may use hola, not lambda ciao"
    mixed = {"jobs": [{"lambda": "hola"}, {"lambda": "ciao"}]}
    house.call("POST", "/job", mixed, status=403, **shop)
    assert count_jobs(house, root) == 6


def test_a_token_for_the_id_of_a_lambda_does_not_submit_newer_ones_of_its_name(house: House):
    root = admin(house)
    old = new_lambda(house, root, name="hola")
    shop = make(house, lambdas=(old,))
    submit(house, "hola", 1, shop)
    new_lambda(house, root, name="hola")
    assert "may use" in submit(house, "hola", 1, shop, status=403)["message"]


def test_a_token_for_some_lambdas_reads_what_these_are_and_no_others(house: House):
    root = admin(house)
    hola, other = (new_lambda(house, root, name=name) for name in ("hola", "ciao"))
    shop = make(house, lambdas=("hola",))
    for ref in ("hola", hola):
        assert house.call("GET", f"/lambda/{ref}?view=full", **shop)["id"] == hola
    for ref in ("ciao", other):
        refused = house.call("GET", f"/lambda/{ref}", status=403, **shop)
        assert refused["message"] == "the token shop may use hola, not lambda ciao"


def test_a_token_for_some_lambdas_sees_and_cancels_only_jobs_that_it_submitted(house: House):
    root = admin(house)
    new_lambda(house, root, name="hola")
    shop, stall = make(house, lambdas=("hola",)), make(house, "stall", lambdas=("hola",))
    [own], [foreign] = (submit(house, "hola", 1, shown)["ids"] for shown in (shop, stall))
    assert [job["id"] for job in house.call("GET", "/job", **shop)["jobs"]] == [own]
    assert house.call("GET", "/job?submitter=stall&total=true", **shop)["total"] == 1
    for method, path in (("GET", ""), ("GET", "/log"), ("GET", "/logs"), ("GET", "/trace"), ("DELETE", "")):
        house.call(method, f"/job/{own}{path}", **shop)
        refused = house.call(method, f"/job/{foreign}{path}", status=404, **shop)
        assert refused["message"] == f"there is no job {foreign}"
    house.call("GET", f"/job?ids={own},{foreign}&until=all&timeout=9", status=404, **shop)
    assert house.call("GET", f"/job/{foreign}", **root)["state"] == "Enqueued"


def test_a_token_for_some_lambdas_reads_only_data_that_its_jobs_made(house: House):
    root = admin(house)
    new_lambda(house, root, name="hola")
    shop, node = make(house, lambdas=("hola",)), make(house, "node", scope="worker")
    worker = str(house.call("POST", "/worker", {"runtime": ["default"], "name": "w"}, **node)["id"])
    outputs = []
    for shown in (shop, root):
        submit(house, "hola", 1, shown)
        [leased] = house.call("POST", f"/worker/{worker}/contract", {"max": 1, "timeout": 0}, **node)["jobs"]
        done = {"job": leased["job"], "lease": leased["lease"], "state": "Finished", "output": {"text": "secret"}}
        house.call("POST", f"/worker/{worker}/finish", {"outcomes": [done]}, **node)
        outputs.append(house.call("GET", f"/job/{leased['job']}", **root)["output"]["id"])
    own, foreign = outputs
    assert house.fetch(f"/data/{own}/blob", **shop).data == b"secret"
    assert house.fetch(f"/data/{foreign}/blob", **shop).status_code == 404
    assert "made the data" in house.call("GET", f"/data/{foreign}", status=404, **shop)["message"]


def test_a_token_for_some_lambdas_reads_no_journal_which_has_what_their_guests_were_told(house: House):
    root = admin(house)
    new_lambda(house, root, name="hola", record=True)
    shop, node = make(house, lambdas=("hola",)), make(house, "node", scope="worker")
    worker = str(house.call("POST", "/worker", {"runtime": ["default"], "name": "w"}, **node)["id"])
    [job] = submit(house, "hola", 1, shop)["ids"]
    [leased] = house.call("POST", f"/worker/{worker}/contract", {"max": 1, "timeout": 0}, **node)["jobs"]
    done = {"job": leased["job"], "lease": leased["lease"], "state": "Finished", "journal": {"text": "a password"}}
    house.call("POST", f"/worker/{worker}/finish", {"outcomes": [done]}, **node)
    journal = house.call("GET", f"/job/{job}?view=full", **root)["journal"]
    assert house.fetch(f"/data/{journal}/blob", **root).data == b"a password"
    assert house.fetch(f"/data/{journal}/blob", **shop).status_code == 404


def test_jobs_of_a_token_for_some_lambdas_use_no_results_of_others(house: House):
    root = admin(house)
    new_lambda(house, root, name="hola")
    shop = make(house, lambdas=("hola",))
    [foreign] = submit(house, "hola", 1, root)["ids"]
    [own] = submit(house, "hola", 1, shop)["ids"]
    submit(house, "hola", 1, shop, input={"job": own})
    submit(house, "hola", 1, shop, after=[own])
    for more in ({"input": {"job": foreign}}, {"after": [foreign]}, {"inputs": {"a": foreign}}):
        refused = submit(house, "hola", 1, shop, status=404, **more)
        assert refused["message"] == f"there is no job {foreign}"
    assert "cannot join a group" in submit(house, "hola", 1, shop, status=403, group="nightly")["message"]


def test_a_token_for_some_lambdas_reaches_nothing_else(house: House):
    shop = make(house, lambdas=("hola",))
    places = {(each.method, each.path) for each in ENDPOINTS}
    assert places >= FOR_SOME_LAMBDAS | UNCOUNTED
    for each in ENDPOINTS:
        if each.scope == "open" or (each.method, each.path) in FOR_SOME_LAMBDAS:
            continue
        path = "/".join("1" if part.startswith("<") else part for part in each.path.split("/"))
        house.call(each.method, path, {}, status=403, **shop)
    assert house.client.get("/console/jobs", **shop).status_code == 403


@pytest.mark.parametrize("most", [1, 3])
def test_no_more_jobs_of_a_token_are_unfinished_than_it_may_have(house: House, most: int):
    root = admin(house)
    lambda_ = new_lambda(house, root)
    shop = make(house, queued_max=most)
    submit(house, lambda_, 5, root)  # those of others do not count
    ids = submit(house, lambda_, most, shop)["ids"]
    assert retry_after(house, lambda_, 1, shop) == 2
    house.call("DELETE", f"/job/{ids[0]}", **shop)
    submit(house, lambda_, 1, shop)
    refused = submit(house, lambda_, 1, shop, status=429)
    assert refused["message"] == (
        f"the token shop has {most} unfinished jobs and may have {most}: 1 more are too many"
    )
    assert "may have" in submit(house, lambda_, most + 1, shop, status=422)["message"]


def test_a_job_that_is_run_again_counts_again(house: House):
    root = admin(house)
    lambda_ = new_lambda(house, root)
    shop = make(house, queued_max=1)
    [id_] = submit(house, lambda_, 1, shop)["ids"]
    house.call("DELETE", f"/job/{id_}", **shop)
    assert (
        "not schedule, retry or replay"
        in house.call("POST", "/job/bulk", {"action": "retry"}, status=403, **shop)["message"]
    )
    house.call("POST", "/job/bulk", {"action": "retry", "ids": [id_]}, **root)
    retry_after(house, lambda_, 1, shop)


def test_a_repeated_submission_takes_nothing_of_a_quota(house: House):
    root = admin(house)
    lambda_ = new_lambda(house, root)
    shop = make(house, queued_max=1, rate=1, period_ms=60_000)
    first = submit(house, lambda_, 1, shop, key="k")
    assert submit(house, lambda_, 1, shop, key="k") == first
    retry_after(house, lambda_, 1, shop)


def test_a_rate_is_held_to_the_millisecond_and_its_answer_says_when_to_come_again(house: House):
    root = admin(house)
    lambda_ = new_lambda(house, root)
    shop = make(house, rate=6, period_ms=60_000)
    submit(house, lambda_, 4, shop)
    assert retry_after(house, lambda_, 3, shop) == 10
    submit(house, lambda_, 2, shop)
    for wait_s in (10, 20, 50):
        assert retry_after(house, lambda_, wait_s // 10, shop) == wait_s
    house.clock.forward(9.999)
    assert retry_after(house, lambda_, 1, shop) == 1
    house.clock.forward(0.001)
    submit(house, lambda_, 1, shop)
    house.clock.forward(3600)
    submit(house, lambda_, 6, shop)
    assert retry_after(house, lambda_, 1, shop) == 10
    assert "may submit 6 jobs in 60 s" in submit(house, lambda_, 7, shop, status=422)["message"]
    assert count_jobs(house, root) == 13


def test_submissions_at_the_same_time_do_not_pass_a_quota_together(house: House):
    root = admin(house)
    lambda_ = new_lambda(house, root)
    shop = make(house, queued_max=7, rate=100, period_ms=60_000)

    def send(_: int) -> int:
        body = {"jobs": [{"lambda": lambda_}] * 2}
        return house.app.test_client().post("/job", json=body, **shop).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(send, range(24)))
    assert statuses == [200] * 3 + [429] * 21
    assert count_jobs(house, root) == 6


def test_a_changed_quota_counts_within_a_second_for_both_secrets(house: House):
    root, database = admin(house), house.services.database
    lambda_ = new_lambda(house, root)
    old = make(house, rate=1, period_ms=60_000)
    secret = token_acts.rotate_token(database, "shop", house.clock(), overlap_ms=3_600_000)
    house.clock.forward(1.1)
    new = {"headers": {"Authorization": f"Bearer {secret}"}}
    submit(house, lambda_, 1, old)
    retry_after(house, lambda_, 1, new)
    token_acts.change_token(database, "shop", house.clock(), lambda _: Quota())
    house.clock.forward(1.1)
    for shown in (old, new):
        submit(house, lambda_, 3, shown)
    assert [each.quota for each in token_acts.list_tokens(database)] == [None] * 3


@pytest.mark.parametrize(
    ("scope", "quota", "told"),
    [
        ("admin", Quota(rate=1), "only those of submit and invoke"),
        ("submit", Quota(lambdas=("a b",)), "neither the id nor the name"),
        ("submit", Quota(queued_max=0), "1 to 1,000,000 jobs"),
        ("submit", Quota(rate=1, period_ms=0), "the period of a rate"),
        ("submit", Quota(lambdas=tuple(f"l{n}" for n in range(101))), "at most 100"),
    ],
)
def test_a_quota_that_cannot_be_is_refused(house: House, scope: str, quota: Quota, told: str):
    with pytest.raises(InvalidRequest, match=told):
        token_acts.create_token(house.services.database, "t", scope, 1, quota=quota)


def test_use_of_tokens_that_are_gone_is_forgotten(house: House):
    root, database = admin(house), house.services.database
    lambda_ = new_lambda(house, root)
    shop = make(house, rate=1)
    submit(house, lambda_, 1, shop)
    token_acts.rotate_token(database, "shop", house.clock(), overlap_ms=0, expires_at=house.clock() + 10)
    make(house, "last")
    house.clock.forward(400 * 86400)
    house.services.access.forget()
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM quotas").scalar() == 0
