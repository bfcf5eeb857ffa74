"""Lambdas under their names: the newest is meant, ``name@id`` pins one, a repeated submission keeps its own."""

from urllib.parse import quote

import pytest
from house import House
from places import Place
from rows import blob

from piecework.server.store.engine.ids import NEW_ID_MAX
from piecework.server.store.options import LambdaOptions
from piecework.server.store.records import Lambda
from piecework.server.store.stock import blobs, lambdas


def run_lambda(house: House, ref: object, **fields: object) -> str:
    """Submit a job by a reference, and return the lambda that it runs."""
    job = house.call("POST", "/job", {"lambda": ref} | fields)["id"]
    return str(house.call("GET", f"/job/{job}")["lambda"]["id"])


def test_a_name_means_the_newest_lambda_that_has_it(house: House):
    first = house.new_lambda(name="upper")
    other = house.new_lambda(name="lower")
    assert run_lambda(house, "upper") == first
    second = house.new_lambda(name="upper")
    assert run_lambda(house, "upper") == second
    assert run_lambda(house, f"upper@{first}") == first
    assert run_lambda(house, "lower") == other
    assert [house.call("GET", f"/lambda/{ref}")["id"] for ref in ("upper", f"upper@{first}", second)] == [
        second, first, second,
    ]  # fmt: skip


def test_older_names_of_fields_take_names_too(house: House):
    lambda_ = house.new_lambda(name="upper")
    job = house.call("POST", "/job", {"functio": "upper", "input_id": "0"})["jid"]
    assert house.call("GET", f"/job/{job}")["functio"] == lambda_


def test_names_are_resolved_for_each_of_many_jobs(house: House):
    upper, lower = house.new_lambda(name="upper"), house.new_lambda(name="lower")
    ids = house.call("POST", "/job", {"jobs": [{"lambda": ref} for ref in ("upper", "lower", upper)]})["ids"]
    infos = house.call("GET", f"/job?ids={','.join(ids)}")["jobs"]
    assert [each["lambda"]["id"] for each in infos] == [upper, lower, upper]


@pytest.mark.parametrize("place", ["sqlite_place", pytest.param("postgres_place", marks=pytest.mark.integration)])
def test_a_lambda_that_another_server_made_is_meant_at_once(request: pytest.FixtureRequest, place: str):
    where: Place = request.getfixturevalue(place)
    one, two = (House(where.data, database_url=where.database_url) for _ in range(2))
    one.new_lambda(name="upper")
    run_lambda(two, "upper")
    newest = one.new_lambda(name="upper")
    assert run_lambda(two, "upper") == newest
    one.close()
    two.close()


def test_of_a_database_with_larger_older_ids_the_newest_is_meant(house: House):
    older = Lambda(NEW_ID_MAX + 5, 0, "default", "upper", LambdaOptions(), 0)
    house.services.database.write(lambda connection: lambdas.add_lambda(connection, older))
    assert run_lambda(house, "upper") == str(older.id)
    newer = house.new_lambda(name="upper")
    assert run_lambda(house, "upper") == newer


@pytest.mark.parametrize("name", ["Upper case, once", "hola/blue", "été", "a@b"])
def test_names_from_before_there_was_a_rule_are_found(house: House, name: str):
    old = Lambda(77, 0, "default", name, LambdaOptions(), 0)
    house.services.database.write(lambda connection: lambdas.add_lambda(connection, old))
    assert run_lambda(house, name) == run_lambda(house, f"{name}@77") == "77"
    assert house.call("GET", f"/lambda/{quote(name, safe='')}?view=full")["name"] == name


@pytest.mark.parametrize("name", ["12", "", "a b", "a@1", "hola/blue", "x" * 101, ".", 'a"b'])
def test_a_new_lambda_cannot_be_called_so(house: House, name: str):
    body = {"codex": "0", "runtime": "default", "name": name}
    assert "name" in house.call("POST", "/lambda", body, status=422)["message"]
    assert house.call("GET", "/lambda")["lambdas"] == []


@pytest.mark.parametrize(
    ("ref", "status", "says"),
    [
        ("uper", 404, "no lambda named 'uper'"),
        ("upper@1", 404, "no lambda 1"),
        ("upper@{lower}", 404, "is named 'lower', not 'upper'"),
        ("upper@{nameless}", 404, "has no name, not 'upper'"),
        ("", 422, "the lambda is wrong"),
        (str(2**63), 422, "the lambda is wrong"),
    ],
)
def test_a_name_that_means_nothing_says_why(house: House, ref: str, status: int, says: str):
    house.new_lambda(name="upper")
    ref = ref.format(lower=house.new_lambda(name="lower"), nameless=house.new_lambda())
    assert says in house.call("POST", "/job", {"lambda": ref}, status=status)["message"]
    assert house.call("GET", "/job")["jobs"] == []


def test_lists_of_jobs_and_lambdas_take_names(house: House):
    first, other = house.new_lambda(name="upper"), house.new_lambda(name="lower")
    old, _ = house.submit(first), house.submit(other)
    second = house.new_lambda(name="upper")
    new = house.submit(second)

    def listed(ref: str) -> list[str]:
        return [each["id"] for each in house.call("GET", f"/job?lambda={ref}")["jobs"]]

    assert listed("upper") == [new, old]
    assert listed(f"upper@{first}") == listed(first) == [old]
    assert house.call("GET", "/job?lambda=upper&total=true&limit=1")["total"] == 2
    assert house.call("GET", "/job?lambda=uper", status=404)["message"] == "there is no lambda named 'uper'"
    assert [each["id"] for each in house.call("GET", "/lambda?name=upper")["lambdas"]] == [second, first]
    page = house.call("GET", "/lambda?name=upper&limit=1")
    assert house.call("GET", f"/lambda?name=upper&cursor={page['next']}")["lambdas"][0]["id"] == first


def test_a_repeated_submission_means_what_its_name_meant_first(house: House):
    first = house.new_lambda(name="upper", tags=["old"])
    body = {"lambda": "upper", "key": "order-1", "input": {"text": "x"}}
    job = house.call("POST", "/job", body)["id"]
    many = {"key": "batch-1", "jobs": [{"lambda": "upper", "input": {"text": text}} for text in "ab"]}
    ids = house.call("POST", "/job", many)["ids"]
    second = house.new_lambda(name="upper", tags=["new"])
    assert house.call("POST", "/job", body)["id"] == job
    assert house.call("POST", "/job", body | {"lambda": first})["id"] == job
    assert house.call("POST", "/job", many)["ids"] == ids
    assert house.call("POST", "/job", {"jobs": [body, {"lambda": "upper"}]})["ids"][0] == job
    assert run_lambda(house, "upper") == second


def test_the_same_key_with_another_name_or_input_is_still_a_mistake(house: House):
    house.new_lambda(name="upper")
    house.new_lambda(name="lower")
    body = {"lambda": "upper", "key": "order-1", "input": {"text": "x"}}
    house.call("POST", "/job", body)
    house.new_lambda(name="upper")
    for other in ({"lambda": "lower"}, {"input": {"text": "y"}}, {"priority": 1}):
        assert "other content" in house.call("POST", "/job", body | other, status=409)["message"]


def test_a_function_is_deployed_from_a_lambda_by_name(house: House):
    house.services.database.write(lambda connection: blobs.add_blobs(connection, [blob(5)]))
    house.new_lambda(codex="5", name="upper", args=["old"])
    newest = house.new_lambda(codex="5", name="upper", args=["new"])
    made = house.call("PUT", "/deployments/hola/blue", {"lambda": "upper", "replicas": 0, "runtime": "default"})
    assert made["revisions"][0]["args"] == ["new"]
    assert house.call("GET", f"/lambda/{newest}?view=full")["args"] == ["new"]
    refused = house.call("PUT", "/deployments/hola/red", {"lambda": "uper"}, status=404)
    assert "no lambda named 'uper'" in refused["message"]
