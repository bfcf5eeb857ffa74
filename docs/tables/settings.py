"""Settings of the server and of the agent."""

from dataclasses import MISSING, fields

from piecework.server import settings as server
from piecework.server.web.fielddocs import member_docs
from piecework.worker_agent.config import settings as agent
from tables.markdown import as_code, write_table

MIB = 1024 * 1024


def write_server_settings() -> str:
    """Every setting of the server, with its variable, default and meaning."""
    prefix, docs = server.PREFIX, member_docs(server.Settings)  # type: ignore[arg-type]
    rows = [
        (as_code(prefix + each.name.upper()), _default(each.name, each.default), docs[each.name])
        for each in fields(server.Settings)
    ]
    return write_table(["variable", "default", "meaning"], rows)


def write_agent_settings() -> str:
    """Every setting of the agent, with its variable, default and meaning."""
    docs = member_docs(agent.Settings)  # type: ignore[arg-type]
    defaults = {each.name: each.default for each in fields(agent.Settings)}
    rows = []
    for variable, (name, _) in agent.VARIABLES.items():
        default, meaning = defaults[name], docs[name]
        if variable.endswith("_MB"):
            assert isinstance(default, int)
            default, meaning = default // MIB, meaning.replace(", bytes.", ", MB of 1,048,576 bytes.")
        rows.append((as_code(variable), _default(name, default), meaning))
    return write_table(["variable", "default", "meaning"], rows)


COMPUTED = {"slots": "one per CPU", "name": "the host's name"}
"""Defaults that depend on the machine."""


def _default(name: str, value: object) -> str:
    if value is MISSING:
        return COMPUTED[name]
    if isinstance(value, bool):
        return as_code(str(value).lower())
    if isinstance(value, tuple):
        return as_code(",".join(map(str, value)))
    return "" if value is None else as_code(value)
