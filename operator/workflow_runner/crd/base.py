"""What the models of both resources share."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

type_any_json: dict[str, Any] = {"x-kubernetes-preserve-unknown-fields": True}

AnyJson = Annotated[Any, Field(json_schema_extra=type_any_json)]
"""Any JSON value, kept by the API server as it is."""


class Rule(dict[str, str]):
    """One CEL rule of the CRD with the message its violation gives (x-kubernetes-validations)."""

    def __init__(self, rule: str, message: str, *, field_path: str | None = None, reason: str | None = None) -> None:
        super().__init__(rule=rule, message=message)
        if field_path:
            self["fieldPath"] = field_path
        if reason:
            self["reason"] = reason


def rules(*items: Rule, **extra: Any) -> dict[str, Any]:
    """JSON-schema extras carrying CEL rules, for a model's or a field's json_schema_extra."""
    return {"x-kubernetes-validations": list(items), **extra}


class Resource(BaseModel):
    """The base of every model: camelCase names on the wire; unknown fields are the API server's to refuse."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)


class SecretRef(Resource):
    """A Secret, by name."""

    name: str = Field(description="Name of the Secret.", min_length=1, max_length=253)


class SecretKeyRef(Resource):
    """One key of a Secret."""

    name: str = Field(description="Name of the Secret.", min_length=1, max_length=253)
    key: str = Field(description="Key within the Secret.", min_length=1, max_length=253)


class ConfigMapKeyRef(Resource):
    """One key of a ConfigMap."""

    name: str = Field(description="Name of the ConfigMap.", min_length=1, max_length=253)
    key: str = Field(description="Key within the ConfigMap.", min_length=1, max_length=253)


class Condition(Resource):
    """A condition in the form of the Kubernetes API conventions."""

    type: str = Field(description="What the condition is about.", max_length=316)
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: str = Field(description="Why, in one CamelCase word.", max_length=1024)
    message: str = Field(description="Why, for people.", max_length=32768)
    last_transition_time: str = Field(description="When the status last changed.", json_schema_extra={"format": "date-time"})
    observed_generation: int | None = Field(default=None, description="The metadata.generation this was found for.")
