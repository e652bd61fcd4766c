"""Whether a caller of the operator's services may do what it asks, by the cluster's own rules. Used by executions.py and
runner_resources.py.
"""

from __future__ import annotations

from typing import Any

from workflow_runner.cluster import Cluster
from workflow_runner.errors import PermissionDenied
from workflow_runner.hosts.executions import Caller

Json = dict[str, Any]


class Access:
    """Asks the API server (LocalSubjectAccessReview) at every call: a right that is taken away is gone."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def check(self, caller: Caller, verb: str, plural: str, namespace: str, name: str = "") -> None:
        """Raises PermissionDenied, or ClusterError where nobody can say."""
        user: Json = {"user": caller.user}
        if caller.groups:
            user["groups"] = list(caller.groups)
        if caller.uid:
            user["uid"] = caller.uid
        if caller.extra:
            user["extra"] = {name: list(values) for name, values in caller.extra.items()}
        if not caller.user or not await self._cluster.may(user, verb, plural, namespace, name):
            what = f"{plural}/{name}" if name else plural
            raise PermissionDenied(
                f"{caller.user or 'nobody'} may not {verb} {what} in namespace {namespace}",
                code="auth.permission-denied",
                hint="a Role and a RoleBinding there would say that it may",
            )
