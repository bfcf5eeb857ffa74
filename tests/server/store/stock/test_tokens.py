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
