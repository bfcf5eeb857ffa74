import pytest
from fake_control_server import not_a_server, unreachable

from piecework.client import ApiError, Busy, NotFound, Refused, ServerUnreachable
from piecework.worker_agent.link.link import Link, describe, is_refusal


def test_one_line_when_the_server_goes_and_one_when_it_comes_back(log, clock):
    link = Link(clock)
    for _ in range(5):
        link.failed(unreachable())
        clock.forward(2)
    link.answered()
    link.answered()
    assert [(line["event"], line["log_level"]) for line in log] == [
        ("server away", "warning"),
        ("server back", "info"),
    ]
    assert "connection refused" in log[0]["reason"]
    assert log[1]["after_s"] == 10.0


def test_another_kind_of_trouble_is_news(log, clock):
    link = Link(clock)
    link.failed(unreachable())
    link.failed(Busy(503, 9, "the database does not answer"))
    link.failed(Busy(503, 9, "the database does not answer yet"))
    link.failed(Refused(401, 4, "no token"))
    link.answered()
    assert [line["event"] for line in log] == [
        "server away",
        "server still away",
        "server refuses our token",
        "server takes our token",
    ]


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_refuses_our_token_is_not_away(log, clock, status):
    link = Link(clock)
    link.failed(Refused(status, 4, "the token is not valid here, or was revoked"))
    link.answered()
    assert [line["event"] for line in log] == ["server refuses our token", "server takes our token"]
    assert "was revoked" in log[0]["reason"]


def test_nothing_is_said_while_all_is_well(log, clock):
    Link(clock).answered()
    assert log == []


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        (unreachable(), False),
        (not_a_server(), False),
        (Busy(503, 9, "away"), False),
        (Busy(429, 7, "busy"), False),
        (ApiError(408, 1, "slow"), False),
        (ApiError(500, 12, "bug"), False),
        (ApiError(502, 1, "proxy"), False),
        (Refused(401, 4, "no token"), True),
        (NotFound(404, 601, "no blob"), True),
        (ApiError(418, 1, "teapot"), True),
    ],
)
def test_only_what_the_server_will_refuse_again_is_a_refusal(error, refusal):
    assert is_refusal(error) is refusal


def test_refusals_are_described_with_status_and_code():
    assert describe(Refused(401, 4, "no valid token")) == "HTTP 401, code 4: no valid token"
    assert describe(ServerUnreachable("http://x", "timed out")) == "no answer from http://x: timed out"
