"""What tokens with a quota are kept from, beside what their scope keeps them from.

A token for some lambdas reaches only the requests that stand here, and only jobs that were submitted with it: what
is added later is closed to it. One whose jobs are counted is kept from what makes jobs that no submission counts.
"""

from collections.abc import Mapping

from piecework.server.errors import BlobNotFound, Forbidden
from piecework.server.services import Services
from piecework.server.services.queue.submitting.quotas import Allowed
from piecework.server.store.stock.tokens import Token

FOR_SOME_LAMBDAS = frozenset(
    {
        ("POST", "/job"),
        ("GET", "/job"),
        ("GET", "/job/<job>"),
        ("DELETE", "/job/<job>"),
        ("GET", "/job/<job>/trace"),
        ("GET", "/job/<job>/receipt"),
        ("GET", "/job/<job>/log"),
        ("GET", "/job/<job>/logs"),
        ("POST", "/data"),
        ("GET", "/data/<data>"),
        ("GET", "/data/<data>/blob"),
        ("GET", "/keys"),
        ("GET", "/lambda/<ref:lambda>"),
        ("GET", "/sys/version"),
    }
)
"""Requests, by method and path, that a token for some lambdas may send."""
UNCOUNTED = frozenset(
    {
        ("POST", "/job/bulk"),
        ("POST", "/job/<job>/replay"),
        ("POST", "/schedule"),
        ("PATCH", "/schedule/<ref:schedule>"),
        ("POST", "/schedule/<ref:schedule>/resume"),
        ("POST", "/schedule/<ref:schedule>/run"),
    }
)
"""Requests that make jobs without a submission, or run some again."""


def check_reach(
    services: Services, method: str, path: str, token: Token | None, parts: Mapping[str, object]
) -> None:
    """Raise Forbidden, or what is raised for jobs and data that are not there, when a quota keeps a token out.

    ``parts``: what is in the path, by name.
    """
    if token is None or token.quota is None:
        return
    if token.quota.is_counted and (method, path) in UNCOUNTED:
        raise Forbidden(
            f"the jobs of the token {token.name} are counted: it can submit, but not schedule, retry or replay"
        )
    if not token.quota.lambdas:
        return
    if (method, path) not in FOR_SOME_LAMBDAS:
        may = ", ".join(token.quota.lambdas)
        raise Forbidden(f"the token {token.name} may submit jobs of {may}, read and cancel them, and nothing else")
    if "job" in parts:
        services.jobs.check_submitter([int(str(parts["job"]))], token.name)
    if "lambda" in parts:
        Allowed(token.name, token.quota).check_lambdas([services.lambdas.resolve(str(parts["lambda"]))])
    if "data" in parts and not services.jobs.has_made(token.name, int(str(parts["data"]))):
        raise BlobNotFound(f"no job that the token {token.name} submitted made the data {parts['data']}")
