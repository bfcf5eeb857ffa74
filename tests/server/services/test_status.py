"""What is told of how the server stands: well when all is, and each thing that is not, with what to do."""

from pathlib import Path

import pytest
from house import House, failed, finished

from piecework.receipts import open_key
from piecework.server.services.backups import write_backup
from piecework.server.services.health.findings import look_at_disk


def findings(house: House, level: str = "wrong", query: str = "checks=all") -> dict[str, str]:
    """Return what was found at a level, by what was looked at."""
    found = house.call("GET", f"/sys/status?{query}")["findings"]
    return {each["check"]: each["text"] for each in found if each["level"] == level}


def test_a_server_with_a_worker_and_nothing_to_do_is_well(house: House):
    house.new_worker()
    found = house.call("GET", "/sys/status")
    assert found["is_well"]
    assert found["summary"].startswith("all is well")
    assert (found["enqueued"], found["running"], found["waiting"], found["workers"]) == (0, 0, 0, {"idle": 1})
    assert found["disk_free_bytes"] > 0
    assert found["servers"] == 1
    assert not [each for each in found["findings"] if each["level"] == "ok"]
    every = findings(house, "ok")
    assert {"database", "disk", "files", "workers", "clocks", "queue", "failures", "leases"} <= every.keys()


def test_it_shows_what_is_queued_and_what_happened(house: House):
    lambda_id, worker = house.new_lambda(), house.new_worker()
    house.submit(lambda_id, tags=["+gpu"])
    house.clock.forward(5)
    for _ in range(3):
        house.submit(lambda_id)
    house.finish(worker, finished(house.lease(worker)))
    house.lease(worker)
    found = house.call("GET", "/sys/status")
    assert (found["enqueued"], found["running"]) == (2, 1)
    assert (found["hour"]["submitted"], found["hour"]["finished"]) == (4, 1)
    assert found["oldest_at"] == house.clock() / 1000 - 5
    by_tags = {" ".join(each["tags"]): each for each in found["lanes"]}
    assert (by_tags[""]["enqueued"], by_tags[""]["running"]) == (1, 1)
    assert "tags +gpu" in by_tags["+gpu"]["waits"]


def test_jobs_that_no_worker_will_take_are_wrong(house: House):
    house.new_worker("wasi")
    house.submit(house.new_lambda(runtime="wsai"))
    found = house.call("GET", "/sys/status")
    assert not found["is_well"]
    assert "1 job of runtime wsai cannot run" in found["summary"]
    [finding] = [each for each in found["findings"] if each["check"] == "queue"]
    assert finding["advice"].startswith("piecework job show ")


def test_a_job_that_waits_for_long_is_told_of(house: House):
    worker, lambda_id = house.new_worker(), house.new_lambda()
    house.submit(lambda_id)
    assert "queue" not in findings(house, "notice")
    house.clock.forward(2 * 3600)
    house.contract(worker, max=0)
    assert "has waited for 2 h" in findings(house, "notice")["queue"]


def test_what_is_paused_is_no_fault(house: House):
    house.new_worker()
    house.submit(house.new_lambda(name="up"))
    house.call("PUT", "/hold/lambda/up", {})
    assert findings(house) == {}
    assert "paused: lambda" in findings(house, "notice")["paused"]


def test_workers_that_are_in_trouble_or_gone_are_told_of(house: House):
    ill, away = house.new_worker(name="ill"), house.new_worker(name="away")
    house.contract(ill, max=0, trouble="No space left on device", incarnation="x")
    assert "worker ill takes no jobs: No space" in findings(house)["workers"]
    house.clock.forward(300)
    house.contract(ill, max=0, incarnation="x")
    assert "worker away was not heard of for 5 min" in findings(house, "notice")["workers"]
    house.call("DELETE", f"/worker/{away}")
    assert "workers" not in findings(house, "notice")


def test_clocks_of_workers_that_are_wrong_are_told_of(house: House):
    worker = house.new_worker(name="early")
    at = house.clock() / 1000
    house.contract(worker, max=0, clock=at + 0.2)
    assert "clocks" in findings(house, "ok")
    house.contract(worker, max=0, clock=at + 3600)
    assert findings(house, "notice")["clocks"] == "the clock of worker early is 60 min ahead of the server's"
    house.contract(worker, max=0, clock=at - 90)
    assert "behind the server's" in findings(house, "notice")["clocks"]
    house.contract(worker, max=0, clock=1e300)
    house.contract(worker, max=0, clock=at)
    assert "clocks" in findings(house, "ok")


def test_agents_of_other_versions_are_told_of(house: House):
    house.new_worker(agent_version="9.9.9")
    assert "1 agent 9.9.9" in findings(house, "notice")["versions"]


def test_a_lambda_most_of_whose_jobs_fail_is_wrong(house: House):
    lambda_id, worker = house.new_lambda(name="crash"), house.new_worker()
    for _ in range(10):
        house.submit(lambda_id, max_attempts=1)
        house.finish(worker, failed(house.lease(worker)))
    assert findings(house)["failures"] == "10 of 10 jobs of lambda crash failed in the last hour"
    house.clock.forward(2 * 3600)
    assert "failures" not in findings(house)


def test_leases_that_ran_out_are_told_of(house: House):
    worker = house.new_worker()
    house.submit(house.new_lambda())
    house.lease(worker)
    house.clock.forward(60)
    house.move_on()
    assert "1 lease ran out" in findings(house, "notice")["leases"]


def test_files_that_others_can_read_are_wrong(house: House):
    assert "files" in findings(house, "ok")
    house.data.chmod(0o755)
    assert "can get at" in findings(house)["files"]


@pytest.mark.parametrize(("free", "level"), [(10**6, "wrong"), (5 * 10**8, "notice"), (10**11, "ok")])
def test_a_disk_without_room_is_wrong(free: int, level: str):
    assert look_at_disk(Path(), free).level == level


def test_the_last_backup_is_known(tmp_path: Path):
    house = House(tmp_path / "data")
    assert "no backup" in findings(house, "notice")["backup"]
    write_backup(house.services.settings, tmp_path / "backup.tar")
    assert "backup_at" in house.call("GET", "/sys/status")
    house.close()


def test_function_and_schedule_that_lack_something_are_wrong(house: House):
    house.new_worker()
    lambda_id = house.new_lambda()
    house.call("PUT", "/deployments/f/blue", {"lambda": lambda_id, "replicas": 2})
    assert "function f/blue has too few replicas" in findings(house)["functions"]


def test_settings_that_cost_safety_are_told_of(tmp_path: Path):
    house = House(tmp_path, settings={"webhook_private": "*"})
    assert "settings" in findings(house, "notice")
    house.close()


def test_a_damaged_key_of_receipts_is_wrong_and_it_is_said_what_to_do(house: House):
    house.new_worker()
    assert findings(house, "ok")["receipts"] == "the first one makes this server's key"
    key = house.data / "receipts.key"
    open_key(key)
    assert findings(house, "ok")["receipts"] == "this server has a key"
    key.write_bytes(b"")
    damaged = f"the key file {key} is damaged: bring it back, or remove it, and a new key is made"
    assert findings(house)["receipts"] == damaged
    assert not house.call("GET", "/sys/status")["is_well"]
