"""Token rows."""

from piecework.server.store.engine.database import Database
from piecework.server.store.stock import tokens


def _add(database: Database, name: str, *, sha256: bytes, now: int = 1) -> None:
    database.write(lambda c: tokens.add_token(c, name=name, scope="view", sha256=sha256, now=now))


def test_a_token_is_live_under_its_digest_until_revoked(database: Database):
    _add(database, "alice", sha256=b"a" * 32)
    _add(database, "bob", sha256=b"b" * 32)
    assert database.write(lambda c: tokens.revoke_tokens(c, "alice", 9)) == 1
    with database.read() as connection:
        assert {key: token.name for key, token in tokens.live_tokens(connection).items()} == {b"b" * 32: "bob"}
        listed = [
            (token.name, token.scope, token.created_at, token.revoked_at)
            for token in tokens.list_tokens(connection)
        ]
    assert listed == [("alice", "view", 1, 9), ("bob", "view", 1, None)]


def test_revoking_twice_changes_nothing_the_second_time(database: Database):
    _add(database, "alice", sha256=b"a" * 32)
    assert database.write(lambda c: tokens.revoke_tokens(c, "alice", 9)) == 1
    assert database.write(lambda c: tokens.revoke_tokens(c, "alice", 10)) == 0


def test_a_revoked_token_still_counts_as_one_that_was_made(database: Database):
    with database.read() as connection:
        assert not tokens.any_token(connection)
    _add(database, "alice", sha256=b"a" * 32)
    database.write(lambda c: tokens.revoke_tokens(c, "alice", 9))
    with database.read() as connection:
        assert tokens.any_token(connection)


def test_only_tokens_that_would_go_on_longer_are_ended(database: Database):
    for name, sha256, expires_at in (("a", b"1", None), ("a", b"2", 90), ("a", b"3", 20), ("b", b"4", None)):
        database.write(
            lambda c, name=name, sha256=sha256, expires_at=expires_at: tokens.add_token(
                c, name=name, scope="view", sha256=sha256 * 32, now=1, expires_at=expires_at
            )
        )

    def rotate(connection):
        tokens.lock_tokens(connection, "a")
        tokens.end_tokens(connection, "a", 50)

    database.write(rotate)
    with database.read() as connection:
        assert [token.expires_at for token in tokens.list_tokens(connection)] == [50, 50, 20, None]


def test_an_older_use_changes_nothing(database: Database):
    _add(database, "alice", sha256=b"a" * 32)
    _add(database, "bob", sha256=b"b" * 32)
    with database.read() as connection:
        alice, bob = tokens.list_tokens(connection)
    for used in ({alice.id: 7, bob.id: 8}, {bob.id: 3, alice.id: 9}):
        database.write(lambda c, used=used: tokens.note_uses(c, used), durable=False)
    with database.read() as connection:
        assert [token.used_at for token in tokens.list_tokens(connection)] == [9, 8]


def test_the_newest_token_is_never_forgotten(database: Database):
    for name in ("a", "b"):
        database.write(
            lambda c, name=name: tokens.add_token(
                c, name=name, scope="view", sha256=name.encode() * 32, now=1, expires_at=5
            )
        )
    assert database.write(lambda c: tokens.forget_expired(c, 5)) == 0
    assert database.write(lambda c: tokens.forget_expired(c, 6)) == 1
    with database.read() as connection:
        assert [token.name for token in tokens.list_tokens(connection)] == ["b"]
