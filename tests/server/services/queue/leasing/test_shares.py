"""Tenants share what jobs cost, where an operator says so."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from house import House, finished
from places import Place
from shop import Shop

from piecework.server.services.queue.leasing.costs import FUEL_PER_S, LEAST

LIGHT, HEAVY = 1, 2
COSTS = {LIGHT: 1.0, HEAVY: 10.0}


@pytest.fixture
def shop(place: Place) -> Iterator[Shop]:
    shop = Shop(place, COSTS.__getitem__)
    yield shop
    shop.database.close()


def test_a_tenant_with_heavy_jobs_gets_no_more_than_its_share(shop: Shop):
    shop.add("h", 30, of=HEAVY)
    shop.add("l", 300, of=LIGHT)
    assert Counter(shop.served(220)) == {"h": 20, "l": 200}
    assert Counter(shop.served(1, times=55)) == {"h": 5, "l": 50}


def test_a_tenant_with_both_kinds_is_charged_for_each(shop: Shop):
    shop.add("a", 2, of=HEAVY)
    shop.add("a", 20, of=LIGHT)
    shop.add("b", 60, of=LIGHT)
    assert Counter(shop.served(60)) == {"a": 21, "b": 39}


def test_shares_go_by_weight(shop: Shop):
    shop.add("h", 90, of=HEAVY)
    shop.add("l", 300, of=LIGHT)
    shop.weigh("h", 3)
    served = Counter(shop.served(130))
    assert served == {"h": 30, "l": 100}


def test_who_was_away_has_no_more_coming(shop: Shop):
    shop.add("b", 50, of=LIGHT)
    assert shop.served(40) == "b" * 40
    shop.add("a", 50, of=LIGHT)
    shop.add("b", 40, of=LIGHT)
    assert Counter(shop.served(20)) == {"a": 10, "b": 10}


def test_priority_goes_before_shares(shop: Shop):
    shop.add("h", 3, of=HEAVY, priority=5)
    shop.add("l", 20, of=LIGHT)
    assert shop.served(1, times=5) == "hhhll"


@pytest.mark.slow
@pytest.mark.parametrize("room", [1, 7, 200])
def test_among_many_tenants_each_has_its_share(shop: Shop, room: int):
    names = [f"{number:03}" for number in range(90)]
    for name in names:
        shop.add(name, 2, of=LIGHT)
    served: list[str] = []
    while taken := shop.claim(room):
        served += [shop.owners[id_] for id_ in taken]
    assert sorted(served[:90]) == sorted(served[90:]) == names


def test_suggested_tags_choose_among_a_tenants_jobs(shop: Shop):
    plain = shop.add("a", 6, of=LIGHT)
    [fitting] = shop.add("a", 1, of=LIGHT, tags=("gpu",))
    [other] = shop.add("b", 1, of=LIGHT)
    assert shop.claim(3, "gpu") == [fitting, other, plain[0]]


@pytest.fixture
def house(place: Place) -> Iterator[House]:
    house = House(place.data, place.database_url, settings={"tenants_share": "fuel"})
    yield house
    house.close()


def run(house: House, lambda_id: str, worker: str, **usage: Any) -> None:
    """Run a job to its end."""
    house.submit(lambda_id, tenant="first")
    house.finish(worker, {**finished(house.lease(worker)), "usage": {"wall_s": 1.0, **usage}})


def test_what_jobs_cost_is_learnt_from_those_that_ran(house: House):
    worker, costs = house.new_worker(), house.services.contracts.costs
    light, heavy, timed, small = (house.new_lambda() for _ in range(4))
    for _ in range(3):
        run(house, light, worker, fuel=5_000_000_000, cpu_s=2.5)
        run(house, heavy, worker, fuel=50_000_000_000, cpu_s=25.0)
        run(house, timed, worker, cpu_s=10.0)
        run(house, small, worker, fuel=3, cpu_s=0.002)
    found = [costs.find(int(id_)) for id_ in (light, heavy, timed, small)]
    assert found == [LEAST] * 4  # nobody has learnt them yet
    costs.learn()
    per_s = 2e9  # what the first two burnt in a second
    assert [costs.find(int(id_)) for id_ in (light, heavy, timed)] == [5e9, 50e9, 10 * per_s]
    assert costs.find(int(small)) == LEAST
    assert costs.find(int(house.new_lambda())) == 12.5e9  # as others do, until it is learnt
    assert FUEL_PER_S > LEAST


def test_a_server_shares_by_fuel_when_told_so(house: House):
    worker, light, heavy = house.new_worker(), house.new_lambda(), house.new_lambda()
    for _ in range(3):
        run(house, light, worker, fuel=10**9, cpu_s=1.0)
        run(house, heavy, worker, fuel=10**10, cpu_s=10.0)
    house.services.contracts.costs.learn()
    owners = {}
    for _ in range(40):
        owners[house.submit(light, tenant="light")] = "light"
        owners[house.submit(heavy, tenant="heavy")] = "heavy"
    given = [owners[each["job"]] for each in house.contract(worker, max=33)["jobs"]]
    assert Counter(given) == {"light": 30, "heavy": 3}


def test_other_units_are_refused(place: Place):
    with pytest.raises(Exception, match="tenants_share is 'time', but must be jobs or fuel"):
        House(place.data, place.database_url, settings={"tenants_share": "time"})
