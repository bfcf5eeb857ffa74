"""Replays of bundles in guest processes of their own: identical, or where they first differ."""

import os
import subprocess
import sys

import msgspec
import pytest
from click.testing import CliRunner
from receipts import sha256

from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import Grants
from piecework.receipts import Bundle
from piecework.receipts.journals import End, Head, JournalReader, write_frame
from piecework.worker_agent.replaying.command import replay_run
from piecework.worker_agent.replaying.replay import replay
from piecework.worker_agent.replaying.runs import ReplayError
from piecework.worker_agent.runtimes import ENGINES
from piecework.worker_agent.runtimes.services.access import NodeRules, SharedDir

CODE = b"""
import os, random, sys, time
print(time.time_ns(), random.random(), sys.argv[1:], os.environ.get("A"), sys.stdin.read())
time.sleep(0.01)
"""


@pytest.fixture
def check(node, tmp_path):
    """Return a function that writes a run's bundle and replays it."""

    def replay_run(bundled, engine="cranelift", **changes):
        path = bundled.write(tmp_path / f"{engine}.bundle", **changes)
        with Bundle(path) as bundle:
            return replay(bundle, node, engine=engine, timeout_s=120.0)

    return replay_run


@pytest.mark.integration
@pytest.mark.parametrize("engine", ENGINES)
def test_a_recorded_run_is_identical_under_each_engine(bundle_run, check, engine):
    bundled = bundle_run(CODE, runtime="python3.12", args=("x", "y"), env={"A": "ö"}, given=b"the input")
    found = check(bundled, engine)
    assert (found.verdict, found.difference) == ("identical", None)
    assert (found.result, found.engine) == (bundled.result, engine)


@pytest.mark.integration
@pytest.mark.parametrize("engine", ENGINES)
def test_a_deterministic_run_is_identical_under_each_engine(bundle_run, check, engine):
    found = check(bundle_run(CODE, record=False, runtime="python3.12"), engine)
    assert found.verdict == "identical"


@pytest.mark.slow
def test_files_of_the_job_and_of_the_node_are_there_again(bundle_run, check, tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "a").write_text("of the node")
    code = b"open('/out', 'w').write(open('/data/a').read() + open('/in/b').read())"
    rules = NodeRules(dirs=(SharedDir(str(tmp_path / "shared"), "/data"),))
    bundled = bundle_run(code, rules, runtime="python3.12", grants=Grants(dirs=["/data"]),
                         files={"in/b": b"; of the job"}, outputs=("out",))  # fmt: skip
    assert bundled.done.error is None
    (tmp_path / "shared" / "a").unlink()
    found = check(bundled)
    assert found.verdict == "identical"
    assert found.files == {"out": sha256(b"of the node; of the job")}


def test_failed_runs_fail_alike(bundle_run, check, build_guest):
    for name in ("wasi/fail", "wasi/trap"):
        bundled = bundle_run(build_guest(name), record=False)
        assert bundled.result.state == "Fail_Execution"
        assert check(bundled).verdict == "identical"


def test_a_full_stack_is_compared_with_nothing(bundle_run, check, build_guest):
    bundled = bundle_run(build_guest("wasi/recurse"), record=False)
    assert bundled.result.comparable is False
    found = check(bundled, "pulley")
    assert found.verdict in {"incomparable", "identical"}


@pytest.mark.parametrize(
    ("change", "where", "message"),
    [
        ({"fuel": 5}, "fuel", "the fuel differs: then 5, now "),
        ({"memory": "0" * 64}, "memory", "the memory differs: then 0000"),
        ({"exit_code": 3}, "exit code", "the exit code differs: then 3, now 0"),
        (
            {"state": "Fail_Execution", "error_kind": ErrorKind.TRAP},
            "state",
            "the state differs: then Fail_Execution, now Finished",
        ),
    ],
)
def test_the_first_difference_of_a_result_is_named(bundle_run, check, build_guest, change, where, message):
    bundled = bundle_run(build_guest("wasi/echo"), record=False, given=b"hello")
    found = check(bundled, result=change)
    assert found.verdict == "different"
    assert found.difference.where == where
    assert found.difference.message.startswith(message)


def test_the_byte_is_named_at_which_an_output_differs(bundle_run, check, build_guest):
    bundled = bundle_run(build_guest("wasi/echo"), record=False, given=b"hello")
    found = check(bundled, result={"output": sha256(b"heLLo!")}, parts=[b"heLLo!"])
    assert (found.difference.where, found.difference.byte) == ("output", 2)
    assert found.difference.message == "the output differs from byte 2 on: then 6 bytes, now 5"


@pytest.mark.slow
def test_another_journal_differs_at_a_host_call(bundle_run, check):
    bundled = bundle_run(CODE, runtime="python3.12")
    entries = [*JournalReader(bundled.done.journal).read()]
    frames = [Head(), *entries[:-1], End(len(entries) - 1)]
    journal = b"".join(map(write_frame, frames))
    found = check(bundled, subject={"journal": sha256(journal)}, parts=[journal])
    assert found.verdict == "different"
    assert (found.difference.where, found.difference.call) == ("host call", len(entries))
    assert found.difference.message.endswith("the record has no more")


@pytest.mark.slow
def test_a_journal_that_was_cut_says_how_far_it_goes(bundle_run, check):
    bundled = bundle_run(CODE, runtime="python3.12")
    entries = [*JournalReader(bundled.done.journal).read()]
    journal = b"".join(map(write_frame, [Head(), *entries[:5], End(5, cut=True)]))
    subject = {"journal": sha256(journal), "journal_cut": True}
    found = check(bundled, subject=subject, parts=[journal])
    assert (found.verdict, found.difference.call) == ("cut", 6)


@pytest.mark.slow
def test_a_run_without_its_journal_cannot_be_repeated(bundle_run, check):
    bundled = bundle_run(CODE, runtime="python3.12")
    with pytest.raises(ReplayError, match="its journal was not kept"):
        check(bundled, subject={"journal": None})


@pytest.mark.slow
def test_a_damaged_journal_is_told(bundle_run, check):
    bundled = bundle_run(CODE, runtime="python3.12")
    journal = bundled.done.journal[:-4]
    with pytest.raises(ReplayError, match=r"cannot be repeated here: the journal cannot be used: .* cut short"):
        check(bundled, subject={"journal": sha256(journal)}, parts=[journal])


def test_code_that_an_engine_cannot_run_is_told(bundle_run, check, build_text):
    code = build_text("""(module (memory (export "memory") 1)
      (func (export "_start") (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))))""")
    bundled = bundle_run(code, record=False)
    assert check(bundled).verdict == "identical"
    with pytest.raises(ReplayError, match=r"the run cannot be repeated here: .*threads"):
        check(bundled, "pulley")


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Return a function that runs the command on a bundle."""
    monkeypatch.setenv("PIECEWORK_WORKER_STATE", str(tmp_path / "state"))

    def run_command(path, *options):
        done = CliRunner().invoke(replay_run, [str(path), *options], standalone_mode=False)
        return done.return_value, done.output, done.exception

    return run_command


@pytest.mark.usefixtures("node")
def test_the_command_says_it_in_a_line_or_for_programs(bundle_run, build_guest, command, tmp_path):
    bundled = bundle_run(build_guest("wasi/echo"), record=False, given=b"hello")
    code, said, _ = command(bundled.write(tmp_path / "good"))
    assert code == 0
    assert said.startswith("identical (under cranelift of wasmtime ")
    code, said, _ = command(bundled.write(tmp_path / "bad", result={"fuel": 5}), "--engine", "pulley", "--json")
    assert code == 1
    told = msgspec.json.decode(said)
    assert (told["verdict"], told["engine"], told["difference"]["where"]) == ("different", "pulley", "fuel")


def test_the_command_refuses_what_is_no_bundle(command, tmp_path):
    (tmp_path / "none").write_bytes(b"nothing of the kind")
    _, _, error = command(tmp_path / "none")
    assert "none" in str(error)


@pytest.mark.integration
def test_piecework_replay_runs_it_and_ends_alike(bundle_run, build_guest, tmp_path):
    bundled = bundle_run(build_guest("wasi/echo"), record=False, given=b"hello")
    path = bundled.write(tmp_path / "bad", result={"fuel": 5})
    environ = os.environ | {"PIECEWORK_WORKER_STATE": str(tmp_path / "state")}
    command = [sys.executable, "-m", "piecework", "replay", "--engine", "cranelift-none", "--json", str(path)]
    done = subprocess.run(command, env=environ, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (1, b"")
    assert msgspec.json.decode(done.stdout)["difference"]["where"] == "fuel"
    path.write_bytes(b"no bundle")
    done = subprocess.run(command, env=environ, capture_output=True, check=False)
    assert done.returncode == 1
    assert b"no bundle" in done.stderr or b"damaged" in done.stderr
