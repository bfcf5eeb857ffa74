"""All that the server answers. What does not stand here is served by nobody."""

from piecework.server.api import docs, metrics, system
from piecework.server.api.functions import deployments, memory, recorded_calls, routes
from piecework.server.api.queue import (
    contracts,
    feed,
    groups,
    holds,
    limits,
    scale,
    schedules,
    stats,
    tenants,
    webhooks,
)
from piecework.server.api.queue.jobs import bulk, jobs, receipts, replays, updates
from piecework.server.api.stock import audit, data, keys, lambdas, modules, namespaces, workers
from piecework.server.web.endpoint import Endpoint, View, endpoints_of

QUEUE: tuple[View, ...] = (
    jobs.submit, jobs.list_all, jobs.show, updates.update, jobs.cancel, jobs.trace, jobs.log, jobs.logs,
    receipts.show, replays.start,
    bulk.bulk, bulk.failures, holds.list_all, holds.pause, holds.resume,
    groups.create, groups.list_all, groups.show, groups.seal, groups.then,
    contracts.contract, contracts.finish, contracts.heartbeat,
    schedules.create, schedules.list_all, schedules.show, schedules.change, schedules.remove,
    schedules.pause, schedules.resume, schedules.run, schedules.list_ticks,
    limits.list_all, limits.show, limits.rule, limits.clear, limits.check, tenants.list_all, tenants.set_weight,
    feed.list_events, stats.stats, scale.scale,
    webhooks.create, webhooks.list_all, webhooks.show, webhooks.change, webhooks.delete, webhooks.rotate,
    webhooks.pause, webhooks.resume, webhooks.test, webhooks.list_deliveries, webhooks.retry_failed,
    webhooks.show_delivery, webhooks.retry,
)  # fmt: skip
FUNCTIONS: tuple[View, ...] = (
    deployments.list_all, deployments.show, deployments.deploy, deployments.scale, deployments.remove_revision,
    deployments.remove_function, deployments.set_default, deployments.remove_default, deployments.split,
    deployments.log, deployments.report,
    recorded_calls.hand_in, recorded_calls.list_all, recorded_calls.show, recorded_calls.delete,
    memory.list_all, memory.register, memory.remove, memory.add_revision, memory.remove_revision, memory.add_url,
    memory.remove_url, memory.list_urls,
    routes.caddy,
)  # fmt: skip
STOCK: tuple[View, ...] = (
    data.upload, data.list_all, data.show, data.download, data.find_direct, data.upload_direct, data.delete,
    lambdas.create, lambdas.list_all, lambdas.show, lambdas.delete, lambdas.show_memos, lambdas.forget_memos,
    modules.push, modules.download, modules.download_digest, modules.tell_info, modules.list_all, modules.show,
    modules.delete,
    workers.register, workers.list_all, workers.list_owners, workers.show, workers.drain, workers.leave,
    workers.retire,
    namespaces.create, namespaces.create_by_get, namespaces.list_all, namespaces.show, namespaces.remove,
    namespaces.list_keys, namespaces.flush, namespaces.get_value, namespaces.set_value, namespaces.delete_value,
    audit.list_all, keys.list_all,
)  # fmt: skip
HOUSE: tuple[View, ...] = (
    system.ping, system.healthz, system.readyz, system.version, system.runtime_stats, system.storage,
    system.status, system.find_ids,
    metrics.metrics, docs.openapi, docs.docs,
)  # fmt: skip

ENDPOINTS: tuple[Endpoint, ...] = tuple(
    each for view in (*STOCK, *QUEUE, *FUNCTIONS, *HOUSE) for each in endpoints_of(view)
)
