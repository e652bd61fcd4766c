"""What shows an object (a log line, a failed assertion, a task's `repr`) shows no credential that the object holds."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from tests import canaries
from yarl import URL

import workflow_runner.calls
import workflow_runner.hosts
from workflow_runner import settings
from workflow_runner.calls.agent_service import AgentService
from workflow_runner.calls.grpc import _Asked, _Target
from workflow_runner.calls.messages import Request
from workflow_runner.cli import eventing
from workflow_runner.dsl.model import Authentication
from workflow_runner.expressions import evaluate, schemas
from workflow_runner.hosts.buffer import Kept
from workflow_runner.hosts.elsewhere import HostOptions
from workflow_runner.hosts.event_bus import EventBus
from workflow_runner.hosts.execution_store import Accepted, Stored
from workflow_runner.hosts.executions import StartRequest
from workflow_runner.hosts.local_execution import Environment
from workflow_runner.interpreter import effects

SECRET = canaries.BEARER
ADDRESS = URL(f"http://user:{canaries.URL_PASSWORD}@127.0.0.1/?key={SECRET}")

REQUEST = StartRequest("e", SECRET, {"x": SECRET}, {"x": SECRET}, {"x": SECRET}, {"x": SECRET})

SHOW_ALL = {
    # What an OpenAPI document, a proto or an operator's setting says, never a value of a call.
    "AddressRules",
    "Body",
    "Method",
    "Operation",
    "Parameter",
    "Part",
    "ProcessRules",
    "_Rules",
    # Numbers, words of ours, events of the run (which are told without secrets), subscriptions of listeners.
    "DesiredState",
    "Ended",
    "Kept",
    "Offer",
    "_Listener",
    "_Method",
    "_Pauses",
    "_Stream",
    "_Refused",
    "ControlSettings",
    "OperatorSettings",
    "PodSettings",
    "ServeSettings",
    "WorkerSettings",
    "TlsFiles",
    # Who calls, and which execution it is about.
    "Bounds",
    "Caller",
    "Started",
    # Made from a schema of the document.
    "_Known",
    # A task; what it gives is a Token, which does not show itself.
    "_Pending",
}
PLAIN = {"check", "ends", "file", "idempotency_key", "method", "processes", "protocol", "reference", "size", "status"}
"""Fields that are shown, and whose values are never secret."""

EXAMPLES: dict[type, Any] = {
    Request: Request("GET", ADDRESS, {"Authorization": SECRET}, SECRET.encode()),
    _Target: _Target("127.0.0.1", 1, False, certificate=SECRET, policy=SECRET),  # type: ignore[arg-type]
    _Asked: _Asked({"x": SECRET}, _Target("127.0.0.1", 1, False), "", {"x": SECRET}, {"x": SECRET}, 0.0, SECRET),
    Authentication: Authentication(scheme="basic", members={"x": SECRET}, pointer="", position=None),  # type: ignore[arg-type,dict-item]
    eventing.EventOptions: eventing.EventOptions(None, SECRET, SECRET, SECRET),  # type: ignore[arg-type]
    AgentService: AgentService("127.0.0.1:1", SECRET, ca_pem=SECRET.encode()),
    settings.HostSettings: settings.HostSettings(default_catalog=SECRET),
    Accepted: Accepted(REQUEST, "sha256:…", 0.0, reason=SECRET),
    Environment: Environment(EventBus(), HostOptions(default_catalog=SECRET)),
    StartRequest: REQUEST,
    Stored: Stored(Accepted(REQUEST, "sha256:…", 0.0, reason=SECRET), Kept()),
    settings.StigmerSettings: settings.StigmerSettings("127.0.0.1:1", SECRET),
}


def records() -> Iterator[type]:
    """All Structs where credentials go."""
    modules = [settings, eventing, evaluate, schemas, effects]
    for package in (workflow_runner.calls, workflow_runner.hosts):
        names = [found.name for found in pkgutil.iter_modules(package.__path__) if not found.name.endswith("_child")]
        modules += [importlib.import_module(f"{package.__name__}.{name}") for name in names]
    for module in modules:
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, msgspec.Struct) and value.__module__ == module.__name__:
                yield value
    yield Authentication


def filled(kind: type) -> Any:
    """One that has a secret in every field."""
    if kind in EXAMPLES:
        return EXAMPLES[kind]
    names: tuple[str, ...] = kind.__struct_fields__  # type: ignore[attr-defined]
    return kind(**{name: "" if name in PLAIN else SECRET for name in names})


@pytest.mark.parametrize("kind", [kind for kind in records() if kind.__name__ not in SHOW_ALL], ids=lambda kind: kind.__name__)
def test_a_record_that_may_hold_a_credential_does_not_show_it(kind: type) -> None:
    shown = repr(filled(kind))
    assert kind.__name__ in shown
    assert canaries.found_in(shown + str(filled(kind))) == []


def test_the_search_finds_what_is_shown() -> None:
    assert canaries.found_in(repr(ADDRESS)) != []
