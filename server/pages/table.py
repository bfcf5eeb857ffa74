"""All pages of the console. What does not stand here is shown to nobody."""

from collections.abc import Callable
from typing import Any

from piecework.server.pages import overview, sign_in
from piecework.server.pages.functions import functions, recorded_calls
from piecework.server.pages.page import Page, pages_of
from piecework.server.pages.queue import bulk, groups, job, jobs, journals, limits, receipts, schedules, webhooks
from piecework.server.pages.stock import audit, blobs, lambdas, stock, workers

VIEWS: tuple[Callable[..., Any], ...] = (
    sign_in.leave,
    jobs.list_all, jobs.failures,
    job.show, job.save_log, receipts.save_receipt, journals.show, job.act, job.run_again,
    blobs.download, blobs.show_image,
    bulk.choose, bulk.count, bulk.work, bulk.undo, bulk.work_back,
    overview.show, overview.storage, groups.list_all, groups.show, groups.seal, groups.hold,
    schedules.list_all, schedules.create, schedules.show, schedules.act, limits.show, limits.rule, limits.weigh,
    lambdas.list_all, lambdas.create, lambdas.show, lambdas.run, lambdas.delete,
    workers.list_all, workers.show, workers.act,
    functions.list_all, functions.deploy, functions.show, functions.log, functions.act, functions.call,
    recorded_calls.list_all, recorded_calls.show,
    stock.list_modules, stock.delete_module, stock.list_namespaces, stock.create_namespace, stock.show_namespace,
    stock.act_on_namespace, stock.list_all_tokens, audit.list_all,
    webhooks.list_all, webhooks.create, webhooks.show, webhooks.act, webhooks.show_delivery, webhooks.retry,
)  # fmt: skip

PAGES: tuple[Page, ...] = tuple(each for view in VIEWS for each in pages_of(view))
