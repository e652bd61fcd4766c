"""What becomes of values on their way to Temporal and back; the client and the workers have it as their data converter.

A value is written as JSON that Temporal's tools show, in the order of its members (`JsonConverter`); with keys it is
encrypted (`encryption`), then what is large goes to an object store (`objects`). Without a store what is larger than
Temporal takes is refused here, where the one who passes it on hears of it: refused by the server, the workflow would try
again for ever.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.api.sdk.v1.external_storage_pb2 import ExternalStorageReference
from temporalio.converter import (
    BinaryNullPayloadConverter,
    BinaryPlainPayloadConverter,
    BinaryProtoPayloadConverter,
    CompositePayloadConverter,
    DataConverter,
    DefaultFailureConverter,
    EncodingPayloadConverter,
    ExternalStorage,
    JSONProtoPayloadConverter,
    PayloadConverter,
    value_to_type,
)
from temporalio.exceptions import ApplicationError

from workflow_runner.dsl.json_text import read_json
from workflow_runner.errors import InvalidInput, Temporary, WorkflowRunnerError
from workflow_runner.expressions.programs import dump_strictly
from workflow_runner.hosts.temporal.encryption import ENCODING, Encryption, KeyFolder
from workflow_runner.settings.temporal import PayloadSettings

MOST_INLINE = 2 * 1024 * 1024 - 32 * 1024
"""Bytes of the values that are passed on at once, without a store. Temporal refuses 2 MiB, and metadata and encryption take
some."""
MOST_STORED = 64 * 1024 * 1024
"""The same with a store: twice what one value of a run may have (interpreter/sizes.py)."""

_JSON = b"json/plain"
_REFERENCE = ExternalStorageReference.DESCRIPTOR.full_name.encode()
_write = msgspec.json.Encoder().encode


def data_converter(settings: PayloadSettings) -> DataConverter:
    """The data converter by these settings. Reads the keys: blocks for a moment. Raises InvalidInput."""
    keys = None if settings.keys is None else KeyFolder(settings.keys)
    storage = None
    if settings.store is not None:
        from workflow_runner.hosts.temporal.objects import object_driver  # who has no store need not load its library

        storage = ExternalStorage([object_driver(settings.store)], payload_size_threshold=settings.threshold)
    return DataConverter(
        payload_converter_class=InlineConverter if storage is None else StoredConverter,
        # What goes to the store is encrypted to the same bytes each time, or every replay would leave another object there.
        payload_codec=None if keys is None else Encryption(keys, same_from=None if storage is None else settings.threshold),
        failure_converter_class=Failures if keys is None else EncryptedFailures,
        external_storage=storage,
    )


class PayloadTooLarge(ApplicationError):
    """Values are larger than can be passed on. Raised as Temporal's own error, so that a workflow that does not handle it
    fails, and an activity is not tried again; its type is the code."""

    code = "payload.too-large"

    def __init__(self, size: int, most: int, hint: str) -> None:
        super().__init__(
            f"data of {size:,} bytes are more than the {most:,} that can be passed on ({hint})",
            type=self.code,
            non_retryable=True,
        )


class JsonConverter(EncodingPayloadConverter):
    """JSON with the members in their order; integers are exact, and NaN is null."""

    @property
    def encoding(self) -> str:
        """Its name in the payload's metadata."""
        return _JSON.decode()

    def to_payload(self, value: Any) -> Payload:
        """The payload of a value: JSON, or what msgspec can write. Raises TypeError for other things, RecursionError."""
        try:
            data = _write(value)
        except UnicodeEncodeError:  # half of a surrogate pair: JSON can say that in ASCII only
            data = _in_ascii(value)
        return Payload(metadata={"encoding": _JSON}, data=data)

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        """The value, as the type that is wanted. Raises RuntimeError for what is not JSON, or not of that type."""
        try:
            value = read_json(payload.data)
        except ValueError as error:
            raise RuntimeError("the data are not JSON") from error
        if type_hint is None:
            return value
        try:
            if isinstance(type_hint, type) and issubclass(type_hint, msgspec.Struct):
                return msgspec.convert(value, type_hint)
            return value_to_type(type_hint, value)
        except (TypeError, ValueError) as error:
            raise RuntimeError(f"the data are not of type {type_hint}") from error


def _in_ascii(value: Any) -> bytes:
    plain = msgspec.to_builtins(value, str_keys=True)
    try:
        return dump_strictly(plain).encode()
    except ValueError:
        return dump_strictly(json.loads(json.dumps(plain), parse_constant=lambda _: None)).encode()


class _ReferenceConverter(JSONProtoPayloadConverter):
    """Messages as JSON. One that stands for an object in a store is no value: it comes here where there is no store."""

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        if payload.metadata.get("messageType") == _REFERENCE:
            message = "the data are in an object store, and this process has none"
            raise InvalidInput(
                message, code="payload.no-store", hint="set TEMPORAL_PAYLOAD_STORE to the store of those who wrote them"
            )
        return super().from_payload(payload, type_hint)


class _EncryptedConverter(EncodingPayloadConverter):
    """For what is still encrypted when it comes here: there are no keys."""

    @property
    def encoding(self) -> str:
        return ENCODING.decode()

    def to_payload(self, value: Any) -> Payload | None:
        return None

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        message = "the data are encrypted, and this process has no keys"
        raise InvalidInput(message, code="payload.no-keys", hint="set TEMPORAL_PAYLOAD_KEYS to a folder with their keys")


class _Converter(CompositePayloadConverter):
    """All kinds of values. The SDK makes it anew for each workflow, with no arguments."""

    most = MOST_STORED
    hint = "pass a reference to the data instead"

    def __init__(self) -> None:
        super().__init__(
            BinaryNullPayloadConverter(),
            BinaryPlainPayloadConverter(),
            # Others may know fields that were added since.
            _ReferenceConverter(ignore_unknown_fields=True),
            BinaryProtoPayloadConverter(),
            _EncryptedConverter(),
            JsonConverter(),
        )

    def to_payloads(self, values: Sequence[Any]) -> list[Payload]:
        payloads = super().to_payloads(values)
        size = sum(len(payload.data) for payload in payloads)
        if size > self.most:
            raise PayloadTooLarge(size, self.most, self.hint)
        return payloads


class StoredConverter(_Converter):
    """Where large values go to a store."""


class InlineConverter(_Converter):
    """Where all values go to Temporal itself."""

    most = MOST_INLINE
    hint = "set TEMPORAL_PAYLOAD_STORE, so that large data go to an object store, or pass a reference to the data instead"


class Failures(DefaultFailureConverter):
    """Failures as the SDK writes them. An error of this project has its code as the type, and is tried again only if that
    may help."""

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        """Writes the exception into `failure`."""
        if isinstance(exception, WorkflowRunnerError):
            error = ApplicationError(str(exception), type=exception.code, non_retryable=not isinstance(exception, Temporary))
            error.__traceback__, error.__cause__ = exception.__traceback__, exception.__cause__
            error.__suppress_context__ = True
            exception = error
        super().to_failure(exception, payload_converter, failure)


class EncryptedFailures(Failures):
    """The same, with messages and stack traces where the codec encrypts them.

    What this package says of payloads stays plain: it has no data in it, and tells those without keys why a run stands still.
    """

    def __init__(self) -> None:
        DefaultFailureConverter.__init__(self, encode_common_attributes=True)
        self._plain = Failures()

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        """Writes the exception into `failure`."""
        if isinstance(exception, WorkflowRunnerError) and exception.code.startswith("payload."):
            self._plain.to_failure(exception, payload_converter, failure)
        else:
            super().to_failure(exception, payload_converter, failure)
