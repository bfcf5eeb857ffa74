"""`piecework scale` against a real server."""


def test_scale_tells_wanted_slots(run, client):
    lambda_id = client.create_lambda(b"", runtime="scale of nothing", name="scaled")
    jobs = client.submit_many(lambda_id, ["1", "2"])
    try:
        shown = run("scale", "--lambda", "scaled").out
        assert "2 slots" in shown
        assert "0, 0 of them free" in shown
        document = run("scale", "--runtime", "scale of nothing", "--within", "10m", "--json").document
        assert (document["wanted"], document["enqueued"], document["slots"]) == (2, 2, 0)
    finally:
        for job in jobs:
            client.cancel(job)


def test_scale_refuses_what_is_unknown(run):
    assert "no lambda named 'nil'" in run("scale", "--lambda", "nil", exit_code=1).err
    assert "did you mean wasi?" in run("scale", "--runtime", "wsai", exit_code=1).err
    assert "longer than 0" in run("scale", "--within", "0", exit_code=2).err
