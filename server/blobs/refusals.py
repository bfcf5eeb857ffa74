"""Why an S3 server does not do what it was asked, in words that say what to do."""

from botocore.exceptions import (
    ClientError,
    ConnectionError as ConnectionFailed,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)

from piecework.server.errors import BlobsAway, BlobsRefused
from piecework.server.settings import BlobPlace

KEYS = "S3 does not take the key of this server: see AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
REGION = "the bucket is in another region: set AWS_REGION"
ADVICE = {
    "InvalidAccessKeyId": KEYS,
    "SignatureDoesNotMatch": KEYS,
    "InvalidToken": KEYS,
    "ExpiredToken": "the key of this server for S3 has expired",
    "AccessDenied": "S3 refuses it to the key of this server: it needs rights to list, read, write and delete",
    "AllAccessDisabled": "S3 refuses it to the key of this server",
    "403": "S3 refuses it to the key of this server: it needs rights to list, read, write and delete",
    "NoSuchBucket": "there is no such bucket: make it, or name another",
    "InvalidBucketName": "S3 does not take such a name",
    "PermanentRedirect": REGION,
    "AuthorizationHeaderMalformed": REGION,
    "301": REGION,
    "RequestTimeTooSkewed": "the clock of this machine, or that of S3, is wrong by more than a quarter of an hour",
}
"""What somebody must change first, by S3's word for it."""


def explain(error: Exception, place: BlobPlace, endpoint: str) -> BlobsAway:
    """Return a failure of a request as an error of ours."""
    where = f"{place} at {endpoint}" if endpoint else str(place)
    if isinstance(error, ClientError):
        return _explain_answer(error, where)
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        advice = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role"
        return BlobsRefused(f"{where}: there is no key for S3; {advice}")
    if isinstance(error, ConnectionFailed | HTTPClientError):
        return BlobsAway(f"{where}: S3 does not answer")
    return BlobsRefused(f"{where}: S3 cannot be used: {error}")


def _explain_answer(error: ClientError, where: str) -> BlobsAway:
    told = error.response.get("Error", {})
    code, message = str(told.get("Code", "")), str(told.get("Message", ""))
    if code in ADVICE:
        return BlobsRefused(f"{where}: {ADVICE[code]} ({code})")
    return BlobsAway(f"{where}: S3 cannot do it now: {code}: {message}")
