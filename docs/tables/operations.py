"""What an operator looks at: scopes of tokens, figures, sample guests."""

import tempfile
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from piecework.sample_guests import find_samples
from piecework.server.app import create_app
from piecework.server.services.tokens.access import GRANTS
from piecework.server.settings import Settings
from piecework.worker_agent.figures import AgentFigures, Figure
from tables.markdown import as_code, write_table


def write_scopes() -> str:
    """Every scope of a token, with what it may do."""
    every = sorted(set().union(*GRANTS.values()), key=list(GRANTS).index)
    rows = [
        (as_code(scope), *("yes" if what in grants else "" for what in every)) for scope, grants in GRANTS.items()
    ]
    return write_table(["token", *every], rows)


def write_agent_metrics() -> str:
    """Every metric that an agent gives of itself."""
    rows = [(as_code(each.name), each.kind, _labels_of(each), each.text) for each in AgentFigures.every()]
    return write_table(["metric", "type", "labels", "meaning"], rows)


def _labels_of(figure: Figure) -> str:
    return ", ".join(
        as_code(name) for name in dict.fromkeys(name for labels in figure.values for name, _ in labels)
    )


def write_metrics() -> str:
    """Every metric that the server gives of itself."""
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(Settings(data=Path(folder), synchronous="OFF"))
        client = app.test_client()
        client.get("/ping")
        text = client.get("/metrics").get_data(as_text=True)
        app.extensions["piecework"].close()
    families = [
        each
        for each in text_string_to_metric_families(text)
        if each.name.startswith("piecework_") and not each.name.endswith("_created")
    ]
    rows = [(as_code(_exposed_name(each)), each.type, _label_names(each), each.documentation) for each in families]
    return write_table(["metric", "type", "labels", "meaning"], rows)


def _exposed_name(family: Any) -> str:
    return f"{family.name}_total" if family.type == "counter" else str(family.name)


def _label_names(family: Any) -> str:
    names = dict.fromkeys(name for sample in family.samples for name in sample.labels if name != "le")
    return ", ".join(map(as_code, names))


def write_samples() -> str:
    """Every sample guest in C, with the first sentence of its source."""
    rows = [
        (as_code(f"samples/{each.name}.wasm"), each.meaning) for each in find_samples() if "/" not in each.name
    ]
    return write_table(["guest", "what it does"], rows)
