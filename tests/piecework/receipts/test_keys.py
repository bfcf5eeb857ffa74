import json
import stat
import subprocess
import sys
import threading

import msgspec
import pytest
from receipts import WORKER_KEY, both_keys

from piecework.protocol.bodies import encode
from piecework.protocol.messages.receipts import SigningKeyList
from piecework.receipts import KeyFileError, KeyRing, PrivateKey, ReceiptError, key_id, open_key, read_keys
from piecework.receipts.keys import is_signature


def test_a_key_is_made_once_for_its_owner_alone(tmp_path):
    made = open_key(tmp_path / "key")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert open_key(tmp_path / "key").public_key == made.public_key
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
    assert is_signature(made.public_key, b"text", open_key(tmp_path / "key").sign(b"text"))


def test_who_makes_a_key_at_the_same_time_gets_the_same(tmp_path):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(open_key(tmp_path / "key").public_key)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


@pytest.mark.parametrize("text", ["", "piecework-ed25519 YWI=\n", "x" * 500, "piecework-ed25519 ?\n", "\udcff"])
def test_a_damaged_key_file_is_refused_with_what_to_do(tmp_path, text):
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_text(text, errors="surrogateescape")
    with pytest.raises(KeyFileError, match="is damaged: bring it back, or remove it, and a new key is made"):
        open_key(path)
    assert path.exists()


def test_a_key_file_that_others_can_read_is_refused(tmp_path):
    open_key(tmp_path / "key")
    (tmp_path / "key").chmod(0o640)
    with pytest.raises(KeyFileError, match=r"others can read the key file .*: run chmod 600 on it"):
        open_key(tmp_path / "key")


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(KeyFileError, match=r"cannot use the key file .*: No such file or directory"):
        open_key(tmp_path / "none" / "key")


def test_a_private_key_is_not_shown():
    assert repr(PrivateKey(b"w" * 32)) == "PrivateKey(…)"


def test_signatures_fit_their_message_alone():
    signature = WORKER_KEY.sign(b"text")
    assert is_signature(WORKER_KEY.public_key, b"text", signature)
    assert not is_signature(WORKER_KEY.public_key, b"Text", signature)
    assert not is_signature(WORKER_KEY.public_key, b"text", signature[:63])
    assert not is_signature(b"\0" * 32, b"text", signature)


def test_keys_are_read_as_the_server_tells_them():
    ring = read_keys(encode(SigningKeyList(keys=both_keys())), "keys.json")
    assert ring.list_keys() == both_keys()
    assert [key.owner for key in ring.find(WORKER_KEY.keyid)] == ["worker"]
    assert ring.find("no") == []


def test_a_key_under_another_name_is_refused():
    key = both_keys()[0]
    with pytest.raises(ReceiptError, match=r"the key 0{32} is damaged: these bytes are called"):
        KeyRing([msgspec.structs.replace(key, keyid="0" * 32)])
    assert key_id(key.public_key) == key.keyid


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "keys.json cannot be read: .*keys"),
        ("{", "keys.json cannot be read: the body is not JSON"),
        ('{"keys": [{}]}', r"keys.json cannot be read: .*keyid"),
        ('{"keys": [{"keyid": "x"}]}', r"keys.json cannot be read: .*keyid"),
    ],
)
def test_texts_that_are_no_keys_are_refused(text, message):
    with pytest.raises(ReceiptError, match=message):
        read_keys(text.encode(), "keys.json")


def test_every_field_of_a_key_is_checked():
    good = json.loads(encode(SigningKeyList(keys=both_keys())))
    for field, value in {"owner": "me", "public_key": "YWI=", "first_seen": "never", "id": "x"}.items():
        changed = {"keys": [{**good["keys"][0], field: value}]}
        with pytest.raises(ReceiptError, match=field):
            read_keys(json.dumps(changed).encode(), "keys.json")


def test_who_signs_nothing_loads_no_library():
    code = (
        "import sys, piecework.receipts as r; r.PrivateKey.new(); "
        "sys.exit(any(name.split('.')[0] in {'nacl', 'cffi'} for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
