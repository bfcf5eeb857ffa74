"""The verdict on a soak sees what grows, what is lost, and what logs tell."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from curves import Panel, draw
from soaking.faults import Fault
from soaking.ledger import Ledger
from soaking.sampling import read_samples
from soaking.verdict import find_trouble, fit_line, judge

from piecework.protocol.ids import Id
from piecework.protocol.states import JobState

BEGAN_AT = datetime(2026, 11, 30, 12, tzinfo=UTC)
FULL = Fault("disk full", 100.0, 105.0)


def make_rows(**growth_per_hour):
    """Samples of an hour, each 10 s, with a sawtooth in everything."""
    return [
        {"at_s": at_s, "fault": at_s % 100 < 20}
        | {series: 100 + at_s % 70 + growth * at_s / 3600 for series, growth in growth_per_hour.items()}
        for at_s in range(0, 3600, 10)
    ]


def test_a_level_series_is_passed():
    verdict = judge(make_rows(server_mb=0, job_p50_ms=0), Ledger(), [], [])
    assert verdict.faults == []
    assert [trend.series for trend in verdict.trends] == ["server_mb", "job_p50_ms"]


@pytest.mark.parametrize(("series", "growth"), [("server_mb", 80), ("agent-1_files", 60), ("job_p50_ms", 1000)])
def test_a_series_that_grows_is_named(series, growth):
    [fault] = judge(make_rows(**{series: growth}), Ledger(), [], []).faults
    assert fault.startswith(f"{series} grows")


def test_growth_is_counted_after_the_last_restart():
    rows = make_rows(server_mb=0)
    for row in rows:
        row["server_mb"] += 500 * (row["at_s"] > 2000)
    assert judge(rows, Ledger(), [], []).faults
    assert not judge(rows, Ledger(), [Fault("server killed", 1990.0, 2000.0)], []).faults
    assert judge(rows, Ledger(), [Fault("guest killed", 1990.0, 2000.0)], []).faults


def test_rows_count_once_retention_has_come_round():
    rows = make_rows(rows=36_000)
    assert judge(rows, Ledger(), [], []).faults
    assert "too few" in judge(rows[:15], Ledger(), [], []).faults[0]


def test_too_few_samples_are_no_verdict():
    [fault] = judge(make_rows(server_mb=0)[:5], Ledger(), [], []).faults
    assert "too few" in fault


def test_a_line_is_fitted_with_a_bound():
    assert fit_line([(0, 1), (1, 3), (2, 5)]) == (2.0, 0.0)
    slope, bound = fit_line([(0, 0), (1, 3), (2, 0), (3, 3)])
    assert slope == pytest.approx(0.6)
    assert bound > slope
    assert fit_line([(1, 1), (1, 2)]) == (0.0, 0.0)


def test_lost_doubled_and_other_outcomes_are_told():
    ledger = Ledger()
    ledger.expect(map(Id, (1, 2, 3, 4)), JobState.FINISHED)
    ledger.note_end(Id(1), JobState.FINISHED)
    assert not ledger.wait(0)
    for _ in range(2):
        ledger.note_end(Id(2), JobState.FINISHED)
    ledger.note_end(Id(3), JobState.FAILED)
    ledger.note_end(Id(5), JobState.FINISHED)
    ledger.note_wrong("other bytes")
    lost, several, other, wrong = ledger.find_faults()
    assert lost == "1 acknowledged jobs have no outcome, such as [4]"
    assert several == "1 jobs have more than one outcome, such as [2]"
    assert other == "1 jobs ended otherwise: job 3 is Fail_Execution, not Finished"
    assert wrong == "1 things went wrong: other bytes"
    assert ledger.unasked == 1


def test_accounts_that_add_up_have_no_faults():
    ledger = Ledger()
    ledger.expect([Id(1)], JobState.CANCELLED)
    ledger.note_end(Id(1), JobState.CANCELLED)
    assert ledger.wait(0)
    assert ledger.find_faults() == []


@pytest.mark.parametrize(
    ("after_s", "message", "told"),
    [
        (103, "the disk of large blobs is full", False),
        (300, "the disk of large blobs is full", True),
        (103, "a turn failed", True),
    ],
)
def test_logs_may_tell_of_a_fault_alone(tmp_path: Path, after_s, message, told):
    log = tmp_path / "server.log"
    log.write_text(f"{(BEGAN_AT + timedelta(seconds=after_s)).isoformat()} [error    ] {message}\n")
    assert bool(find_trouble([log], [FULL], BEGAN_AT)) is told


def test_an_error_without_a_time_is_told(tmp_path: Path):
    log = tmp_path / "server.log"
    log.write_text("Traceback: the disk is full\n")
    assert find_trouble([log], [FULL], BEGAN_AT) == ["server.log: Traceback: the disk is full"]


def test_samples_are_read_up_to_a_torn_line(tmp_path: Path):
    file = tmp_path / "samples.csv"
    file.write_text("at_s,made,server_mb\n1.0,server killed,20\n2.0,,\n3.0,")
    assert read_samples(file) == [{"at_s": 1.0, "server_mb": 20.0}, {"at_s": 2.0}]


def test_a_picture_has_curves_and_marks():
    picture = draw([Panel("memory", {"<server>": [(0, 1), (10, 2)]}, [(5, "killed"), (50, "later")])], "min")
    assert "&lt;server&gt;" in picture
    assert "<title>killed</title>" in picture
    assert "later" not in picture
    assert picture.count("polyline") == 1
