"""What a recorded job asked the outside, on a page of its own."""

import base64

import pytest
from console import Browser
from house import House, finished

from piecework.receipts.journals import End, Head, JournalEntry, write_frame

CLOCK = JournalEntry("clock", b"REALTIME", b"12345678")
HOSTILE = JournalEntry("http", b"GET /<script>", b"no", "denied")


@pytest.fixture
def worker(house: House) -> str:
    return house.new_worker("wasi")


def end_job(house: House, worker: str, journal: bytes) -> str:
    """Return a job of a recorded lambda that ended with a journal."""
    job = house.submit(house.new_lambda(runtime="wasi", record=True))
    told = {"journal": {"base64": base64.b64encode(journal).decode()}}
    house.finish(worker, finished(house.lease(worker)) | told)
    return job


def write_journal(entries: list[JournalEntry], *, cut: bool = False) -> bytes:
    return b"".join(map(write_frame, (Head(), *entries, End(len(entries), cut))))


def test_a_job_leads_to_what_it_asked(house: House, browser: Browser, worker: str):
    job = end_job(house, worker, write_journal([CLOCK, HOSTILE]))
    place = f"/console/jobs/{job}/journal"
    assert place in browser.get(f"/console/jobs/{job}").links
    page = browser.get(place)
    for text in ("2 questions", "clock b'REALTIME'", "http b'GET /<script>': denied"):
        assert text in page.text, text
    assert "12345678" not in page.text
    assert "These are the first" not in page.text


def test_a_long_journal_is_shown_in_part(house: House, browser: Browser, worker: str):
    job = end_job(house, worker, write_journal([CLOCK] * 1201, cut=True))
    page = browser.get(f"/console/jobs/{job}/journal").text
    assert page.count("clock b'REALTIME'") == 200
    for text in ("1,201 questions", "there was no room for more", "These are the first 200."):
        assert text in page, text


def test_a_damaged_journal_and_none_are_told(house: House, browser: Browser, worker: str):
    job = end_job(house, worker, write_journal([CLOCK])[:-3])
    assert "cannot be shown: the journal is cut short" in browser.get(f"/console/jobs/{job}/journal", 404).text
    other = house.submit(house.new_lambda(runtime="wasi"))
    assert "/journal" not in " ".join(browser.get(f"/console/jobs/{other}").links)
    assert f"job {other} has no journal" in browser.get(f"/console/jobs/{other}/journal", 404).text
