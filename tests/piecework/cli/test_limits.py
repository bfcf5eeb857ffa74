"""`piecework limit` and `piecework tenant` against a real server."""

import pytest


@pytest.fixture
def lambda_id(run, tmp_path):
    code = tmp_path / "code"
    code.write_bytes(b"return 1")
    options = [
        "--concurrency-key",
        "of lambda",
        "--concurrency-limit",
        "1",
        "--rate-key",
        "hourly",
        "--rate-limit",
        "9/1m",
    ]
    return run("lambda", "create", code, "--runtime", "dlabLua", *options).out.strip()


def test_limits_are_set_shown_and_taken_back(run, lambda_id):
    shown = run("lambda", "show", lambda_id).out
    assert "of lambda: 1" in shown
    assert "hourly: 9 in 60 s" in shown
    jobs = [run("job", "submit", lambda_id).out.strip() for _ in range(2)]
    rows = run("limit", "list").rows
    assert ["of", "lambda", "concurrency", "1", "job", "0", "1"] in rows
    assert ["hourly", "rate", "9", "in", "60", "s", "job", "0", "0"] in rows
    assert "limit of key of lambda has room for the next: 0 of 1 run" in run("job", "show", jobs[1]).out
    assert run("limit", "set", "of lambda", "--concurrency", "2").rows[0][2:5] == ["concurrency", "2", "operator"]
    assert run("job", "show", jobs[1], "--json").document["state"] == "Enqueued"
    [document] = run("limit", "show", "of lambda", "--json").document
    assert (document["limit"], document["said"], document["set_by"]) == (2, 1, "operator")
    assert run("limit", "clear", "of lambda").out == "what jobs say counts again for the key of lambda\n"
    assert run("limit", "check").out.endswith(" limits checked, 0 counts were wrong\n")
    assert run("limit", "check", "--json").document["repaired"] == 0
    assert len(run("limit", "list", "--limit", "1").rows) == 1


@pytest.mark.parametrize("rate", ["5/s", "5/1s", "5"])
def test_a_rate_is_a_number_and_a_time(run, rate):
    [document] = run("limit", "set", "rated", "--rate", rate, "--json").document
    assert (document["limit"], document["period_s"]) == (5, 1)


@pytest.mark.parametrize("rate", ["x/1m", "5/0s", "5/", "-1/1m", "/1m"])
def test_what_is_no_rate_is_a_mistake(run, rate):
    assert "--rate" in run("limit", "set", "k", "--rate", rate, exit_code=2).err


def test_mistakes_are_told(run, lambda_id):
    assert "give --concurrency, --rate or both" in run("limit", "set", "k", exit_code=2).err
    assert "no limit has the key" in run("limit", "show", "nobody", exit_code=1).err
    assert "no limit has the key" in run("limit", "clear", "nobody", exit_code=1).err
    assert "0 is not in the range" in run("tenant", "set", "t", "--weight", "0", exit_code=2).err
    refused = run("job", "submit", lambda_id, "--concurrency-key", "k" * 10_000, exit_code=1).err
    assert "concurrency_key has 1 to 255 characters, this one has 10000" in refused


def test_tenants_are_weighed_and_listed(run, lambda_id):
    run("job", "submit", lambda_id, "--tenant", "ruby")
    assert run("tenant", "set", "ruby", "--weight", "3").out == "ruby has the weight 3\n"
    [row] = [row for row in run("tenant", "list").rows if row[0] == "ruby"]
    assert row[:6] == ["ruby", "3", "1", "0", "0", "0"]
    assert row[-1] == "ago"
    told = {"name": "ruby", "weight": 3, "enqueued": 1, "running": 0, "finished": 0, "failed": 0}
    assert any(told.items() <= each.items() for each in run("tenant", "list", "--json").document)
