"""Whose turn it is: revisions by weight, URLs in turn, and what is left out."""

import itertools
from collections import Counter

import pytest
from house import House
from hypothesis import given, strategies as st

from piecework.server.errors import DatabaseAway, FunctionNotFound, RevisionNotFound
from piecework.server.services.functions.health import Health
from piecework.server.services.functions.routing import (
    FunctionRoutes,
    RevisionRoutes,
    Routing,
    Target,
    _KnownRoutes,
    _WeightedChoice,
)
from piecework.server.store.functions import functions


def revision(name: str, *urls: str, lambda_id: int | None = None) -> RevisionRoutes:
    return RevisionRoutes("hola", name, lambda_id, tuple(map(Target, urls)))


def function(*revisions: RevisionRoutes, alias: str | None = None, **split: int) -> FunctionRoutes:
    return FunctionRoutes("hola", alias, split or None, {each.name: each for each in revisions})


@pytest.fixture
def health() -> Health:
    health = Health(lambda: 0.0)
    for url in ("http://dead", "http://dead/2"):
        health.note_failure(url, "refused", is_dead=True)
    for url in ("http://mad", "http://mad/2"):
        health.note_failure(url, "rubbish", is_dead=False)
    return health


@pytest.fixture
def routing(health: Health) -> Routing:
    return Routing(None, lambda: 0, health, lambda: 0.3)  # type: ignore[arg-type]


BLUE, GREEN = revision("blue", "http://b"), revision("green", "http://g")


def test_calls_are_split_by_weight_in_ten_thousand_calls_up_to_a_few(routing: Routing):
    split = function(BLUE, GREEN, blue=90, green=10)
    counts = Counter(routing.choose(split).name for _ in range(10_000))
    assert abs(counts["green"] - 1000) <= 3
    assert counts.total() == 10_000


def test_the_rarer_revision_comes_evenly_and_not_in_runs(routing: Routing):
    split = function(BLUE, GREEN, blue=9, green=1)
    places = [n for n in range(1000) if routing.choose(split).name == "green"]
    assert max(b - a for a, b in itertools.pairwise(places)) <= 14


@given(st.lists(st.integers(1, 1_000_000), min_size=2, max_size=6), st.floats(0, 1, exclude_max=True))
def test_shares_are_right_whatever_the_weights_and_the_start(weights: list[int], start: float):
    spread, picks = _WeightedChoice(start), 2000
    counts = Counter(spread.pick(weights) for _ in range(picks))
    for index, weight in enumerate(weights):
        assert abs(counts[index] - picks * weight / sum(weights)) <= 8


def test_a_revision_that_nothing_serves_has_no_turn(routing: Routing):
    split = function(BLUE, revision("green"), blue=1, green=99)
    assert {routing.choose(split).name for _ in range(50)} == {"blue"}
    only = function(revision("green"), green=1)
    assert routing.choose(only).name == "green"
    asleep = function(BLUE, revision("green", lambda_id=7), blue=1, green=1)
    assert {routing.choose(asleep).name for _ in range(50)} == {"blue", "green"}


def test_default_is_the_split_then_the_alias_then_a_revision_of_that_name(routing: Routing):
    named = revision("default", "http://d")
    assert routing.choose(function(BLUE, named, alias="blue")).name == "blue"
    assert routing.choose(function(BLUE, named)).name == "default"
    assert routing.choose(function(BLUE, GREEN, alias="blue", green=1)).name == "green"


@pytest.mark.parametrize("alias", [None, "red"])
def test_without_what_default_stands_for_there_is_no_such_revision(routing: Routing, alias: str | None):
    with pytest.raises(RevisionNotFound, match="no revision default"):
        routing.choose(function(BLUE, alias=alias))
    with pytest.raises(RevisionNotFound, match="no revision red"):
        routing.choose(function(BLUE), "red")


def test_urls_take_turns(routing: Routing):
    three = revision("blue", "http://1", "http://2", "http://3")
    orders = [[target.url[-1] for target in routing.order(three)] for _ in range(4)]
    assert orders == [["1", "2", "3"], ["2", "3", "1"], ["3", "1", "2"], ["1", "2", "3"]]


def test_urls_that_failed_lately_are_left_out_unless_all_did(routing: Routing):
    mixed = revision("blue", "http://1", "http://dead", "http://mad", "http://3")
    assert {target.url for _ in range(4) for target in routing.order(mixed)} == {"http://1", "http://3"}
    all_dead = revision("blue", "http://dead", "http://dead/2")
    assert len(routing.order(all_dead)) == 2
    with_lambda = revision("blue", "http://dead", "http://dead/2", lambda_id=7)
    assert not routing.order(with_lambda)


def test_where_a_job_can_do_instead_a_url_that_takes_connections_is_tried_all_the_same(routing: Routing):
    with_lambda = revision("blue", "http://dead", "http://mad", lambda_id=7)
    assert routing.order(with_lambda) == [Target("http://mad")]


def test_one_call_tries_a_url_that_may_be_well_again_before_all_others(routing: Routing, health: Health):
    mixed = revision("blue", "http://1", "http://mad", "http://mad/2", "http://2")
    for url in ("http://mad", "http://mad/2"):
        health.note_connection(url)
    orders = [[target.url for target in routing.order(mixed)] for _ in range(3)]
    assert orders == [
        ["http://mad", "http://1", "http://2"],
        ["http://mad/2", "http://2", "http://1"],
        ["http://1", "http://2"],
    ]
    alone = revision("green", "http://mad/2")
    assert routing.order(alone) == [Target("http://mad/2")]
    health.note_connection("http://mad/2")
    assert routing.order(alone) == [Target("http://mad/2")]


def test_what_changes_here_counts_at_once_and_what_other_servers_change_within_a_second(house: House):
    services = house.services
    services.functions.register("hola", "blue", "http://b")
    assert services.routing.get_function("hola").urls() == {"blue": ["http://b"]}
    services.database.write(lambda c: functions.set_default(c, "hola", "blue", None))  # as another server does
    assert "default" not in services.routing.get_function("hola").urls()
    house.clock.forward(1)
    known = services.routing.get_function("hola").urls()
    assert known.get("default") == (["http://b"] if services.database.is_shared else None)


def test_routes_go_on_as_they_were_while_the_database_does_not_answer(house: House, monkeypatch):
    services = house.services
    services.functions.register("hola", "blue", "http://b")
    before = services.routing.table()
    services.functions.register("new", "blue", "http://b")
    monkeypatch.setattr(services.database, "read", _be_away)
    assert services.routing.table() == before
    fresh = Routing(services.database, house.clock, Health(lambda: 0.0), lambda: 0.0)
    with pytest.raises(DatabaseAway):
        fresh.table()
    monkeypatch.undo()
    house.clock.forward(1)
    assert set(services.routing.table()) == {"hola", "new"}


def _be_away():
    raise DatabaseAway("it was stopped")


def test_an_unknown_function_is_told(house: House):
    with pytest.raises(FunctionNotFound, match="there is no function hola"):
        house.services.routing.get_function("hola")


def test_routes_are_read_once_a_second_and_after_each_change(health: Health, monkeypatch: pytest.MonkeyPatch):
    now, reads = [0], []
    routing = Routing(None, lambda: now[0], health, lambda: 0.3)  # type: ignore[arg-type]
    monkeypatch.setattr(
        routing, "_read", lambda _, *, changed: reads.append(changed) or _KnownRoutes(now[0], None, (), {})
    )
    for now[0] in (0, 0, 999, 1000, 1001, 1999, 2000):
        routing.table()
    assert reads == [False] * 3, "at 0, 1000 and 2000"
    routing.note_change()
    for now[0] in (2001, 2002):
        routing.table()
    assert reads == [False] * 3 + [True]
    now[0] = 500
    routing.table()
    assert len(reads) == 5, "the clock was set back"
