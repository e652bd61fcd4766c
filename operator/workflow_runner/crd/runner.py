"""WorkflowRunner: where and how executions run. Read by reconcile and the CRD writer."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from workflow_runner.crd.base import Resource, Rule, SecretKeyRef, rules


class Launch(Resource):
    """How the operator starts a run."""

    mode: Literal["Job"] = Field(default="Job", description="Job: each execution is a batch/v1 Job of its own.")


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


class WorkflowRunnerSpec(Resource):
    """What a platform team says of a runner."""

    type: Literal["embedded"] = Field(
        default="embedded", description="The engine. embedded: the interpreter inside the launched pod."
    )
    launch: Launch = Field(default=Launch(), description="How runs are started.")
    stigmer: Stigmer | None = Field(
        default=None, description="Where progress is reported; left out, progress goes to the resource's status only."
    )
