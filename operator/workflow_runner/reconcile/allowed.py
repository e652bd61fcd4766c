"""What an execution may ask of its runner: `not_allowed`, pure. Called by before_launch, and before every further launch.

An author of executions gets no rights through the operator. Whoever may create a WorkflowExecution may perhaps
create no pod and read no Secret, and the operator creates pods for him: so whatever would lend such a right is
refused unless the runner's spec.allow grants it, and what is not known is refused as well.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any, get_args

from msgspec import Struct

from workflow_runner.crd import group, pods
from workflow_runner.crd.execution import WorkflowExecutionSpec
from workflow_runner.crd.runner import AllowedField
from workflow_runner.launchers.merge import supported, unsupported
from workflow_runner.launchers.temporal import is_reserved
from workflow_runner.reconcile.observed import Runner

Json = dict[str, Any]

MAX_MESSAGES = 20
DEFAULT_ACCOUNT = "default"
MOUNT_FOLDERS = ("/mnt", "/data", "/srv")
"""Below these an execution may mount volumes: elsewhere it could take the place of the program that runs it."""

_GRANTABLE = frozenset(get_args(AllowedField))
_PLAIN_VOLUMES = frozenset({"configMap", "downwardAPI", "emptyDir", "projected", "secret"})
_PLAIN_SOURCES = frozenset({"configMap", "downwardAPI", "secret"})
_JOB_LABELS = frozenset({"controller-uid", "job-name"})
_POD_FIELDS_APART = frozenset({"containers", "volumes", "serviceAccountName"})


def not_allowed(
    spec: WorkflowExecutionSpec, execution_namespace: str, runner: Runner, operator_namespace: str | None = None
) -> list[str]:
    """Messages about what the runner does not allow, each with the field, what is allowed and whom to ask; none if
    all is well. `operator_namespace` is where runners are for every namespace unless they say otherwise."""
    try:
        check = _Check(spec, runner, _plain(spec.template), _plain(runner.spec.template))
        of_pods = (check.environment(), check.secrets(), check.template())
        refusals = chain(
            check.namespace(execution_namespace, operator_namespace),
            check.stigmer(),
            *((check.handed_over(),) if runner.spec.takes_over else of_pods),
        )
        found = list(islice(refusals, MAX_MESSAGES + 1))
    except (ValueError, RecursionError):  # pydantic and Python each have a depth that they do not go beyond
        return ["spec.template, or the runner's launch.template, is nested too deeply to be looked at"]
    return found if len(found) <= MAX_MESSAGES else [*found[:MAX_MESSAGES], "… and more"]


def matches(name: str, patterns: list[str]) -> bool:
    """Whether one of the patterns fits the whole name; `*` in them stands for any characters."""
    return any(_fits(name, pattern) for pattern in patterns)


def _fits(name: str, pattern: str) -> bool:
    # Not a regular expression: patterns are strangers' text, and many stars make those slow.
    first, *others = pattern.split("*")
    if not others:
        return name == pattern
    *middle, last = others
    if not name.startswith(first):
        return False
    position = len(first)
    for part in middle:
        found = name.find(part, position)
        if found < 0:
            return False
        position = found + len(part)
    return len(name) - len(last) >= position and name.endswith(last)


class _Check(Struct, frozen=True):
    spec: WorkflowExecutionSpec
    runner: Runner
    asked: Json
    of_runner: Json
    """The execution's template, and the runner's, as they were written."""

    def namespace(self, execution_namespace: str, operator_namespace: str | None) -> Iterator[str]:
        runner, allowed = self.runner, self.runner.spec.allow.namespaces
        if runner.namespace == execution_namespace:
            return
        if allowed is None:
            if self.spec.runner_ref.namespace is None or runner.namespace == operator_namespace:
                return
            yield self._refusal("spec.runnerRef.namespace", "is another namespace", "allow.namespaces", [])
        elif not matches(execution_namespace, allowed):
            yield self._refusal(
                "spec.runnerRef", f"is used from namespace {execution_namespace!r}", "allow.namespaces", allowed
            )

    def stigmer(self) -> Iterator[str]:
        if self.spec.workflow.stigmer is not None and not self.runner.spec.allow.stigmer:
            where = f"the WorkflowRunner {self.runner.namespace}/{self.runner.name}"
            yield f"spec.workflow.stigmer is not allowed: ask whoever looks after {where} to set its spec.allow.stigmer"

    def handed_over(self) -> Iterator[str]:
        """What no run can have that is handed over: the operator may not read Secrets, and there is no pod of its own that
        could mount one, or that a template could be of."""
        runner = f"WorkflowRunner {self.runner.namespace}/{self.runner.name}"
        what = "is at an endpoint" if self.runner.spec.endpoint is not None else "has a pool"
        why = f"Secrets stay where they are, and {runner} {what}: use one that launches, or secrets of its own"
        for name in sorted(self.spec.secrets or {}):
            yield f"spec.secrets.{name}: {why}"
        for number, variable in enumerate(self.spec.env or []):
            if variable.value_from is not None and variable.value_from.secret_key_ref is not None:
                yield f"spec.env[{number}].valueFrom.secretKeyRef: {why}"
        if self.asked:
            yield f"spec.template: {runner} {what}, and launches no pod: remove it"

    def environment(self) -> Iterator[str]:
        of_runner = {str(entry.get("name")) for entry in _workflow_container(self.of_runner).get("env") or []}
        for number, variable in enumerate(self.spec.env or []):
            path = f"spec.env[{number}]"
            if self._is_reserved(variable.name):
                yield f"{path}.name: {variable.name} belongs to the operator"
            if variable.name in of_runner and "env" not in self.runner.spec.allow.template:
                yield self._field(f"{path}.name", f"{variable.name} is set by the runner's launch.template and", "env")
            if variable.value_from is not None and variable.value_from.secret_key_ref is not None:
                yield from self._secret(f"{path}.valueFrom.secretKeyRef.name", variable.value_from.secret_key_ref.name)

    def _is_reserved(self, name: str) -> bool:
        temporal = self.runner.spec.temporal
        return bool(re.match(pods.RESERVED_ENV, name)) or (temporal is not None and is_reserved(temporal, name))

    def secrets(self) -> Iterator[str]:
        for name, source in sorted((self.spec.secrets or {}).items()):
            yield from self._secret(f"spec.secrets.{name}.secretKeyRef.name", source.secret_key_ref.name)

    def template(self) -> Iterator[str]:
        path = "spec.template"
        yield from unsupported(self.asked, path)
        asked, of_runner = supported(self.asked), supported(self.of_runner)
        for field, values in asked["metadata"].items():
            yield from self._metadata(f"{path}.metadata.{field}", field, values, of_runner["metadata"].get(field) or {})
        pod = asked["spec"]
        for field, value in pod.items():
            if field not in _POD_FIELDS_APART:
                yield from self._granted(f"{path}.spec.{field}", field)
                yield from self._secrets_in(value, f"{path}.spec.{field}", is_reference=field == "imagePullSecrets")
        account = pod.get("serviceAccountName", DEFAULT_ACCOUNT)
        accounts = self.runner.spec.allow.service_accounts
        if account != DEFAULT_ACCOUNT and not matches(account, accounts):
            yield self._refusal(f"{path}.spec.serviceAccountName", f"is {account!r}", "allow.serviceAccounts", accounts)
        yield from self._volumes(pod, of_runner["spec"], f"{path}.spec.volumes")
        for number, container in enumerate(pod.get("containers") or []):
            yield from self._container(container, pod, of_runner["spec"], f"{path}.spec.containers[{number}]")

    def _metadata(self, path: str, field: str, values: Json, of_runner: Json) -> Iterator[str]:
        yield from self._granted(path, f"metadata.{field}")
        for key in values:
            domain = key.rpartition("/")[0]
            reserved = domain.endswith(("kubernetes.io", "k8s.io", group.GROUP))
            if reserved or key in _JOB_LABELS:
                yield f"{path}: {key} belongs to Kubernetes or to the operator; only a runner's launch.template can set it"
            elif key in of_runner:
                yield f"{path}: {key} is set by the runner's launch.template; choose another"

    def _volumes(self, pod: Json, of_runner: Json, path: str) -> Iterator[str]:
        taken = {str(volume.get("name")) for volume in of_runner.get("volumes") or []} | set(pods.OWN_VOLUMES)
        for number, volume in enumerate(pod.get("volumes") or []):
            place = f"{path}[{number}]"
            if str(volume.get("name")) in taken:
                yield f"{place}.name: there is a volume {volume.get('name')!r} in every run of this runner; choose another name"
            for kind, source in volume.items():
                if kind == "name":
                    continue
                yield from self._granted(f"{place}.{kind}", "volumes" if kind in _PLAIN_VOLUMES else f"volumes.{kind}")
                for inner, item in enumerate(_list(source, "sources") if kind == "projected" else []):
                    for source_kind in set(item) - _PLAIN_SOURCES:
                        yield from self._granted(f"{place}.projected.sources[{inner}].{source_kind}", f"volumes.{source_kind}")
            yield from self._secrets_in(volume, place)

    def _container(self, container: Json, pod: Json, of_runner: Json, path: str) -> Iterator[str]:
        for field in ("resources", "env", "envFrom"):
            if field in container:
                yield from self._granted(f"{path}.{field}", field)
                yield from self._secrets_in(container[field], f"{path}.{field}")
        for number, variable in enumerate(container.get("env") or []):
            if self._is_reserved(str(variable.get("name"))):
                yield f"{path}.env[{number}].name: {variable.get('name')} belongs to the operator"
        volumes = {str(volume.get("name")) for volume in pod.get("volumes") or []}
        taken = {
            posixpath.normpath(str(mount.get("mountPath")))
            for other in of_runner.get("containers") or []
            for mount in other.get("volumeMounts") or []
        }
        for number, mount in enumerate(container.get("volumeMounts") or []):
            place = f"{path}.volumeMounts[{number}]"
            if str(mount.get("name")) not in volumes:
                yield f"{place}.name: spec.template has no volume {mount.get('name')!r}, and an execution mounts no others"
            folder = posixpath.normpath(str(mount.get("mountPath")))
            if not folder.startswith(tuple(f"{allowed}/" for allowed in MOUNT_FOLDERS)):
                yield f"{place}.mountPath: an execution mounts volumes below {', '.join(MOUNT_FOLDERS)} only"
            elif any(folder == other or folder.startswith(f"{other}/") or other.startswith(f"{folder}/") for other in taken):
                yield f"{place}.mountPath: the runner's launch.template mounts something there; choose another place"

    def _secrets_in(self, value: Any, path: str, *, is_reference: bool = False) -> Iterator[str]:
        """Secrets that are named anywhere in a part of a template, by whatever field."""
        if isinstance(value, list):
            for number, item in enumerate(value):
                yield from self._secrets_in(item, f"{path}[{number}]", is_reference=is_reference)
        elif isinstance(value, dict):
            for name, item in value.items():
                if name == "secretName" or (is_reference and name == "name"):
                    yield from self._secret(f"{path}.{name}", item)
                else:
                    inner = name == "secret" or name.lower().endswith(("secretref", "secretkeyref"))
                    yield from self._secrets_in(item, f"{path}.{name}", is_reference=inner)

    def _secret(self, path: str, name: Any) -> Iterator[str]:
        allowed = self.runner.spec.allow.secrets
        if not isinstance(name, str) or not matches(name, allowed):
            yield self._refusal(path, f"is {name!r}", "allow.secrets", allowed)

    def _granted(self, path: str, field: str) -> Iterator[str]:
        if field in self.runner.spec.allow.template:
            return
        if field in _GRANTABLE:
            yield self._field(path, "", field)
        else:
            yield f"{path} cannot be set by an execution; only a runner's launch.template can have it"

    def _field(self, path: str, why: str, field: str) -> str:
        return self._refusal(path, f"{why} needs {field!r}".strip(), "allow.template", self.runner.spec.allow.template)

    def _refusal(self, path: str, what: str, where: str, allowed: Sequence[str]) -> str:
        runner = f"{self.runner.namespace}/{self.runner.name}"
        names = ", ".join(allowed[:10]) + (", …" if len(allowed) > 10 else "") or "nothing"
        return f"{path} {what}; WorkflowRunner {runner} allows {names} (spec.{where}): ask whoever looks after that runner"


def _plain(template: pods.PodTemplate | None) -> Json:
    return template.to_json() if template is not None else {}


def _workflow_container(template: Json) -> Json:
    containers = supported(template)["spec"].get("containers") or [{}]
    result: Json = containers[0]
    return result


def _list(value: Any, name: str) -> list[Json]:
    items = value.get(name) if isinstance(value, dict) else None
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
