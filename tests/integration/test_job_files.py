"""Jobs with a directory of their own, on a real server with a real agent: files go in, files come back."""

import hashlib
from pathlib import Path

import pytest
from msgspec import UnsetType

from piecework import Client
from piecework.client import output_of
from piecework.protocol.ids import Id
from piecework.protocol.job_files import sum_files
from piecework.protocol.messages import JobInfo

PATIENCE_S = 60
BUILD = """
import os
os.makedirs("out/deep")
for name in sorted(os.listdir("src")):
    with open(f"/src/{name}") as source, open(f"out/deep/{name}.o", "w") as made:
        made.write(source.read().upper())
open("notes", "w").write("not asked for")
os.symlink("notes", "out/deep/link.o")
print(sorted(os.listdir(".")))
"""
LINK = """
with open("program", "w") as whole:
    for name in ("a.o", "/b.o"):
        with open(name) as part:
            whole.write(part.read())
"""

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("agent")]


def end(client: Client, job: Id, state: str = "Finished") -> JobInfo:
    [info] = client.ended([job], PATIENCE_S)
    assert info.state == state, info
    return info


def test_one_job_compiles_and_another_links(client: Client, tmp_path: Path):
    compiler = client.create_lambda(BUILD.encode(), "python3.12")
    (tmp_path / "b").write_text("second")
    files = {"src/a": b"first ", "src/b": tmp_path / "b"}
    compiled = client.submit(compiler, files=files, outputs=["out/**/*.o"])
    linker = client.create_lambda(LINK.encode(), "micropython", outputs=["program"])
    parts = {name: output_of(compiled, f"out/deep/{name}") for name in ("a.o", "b.o")}
    linked = client.submit(linker, files=parts)
    end(client, linked)
    assert [each.name for each in compiled.files()] == ["out/deep/a.o", "out/deep/b.o"]
    assert client.read_file(linked, "program") == b"FIRST SECOND"
    assert client.download_files(linked, tmp_path / "bin") == [tmp_path / "bin" / "program"]
    assert (tmp_path / "bin" / "program").read_bytes() == b"FIRST SECOND"


def test_files_of_a_job_that_failed_come_back(client: Client):
    code = b"open('made.o', 'w').write('half'); open('none')"
    script = client.create_lambda(code, "micropython", outputs=["*.o"])
    job = client.submit(script, max_attempts=1)
    end(client, job, "Fail_Execution")
    assert job.read_file("made.o") == b"half"


def test_a_deterministic_job_tells_the_digests_of_its_files(client: Client):
    code = b"import os; open('b', 'w').write(open('a').read()); print(os.stat('a'))"
    script = client.create_lambda(code, "micropython", deterministic=True)
    ends = [end(client, client.submit(script, files={"a": b"x"}, outputs=["b"])) for _ in range(2)]
    digests = [each.usage.digests for each in ends if not isinstance(each.usage, UnsetType)]
    assert digests[0] == digests[1]
    x = hashlib.sha256(b"x").hexdigest()
    assert digests[0] is not None
    assert (digests[0].files, digests[0].made) == (sum_files([("a", x)]), sum_files([("b", x)]))
