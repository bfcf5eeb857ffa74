"""Bundles of runs that were done here, without server and agent."""

import hashlib
import tempfile
from pathlib import Path

import msgspec
import pytest
from machine_code import COMPILED, INTERPRETERS
from receipts import both_keys, sha256, some_envelope, some_payload

from piecework.protocol.job_files import sum_files
from piecework.receipts import write_bundle, write_payload
from piecework.receipts.canonical import encode_canonical, write_number
from piecework.receipts.parts import write_list
from piecework.receipts.payload import RunClaim, RunLimits, RunResult, RunSubject, is_comparable
from piecework.worker_agent.guests.work.workbench import NO_RULES
from piecework.worker_agent.replaying.replay import ReplayNode
from piecework.worker_agent.runtimes.base import Bounds
from piecework.worker_agent.tasks import JobFolder

SEED = hashlib.sha256(b"a seed").digest()


class Bundled:
    """A run, with the receipt of it and all its parts."""

    def __init__(self, done, subject, result, parts):
        self.done, self.subject, self.result, self.parts = done, subject, result, parts

    def write(self, path, *, subject=None, result=None, parts=None):
        """Write a bundle, with changes that the signatures would tell; return its path."""
        new_subject = msgspec.structs.replace(self.subject, **(subject or {}))
        new_result = msgspec.structs.replace(self.result, **(result or {}))
        payload = msgspec.structs.replace(some_payload(), claim=RunClaim(subject=new_subject, result=new_result))
        kept = self.parts | {sha256(data): data for data in parts or ()}
        dropped = find_digests(self.subject, self.result) - find_digests(new_subject, new_result)
        wanted = {digest: data for digest, data in kept.items() if digest not in dropped}
        write_bundle(path, some_envelope(write_payload(payload)), both_keys(), wanted)
        return path


def find_digests(*structs):
    """Return all texts in there: the digests are among them."""
    values = (getattr(each, name) for each in structs for name in each.__struct_fields__)
    return {each for each in values if isinstance(each, str)}


def sum_up(done, made):
    """Return what a receipt says that a run gave; ``made`` lists the files that it gave back, None: none."""
    kind, fuel = done.error and done.error.kind, done.usage.fuel
    return RunResult(
        state="Fail_Execution" if done.error else "Finished",
        exit_code=done.exit_code,
        error_kind=kind,
        output=done.usage.digests.output,
        made=None if made is None else sha256(made),
        memory=done.usage.digests.memory,
        fuel=None if fuel is None else write_number(fuel),
        comparable=is_comparable(kind, fuel),
    )


def fill_folder(folder, files):
    """Write files, and return their names with their digests."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return [(name, sha256(data)) for name, data in files.items()]


@pytest.fixture
def bundle_run(run, workbench, monkeypatch, tmp_path):
    """Return a function that does a run, and returns it with its bundle's parts."""
    # As every guest process has it: a guest sees whether there is a /tmp.
    monkeypatch.setattr(workbench, "_make_folder", lambda: Path(tempfile.mkdtemp(dir=tmp_path)))

    def run_bundled(
        code, rules=NO_RULES, *, record=True, runtime="wasi", given=b"", args=(), env=None, files=None,
        outputs=(), mode="text", grants=None, **bounds,
    ):  # fmt: skip
        limits = Bounds(**{"timeout_s": 10.0, **bounds})
        folder = None
        if files is not None:
            own = tmp_path / "first"
            listed = fill_folder(own, files)
            folder = JobFolder(str(own), tuple(outputs), sum_files(listed))
        done = run(code, rules, runtime=runtime, given=given, args=args, env=env, seed=SEED, record=record,
                   mode=mode, grants=grants, folder=folder, **bounds)  # fmt: skip
        parts = [code, given, encode_canonical(list(args)), encode_canonical(env or {})]
        digests, error = done.usage.digests, done.error
        made = None
        if files is not None:
            parts += [*files.values(), write_list(listed)]
            if outputs and (error is None or done.exit_code):
                found = {each.name: each.read_bytes() for each in own.iterdir() if each.name in outputs}
                made = write_list([(name, sha256(data)) for name, data in found.items()])
                parts += [*found.values(), made]
        if done.journal is not None:
            parts.append(done.journal)
        if digests.output is not None:
            parts.append(done.output)
        subject = RunSubject(
            runtime=runtime,
            mode=mode,
            profile="record" if record else "deterministic",
            module=sha256(code),
            input=sha256(given),
            args=sha256(parts[2]),
            env=sha256(parts[3]),
            files=None if folder is None else folder.checksum,
            limits=RunLimits(**{name: getattr(limits, name) for name in RunLimits.__struct_fields__}),
            seed=SEED.hex(),
            journal=digests.journal,
            journal_cut=digests.journal_cut,
            outputs=list(outputs),
        )
        return Bundled(done, subject, sum_up(done, made), {sha256(data): data for data in parts})

    return run_bundled


class Here:
    """Does tasks in this process."""

    def __init__(self, workbench):
        self._workbench = workbench

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        pass

    def perform(self, frame):
        self._workbench._rules = NO_RULES
        return self._workbench.do(frame)


@pytest.fixture
def node(request, monkeypatch):
    """What this machine has: interpreters take long to compile, so their machine code stays.

    Fast tests replay in this process: to start one takes ten times as long as most replays.
    """
    if request.node.get_closest_marker("integration") is None:
        workbench = request.getfixturevalue("workbench")
        monkeypatch.setattr(ReplayNode, "start", lambda _node, _folder: Here(workbench))
    return ReplayNode(COMPILED, INTERPRETERS)
