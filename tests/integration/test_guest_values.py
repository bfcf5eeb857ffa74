"""Guests that use keys and values of a real server, over real agents, also while server or agent is killed."""

from collections import Counter
from pathlib import Path

import pytest
from guests import guest
from patience import until
from v05_client import V05Api
from wasmtime import wat2wasm

from piecework import Client
from piecework.client.errors import JobFailed, NotFound
from piecework.local import LocalAgent, LocalServer, stop_together
from piecework.protocol.ids import Id
from piecework.protocol.messages import Grants

pytestmark = pytest.mark.integration

PATIENCE_S = 120.0
JOBS = 60
SWAPPERS, SWAPS = 8, 5
IMPORTS = """
  (import "piecework" "kv_get" (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (import "piecework" "kv_set"
    (func $set (param i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32) (result i32)))
  (import "piecework" "kv_add" (func $add (param i32 i32 i32 i32 i64 i64 i32) (result i32)))
  (import "piecework" "kv_answer" (func $answer (param i32 i32) (result i32)))
  (memory (export "memory") 1)"""
SWAP = f"""(module {IMPORTS}
  (data (i32.const 0) "row")
  (func (export "_start") (local $left i32) (local $size i32)
    (local.set $left (i32.const {SWAPS}))
    (loop $again
      (if (call $get (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 3) (i32.const 8)) (then unreachable))
      (local.set $size (call $answer (i32.const 100) (i32.const 1000)))
      (i32.store8 (i32.add (i32.const 100) (local.get $size)) (i32.const 0x78))
      (br_if $again (i32.eq (i32.const 11) (call $set (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 3)
        (i32.const 100) (i32.add (local.get $size) (i32.const 1)) (i32.const 8) (i64.const -1)
        (i32.const 100) (local.get $size) (i32.const 8))))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $again (local.get $left)))))"""
"""Puts an x behind ``row`` several times, each time only if nobody changed it since it was read."""
CLAIM = f"""(module {IMPORTS}
  (data (i32.const 0) "begun")
  (data (i32.const 10) "claim")
  (func (export "_start")
    (drop (call $add (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 5)
      (i64.const 1) (i64.const -1) (i32.const 200)))
    (if (i32.eqz (call $set (i32.const 0) (i32.const 0) (i32.const 10) (i32.const 5) (i32.const 200) (i32.const 0)
      (i32.const 4) (i64.const -1) (i32.const 0) (i32.const 0) (i32.const 200)))
      (then (loop $forever (br $forever))))))"""
"""Adds 1 to ``begun``, and never ends once it got the ``claim``; who comes too late for that ends well."""


def run(client: Client, lambda_id: int, *args: str) -> str:
    return client.result(client.submit(lambda_id, args=list(args) or None, max_attempts=1), PATIENCE_S).decode()


def fail(client: Client, lambda_id: int, *args: str) -> str:
    """Run a job that is to fail, and return its log."""
    job = client.submit(lambda_id, args=list(args) or None, max_attempts=1)
    with pytest.raises(JobFailed):
        client.result(job, PATIENCE_S)
    return client.log(job).text


def test_guests_and_older_clients_share_entries(client: Client, agent: LocalAgent, server: LocalServer):
    older = V05Api(server.url)
    space = older.create_namespace()
    older.set_value(space, "count", "40")
    counter = client.create_lambda(guest("count_up"), grants=Grants(kv=[f"c={space}:rw"]))
    assert [run(client, counter), run(client, counter)] == ["41\n", "42\n"]
    assert older.get_value(space, "count") == client.get_value(Id(int(space)), "count") == "42"


def test_guest_does_all_that_can_be_done(client: Client, agent: LocalAgent):
    space = client.create_namespace()
    keeper = client.create_lambda(guest("keep_values"), grants=Grants(kv=[f"s={space}:rw"]))

    def act(*words: str) -> str:
        return run(client, keeper, "s", *words)

    assert act("set", "ä/b", "wörd") == act("get", "ä/b") == "wörd"
    assert (act("append", "ä/b", "!"), act("swap", "ä/b", "new")) == ("wörd!", "wörd!")
    assert (act("claim", "b", "mine"), act("replace", "b", "yours", "mine")) == ("mine", "yours")
    assert (act("add", "n", "-3"), act("keys"), act("keys", "n")) == ("-3", "b\nn\nä/b\n", "n\n")
    assert "there is a value already" in fail(client, keeper, "s", "claim", "b", "mine")
    assert "no whole number" in fail(client, keeper, "s", "add", "b", "1")
    act("delete", "b", "yours")
    with pytest.raises(NotFound):
        client.get_value(space, "b")
    client.remove_namespace(space)
    assert "there is no namespace" in fail(client, keeper, "s", "get", "n")


def test_guest_without_the_grant_is_denied(client: Client, agent: LocalAgent):
    space = client.create_namespace()
    for grants, is_deterministic, why in (
        (Grants(), False, "no grant for a namespace without a name; --grant-kv NAME=ID:rw gives it one"),
        (Grants(kv=[str(space)]), False, "can only be read; --grant-kv with :rw would allow more"),
        (Grants(kv=[f"{space}:rw"]), True, "a deterministic lambda reaches nothing"),
    ):
        counter = client.create_lambda(guest("count_up"), grants=grants, deterministic=is_deterministic)
        log = fail(client, counter)
        assert log.startswith("kv_add denied: ")
        assert why in log
        assert log.endswith("not counted: Permission denied\n")
    assert list(client.keys(space)) == []


def test_what_a_killed_agents_guest_claimed_stays_claimed(client: Client, server: LocalServer, tmp_path: Path):
    space = client.create_namespace()
    claimer = client.create_lambda(bytes(wat2wasm(CLAIM)), grants=Grants(kv=[f"{space}:rw"]), tags=["+claims"])
    job = client.submit(claimer)
    with LocalAgent(server.url, tmp_path, "first", "--slots", "1", "--tag", "claims") as first:
        until(lambda: "claim" in client.keys(space), PATIENCE_S, 0.05)
        first.kill()
    with LocalAgent(server.url, tmp_path, "second", "--slots", "1", "--tag", "claims"):
        assert client.result(job, PATIENCE_S) == b""
    assert client.get_value(space, "begun") == "2"


def test_nothing_is_lost_between_two_agents_while_the_server_is_killed(tmp_path: Path):
    first = LocalServer(tmp_path)
    agents = [LocalAgent(first.url, tmp_path, name, "--slots", "2") for name in ("one", "two")]
    try:
        with Client(first.url, attempts=30) as client:
            space = client.create_namespace()
            grants = Grants(kv=[f"{space}:rw"])
            client.set_value(space, "row", "")
            swapper = client.create_lambda(bytes(wat2wasm(SWAP)), grants=grants)
            results = dict(client.results(client.submit_many(swapper, [None] * SWAPPERS), PATIENCE_S))
            assert all(result.ok for result in results.values())
            assert client.get_value(space, "row") == "x" * SWAPPERS * SWAPS

            client.set_value(space, "count", "0")
            counter = client.create_lambda(guest("count_up"), grants=grants)
            ids = client.submit_many(counter, [None] * JOBS, max_attempts=1)
            until(lambda: int(client.get_value(space, "count")) >= JOBS // 4, PATIENCE_S, 0.05)
            first.kill()
            with LocalServer(tmp_path, port=first.port):
                results = dict(client.results(ids, PATIENCE_S))
                sums = Counter(int(result.read()) for result in results.values() if result.ok)
                total = int(client.get_value(space, "count"))
                errors = [str(result.info.error) for result in results.values() if not result.ok]
                unsure = sum("I/O error" in each for each in errors)
                undone = sum("temporarily unavailable" in each for each in errors)
                run_again = sum(result.info.attempt - 1 for result in results.values())
                assert len(results) == JOBS
                assert unsure + undone == len(errors), errors
                assert set(sums.values()) == {1}
                assert len(sums) <= total <= len(sums) + unsure + run_again
                stop_together(agents)
    finally:
        stop_together([*agents, first])
