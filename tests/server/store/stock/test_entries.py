"""Rows of namespaces and entries."""

import pytest
from rows import NOW

from piecework.server.store.engine.database import Database
from piecework.server.store.stock.namespaces import entries, namespaces
from piecework.server.store.stock.namespaces.namespace_records import Entry, Namespace, Unswept

ANY = bytes(range(256))
ENTRY = Entry(ANY, None, NOW)


@pytest.fixture
def namespace(database: Database) -> Namespace:
    new = Namespace(7, "eventual", 0, NOW)
    database.write(lambda c: namespaces.add_namespace(c, new))
    return new


def test_a_namespace_comes_back_as_it_was_stored(database: Database, namespace: Namespace):
    with database.read() as connection:
        assert namespaces.find_namespace(connection, 7) == namespace
        assert namespaces.list_namespaces(connection, before=2**63 - 1, limit=9) == [namespace]
        assert namespaces.find_namespace(connection, 8) is None
        assert namespaces.find_unswept(connection) is None


def test_an_entry_comes_back_as_it_was_stored(database: Database, namespace: Namespace):
    assert database.write(lambda c: entries.add_entry(c, 7, 0, ANY, ENTRY))
    with database.read() as connection:
        assert entries.find_entry(connection, 7, ANY, NOW) == (True, ENTRY)
        assert entries.find_entry(connection, 7, ANY[:-1], NOW) == (True, None)
        assert entries.find_entry(connection, 8, ANY, NOW) == (False, None)
        assert entries.measure(connection, namespace, NOW) == (1, 512)
    assert not database.write(lambda c: entries.add_entry(c, 7, 0, ANY, ENTRY._replace(value=b"")))
    assert database.write(lambda c: entries.lock_entry(c, 7, 0, ANY)) == ENTRY


def test_an_entry_is_replaced_as_a_whole(database: Database, namespace: Namespace):
    last = Entry(b"", NOW + 5, NOW + 1)
    for each in (ENTRY, last):
        database.write(lambda c, new=each: entries.put_entry(c, namespace.id, 0, b"k", new))
    with database.read() as connection:
        assert entries.find_entry(connection, 7, b"k", NOW + 4) == (True, last)
        assert entries.find_entry(connection, 7, b"k", NOW + 5) == (True, None)


def test_keys_come_in_the_order_of_their_bytes(database: Database, namespace: Namespace):
    keys = [b"\0", b"A", b"a", b"aa", b"a\xff", b"b", b"\xfe", b"\xff"]
    for key in reversed(keys):
        database.write(lambda c, key=key: entries.put_entry(c, 7, 0, key, ENTRY))
    with database.read() as connection:
        read = entries.list_keys
        assert read(connection, namespace, NOW, prefix=b"", after=b"", limit=99) == keys
        assert read(connection, namespace, NOW, prefix=b"a", after=b"", limit=99) == keys[2:5]
        assert read(connection, namespace, NOW, prefix=b"a", after=b"a", limit=1) == [b"aa"]
        assert read(connection, namespace, NOW, prefix=b"", after=b"b", limit=1) == [b"\xfe"]


def test_an_entry_belongs_to_a_namespace(database: Database):
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        database.write(lambda c: entries.put_entry(c, 7, 0, b"k", ENTRY))


def test_the_row_of_a_removed_namespace_goes_after_its_entries(database: Database, namespace: Namespace):
    database.write(lambda c: entries.put_entry(c, namespace.id, 0, b"k", ENTRY))
    assert database.write(lambda c: namespaces.remove_namespace(c, 7, NOW))
    assert not database.write(lambda c: namespaces.remove_namespace(c, 7, NOW))
    assert not database.write(lambda c: namespaces.flush_namespace(c, 7))
    left = Unswept(7, 0, is_removed=True)
    database.write(lambda c: namespaces.note_swept(c, left))
    with database.read() as connection:
        assert namespaces.find_unswept(connection) == left
    assert database.write(lambda c: entries.sweep_unseen(c, left, 10)) == 1
    database.write(lambda c: namespaces.note_swept(c, left))
    with database.read() as connection:
        assert namespaces.find_unswept(connection) is None
        assert connection.exec_driver_sql("SELECT count(*) FROM namespaces").scalar() == 0


def test_a_flush_that_comes_while_another_is_swept_is_swept_next(database: Database, namespace: Namespace):
    for _ in range(2):
        database.write(lambda c: namespaces.flush_namespace(c, namespace.id))
    database.write(lambda c: namespaces.note_swept(c, Unswept(7, 1, is_removed=False)))
    with database.read() as connection:
        assert namespaces.find_unswept(connection) == Unswept(7, 2, is_removed=False)
