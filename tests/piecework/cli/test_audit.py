"""`piecework audit` against a real server."""


def test_it_shows_who_did_what_newest_first(run, lambda_id):
    for name in ("audited a", "audited b"):
        run("tenant", "set", name, "--weight", "2")
    document = run("audit", "--act", "weigh", "--limit", "2", "--json").document
    assert [(each["by"], each["target"], each["detail"]) for each in document] == [
        ("loopback", "audited b", "weight=2"), ("loopback", "audited a", "weight=2"),
    ]  # fmt: skip
    shown = run("audit", "--target", "audited a", "--since", "1h")
    assert shown.rows[0][2:] == ["(loopback)", "weigh", "tenant", "audited", "a", "1", "weight=2"]
    assert not run("audit", "--target", "audited a", "--before", "1h").rows
    assert "shows 1 of more" in run("audit", "--limit", "1").err


def test_mistakes_are_told(run):
    assert "neither a time" in run("audit", "--since", "yesterday", exit_code=2).err


def test_the_client_takes_times_as_they_come(run, client):
    from datetime import UTC, datetime, timedelta

    client.set_tenant("audited c", 3)
    hour = timedelta(hours=1)
    assert [each.target for each in client.audit(1, act="weigh", since=hour)] == ["audited c"]
    assert list(client.audit(act="weigh", before=datetime.now(UTC) - hour)) == []
