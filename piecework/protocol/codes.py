"""The numbers that replies carry in ``code`` and the kinds of error that an outcome carries."""

from enum import IntEnum, StrEnum


class Code(IntEnum):
    """``code`` of a reply: 6xx data, 7xx lambda, 8xx worker, 9xx job, 10xx module, value, 11xx function."""

    OK = 0
    """Done."""
    ERROR = 1
    """Something failed that has no code of its own; the message says what."""
    BAD_BODY = 2
    """The body is neither JSON nor MessagePack, or is not what its type says."""
    INVALID = 3
    """A field or parameter has a wrong type or value; the message names it."""
    UNAUTHORIZED = 4
    """No valid token came with the request."""
    FORBIDDEN = 5
    """The token's scope does not cover this request, or the page that sent it is foreign."""
    TOO_LARGE = 6
    """The body, or a value, is larger than the server takes; the message has the limit."""
    BUSY = 7
    """Too many requests are waiting; try again later."""
    STORAGE_FULL = 8
    """The disk is full. Nothing of this request was stored."""
    DATABASE_AWAY = 9
    """The database does not answer. Nothing of this request was stored."""
    NO_SUCH_PATH = 10
    """No endpoint has this path."""
    METHOD_NOT_ALLOWED = 11
    """The path exists, but not with this method."""
    INTERNAL = 12
    """A bug in the server; its log has the details."""
    STOPPING = 13
    """The server is stopping; try again in a moment."""
    BLOBS_AWAY = 14
    """The store of large blobs does not answer. Nothing of this request was stored."""
    QUOTA = 15
    """The token has submitted as many jobs as it may for now; ``Retry-After`` says when to try again."""

    BLOB_NOT_FOUND = 601
    """No blob has this id."""
    UPLOAD_WITHOUT_FILE = 602
    """The upload has no part named ``file``."""
    UPLOAD_BROKEN = 603
    """The upload ended before its body was complete. Nothing was stored."""
    BLOB_IN_USE = 604
    """A lambda, a module, an unfinished job or a schedule uses the blob."""
    BLOB_DAMAGED = 605
    """The store of large blobs gave other bytes than those of the blob."""

    LAMBDA_NOT_FOUND = 701
    """No lambda has this id."""
    MODULE_INVALID = 702
    """The codex cannot run under the runtime that the lambda names; the message says why."""
    LAMBDA_IN_USE = 703
    """Jobs of the lambda have not ended, or a function is made of it; the message says how many, or which."""

    WORKER_NOT_FOUND = 801
    """No worker has this id: register again."""
    WORKER_RETIRED = 802
    """The worker was retired: register again."""
    WORKER_UNFIT = 803
    """The worker cannot do what is asked of it; the message says why."""

    JOB_NOT_FOUND = 901
    """No job has this id."""
    LEASE_LOST = 902
    """The lease is not the job's current one: the outcome is refused."""
    KEY_CONFLICT = 903
    """Another job with other content has the same idempotency key."""
    BAD_TRANSITION = 904
    """The job cannot go from its state to the one asked for."""
    RECEIPT_NOT_FOUND = 905
    """The job has no receipt; the message says why."""
    RECEIPT_REFUSED = 906
    """The receipt does not fit what the server knows: the outcome counts as an attempt that the worker failed."""
    GROUP_NOT_FOUND = 911
    """No group has this id or name."""
    GROUP_CONFLICT = 912
    """The group is sealed, or its name belongs to one that is open."""
    SCHEDULE_NOT_FOUND = 921
    """No schedule has this id or name."""
    SCHEDULE_EXISTS = 922
    """A schedule has this name already."""

    FEED_GONE = 931
    """What follows the number in the feed is not kept any more; the message has the oldest number that is."""
    LIMIT_NOT_FOUND = 941
    """No limit has this key."""

    WEBHOOK_NOT_FOUND = 951
    """No webhook has this id or name."""
    WEBHOOK_EXISTS = 952
    """A webhook has this name already."""
    WEBHOOK_IN_USE = 953
    """A schedule, or a group that is not done, names the webhook."""
    DELIVERY_NOT_FOUND = 954
    """No delivery has this id, or none any more."""

    MODULE_NOT_FOUND = 1001
    """The registry has no module of this name and tag, or none with this digest."""
    MODULE_EXISTS = 1002
    """The tag is taken by a module with other bytes, and tags do not change here."""
    MODULE_IN_USE = 1003
    """A revision of a function was made of the module."""
    NOT_WASM = 1004
    """What was uploaded is no WebAssembly binary, or a damaged one; the message says what it is."""

    NAMESPACE_NOT_FOUND = 1011
    """No namespace has this id."""
    VALUE_NOT_FOUND = 1012
    """The namespace has no value under this key, or none any more."""
    VALUE_DIFFERS = 1013
    """The value is not the one that the request wants to be there, or is there though it must not be."""
    NOT_A_NUMBER = 1014
    """Nothing can be added to the value: it is no whole number, or would be too large a one."""

    FUNCTION_NOT_FOUND = 1101
    """No function has this name."""
    FUNCTION_EXISTS = 1102
    """A function has this name already."""
    REVISION_NOT_FOUND = 1103
    """The function has no revision of this name."""
    REVISION_EXISTS = 1104
    """The function has a revision of this name already."""
    URL_NOT_FOUND = 1105
    """The revision has no such URL."""
    REVISION_IN_USE = 1106
    """Calls that name no revision go to this one."""
    RECORDED_CALL_NOT_FOUND = 1107
    """The revision has no recorded call of this id, or none any more."""

    NO_JOB = 1299
    """Nothing to do for this worker now. Not an error."""


class ErrorKind(StrEnum):
    """Why an attempt failed."""

    GUEST = "guest"
    """The function said so: exit code other than 0, or an error answer."""
    TRAP = "trap"
    """The module trapped, or its process crashed."""
    TIMEOUT = "timeout"
    """It ran longer than its ``timeout_s``."""
    MEMORY = "memory"
    """It wanted more than its ``memory_bytes``."""
    FUEL = "fuel"
    """It used up its ``fuel``."""
    OUTPUT = "output"
    """It wrote more than its ``output_bytes``."""
    LOAD = "load"
    """The codex is missing, does not compile, or lacks an import or export. Never retried."""
    WORKER = "worker"
    """The worker vanished or was shut down."""
    INPUT = "input"
    """The input blob is missing or broken."""
    PARENT = "parent"
    """A job that it waited for failed or was cancelled: it was never run."""
