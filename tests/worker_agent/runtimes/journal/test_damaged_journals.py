"""Replays of journals in which bits were flipped: they end with an outcome, and no fault of the host."""

import random
from pathlib import Path

import pytest
from tries import tries

from piecework.protocol.messages import Grants
from piecework.worker_agent.runtimes.services.access import NodeRules, SharedDir

HERE = Path(__file__)
SAMPLES = HERE.parents[4] / "samples"
GUESTS = {
    "wasi": (b"import os\nfor each in os.listdir('/data'): print(each, os.stat('/data/' + each))", "python3.12"),
    "capsule": ((SAMPLES / "capsule_g4.wasm").read_bytes(), "capsule"),
    "funless": ((SAMPLES / "funless_fetch.wasm").read_bytes(), "funless"),
    "component": (HERE.parents[1].joinpath("change_paths.wat").read_text(), "component"),
}
GIVEN = {"capsule": b"read /data/file", "funless": b'"http://a.test/"'}


def flip(noise, journal):
    data = bytearray(journal)
    for _ in range(noise.choice([1, 1, 2, 5])):
        data[noise.randrange(len(data))] ^= 1 << noise.randrange(8)
    return bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize("kind", GUESTS)
def test_a_damaged_journal_fails_no_host(record, build_text, tmp_path, kind):
    (tmp_path / "file").write_text("hello")
    code, runtime = GUESTS[kind]
    rules = NodeRules(dirs=(SharedDir(str(tmp_path), "/data", write=True),))
    recording = record(
        build_text(code) if isinstance(code, str) else code,
        rules,
        runtime=runtime,
        grants=Grants(dirs=["/data:rw"]),
        given=GIVEN.get(kind, b""),
    )
    for seed in range(tries(40)):
        done = recording.replay(flip(random.Random(seed), recording.done.journal))
        assert done.error is None or "the host failed" not in done.error.message, (seed, done.error)
