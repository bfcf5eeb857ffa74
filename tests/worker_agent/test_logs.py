import io
import json
import re

import pytest
import structlog

from piecework.protocol.ids import Id
from piecework.worker_agent.logs import configure_logs


@pytest.fixture(autouse=True)
def untouched_logging():
    yield
    structlog.reset_defaults()


def write(form, level="info"):
    stream = io.StringIO()
    configure_logs(form, level, stream)
    log = structlog.get_logger()
    log.debug("quiet")
    log.info("finished", job=Id(2**62), wall_s=0.5)
    token = "sec" + "ret"
    try:
        raise ZeroDivisionError("why" if token else "")
    except ZeroDivisionError:
        log.exception("bug")
    return stream.getvalue()


def test_json_lines_have_level_time_and_ids_as_they_travel():
    first, second = map(json.loads, write("json").splitlines())
    assert first.pop("timestamp").endswith("Z")
    assert first == {"event": "finished", "level": "info", "job": str(2**62), "wall_s": 0.5}
    assert "ZeroDivisionError: why" in second["exception"]


def test_console_lines_are_for_people():
    text = write("console")
    assert f"job={2**62}" in text
    assert "finished" in text
    assert "ZeroDivisionError: why" in text
    assert "\x1b" not in text, "no colours where no terminal is"


def test_both_forms_have_the_servers_kind_of_time():
    for form in ("json", "console"):
        for line in write(form).splitlines():
            if "finished" in line:
                assert re.search(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line)


def test_lists_are_arrays_for_programs_and_words_for_people():
    texts = {}
    for form in ("json", "console"):
        stream = io.StringIO()
        configure_logs(form, "info", stream)
        structlog.get_logger().info("contracted", jobs=[Id(2**62), Id(3)], runtimes=("wasi", "lua"))
        texts[form] = stream.getvalue()
    line = json.loads(texts["json"])
    assert (line["jobs"], line["runtimes"]) == ([str(2**62), "3"], ["wasi", "lua"])
    assert f"jobs='{2**62} 3'" in texts["console"]
    assert "runtimes='wasi lua'" in texts["console"]


def test_level_bounds_what_is_written():
    assert "quiet" in write("console", "debug")
    assert "job=" not in write("console", "error")


@pytest.mark.parametrize("form", ["console", "json"])
def test_tracebacks_do_not_show_the_values_of_variables(form):
    assert "secret" not in write(form)


def test_console_lines_hold_nothing_that_a_terminal_obeys():
    stream = io.StringIO()
    configure_logs("console", "info", stream)
    try:
        raise ValueError("\x1b[2J")
    except ValueError:
        structlog.get_logger().exception("failed", reason="\x1b]0;owned\x07", at="\x9b2J of it")
    assert "reason=\\x1b]0;owned\\x07" in stream.getvalue()
    assert all(letter.isprintable() for letter in stream.getvalue().replace("\n", ""))
