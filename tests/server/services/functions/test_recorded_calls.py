"""Recorded calls: handed in by hosts, kept in bounds, told of, removed."""

import base64
from pathlib import Path
from typing import Any

import msgspec
import pytest
from house import House
from recorded import some_call

from piecework.http.exchange import Request
from piecework.receipts.recorded_calls import CALL_MAX_BYTES, RecordedCall, write_call

WASM = (Path(__file__).parents[4] / "samples" / "echo.wasm").read_bytes()
CALLS = "/deployments/hola/blue/calls"


class Replica:
    """A replica of ``hola/blue`` on a host, as far as the server knows of it."""

    def __init__(self, house: House, **fields: Any) -> None:
        self.house = house
        codex = house.call("POST", "/data", data=WASM, content_type="application/octet-stream")["id"]
        self.worker = house.new_worker("wasi")
        self.report()
        house.call("PUT", "/deployments/hola/blue", {"codex": codex, "replicas": 1} | fields)
        [self.order] = self.report()["replicas"]

    def report(self, *replicas: dict[str, Any]) -> dict[str, Any]:
        body = {"slots": 4, "replicas": list(replicas)}
        return self.house.call("POST", f"/worker/{self.worker}/functions", body)

    def hand_in(self, *calls: bytes, replica: str | None = None, worker: str | None = None) -> dict[str, Any]:
        told = [
            {"replica": replica or self.order["id"], "call": base64.b64encode(each).decode()} for each in calls
        ]
        return self.house.call("POST", f"/worker/{worker or self.worker}/calls", {"calls": told})

    def listed(self) -> list[dict[str, Any]]:
        return self.house.call("GET", CALLS)["calls"]


@pytest.fixture
def replica(house: House) -> Replica:
    return Replica(house, record={"share": 0.05, "kept": ["x-api-key"]}, env={"API_KEY": "k"})


def now(house: House, back_s: float = 0.0) -> float:
    return house.clock() / 1000 - back_s


def test_an_order_says_what_is_recorded(house: House, replica: Replica):
    assert replica.order["record"] == {"share": 0.05, "kept": ["x-api-key"]}
    [blue] = house.call("GET", "/deployments/hola")["revisions"]
    assert (blue["record"], blue["recorded"]) == (replica.order["record"], 0)
    plain = house.call("PUT", "/deployments/plain/blue", {"lambda": blue["lambda"], "env": {}})
    assert plain["revisions"][0]["record"] == replica.order["record"], "it is an option of what it runs"


def test_handed_in_calls_are_told_newest_first(house: House, replica: Replica):
    calls = [some_call(WASM, at=now(house)), some_call(WASM, Request("GET", "/" + "x" * 2000), None, fuel=None)]
    assert replica.hand_in(*calls) == {"code": 0, "status": "ok", "kept": 2}
    failed, good = replica.listed()
    assert (good["method"], good["uri"], good["status"]) == ("POST", "/a?b=c", 200)
    assert (good["at"], good["took_s"], good["fuel"], good["memory_bytes"]) == (now(house), 0.25, 1234, 65_536)
    assert (failed["error"], len(failed["uri"])) == ("trap", 1000)
    assert "status" not in failed
    assert "fuel" not in failed
    found = house.call("GET", f"{CALLS}/{good['id']}")
    assert base64.b64decode(found["call"]) == calls[0]
    assert found["info"] == good
    page = house.call("GET", f"{CALLS}?limit=1")
    assert (page["calls"], page["next"]) == ([failed], failed["id"])
    assert house.call("GET", "/deployments/hola")["revisions"][0]["recorded"] == 2


def test_a_call_that_is_handed_in_again_is_there_once(house: House, replica: Replica):
    calls = [some_call(WASM, at=now(house)), some_call(WASM, at=now(house, 1))]
    assert replica.hand_in(*calls)["kept"] == replica.hand_in(*calls)["kept"] == 2
    assert len(replica.listed()) == 2


def test_calls_that_cannot_be_kept_are_refused_alone(house: House, replica: Replica):
    good = some_call(WASM, at=now(house))
    cut = RecordedCall.read_from(good).record
    bad = {
        b"no call": "the recorded call cannot be read: ",
        some_call(b"other"): "the call is of other code than hola/blue has",
        some_call(WASM, served=False): "the recorded call is of something that answers no requests",
        write_call(msgspec.structs.replace(cut, parts=cut.parts[1:])): "the recorded call has no part ",
        bytes(CALL_MAX_BYTES + 1): "the recorded call has ",
    }
    for call, said in bad.items():
        answer = replica.hand_in(call, good)
        assert (answer["kept"], answer["refused"][: len(said)]) == (1, said)
    stranger = house.new_worker("wasi")
    answer = replica.hand_in(good, worker=stranger)
    assert (answer["kept"], "is not of this host" in answer["refused"]) == (0, True)
    assert house.call("POST", "/worker/77/calls", {"calls": []}, status=404)["code"] == 801


def test_a_revision_that_records_nothing_keeps_nothing(house: House):
    replica = Replica(house)
    assert "record" not in replica.order
    assert replica.hand_in(some_call(WASM))["kept"] == 0
    assert replica.listed() == []


def test_only_the_newest_calls_are_kept(house: House):
    house.settings |= {"recorded_calls_max": 3}
    house.restart()
    replica = Replica(house, record={"share": 1})
    replica.hand_in(*[some_call(WASM, Request("GET", f"/{n}"), at=now(house, 9 - n)) for n in range(5)])
    assert [each["uri"] for each in replica.listed()] == ["/4", "/3", "/2"]


def test_all_together_take_so_many_bytes_at_most(house: House):
    size = len(some_call(WASM, Request("GET", "/0")))
    house.settings |= {"recorded_calls_max_bytes": 2 * size}
    house.restart()
    replica = Replica(house, record={"share": 1})
    replica.hand_in(*[some_call(WASM, Request("GET", f"/{n}"), at=now(house, 9 - n)) for n in range(4)])
    assert [each["uri"] for each in replica.listed()] == ["/3", "/2"]


def test_old_calls_are_swept(house: House, replica: Replica):
    day = 86_400
    replica.hand_in(some_call(WASM, at=now(house, 31 * day)), some_call(WASM, at=now(house, 29 * day)))
    assert house.services.records.sweep() is False
    [left] = replica.listed()
    assert left["at"] == now(house, 29 * day)


def test_calls_are_removed_and_go_with_their_revision(house: House, replica: Replica):
    replica.hand_in(some_call(WASM, at=now(house)), some_call(WASM, at=now(house, 1)))
    [*_, call] = replica.listed()
    assert house.call("DELETE", CALLS)["message"] == "2 recorded calls of hola/blue are removed"
    assert house.call("GET", f"{CALLS}/{call['id']}", status=404)["code"] == 1107
    replica.hand_in(some_call(WASM))
    house.call("DELETE", "/deployments/hola")
    assert house.call("GET", CALLS, status=404)["code"] == 1101


def test_what_was_not_recorded_is_told_by_replica(house: House, replica: Replica):
    said = {"id": replica.order["id"], "state": "running", "url": "http://node:1", "pid": 1}
    replica.report(said | {"unrecorded": {"secrets": 3}})
    [blue] = house.call("GET", "/deployments/hola")["revisions"]
    assert blue["replicas"][0]["unrecorded"] == {"secrets": 3}


def test_evidence_of_a_gate_is_kept_with_its_revision(house: House, replica: Replica):
    evidence = {
        "old": "1", "function": "hola/blue", "checksum": replica.order["codex_checksum"], "runtime": "wasi",
        "policy": "identical", "passed": True, "compared": 1, "identical": 1, "engine": "x", "findings": [],
    }  # fmt: skip
    body = {"codex": replica.order["codex"], "replicas": 0, "gate": evidence}
    green = house.call("PUT", "/deployments/hola/green", body)["revisions"]
    [found] = [each for each in green if each["name"] == "green"]
    assert (found["gate"]["function"], found["gate"]["passed"]) == ("hola/blue", True)
    assert "record" not in found
    wrong = body | {"gate": evidence | {"checksum": "0" * 64}}
    assert "gate is about code" in house.call("PUT", "/deployments/hola/red", wrong, status=422)["message"]


@pytest.mark.parametrize("record", [{"share": 0}, {"share": 1.5}, {"share": 1, "kept": [""]}, {"share": "5%"}, {}])
def test_wrong_shares_are_refused(house: House, record: dict[str, Any]):
    codex = house.call("POST", "/data", data=WASM, content_type="application/octet-stream")["id"]
    body = {"codex": codex, "record": record}
    assert "record" in house.call("PUT", "/deployments/hola/blue", body, status=None)["message"]
    assert house.call("GET", "/functions")["functions"] == []
