"""The program of docs/receipts.md checks receipts as Piecework does."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from receipts import OUTPUT, both_keys, some_envelope

from piecework.protocol.bodies import encode
from piecework.protocol.messages import SigningKeyList
from piecework.receipts import write_envelope

PAGE = Path(__file__).parents[2] / "docs" / "receipts.md"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    [text] = re.findall(r"<!-- program -->\n```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(text.splitlines()) <= 55
    path = tmp_path / "check.py"
    path.write_text(text)
    (tmp_path / "receipt.json").write_bytes(write_envelope(some_envelope()))
    (tmp_path / "keys.json").write_bytes(encode(SigningKeyList(keys=both_keys())))
    (tmp_path / "output").write_bytes(OUTPUT)
    return path


def run(program: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, program.name, "receipt.json", "keys.json", "output"]
    return subprocess.run(command, cwd=program.parent, capture_output=True, text=True, check=False)


def test_the_program_takes_a_good_receipt(program: Path):
    done = run(program)
    assert (done.returncode, done.stdout, done.stderr) == (0, "job 11 by worker 13 Finished\n", "")


@pytest.mark.parametrize("name", ["receipt.json", "keys.json", "output"])
def test_the_program_refuses_what_was_changed(program: Path, name: str):
    path = program.parent / name
    data = path.read_bytes()
    if name == "receipt.json":
        fields = json.loads(data)
        fields["payload"] = fields["payload"][:40] + "A" + fields["payload"][41:]
        path.write_text(json.dumps(fields))
    elif name == "keys.json":
        fields = json.loads(data)
        fields["keys"][0]["id"] = "14"
        path.write_text(json.dumps(fields))
    else:
        path.write_bytes(data + b"x")
    assert run(program).returncode == 1
