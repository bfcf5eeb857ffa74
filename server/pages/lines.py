"""The lines that do what a page shows: for a shell, for curl, for Python."""

import shlex
from typing import Any

import msgspec

from piecework.protocol.messages import JobInfo, blob_id, given
from piecework.protocol.secrets import MASK


def submit_lines(info: JobInfo, server: str) -> dict[str, str]:
    """Return what submits a job like this one. Values that are masked are named, and left to the reader."""
    spec = _describe(info)
    return {"Command": _command(spec), "curl": _curl(spec, server), "Python": _python(spec, server)}


def _describe(info: JobInfo) -> dict[str, Any]:
    lambda_ = f"{info.lambda_.name}@{info.lambda_.id}" if info.lambda_.name else str(info.lambda_.id)
    input_id = blob_id(info.input)
    fields = {
        "lambda": lambda_,
        "input": str(input_id) if input_id else None,
        "args": given(info.args),
        "env": given(info.env),
        "tags": info.tags,
        "priority": info.priority,
    }
    return {name: value for name, value in fields.items() if value}


def _command(spec: dict[str, Any]) -> str:
    words = ["piecework", "job", "submit", spec["lambda"]]
    if "input" in spec:
        words += ["--input", spec["input"]]
    words += [f"--arg={each}" for each in spec.get("args", ())]
    words += [f"--env={name}={_secret(name, value)}" for name, value in spec.get("env", {}).items()]
    words += [f"--tag={each}" for each in spec.get("tags", ())]
    if "priority" in spec:
        words.append(f"--priority={spec['priority']}")
    return shlex.join([*words, "--wait"])


def _curl(spec: dict[str, Any], server: str) -> str:
    body = spec | (
        {"env": {name: _secret(name, value) for name, value in spec["env"].items()}} if "env" in spec else {}
    )
    text = shlex.quote(msgspec.json.encode(body).decode())
    return (
        f"curl {shlex.quote(f'{server}/job?wait=60&output=inline')} \\\n"
        f'  -H "Authorization: Bearer $PIECEWORK_TOKEN" -H "Content-Type: application/json" \\\n'
        f"  -d {text}"
    )


def _python(spec: dict[str, Any], server: str) -> str:
    imports = ["from piecework import Client"]
    value = "None"
    if "input" in spec:
        imports.append("from piecework.protocol.ids import Id")
        value = f"Id({spec['input']})"
    options = {name: spec[name] for name in ("args", "env", "tags", "priority") if name in spec}
    given_options = "".join(f", {name}={value!r}" for name, value in options.items())
    return "\n".join(
        [*imports, "", f"job = Client({server!r}).submit_and_wait({spec['lambda']!r}, {value}, 60{given_options})"]
    )


def _secret(name: str, value: str) -> str:
    return f"<{name}>" if value == MASK else value
