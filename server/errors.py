"""What can go wrong in the control server. The docstring of a class says when; no HTTP status lives here."""

from piecework.protocol.codes import Code


class ServerError(Exception):
    """Something that a caller did, or that happened around the server, stops a request."""

    code = Code.ERROR
    is_logged = False
    """Whether the log has told of it already."""
    who: str | None = None
    """Whose request it stops: the name of the token, where the audit tells of it."""


class InvalidRequest(ServerError):
    """A field or parameter has a value that the server cannot use."""

    code = Code.INVALID


class BodyEncoded(ServerError):
    """The body is compressed, or has another coding that this server would have to undo."""

    code = Code.BAD_BODY


class BodyBroken(ServerError):
    """The body ended before it was complete, or is not framed as it must be."""

    code = Code.BAD_BODY


class BodyTooLarge(ServerError):
    """The body, or a value in it, is larger than the server takes."""

    code = Code.TOO_LARGE


class CapacityReached(ServerError):
    """A cap on what the server holds at once is reached."""

    code = Code.BUSY


class QuotaReached(ServerError):
    """A token has submitted as many jobs as it may for now. Nothing of the request was stored."""

    code = Code.QUOTA

    def __init__(self, message: str, retry_after_s: int | None = None) -> None:
        """``retry_after_s``: seconds after which there is room again; None: nobody knows."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Stopping(ServerError):
    """The server is being stopped."""

    code = Code.STOPPING


class StorageFull(ServerError):
    """The disk is full. Nothing of the request was stored."""

    code = Code.STORAGE_FULL


class BlobsAway(ServerError):
    """The store of large blobs does not answer, or cannot do it now. Nothing of the request was stored."""

    code = Code.BLOBS_AWAY


class BlobsRefused(BlobsAway):
    """The store of large blobs will not serve this server until somebody changes a key, a right or a name."""


class BlobDamaged(ServerError):
    """The store of large blobs gave other bytes than those of a blob."""

    code = Code.BLOB_DAMAGED


class DatabaseAway(ServerError):
    """The database does not answer. Nothing of the request was acknowledged."""

    code = Code.DATABASE_AWAY


class SchemaMismatch(ServerError):
    """The database was made by another version of the program."""


class MigrationRefused(ServerError):
    """The database cannot be migrated as was asked, or not now; the message says why, and what was done before."""


class Unauthorized(ServerError):
    """No valid token came with the request."""

    code = Code.UNAUTHORIZED


class Forbidden(ServerError):
    """The caller is known, or is a web page from elsewhere, and may not do this."""

    code = Code.FORBIDDEN


class BlobNotFound(ServerError):
    """No blob has this id. The message is the one that older clients know."""

    code = Code.BLOB_NOT_FOUND

    def __init__(self, message: str = "BLOB data object is not exist") -> None:
        super().__init__(message)


class UploadWithoutFile(ServerError):
    """The upload has no part named ``file``."""

    code = Code.UPLOAD_WITHOUT_FILE


class UploadBroken(ServerError):
    """The upload ended before its body was complete."""

    code = Code.UPLOAD_BROKEN


class BlobInUse(ServerError):
    """A lambda, a module, an unfinished job or a schedule uses the blob."""

    code = Code.BLOB_IN_USE


class LambdaNotFound(ServerError):
    """No lambda has this id."""

    code = Code.LAMBDA_NOT_FOUND


class LambdaInUse(ServerError):
    """Jobs of the lambda have not ended, or a function is made of it."""

    code = Code.LAMBDA_IN_USE


class ModuleInvalid(ServerError):
    """The codex cannot run under the runtime that the lambda names."""

    code = Code.MODULE_INVALID


class WorkerNotFound(ServerError):
    """No worker has this id: it must register again."""

    code = Code.WORKER_NOT_FOUND


class WorkerRetired(ServerError):
    """The worker was retired: it must register again."""

    code = Code.WORKER_RETIRED


class WorkerUnfit(ServerError):
    """The worker cannot do what is asked of it; the message says why."""

    code = Code.WORKER_UNFIT


class JobNotFound(ServerError):
    """No job has this id."""

    code = Code.JOB_NOT_FOUND


class ReceiptNotFound(ServerError):
    """The job has no receipt; the message says why."""

    code = Code.RECEIPT_NOT_FOUND


class LimitNotFound(ServerError):
    """No limit has this key."""

    code = Code.LIMIT_NOT_FOUND


class GroupNotFound(ServerError):
    """No group has this id or name."""

    code = Code.GROUP_NOT_FOUND


class GroupConflict(ServerError):
    """The group is sealed, or its name belongs to one that is open."""

    code = Code.GROUP_CONFLICT


class LeaseLost(ServerError):
    """The outcome does not come under the job's current lease."""

    code = Code.LEASE_LOST


class KeyConflict(ServerError):
    """A job with other content has the same idempotency key."""

    code = Code.KEY_CONFLICT


class BadTransition(ServerError):
    """The job cannot go from its state to the one asked for."""

    code = Code.BAD_TRANSITION


class ScheduleNotFound(ServerError):
    """No schedule has this id or name."""

    code = Code.SCHEDULE_NOT_FOUND


class ScheduleExists(ServerError):
    """A schedule has this name already."""

    code = Code.SCHEDULE_EXISTS


class FeedGone(ServerError):
    """What follows the number in the feed is not kept any more."""

    code = Code.FEED_GONE


class WebhookNotFound(ServerError):
    """No webhook has this id or name."""

    code = Code.WEBHOOK_NOT_FOUND


class WebhookExists(ServerError):
    """A webhook has this name already."""

    code = Code.WEBHOOK_EXISTS


class WebhookInUse(ServerError):
    """A schedule, or a group that is not done, names the webhook."""

    code = Code.WEBHOOK_IN_USE


class DeliveryNotFound(ServerError):
    """No delivery has this id."""

    code = Code.DELIVERY_NOT_FOUND


class ModuleNotFound(ServerError):
    """The registry has no module of this name and tag, or none with this digest."""

    code = Code.MODULE_NOT_FOUND


class ModuleExists(ServerError):
    """The tag is taken by a module with other bytes."""

    code = Code.MODULE_EXISTS


class ModuleInUse(ServerError):
    """A revision of a function was made of the module."""

    code = Code.MODULE_IN_USE


class NotWasm(ServerError):
    """What was uploaded is no sound wasm binary."""

    code = Code.NOT_WASM


class NamespaceNotFound(ServerError):
    """No namespace has this id."""

    code = Code.NAMESPACE_NOT_FOUND


class ValueNotFound(ServerError):
    """The namespace has no value under this key."""

    code = Code.VALUE_NOT_FOUND


class ValueDiffers(ServerError):
    """The value is not as the request wants it to be before it is changed."""

    code = Code.VALUE_DIFFERS


class NotANumber(ServerError):
    """Nothing can be added to the value."""

    code = Code.NOT_A_NUMBER


class FunctionNotFound(ServerError):
    """No function has this name."""

    code = Code.FUNCTION_NOT_FOUND


class FunctionExists(ServerError):
    """A function has this name already."""

    code = Code.FUNCTION_EXISTS


class RevisionNotFound(ServerError):
    """The function has no revision of this name."""

    code = Code.REVISION_NOT_FOUND


class RevisionExists(ServerError):
    """The function has a revision of this name already."""

    code = Code.REVISION_EXISTS


class UrlNotFound(ServerError):
    """The revision has no such URL."""

    code = Code.URL_NOT_FOUND


class RevisionInUse(ServerError):
    """Calls that name no revision go to this one."""

    code = Code.REVISION_IN_USE


class RecordedCallNotFound(ServerError):
    """The revision has no recorded call of this id."""

    code = Code.RECORDED_CALL_NOT_FOUND


class InvalidParameter(InvalidRequest):
    """An id in the path or a query parameter cannot be read."""
