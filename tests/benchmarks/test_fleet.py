"""What a fleet should take follows from what small ones took."""

import pytest
from scaling.fleet import ACTS, CALIBRATION, Cadence, find_costs, predict, table

COSTS = {"polls": 0.002, "beats": 0.001, "jobs": 0.004}


def spend(cadence, base=0.05, mb=150.0):
    """What a server takes that has exactly these costs."""
    rates = {f"{act}_per_s": rate for act, rate in cadence.predict_rates().items()}
    cores = base + sum(COSTS[act] * rates[f"{act}_per_s"] for act in ACTS)
    return {**rates, "server_cores": cores, "database_cores": cores / 2, "server_mb": mb}


def test_polls_heartbeats_and_jobs_follow_from_a_cadence():
    rates = Cadence(1000, jobs_per_s=20, job_s=8.0).predict_rates()
    assert rates["polls"] == pytest.approx((1000 - 160) / 19 - 20)
    assert rates["jobs"] == 20
    assert 20 < rates["beats"] <= 60, "the first after a second, the others each five seconds"


def test_quick_jobs_need_no_heartbeat():
    assert Cadence(10, jobs_per_s=5, job_s=0.3).predict_rates()["beats"] == 0


def test_costs_are_found_again_and_predict_another_fleet():
    costs = find_costs(spend(Cadence(0)), {name: spend(cadence) for name, cadence in CALIBRATION.items()})
    assert {act: costs[act] for act in ACTS} == pytest.approx(COSTS)
    large = Cadence(10_000, jobs_per_s=20, job_s=8.0)
    told = predict(large, costs, servers=1)
    assert told["server_cores"] == pytest.approx(spend(large)["server_cores"])
    assert told["database_cores"] == pytest.approx(told["server_cores"] / 2)
    assert told["server_mb"] == pytest.approx(150 + 450)


def test_the_table_shows_what_was_told_beside_what_was_found():
    told = predict(Cadence(10), dict.fromkeys([*ACTS, "base", "base_mb"], 1.0) | database_costs(), servers=1)
    row = {"database": "sqlite", "servers": 1, "agents": 10, "told": told}
    found = dict.fromkeys(told, 0.5) | {"beat_p50_ms": 1.0, "beat_p99_ms": 2.0}
    [cells] = table([{**row, "found": found}]).rows
    assert cells[:3] == ["sqlite, 1", "10", "0.53, 0.50"]
    assert cells[-1] == "1.00, 2.00"


def database_costs():
    return {f"database_{name}": 0.0 for name in ("base", *ACTS)}
