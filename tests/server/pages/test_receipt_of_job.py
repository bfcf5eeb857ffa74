"""The receipt on the page of a job."""

import json

from console import Browser
from house import House
from signing_worker import SigningWorker, deterministic_lambda, keys_of, sha256

from piecework.receipts import read_envelope, verify_receipt


def test_a_job_shows_its_receipt_with_its_signers_and_a_link_to_save_it(house: House, browser: Browser):
    worker = SigningWorker(house)
    job = house.submit(deterministic_lambda(house, deterministic=True))
    assert "Receipt" not in browser.get(f"/console/jobs/{job}").text
    worker.hand_in(worker.work(b"out"))
    page = browser.get(f"/console/jobs/{job}")
    for text in ("Receipt", f"worker {worker.id}", "a server", worker.key.keyid, sha256(b"out"), "wasmtime 0"):
        assert text in page.text, text
    assert f"/console/jobs/{job}/receipt" in page.links
    saved = house.fetch(f"/console/jobs/{job}/receipt")
    assert f"job-{job}-receipt.json" in saved.headers["Content-Disposition"]
    assert verify_receipt(read_envelope(saved.data), keys_of(house)).payload.job == job
    assert json.loads(saved.data)["payloadType"] == "application/vnd.piecework.receipt+json"


def test_a_job_without_a_receipt_has_none_to_save(house: House, browser: Browser):
    worker = SigningWorker(house)
    job = house.submit(deterministic_lambda(house))
    outcome = worker.work(b"out")
    worker.hand_in(outcome)
    assert "Receipt" not in browser.get(f"/console/jobs/{job}").text
    assert house.fetch(f"/console/jobs/{job}/receipt").status_code == 404
