"""The log, written by a process of its own: it is set up once per process."""

import json
import subprocess
import sys

import pytest
from patience import LONG_S

pytestmark = pytest.mark.integration

PROGRAM = """
import logging, sys, structlog
from piecework.server.logs import open_log
open_log(sys.argv[1])
log = structlog.get_logger("server")
log.info("listening on %s", "here", database="sqlite")
logging.getLogger("a.library").info("chatter")
logging.getLogger("a.library").warning("a library warns")
def fail(secret):
    raise ValueError("told")
try:
    fail("hush" + "-hush")
except ValueError as error:
    log.error("bug", exc_info=error)
"""


def _log(format_: str) -> str:
    command = [sys.executable, "-c", PROGRAM, format_]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=LONG_S)
    assert result.stdout == ""
    return result.stderr


def test_programs_get_one_object_a_line():
    lines = [json.loads(line) for line in _log("json").splitlines()]
    assert [(line["level"], line["event"]) for line in lines] == [
        ("info", "listening on here"),
        ("warning", "a library warns"),
        ("error", "bug"),
    ]
    assert lines[0]["database"] == "sqlite"
    assert all(line["timestamp"].endswith("Z") for line in lines)
    assert lines[2]["exception"][0]["exc_value"] == "told"


def test_people_get_plain_lines_and_tracebacks():
    text = _log("console")
    assert "listening on here" in text
    assert "\x1b" not in text
    assert 'raise ValueError("told")' in text or "ValueError: told" in text


def test_the_variables_of_a_traceback_stay_out_of_the_log():
    for format_ in ("json", "console"):
        assert "hush-hush" not in _log(format_)


def test_people_get_nothing_that_a_terminal_obeys():
    program = "from piecework.server.logs import open_log; import structlog; open_log('console')"
    line = r"structlog.get_logger('server').warning('refused', path='/\x1b[2J', reason='\x9b2J of it')"
    command = [sys.executable, "-c", f"{program}; {line}"]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=LONG_S).stderr
    assert r"path=/\x1b[2J" in text
    assert text.replace("\n", "").isprintable()
