"""Tenants take turns within a priority, whatever their numbers of jobs and lanes."""

from collections import Counter
from collections.abc import Iterator

import pytest
from house import House
from places import Place
from shop import Shop

from piecework.server.services.queue.leasing import turns


@pytest.fixture
def shop(place: Place) -> Iterator[Shop]:
    shop = Shop(place)
    yield shop
    shop.database.close()


def test_tenants_are_served_in_turn_in_one_claim_and_over_several(shop: Shop):
    shop.add("a", 8)
    shop.add("b", 3)
    shop.add("c", 5)
    assert shop.served(5) == "abcab"
    assert shop.served(1, times=4) == "cabc"
    assert shop.served(20) == "acacaaa"


def test_one_who_comes_later_is_served_before_those_who_have_many(shop: Shop):
    shop.add("b", 50)
    assert shop.served(3) == "bbb"
    shop.add("a", 1)
    assert shop.served(3) == "abb"


def test_a_tenant_goes_by_its_weight(shop: Shop):
    shop.add("a", 30)
    shop.add("b", 30)
    shop.weigh("a", 3)
    assert shop.served(8) == "aaabaaab"
    assert shop.served(1, times=8) == "aaabaaab"
    shop.weigh("a", 1)
    assert Counter(shop.served(10)) == {"a": 5, "b": 5}


def test_priority_goes_before_turns(shop: Shop):
    shop.add("a", 4)
    shop.add("b", 2, priority=7)
    shop.add("c", 2)
    assert shop.served(1, times=8) == "bbacacaa"
    shop.add("a", 2)
    shop.add("b", 3, priority=-7)
    assert shop.served(10) == "aabbb"


def test_turns_of_one_priority_are_not_lost_by_jobs_of_another(shop: Shop):
    shop.add("a", 5)
    shop.add("c", 5)
    order = ""
    for _ in range(4):
        shop.add("b", 1, priority=9)
        order += shop.served(1, times=2)
    assert order == "babcbabc"


def test_within_a_tenant_jobs_of_all_lanes_go_by_age(shop: Shop):
    shop.add("", 1, tags=("+x",))
    shop.add("", 1)
    shop.add("", 2, tags=("+y",))
    shop.add("", 1, tags=("+x",))
    shop.add("", 2, tags=("+w",))
    ids = list(shop.owners)
    assert shop.claim(1, "x", "y", times=2) == ids[:2]
    assert shop.claim(9, "x", "y") == ids[2:5]
    assert shop.claim(9, "w") == ids[5:]


def test_a_tenant_with_many_lanes_has_one_turn(shop: Shop):
    for number in range(6):
        shop.add("a", 2, tags=(f"+{number}",))
    shop.add("b", 6)
    everything = tuple(map(str, range(6)))
    assert shop.served(6, *everything) == "ababab"
    assert shop.served(1, *everything, times=6) == "ababab"


@pytest.mark.parametrize("room", [1, 7, 64])
def test_among_more_tenants_than_one_look_finds_each_has_its_turn(shop: Shop, room: int):
    names = [f"{number:03}" for number in range(90)]
    for name in names:
        shop.add(name, 2)
    served: list[str] = []
    while taken := shop.claim(room):
        served += [shop.owners[id_] for id_ in taken]
    assert len(served) == 180
    assert sorted(served[:90]) == names
    assert sorted(served[90:]) == names


def test_a_worker_finds_the_few_lanes_that_it_fits_among_many(shop: Shop):
    for number in range(150):
        shop.add(f"t{number}", 1, tags=(f"+{number % 50}",))
    [urgent] = shop.add("u", 1, priority=3, tags=("+7",))
    assert shop.claim(1, "7") == [urgent]
    assert sorted(shop.served(9, "7").split("t")) == ["", "107", "57", "7"]
    assert shop.claim(9, "7") == []
    assert len(shop.claim(300, *map(str, range(50)))) == 147


def test_suggested_tags_choose_among_a_tenants_first_jobs(shop: Shop):
    plain = shop.add("a", 6)
    [fitting] = shop.add("a", 1, tags=("gpu",))
    other = shop.add("b", 2)
    assert shop.claim(3, "gpu") == [fitting, other[0], plain[0]]
    assert shop.claim(2) == [plain[1], other[1]], "workers that offer other things go round on their own"


def test_claims_at_once_share_no_job_and_leave_none(shop: Shop):
    from concurrent.futures import ThreadPoolExecutor

    for tenant in "abcdefgh":
        shop.add(tenant, 25)
    with ThreadPoolExecutor(4) as pool:
        taken = [id_ for some in pool.map(lambda _: shop.claim(5, times=10), range(6)) for id_ in some]
    taken += shop.claim(200)
    assert sorted(taken) == sorted(shop.owners)


def test_turns_that_are_too_many_to_keep_begin_anew(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(turns, "KEPT_MAX", 2)
    for priority in range(5):
        shop.add("a", 1, priority=priority)
        shop.add("b", 1, priority=priority)
    assert Counter(shop.served(1, times=10)) == {"a": 5, "b": 5}


def test_jobs_that_came_back_keep_their_place(place: Place):
    house = House(place.data, place.database_url)
    worker, lambda_id = house.new_worker(), house.new_lambda()
    ids = [house.submit(lambda_id) for _ in range(3)]
    first = house.lease(worker)
    house.finish(worker, {**first, "state": "Enqueued"})
    assert [house.lease(worker)["job"] for _ in range(3)] == ids
    house.close()
