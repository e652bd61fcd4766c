"""The part of a pod template that a runner or an execution may set. Read by launchers, reconcile and the CRD writer.

In Kubernetes' own words and places, so that what is known of pods holds here: a partial PodTemplateSpec. What
is deep and free of risk in itself (an affinity, a volume's source) is kept as it is; the API server checks it when
the pod is created. `launchers.merge` merges templates, `reconcile.allowed` says who may set what.
"""

from __future__ import annotations

import posixpath
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from workflow_runner.crd.base import Resource, Rule, rules

Json = dict[str, Any]

CONTAINER = "workflow"
"""The one container of a launched pod."""
HANDED, TMP, SNAPSHOTS, PAYLOAD_KEYS = "handed", "tmp", "snapshots", "payload-keys"
OWN_VOLUMES = (HANDED, TMP, SNAPSHOTS, PAYLOAD_KEYS)
"""Volumes of launched pods; a template calls its own otherwise."""
HANDED_FOLDER = "/etc/workflow-runner"
SNAPSHOT_FOLDER = "/var/lib/workflow-runner"
PAYLOAD_KEYS_FOLDER = "/etc/workflow-runner-payload-keys"
"""Not within the other: nothing can be mounted in a folder that is read-only."""
TMP_FOLDER = "/tmp"  # noqa: S108 - the container's own
OWN_FOLDERS = (HANDED_FOLDER, SNAPSHOT_FOLDER, PAYLOAD_KEYS_FOLDER, TMP_FOLDER)
"""Where these are mounted; a template mounts nothing there."""
OWN_VARIABLES = ("WORKFLOW_RUNNER_", "LOG_LEVEL")
"""How the operator's environment variables begin; no template sets them."""
TEMPORAL_VARIABLES = "TEMPORAL_"
"""How the names of those begin that say where Temporal is: the operator's in runs of type temporal."""
STORE_VARIABLES = ("AWS_", "AZURE_", "GOOGLE_", "OBJECT_STORE_")
"""How the names of those begin that decide where a store of payloads is, and who may use it."""
EVENT_VARIABLES = (
    "WORKFLOW_RUNNER_EVENT_SINK",
    "WORKFLOW_RUNNER_EVENT_SINK_TOKEN",
    "WORKFLOW_RUNNER_LIFECYCLE_SINK",
    "WORKFLOW_RUNNER_LIFECYCLE_SINK_TOKEN",
)
"""But for these, which a runner's template may set, and no execution's."""

RESERVED_ENV = "^(WORKFLOW_RUNNER_.*|PYTHON.*|LD_.*|OPENSSL_.*|LOG_LEVEL|PATH)$"
"""Names of environment variables that are the operator's, or decide what program runs: OPENSSL_CONF names libraries."""

_REFUSED_POD: dict[str, tuple[str, str]] = {
    "hostNetwork": ("boolean", "a run does not share the node's network"),
    "hostPID": ("boolean", "a run does not share the node's processes"),
    "hostIPC": ("boolean", "a run does not share the node's IPC"),
    "hostUsers": ("boolean", "the operator decides it"),
    "shareProcessNamespace": ("boolean", "a run has one container"),
    "initContainers": ("array", "a run has one container"),
    "ephemeralContainers": ("array", "a run has one container"),
    "nodeName": ("string", "use nodeSelector or affinity"),
    "restartPolicy": ("string", "use spec.retries"),
    "activeDeadlineSeconds": ("integer", "use spec.timeout"),
    "automountServiceAccountToken": ("boolean", "a run has no token of the Kubernetes API"),
}
_REFUSED_CONTAINER: dict[str, tuple[str, str]] = {
    "image": ("string", "the operator's image runs the workflow"),
    "imagePullPolicy": ("string", "the operator's settings say it"),
    "command": ("array", "the operator's image runs the workflow"),
    "args": ("array", "the operator's image runs the workflow"),
    "securityContext": ("object", "the container has no privileges and a read-only root"),
    "lifecycle": ("object", "the operator decides when a run starts and stops"),
    "livenessProbe": ("object", "a run accepts no connections"),
    "readinessProbe": ("object", "a run accepts no connections"),
    "startupProbe": ("object", "a run accepts no connections"),
    "ports": ("array", "a run accepts no connections"),
    "volumeDevices": ("array", "use volumeMounts"),
}
_TEXTS = ("command", "args")
"""Those of the arrays whose items are text, or the API server would complain of them before it says why."""
REFUSED = {**_REFUSED_POD, **_REFUSED_CONTAINER}
"""Fields of pods and containers that no template may set, with their type and why."""

_KEPT = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_ANY_OBJECT: Json = {**_KEPT}
_ANY_OBJECTS: Json = {"items": {**_KEPT}}

AnyObject = Annotated[Json, Field(json_schema_extra=_ANY_OBJECT)]
AnyObjects = Annotated[list[Json], Field(json_schema_extra=_ANY_OBJECTS, max_length=50)]


def _refusing(table: dict[str, tuple[str, str]], *others: Rule) -> Any:
    """Schema extras that make every field of the table known to the API server, and refused with its reason."""

    def extend(schema: Json) -> None:
        for name, (kind, why) in table.items():
            field: Json = {"type": kind, "description": f"Refused: {why}."}
            if kind == "array":
                field["items"] = {"type": "string"} if name in _TEXTS else {**_KEPT}
                field["maxItems"] = 50
            elif kind == "object":
                field.update(_KEPT)
            schema["properties"][name] = field
        schema["x-kubernetes-validations"] = [
            *(
                Rule(f"!has(self.{name})", f"{name} cannot be set: {why}", field_path=f".{name}")
                for name, (_, why) in table.items()
            ),
            *others,
        ]
        schema["x-kubernetes-preserve-unknown-fields"] = True

    return extend


class _Partial(Resource):
    """A part of a pod template: what is not named here is kept, so that it can be refused by name."""

    model_config = ConfigDict(extra="allow", populate_by_name=False)


class PodMetadata(_Partial):
    """Labels and annotations of the pod; those of this project and of Kubernetes itself are not to be set."""

    model_config = ConfigDict(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})

    labels: dict[str, str] | None = Field(default=None, description="Labels of the pod.", max_length=50)
    annotations: dict[str, str] | None = Field(default=None, description="Annotations of the pod.", max_length=50)


class Quantities(_Partial):
    """Requests and limits."""

    model_config = ConfigDict(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})

    requests: dict[str, Any] | None = Field(
        default=None,
        description="Amounts that are reserved.",
        json_schema_extra={"additionalProperties": {"x-kubernetes-int-or-string": True}},
    )
    limits: dict[str, Any] | None = Field(
        default=None,
        description="Amounts that are not exceeded.",
        json_schema_extra={"additionalProperties": {"x-kubernetes-int-or-string": True}},
    )


class VariableSource(_Partial):
    """Where the value of a variable is. Its kinds are named so that the API server sees one take another's place."""

    model_config = ConfigDict(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})

    secret_key_ref: AnyObject | None = Field(default=None, description="A key of a Secret.")
    config_map_key_ref: AnyObject | None = Field(default=None, description="A key of a ConfigMap.")
    field_ref: AnyObject | None = Field(default=None, description="A field of the pod.")
    resource_field_ref: AnyObject | None = Field(default=None, description="A request or limit of the container.")


class Variable(_Partial):
    """An environment variable, as in a pod."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(
                "!self.name.startsWith('WORKFLOW_RUNNER_') && self.name != 'LOG_LEVEL'"
                f" || self.name in {list(EVENT_VARIABLES)}",
                "environment variables that begin with WORKFLOW_RUNNER_, and LOG_LEVEL, are the operator's",
                field_path=".name",
            ),
            **{"x-kubernetes-preserve-unknown-fields": True},
        )
    )

    name: str = Field(description="Its name.", min_length=1, max_length=256)
    value: str | None = Field(default=None, description="Its value.", max_length=32768)
    value_from: VariableSource | None = Field(default=None, description="Where its value is.")


class VolumeMount(_Partial):
    """A mount, as in a pod."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(
                f"!(self.name in {list(OWN_VOLUMES)})",
                f"the volumes {', '.join(OWN_VOLUMES)} are the operator's: choose another name",
                field_path=".name",
            ),
            Rule(
                f"self.mountPath != '/' && !{list(OWN_FOLDERS)}.exists(own, self.mountPath == own || "
                "self.mountPath.startsWith(own + '/'))",
                f"nothing can be mounted at / nor in {', '.join(OWN_FOLDERS)}: these are the operator's",
                field_path=".mountPath",
            ),
            **{"x-kubernetes-preserve-unknown-fields": True},
        )
    )

    name: str = Field(description="Name of the volume.", min_length=1, max_length=63)
    mount_path: str = Field(description="Where it is mounted.", min_length=1, max_length=1024, pattern="^/")


class Volume(_Partial):
    """A volume, as in a pod. The usual kinds are named so that the API server sees one take another's place."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(
                f"!(self.name in {list(OWN_VOLUMES)})",
                f"the volumes {', '.join(OWN_VOLUMES)} are the operator's: choose another name",
                field_path=".name",
            ),
            **{"x-kubernetes-preserve-unknown-fields": True},
        )
    )

    name: str = Field(description="Its name.", min_length=1, max_length=63)
    config_map: AnyObject | None = Field(default=None, description="Files from a ConfigMap.")
    secret: AnyObject | None = Field(default=None, description="Files from a Secret.")
    projected: AnyObject | None = Field(default=None, description="Files from several sources.")
    downward_api: AnyObject | None = Field(default=None, alias="downwardAPI", description="Files with fields of the pod.")
    empty_dir: AnyObject | None = Field(default=None, description="An empty folder.")
    persistent_volume_claim: AnyObject | None = Field(default=None, description="A claim.")
    ephemeral: AnyObject | None = Field(default=None, description="A claim of the pod's own.")
    csi: AnyObject | None = Field(default=None, description="A driver's volume.")
    nfs: AnyObject | None = Field(default=None, description="An NFS export.")
    image: AnyObject | None = Field(default=None, description="An OCI image.")
    host_path: AnyObject | None = Field(default=None, description="A folder of the node.")


class WorkflowContainer(_Partial):
    """What of the container `workflow` can be set."""

    model_config = ConfigDict(json_schema_extra=_refusing(_REFUSED_CONTAINER))

    name: Literal["workflow"] = Field(description="workflow: the one container of a run.")
    resources: Quantities | None = Field(default=None, description="Requests and limits of the container.")
    env: list[Variable] | None = Field(
        default=None,
        max_length=100,
        description="Further environment variables, as in a pod; those of the operator cannot be replaced.",
    )
    env_from: AnyObjects | None = Field(default=None, description="Environment variables from whole ConfigMaps or Secrets.")
    volume_mounts: list[VolumeMount] | None = Field(
        default=None, max_length=50, description="Where the volumes of `volumes` are mounted."
    )


class PodSecurity(_Partial):
    """User and groups of the pod; it runs without root and without privileges whatever is said here."""

    model_config = ConfigDict(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})

    run_as_user: int | None = Field(default=None, description="The user.", ge=1, json_schema_extra={"format": "int64"})
    run_as_group: int | None = Field(default=None, description="The group.", ge=1, json_schema_extra={"format": "int64"})
    fs_group: int | None = Field(
        default=None, description="The group that owns volumes.", ge=1, json_schema_extra={"format": "int64"}
    )
    fs_group_change_policy: Literal["OnRootMismatch", "Always"] | None = Field(
        default=None, description="When volumes are given to fsGroup."
    )
    supplemental_groups: list[int] | None = Field(
        default=None,
        description="Further groups.",
        max_length=50,
        json_schema_extra={"items": {"type": "integer", "format": "int64", "minimum": 1}},
    )


class PodSpec(_Partial):
    """What of the pod can be set."""

    model_config = ConfigDict(
        json_schema_extra=_refusing(
            _REFUSED_POD,
            Rule(
                "!has(self.containers) || self.containers.size() == 1",
                "a run has one container, called workflow: further containers cannot be added",
                field_path=".containers",
            ),
        )
    )

    containers: list[WorkflowContainer] | None = Field(
        default=None, description="The container `workflow`, and no other.", max_length=8
    )
    node_selector: dict[str, str] | None = Field(default=None, description="Labels of the nodes it may run on.", max_length=50)
    tolerations: AnyObjects | None = Field(default=None, description="Taints it tolerates.")
    affinity: AnyObject | None = Field(default=None, description="Where it likes to run.")
    topology_spread_constraints: AnyObjects | None = Field(default=None, description="How runs are spread.")
    volumes: list[Volume] | None = Field(default=None, max_length=50, description="Further volumes.")
    service_account_name: str | None = Field(default=None, description="Its service account.", min_length=1, max_length=253)
    priority_class_name: str | None = Field(default=None, description="Its priority class.", min_length=1, max_length=253)
    image_pull_secrets: AnyObjects | None = Field(default=None, description="Secrets for pulling the image.")
    security_context: PodSecurity | None = Field(default=None, description="User and groups.")
    host_aliases: AnyObjects | None = Field(default=None, description="Entries of /etc/hosts.")
    dns_policy: Literal["ClusterFirst", "Default", "None"] | None = Field(default=None, description="How names are resolved.")
    dns_config: AnyObject | None = Field(default=None, description="Name servers, search domains and options.")
    runtime_class_name: str | None = Field(default=None, description="Its runtime class.", min_length=1, max_length=253)
    scheduler_name: str | None = Field(default=None, description="Who schedules it.", min_length=1, max_length=253)
    termination_grace_period_seconds: int | None = Field(
        default=None, description="How long it may take to stop.", ge=1, le=3600
    )


class PodTemplate(_Partial):
    """A partial pod template."""

    model_config = ConfigDict(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})

    metadata: PodMetadata | None = Field(default=None, description="Labels and annotations.")
    spec: PodSpec | None = Field(default=None, description="The pod.")

    def to_json(self) -> Json:
        """As it was written, with what no field names."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def is_own_folder(path: str) -> bool:
    """Whether a mount at this path would take the place of the root, or of something in the operator's folders."""
    plain = "/" + posixpath.normpath(path).lstrip("/")
    return plain == "/" or any(plain == own or plain.startswith(own + "/") for own in OWN_FOLDERS)
