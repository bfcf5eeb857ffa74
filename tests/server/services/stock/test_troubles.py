"""Workers whose node cannot prepare jobs: they say why, and what they hand back costs a job nothing."""

from house import House

TROUBLE = "the worker could not prepare the job: No space left on device"


def unprepared(lease: dict[str, str]) -> dict[str, object]:
    return {**lease, "state": "Enqueued", "error": {"kind": "worker", "message": TROUBLE}}


def show(house: House, worker: str) -> tuple[str, str | None]:
    info = house.call("GET", f"/worker/{worker}?view=full")
    return info["state"], info.get("trouble")


def test_a_job_that_cannot_be_prepared_costs_no_life_and_says_why(house: House) -> None:
    sick, job = house.new_worker(), house.submit(house.new_lambda(), max_attempts=1)
    for _ in range(6):
        house.finish(sick, unprepared(house.lease(sick)))
    info = house.call("GET", f"/job/{job}")
    assert (info["state"], info["attempt"], info["error"]["message"]) == ("Enqueued", 0, TROUBLE)
    assert house.trace(job)[-1] == ("Enqueued", f"handed back: {TROUBLE}")
    assert house.contract(house.new_worker())["jobs"][0]["attempt"] == 1


def test_a_job_that_was_handed_back_without_a_reason_has_none(house: House) -> None:
    worker, job = house.new_worker(), house.submit(house.new_lambda())
    house.finish(worker, {**house.lease(worker), "state": "Enqueued"})
    assert "error" not in house.call("GET", f"/job/{job}")


def test_a_worker_in_trouble_is_shown_with_it(house: House) -> None:
    worker = house.new_worker()
    house.contract(worker, max=0, trouble=TROUBLE)
    assert show(house, worker) == ("unable", TROUBLE)
    [listed] = house.call("GET", "/worker")["workers"]
    assert (listed["state"], listed["trouble"]) == ("unable", TROUBLE)


def test_a_worker_that_only_hands_in_outcomes_is_still_in_trouble(house: House) -> None:
    worker = house.new_worker()
    house.contract(worker, max=0, trouble=TROUBLE)
    house.contract(worker, max=0)
    assert show(house, worker)[0] == "unable"


def test_a_worker_that_asks_for_jobs_is_well_again(house: House) -> None:
    worker = house.new_worker()
    house.contract(worker, max=0, trouble=TROUBLE)
    house.contract(worker, max=1)
    assert show(house, worker) == ("idle", None)


def test_a_process_that_starts_anew_is_well(house: House) -> None:
    worker = house.new_worker(incarnation="first")
    house.contract(worker, max=0, trouble=TROUBLE, incarnation="first")
    house.contract(worker, max=0, incarnation="second")
    assert show(house, worker) == ("idle", None)


def test_a_trouble_is_kept_in_its_first_words(house: House) -> None:
    worker = house.new_worker()
    house.contract(worker, max=0, trouble="x" * 10_000)
    assert show(house, worker) == ("unable", "x" * 500)


def test_a_plain_look_at_a_worker_tells_no_trouble(house: House) -> None:
    worker = house.new_worker()
    house.contract(worker, max=0, trouble=TROUBLE)
    assert "trouble" not in house.call("GET", f"/worker/{worker}")


def test_a_job_that_only_workers_in_trouble_could_run_says_so(house: House) -> None:
    sick, other = house.new_worker(name="small"), house.new_worker(name="tiny")
    job = house.submit(house.new_lambda())
    for worker in (sick, other):
        house.contract(worker, max=0, trouble=TROUBLE)
    advice = house.call("GET", f"/job/{job}?view=full")["advice"]
    assert advice.startswith("every worker that could run it takes no jobs now; ")
    assert all(f"{name}: {TROUBLE}" in advice for name in ("small", "tiny"))
    house.new_worker()
    assert "advice" not in house.call("GET", f"/job/{job}?view=full")
