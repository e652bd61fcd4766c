"""Which Stigmer a run reports to: a runner's `spec.stigmer` with its key read from the Secret. Called by reconciler."""

from __future__ import annotations

from typing import Any

import structlog
from pydantic import SecretStr

from workflow_runner import telemetry
from workflow_runner.cluster import Cluster, ClusterError
from workflow_runner.crd.runner import Stigmer
from workflow_runner.reconcile.observed import Runner
from workflow_runner.stigmer.client import Destination

Json = dict[str, Any]

log = structlog.get_logger(__name__)


class Destinations:
    """Turns what a runner says into an address with a key. Reads one Secret a run, in the runner's namespace."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def of_runner(self, runner: Runner) -> Destination | None:
        """Where runs of this runner report; None when it names no Stigmer."""
        return None if runner.spec.stigmer is None else await self._resolve(runner.spec.stigmer, runner.namespace)

    async def of_snapshot(self, snapshot: Json) -> Destination | None:
        """The same, from what status.runner kept."""
        if "stigmer" not in snapshot:
            return None
        return await self._resolve(Stigmer.model_validate(snapshot["stigmer"]), snapshot["namespace"])

    async def _resolve(self, stigmer: Stigmer, namespace: str) -> Destination:
        key = ""
        if stigmer.api_key_secret_ref is not None:
            ref = stigmer.api_key_secret_ref
            try:
                data = await self._cluster.get_secret(namespace, ref.name)
                key = data[ref.key].decode().strip()
            except (ClusterError, KeyError, UnicodeDecodeError) as error:
                log.warning(
                    "the API key for Stigmer cannot be read; callbacks go without one",
                    secret=f"{namespace}/{ref.name}",
                    key=ref.key,
                    error=type(error).__name__,
                )
        if key:
            telemetry.conceal(key)
        return Destination(
            endpoint=stigmer.endpoint,
            api_key=SecretStr(key),
            use_tls=stigmer.use_tls,
            ca_pem=stigmer.ca_bundle.encode() if stigmer.ca_bundle else None,
        )
