"""What comes to guests from outside is recorded, and the replay of each runtime is identical."""

import socket
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest
from redis_server import PASSWORD, run_redis

from piecework.protocol.messages import Grants
from piecework.worker_agent.runtimes.services.access import NodeRules, RedisServer, SharedDir
from piecework.worker_agent.tasks import JobFolder

pytestmark = pytest.mark.integration  # they compile interpreters

SAMPLES = Path(__file__).parents[4] / "samples"
COMPONENT = (SAMPLES / "http/echo.wat").read_text()
CLOCKS = """
import os, time, random
print(time.time_ns(), time.monotonic_ns(), time.process_time_ns(), random.random(), os.urandom(4).hex())
before = time.monotonic_ns()
time.sleep(0.02)
print(time.monotonic_ns() - before)
"""
FILES = """
import os, sys, time
def tell(path):
    found = os.lstat(path)
    print(path, found.st_size, found.st_mtime_ns, found.st_ino)
for name in sorted(os.listdir("/data")):
    tell("/data/" + name)
with open("/data/new", "w") as file:
    file.write("written outside")
tell("/data/new")
os.rename("/data/new", "/data/newer")
os.mkdir("/data/made")
os.symlink("../a", "/data/made/link")
print(open("/data/made/link").read(), os.readlink("/data/made/link"))
os.utime("/data/newer")
os.truncate("/data/newer", 7)
with open("/data/newer", "r+") as file:
    file.seek(2)
    print(file.read())
os.link("/data/newer", "/data/twin")
tell("/data/twin")
os.remove("/data/made/link")
os.rmdir("/data/made")
for broken in ("/data/none", "/data/out", "/other/b"):
    try:
        open(broken, "w" if broken.startswith("/other") else "r")
    except OSError as error:
        print(error)
"""
OWN = """
import os
for path in ("/own.txt", "/inputs/given", "/tmp"):
    found = os.stat(path)
    print(path, found.st_size, found.st_mtime_ns, found.st_ino)
open("/tmp/note", "w").write("x")
print(os.stat("/tmp/note").st_ino, os.stat("/tmp/note").st_mtime_ns, os.listdir("/tmp"))
print(open("/own.txt").read(), open("/inputs/given").read())
"""


class Site(BaseHTTPRequestHandler):
    """Counts who asks: no answer comes twice."""

    asked = 0

    def do_GET(self):
        Site.asked += 1
        body = b'{"answer": %d}' % Site.asked
        self.send_response(201)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815  # the name that the class looks for

    def log_message(self, *_arguments):
        """Nobody reads it."""


@pytest.fixture(scope="module")
def site():
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def reach(site):
    """Return the grants and rules to reach the site."""
    return {"grants": Grants(http=[site]), "rules": NodeRules(http=(site, "127.0.0.1/32"))}


def sample(name):
    return (SAMPLES / f"{name}.wasm").read_bytes()


def test_clocks_and_random_numbers_of_a_command_come_again(record):
    recording = record(CLOCKS.encode(), runtime="python3.12")
    assert recording.done.error is None
    assert set(recording.kinds) == {"clock", "sleep", "grants", "folders"}
    assert int(recording.done.output.split()[-1]) > 20_000_000
    recording.check()
    assert recording.done.usage.digests.journal_cut is False
    assert record(CLOCKS.encode(), runtime="python3.12").done.output != recording.done.output


@pytest.mark.parametrize(
    ("runtime", "code"),
    [
        ("javascript", "console.log(Date.now(), Math.random())"),
        ("lua5.4", "print(os.time(), os.clock(), math.random())"),
        ("micropython", "import time\nprint(time.time(), time.ticks_us())"),
    ],
)
def test_scripts_are_told_the_same_time_again(record, runtime, code):
    recording = record(code.encode(), runtime=runtime)
    assert recording.done.error is None
    assert "clock" in recording.kinds
    recording.check()


def test_files_of_the_node_come_from_the_journal(record, tmp_path):
    data, other = tmp_path / "data", tmp_path / "other"
    data.mkdir()
    other.mkdir()
    (data / "a").write_text("content of a")
    (data / "out").symlink_to("/etc/passwd")
    rules = NodeRules(dirs=(SharedDir(str(data), "/data", write=True), SharedDir(str(other), "/other")))
    grants = Grants(dirs=["/data:rw", "/other"])
    recording = record(FILES.encode(), rules, runtime="python3.12", grants=grants)
    assert recording.done.error is None
    assert b"content of a" in recording.done.output
    assert b"leads out of /data: denied" in recording.done.log
    assert b"writing to /other denied" in recording.done.log
    assert (data / "newer").read_text() == "written"
    # What was there is gone by the time of the replay.
    for file in data.iterdir():
        file.unlink()
    recording.check()
    assert list(data.iterdir()) == []
    assert any(b"written outside" in entry.asked for entry in recording.entries)


def test_files_of_the_job_are_told_alike_wherever_they_are(record, workbench, monkeypatch, tmp_path):
    monkeypatch.setattr(workbench, "_make_folder", lambda: Path(tempfile.mkdtemp(dir=tmp_path)))
    places = []
    for name in ("one", "two"):
        (tmp_path / name / "own").mkdir(parents=True)
        (tmp_path / name / "inputs").mkdir()
        (tmp_path / name / "own" / "own.txt").write_text("mine")
        (tmp_path / name / "inputs" / "given").write_text("theirs")
        places.append((JobFolder(str(tmp_path / name / "own"), (), "0" * 64), str(tmp_path / name / "inputs")))
    (folder, inputs), (other_folder, other_inputs) = places
    recording = record(OWN.encode(), runtime="python3.12", folder=folder, inputs=inputs)
    assert recording.done.error is None
    assert recording.done.output.endswith(b"mine theirs\n")
    assert "file" not in recording.kinds
    recording.check(folder=other_folder, inputs=other_inputs)


def test_variables_of_the_node_and_what_it_denies_come_from_the_journal(record, build_guest):
    rules = NodeRules(env={"PLACE": "here"})
    code = b"import os; print(os.environ['PLACE'], os.environ['MINE'])"
    grants = Grants(env=["PLACE", "MISSING"])
    recording = record(code, rules, runtime="python3.12", grants=grants, env={"MINE": "too"})
    assert recording.done.output == b"here too\n"
    assert b"variable MISSING denied" in recording.done.log
    recording.check()


def test_requests_of_a_funless_function_are_answered_from_the_journal(record, reach, site):
    recording = record(sample("funless_fetch"), reach["rules"], runtime="funless", grants=reach["grants"],
                       given=f'"http://{site}/"'.encode())  # fmt: skip
    assert (recording.done.output, recording.kinds) == (b"201", ["grants", "http"])
    asked = Site.asked
    recording.check()
    assert Site.asked == asked


@pytest.mark.parametrize(("allowed", "failure"), [((), "denied"), (("127.0.0.1:*", "127.0.0.1/32"), "failed")])
def test_denied_and_failed_requests_are_so_again(record, allowed, failure):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        nobody = f"127.0.0.1:{probe.getsockname()[1]}"
    rules = NodeRules(http=tuple(each.replace("127.0.0.1:*", nobody) for each in allowed))
    grants = Grants(http=[nobody])
    given = f'"http://{nobody}/"'.encode()
    recording = record(sample("funless_fetch"), rules, runtime="funless", grants=grants, given=given)
    assert recording.done.output == b"0"
    assert [entry.failure for entry in recording.entries] == ["", failure]
    assert f"HTTP request {failure}".encode() in recording.check().log


@pytest.mark.parametrize("generation", [1, 2, 3, 4])
@pytest.mark.parametrize("text", ["fetch GET {url}", "env PLACE", "env MISSING", "write note hello", "read note"])
def test_what_capsule_functions_ask_for_comes_from_the_journal(record, reach, site, tmp_path, generation, text):
    (tmp_path / "note").write_text("a note")
    rules = NodeRules(http=reach["rules"].http, env={"PLACE": "here"}, folder=str(tmp_path), shares_folder=True)
    grants = Grants(http=[site], env=["PLACE"], files="write")
    given = text.format(url=f"http://{site}/").encode()
    recording = record(sample(f"capsule_g{generation}"), rules, runtime="capsule", grants=grants, given=given)
    (tmp_path / "note").unlink()
    recording.check()
    assert not (tmp_path / "note").exists()


def test_commands_to_redis_are_answered_from_the_journal(record, tmp_path):
    grants = Grants(redis=True)
    with run_redis(tmp_path) as port:
        rules = NodeRules(redis=RedisServer("127.0.0.1", port, PASSWORD))
        recordings = [
            record(sample("capsule_g4"), rules, runtime="capsule", grants=grants, given=given)
            for given in (b"redis-set k v", b"redis-get k", b"redis-keys *", b"redis-del k", b"redis-get k")
        ]
    assert recordings[1].done.output == b"v"
    assert recordings[4].done.error.message.startswith("redis: nil")
    for recording in recordings:
        assert "redis" in recording.kinds
        recording.check()


def test_requests_of_a_component_are_answered_from_the_journal(record, build_text, reach, site):
    given = msgspec.json.encode({"method": "POST", "uri": f"/fetch/{site}", "body": ""})
    recording = record(build_text(COMPONENT), reach["rules"], runtime="component", grants=reach["grants"],
                       given=given, mode="http")  # fmt: skip
    assert msgspec.json.decode(recording.done.output)["status"] == 201
    assert recording.kinds == ["grants", "request", "wait", "answer"]
    asked = Site.asked
    recording.check()
    assert Site.asked == asked
    denied = record(build_text(COMPONENT), runtime="component", given=given, mode="http")
    assert msgspec.json.decode(denied.done.output)["status"] == 502
    assert b"HTTP request denied" in denied.check().log


SECOND = """
  (local.set $request (call $request (call $fields)))
  (drop (call $set-scheme (local.get $request) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0)))
  (drop (call $set-authority (local.get $request) (i32.const 1) (local.get $authority) (local.get $size)))
  (call $handle (local.get $request) (i32.const 0) (i32.const 0) (i32.const 256))
  (loop $spin
    (call $get (local.get $future) (i32.const 128))
    (br_if $spin (i32.eqz (i32.load8_u (i32.const 128)))))
  (call $block (call $subscribe (i32.load (i32.const 264))))
  (call $get (i32.load (i32.const 264)) (i32.const 128))
"""


def test_order_in_which_answers_become_visible_is_recorded(record, build_text, reach, site):
    waits = COMPONENT[COMPONENT.index("      (call $block (call $subscribe") :]
    waits = waits[: waits.index("      (if (i32.load8_u (i32.const 144))")]
    given = msgspec.json.encode({"method": "POST", "uri": f"/fetch/{site}", "body": ""})
    recording = record(build_text(COMPONENT.replace(waits, SECOND)), reach["rules"], runtime="component",
                       grants=reach["grants"], given=given, mode="http")  # fmt: skip
    assert msgspec.json.decode(recording.done.output)["status"] == 201
    assert recording.kinds.count("request") == 2
    looks = [entry.answer != b"" for entry in recording.entries if entry.kind == "answer"]
    # It looked at the first as long as it was not there; how often decides what fuel it used.
    assert looks == [False] * (len(looks) - 2) + [True] * 2
    recording.check()


def test_files_of_a_component_come_from_the_journal(record, build_text, tmp_path):
    (tmp_path / "file").write_text("hello")
    text = Path(__file__).parents[1].joinpath("change_paths.wat").read_text()
    rules = NodeRules(dirs=(SharedDir(str(tmp_path), "/data", write=True),))
    recording = record(build_text(text), rules, runtime="component", grants=Grants(dirs=["/data:rw"]))
    assert recording.done.error is None
    assert {"clock", "file", "folders"} <= set(recording.kinds)
    assert (tmp_path / "link").is_symlink()
    for each in tmp_path.iterdir():
        each.unlink()
    recording.check()


def test_guest_that_fails_fails_alike(record, build_guest):
    for name in ("wasi/fail", "wasi/trap", "wasi/flood_output", "wasi/loop"):
        recording = record(build_guest(name), fuel=1_000_000, output_bytes=10_000)
        assert recording.done.error is not None
        recording.check()


def test_guest_that_was_stopped_while_it_slept_is_stopped_there_again(record, build_guest):
    recording = record(build_guest("wasi/sleep"), timeout_s=0.05)
    assert recording.done.error.kind == "timeout"
    assert recording.entries[-1].failure == "stopped"
    recording.check()


def test_conformance_guests_echo_alike(record, build_guest):
    for kind, runtime in (("wasi", "wasi"), ("component", "component"), ("capsule", "capsule")):
        recording = record(build_guest(f"{kind}/echo"), runtime=runtime, given=b"hello")
        assert recording.done.output == b"hello"
        recording.check()
