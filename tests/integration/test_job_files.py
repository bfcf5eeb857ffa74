"""Jobs with a directory of their own, on a real server with a real agent: files go in, files come back."""

from pathlib import Path

import pytest

from piecework import Client
from piecework.protocol.ids import Id
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
    end(client, compiled)
    made = {each.name: each for each in client.output_files(compiled)}
    assert list(made) == ["out/deep/a.o", "out/deep/b.o"]
    linker = client.create_lambda(LINK.encode(), "micropython", outputs=["program"])
    parts = {"a.o": made["out/deep/a.o"].blob, "b.o": made["out/deep/b.o"].blob}
    linked = client.submit(linker, files=parts)
    end(client, linked)
    assert client.read_file(linked, "program") == b"FIRST SECOND"
    assert client.download_files(linked, tmp_path / "bin") == [tmp_path / "bin" / "program"]
    assert (tmp_path / "bin" / "program").read_bytes() == b"FIRST SECOND"
