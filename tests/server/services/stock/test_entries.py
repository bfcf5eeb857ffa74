"""Keys and values on each database: those who change at once lose nothing, and what is gone is swept."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from house import House

from piecework.protocol.messages import ValueSet
from piecework.server.errors import NamespaceNotFound, ValueDiffers, ValueNotFound
from piecework.server.services.backups import restore_backup, write_backup
from piecework.server.services.stock.namespaces import STEPS, SWEPT
from piecework.server.settings import Settings

THREADS, ROUNDS = 8, 12


def new(house: House) -> int:
    return house.services.namespaces.create(None).id


def put(house: House, namespace: int, key: str = "k", **request: Any) -> str:
    return house.services.entries.set(namespace, key, ValueSet(**request))[0]


def read(house: House, namespace: int, key: str = "k") -> str:
    return house.services.entries.get(namespace, key).value.decode()


def rows(house: House) -> int:
    with house.services.database.read() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM entries").scalar() or 0)


def at_once(work: Callable[[int], object]) -> list[Any]:
    """Do something in many threads, many times, and return what came of each turn."""

    def run(thread: int) -> list[object]:
        return [work(thread * ROUNDS + turn) for turn in range(ROUNDS)]

    with ThreadPoolExecutor(THREADS) as pool:
        return [each for results in pool.map(run, range(THREADS)) for each in results]


def test_of_many_who_append_at_once_nothing_is_lost(house: House):
    namespace = new(house)
    at_once(lambda turn: put(house, namespace, value=f"<{turn}>", append=True))
    parts = read(house, namespace).strip("<>").split("><")
    assert sorted(map(int, parts)) == list(range(THREADS * ROUNDS))


def test_of_many_who_add_at_once_nothing_is_lost(house: House):
    namespace = new(house)
    seen = at_once(lambda _: int(put(house, namespace, incr=1)))
    assert sorted(seen) == list(range(1, THREADS * ROUNDS + 1))
    assert read(house, namespace) == str(THREADS * ROUNDS)


def test_each_value_is_given_back_to_exactly_one_of_those_who_replace_it(house: House):
    namespace = new(house)
    given = at_once(lambda turn: put(house, namespace, value=str(turn), get=True))
    assert sorted([*given, read(house, namespace)]) == sorted(["", *map(str, range(THREADS * ROUNDS))])


def test_one_of_many_who_want_to_be_the_first_is(house: House):
    namespace = new(house)

    def try_to_set(turn: int) -> bool:
        try:
            put(house, namespace, f"k{turn % ROUNDS}", value=str(turn), if_absent=True)
        except ValueDiffers:
            return False
        return True

    assert sum(at_once(try_to_set)) == ROUNDS


def test_a_lock_that_is_deleted_and_taken_at_once_has_one_holder(house: House):
    namespace = new(house)
    held: list[int] = []

    def hold(turn: int) -> bool:
        try:
            put(house, namespace, value=str(turn), if_absent=True)
        except ValueDiffers:
            return False
        held.append(turn)
        assert held == [turn]
        held.remove(turn)
        house.services.entries.delete(namespace, "k", str(turn))
        return True

    assert any(at_once(hold))
    with pytest.raises(ValueNotFound):
        read(house, namespace)


def test_what_is_set_while_others_flush_is_there_or_not_but_never_in_part(house: House):
    namespace = new(house)

    def change(turn: int) -> None:
        if turn % 5 == 0:
            house.services.namespaces.flush(namespace)
        else:
            put(house, namespace, f"k{turn % 3}", value=".", append=True)

    at_once(change)
    house.services.namespaces.flush(namespace)
    assert house.services.namespaces.list_keys(namespace, prefix="", after="", limit=9) == []
    house.services.namespaces.sweep()
    assert rows(house) == 0


def test_nothing_is_left_of_what_expired(house: House):
    namespace = new(house)
    for number in range(SWEPT + 5):
        put(house, namespace, f"e{number}", value="v", expire=10.0)
    put(house, namespace, "k", value="v")
    assert house.services.namespaces.sweep() == 0
    house.clock.forward(10)
    assert house.services.namespaces.sweep() == SWEPT + 5
    assert (rows(house), read(house, namespace)) == (1, "v")


def test_a_sweep_takes_small_steps_and_ends(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("piecework.server.services.stock.namespaces.SWEPT", 2)
    monkeypatch.setattr("piecework.server.services.stock.namespaces.STEPS", 3)
    namespace = new(house)
    for number in range(7):
        put(house, namespace, f"e{number}", value="v", expire=1.0)
        put(house, namespace, f"k{number}", value="v")
    house.clock.forward(1)
    house.services.namespaces.flush(namespace)
    # The flush hid those that expired, too: either half of the sweep takes them.
    assert house.services.namespaces.sweep() == 12
    assert house.services.namespaces.sweep() == 2
    assert (rows(house), house.services.namespaces.sweep()) == (0, 0)
    assert STEPS * SWEPT > 1000


def test_a_flush_leaves_what_is_set_after_it(house: House):
    namespace, other = new(house), new(house)
    put(house, namespace, value="old")
    put(house, other, value="other")
    house.services.namespaces.flush(namespace)
    with pytest.raises(ValueNotFound):
        read(house, namespace)
    assert put(house, namespace, value="new", get=True) == ""
    assert house.services.namespaces.sweep() == 1
    assert (read(house, namespace), read(house, other), rows(house)) == ("new", "other", 2)


def test_a_removed_namespace_goes_with_all_its_rows(house: House):
    namespace, kept = new(house), new(house)
    put(house, namespace, "a", value="v")
    house.services.namespaces.flush(namespace)
    put(house, namespace, "b", value="v")
    house.services.namespaces.remove(namespace)
    assert house.services.namespaces.sweep() == 2
    with house.services.database.read() as connection:
        left = connection.exec_driver_sql("SELECT id FROM namespaces").fetchall()
    assert [tuple(row) for row in left] == [(kept,)]
    with pytest.raises(NamespaceNotFound):
        house.services.namespaces.get(namespace)


def test_the_sweeper_sweeps(house: House):
    put(house, new(house), value="v", expire=1.0)
    house.clock.forward(1)
    house.services.sweeper.turn()
    assert rows(house) == 0


def test_values_are_kept_over_a_restart_and_ids_are_never_given_again(house: House):
    namespace = new(house)
    put(house, namespace, "é/\x01", value="v\n😀")
    house.restart()
    assert read(house, namespace, "é/\x01") == "v\n😀"
    assert new(house) > namespace


def test_the_longest_key_and_a_large_value_fit(house: House):
    namespace, key, value = new(house), "😀" * 512, "é" * (512 * 1024)
    put(house, namespace, key, value=value)
    assert read(house, namespace, key) == value
    assert house.services.namespaces.list_keys(namespace, prefix=key[:-1], after="", limit=9) == [key]


def test_a_backup_has_keys_and_values(sqlite_place, tmp_path):
    house = House(sqlite_place.data)
    namespace = new(house)
    put(house, namespace, value="v")
    write_backup(Settings(data=house.data), tmp_path / "b.tar")
    house.close()
    restore_backup(tmp_path / "b.tar", tmp_path / "new")
    again = House(tmp_path / "new")
    assert read(again, namespace) == "v"
    again.close()
