"""Large payloads in an object store: a folder that all processes share, or a bucket of an S3-compatible server.

An object is named for the hash of its content, so whoever stores the same again makes nothing new (a workflow that is
replayed does), and whoever reads sees whether it is still what was written. Nobody here deletes any: the store's own rules
do (docs/temporal.md). They go by the age of objects, so one that is needed again when it is a day old is written anew.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotSupportedError, PermissionDeniedError, UnauthenticatedError
from obstore.store import LocalStore, S3Store
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
)

from workflow_runner import telemetry
from workflow_runner.errors import InvalidInput, Unavailable, WorkflowRunnerError

if TYPE_CHECKING:  # names that the library has for type checkers only
    from obstore.store import ClientConfig, RetryConfig

NAME = "workflow-runner"
"""Stands in the reference that Temporal holds; the same whatever the store, so that objects can be moved to another one."""
FRESH = timedelta(days=1)
"""An object of this age is written anew when it is needed again: rules that delete go by age."""
DEADLINE_SECONDS = 25.0
AT_ONCE = 8
LARGEST = 80 * 1024 * 1024

# Together below the deadline: a request that begins last has begun within _RETRYING, or the first has taken all of _REQUEST.
_REQUEST, _CONNECT, _RETRYING = timedelta(seconds=12), timedelta(seconds=3), timedelta(seconds=10)
_RETRIES = 3
_KNOWN, _KNOWN_SECONDS = 10_000, 3600.0
_HASH = re.compile(r"[0-9a-f]{64}")
_HINT = "check TEMPORAL_PAYLOAD_STORE, the AWS_* variables, and that the store runs"
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def object_driver(url: str) -> ObjectDriver:
    """The driver for `file:///FOLDER` or `s3://BUCKET/PREFIX`. Address, region and credentials of S3 are those of the AWS_*
    variables; a bucket is named in the path of URLs, as MinIO wants it. Raises InvalidInput, which does not quote the URL."""
    parts = urlsplit(url)
    try:
        if parts.scheme == "file" and parts.netloc in ("", "localhost") and len(parts.path) > 1:
            return ObjectDriver(LocalStore(Path(unquote(parts.path)), mkdir=True))
        if parts.scheme == "s3" and re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,62}", parts.netloc):
            return ObjectDriver(_s3(parts.netloc, parts.path.strip("/")))
    except (BaseError, OSError, ValueError) as error:
        raise InvalidInput(
            f"the object store of TEMPORAL_PAYLOAD_STORE cannot be used: {_first_line(error)}", code="settings.invalid"
        ) from error
    message = "TEMPORAL_PAYLOAD_STORE is not file:///FOLDER or s3://BUCKET/PREFIX"
    raise InvalidInput(message, code="settings.invalid", hint="credentials belong into the AWS_* variables")


def _s3(bucket: str, prefix: str) -> S3Store:
    retries: RetryConfig = {
        "max_retries": _RETRIES,
        "retry_timeout": _RETRYING,
        "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=2), "base": 2},
    }
    # Plain HTTP is used where AWS_ENDPOINT_URL says so, and nowhere else.
    client: ClientConfig = {"timeout": _REQUEST, "connect_timeout": _CONNECT, "allow_http": True}
    return S3Store(bucket, prefix=prefix or None, client_options=client, retry_config=retries)


class ObjectDriver(StorageDriver):
    """Stores payloads and finds them again.

    The library is called in threads of our own: its coroutines end before its own threads have let go of them, and a process
    that ends at that moment is aborted.
    """

    def __init__(self, store: LocalStore | S3Store) -> None:
        self._store = store
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="payloads")
        self._known: OrderedDict[str, float] = OrderedDict()
        """Hashes of what was stored lately, with the time until which it need not be stored again."""

    def name(self) -> str:
        """Its name in references."""
        return NAME

    async def store(self, context: StorageDriverStoreContext, payloads: Sequence[Payload]) -> list[StorageDriverClaim]:
        """Store them; their hashes and sizes are what finds them again. Raises Unavailable, or WorkflowRunnerError where the
        store refuses."""
        return [
            StorageDriverClaim({"sha256": digest, "size": str(size)})
            for digest, size in await self._each(self._put, payloads, "stored")
        ]

    async def retrieve(self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]) -> list[Payload]:
        """Find them again. Raises Unavailable, or WorkflowRunnerError for what is not there, or not what was stored."""
        return await self._each(self._get, claims, "read")

    async def _each(self, work: Callable[[_Item], _Result], items: Sequence[_Item], what: str) -> list[_Result]:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                return await asyncio.gather(*(loop.run_in_executor(self._threads, work, item) for item in items))
        except TimeoutError as error:
            message = f"large data could not be {what} within {DEADLINE_SECONDS:g} s"
            raise Unavailable(message, code="payload.store-unavailable", hint=_HINT) from error

    def _put(self, payload: Payload) -> tuple[str, int]:
        data = payload.SerializeToString(deterministic=True)
        digest = hashlib.sha256(data).hexdigest()
        if not self._is_known(digest):
            try:
                self._write(_path(digest), data)
            except (BaseError, OSError) as error:
                raise _failed("stored", error) from error
            self._remember(digest)
        return digest, len(data)

    def _write(self, path: str, data: bytes) -> None:
        try:
            obstore.put(self._store, path, data, mode="create", use_multipart=False)
        except AlreadyExistsError:
            there = obstore.head(self._store, path)
            # One of another size was left behind by a disk or a machine that failed.
            if there["size"] != len(data) or datetime.now(UTC) - there["last_modified"] > FRESH:
                obstore.put(self._store, path, data, mode="overwrite", use_multipart=False)
        except (NotSupportedError, NotImplementedError):
            # AWS_CONDITIONAL_PUT=disabled, for servers that cannot; the content is the same anyway.
            obstore.put(self._store, path, data, mode="overwrite", use_multipart=False)

    def _get(self, claim: StorageDriverClaim) -> Payload:
        digest, size = claim.claim_data.get("sha256", ""), claim.claim_data.get("size", "")
        if _HASH.fullmatch(digest) is None or not (size.isascii() and size.isdigit() and int(size[:20]) <= LARGEST):
            raise _damaged("a reference to large data is none that this program wrote")
        try:
            found = obstore.get(self._store, _path(digest))
            data = b"" if found.meta["size"] != int(size) else bytes(found.bytes())
        except FileNotFoundError as error:
            raise WorkflowRunnerError(
                f"large data are not in the object store any more: {_path(digest)}",
                code="payload.object-missing",
                hint="another store, or a rule that deleted too early: see docs/temporal.md, large payloads",
            ) from error
        except (BaseError, OSError) as error:
            raise _failed("read", error) from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise _damaged(f"large data in the object store are not what was stored: {_path(digest)}")
        return Payload.FromString(data)

    def _is_known(self, digest: str) -> bool:
        return self._known.get(digest, 0.0) > time.monotonic()

    def _remember(self, digest: str) -> None:
        self._known[digest] = time.monotonic() + _KNOWN_SECONDS
        while len(self._known) > _KNOWN:
            self._known.popitem(last=False)


def _path(digest: str) -> str:
    return f"sha256/{digest[:2]}/{digest}"


def _damaged(message: str) -> WorkflowRunnerError:
    return WorkflowRunnerError(message, code="payload.object-damaged", hint="restore the object, or start the workflow again")


def _failed(what: str, error: Exception) -> WorkflowRunnerError:
    said = _first_line(error)
    if isinstance(error, (PermissionDeniedError, UnauthenticatedError, PermissionError)):
        message = f"the object store does not let large data be {what}: {said}"
        return WorkflowRunnerError(message, code="payload.store-refused", hint="check the credentials and their rights")
    if isinstance(error, FileNotFoundError):
        message = f"large data could not be {what}, for the store's bucket or folder is not there: {said}"
        return Unavailable(message, code="payload.store-unavailable", hint=_HINT)
    return Unavailable(f"large data could not be {what}: {said}", code="payload.store-unavailable", hint=_HINT)


def _first_line(error: Exception) -> str:
    """What the library says, without the insides that follow."""
    return telemetry.redact(str(error).partition("\n")[0])[:500]
