"""What a served function tells of itself."""

import json

from piecework.worker_agent.serving.figures import RECENT, Figures


def test_nothing_is_known_before_the_first_call():
    assert json.loads(Figures().write_json()) == {"calls": 0, "errors": 0, "p50_ms": None, "p99_ms": None}


def test_percentiles_are_of_the_last_calls():
    figures = Figures()
    for _ in range(RECENT):
        figures.note(200, 9.0)
    for number in range(RECENT):
        figures.note(500 if number % 2 else 404, (number + 1) / 1000)
    assert json.loads(figures.write_json()) == {
        "calls": 2 * RECENT,
        "errors": RECENT // 2,
        "p50_ms": 500.0,
        "p99_ms": 990.0,
    }


def test_metrics_are_cumulative():
    figures = Figures()
    for status, seconds in ((200, 0.002), (200, 0.2), (503, 100.0)):
        figures.note(status, seconds)
    lines = figures.write_metrics().decode().splitlines()
    assert 'piecework_function_calls_total{status="200"} 2' in lines
    assert "piecework_function_errors_total 1" in lines
    assert 'piecework_function_seconds_bucket{le="0.0025"} 1' in lines
    assert 'piecework_function_seconds_bucket{le="60.0"} 2' in lines
    assert 'piecework_function_seconds_bucket{le="+Inf"} 3' in lines
    assert "piecework_function_seconds_sum 100.202000" in lines
