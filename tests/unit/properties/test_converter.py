"""Whatever a spec holds, the converter makes a document of it or says what is wrong, in its own words."""

from __future__ import annotations

from typing import Any

from google.protobuf.struct_pb2 import Struct
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.stigmer.specs import DOCUMENT
from tests.unit.stigmer.test_converter import KINDS

from workflow_runner.dsl.text_reader import read_text
from workflow_runner.proto.ai.stigmer.agentic.workflow.v1.spec_pb2 import WorkflowDocument, WorkflowSpec
from workflow_runner.proto.ai.stigmer.commons.apiresource import enum_pb2 as kinds
from workflow_runner.stigmer.converter import ConversionFailed, Converted, convert

CONFIGS = {
    "SET": ("variables",),
    "HTTP_CALL": ("method", "endpoint", "uri", "headers", "body", "timeout_seconds"),
    "GRPC_CALL": ("service", "method", "request"),
    "CALL_ACTIVITY": ("activity", "input"),
    "SWITCH": ("cases", "name", "when", "then"),
    "FOR": ("each", "in", "do", "name", "kind", "task_config"),
    "FORK": ("branches", "compete", "name", "do"),
    "TRY": ("try", "catch", "as", "do"),
    "LISTEN": ("to", "mode", "signals", "id", "type"),
    "WAIT": ("seconds",),
    "RAISE": ("error", "message"),
    "RUN": ("workflow", "input"),
    "AGENT_CALL": ("agent", "scope", "message", "env", "config", "model", "timeout", "temperature"),
}
NAMES = sorted({name for names in CONFIGS.values() for name in names} | {"taskConfig", "export", "flow", "x/y", ""})

texts = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["one", "organization", "WORKFLOW_TASK_KIND_SET", "GET", "https://x.test/", "end", "h:1/p.S"]),
    st.lists(
        st.sampled_from(["${", "}", ".item", ".error", ".a", "|", '"', "\\(", ")", "(", " ", "$data", "#", "TOKEN"]), max_size=8
    ).map("".join),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 2**40), st.floats(), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)),
    max_leaves=12,
)


def fill(message: Any, value: Any) -> None:
    """A Struct's value; json_format takes no NaN."""
    match value:
        case bool():
            message.bool_value = value
        case int() | float():
            message.number_value = value
        case str():
            message.string_value = value
        case list():
            message.list_value.SetInParent()
            for item in value:
                fill(message.list_value.values.add(), item)
        case dict():
            message.struct_value.SetInParent()
            for name, item in value.items():
                fill(message.struct_value.fields[name], item)
        case _:
            message.null_value = 0


def struct(config: dict[str, Any]) -> Struct:
    made = Struct()
    for name, item in config.items():
        fill(made.fields[name], item)
    return made


def outcome(spec: WorkflowSpec) -> Converted | ConversionFailed:
    try:
        return convert(spec)
    except ConversionFailed as error:
        return error


@st.composite
def changed(draw: st.DrawFn) -> tuple[int, dict[str, Any]]:
    """A config that is right, with something in it exchanged."""
    kind, config, _ = draw(st.sampled_from(list(KINDS.values())))

    def altered(value: Any) -> Any:
        if draw(st.integers(0, 9)) == 0:
            return draw(values)
        if isinstance(value, dict):
            return {name: altered(item) for name, item in value.items()}
        if isinstance(value, list):
            return [altered(item) for item in value]
        return value

    found = {name: altered(item) for name, item in config.items()}
    return kinds.WorkflowTaskKind.Value(f"WORKFLOW_TASK_KIND_{kind}"), found


arbitrary = st.tuples(st.integers(0, 14), st.dictionaries(st.sampled_from(NAMES), values, max_size=5))


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "end", ""]), st.one_of(arbitrary, changed()), texts, texts), min_size=1, max_size=3
    )
)
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_a_document_or_an_explanation(tasks: list[tuple[str, tuple[int, dict[str, Any]], str, str]]) -> None:
    spec = WorkflowSpec(document=WorkflowDocument(**DOCUMENT))
    for name, (kind, config), export, then in tasks:
        task = spec.tasks.add(name=name, kind=kind, task_config=struct(config))
        setattr(task.export, "as", export)
        task.flow.then = then
    converted = outcome(spec)
    if isinstance(converted, ConversionFailed):
        assert any(each.severity == "error" for each in converted.diagnostics)
        assert all(each.code and each.file == "WorkflowSpec" for each in converted.diagnostics)
        return
    root, complaints = read_text(converted.yaml)
    assert (root.json, complaints) == (converted.document, [])
    assert convert(spec).document == converted.document


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_a_text_without_an_expression_is_kept_letter_for_letter(text: str) -> None:
    if "${" in text:
        return
    spec = WorkflowSpec(document=WorkflowDocument(**DOCUMENT))
    spec.tasks.add(name="a", kind=kinds.WORKFLOW_TASK_KIND_SET, task_config=struct({"variables": {"x": text}}))
    root, _ = read_text(convert(spec).yaml)
    assert root.json["do"][0]["a"]["set"]["x"] == text  # type: ignore[index,call-overload]
