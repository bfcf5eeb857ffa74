"""The registry on each database: what is stored together, what stays, what goes."""

import hashlib
import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from house import House

from piecework.protocol.messages import DeploymentPut, LambdaCreate
from piecework.protocol.names import ModuleName
from piecework.server.errors import BlobInUse, BlobNotFound, ModuleExists, ModuleInUse, ModuleNotFound, NotWasm
from piecework.server.services.backups import restore_backup, write_backup
from piecework.server.services.stock.data import ORPHAN_AGE_S
from piecework.server.services.stock.lambdas import Lambdas
from piecework.server.settings import Settings
from piecework.server.store.engine import snapshots
from piecework.server.store.records import Lambda, Module

HOLA = ModuleName("k33g", "hola", "0.0.0")
START = b"\0asm\x01\0\0\0"


def wasm(number: int, *, large: bool = False) -> bytes:
    """Return one of many modules; a large one is kept in a file."""
    content = bytes([1, number]) + bytes(65_536 if large else 200)
    size = len(content)
    return START + b"\0" + bytes([size & 127 | 128, size >> 7 & 127 | 128, size >> 14]) + content


def push(house: House, content: bytes, name: ModuleName = HOLA, info: str | None = "") -> Module:
    modules = house.services.modules
    return modules.publish(name, modules.receive([content[:2], b"", content[2:]]), info)


def read(house: House, name: ModuleName = HOLA) -> bytes | None:
    data = house.services.data
    return data.read(data.get(house.services.modules.get(name).blob_id), 1 << 20)


def change_tags(house: House) -> None:
    """Let tags change from now on."""
    object.__setattr__(house.services.settings, "mutable_tags", True)


def test_of_many_who_change_a_tag_at_once_only_the_last_bytes_stay(house: House):
    change_tags(house)
    with ThreadPoolExecutor(4) as pool:
        pushed = list(pool.map(lambda number: push(house, wasm(number)), range(12)))
    last = house.services.modules.get(HOLA)
    assert house.services.data.find_digests(each.blob_id for each in pushed).keys() == {last.blob_id}


@pytest.mark.parametrize("large", [False, True])
def test_what_was_pushed_is_there(house: House, large: bool):
    content = wasm(1, large=large)
    pushed = push(house, content, info="ñ")
    assert pushed == house.services.modules.get(HOLA)
    assert (pushed.sha256, pushed.size, pushed.info) == (hashlib.sha256(content).digest(), len(content), "ñ")
    assert read(house) == content
    assert house.services.modules.get_by_digest(pushed.sha256.hex()) == pushed


def test_the_same_bytes_again_are_the_same_module(house: House):
    first = push(house, wasm(1), info="first")
    assert push(house, wasm(1), info=None) == first
    assert push(house, wasm(1), info="second") == first._replace(info="second")
    assert house.services.modules.get(HOLA).info == "second"


def test_of_many_who_push_at_once_one_wins_and_its_bytes_stay(house: House):
    def attempt(number: int) -> Module | None:
        try:
            return push(house, wasm(number))
        except ModuleExists:
            return None

    with ThreadPoolExecutor(4) as pool:
        won = [each for each in pool.map(attempt, range(8)) if each]
    assert won == [house.services.modules.get(HOLA)]
    assert hashlib.sha256(read(house)).digest() == won[0].sha256


def test_bytes_that_lost_their_tag_go_unless_a_lambda_has_them(house: House):
    change_tags(house)
    first = push(house, wasm(1))
    second = push(house, wasm(2))
    with pytest.raises(BlobNotFound):
        house.services.data.get(first.blob_id)
    house.new_lambda(codex=str(second.blob_id), runtime="other")
    assert push(house, wasm(3)).sha256 == house.services.modules.get(HOLA).sha256
    assert house.services.data.get(second.blob_id).sha256 == second.sha256


def test_a_module_that_is_deleted_takes_its_bytes_along(house: House):
    pushed = push(house, wasm(1))
    house.services.modules.delete(HOLA)
    with pytest.raises(BlobNotFound):
        house.services.data.get(pushed.blob_id)
    with pytest.raises(ModuleNotFound):
        house.services.modules.get(HOLA)


def test_two_names_of_the_same_bytes_do_not_depend_on_each_other(house: House):
    other = HOLA._replace(tag="0.0.1")
    content = wasm(1, large=True)
    push(house, content)
    push(house, content, other)
    house.services.modules.delete(HOLA)
    assert read(house, other) == content


def test_the_blob_of_a_module_cannot_be_deleted_as_data(house: House):
    pushed = push(house, wasm(1))
    with pytest.raises(BlobInUse, match="a module"):
        house.services.data.delete(pushed.blob_id)
    assert read(house) == wasm(1)


def test_a_digest_in_a_name_must_be_that_of_the_module(house: House):
    pushed = push(house, wasm(1))
    assert house.services.modules.get(pushed.name) == pushed
    with pytest.raises(ModuleNotFound, match=f"has the digest {pushed.sha256.hex()}, not 00"):
        house.services.modules.get(HOLA._replace(digest="0" * 64))


def test_a_module_that_goes_while_it_is_deployed_makes_no_revision(house: House, monkeypatch: pytest.MonkeyPatch):
    content = (Path(__file__).parents[4] / "samples" / "echo.wasm").read_bytes()
    push(house, content)
    prepare = Lambdas.prepare

    def prepare_then_delete(lambdas: Lambdas, request: LambdaCreate) -> Lambda:
        found = prepare(lambdas, request)
        house.services.modules.delete(HOLA)
        return found

    deployment = DeploymentPut(module=HOLA.path, replicas=0)
    with monkeypatch.context() as patched:
        patched.setattr(Lambdas, "prepare", prepare_then_delete)
        with pytest.raises(ModuleNotFound, match="at this moment"):
            house.services.deployments.deploy("hola", "blue", deployment)
    assert house.call("GET", "/functions")["functions"] == []
    push(house, content)
    house.services.deployments.deploy("hola", "blue", deployment)
    with pytest.raises(ModuleInUse, match="undeploy it first"):
        house.services.modules.delete(HOLA)


def _age(house: House) -> None:
    """Let every file of the blob store look as if nobody had touched it for long."""
    for path in (house.data / "blobs").rglob("*"):
        if path.is_file():
            old = path.stat().st_mtime - 2 * ORPHAN_AGE_S
            os.utime(path, (old, old))


def test_the_sweep_spares_modules_and_takes_what_was_refused(house: House):
    content, refused = wasm(1, large=True), wasm(2, large=True)
    push(house, content)
    with pytest.raises(ModuleExists):
        push(house, refused)
    with pytest.raises(NotWasm, match="cut off"):
        push(house, wasm(3, large=True)[:-1], HOLA._replace(tag="0.0.1"))
    _age(house)
    assert house.services.data.sweep() == 2
    assert read(house) == content
    assert len(house.services.modules.list_names()) == 1


def test_a_backup_has_the_modules(tmp_path: Path):
    house = House(tmp_path / "live")
    large, small = wasm(1, large=True), wasm(2)
    push(house, large)
    push(house, small, HOLA._replace(tag="small"))
    write_backup(Settings(data=house.data), tmp_path / "b.tar")
    restore_backup(tmp_path / "b.tar", tmp_path / "new")
    house.close()
    again = House(tmp_path / "new")
    assert (read(again), read(again, HOLA._replace(tag="small"))) == (large, small)
    again.close()


def test_a_module_that_goes_while_the_backup_is_made_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    house = House(tmp_path / "live")
    push(house, wasm(1, large=True))
    push(house, wasm(2), HOLA._replace(tag="small"))
    copy = snapshots.copy_database

    def copy_then_delete(source: Path, target: Path) -> None:
        copy(source, target)
        house.services.modules.delete(HOLA)
        _age(house)
        house.services.data.sweep()

    monkeypatch.setattr("piecework.server.services.backups.copy_database", copy_then_delete)
    write_backup(Settings(data=house.data), tmp_path / "b.tar")
    restore_backup(tmp_path / "b.tar", tmp_path / "new")
    house.close()
    again = House(tmp_path / "new")
    assert [name.tag for name in again.services.modules.list_names()] == ["small"]
    again.close()


def test_who_may_push_and_who_may_pull(house: House):
    from piecework.server.services.tokens import access, token_acts

    def headers(scope: str) -> dict[str, str]:
        secret = token_acts.create_token(house.services.database, scope, scope, house.clock())
        return {"Authorization": f"Bearer {secret}"}

    scopes = {scope: headers(scope) for scope in access.GRANTS}
    house.clock.forward(2)

    def status(method: str, path: str, scope: str, **more: Any) -> int:
        response = house.client.open(path, method=method, headers=scopes[scope], buffered=True, **more)
        return response.status_code

    upload, place = "/registry/upload/k33g/hola/0.0.0", "/registry/k33g/hola/0.0.0"
    for scope in access.GRANTS:
        may = "submit" in access.GRANTS[scope]
        file = {"file": (io.BytesIO(wasm(1)), "hola.wasm")}
        assert status("POST", upload, scope, data=file) == (200 if may else 403), scope
    for scope in access.GRANTS:
        may = bool({"view", "worker"} & access.GRANTS[scope])
        for path in (f"{place}/hola.wasm", "/registry/info/k33g/hola/0.0.0", "/registry/modules"):
            assert status("GET", path, scope) == (200 if may else 403), (scope, path)
    assert status("DELETE", place, "worker") == status("DELETE", place, "view") == 403
    assert house.client.get("/registry/modules").get_json()["code"] == "UNAUTHORIZED"
    assert status("DELETE", place, "submit") == 200
