"""Which Stigmer a run reports to: a runner's `spec.stigmer` with its key read from the Secret. Called by reconciler."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Any

import structlog
from pydantic import SecretStr

from workflow_runner import telemetry
from workflow_runner.cluster import Cluster, Forbidden, NotFound
from workflow_runner.crd.base import SecretKeyRef
from workflow_runner.crd.runner import Stigmer
from workflow_runner.reconcile.observed import Runner
from workflow_runner.stigmer.client import Destination

Json = dict[str, Any]

KEY_SECONDS = 15.0
KEYS_KEPT = 256

log = structlog.get_logger(__name__)


class Destinations:
    """Turns what a runner says into an address with a key, read in the runner's namespace and kept for a moment."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._keys: OrderedDict[tuple[str, str, str], tuple[float, SecretStr]] = OrderedDict()

    async def of_runner(self, runner: Runner) -> Destination | None:
        """Where runs of this runner report; None when it names no Stigmer."""
        return None if runner.spec.stigmer is None else await self._resolve(runner.spec.stigmer, runner.namespace)

    async def of_snapshot(self, snapshot: Json) -> Destination | None:
        """The same, from what status.runner kept. Raises ClusterError when the API server is busy."""
        if "stigmer" not in snapshot:
            return None
        return await self._resolve(Stigmer.model_validate(snapshot["stigmer"]), snapshot["namespace"])

    async def problem_of(self, runner: Runner) -> str | None:
        """Why callbacks of this runner would go without a key; None when nothing is wrong. Raises ClusterError."""
        stigmer = runner.spec.stigmer
        if stigmer is None or stigmer.api_key_secret_ref is None:
            return None
        ref = stigmer.api_key_secret_ref
        if (await self._key(runner.namespace, ref)).get_secret_value():
            return None
        return f"The Secret {runner.namespace}/{ref.name} has no usable key {ref.key!r}; callbacks go without one."

    async def _resolve(self, stigmer: Stigmer, namespace: str) -> Destination:
        ref = stigmer.api_key_secret_ref
        return Destination(
            endpoint=stigmer.endpoint,
            api_key=SecretStr("") if ref is None else await self._key(namespace, ref),
            use_tls=stigmer.use_tls,
            ca_pem=stigmer.ca_bundle.encode() if stigmer.ca_bundle else None,
            api=stigmer.api,
        )

    async def _key(self, namespace: str, ref: SecretKeyRef) -> SecretStr:
        place, now = (namespace, ref.name, ref.key), time.monotonic()
        kept = self._keys.get(place)
        if kept is not None and now - kept[0] < KEY_SECONDS:
            return kept[1]
        key = await self._read(namespace, ref)
        self._keys[place] = (now, key)
        self._keys.move_to_end(place)
        while len(self._keys) > KEYS_KEPT:
            self._keys.popitem(last=False)
        return key

    async def _read(self, namespace: str, ref: SecretKeyRef) -> SecretStr:
        """The key; empty where there is none that could be sent, since progress must not stop a run."""
        try:
            text = (await self._cluster.get_secret(namespace, ref.name))[ref.key].decode().strip()
        except (NotFound, Forbidden, KeyError, UnicodeDecodeError) as error:
            return self._unusable(namespace, ref, f"it cannot be read: {type(error).__name__}")
        telemetry.conceal(text)
        if not text.isascii() or not text.isprintable():
            return self._unusable(namespace, ref, "it holds characters that no header can hold")
        return SecretStr(text)

    def _unusable(self, namespace: str, ref: SecretKeyRef, why: str) -> SecretStr:
        log.warning(
            "Stigmer's API key is unusable; callbacks go without one", secret=f"{namespace}/{ref.name}", key=ref.key, why=why
        )
        return SecretStr("")
