"""The server's commands, but `run`, which tests/integration starts for real."""

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from house import migrated_file
from next_release import last_revision, next_release
from postgres import Cluster
from structlog.testing import capture_logs

from piecework.cli.main import main
from piecework.server.services.tokens.access import digest
from piecework.server.startup import CannotStart, DirectoryLock, choose_port
from piecework.server.store.engine.database import open_database
from piecework.server.store.stock import tokens

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `piecework server …` on a data directory of the test."""
    for name in ("HOST", "PORT", "DATABASE_URL"):
        monkeypatch.delenv(f"PIECEWORK_{name}", raising=False)
    monkeypatch.setenv("PIECEWORK_DATA", str(tmp_path / "data"))
    return lambda *words: CliRunner().invoke(main, ["server", *map(str, words)])


def _succeed(result: Result) -> str:
    assert result.exit_code == 0, result.stderr
    return result.stdout.strip()


def _make_data(folder: Path) -> None:
    """Have a server's data there, without the time that a migration takes."""
    folder.mkdir(mode=0o700)
    (folder / "piecework.db").write_bytes(migrated_file())


def _one_line(result: Result, exit_code: int = 1) -> str:
    assert result.exit_code == exit_code, result.output
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    assert line.startswith("piecework: ")
    return line


def test_a_token_is_made_listed_and_revoked(run: Run, tmp_path: Path):
    _make_data(tmp_path / "data")
    secret = _succeed(run("token", "create", "alice", "--scope", "submit"))
    assert secret.startswith("pw_")
    listed = _succeed(run("token", "list", "--json"))
    assert secret not in listed
    [alice] = json.loads(listed)
    assert (alice["name"], alice["scope"], alice["revoked_at"]) == ("alice", "submit", None)
    database = open_database(f"sqlite:///{tmp_path / 'data' / 'piecework.db'}")
    with database.read() as connection:
        assert digest(secret) in tokens.live_tokens(connection)
    database.close()
    assert _succeed(run("token", "revoke", "alice")) == "token alice is revoked"
    table = _succeed(run("token", "list"))
    assert [word in table for word in ("alice", "submit", "revoked")] == [True] * 3


@pytest.mark.slow
def test_a_token_name_that_is_taken_is_refused_in_one_line(run: Run, tmp_path: Path):
    _make_data(tmp_path / "data")
    _succeed(run("token", "create", "alice", "--scope", "view"))
    assert "a token named alice already" in _one_line(run("token", "create", "alice", "--scope", "view"))
    assert "no live token named bob" in _one_line(run("token", "revoke", "bob"))


@pytest.mark.slow
def test_a_token_that_expires_is_listed_and_rotated(run: Run, tmp_path: Path):
    _make_data(tmp_path / "data")
    first = _succeed(run("token", "create", "alice", "--scope", "submit", "--expires", "90d"))
    second = _succeed(run("token", "rotate", "alice", "--overlap", "1h"))
    third = _succeed(run("token", "rotate", "alice", "--overlap", "0", "--expires", "30d"))
    assert third.startswith("pw_")
    assert len({first, second, third}) == 3
    listed = _succeed(run("token", "list", "--json"))
    rows = json.loads(listed)
    assert [(each["name"], each["scope"], each["state"], each["used_at"]) for each in rows] == [
        ("alice", "submit", state, None) for state in ("expired", "expired", "live")
    ]
    assert rows[2]["expires_at"] - rows[2]["created_at"] == pytest.approx(30 * 86_400, abs=60)
    assert not any(secret in listed for secret in (first, second, third))
    table = _succeed(run("token", "list"))
    assert [word in table for word in ("last used", "expired", "live", "expires")] == [True] * 4


def test_tokens_that_cannot_expire_so_are_refused(run: Run, tmp_path: Path):
    _make_data(tmp_path / "data")
    over = run("token", "create", "alice", "--scope", "view", "--expires", "2020-01-01T00:00Z")
    assert "cannot expire at 2020-01-01T00:00:00Z: that is over" in _one_line(over)
    far = run("token", "create", "alice", "--scope", "view", "--expires", "9999-12-31T23:59Z")
    assert "that is more than ten years away" in _one_line(far)
    word = run("token", "create", "alice", "--scope", "view", "--expires", "soon")
    assert "'soon' is no date and time" in _one_line(word, 2)
    assert "'-1d' is no duration" in _one_line(run("token", "rotate", "alice", "--overlap=-1d"), 2)
    assert "no live token named alice" in _one_line(run("token", "rotate", "alice"))
    assert json.loads(_succeed(run("token", "list", "--json"))) == []


def test_an_unknown_scope_is_a_wrong_command_line(run: Run):
    assert "'root'" in _one_line(run("token", "create", "alice", "--scope", "root"), 2)


@pytest.mark.parametrize(
    "command", [["create", "alice", "--scope", "view"], ["list"], ["revoke", "alice"], ["rotate", "alice"]]
)
def test_tokens_of_no_server_are_refused(run: Run, tmp_path: Path, command: list[str]):
    assert f"there is no server's data in {tmp_path / 'data'}: name its directory" in _one_line(
        run("token", *command)
    )
    assert not (tmp_path / "data").exists()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "piecework.db").touch()
    assert "there is no server's data in" in _one_line(run("token", *command))


@pytest.mark.slow
def test_a_new_data_directory_is_kept_from_other_users(run: Run, tmp_path: Path):
    _succeed(run("migrate"))
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_the_data_option_goes_before_the_variable(run: Run, tmp_path: Path):
    _make_data(tmp_path / "other")
    _succeed(run("token", "create", "alice", "--scope", "view", "--data", tmp_path / "other"))
    assert (tmp_path / "other" / "piecework.db").exists()
    assert not (tmp_path / "data").exists()


@pytest.mark.slow
def test_migrate_says_what_it_did_and_is_safe_to_repeat(run: Run):
    assert _succeed(run("migrate")).startswith("schema version none -> 0")
    assert _succeed(run("migrate")).endswith("as before")


def test_a_plan_tells_what_is_to_be_run_and_runs_nothing(run: Run, tmp_path: Path):
    new = run("migrate", "--plan")
    assert new.exit_code == 3
    assert "schema: none, it is empty" in new.stdout
    assert new.stdout.endswith(f"run 0001 to {last_revision()}, all in one transaction\n")
    assert not (tmp_path / "data").exists()
    _make_data(tmp_path / "data")
    assert _succeed(run("migrate", "--plan")).endswith("nothing to do")
    with next_release():
        plan = run("migrate", "--plan", "--sql")
        assert plan.exit_code == 3
        assert "run 9001 expand   tints of jobs" in plan.stdout
        assert "ALTER TABLE jobs ADD COLUMN tint TEXT;" in plan.stdout
        stopped = run("migrate", "--plan", "--expand-only").stdout
        assert "run 9002 expand" in stopped
        assert "then  9003 contract every job has a tint" in stopped
    assert _succeed(run("migrate")).endswith("as before")


@pytest.mark.slow
def test_a_migration_stops_where_it_should_and_goes_back(run: Run, tmp_path: Path):
    _make_data(tmp_path / "data")
    with next_release():
        lines = _succeed(run("migrate", "--expand-only")).splitlines()
        assert lines[0].startswith(f"schema version {last_revision()} -> 9002 in ")
        assert lines[1].endswith(f"data/piecework-{last_revision()}.db")
        assert lines[2] == "still to be run: 9003 (contract)"
        assert "take back 9002 expand" in run("migrate", "--plan", "--to", "9001").stdout
        assert _succeed(run("migrate", "--to", "9001", "--no-copy")).startswith("schema version 9002 -> 9001")
        _succeed(run("migrate"))
        for options in ([], ["--plan"]):
            assert "no way back from schema version 9003 to 9002" in _one_line(
                run("migrate", "--to", "9002", *options)
            )
    assert "is for servers of version 9002 and newer" in _one_line(run("migrate", "--plan"))


def test_options_of_a_migration_that_do_not_go_together(run: Run, tmp_path: Path):
    assert "--sql goes with --plan" in _one_line(run("migrate", "--sql"), 2)
    assert "not both" in _one_line(run("migrate", "--expand-only", "--to", "0028"), 2)
    assert "there is no schema version 28" in _one_line(run("migrate", "--to", "28"))
    assert not (tmp_path / "data").exists()


@pytest.mark.integration
def test_a_plan_for_postgresql_shows_no_password(run: Run, postgres: Cluster):
    url = postgres.create_database("planned").replace("postgres@", "postgres:geheim@")
    plan = run("migrate", "--plan", "--database-url", url)
    assert plan.exit_code == 3
    assert "geheim" not in plan.output
    assert f"database: {url.replace('geheim', '***')}" in plan.stdout
    _succeed(run("migrate", "--database-url", url))
    with next_release():
        plan = run("migrate", "--plan", "--sql", "--database-url", url)
    assert "steps that commit by themselves; writes every job once" in plan.stdout
    assert "CREATE INDEX CONCURRENTLY" in plan.stdout


@pytest.mark.integration
def test_commands_work_on_postgresql_without_a_data_directory(run: Run, postgres: Cluster, tmp_path: Path):
    url = postgres.create_database("to_migrate")
    assert "there is no server's data in this database" in _one_line(run("token", "list", "--database-url", url))
    assert _succeed(run("migrate", "--database-url", url)).startswith("schema version none -> 0")
    assert _succeed(run("migrate", "--database-url", url)).endswith("as before")
    _succeed(run("token", "create", "alice", "--scope", "view", "--database-url", url))
    assert not (tmp_path / "data").exists()


def test_a_newer_database_is_left_alone(run: Run, tmp_path: Path):
    _make_data(tmp_path / "data")
    database = open_database(f"sqlite:///{tmp_path / 'data' / 'piecework.db'}")
    database.write(lambda c: c.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    for command in (["migrate"], ["token", "list"], ["run", "--port", "0"]):
        assert "schema version 9999, which this program does not know" in _one_line(run(*command))


@pytest.mark.slow
def test_a_directory_in_use_is_not_migrated(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("piecework.http.ports.WAIT_S", 0.05)
    (tmp_path / "data").mkdir()
    with DirectoryLock(tmp_path / "data"):
        assert "another server or command works on" in _one_line(run("migrate"))
        assert "another server or command works on" in _one_line(run("run", "--port", "0"))
    _succeed(run("migrate"))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "node7.example"])
def test_listening_beyond_this_machine_needs_a_token(
    run: Run, tmp_path: Path, host: str, monkeypatch: pytest.MonkeyPatch
):
    resolve = dict.fromkeys(["node7.example"], "192.0.2.7")
    monkeypatch.setattr("piecework.server.startup.resolve_host", lambda name: resolve.get(name, name))
    for is_there in (False, True):
        line = _one_line(run("run", "--host", host, "--port", "0"), 2)
        assert "piecework server token create NAME --scope admin" in line
        assert ("piecework server migrate" in line) != is_there
        assert (f"on {host}, which is 192.0.2.7, anybody" in line) == (host in resolve)
        assert (tmp_path / "data").exists() == is_there
        if not is_there:
            _make_data(tmp_path / "data")


def test_the_hint_names_the_data_directory(run: Run, tmp_path: Path):
    line = _one_line(run("run", "--host", "0.0.0.0", "--data", tmp_path / "d"), 2)
    assert line.endswith(f"--scope admin --data {tmp_path / 'd'}")


@pytest.mark.slow
def test_what_the_hint_says_opens_the_way(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    served: list[str] = []
    monkeypatch.setattr("piecework.server.cli.starting.serve", lambda settings, *_: served.append(settings.host))
    line = _one_line(run("run", "--host", "0.0.0.0", "--port", "0", "--data", tmp_path / "d"), 2)
    for hint in line.split("with piecework server ")[1].split(" and piecework server "):
        _succeed(run(*hint.split()))
    _succeed(run("run", "--host", "0.0.0.0", "--port", "0", "--data", tmp_path / "d"))
    assert served == ["0.0.0.0"]


@pytest.mark.parametrize("part", ["run", "registry", "proxy"])
def test_a_name_is_resolved_before_anything_is_opened(
    run: Run, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    served: list[str] = []
    monkeypatch.setattr("piecework.server.cli.starting.serve", lambda settings, *_: served.append(settings.host))
    _make_data(tmp_path / "data")
    _succeed(run(part, "--host", "localhost", "--port", "0"))
    assert served == ["127.0.0.1"]
    line = _one_line(run(part, "--host", "nowhere.invalid", "--data", tmp_path / "none"))
    assert "cannot listen on 'nowhere.invalid', which leads to no address: " in line
    assert not (tmp_path / "none").exists()


def test_a_variable_that_nobody_reads_is_told_at_the_start(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    _make_data(tmp_path / "data")
    monkeypatch.setattr("piecework.server.cli.starting.serve", lambda *_: None)
    monkeypatch.setenv("PIECEWORK_LEASES", "5")
    result = run("run", "--port", "0")
    assert result.exit_code == 0
    assert "PIECEWORK_LEASES is no variable of Piecework: did you mean PIECEWORK_LEASE_S?" in result.stderr


def test_what_was_checked_of_a_name_is_what_is_listened_on(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    _make_data(tmp_path / "data")
    answers, served = iter(["127.0.0.1", "192.0.2.7"]), []
    monkeypatch.setattr("piecework.server.startup.resolve_host", lambda _: next(answers))
    monkeypatch.setattr("piecework.server.cli.starting.serve", lambda settings, *_: served.append(settings.host))
    _succeed(run("run", "--host", "changing.example", "--port", "0"))
    assert served == ["127.0.0.1"]


@pytest.mark.slow
def test_a_port_in_use_is_one_clear_line(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("piecework.http.ports.WAIT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for is_there in (False, True):
            line = _one_line(run("run", "--port", port))
            assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in line
            assert (tmp_path / "data").exists() == is_there
            if not is_there:
                _make_data(tmp_path / "data")


def test_a_host_that_is_not_ours_is_one_clear_line():
    with pytest.raises(CannotStart, match=r"cannot listen on 192\.0\.2\.1 port 0"):
        choose_port("192.0.2.1", 0)


def test_a_free_port_is_found_for_port_0():
    assert 1024 < choose_port("127.0.0.1", 0) < 65536
    assert 1024 < choose_port("::1", 0) < 65536


def test_a_data_path_that_is_no_directory_is_one_clear_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PIECEWORK_DATA", str(tmp_path / "file"))
    assert "file: File exists" in _one_line(run("run", "--port", "0"))


def test_all_wrong_variables_are_named_at_once(run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PIECEWORK_PORT", "http")
    monkeypatch.setenv("PIECEWORK_LEASE_S", "long")
    line = _one_line(run("run"))
    assert "PIECEWORK_PORT='http' is not a whole number" in line
    assert "PIECEWORK_LEASE_S='long'" in line


def test_a_database_that_does_not_answer_is_one_clear_line(run: Run):
    url = "postgresql://user:hush@127.0.0.1:1/nothing"
    with capture_logs() as logs:
        line = _one_line(run("token", "list", "--database-url", url))
    assert logs == []
    assert "does not answer" in line
    assert "hush" not in line


@pytest.mark.slow
def test_backup_and_restore(run: Run, tmp_path: Path):
    _make_data(tmp_path / "data")
    secret = _succeed(run("token", "create", "alice", "--scope", "view"))
    assert secret
    file = tmp_path / "b.tar"
    assert "0 large blobs" in _succeed(run("backup", file))
    assert "exists already" in _one_line(run("backup", file))
    _succeed(run("backup", file, "--force"))
    _succeed(run("restore", file, "--data", tmp_path / "new"))
    assert "not empty" in _one_line(run("restore", file, "--data", tmp_path / "new"))
    assert json.loads(_succeed(run("token", "list", "--json", "--data", tmp_path / "new")))[0]["name"] == "alice"


def test_a_lock_ends_with_its_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("piecework.http.ports.WAIT_S", 0)
    with DirectoryLock(tmp_path), pytest.raises(CannotStart):
        DirectoryLock(tmp_path)
    DirectoryLock(tmp_path).close()


@pytest.mark.slow
def test_a_directory_that_is_given_up_in_time_is_waited_for(tmp_path: Path):
    first, given_up = DirectoryLock(tmp_path), threading.Event()

    def give_up() -> None:
        given_up.set()
        first.close()

    threading.Timer(0.1, give_up).start()
    with DirectoryLock(tmp_path):
        assert given_up.is_set()


@pytest.mark.slow
def test_a_token_with_a_quota_is_listed_and_changed(run: Run, tmp_path: Path):
    _make_data(tmp_path / "data")
    quota = ["--lambda", "hola", "--lambda", "7", "--max-queued", "5", "--rate", "100/1m"]
    _succeed(run("token", "create", "shop", "--scope", "submit", *quota))
    [shop] = json.loads(_succeed(run("token", "list", "--json")))
    assert [shop[name] for name in ("lambdas", "max_queued", "rate", "period_s")] == [["hola", "7"], 5, 100, 60]
    assert "max-queued=5" in _succeed(run("token", "list"))
    assert _succeed(run("token", "change", "shop", "--rate", "3/s", "--no", "lambda")) == "token shop is changed"
    _succeed(run("token", "rotate", "shop"))
    rows = json.loads(_succeed(run("token", "list", "--json")))
    told = [[each[name] for name in ("lambdas", "max_queued", "rate", "period_s")] for each in rows]
    assert told == [[[], 5, 3, 1]] * 2
    assert "give --lambda" in _one_line(run("token", "change", "shop"), 2)
    assert "contradict" in _one_line(run("token", "change", "shop", "--rate", "1/s", "--no", "rate"), 2)
    assert "no live token named bob" in _one_line(run("token", "change", "bob", "--rate", "1/s"))
    assert "only those of submit and invoke" in _one_line(
        run("token", "create", "boss", "--scope", "operate", "--rate", "1/s")
    )
