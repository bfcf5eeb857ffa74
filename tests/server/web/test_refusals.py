"""Bad requests: each gets a clear answer with the right status, and changes nothing."""

import gzip
from unittest.mock import Mock

import pytest
import structlog
from house import House
from wasmtime import wat2wasm

from piecework.server import errors
from piecework.server.web.errors import HTTP_STATUS


@pytest.mark.parametrize("body", [b"{", b"not json", b"\xff\xfe"])
def test_a_body_that_is_not_json_is_400(house: House, body: bytes):
    reply = house.client.post("/job", data=body)
    assert (reply.status_code, reply.get_json()["code"]) == (400, 2)


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"1", b"null"])
def test_json_that_is_not_an_object_is_422(house: House, body: bytes):
    reply = house.client.post("/job", data=body)
    assert (reply.status_code, reply.get_json()["code"]) == (422, 3)


def test_broken_messagepack_is_400(house: House):
    reply = house.client.post("/job", data=b"\xc1", content_type="application/msgpack")
    assert (reply.status_code, reply.get_json()["message"][:31]) == (400, "the body is not MessagePack: Me")


@pytest.mark.parametrize("path", ["/job/abc", "/worker/-1", "/data/1.5", "/lambda/99999999999999999999", "/job/٣"])
def test_an_id_that_is_not_a_number_is_400(house: House, path: str):
    assert house.call("GET", path, status=400)["code"] == 3


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/job/5", 901), ("DELETE", "/job/5", 901), ("POST", "/job/5", 901), ("GET", "/job/5/trace", 901),
        ("GET", "/job/5/log", 901), ("GET", "/job?ids=5", 901), ("GET", "/lambda/5", 701),
        ("GET", "/worker/5", 801),
        ("DELETE", "/worker/5", 801), ("POST", "/worker/5/drain", 801), ("GET", "/data/5", 601),
        ("GET", "/group/18446744073709551616", 911), ("GET", "/group/9999999999999999999", 911),
        ("GET", "/data/5/blob", 601), ("DELETE", "/data/5", 601), ("GET", "/nowhere", 10),
    ],
)  # fmt: skip
def test_unknown_things_are_404_with_their_own_code(house: House, method: str, path: str, code: int):
    reply = house.call(method, path, {} if method == "POST" else None, status=404)
    assert (reply["code"], reply["status"]) == (code, "error")


def test_a_wrong_method_is_405_and_names_the_right_ones(house: House):
    assert "GET" in house.call("PUT", "/job", {}, status=405)["message"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"max": 1001}, "1000"),
        ({"max": -1}, ">= 0"),
        ({"timeout": -1}, "negative"),
        ({"timeout": "soon"}, "timeout"),
        ({"outcomes": [{}]}, "job"),
        ({"outcomes": [{"job": "1", "lease": "x", "state": "Running"}]}, "cannot report"),
        ({"outcomes": [{"job": "1", "lease": "x", "state": "Fail_Execution"}]}, "no `error`"),
        ({"outcomes": [{"job": "1", "lease": "x", "state": "Finished", "output": {"base64": "?"}}]}, "output"),
    ],
)
def test_a_contract_that_makes_no_sense_is_422(house: House, body: dict, says: str):
    worker = house.new_worker()
    assert says in house.call("POST", f"/worker/{worker}/contract", body, status=422)["message"]


@pytest.mark.parametrize(
    "body",
    [
        {"runtime": ["x" * 201]},
        {"runtime": "default"},
        {"slots": 0},
        {"slots": 10**9},
        {"tags": [""]},
        {"runtime": [1]},
    ],
)
def test_a_registration_that_makes_no_sense_is_422(house: House, body: dict):
    assert house.call("POST", "/worker", body, status=422)["code"] == 3


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("limit=0", "between 1 and 1000"), ("limit=1001", "1000"), ("limit=x", "limit"), ("cursor=x", "decimal"),
        ("state=tired", "tired"), ("lambda=x", "no lambda named 'x'"), ("ids=1,x", "decimal"),
        ("output=all", "all"), ("ids=1&until=never", "never"), ("ids=" + ",".join(["1"] * 201), "200"),
    ],
)  # fmt: skip
def test_a_list_that_makes_no_sense_says_why(house: House, query: str, says: str):
    reply = house.call("GET", f"/job?{query}", status=None)
    assert reply["status"] == "error"
    assert says in reply["message"]


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (b"print('hello')", "not a wasm binary"),
        (b"\0asm", "unknown version"),
        (b"\0asm\x0d\0\x01\0", "component"),
        (wat2wasm("(module)"), "_start"),
        (wat2wasm('(module (import "env" "fly" (func)) (func (export "_start")))'), "'fly' from 'env'"),
        (wat2wasm('(module (import "wasi_snapshot_preview1" "fly" (func)) (func (export "_start")))'), "fly"),
        (wat2wasm('(module (func (export "_start")))')[:-3], "cut off"),
    ],
)
def test_code_that_can_never_run_is_refused_when_the_lambda_is_created(house: House, code: bytes, says: str):
    blob = house.client.post("/data", data=bytes(code), content_type="application/octet-stream").get_json()["id"]
    reply = house.call("POST", "/lambda", {"codex": blob, "runtime": "wasi"}, status=422)
    assert reply["code"] == 702
    assert says in reply["message"]


@pytest.mark.parametrize("runtime", ["wasi", "default", "wasi+http"])
def test_module_that_begins_with_more_memory_than_it_gets_is_refused(house: House, runtime: str):
    code = bytes(wat2wasm('(module (memory 4800) (func (export "_start")))'))
    blob = house.client.post("/data", data=code, content_type="application/octet-stream").get_json()["id"]

    def create(status: int, **limits: int):
        body = {"codex": blob, "runtime": runtime, "limits": limits}
        return house.call("POST", "/lambda", body, status=status)

    assert "it needs 300 MB, limit 256 MB" in create(422)["message"]
    assert "it needs 300 MB, limit 1 MB" in create(422, memory_bytes=2**20)["message"]
    create(200, memory_bytes=300 * 2**20)


def test_wasm_is_no_script(house: House):
    code = bytes(wat2wasm('(module (func (export "_start")))'))
    blob = house.client.post("/data", data=code, content_type="application/octet-stream").get_json()["id"]
    reply = house.call("POST", "/lambda", {"codex": blob, "runtime": "python3.12"}, status=422)
    assert "python3.12 runs scripts: name the runtime wasi, or none" in reply["message"]
    house.call("POST", "/lambda", {"codex": blob, "runtime": "python3.12-of-ours"})


@pytest.mark.parametrize("runtime", ["component", "default"])
def test_component_asks_for_what_commands_ask_for(house: House, runtime: str):
    code = wat2wasm('(component (instance $cli) (export "wasi:cli/run@0.2.0" (instance $cli)))')
    blob = house.client.post("/data", data=bytes(code), content_type="application/octet-stream").get_json()["id"]

    def ask(**grants):
        return house.call("POST", "/lambda", {"codex": blob, "runtime": runtime, "grants": grants}, status=None)

    assert ask(dirs=["/data", "/out:rw"], env=["LANG"])["code"] == 0
    assert ask(files="write", http=["example.org"])["code"] == 0


def test_code_that_is_kept_in_a_file_is_looked_at_there(house: House):
    sound = b"\0asm\x01\0\0\0" + b"\0\x80\x80\x80\x01" + b"\0" * 2_097_152
    blob = house.client.post("/data", data=sound + b"\1", content_type="application/octet-stream").get_json()["id"]
    assert "cut off" in house.call("POST", "/lambda", {"codex": blob, "runtime": "wasi"}, status=422)["message"]
    blob = house.client.post("/data", data=sound, content_type="application/octet-stream").get_json()["id"]
    assert "_start" in house.call("POST", "/lambda", {"codex": blob, "runtime": "wasi"}, status=422)["message"]


def test_script_is_accepted_for_its_interpreter_and_refused_for_a_runtime_of_modules(house: House):
    blob = house.client.post("/data", data=b"print('hi')", content_type="application/octet-stream").get_json()[
        "id"
    ]
    for runtime in ("lua5.4", "javascript", "python3.12", "micropython", "ruby", "lua5.4+dir:/data"):
        created = house.call("POST", "/lambda", {"codex": blob, "runtime": runtime})
        assert house.call("GET", f"/lambda/{created['id']}")["runtime"] == runtime
    for runtime in ("wasi", "capsule", "funless", "component"):
        reply = house.call("POST", "/lambda", {"codex": blob, "runtime": runtime}, status=422)
        assert "this is a text, perhaps a script, not a wasm binary" in reply["message"]


def test_a_good_module_is_accepted(house: House):
    code = wat2wasm(
        '(module (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))'
        ' (memory (export "memory") 1 2) (table 1 funcref) (global i32 (i32.const 1)) (func (export "_start")))'
    )
    blob = house.client.post("/data", data=bytes(code), content_type="application/octet-stream").get_json()["id"]
    assert house.call("POST", "/lambda", {"codex": blob, "runtime": "wasi"})["code"] == 0


@pytest.mark.parametrize("body", [{}, {"runtime": "wasi"}, {"codex": "0"}, {"codex": "0", "runtime": " "}])
def test_a_lambda_needs_codex_and_runtime(house: House, body: dict):
    assert house.call("POST", "/lambda", body, status=422)["code"] == 3


def test_every_error_class_has_an_http_status():
    classes = {each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)}
    assert classes == set(HTTP_STATUS)


def test_messagepack_goes_in_and_out(house: House):
    import msgspec

    body = msgspec.msgpack.encode({"lambda": house.new_lambda(), "input": {"bytes": b"\x00\xff"}})
    headers = {"Content-Type": "application/msgpack", "Accept": "application/msgpack"}
    reply = house.client.post("/job", data=body, headers=headers)
    assert reply.headers["Content-Type"] == "application/msgpack"
    job = msgspec.msgpack.decode(reply.data)["id"]
    lease = house.client.post(
        f"/worker/{house.new_worker()}/contract",
        data=msgspec.msgpack.encode({"max": 1, "inline_max_bytes": 9}),
        headers=headers,
    )
    [leased] = msgspec.msgpack.decode(lease.data)["jobs"]
    assert (leased["job"], leased["input"]["bytes"]) == (job, b"\x00\xff")


@pytest.mark.parametrize(
    ("error", "status", "logged"),
    [
        (errors.StorageFull("full"), 503, True),
        (errors.BlobsAway("away"), 503, True),
        (errors.BlobsRefused("no such bucket"), 503, True),
        (errors.BlobDamaged("other bytes"), 500, True),
        (errors.Stopping("ends"), 503, False),
        (errors.JobNotFound("none"), 404, False),
    ],
)
def test_what_is_the_fault_of_the_server_is_logged(
    house: House, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, logged: bool
):
    monkeypatch.setattr(house.services.jobs, "get", Mock(side_effect=error))
    with structlog.testing.capture_logs() as lines:
        house.call("GET", "/job/1", status=status)
    assert ("request failed" in [line["event"] for line in lines]) == logged


def test_a_bug_is_500_and_tells_no_details(house: House, monkeypatch: pytest.MonkeyPatch):
    def broken(_):
        raise RuntimeError("a secret")

    monkeypatch.setattr(house.services.jobs, "get", broken)
    reply = house.call("GET", "/job/1", status=500)
    assert (reply["code"], "secret" in reply["message"]) == (12, False)


@pytest.mark.parametrize("path", ["/data", "/lambda", "/registry/upload/org/module/1"])
def test_a_compressed_body_is_refused_and_not_stored(house: House, path: str):
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/octet-stream"}
    answer = house.client.post(path, data=gzip.compress(b"{}"), headers=headers)
    assert answer.status_code == 415
    assert answer.get_json()["code"] in {2, "BAD_BODY"}
    assert "without Content-Encoding" in answer.get_json()["message"]
    assert house.services.data.sweep() == 0


def test_a_body_that_says_it_has_no_coding_is_taken(house: House):
    headers = {"Content-Encoding": "identity", "Content-Type": "application/octet-stream"}
    assert house.client.post("/data", data=b"x", headers=headers).status_code == 200
