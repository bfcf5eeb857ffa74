"""Write the generated parts of the documents from the code that they describe.

``make docs`` rewrites them in place; a test fails when they are out of date. A generated part
stands between ``<!-- generated: NAME ARGUMENT -->`` and ``<!-- /generated -->``. What writes it is in PARTS.
"""  # noqa: INP001  # a script, not a package

import logging
import re
import sys
from collections.abc import Callable
from pathlib import Path

import structlog
from tables import commands, conformance, endpoints, messages, operations, python, settings

ROOT = Path(__file__).parent.parent
PART = re.compile(r"(<!-- generated: (.+?) -->\n).*?(<!-- /generated -->)", re.DOTALL)

PARTS: dict[str, Callable[..., str]] = {
    "server-settings": settings.write_server_settings,
    "agent-settings": settings.write_agent_settings,
    "endpoints": endpoints.write_endpoints,
    "parameters": endpoints.write_parameters,
    "codes": endpoints.write_codes,
    "error-kinds": endpoints.write_error_kinds,
    "states": endpoints.write_states,
    "worker-states": endpoints.write_worker_states,
    "wait-reasons": endpoints.write_wait_reasons,
    "replica-states": endpoints.write_replica_states,
    "message": messages.write_message,
    "wire": messages.write_wire,
    "cli": commands.write_cli,
    "scopes": operations.write_scopes,
    "metrics": operations.write_metrics,
    "agent-metrics": operations.write_agent_metrics,
    "samples": operations.write_samples,
    "python-client": python.write_client,
    "python-class": python.write_class,
    "python-function": python.write_function,
    "python-options": python.write_options,
    "python-errors": python.write_errors,
    "python-fixtures": python.write_fixtures,
    "python-testing": python.write_testing,
    "conformance": conformance.write_conformance,
}
"""What writes a generated part, by its name; it gets the words behind the name."""


def find_documents() -> list[Path]:
    """Return the project's documents."""
    return [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md"))]


def rebuild(text: str) -> str:
    """Return a document's text with its generated parts as they must be. Raises KeyError for an unknown part."""

    def write(match: re.Match[str]) -> str:
        name, *arguments = match[2].split()
        return f"{match[1]}{PARTS[name](*arguments).strip()}\n{match[3]}"

    return PART.sub(write, text)


def main() -> None:
    """Rewrite what is out of date, and say which documents that were."""
    # The OpenAPI document is asked of a server, whose start is nothing to tell.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    for path in find_documents():
        old = path.read_text()
        new = rebuild(old)
        if new != old:
            path.write_text(new)
            sys.stdout.write(f"rewrote {path.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
