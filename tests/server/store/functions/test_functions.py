"""Functions, revisions and URLs."""

from concurrent.futures import ThreadPoolExecutor

from rows import LAMBDA, NOW, lambda_
from sqlalchemy import insert

from piecework.server.store.engine.database import Connection, Database
from piecework.server.store.engine.tables.functions import hosts, replicas
from piecework.server.store.functions import functions
from piecework.server.store.functions.functions import Function, Revision, Url
from piecework.server.store.stock import lambdas


def revision(
    name: str = "blue", function: str = "hola", lambda_id: int | None = None, wanted: int = 0
) -> Revision:
    return Revision(function, name, lambda_id, None, wanted, NOW)


def add_hola(connection: Connection, *names: str) -> None:
    functions.add_function(connection, "hola", NOW)
    for name in names or ("blue",):
        functions.add_revision(connection, revision(name))


def add_url(database: Database, url: str, revision: str = "blue", source: str = "request", at: int = NOW) -> bool:
    return database.write(lambda c: functions.add_url(c, Url("hola", revision, url, source, at)))


def add_replica(connection: Connection, id_: int, *, state: str = "running", seen_at: int = NOW) -> None:
    connection.execute(insert(hosts), {"worker_id": id_, "slots": 1, "seen_at": seen_at})
    row = {
        "id": id_, "function": "hola", "revision": "blue", "worker_id": id_, "state": state,
        "url": f"http://host:{id_}", "token": f"t{id_}", "error": "", "calls": 0, "errors": 0, "since": NOW,
        "log": b"", "log_start": 0,
    }  # fmt: skip
    connection.execute(insert(replicas), row)


def test_a_function_is_stored_once(database: Database):
    assert database.write(lambda c: functions.add_function(c, "hola", NOW))
    assert not database.write(lambda c: functions.add_function(c, "hola", NOW + 1))
    with database.read() as connection:
        assert functions.find_function(connection, "hola") == Function("hola", None, None, NOW)
        assert functions.find_function(connection, "hey") is None


def test_a_function_that_many_make_at_once_is_one(database: Database):
    with ThreadPoolExecutor(4) as pool:
        made = pool.map(lambda _: database.write(lambda c: functions.add_function(c, "hola", NOW)), range(8))
    assert sum(made) == 1


def test_what_default_stands_for_is_kept(database: Database):
    database.write(lambda c: [functions.add_function(c, name, NOW) for name in ("hola", "hey")])
    assert database.write(lambda c: functions.set_default(c, "hola", "blue", {"blue": 9, "green": 1}))
    assert not database.write(lambda c: functions.set_default(c, "nobody", "blue", None))
    with database.read() as connection:
        hey, hola = functions.list_functions(connection)
    assert (hola.default_revision, hola.split) == ("blue", {"blue": 9, "green": 1})
    assert (hey.default_revision, hey.split) == (None, None)


def test_revisions_are_stored_changed_and_listed(database: Database):
    database.write(add_hola)
    database.write(lambda c: lambdas.add_lambda(c, lambda_()))
    assert not database.write(lambda c: functions.add_revision(c, revision("blue")))
    assert database.write(lambda c: functions.change_revision(c, revision(lambda_id=LAMBDA, wanted=3)))
    assert not database.write(lambda c: functions.change_revision(c, revision("red")))
    with database.read() as connection:
        assert functions.find_revision(connection, "hola", "blue") == revision(lambda_id=LAMBDA, wanted=3)
        assert functions.find_revision(connection, "hola", "red") is None
        assert functions.list_revisions(connection) == functions.list_revisions(connection, "hola")
        assert functions.list_revisions(connection, "hey") == []


def test_urls_are_listed_in_the_order_in_which_they_came(database: Database):
    database.write(add_hola)
    assert add_url(database, "http://z")
    assert add_url(database, "http://a", at=NOW + 1)
    assert not add_url(database, "http://z", at=NOW + 2)
    with database.read() as connection:
        assert functions.list_urls(connection) == [
            Url("hola", "blue", "http://z", "request", NOW),
            Url("hola", "blue", "http://a", "request", NOW + 1),
        ]
        assert functions.list_urls(connection, "hola") == functions.list_urls(connection)
        assert functions.list_urls(connection, "hey") == []
    assert database.write(lambda c: functions.delete_url(c, "hola", "blue", "http://z"))
    assert not database.write(lambda c: functions.delete_url(c, "hola", "blue", "http://z"))


def test_urls_are_removed_by_who_added_them(database: Database):
    database.write(add_hola)
    add_url(database, "http://a", source="file")
    add_url(database, "http://b")
    assert database.write(lambda c: functions.delete_urls_from(c, "file")) == 1
    with database.read() as connection:
        assert [each.url for each in functions.list_urls(connection)] == ["http://b"]


def test_only_running_replicas_of_hosts_seen_lately_are_routed_to(database: Database):
    database.write(add_hola)
    database.write(lambda c: add_replica(c, 1))
    database.write(lambda c: add_replica(c, 2, state="starting"))
    database.write(lambda c: add_replica(c, 3, seen_at=NOW - 1))
    with database.read() as connection:
        found = functions.list_running_replicas(connection, NOW)
    assert found == [functions.ReplicaUrl("hola", "blue", "http://host:1", "t1")]


def test_a_revision_goes_with_its_urls_and_replicas(database: Database):
    database.write(lambda c: add_hola(c, "blue", "green"))
    add_url(database, "http://a", "blue")
    add_url(database, "http://a", "green")
    database.write(lambda c: add_replica(c, 1))
    assert database.write(lambda c: functions.delete_revision(c, "hola", "blue"))
    assert not database.write(lambda c: functions.delete_revision(c, "hola", "blue"))
    with database.read() as connection:
        assert [each.name for each in functions.list_revisions(connection)] == ["green"]
        assert [each.revision for each in functions.list_urls(connection)] == ["green"]
        assert functions.list_running_replicas(connection, 0) == []


def test_a_function_goes_with_all_that_belongs_to_it(database: Database):
    database.write(lambda c: add_hola(c, "blue", "green"))
    database.write(lambda c: add_replica(c, 1))
    assert database.write(lambda c: functions.delete_function(c, "hola"))
    assert not database.write(lambda c: functions.delete_function(c, "hola"))
    with database.read() as connection:
        assert functions.list_functions(connection) == functions.list_revisions(connection) == []
