"""What a lambda may ask for: grants that some node could give, and features that workers have."""

import pytest
from house import House


@pytest.mark.parametrize(
    ("grants", "reason"),
    [
        ({"http": ["http://a.test"]}, "grants.http has 'http://a.test', but each must be a host"),
        ({"http": ["a.test/path"]}, "grants.http has 'a.test/path'"),
        ({"http": [""]}, "grants.http has ''"),
        ({"http": ["a.test"] * 101}, "grants.http has more than 100 entries"),
        ({"http": ["a" * 301]}, "grants.http"),
        ({"env": ["A=B"]}, "grants.env has 'A=B'"),
        ({"env": ["A\nB"]}, "grants.env"),
        ({"dirs": ["data"]}, "grants.dirs has 'data'"),
        ({"dirs": ["/"]}, "grants.dirs has '/'"),
        ({"dirs": ["/a/../b"]}, "grants.dirs has '/a/../b'"),
        ({"dirs": ["/a/.."]}, "grants.dirs has '/a/..'"),
        ({"dirs": ["/..:rw"]}, "grants.dirs has '/..:rw'"),
        ({"dirs": ["/a:rx"]}, "grants.dirs has '/a:rx'"),
        ({"files": "all"}, "all"),
        ({"kv": ["word"]}, "grants.kv has 'word', but each must be a namespace as `ID`"),
        ({"kv": ["n=1:rx"]}, "grants.kv has 'n=1:rx'"),
        ({"kv": ["12=1"]}, "grants.kv has '12=1'"),
        ({"kv": ["9" * 19]}, "grants.kv has '999"),
        ({"kv": ["n=1", "n=2:rw"]}, "grants.kv has two namespaces that are called 'n'"),
        ({"kv": ["n=17"]}, "there is no namespace 17"),
    ],
)
def test_grant_that_no_node_could_give_is_refused_with_its_name(house: House, grants: dict, reason: str):
    reply = house.call("POST", "/lambda", {"codex": "0", "runtime": "wasi", "grants": grants}, status=None)
    assert reply["status"] == "error"
    assert reason in reply["message"]


def test_grants_reach_the_worker_as_they_were_made(house: House):
    space = house.call("POST", "/kv")["id"]
    grants = {
        "http": ["a.test", "[::1]:81", "*", "*:8080", "10.0.0.1:9000"],
        "redis": True,
        "files": "write",
        "dirs": ["/data", "/out/a..b:rw", "/in:ro"],
        "env": ["LANG"],
        "kv": [f"{space}:ro", f"c={space}:rw"],
    }
    house.submit(house.new_lambda(grants=grants))
    [described] = house.contract(house.new_worker())["lambdas"]
    assert described["grants"] == grants


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        ("capsule", True),
        ("capsule+redis", True),
        ("capsule+http+redis", True),
        ("capsule+redis+http", True),
        ("capsule+dir:/data", True),
        ("capsule+dir:/other", False),
        ("capsule+couchbase", False),
        ("wasi+redis", False),
    ],
)
def test_worker_registers_once_with_all_features_and_gets_what_needs_some(house: House, wanted: str, fits: bool):
    worker = house.new_worker("capsule+http+redis+dir:/data", "wasi+dir:/data")
    job = house.submit(house.new_lambda(runtime=wanted))
    found = [each["job"] for each in house.contract(worker)["jobs"]] if fits else house.contract(worker)["code"]
    assert found == ([job] if fits else 1299)
    assert "wasi+dir:/data" in house.call("GET", f"/worker/{worker}")["runtime"]


def test_job_says_which_feature_its_workers_lack(house: House):
    house.new_worker("capsule+http")
    house.new_worker("capsule")
    job = house.submit(house.new_lambda(runtime="capsule+redis+http"))
    advice = house.call("GET", f"/job/{job}?view=full")["advice"]
    assert advice.endswith("offers the runtime capsule+redis+http; of those with capsule, the nearest lacks redis")
    other = house.submit(house.new_lambda(runtime="cobol+x"))
    assert house.call("GET", f"/job/{other}?view=full")["advice"].endswith("offers the runtime cobol+x")


def test_job_says_which_runtime_may_be_meant(house: House):
    house.new_worker("capsule", "ruby+http")
    for wanted, meant in (("pyton", "python3.12"), ("python+http", "python3.12"), ("rubby", "ruby")):
        job = house.submit(house.new_lambda(runtime=wanted))
        assert house.call("GET", f"/job/{job}?view=full")["advice"].endswith(f"did you mean {meant}?")
