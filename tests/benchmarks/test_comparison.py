"""From the runs of a comparison to its table."""

import pytest
from harness.aims import aims_table
from harness.comparison import failures, speed_table
from harness.field import NODE, USUAL, leave_out_missing
from harness.summary import fastest_other, ratio, summarise
from harness.tables import Table, number
from harness.usage import IdleMeter
from harness.work import CPU, NOOP, PAYLOAD_BYTES, answer, count_wrong, make_payloads


def run(name, jobs_per_s, number=0, wrong=0):
    return {
        "name": name,
        "round": number,
        "noop": {"jobs": 100, "wrong": wrong, "jobs_per_s": jobs_per_s, "cpu_us_per_job": {"submitter": 10.0}},
        "latency": {"jobs": 10, "wrong": 0, "p50_ms": 2.0, "p99_ms": 5.0},
        "cpu": {"jobs": 10, "wrong": 0, "jobs_per_s": 150.0, "cpu_us_per_job": {}},
    }


RUNS = [
    run("piecework", 4000.0),
    run("pgqueuer", 1000.0),
    {"name": "rq", "round": 0, "error": "no Redis"},
    run("piecework", 6000.0, 1),
    run("pgqueuer", 2000.0, 1),
    run("rq", 100.0, 1),
    run("piecework", 5000.0, 2),
    run("pgqueuer", 2500.0, 2),
    run("rq", 300.0, 2, wrong=3),
]
SIZES = {"jobs": 100, "singles": 10, "cpu_jobs": 10, "rounds": 3}
RESULTS = {"about": {"cores": 2}, "sizes": SIZES, "runs": RUNS}


def test_no_two_payloads_are_equal_and_all_have_the_same_size():
    payloads = [*make_payloads(500, NOOP, "1"), *make_payloads(500, NOOP, "2"), *make_payloads(500, CPU, "1")]
    assert len(set(payloads)) == 1500
    assert {len(payload) for payload in payloads} == {PAYLOAD_BYTES}


def test_answers_that_are_missing_swapped_or_extra_are_counted():
    payloads = make_payloads(10, NOOP, "1")
    answers = [answer(payload) for payload in payloads]
    assert count_wrong(payloads, answers) == 0
    assert count_wrong(payloads, [answers[1], answers[0], *answers[2:]]) == 2
    assert count_wrong(payloads, answers[:-1]) == 1
    assert count_wrong(payloads, [*answers[:-1], None]) == 1
    assert count_wrong(payloads, [*answers, "MORE"]) == 1
    assert count_wrong(payloads, payloads) == 10


def test_a_summary_has_the_median_and_the_range_of_the_rounds_that_worked():
    first, second, third = summarise(RUNS)
    assert (first.name, second.name, third.name) == ("piecework", "pgqueuer", "rq")
    assert (first.noop.median, first.noop.low, first.noop.high) == (5000.0, 4000.0, 6000.0)
    assert (third.rounds, third.noop.median, third.error) == (2, 200.0, "no Redis")


def test_ratios_are_to_the_fastest_queue_that_is_not_ours():
    ours, *_ = summaries = summarise(RUNS)
    assert fastest_other(summaries).name == "pgqueuer"
    assert ratio(ours, fastest_other(summaries)) == 2.5


def test_runs_that_failed_and_wrong_answers_are_named():
    assert failures(RESULTS) == ["rq: 1 runs failed: no Redis", "rq: 3 wrong or missing answers"]


def test_a_queue_that_never_ran_is_in_the_table():
    results = RESULTS | {"runs": [*RUNS, {"name": "celery", "round": 0, "error": "not installed"}]}
    assert speed_table(results).rows[-1][:2] == ["celery", "did not run"]


def test_the_table_says_how_idle_the_cores_were_and_nothing_where_that_was_not_measured():
    first, second = run("piecework", 4000.0), run("rq", 100.0)
    first["noop"]["idle"], first["cpu"]["idle"] = 0.175, 0.02
    table = speed_table(RESULTS | {"runs": [first, second]})
    places = [place for place, column in enumerate(table.columns) if column == "cores idle"]
    assert [[row[place] for place in places] for row in table.rows] == [["18%", "2%"], ["", ""]]


def test_the_share_of_idle_cores_is_a_share():
    meter = IdleMeter()
    sum(range(1_000_000))
    assert 0.0 <= meter.read() <= 1.0


def test_queues_of_node_are_left_out_where_it_is_missing(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    assert not {*NODE} & {*USUAL}
    assert leave_out_missing([*USUAL, *NODE]) == USUAL
    assert "bullmq, graphile-worker: there is no Node.js" in capsys.readouterr().out


def test_an_aim_is_met_missed_or_not_measured():
    verdicts = {row[0]: row[-1] for row in aims_table(RESULTS, RESULTS, {}).rows}
    assert verdicts["no-ops, of the fastest other queue"] == "missed"
    assert verdicts["10 ms jobs, of what the cores could do"] == "missed"
    assert verdicts[f"{SIZES['jobs']:,} no-ops, of the fastest other queue"] == "met, and the dream"
    assert verdicts["v0.5 clients, of celery"] == "not measured"


@pytest.mark.parametrize(
    ("value", "shown"), [(None, ""), (0.123, "0.12"), (12.34, "12.3"), (123.4, "123"), (1234567.0, "1,234,567")]
)
def test_figures_have_three_digits_or_more(value, shown):
    assert number(value) == shown


def test_a_table_in_markdown_escapes_bars_and_aligns_figures():
    table = Table("title", ["name", "figure", "set-up"], [["a", "1", "x | y"]], words=frozenset({"set-up"}))
    assert table.markdown().splitlines() == [
        "| name | figure | set-up |",
        "| --- | --: | --- |",
        "| a | 1 | x \\| y |",
    ]
