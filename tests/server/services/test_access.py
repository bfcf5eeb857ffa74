"""Who may call what."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hand_clock import HandClock
from places import Place

from piecework.server.errors import DatabaseAway, Forbidden, InvalidRequest, Unauthorized
from piecework.server.services.tokens import access, token_acts
from piecework.server.services.tokens.access import GRANTS, Access
from piecework.server.services.tokens.sessions import Sessions
from piecework.server.store.engine.database import Database


@pytest.fixture
def database(sqlite_place: Place) -> Iterator[Database]:
    database = sqlite_place.open()
    yield database
    database.close()


def _access(database: Database, clock: HandClock | None = None, *, loopback: bool = True) -> Access:
    sessions = Sessions(database, Path(database.engine.url.database or "").parent)
    return Access(database, clock or HandClock(), sessions, open_without_tokens=loopback)


def _bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def test_a_loopback_server_without_tokens_lets_everyone_in(database: Database):
    _access(database).check("operate", {"Host": "127.0.0.1:8000"})


def test_another_server_without_tokens_lets_nobody_in_and_says_how_to_make_one(database: Database):
    with pytest.raises(Unauthorized, match="piecework server token create"):
        _access(database, loopback=False).check("view", {"Host": "127.0.0.1:8000"})


def test_open_endpoints_need_no_token(database: Database):
    _access(database, loopback=False).check("open", {"Host": "evil.example", "Origin": "http://evil.example"})


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.3.2.1:80", "[::1]:8000", "[::1]"]
)
def test_loopback_names_of_the_host_are_accepted(database: Database, host: str):
    _access(database).check("submit", {"Host": host, "Origin": f"http://{host.lower()}"})


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "10.0.0.1", "[::2]", "localhost.evil", "["],
)
def test_a_rebound_host_name_is_refused(database: Database, host: str):
    with pytest.raises(Forbidden, match="answers to localhost only"):
        _access(database).check("view", {"Host": host})


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://127.0.0.1:9999", "http://localhost:8000.evil.example", "http://["],
)
def test_a_page_from_elsewhere_is_refused(database: Database, origin: str):
    with pytest.raises(Forbidden, match="takes nothing from pages"):
        _access(database).check("submit", {"Host": "127.0.0.1:8000", "Origin": origin})


def test_a_program_that_sends_no_host_is_let_in(database: Database):
    _access(database).check("worker", {})


def test_once_a_token_was_made_requests_without_one_are_refused_on_loopback_too(database: Database):
    token_acts.create_token(database, "alice", "view", 1)
    with pytest.raises(Unauthorized, match="needs a token"):
        _access(database).check("view", {"Host": "127.0.0.1"})


def test_revoking_the_last_token_does_not_open_the_server(database: Database):
    secret = token_acts.create_token(database, "alice", "view", 1)
    token_acts.revoke_token(database, "alice", 2)
    with pytest.raises(Unauthorized, match="revoked"):
        _access(database).check("view", _bearer(secret))
    with pytest.raises(Unauthorized, match="needs a token"):
        _access(database).check("view", {"Host": "127.0.0.1"})


@pytest.mark.parametrize(
    "headers", [{"Authorization": "Bearer nope"}, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer"}]
)
def test_a_wrong_secret_is_refused(database: Database, headers: dict[str, str]):
    token_acts.create_token(database, "alice", "admin", 1)
    with pytest.raises(Unauthorized):
        _access(database).check("view", headers)


MAY = {
    "view": {"view"},
    "invoke": {"invoke"},
    "submit": {"view", "submit", "invoke"},
    "worker": {"worker"},
    "operate": {"view", "submit", "invoke", "operate"},
    "admin": {"view", "submit", "invoke", "worker", "operate"},
}


@pytest.mark.parametrize("scope", GRANTS)
def test_a_scope_covers_what_the_table_says_and_no_more(database: Database, scope: str):
    guard, headers = _access(database), _bearer(token_acts.create_token(database, "t", scope, 1))
    for wanted in ("view", "invoke", "submit", "worker", "operate"):
        if wanted in MAY[scope]:
            guard.check(wanted, headers)
        else:
            with pytest.raises(Forbidden, match=f"has scope {scope}, this request needs {wanted}"):
                guard.check(wanted, headers)


def test_one_of_several_wanted_scopes_is_enough(database: Database):
    guard, headers = _access(database), _bearer(token_acts.create_token(database, "node", "worker", 1))
    guard.check(("submit", "worker"), headers)
    with pytest.raises(Forbidden, match="needs submit or view"):
        guard.check(("submit", "view"), headers)


def test_a_revoked_token_is_refused_a_second_later(database: Database):
    clock = HandClock()
    guard = _access(database, clock)
    headers = _bearer(token_acts.create_token(database, "alice", "view", 1))
    guard.check("view", headers)
    token_acts.revoke_token(database, "alice", 2)
    clock.forward(1)
    with pytest.raises(Unauthorized):
        guard.check("view", headers)


def test_a_new_token_counts_a_second_later(database: Database):
    clock = HandClock()
    guard = _access(database, clock)
    guard.check("view", {})
    headers = _bearer(token_acts.create_token(database, "alice", "view", 1))
    clock.forward(1)
    guard.check("view", headers)


def test_tokens_hold_while_the_database_does_not_answer(database: Database, monkeypatch):
    clock = HandClock()
    guard = _access(database, clock)
    headers = _bearer(token_acts.create_token(database, "alice", "view", 1))
    guard.check("view", headers)
    monkeypatch.setattr(database, "read", _be_away)
    clock.forward(1)
    guard.check("view", headers)
    with pytest.raises(Unauthorized):
        guard.check("view", _bearer("pw_wrong"))
    with pytest.raises(DatabaseAway):
        _access(database).check("view", headers)


def _be_away():
    raise DatabaseAway("it was stopped")


def test_a_clock_that_was_set_back_does_not_keep_old_tokens_alive(database: Database):
    clock = HandClock()
    guard = _access(database, clock)
    headers = _bearer(token_acts.create_token(database, "alice", "view", 1))
    guard.check("view", headers)
    token_acts.revoke_token(database, "alice", 2)
    clock.forward(-3600)
    with pytest.raises(Unauthorized):
        guard.check("view", headers)


def test_the_secret_is_not_stored(database: Database):
    secret = token_acts.create_token(database, "alice", "view", 1)
    assert secret.startswith("pw_")
    assert len(secret) > 40
    with database.read() as connection:
        [row] = connection.exec_driver_sql("SELECT * FROM tokens").all()
    assert secret not in str(row)
    assert access.digest(secret) in [bytes(value) for value in row if isinstance(value, bytes | memoryview)]
    assert secret not in str(token_acts.list_tokens(database))


def test_a_name_is_taken_until_its_token_is_revoked(database: Database):
    token_acts.create_token(database, "alice", "view", 1)
    with pytest.raises(InvalidRequest, match="a token named alice already"):
        token_acts.create_token(database, "alice", "admin", 2)
    token_acts.revoke_token(database, "alice", 3)
    token_acts.create_token(database, "alice", "admin", 4)
    assert [token.scope for token in token_acts.list_tokens(database) if token.revoked_at is None] == ["admin"]


@pytest.mark.parametrize("name", ["", " alice", "a\nb", "x" * 101])
def test_an_unusable_name_is_refused(database: Database, name: str):
    with pytest.raises(InvalidRequest, match="printable"):
        token_acts.create_token(database, name, "view", 1)


def test_an_unknown_scope_is_refused(database: Database):
    with pytest.raises(InvalidRequest, match="the scopes are view, invoke, submit, worker, operate, admin"):
        token_acts.create_token(database, "alice", "root", 1)


def test_revoking_an_unknown_token_is_an_error(database: Database):
    with pytest.raises(InvalidRequest, match="no live token named bob"):
        token_acts.revoke_token(database, "bob", 1)
