"""All that the server answers. What does not stand here is served by nobody."""

from server.api import docs, metrics, system
from server.api.functions import deployments, memory, routes
from server.api.queue import contracts, jobs, updates
from server.api.stock import data, lambdas, modules, namespaces, workers
from server.web.endpoint import Endpoint, View, endpoints_of

QUEUE: tuple[View, ...] = (
    jobs.submit, jobs.list_all, jobs.show, updates.update, jobs.cancel, jobs.trace, jobs.log,
    contracts.contract, contracts.finish, contracts.heartbeat,
)  # fmt: skip
FUNCTIONS: tuple[View, ...] = (
    deployments.list_all, deployments.show, deployments.deploy, deployments.scale, deployments.remove_revision,
    deployments.remove_function, deployments.set_default, deployments.remove_default, deployments.split,
    deployments.log, deployments.report,
    memory.list_all, memory.register, memory.remove, memory.add_revision, memory.remove_revision, memory.add_url,
    memory.remove_url, memory.list_urls,
    routes.caddy,
)  # fmt: skip
STOCK: tuple[View, ...] = (
    data.upload, data.show, data.download, data.delete,
    lambdas.create, lambdas.list_all, lambdas.show,
    modules.push, modules.download, modules.download_digest, modules.tell_info, modules.list_all, modules.show,
    modules.delete,
    workers.register, workers.list_all, workers.show, workers.drain, workers.leave, workers.retire,
    namespaces.create, namespaces.create_by_get, namespaces.list_all, namespaces.show, namespaces.remove,
    namespaces.list_keys, namespaces.flush, namespaces.get_value, namespaces.set_value, namespaces.delete_value,
)  # fmt: skip
HOUSE: tuple[View, ...] = (
    system.ping, system.healthz, system.readyz, system.version, system.runtime_stats, system.find_ids,
    metrics.metrics, docs.openapi, docs.docs,
)  # fmt: skip

ENDPOINTS: tuple[Endpoint, ...] = tuple(
    each for view in (*STOCK, *QUEUE, *FUNCTIONS, *HOUSE) for each in endpoints_of(view)
)
