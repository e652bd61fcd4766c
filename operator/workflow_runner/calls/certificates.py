"""TLS with a client certificate. The library reads certificates from files only, and keys belong on no disk."""

from __future__ import annotations

import contextlib
import os
import ssl
import tempfile
from collections.abc import Iterator

from workflow_runner.calls.authentication import Certificate
from workflow_runner.calls.messages import fault
from workflow_runner.dsl.problems import CONFIGURATION


def client_context(certificate: Certificate) -> ssl.SSLContext:
    """A context that verifies servers as usual and shows this certificate. Blocks. Raises WorkflowFault."""
    context = ssl.create_default_context()
    passphrase = certificate.passphrase
    text = f"{certificate.chain.strip()}\n{certificate.key.strip()}\n"
    try:
        with _file(text.encode()) as path:
            # Without a passphrase the library would ask for one on the terminal.
            context.load_cert_chain(path, password=passphrase if passphrase is not None else _no_passphrase)
    except (ssl.SSLError, ValueError, OSError) as error:
        detail = "the client certificate cannot be used: certificate and key must be PEM texts that belong together"
        raise fault(CONFIGURATION, f"{detail}, and the passphrase that of the key") from error
    return context


def _no_passphrase() -> str:
    raise ValueError("the key is encrypted, and there is no passphrase")


@contextlib.contextmanager
def _file(content: bytes) -> Iterator[str]:
    """A file with this content as long as the block runs: in memory where the system can do that."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("certificate")
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{descriptor}"
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        yield file.name
