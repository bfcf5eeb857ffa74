"""The drills of benchmarks/drills, in sizes for a test run; `make drills` has them last ten times as long."""

from pathlib import Path

import big_blob
import doors
import endurance
import function_kills
import idle_polls
import long_run
import mutants
import pytest
import server_kills
import several_servers
from s3_server import MISSING, WEED
from tries import tries

pytestmark = pytest.mark.integration


def test_a_server_that_is_killed_again_and_again_loses_no_job_and_takes_no_outcome_twice(tmp_path: Path):
    jobs = tries(300)
    figures = server_kills.drill(tmp_path, jobs=jobs, kills=max(2, tries(2)), agents=4)
    assert figures["jobs acknowledged"] == jobs


def test_a_blob_passes_through_server_and_agent_without_filling_their_memory(tmp_path: Path):
    figures = big_blob.drill(tmp_path, mebibytes=64)
    assert figures["bit for bit the same in the guest and back here"] == "yes"


def test_idle_polls_are_held_without_holding_up_others_nor_the_stop(tmp_path: Path):
    figures = idle_polls.drill(tmp_path, polls=100, requests=200)
    assert figures["polls held at once"] == 100


def test_damaged_code_of_any_kind_ends_in_an_outcome_and_costs_no_process(tmp_path: Path):
    figures = mutants.drill(tmp_path, modules=tries(50), scripts=tries(10))
    assert figures["runs"] == 3 * (tries(50) + tries(10))


def test_damaged_inputs_at_every_door_are_taken_or_refused(tmp_path: Path):
    figures = doors.drill(tmp_path, seconds=max(8, tries(1)), seed=1)
    assert {"requests", "JSON messages", "modules and components", "manifests"} <= figures.keys()


def test_calls_that_fail_in_every_way_leave_nothing_behind_in_their_process(tmp_path: Path):
    names = ["wasi", "component", "capsule, generation 2", "funless, both kinds", "lua5.4"]
    assert list(endurance.drill(tmp_path, calls=max(1000, tries(1000)), names=names)) == names


def test_an_agent_that_works_for_long_does_not_grow(tmp_path: Path):
    jobs = max(4000, tries(4000))
    assert long_run.drill(tmp_path, jobs=jobs)["jobs"] == f"{jobs:,}"


def test_calls_are_answered_while_function_processes_agents_and_the_server_are_killed(tmp_path: Path):
    figures = function_kills.drill(tmp_path, callers=4)
    assert "ok" in figures["calls meanwhile"]


@pytest.mark.skipif(not WEED.exists(), reason=MISSING)
def test_two_servers_lose_nothing_whichever_part_dies(tmp_path: Path):
    jobs = tries(300)
    figures = several_servers.drill(tmp_path, jobs=jobs, rounds=1, longest_s=1, servers=2, agents=3)
    assert (figures["jobs acknowledged"], figures["faults"]) == (jobs, 11)
