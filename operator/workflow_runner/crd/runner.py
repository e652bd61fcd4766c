"""WorkflowRunner: where and how executions run. Read by reconcile and the CRD writer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from workflow_runner.crd.base import Condition, Resource, Rule, SecretKeyRef, SecretRef, rules
from workflow_runner.crd.durations import Duration
from workflow_runner.crd.pods import PodTemplate
from workflow_runner.crd.temporal import Temporal

MAX_RETRIES = 100

LaunchMode = Literal["Job", "Pod", "Pool"]
POOL = "Pool"
TEMPORAL = "temporal"
"""The type of runners whose launched pods keep the state of runs in Temporal."""
ENDPOINT = "Endpoint"
"""How runs of a runner that is reached at an endpoint are started (status.mode); `launch.mode` names the other ways."""

Pattern = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-a-z0-9.*]+$")]
"""A name in which `*` stands for any characters."""

AllowedField = Literal[
    "metadata.labels",
    "metadata.annotations",
    "resources",
    "env",
    "envFrom",
    "nodeSelector",
    "tolerations",
    "affinity",
    "topologySpreadConstraints",
    "priorityClassName",
    "runtimeClassName",
    "schedulerName",
    "imagePullSecrets",
    "securityContext",
    "hostAliases",
    "dnsPolicy",
    "dnsConfig",
    "terminationGracePeriodSeconds",
    "volumes",
    "volumes.persistentVolumeClaim",
    "volumes.ephemeral",
    "volumes.csi",
    "volumes.nfs",
    "volumes.image",
    "volumes.hostPath",
    "volumes.serviceAccountToken",
    "volumes.clusterTrustBundle",
    "volumes.podCertificate",
]


class Launch(Resource):
    """How the operator starts a run."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(
                "self.mode == 'Pool' || (!has(self.replicas) && !has(self.concurrency))",
                "replicas and concurrency are about a pool: mode is not Pool",
                field_path=".mode",
            ),
        )
    )

    mode: LaunchMode = Field(
        default="Job",
        description=(
            "Job: each execution is a batch/v1 Job of its own. Pod: a bare pod, which starts a little sooner. Pool: pods that "
            "wait for executions, and run many."
        ),
    )
    replicas: int | None = Field(default=None, ge=0, le=100, description="How many pods a pool has; 1 if left out.")
    concurrency: int | None = Field(
        default=None, ge=1, le=10_000, description="How many executions a pod of a pool runs at a time; 100 if left out."
    )
    template: PodTemplate | None = Field(
        default=None,
        description=(
            "What the pods of runs shall have, as a partial pod template. Secrets and other things that it names are "
            "those of the execution's namespace: a runner lends none of its own."
        ),
    )


class Limits(Resource):
    """How much the runner takes at a time."""

    max_concurrent_executions: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="So many executions run at a time; further ones are Queued, namespaces taking turns.",
    )


class Defaults(Resource):
    """What holds for executions that say nothing else."""

    timeout: Duration | None = Field(default=None, description="spec.timeout of executions that have none.")
    ttl_after_finished: Duration | None = Field(default=None, description="spec.ttlAfterFinished of executions that have none.")
    retries: int | None = Field(
        default=None,
        ge=0,
        le=MAX_RETRIES,
        description="spec.retries of executions that have none; if left out 0, 6 with snapshots, or 100 with type temporal.",
    )


class Allow(Resource):
    """What executions may set themselves; whatever is not allowed is refused."""

    namespaces: list[Pattern] | None = Field(
        default=None,
        description=(
            "Namespaces whose executions may use this runner besides those of its own; * stands for any characters. "
            "Left out: every namespace if the runner is in the operator's namespace, else no other."
        ),
        max_length=100,
    )
    service_accounts: list[Pattern] = Field(
        default=[],
        description="Service accounts that spec.template.spec.serviceAccountName may name, besides default.",
        max_length=100,
    )
    secrets: list[Pattern] = Field(
        default=[],
        description=(
            "Secrets of its namespace that an execution may use, in spec.secrets, spec.env or spec.template. "
            "A workflow can pass on what it can read: none unless named here."
        ),
        max_length=100,
    )
    stigmer: bool = Field(
        default=False,
        description=(
            "Whether executions may name a workflow in Stigmer (spec.workflow.stigmer). Whoever may create them can then run, "
            "and read the environments of, everything there that this runner's API key can read."
        ),
    )
    template: list[AllowedField] = Field(
        default=["resources"],
        description=(
            "Fields of spec.template that an execution may set. volumes allows configMap, downwardAPI, emptyDir, projected "
            "and, as far as `secrets` allows them, secret volumes; every other kind is named, as in volumes.csi."
        ),
        max_length=50,
    )


class PersistentVolumeClaim(Resource):
    """A claim, by name."""

    claim_name: str = Field(description="Name of the PersistentVolumeClaim.", min_length=1, max_length=253)


class Snapshots(Resource):
    """Where the embedded engine keeps its checkpoints."""

    persistent_volume_claim: PersistentVolumeClaim = Field(
        description="A claim of the execution's namespace; each run uses a folder of its own in it."
    )


class Stigmer(Resource):
    """The Stigmer service that the operator tells of progress."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(
                "!self.endpoint.contains('://')",
                "endpoint is HOST:PORT without a scheme; use useTLS to choose between TLS and plaintext",
                field_path=".endpoint",
            ),
            Rule(
                "self.endpoint.contains('://') "
                "|| self.endpoint.matches('^([A-Za-z0-9.-]+|\\\\[[0-9A-Fa-f:]+\\\\]):[0-9]{1,5}$')",
                "endpoint is HOST:PORT, such as stigmer.example.com:443",
                field_path=".endpoint",
            ),
            Rule(
                "!has(self.caBundle) || self.useTLS",
                "caBundle has no meaning when useTLS is false: remove one of the two",
                field_path=".caBundle",
            ),
            Rule(
                "!has(self.caBundle) || self.caBundle.startsWith('-----BEGIN CERTIFICATE-----')",
                "caBundle holds certificates in PEM form and begins with -----BEGIN CERTIFICATE-----",
                field_path=".caBundle",
            ),
        )
    )

    endpoint: str = Field(description="HOST:PORT of Stigmer's gRPC service.", min_length=3, max_length=300)
    api_key_secret_ref: SecretKeyRef | None = Field(
        default=None,
        description="The Secret, in the runner's namespace, that holds the API key sent as a Bearer token.",
    )
    use_tls: bool = Field(
        default=True,
        alias="useTLS",
        description="Whether to use TLS. Certificates are always verified; false means plaintext, for tests only.",
    )
    ca_bundle: str | None = Field(
        default=None,
        description="Certificates (PEM) to trust, and no others, for a Stigmer with a private CA.",
        max_length=65536,
    )
    api: Literal["progress", "status"] = Field(
        default="progress",
        description=(
            "How progress is told. progress: every event, by ReportProgress of the older API. status: the whole run, by "
            "updateStatus of the newer one; the newest state only."
        ),
    )


class EndpointTls(Resource):
    """How a runner's endpoint proves who it is, and what the operator shows it."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(
                "!has(self.caBundle) || !has(self.caSecretRef)",
                "tls has caBundle or caSecretRef: remove one of the two",
                field_path=".caSecretRef",
            ),
            Rule(
                "!has(self.caBundle) || self.caBundle.startsWith('-----BEGIN CERTIFICATE-----')",
                "caBundle holds certificates in PEM form and begins with -----BEGIN CERTIFICATE-----",
                field_path=".caBundle",
            ),
        )
    )

    ca_bundle: str | None = Field(
        default=None,
        description="Certificates (PEM) to trust, and no others, for an endpoint with a private CA.",
        max_length=65536,
    )
    ca_secret_ref: SecretKeyRef | None = Field(
        default=None, description="The same in a Secret of the runner's namespace, in place of caBundle."
    )
    client_certificate_secret_ref: SecretRef | None = Field(
        default=None,
        description="A Secret of the runner's namespace with tls.crt and tls.key: the certificate that the operator shows.",
    )


_ADDRESS = r"^grpcs?://([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\\[[0-9A-Fa-f:]+\\]):[0-9]{1,5}$"


class WorkflowRunnerSpec(Resource):
    """What a platform team says of a runner."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(
                "!has(self.endpoint) || !has(self.launch)",
                "a runner is reached at its endpoint, or launches: remove endpoint or launch",
                field_path=".launch",
            ),
            Rule(
                "has(self.endpoint) || self.type in ['embedded', 'temporal']",
                "only types embedded and temporal can be launched: for any other, endpoint says where it is",
                field_path=".type",
            ),
            Rule(
                "self.type != 'temporal' || has(self.endpoint) || has(self.temporal)",
                "type temporal needs temporal.address, where Temporal is, or the endpoint of a runner that knows",
                field_path=".temporal",
            ),
            Rule(
                "!has(self.temporal) || self.type == 'temporal'",
                "temporal is about type temporal, and type is another",
                field_path=".temporal",
            ),
            Rule(
                "!has(self.temporal) || !has(self.endpoint)",
                "temporal is for launched pods: the runner at the endpoint has settings of its own",
                field_path=".temporal",
            ),
            Rule(
                "!has(self.temporal) || !has(self.temporal.taskQueue) || (has(self.launch) && self.launch.mode == 'Pool')",
                "temporal.taskQueue is the queue of a pool: launch.mode is not Pool",
                field_path=".temporal",
            ),
            Rule(
                "!has(self.temporal) || !has(self.snapshots)",
                "snapshots are for type embedded: with type temporal the state of runs is in Temporal",
                field_path=".snapshots",
            ),
            Rule(
                "has(self.endpoint) || (!has(self.tls) && !has(self.apiKeySecretRef))",
                "tls and apiKeySecretRef are about an endpoint: there is none",
            ),
            Rule(
                "!has(self.tls) || !has(self.endpoint) || self.endpoint.startsWith('grpcs://')",
                "tls has no meaning for grpc://: write grpcs://",
                field_path=".endpoint",
            ),
            Rule(
                "!has(self.snapshots) || (!has(self.endpoint) && (!has(self.launch) || self.launch.mode != 'Pool'))",
                "snapshots are those of launched pods: a runner at an endpoint keeps its own, and a pool has none",
                field_path=".snapshots",
            ),
            Rule(
                f"!has(self.endpoint) || self.endpoint.matches('{_ADDRESS}')",
                "endpoint is grpc://HOST:PORT, or grpcs://HOST:PORT with TLS",
                field_path=".endpoint",
            ),
        )
    )

    type: str = Field(
        default="embedded",
        description=(
            "The engine. embedded: the interpreter inside the launched pod. temporal: the same with the state of runs in "
            "Temporal, which spec.temporal says where to find. Any other name goes together with endpoint."
        ),
        min_length=1,
        max_length=63,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
    )
    endpoint: str | None = Field(
        default=None,
        description=(
            "Where a runner is that implements WorkflowExecutionService: grpc://HOST:PORT, or grpcs://HOST:PORT with TLS. "
            "Its runs are not launched but handed over there."
        ),
        min_length=8,
        max_length=300,
    )
    tls: EndpointTls | None = Field(
        default=None, description="TLS of a grpcs:// endpoint; left out, the authorities that everybody trusts are."
    )
    api_key_secret_ref: SecretKeyRef | None = Field(
        default=None,
        description="The Secret, in the runner's namespace, with the key that goes to the endpoint as a Bearer token.",
    )
    temporal: Temporal | None = Field(
        default=None, description="Where Temporal is, for launched runs of type temporal, and how they are there."
    )
    launch: Launch | None = Field(default=None, description="How runs are started, where there is no endpoint. Left out: Job.")
    limits: Limits = Field(default=Limits(), description="How much it takes at a time.")
    defaults: Defaults = Field(default=Defaults(), description="What holds for executions that say nothing else.")
    allow: Allow = Field(
        default=Allow(),
        description=(
            "What executions may set themselves. Left out: the default service account, no Secrets, and of the pod "
            "template its resources."
        ),
    )
    snapshots: Snapshots | None = Field(
        default=None,
        description=(
            "Where the embedded engine keeps its checkpoints. With it a restarted pod goes on at its last checkpoint, "
            "and a paused run gives its machine back."
        ),
    )
    paused: bool = Field(default=False, description="true starts nothing new: executions wait as Queued; those that run go on.")
    stigmer: Stigmer | None = Field(
        default=None, description="Where progress is reported; left out, progress goes to the resource's status only."
    )

    @property
    def mode(self) -> str:
        """How runs are started: Job, Pod, Pool or Endpoint."""
        if self.endpoint is not None:
            return ENDPOINT
        return "Job" if self.launch is None else self.launch.mode

    @property
    def takes_over(self) -> bool:
        """Whether runs are handed to somebody who is there already, and have no pod of their own."""
        return self.mode in (ENDPOINT, POOL)

    @property
    def template(self) -> PodTemplate | None:
        """What its pods have."""
        return None if self.launch is None else self.launch.template


class WorkflowRunnerStatus(Resource):
    """What the operator has seen."""

    observed_generation: int | None = Field(
        default=None, description="The generation this status was made for.", json_schema_extra={"format": "int64"}
    )
    conditions: list[Condition] = Field(
        default=[],
        description="Ready, Reconciling, Stalled; Reachable for one at an endpoint.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    mode: str | None = Field(default=None, description="How runs are started: Job, Pod, Pool or Endpoint.")
    image: str | None = Field(default=None, description="The image that runs get; none at an endpoint.")
    replicas: int | None = Field(default=None, description="How many pods a pool shall have.")
    ready_replicas: int | None = Field(default=None, description="How many of them can take executions.")
    selector: str | None = Field(default=None, description="The labels of a pool's pods, as the scale subresource gives them.")
    latency_milliseconds: float | None = Field(
        default=None,
        description="How long the endpoint took to answer a question after its health.",
        json_schema_extra={"format": "double"},
    )
    capabilities: list[str] = Field(default=[], description="What the endpoint offers, each as SERVICE/METHOD.", max_length=64)
    active_executions: int | None = Field(default=None, description="Executions that are started and have not ended.")
    queued_executions: int | None = Field(default=None, description="Executions that wait for their turn.")
