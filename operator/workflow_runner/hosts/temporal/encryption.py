"""Encrypts what Temporal holds with AES-256-GCM; `payloads` puts it into the data converter.

A key is a file: its name is the key's id, its content 32 bytes as base64. The id travels with the data, so that keys can be
rotated: one encrypts, all decrypt. Bound to the data (and so not to be changed by who can write Temporal's database) are
the format, the key's id and the value's own metadata; not the workflow, for values move: into children and memos, and to
tools that are not told whose they are.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import logging
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.protobuf.message import DecodeError
from msgspec import Struct
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

from workflow_runner import telemetry
from workflow_runner.errors import InvalidInput, Temporary

log = logging.getLogger(__name__)

ENCODING = b"binary/encrypted"
CURRENT = "current"
"""The file, or symbolic link, that names the key which encrypts."""
KEY_BYTES = 32
MOST_KEYS = 100
LARGEST_FILE = 4096
LOOK_SECONDS = 5.0
"""So long a change of the folder may go unnoticed, unless a key is missing."""

_KEY_ID = "encryption-key-id"
_FORMAT = b"workflow-runner payload 1\n"
_NONCE_BYTES = 12
_OVERHEAD = 256  # more than what encryption adds
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_INLINE_BYTES = 256 * 1024  # more than this is worked on in a thread: a megabyte takes a millisecond


class Key(Struct, frozen=True):
    """A key that was read. `nonces` is another secret, made from it."""

    name: str
    cipher: AESGCM
    nonces: bytes

    def __repr__(self) -> str:
        """Without the secrets."""
        return f"Key({self.name!r})"


class KeyFolder:
    """The keys in a folder, read again when it changes. What is wrong later on is logged, and the keys stay."""

    def __init__(self, folder: Path) -> None:
        """Raises InvalidInput where there is no key, or a file is none."""
        self._folder = folder
        self._seen = _state(folder)
        self._keys, self._current = _read(folder)
        self._looked = time.monotonic()

    def current(self) -> Key:
        """The key that encrypts."""
        self._look(LOOK_SECONDS)
        return self._current

    def named(self, name: str) -> Key:
        """The key of that id. Raises Temporary where there is none: somebody has rotated keys, and it may come yet."""
        self._look(LOOK_SECONDS if name in self._keys else 0.0)
        key = self._keys.get(name)
        if key is None:
            message = f"data are encrypted with the key {name!r}, which is not in {self._folder}"
            raise Temporary(message, code="payload.key-missing", hint="put the file of that key there; it is read again")
        return key

    def _look(self, seconds: float) -> None:
        now = time.monotonic()
        if now - self._looked < seconds:
            return
        self._looked = now
        state = _state(self._folder)
        if state == self._seen:
            return
        self._seen = state
        try:
            self._keys, self._current = _read(self._folder)
        except InvalidInput as error:
            log.warning("the encryption keys have changed and cannot be used; those from before stay: %s", error)
        else:
            log.info("the encryption keys were read again; %r encrypts", self._current.name)


class Encryption(PayloadCodec):
    """Encrypts payloads, and decrypts those that are encrypted; the others were written without keys and stay as they are."""

    def __init__(self, keys: KeyFolder, *, same_from: int | None = None) -> None:
        """Values from `same_from` bytes on are encrypted to the same bytes each time, which tells that two of them are equal;
        None: none are."""
        self._keys = keys
        self._same_from = same_from

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """The payloads, encrypted."""
        key = self._keys.current()
        return [await _done(self._encrypted, payload, key) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """The payloads as they were. Raises Temporary for a key that is missing, InvalidInput for one that does not fit."""
        return [
            payload if payload.metadata.get("encoding") != ENCODING else await _done(_decrypted, payload, self._key_of(payload))
            for payload in payloads
        ]

    def _key_of(self, payload: Payload) -> Key:
        return self._keys.named(payload.metadata.get(_KEY_ID, b"").decode(errors="replace")[:100])

    def _encrypted(self, payload: Payload, key: Key) -> Payload:
        plain = payload.SerializeToString(deterministic=True)
        if self._same_from is not None and len(plain) + _OVERHEAD >= self._same_from:
            # Made from the data, it is as unlikely to be that of others as a random one.
            nonce = hmac.digest(key.nonces, plain, hashlib.sha256)[:_NONCE_BYTES]
        else:
            nonce = os.urandom(_NONCE_BYTES)
        data = nonce + key.cipher.encrypt(nonce, plain, _bound(key))
        return Payload(metadata={"encoding": ENCODING, _KEY_ID: key.name.encode()}, data=data)


async def _done(work: Callable[[Payload, Key], Payload], payload: Payload, key: Key) -> Payload:
    """What `work` makes of it; in a thread where that takes a while."""
    if len(payload.data) > _INLINE_BYTES:
        return await asyncio.to_thread(work, payload, key)
    return work(payload, key)


def _decrypted(payload: Payload, key: Key) -> Payload:
    try:
        plain = key.cipher.decrypt(payload.data[:_NONCE_BYTES], payload.data[_NONCE_BYTES:], _bound(key))
        return Payload.FromString(plain)
    except (InvalidTag, ValueError, DecodeError) as error:
        raise InvalidInput(
            f"data cannot be decrypted with the key {key.name!r}: it is another key of that name, or they are damaged",
            code="payload.key-wrong",
            hint="put the key that they were encrypted with into its file; a new key needs a new name",
        ) from error


def _bound(key: Key) -> bytes:
    return _FORMAT + key.name.encode()


def _state(folder: Path) -> object:
    """Changes when something in the folder does."""
    try:
        with os.scandir(folder) as entries:
            return sorted(_entry_state(entry) for entry in entries)
    except OSError:
        return None


def _entry_state(entry: os.DirEntry[str]) -> tuple[str, int, int, int]:
    try:
        stat = entry.stat()
    except OSError:  # a link that leads nowhere
        return entry.name, 0, 0, 0
    return entry.name, stat.st_ino, stat.st_mtime_ns, stat.st_size


def _read(folder: Path) -> tuple[Mapping[str, Key], Key]:
    """The keys by their ids, and the one that encrypts."""
    try:
        # Names with a dot are what Kubernetes puts beside the files of a Secret.
        files = sorted(file for file in folder.iterdir() if not file.name.startswith("."))
    except OSError as error:
        raise _unusable(f"{folder} cannot be read: {error.strerror}") from error
    keys = {file.name: _key(file) for file in files if file.name != CURRENT}
    if not keys:
        raise _unusable(f"there is no key in {folder}")
    if len(keys) > MOST_KEYS:
        raise _unusable(f"there are more than {MOST_KEYS} keys in {folder}")
    chosen = _chosen(folder / CURRENT) if folder / CURRENT in files else max(keys)
    if chosen not in keys:
        raise _unusable(f"{folder / CURRENT} names {chosen[:100]!r}, which is no key there")
    return keys, keys[chosen]


def _chosen(file: Path) -> str:
    """The id that the file, or the link, names. In a Secret every file is a link, to one of the same name."""
    try:
        target = Path(os.readlink(file)).name if file.is_symlink() else CURRENT
        return target if target != CURRENT else _content(file).decode(errors="replace")
    except OSError as error:
        raise _unusable(f"{file} cannot be read: {error.strerror}") from error


def _key(file: Path) -> Key:
    if _NAME.fullmatch(file.name) is None:
        raise _unusable(f"{file} has a name that no key can have: up to 63 letters, digits, dots, dashes and underscores")
    try:
        content = _content(file)
        secret = base64.b64decode(content, validate=True)
    except OSError as error:
        raise _unusable(f"{file} cannot be read: {error.strerror}") from error
    except binascii.Error as error:
        raise _unusable(f"{file} holds no key in base64") from error
    if len(secret) != KEY_BYTES:
        raise _unusable(f"{file} holds {len(secret)} bytes, and a key has {KEY_BYTES}")
    telemetry.conceal(content.decode())
    return Key(file.name, AESGCM(secret), hmac.digest(secret, _FORMAT + b"nonces", hashlib.sha256))


def _content(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(LARGEST_FILE).strip()


def _unusable(message: str) -> InvalidInput:
    return InvalidInput(
        message, code="payload.keys-unusable", hint="a key is made by: head -c 32 /dev/urandom | base64 > FOLDER/KEY-ID"
    )
