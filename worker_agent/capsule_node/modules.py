"""Where the code of a deployment is: a URL, or a module of the registry by its name."""

import re

from piecework.worker_agent.errors import AgentError

_PART = r"[A-Za-z0-9._-]{1,100}"
_MODULE = re.compile(
    rf"(?P<org>{_PART})/(?P<module>{_PART})/(?P<tag>{_PART})(?:@sha256:(?P<digest>[0-9a-f]{{64}}))?"
)


class ModuleNameError(AgentError):
    """This is neither a URL nor a module's name."""


def locate_module(text: str, registry: str) -> tuple[str, str | None]:
    """Return the URL of some code, and the digest that it must have, if the text names one.

    ``text`` is a URL, or ``org/module/tag``, perhaps with ``@sha256:…``. Raises ModuleNameError.
    """
    if "://" in text:
        return text, None
    found = _MODULE.fullmatch(text)
    if found is None or {".", ".."} & set(found.groups()):
        raise ModuleNameError(
            f"{text[:200]!r} is no http or https URL, and no module of a registry either, as k33g/hola/0.0.1"
        )
    if not registry:
        raise ModuleNameError(
            f"{text} is a module of a registry, and this agent knows none: run it with --registry"
        )
    org, module, tag, digest = found.groups()
    return f"{registry}/{org}/{module}/{tag}/{module}.wasm", digest
