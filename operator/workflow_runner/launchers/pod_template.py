"""The pod of a run: the operator's defaults, under the runner's template, under the execution's, under what is
the operator's alone. Called by `job.py` and `pod.py`.

The operator's alone are image and arguments, the variables WORKFLOW_RUNNER_* (but those for events, which are the
runner's) and LOG_LEVEL, with type temporal TEMPORAL_* as well, its volumes and where they are mounted, the restart policy,
and everything that keeps a run from having rights: no API token, no root, no privileges, a read-only root file system.
"""

from __future__ import annotations

import json
from typing import Any

from workflow_runner.crd import group, pods
from workflow_runner.crd.temporal import Temporal
from workflow_runner.launchers import temporal
from workflow_runner.launchers.merge import merged, supported
from workflow_runner.launchers.resources import resources
from workflow_runner.launchers.run import INPUT_KEY, LaunchedRun, LaunchSettings, labels

Json = dict[str, Any]

TOKEN_SECONDS = 3600
TERMINATION_GRACE_SECONDS = 30
USER = 65532
"""The user and group of the image; nobody's on any node."""
HANDED_MODE = 0o440
TOKEN, SECRETS = "token", "secrets"


def pod_template(settings: LaunchSettings, run: LaunchedRun) -> Json:
    """{metadata, spec} of the run's pod."""
    arguments = ["execute", f"--input-file={pods.HANDED_FOLDER}/{INPUT_KEY}", f"--digest={run.digest}"]
    template = _template(settings, run, arguments, _sources(run))
    if not run.input_is_stored:
        template["metadata"]["annotations"][group.ANNOTATION_INPUT] = run.packed
    return template


def termination_template(settings: LaunchSettings, run: LaunchedRun) -> Json:
    """{metadata, spec} of a pod that ends the run's workflow in Temporal: nothing of the workflow's own is handed to it."""
    return _template(settings, run, ["terminate"], temporal.files(run.temporal) if run.temporal else [])


def _template(settings: LaunchSettings, run: LaunchedRun, arguments: list[str], handed: list[Json]) -> Json:
    asked = merged(run.runner_template, run.template)
    metadata, spec = asked["metadata"], asked["spec"]
    container: Json = next(iter(spec.pop("containers", [])), {})
    security = {"runAsUser": USER, "runAsGroup": USER, "fsGroup": USER, "fsGroupChangePolicy": "OnRootMismatch"}
    annotations = dict(metadata.get("annotations") or {})
    return {
        "metadata": {"labels": {**(metadata.get("labels") or {}), **labels(run)}, "annotations": annotations},
        "spec": {
            "terminationGracePeriodSeconds": TERMINATION_GRACE_SECONDS,
            **spec,
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                **security,
                **(spec.get("securityContext") or {}),
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [_container(settings, run, container, arguments)],
            "volumes": [
                *(volume for volume in spec.get("volumes") or [] if volume.get("name") not in pods.OWN_VOLUMES),
                *_volumes(run, handed),
            ],
        },
    }


def _container(settings: LaunchSettings, run: LaunchedRun, asked: Json, arguments: list[str]) -> Json:
    defaults = {
        "requests": {"cpu": settings.cpu_request, "memory": settings.memory_request},
        "limits": {"memory": settings.memory_limit},
    }
    mounts = [mount for mount in asked.get("volumeMounts") or [] if not _is_own_mount(mount)]
    # Of two sources the later one has its way.
    sources = [*(asked.get("envFrom") or []), *(temporal.variable_sources(run.temporal) if run.temporal else [])]
    return {
        **({"envFrom": sources} if sources else {}),
        "name": pods.CONTAINER,
        "image": settings.image,
        "imagePullPolicy": settings.image_pull_policy,
        "args": arguments,
        "env": _environment(settings, run, asked.get("env") or []),
        "resources": resources(defaults, asked.get("resources") or {}),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "volumeMounts": [*mounts, *_mounts(run)],
    }


def _is_own_mount(mount: Json) -> bool:
    return mount.get("name") in pods.OWN_VOLUMES or pods.is_own_folder(str(mount.get("mountPath")))


def _environment(settings: LaunchSettings, run: LaunchedRun, asked: list[Json]) -> list[Json]:
    """The execution's variables, the runner's, the operator's. Kubernetes resolves `$(NAME)` from those that come
    before: what an execution says stands first, and is taken literally, so that it can quote nobody else's."""
    execution = {str(entry.get("name")): _literal(entry) for entry in (*_variables(run.template), *run.env)}
    runner = {str(entry.get("name")): entry for entry in asked if str(entry.get("name")) not in execution}
    stigmer = {name: _literal({"name": name, "value": value}) for name, value in sorted(run.stigmer_values.items())}
    given = execution | runner
    given |= {name: entry for name, entry in stigmer.items() if name not in given}
    others = [entry for name, entry in given.items() if not name.startswith(pods.OWN_VARIABLES)]
    of_temporal: list[Json] = []
    if run.temporal is not None:
        # A store's own variables may be in the runner's template; an execution says nothing of where its data go.
        foreign = {*execution, *stigmer}
        others = [entry for entry in others if not _is_of_temporal(run.temporal, str(entry.get("name")), foreign)]
        of_temporal = temporal.variables(run.temporal)
    return [*others, *_event_variables(run), *_own_variables(settings, run), *of_temporal]


def _is_of_temporal(where: Temporal, name: str, foreign: set[str]) -> bool:
    return name.startswith(pods.TEMPORAL_VARIABLES) or (name in foreign and temporal.is_reserved(where, name))


def _event_variables(run: LaunchedRun) -> list[Json]:
    """Where events go, as the runner says it. Also where it says nothing: a variable from an envFrom must not."""
    of_runner = {str(entry.get("name")): entry for entry in _variables(run.runner_template)}
    return [of_runner.get(name, {"name": name, "value": ""}) for name in pods.EVENT_VARIABLES]


def _variables(template: Json | None) -> list[Json]:
    containers = supported(template or {})["spec"].get("containers") or [{}]
    result: list[Json] = containers[0].get("env") or []
    return result


def _literal(entry: Json) -> Json:
    value = entry.get("value")
    return {**entry, "value": value.replace("$", "$$")} if isinstance(value, str) and "$" in value else entry


def _own_variables(settings: LaunchSettings, run: LaunchedRun) -> list[Json]:
    variables = {
        "WORKFLOW_RUNNER_ENGINE": "embedded" if run.temporal is None else "temporal",
        "WORKFLOW_RUNNER_EXECUTION_UID": run.uid,
        "WORKFLOW_RUNNER_EXECUTION_ID": run.execution_id,
        "WORKFLOW_RUNNER_RUN_ID": run.run_id,
        "WORKFLOW_RUNNER_ATTEMPT": str(run.attempt),
        "WORKFLOW_RUNNER_WORKFLOW_NAME": run.workflow,
        "WORKFLOW_RUNNER_SINK_ENDPOINT": settings.sink.endpoint,
        "WORKFLOW_RUNNER_SINK_CA": settings.sink.ca_pem,
        "WORKFLOW_RUNNER_SINK_TOKEN_FILE": f"{pods.HANDED_FOLDER}/{TOKEN}",
        # Also where they say nothing: a variable from an envFrom must not.
        "WORKFLOW_RUNNER_ALLOW_ADDRESSES": ",".join(settings.allow_addresses),
        "WORKFLOW_RUNNER_DENY_ADDRESSES": ",".join(settings.deny_addresses),
        "WORKFLOW_RUNNER_PROCESSES": "true" if settings.processes else "false",
        "WORKFLOW_RUNNER_PROCESS_TIMEOUT_SECONDS": "" if settings.process_seconds is None else f"{settings.process_seconds:g}",
        "WORKFLOW_RUNNER_DEFAULT_CATALOG": settings.default_catalog or "",
        "LOG_LEVEL": settings.log_level,
    }
    if run.timeout_seconds is not None:
        variables["WORKFLOW_RUNNER_TIMEOUT_SECONDS"] = f"{run.timeout_seconds:.3f}".rstrip("0").rstrip(".")
    if run.secrets:
        variables["WORKFLOW_RUNNER_SECRETS_FOLDER"] = f"{pods.HANDED_FOLDER}/{SECRETS}"
    if run.stigmer_values:
        variables["WORKFLOW_RUNNER_STIGMER_VALUES"] = json.dumps(dict(run.stigmer_values), sort_keys=True).replace("$", "$$")
    if run.stigmer_secrets:
        variables["WORKFLOW_RUNNER_STIGMER_SECRETS"] = ",".join(run.stigmer_secrets)
    if run.snapshot_claim:
        variables["WORKFLOW_RUNNER_SNAPSHOT_FOLDER"] = pods.SNAPSHOT_FOLDER
    return [{"name": name, "value": value} for name, value in variables.items()]


def _mounts(run: LaunchedRun) -> list[Json]:
    mounts: list[Json] = [
        {"name": pods.HANDED, "mountPath": pods.HANDED_FOLDER, "readOnly": True},
        {"name": pods.TMP, "mountPath": pods.TMP_FOLDER},
    ]
    if run.snapshot_claim:
        mounts.append({"name": pods.SNAPSHOTS, "mountPath": pods.SNAPSHOT_FOLDER, "subPath": run.execution_id})
    return [*mounts, *(temporal.mounts(run.temporal) if run.temporal else [])]


def _volumes(run: LaunchedRun, handed: list[Json]) -> list[Json]:
    volumes: list[Json] = [
        {"name": pods.HANDED, "projected": {"defaultMode": HANDED_MODE, "sources": handed}},
        {"name": pods.TMP, "emptyDir": {"sizeLimit": "64Mi"}},
    ]
    if run.snapshot_claim:
        volumes.append({"name": pods.SNAPSHOTS, "persistentVolumeClaim": {"claimName": run.snapshot_claim}})
    return [*volumes, *(temporal.volumes(run.temporal) if run.temporal else [])]


def _sources(run: LaunchedRun) -> list[Json]:
    """Input, token and secrets. One volume for all of them: each is a file system of its own, which the kubelet makes
    and removes."""
    token = {"audience": group.SINK_AUDIENCE, "expirationSeconds": TOKEN_SECONDS, "path": TOKEN}
    of_temporal = temporal.files(run.temporal) if run.temporal else []
    return [_input(run), {"serviceAccountToken": token}, *_secret_sources(run), *of_temporal]


def _input(run: LaunchedRun) -> Json:
    if run.input_is_stored:
        return {"configMap": {"name": run.workload, "items": [{"key": INPUT_KEY, "path": INPUT_KEY}]}}
    annotation = {"fieldPath": f"metadata.annotations['{group.ANNOTATION_INPUT}']"}
    return {"downwardAPI": {"items": [{"path": INPUT_KEY, "fieldRef": annotation}]}}


def _secret_sources(run: LaunchedRun) -> list[Json]:
    """One source a Secret, each key under the name that the workflow knows."""
    items: dict[str, list[Json]] = {}
    for name, (secret, key) in sorted(run.secrets.items()):
        items.setdefault(secret, []).append({"key": key, "path": f"{SECRETS}/{name}"})
    return [{"secret": {"name": secret, "items": entries}} for secret, entries in items.items()]
