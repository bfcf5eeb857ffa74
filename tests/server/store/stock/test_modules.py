"""Rows of modules."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rows import NOW, blob

from piecework.server.store.engine.database import Database
from piecework.server.store.functions import functions
from piecework.server.store.functions.functions import Revision
from piecework.server.store.records import Module
from piecework.server.store.stock import blobs, modules

KEY = ("k33g", "hola", "0.0.0")


def module(**fields: Any) -> Module:
    org, name, tag = KEY
    defaults = {
        "org": org, "module": name, "tag": tag, "blob_id": 7, "sha256": b"s" * 32, "size": 1 << 40, "abi": "wasi",
        "info": "hola from @k33g", "created_at": NOW,
    }  # fmt: skip
    return Module(**defaults | fields)


def add(database: Database, *new: Module) -> list[bool]:
    return database.write(lambda c: [modules.add_module(c, each) for each in new])


def test_a_module_comes_back_as_it_was_stored(database: Database):
    add(database, module())
    with database.read() as connection:
        assert modules.find_module(connection, *KEY) == module()
        assert modules.find_by_digest(connection, b"s" * 32) == module()
        assert modules.find_module(connection, "k33g", "hola", "0.0.1") is None
        assert modules.find_by_digest(connection, b"t" * 32) is None


def test_a_tag_is_taken_by_who_comes_first(database: Database):
    assert add(database, module(), module(blob_id=8, sha256=b"t" * 32)) == [True, False]
    with database.read() as connection:
        assert modules.find_module(connection, *KEY) == module()


def test_a_tag_that_many_want_at_once_is_one_module(database: Database):
    with ThreadPoolExecutor(4) as pool:
        taken = pool.map(lambda id_: add(database, module(blob_id=id_)), range(8))
    assert sum(each for [each] in taken) == 1


def test_pages_are_newest_first(database: Database):
    add(database, *(module(tag=str(number), blob_id=number) for number in range(1, 6)))
    with database.read() as connection:
        page = modules.list_modules(connection, before=5, limit=3)
        assert [each.blob_id for each in page] == [4, 3, 2]


def test_names_are_all_there_in_order(database: Database):
    add(database, module(tag="b", blob_id=1), module(tag="a", blob_id=2), module(org="a", blob_id=3))
    with database.read() as connection:
        assert modules.list_names(connection) == [
            ("a", "hola", "0.0.0"), ("k33g", "hola", "a"), ("k33g", "hola", "b")
        ]  # fmt: skip


def test_a_replaced_module_has_only_what_is_new(database: Database):
    new = module(blob_id=9, sha256=b"n" * 32, size=3, abi="component", info="", created_at=NOW + 1)
    assert not database.write(lambda c: modules.replace_module(c, new))
    add(database, module(), module(tag="other", blob_id=8))
    assert database.write(lambda c: modules.replace_module(c, new))
    with database.read() as connection:
        assert modules.find_module(connection, *KEY) == new
        assert modules.find_module(connection, "k33g", "hola", "other") == module(tag="other", blob_id=8)


def test_deleting_a_module_says_whether_there_was_one(database: Database):
    add(database, module(), module(tag="other"))
    assert database.write(lambda c: modules.delete_module(c, *KEY))
    assert not database.write(lambda c: modules.delete_module(c, *KEY))
    with database.read() as connection:
        assert modules.list_names(connection) == [("k33g", "hola", "other")]


def test_a_blob_is_used_by_a_module_until_that_is_deleted(database: Database):
    database.write(lambda c: blobs.add_blobs(c, [blob(7)]))
    add(database, module())
    with database.read() as connection:
        assert blobs.is_used(connection, 7)
    database.write(lambda c: modules.delete_module(c, *KEY))
    with database.read() as connection:
        assert not blobs.is_used(connection, 7)


def test_a_module_is_deployed_while_a_revision_names_its_bytes(database: Database):
    pinned = str(module().name)
    assert pinned == f"k33g/hola/0.0.0@sha256:{'73' * 32}"
    database.write(lambda c: functions.add_function(c, "hola", NOW))
    database.write(lambda c: functions.add_revision(c, Revision("hola", "blue", None, pinned, 0, NOW)))
    with database.read() as connection:
        assert modules.is_deployed(connection, pinned)
        assert not modules.is_deployed(connection, str(module(tag="0.0.1").name))
        assert not modules.is_deployed(connection, str(module(sha256=b"t" * 32).name))
