"""What a WorkflowRunner of type temporal says of its Temporal: spec.temporal. Part of runner.py.

Nothing of it is looked at by the operator, which never talks to Temporal: `launchers.temporal` hands it to pods. Secrets
and ConfigMaps are those of the namespace where a pod runs: the execution's, or with launch.mode Pool the runner's.
"""

from __future__ import annotations

from pydantic import ConfigDict, Field

from workflow_runner.crd.base import ConfigMapKeyRef, Resource, Rule, SecretKeyRef, SecretRef, rules
from workflow_runner.crd.durations import Duration

MOST_THRESHOLD = 1_000_000
_ADDRESS = r"^([A-Za-z0-9.-]+|\\[[0-9A-Fa-f:]+\\]):[0-9]{1,5}$"


class TemporalTls(Resource):
    """How Temporal proves who it is, and what a pod shows it."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(
                "!has(self.caSecretRef) || !has(self.caConfigMapRef)",
                "tls has caSecretRef or caConfigMapRef: remove one of the two",
                field_path=".caConfigMapRef",
            ),
            Rule(
                "self.enabled || !(has(self.caSecretRef) || has(self.caConfigMapRef) || has(self.clientCertificateSecretRef) "
                "|| has(self.serverName))",
                "certificates and serverName have no meaning when tls.enabled is false: remove them, or enabled",
                field_path=".enabled",
            ),
        )
    )

    enabled: bool = Field(
        default=True,
        description="Whether to use TLS. Certificates are always verified; false means plaintext, as without tls and a key.",
    )
    ca_secret_ref: SecretKeyRef | None = Field(
        default=None, description="Certificates (PEM) to trust, and no others, for a Temporal with a private CA."
    )
    ca_config_map_ref: ConfigMapKeyRef | None = Field(
        default=None, description="The same in a ConfigMap, in place of caSecretRef."
    )
    client_certificate_secret_ref: SecretRef | None = Field(
        default=None, description="A Secret (kubernetes.io/tls) with tls.crt and tls.key: the certificate that a pod shows."
    )
    server_name: str | None = Field(
        default=None,
        description="The name that Temporal's certificate has to be for; left out, that of the address.",
        min_length=1,
        max_length=253,
    )


class TemporalPayloads(Resource):
    """What becomes of data before Temporal sees them."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(
                "has(self.store) || (!has(self.storeSecretRef) && !has(self.thresholdBytes))",
                "storeSecretRef and thresholdBytes are about a store: there is none",
                field_path=".store",
            ),
            Rule(
                "!has(self.store) || self.store.contains('://')",
                "store is a URL, such as s3://bucket/folder",
                field_path=".store",
            ),
        )
    )

    encryption_keys_secret_ref: SecretRef | None = Field(
        default=None,
        description="A Secret whose keys are ids of encryption keys; with it Temporal sees no data in plain text.",
    )
    store: str | None = Field(
        default=None,
        description="URL of the object store for data that are too large for Temporal, such as s3://bucket/folder.",
        min_length=4,
        max_length=1024,
    )
    store_secret_ref: SecretRef | None = Field(
        default=None,
        description="A Secret that becomes environment variables of the pods: credentials, such as AWS_ACCESS_KEY_ID.",
    )
    threshold_bytes: int | None = Field(
        default=None, ge=1, le=MOST_THRESHOLD, description="What has more bytes goes to the store; 262144 if left out."
    )


class Temporal(Resource):
    """A Temporal server, and how runs are there."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(
                "!self.address.contains('://')",
                "address is HOST:PORT without a scheme; use tls to choose between TLS and plaintext",
                field_path=".address",
            ),
            Rule(
                f"self.address.contains('://') || self.address.matches('{_ADDRESS}')",
                "address is HOST:PORT, such as temporal-frontend.temporal:7233",
                field_path=".address",
            ),
            Rule(
                "!has(self.apiKeySecretRef) || !has(self.tls) || self.tls.enabled",
                "an API key is not sent in plain text: remove tls.enabled: false",
                field_path=".tls",
            ),
            Rule(
                "!has(self.heartbeatTimeout) || duration(self.heartbeatTimeout) >= duration('1s')",
                "heartbeatTimeout is at least 1s",
                field_path=".heartbeatTimeout",
            ),
        )
    )

    address: str = Field(description="HOST:PORT of Temporal's frontend.", min_length=3, max_length=300)
    namespace: str = Field(
        default="default",
        description="The namespace in Temporal, which has to be there.",
        min_length=2,
        max_length=255,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
    )
    api_key_secret_ref: SecretKeyRef | None = Field(
        default=None, description="The Secret, in the namespace where the pods run, with Temporal's API key."
    )
    tls: TemporalTls | None = Field(
        default=None,
        description="TLS to Temporal; left out, there is none, or with an API key the authorities that everybody trusts.",
    )
    payloads: TemporalPayloads | None = Field(
        default=None, description="What becomes of data before Temporal sees them; left out, nothing."
    )
    heartbeat_timeout: Duration | None = Field(
        default=None,
        description=(
            "So long a pod that makes a call may be silent before Temporal takes it for lost, and has the call made again; "
            "10s if left out."
        ),
    )

    task_queue: str | None = Field(
        default=None,
        description=(
            "The task queue that the replicas of a pool share; left out, one with the runner's uid. Runs with a Job or pod of "
            "their own have a queue of their own."
        ),
        min_length=1,
        max_length=200,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:-]*$",
    )

    @property
    def uses_tls(self) -> bool:
        """Whether connections to it have TLS."""
        return self.api_key_secret_ref is not None if self.tls is None else self.tls.enabled
