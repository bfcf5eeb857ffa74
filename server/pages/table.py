"""All pages of the console. What does not stand here is shown to nobody."""

from collections.abc import Callable
from typing import Any

from server.pages import blobs, bulk, job, jobs, sign_in
from server.pages.page import Page, pages_of

VIEWS: tuple[Callable[..., Any], ...] = (
    sign_in.leave,
    jobs.list_all, jobs.failures,
    job.show, job.save_log, job.act, job.run_again, blobs.download, blobs.show_image,
    bulk.choose, bulk.count, bulk.work,
)  # fmt: skip

PAGES: tuple[Page, ...] = tuple(each for view in VIEWS for each in pages_of(view))
