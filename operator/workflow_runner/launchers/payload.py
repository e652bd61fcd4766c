"""The document and input of a run, packed for the pod, and the digest that pins them.

The operator packs (reconcile), the launched pod unpacks (`workflow-runner execute`). The packed text
travels in a pod-template annotation and reaches the pod through a downward-API volume, so that most runs need
no ConfigMap of their own; 128 KiB is half of what Kubernetes allows for all annotations of an object. Longer
text travels in a ConfigMap (launchers.run), which holds 1 MiB.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from typing import Any

from msgspec import Struct

from workflow_runner.errors import InvalidInput

MAX_ANNOTATION = 128 * 1024
"""The longest packed text that travels in an annotation."""
MAX_PACKED = 1024 * 1024
"""What the values of a ConfigMap may have together."""
MAX_UNPACKED = 64 * 1024 * 1024
"""What a pod is willing to unpack: far above what 1 MiB of honest text compresses from."""


class Payload(Struct, frozen=True):
    """What one run runs. `document` is YAML text or an object; `file` names it in messages."""

    document: str | dict[str, Any]
    input: Any
    file: str


def spec_digest(payload: Payload) -> str:
    """`sha256:…` of the canonical JSON of document and input; status.specDigest."""
    canonical = json.dumps([payload.document, payload.input], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def pack(payload: Payload) -> str:
    """The payload as ASCII text; raises InvalidInput (`input.too-large`) above 1 MiB."""
    raw = json.dumps([payload.document, payload.input, payload.file], separators=(",", ":")).encode()
    text = base64.b64encode(zlib.compress(raw, 6)).decode()
    if len(text) > MAX_PACKED:
        raise InvalidInput(
            f"document and input are {len(text):,} bytes after compression; at most {MAX_PACKED:,} can be handed to a run",
            code="input.too-large",
            hint="store large data elsewhere and give the workflow its address",
        )
    return text


def unpack(text: str, digest: str) -> Payload:
    """The payload packed in `text`; raises InvalidInput when it is damaged or is not the one pinned as `digest`."""
    try:
        decompressor = zlib.decompressobj()
        raw = decompressor.decompress(base64.b64decode(text, validate=True), MAX_UNPACKED)
        if decompressor.unconsumed_tail or not decompressor.eof:
            raise ValueError("it is too large or cut off")
        document, value, file = json.loads(raw)
    except (ValueError, zlib.error) as error:
        raise InvalidInput(f"the run's packed input cannot be read: {error}", code="input.damaged") from error
    payload = Payload(document, value, file)
    found = spec_digest(payload)
    if found != digest:
        raise InvalidInput(
            f"the run's input has digest {found}, but the run was pinned to {digest}",
            code="input.digest-mismatch",
            hint="somebody changed the pod's annotation; create a new WorkflowExecution",
        )
    return payload
