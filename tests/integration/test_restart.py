"""A server that is stopped in order and started again while everybody works."""

import time
from pathlib import Path

import pytest
from evidence import trouble_in
from guests import guest

from piecework import Client
from piecework.local import LocalAgent, LocalServer, stop_together

pytestmark = pytest.mark.integration

STOPPED_WITHIN_S = 10.0
PATIENCE_S = 60.0
JOBS = 200


def test_a_server_stops_within_seconds_under_load_and_everything_goes_on_after_it_started_again(tmp_path: Path):
    first = LocalServer(tmp_path)
    agents = [LocalAgent(first.url, tmp_path, name, "--slots", "1") for name in ("one", "two")]
    try:
        with Client(first.url, attempts=30) as client:
            lambda_id = client.create_lambda(guest("burn_cpu"), args=["20"])
            ids = client.submit_many(lambda_id, [None] * JOBS)
            results = client.results(ids, PATIENCE_S)
            next(results)
            began = time.monotonic()
            assert first.stop() == 0
            assert time.monotonic() - began < STOPPED_WITHIN_S
            with LocalServer(tmp_path, port=first.port) as second:
                assert all(result.ok for _, result in results)
                assert [agent.exit_code for agent in agents] == [None, None]
                stop_together(agents)
                assert second.exit_code is None
        assert [agent.exit_code for agent in agents] == [0, 0]
        assert trouble_in(tmp_path / "server.log") == []
    finally:
        stop_together([*agents, first])


def test_an_agent_that_drains_hands_back_what_it_has_not_started_and_leaves_at_once(tmp_path: Path):
    with LocalServer(tmp_path) as server, Client(server.url) as client:
        lambda_id = client.create_lambda(guest("count_slowly"))
        ids = [client.submit(lambda_id, args=args) for args in (["3", "100"], ["1", "1000"], ["1", "1000"])]
        with LocalAgent(server.url, tmp_path, "leaving", "--slots", "1") as leaving:
            assert next(client.follow_log(ids[0]))
            began = time.monotonic()
            assert leaving.stop() == 0
            assert time.monotonic() - began < STOPPED_WITHIN_S
        assert client.job(ids[0]).state == "Finished"
        assert [client.job(job).attempt for job in ids[1:]] == [0, 0]
        with LocalAgent(server.url, tmp_path, "staying", "--slots", "1"):
            outputs = {job: result.read() for job, result in client.results(ids, PATIENCE_S)}
            assert [outputs[job] for job in ids] == [b"30\n", b"1\n", b"1\n"]


def test_an_idle_agent_stops_without_sitting_out_its_poll(tmp_path: Path):
    with LocalServer(tmp_path) as server, Client(server.url) as client:
        with LocalAgent(server.url, tmp_path, "idle", "--slots", "1") as agent:
            lambda_id = client.create_lambda(guest("echo"))
            assert client.result(client.submit(lambda_id, "x"), PATIENCE_S) == b"x"
            began = time.monotonic()
            assert agent.stop() == 0
        assert time.monotonic() - began < STOPPED_WITHIN_S / 2
