"""Tokens that expire, are rotated, and were used."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hand_clock import START_MS, HandClock
from places import Place

from piecework.server.errors import DatabaseAway, Forbidden, InvalidRequest, Unauthorized
from piecework.server.services.tokens import token_acts
from piecework.server.services.tokens.access import Access
from piecework.server.services.tokens.sessions import Sessions
from piecework.server.store.engine.database import Database
from piecework.server.store.stock.tokens import Token

DAY_MS = 86_400_000
BEGAN = START_MS


@pytest.fixture
def database(sqlite_place: Place) -> Iterator[Database]:
    database = sqlite_place.open()
    yield database
    database.close()


def _access(database: Database, clock: HandClock | None = None, **options) -> Access:
    sessions = Sessions(database, Path(database.engine.url.database or "").parent)
    return Access(database, clock or HandClock(), sessions, open_without_tokens=True, **options)


def _bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def _be_away(*_work, **_options):
    raise DatabaseAway("it was stopped")


def _row(database: Database, name: str = "alice") -> Token:
    return [token for token in token_acts.list_tokens(database) if token.name == name][-1]


def test_a_token_expires_at_its_very_moment(database: Database):
    clock = HandClock()
    guard = _access(database, clock)
    headers = _bearer(token_acts.create_token(database, "alice", "view", BEGAN, expires_at=BEGAN + 1500))
    clock.now = BEGAN + 1499
    guard.check("view", headers)
    clock.now = BEGAN + 1500
    with pytest.raises(Unauthorized, match=r"the token alice expired at 2026-09-21T14:13:21Z: get a new one"):
        guard.check("view", headers)


def test_an_expired_token_stays_out_while_the_database_is_away(database: Database, monkeypatch):
    clock = HandClock()
    guard = _access(database, clock)
    headers = _bearer(token_acts.create_token(database, "alice", "view", BEGAN, expires_at=BEGAN + 5000))
    guard.check("view", headers)
    monkeypatch.setattr(database, "read", _be_away)
    clock.forward(5)
    with pytest.raises(Unauthorized, match="expired"):
        guard.check("view", headers)


def test_a_session_ends_when_its_token_expires(database: Database):
    clock = HandClock()
    guard = _access(database, clock)
    secret = token_acts.create_token(database, "alice", "view", BEGAN, expires_at=BEGAN + 5000)
    headers = {"Authorization": f"Session {guard.open_session(secret)}"}
    guard.check("view", headers)
    clock.forward(5)
    with pytest.raises(Unauthorized, match="alice expired"):
        guard.check("view", headers)
    with pytest.raises(Unauthorized, match="alice expired"):
        guard.open_session(secret)


@pytest.mark.parametrize("expires_at", [BEGAN, BEGAN - 1])
def test_a_time_that_is_over_is_no_expiry(database: Database, expires_at: int):
    with pytest.raises(InvalidRequest, match="cannot expire at 2026-09-21T14:13:"):
        token_acts.create_token(database, "alice", "view", BEGAN, expires_at=expires_at)
    assert not token_acts.has_tokens(database)


def test_the_name_of_an_expired_token_is_free(database: Database):
    token_acts.create_token(database, "alice", "view", BEGAN, expires_at=BEGAN + 1)
    token_acts.create_token(database, "alice", "admin", BEGAN + 1)
    assert [token.scope for token in token_acts.list_tokens(database)] == ["view", "admin"]


def test_a_rotated_token_is_let_in_until_the_overlap_is_over(database: Database):
    clock = HandClock()
    guard = _access(database, clock)
    old = _bearer(token_acts.create_token(database, "alice", "submit", BEGAN))
    guard.check("submit", old)
    new = _bearer(token_acts.rotate_token(database, "alice", BEGAN, overlap_ms=DAY_MS))
    clock.forward(1)
    for headers in (old, new):
        token = guard.check("submit", headers)
        assert token is not None
        assert (token.name, token.scope) == ("alice", "submit")
    clock.now = BEGAN + DAY_MS
    guard.check("submit", new)
    with pytest.raises(Unauthorized, match="alice expired"):
        guard.check("submit", old)
    assert [token.expires_at for token in token_acts.list_tokens(database)] == [BEGAN + DAY_MS, None]


def test_a_rotation_without_overlap_ends_all_older_secrets(database: Database):
    clock = HandClock()
    guard = _access(database, clock)
    secrets = [token_acts.create_token(database, "alice", "view", BEGAN)]
    secrets += [token_acts.rotate_token(database, "alice", BEGAN, overlap_ms=ms) for ms in (DAY_MS, 0)]
    for secret in secrets[:2]:
        with pytest.raises(Unauthorized, match="expired"):
            guard.check("view", _bearer(secret))
    guard.check("view", _bearer(secrets[2]))


def test_a_rotation_makes_a_token_last_as_long_again(database: Database):
    token_acts.create_token(database, "alice", "view", BEGAN, expires_at=BEGAN + 90)
    token_acts.rotate_token(database, "alice", BEGAN + 80, overlap_ms=1000)
    assert [token.expires_at for token in token_acts.list_tokens(database)] == [BEGAN + 90, BEGAN + 170]
    token_acts.rotate_token(database, "alice", BEGAN + 81, overlap_ms=0, expires_at=BEGAN + 500)
    assert _row(database).expires_at == BEGAN + 500


def test_what_cannot_be_rotated_is_left_as_it_was(database: Database):
    token_acts.create_token(database, "alice", "view", BEGAN, expires_at=BEGAN + 10)
    before = token_acts.list_tokens(database)
    with pytest.raises(InvalidRequest, match="no live token named alice"):
        token_acts.rotate_token(database, "alice", BEGAN + 10, overlap_ms=5)
    with pytest.raises(InvalidRequest, match="no live token named bob"):
        token_acts.rotate_token(database, "bob", BEGAN, overlap_ms=5)
    with pytest.raises(InvalidRequest, match="cannot expire"):
        token_acts.rotate_token(database, "alice", BEGAN, overlap_ms=5, expires_at=BEGAN)
    assert token_acts.list_tokens(database) == before


def test_revoking_a_rotated_token_ends_both_secrets(database: Database):
    secrets = [token_acts.create_token(database, "alice", "view", BEGAN)]
    secrets.append(token_acts.rotate_token(database, "alice", BEGAN, overlap_ms=DAY_MS))
    token_acts.revoke_token(database, "alice", BEGAN)
    for secret in secrets:
        with pytest.raises(Unauthorized, match="revoked"):
            _access(database).check("view", _bearer(secret))


def test_the_last_use_is_stored_once_a_minute(database: Database):
    clock = HandClock()
    guard = _access(database, clock)
    headers = _bearer(token_acts.create_token(database, "alice", "view", BEGAN))
    used = []
    for seconds in (0, 5, 54.999, 0.001, 5):
        clock.forward(seconds)
        guard.check("view", headers)
        guard.store_uses()
        used.append(_row(database).used_at)
    assert used == [BEGAN, BEGAN, BEGAN, BEGAN + 60_000, BEGAN + 60_000]
    guard.close()
    assert _row(database).used_at == BEGAN + 65_000


def test_a_use_that_was_stored_is_not_stored_again(database: Database):
    clock = HandClock()
    guard = _access(database, clock)
    guard.check("view", _bearer(token_acts.create_token(database, "alice", "view", BEGAN)))
    guard.store_uses()
    before = database.write_counter.read()
    clock.forward(120)
    guard.store_uses()
    guard.close()
    assert database.write_counter.read() == before


def test_requests_themselves_write_and_read_nothing(database: Database, monkeypatch):
    guard = _access(database)
    headers = _bearer(token_acts.create_token(database, "alice", "view", BEGAN, expires_at=BEGAN + 10))
    guard.check("view", headers)
    monkeypatch.setattr(database, "read", _be_away)
    monkeypatch.setattr(database, "write", _be_away)
    for _ in range(10):
        guard.check("view", headers)


def test_a_refused_request_is_no_use(database: Database):
    clock = HandClock()
    guard = _access(database, clock)
    headers = _bearer(token_acts.create_token(database, "alice", "view", BEGAN, expires_at=BEGAN + 10))
    with pytest.raises(Forbidden):
        guard.check("operate", headers)
    clock.forward(1)
    with pytest.raises(Unauthorized):
        guard.check("view", headers)
    guard.store_uses()
    assert _row(database).used_at is None


def test_refusals_of_an_expired_token_are_told_by_its_name(database: Database):
    clock = HandClock()
    guard = _access(database, clock)
    headers = _bearer(token_acts.create_token(database, "alice", "view", BEGAN, expires_at=BEGAN + 10))
    clock.forward(1)
    with pytest.raises(Unauthorized) as refused:
        guard.check("view", headers)
    assert refused.value.who == "alice"


def test_expired_tokens_go_in_time_and_the_server_stays_closed(database: Database):
    clock = HandClock()
    guard = _access(database, clock, kept_ms=DAY_MS)
    for name in ("alice", "bob"):
        token_acts.create_token(database, name, "view", BEGAN, expires_at=BEGAN + 10)
    clock.now = BEGAN + 10 + DAY_MS
    guard.forget()
    assert [token.name for token in token_acts.list_tokens(database)] == ["alice", "bob"]
    clock.now += 1
    guard.forget()
    assert [token.name for token in token_acts.list_tokens(database)] == ["bob"]
    with pytest.raises(Unauthorized, match="needs a token"):
        guard.check("view", {"Host": "127.0.0.1"})
