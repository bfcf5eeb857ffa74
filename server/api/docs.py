"""What describes this API: for programs /openapi.json, for people the page at /docs."""

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from flask import Response, render_template
from markupsafe import Markup, escape

from piecework import __version__
from piecework.protocol.bodies import JSON
from piecework.protocol.codes import Code
from piecework.server.dialects.paths import PREFIX
from piecework.server.services import Services
from piecework.server.web.endpoint import Endpoint, current_endpoints, endpoint
from piecework.server.web.fielddocs import member_docs
from piecework.server.web.openapi import openapi_document, resource_of, scopes_of, wire_path
from piecework.server.web.parts import Part, current_part

STYLE = (Path(__file__).parent.parent / "templates" / "docs.css").read_text()
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing but the page's own style: no script, no picture, no font, nothing from elsewhere."""

HEADINGS = {
    "job": "Jobs",
    "lambda": "Lambdas",
    "namespace": "Keys and values",
    "limit": "Limits by key, and tenants",
    "data": "Data",
    "worker": "Workers",
    "module": "Modules",
    "function": "Functions",
    "server": "The server",
}


@endpoint("GET", "/openapi.json", scope="open")
def openapi(_services: Services) -> Response:
    """Describe this API for programs, as OpenAPI 3.1."""
    document = openapi_document(current_endpoints(), current_part(), PREFIX)
    return Response(msgspec.json.encode(document), content_type=JSON)


@endpoint("GET", "/docs", scope="open")
def docs(_services: Services) -> Response:
    """Describe this API for people."""
    response = Response(_page(current_endpoints(), current_part()), content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


@cache
def _page(endpoints: tuple[Endpoint, ...], part: Part) -> str:
    document = openapi_document(endpoints, part, PREFIX)
    return render_template(
        "docs.html",
        style=Markup(STYLE),  # noqa: S704  # our own file, which the policy knows by its hash
        version=__version__,
        prefix=PREFIX,
        headings=HEADINGS,
        sections=_sections(endpoints, part, document["paths"]),
        schemas=document["components"]["schemas"],
        codes=[(code, member_docs(Code).get(code.name, "")) for code in Code],
        marked=marked,
    )


def _sections(
    endpoints: tuple[Endpoint, ...], part: Part, paths: dict[str, Any]
) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of endpoints under each heading that has some."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in HEADINGS}
    for each in endpoints:
        found[resource_of(each)].append(_row(each, wire_path(part.place(each.path)), paths))
    return {name: rows for name, rows in found.items() if rows}


def _row(each: Endpoint, path: str, paths: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = paths[path][each.method.lower()]
    return operation | {
        "method": each.method,
        "path": path,
        "scopes": scopes_of(each),
        "body": operation.get("requestBody", {}).get("content", {}),
        "reply": operation["responses"]["200"]["content"],
    }


def marked(text: str) -> Markup:
    """Show what stands between backticks as code."""
    return Markup(re.sub(r"(`+)(.+?)\1", r"<code>\2</code>", str(escape(text))))  # noqa: S704  # escaped before
