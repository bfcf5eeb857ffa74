"""What the audit calls the requests that change something, and which of their words it keeps.

A field of a request is kept only when it stands here: arguments, inputs, variables and URLs may have secrets.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
from msgspec import UNSET


class ActWords(NamedTuple):
    """How a request is told of. ``{word}`` stands for a part of the path, or a field of the body."""

    act: str
    target: str = ""
    fields: Sequence[str] = ()
    """Fields of the body that are kept when they are set."""

    def tell(self, parts: Mapping[str, object], body: object) -> tuple[str, str, str]:
        """Return what was done, to what, and how."""
        given = _fields(body)
        words = {name: "" if value is None else value for name, value in (given | dict(parts)).items()}
        kept = {name: given[name] for name in self.fields if name in given}
        return self.act.format_map(words)[:40], self.target.format_map(words), _join(kept)


def _fields(body: object) -> dict[str, object]:
    if not isinstance(body, msgspec.Struct):
        return {}
    given = msgspec.structs.asdict(body)
    return {name: None if value is UNSET else value for name, value in given.items()}


def _join(fields: Mapping[str, object]) -> str:
    return ", ".join(f"{name.rstrip('_')}={_show(value)}" for name, value in fields.items() if value is not None)


def _show(value: object) -> str:
    if isinstance(value, msgspec.Struct):
        return f"({_join(_fields(value))})"
    return f"{len(value)} of them" if isinstance(value, list) else str(value)


ACTS: dict[tuple[str, str], ActWords] = {
    ("DELETE", "/data/<data>"): ActWords("delete data", "{data}"),
    ("POST", "/lambda"): ActWords("create lambda", "{name}", ("runtime", "codex")),
    ("DELETE", "/lambda/<ref:lambda>"): ActWords("delete lambda", "{lambda}"),
    ("DELETE", "/lambda/<ref:lambda>/memos"): ActWords("forget memos", "{lambda}"),
    ("POST", "/registry/upload/<string:org>/<string:module>/<string:tag>"): ActWords(
        "push module", "{org}/{module}:{tag}"
    ),
    ("DELETE", "/registry/<string:org>/<string:module>/<string:tag>"): ActWords(
        "delete module", "{org}/{module}:{tag}"
    ),
    ("POST", "/worker/<worker>/drain"): ActWords("drain worker", "{worker}"),
    ("DELETE", "/worker/<worker>"): ActWords("retire worker", "{worker}"),
    ("POST", "/kv"): ActWords("create namespace"),
    ("DELETE", "/kv/<namespace>"): ActWords("remove namespace", "{namespace}"),
    ("DELETE", "/kv/<namespace>/field"): ActWords("flush namespace", "{namespace}"),
    ("POST", "/job/<job>"): ActWords("change job", "{job}", ("status",)),
    ("DELETE", "/job/<job>"): ActWords("cancel job", "{job}"),
    ("POST", "/job/<job>/replay"): ActWords("replay job", "{job}", ("worker", "engine")),
    ("POST", "/job/bulk"): ActWords("{action} jobs", "", ("ids", "where", "key")),
    ("PUT", "/hold/<string:kind>/<text:target>"): ActWords("pause {kind}", "{target}", ("note",)),
    ("DELETE", "/hold/<string:kind>/<text:target>"): ActWords("resume {kind}", "{target}"),
    ("POST", "/group"): ActWords("create group", "{name}", ("on_end",)),
    ("POST", "/group/<string:group>/seal"): ActWords("seal group", "{group}"),
    ("POST", "/group/<string:group>/then"): ActWords("seal group", "{group}"),
    ("POST", "/schedule"): ActWords("create schedule", "{name}", ("cron", "every_s")),
    ("PATCH", "/schedule/<ref:schedule>"): ActWords("change schedule", "{schedule}", ("cron", "every_s")),
    ("DELETE", "/schedule/<ref:schedule>"): ActWords("remove schedule", "{schedule}"),
    ("POST", "/schedule/<ref:schedule>/pause"): ActWords("pause schedule", "{schedule}"),
    ("POST", "/schedule/<ref:schedule>/resume"): ActWords("resume schedule", "{schedule}"),
    ("POST", "/schedule/<ref:schedule>/run"): ActWords("run schedule", "{schedule}"),
    ("PUT", "/limit/<text:key>"): ActWords("set limit", "{key}", ("concurrency", "rate", "period_s")),
    ("DELETE", "/limit/<text:key>"): ActWords("clear limit", "{key}"),
    ("POST", "/limit"): ActWords("check limits"),
    ("PUT", "/tenant/<text:tenant>"): ActWords("weigh tenant", "{tenant}", ("weight",)),
    ("POST", "/webhook"): ActWords("create webhook", "{name}"),
    ("PATCH", "/webhook/<ref:webhook>"): ActWords("change webhook", "{webhook}"),
    ("DELETE", "/webhook/<ref:webhook>"): ActWords("delete webhook", "{webhook}"),
    ("POST", "/webhook/<ref:webhook>/rotate"): ActWords("rotate webhook", "{webhook}"),
    ("POST", "/webhook/<ref:webhook>/pause"): ActWords("pause webhook", "{webhook}"),
    ("POST", "/webhook/<ref:webhook>/resume"): ActWords("resume webhook", "{webhook}"),
    ("POST", "/webhook/<ref:webhook>/test"): ActWords("test webhook", "{webhook}"),
    ("POST", "/webhook/<ref:webhook>/retry"): ActWords("retry deliveries", "{webhook}"),
    ("POST", "/delivery/<delivery>/retry"): ActWords("retry delivery", "{delivery}"),
    ("PUT", "/deployments/<string:function>/<string:revision>"): ActWords(
        "deploy", "{function}/{revision}", ("module", "codex", "lambda_", "replicas")
    ),
    ("PATCH", "/deployments/<string:function>/<string:revision>"): ActWords(
        "scale", "{function}/{revision}", ("replicas",)
    ),
    ("DELETE", "/deployments/<string:function>/<string:revision>"): ActWords("undeploy", "{function}/{revision}"),
    ("DELETE", "/deployments/<string:function>/<string:revision>/calls"): ActWords(
        "remove recorded calls", "{function}/{revision}"
    ),
    ("DELETE", "/deployments/<string:function>"): ActWords("undeploy", "{function}"),
    ("PUT", "/deployments/<string:function>/default"): ActWords("set default", "{function}/{revision}"),
    ("DELETE", "/deployments/<string:function>/default"): ActWords("remove default", "{function}"),
    ("PUT", "/deployments/<string:function>/split"): ActWords("split", "{function}", ("weights",)),
    ("POST", "/memory/functions/registration"): ActWords("register function"),
    ("DELETE", "/memory/functions/registration"): ActWords("remove function"),
    ("POST", "/memory/functions/<string:function>/revision"): ActWords("add revision", "{function}"),
    ("DELETE", "/memory/functions/<string:function>/revision"): ActWords("remove revision", "{function}"),
    ("POST", "/memory/functions/<string:function>/<string:revision>/url"): ActWords(
        "add url", "{function}/{revision}"
    ),
    ("DELETE", "/memory/functions/<string:function>/<string:revision>/url"): ActWords(
        "remove url", "{function}/{revision}"
    ),
}
"""Requests by method and path."""

NOT_KEPT: dict[tuple[str, str], str] = {
    ("POST", "/job"): "jobs that are submitted are counted by the minute",
    ("POST", "/data"): "what uploads are for is kept",
    ("POST", "/data/direct"): "as above",
    ("POST", "/kv/<namespace>/field/<text:key>"): "guests and programs do it all the time",
    ("DELETE", "/kv/<namespace>/field/<text:key>"): "guests and programs do it all the time",
    ("POST", "/worker"): "an agent's part",
    ("POST", "/worker/<worker>/leave"): "an agent's part",
    ("POST", "/worker/<worker>/contract"): "an agent's part",
    ("POST", "/worker/<worker>/finish"): "an agent's part",
    ("POST", "/worker/<worker>/heartbeat"): "an agent's part",
    ("POST", "/worker/<worker>/functions"): "an agent's part",
    ("POST", "/worker/<worker>/calls"): "an agent's part",
}
"""The other requests that change something, and why they are not in the audit."""
