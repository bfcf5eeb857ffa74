"""What makes a module a function of Capsule, and of which generation of its interface."""

from piecework.modules.binary import ModuleError, ModuleFacts
from piecework.modules.rules import check_export, check_imports, describe
from piecework.modules.wasi import COMMON

INTERFACE = "env"
TEXT_HANDLER, HTTP_HANDLER = "callHandle", "callHandleHttp"
HANDLERS_OF_4 = ("callHandleHTTP", "callHandleJSON")
HTTP_HANDLERS = {"iiii>I": 1, "iiiiiiii>I": 2, "i>I": 3}
"""The generation that has ``callHandleHttp`` with this type."""

SILENT = {"hostLogString": 1, "hostPrintString": 1}
"""Functions of the host without an answer, and the texts that they take."""
ANSWERING = {
    "hostGetHostInformation": 0,
    "hostPing": 1,
    "hostTalk": 1,
    "hostHttp": 4,
    "hostHTTP": 1,
    "hostReadFile": 1,
    "hostWriteFile": 2,
    "hostGetEnv": 1,
    "hostRedisSet": 2,
    "hostRedisGet": 1,
    "hostRedisDel": 1,
    "hostRedisKeys": 1,
    "hostCouchBaseQuery": 1,
    "hostMemorySet": 2,
    "hostMemoryGet": 1,
    "hostMemoryKeys": 0,
    "hostCacheSet": 2,
    "hostCacheGet": 1,
    "hostCacheDel": 1,
    "hostCacheKeys": 1,
    "hostGetExitError": 0,
    "hostGetExitCode": 0,
}
"""Functions that answer a text, and the texts that they take. Two more parameters say where the answer goes."""
UNCONFIGURED = frozenset(
    f"host{name}"
    for name in (
        *(
            "NatsPublish",
            "NatsConnectPublish",
            "NatsConnectRequest",
            "NatsReply",
            "NatsGetSubject",
            "NatsGetServer",
        ),
        *("MqttPublish", "MqttConnectPublish", "MqttGetTopic", "MqttGetServer", "MqttGetClientId"),
    )
)
"""Functions whose backends no node has: the answer is an error, whatever they take."""
PARAMETERS_GET = "hostRequestParamsGet"
"""Gives a request, in the third generation, by its number."""
FUNCTIONS = {*SILENT, *ANSWERING, *UNCONFIGURED, PARAMETERS_GET}


def find_generation(facts: ModuleFacts) -> int | None:
    """Return the generation of the interface, 1 to 4; None when the module is none of Capsule's."""
    if any(name in facts.exports for name in HANDLERS_OF_4):
        return 4
    if HTTP_HANDLER in facts.exports:
        return HTTP_HANDLERS.get(facts.exports[HTTP_HANDLER])
    return 4 if TEXT_HANDLER in facts.exports else None


def is_capsule(facts: ModuleFacts) -> bool:
    """Tell whether the module exports a handler of Capsule's, of whatever type."""
    return any(name in facts.exports for name in (TEXT_HANDLER, HTTP_HANDLER, *HANDLERS_OF_4))


def takes_requests_alone(facts: ModuleFacts) -> bool:
    """Tell whether its only handlers are those of HTTP requests."""
    found = {name for name in (TEXT_HANDLER, HTTP_HANDLER, *HANDLERS_OF_4) if name in facts.exports}
    return bool(found) and found <= {HTTP_HANDLER, HANDLERS_OF_4[0]}


def check_capsule(facts: ModuleFacts) -> None:
    """Raise ModuleError, naming what is missing, unless the module is a function of Capsule."""
    generation = find_generation(facts)
    if generation is None:
        _raise_unknown(facts)
    check_imports(facts, "capsule", {INTERFACE: FUNCTIONS, **COMMON})
    for name in (TEXT_HANDLER, *HANDLERS_OF_4):
        if name in facts.exports:
            check_export(facts, name, "ii>I", "it takes place and size of a text, and returns place and size")
    check_export(facts, "memory", "memory", "texts are passed there")
    check_export(facts, "malloc", "i>i", "the host asks for room for its arguments there")
    if any(_wants_answer(facts, *where) for where in facts.imports):
        check_export(facts, "allocateBuffer", "i>i", "the host asks for room for its answers there")
    for name in ("_start", "_initialize"):
        if name in facts.exports:
            check_export(facts, name, ">", "it runs before the function is called")


def _raise_unknown(facts: ModuleFacts) -> None:
    found = facts.exports.get(HTTP_HANDLER)
    if found is None:
        raise ModuleError(
            f"the module does not export a function named {TEXT_HANDLER!r}, {HTTP_HANDLER!r}, "
            f"{HANDLERS_OF_4[0]!r} or {HANDLERS_OF_4[1]!r}: it is no function of Capsule"
        )
    raise ModuleError(
        f"the module exports {HTTP_HANDLER!r} as {describe(found)}; it must take 4 (Capsule 0.1.0), "
        "8 (0.1.9) or 1 (0.2.9) numbers of type i32, and return an i64"
    )


def _wants_answer(facts: ModuleFacts, module: str, name: str) -> bool:
    """Tell whether a function of the host gives an answer. Raises ModuleError when its type is wrong."""
    if module != INTERFACE:
        return False
    parameters, results = facts.imports[module, name].split(">")
    texts = SILENT.get(name, ANSWERING.get(name))
    cells = 0 if name in SILENT else 2
    if name == PARAMETERS_GET:
        fits = parameters == "iii"
    elif texts is None:
        fits = len(parameters) >= cells and set(parameters) == {"i"}
    else:
        fits = parameters == "i" * (2 * texts + cells)
    if not fits or results not in {"", "i"}:
        raise ModuleError(
            f"the module imports {name!r} from {module!r} as {describe(facts.imports[module, name])}, "
            "which no version of Capsule has"
        )
    return name not in SILENT
