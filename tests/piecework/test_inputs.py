"""What is piped into a command is read to its end, or noticed."""

import io
import os
import sys
import threading
from pathlib import Path

import pytest
from screens import Screen

from piecework.client.modes import run
from piecework.client.queue.jobs.inputs import input_content
from piecework.client.uploads import MultipartFile
from piecework.terminal import inputs
from piecework.terminal.inputs import copy_piped_input, has_unread_input


@pytest.fixture
def stdin(monkeypatch):
    """Return a function that puts a descriptor in the place of standard input."""
    opened = []

    def put(descriptor):
        opened.append(os.fdopen(descriptor, "r"))
        monkeypatch.setattr(sys, "stdin", opened[-1])

    yield put
    for each in opened:
        each.close()


def read(told=None):
    target = io.BytesIO()
    given = copy_piped_input(target, (told if told is not None else []).append)
    assert given == bool(target.getvalue())
    return target.getvalue()


def open_pipe(*texts):
    reader, writer = os.pipe()
    for text in texts:
        os.write(writer, text)
    return reader, writer


def test_a_pipe_is_read_to_its_end(stdin):
    reader, writer = open_pipe(b"one\n", b"\0two")
    os.close(writer)
    stdin(reader)
    assert has_unread_input()
    assert read() == b"one\n\0two"


def test_what_is_waited_for_is_told_once(stdin, monkeypatch):
    monkeypatch.setattr(inputs, "PATIENCE_S", 0.01)
    reader, writer = os.pipe()
    stdin(reader)
    told = []

    def tell(hint):
        told.append(hint)
        os.write(writer, b"late")
        threading.Timer(0.05, os.close, (writer,)).start()

    target = io.BytesIO()
    assert copy_piped_input(target, tell)
    assert target.getvalue() == b"late"
    assert [("</dev/null" in hint) for hint in told] == [True]


def test_nothing_is_read_from_a_terminal(monkeypatch):
    with Screen() as screen, os.fdopen(os.dup(screen.file)) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        assert read() == b""
        assert not has_unread_input()


@pytest.mark.parametrize("missing", [None, io.TextIOWrapper(io.BytesIO())], ids=["none", "replaced"])
def test_no_standard_input_is_no_input(monkeypatch, missing):
    monkeypatch.setattr(sys, "stdin", missing)
    assert read() == b""
    assert not has_unread_input()


def test_an_empty_device_is_no_input(stdin):
    stdin(os.open(os.devnull, os.O_RDONLY))
    assert read() == b""
    assert not has_unread_input()


def test_a_file_is_unread_until_its_end(stdin, tmp_path):
    (tmp_path / "file").write_bytes(b"text")
    stdin(os.open(tmp_path / "file", os.O_RDONLY))
    assert has_unread_input()
    assert read() == b"text"
    assert not has_unread_input()


def test_an_open_pipe_with_nothing_in_it_is_not_unread(stdin):
    reader, writer = os.pipe()
    stdin(reader)
    assert not has_unread_input()
    os.close(writer)


def upload(source):
    with MultipartFile(source) as body:
        first, again = (b"".join(body) for _ in range(2))
        assert first == again
        assert len(body) == len(first)
        return first


def test_a_pipe_is_uploaded_by_its_name():
    reader, writer = open_pipe(b"from a pipe")
    os.close(writer)
    assert b"\r\n\r\nfrom a pipe\r\n" in upload(name_of(reader))
    os.close(reader)


def name_of(descriptor):
    return Path(f"/dev/fd/{descriptor}")


def test_a_file_that_says_it_is_empty_is_read():
    assert b"VmRSS" in upload(Path("/proc/self/status"))


def test_a_pipe_is_the_input_of_a_job():
    reader, writer = open_pipe(b"piped")
    os.close(writer)
    seen = []

    async def keep(source, name):
        assert name == ""
        seen.append(upload(source))
        return type("Reply", (), {"id": 7})()

    assert run(input_content(name_of(reader), keep)).id == 7
    assert b"piped" in seen[0]
    os.close(reader)
