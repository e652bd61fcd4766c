"""docs/runner-conformance.md, the requirements of the program and its checks are the same list."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
import yaml
from examples.runners.dag.dag_runner import ENDS, EXECUTION, QUERY

from workflow_runner.cli.conformance import conformance
from workflow_runner.proto.ai.stigmer.agentic.workflowrunner.v1 import interface_pb2, service_pb2
from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import command_pb2, query_pb2
from workflow_runner.runner_checks import interface, profile
from workflow_runner.runner_checks.requirements import REQUIREMENTS
from workflow_runner.runner_checks.suite import CHECKS, select

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "runner-conformance.md").read_text()
ROWS = re.findall(r"^\| ([A-Z]+-[0-9]+) \| (must|offered) \| (.+) \|$", PAGE, re.MULTILINE)


def test_the_page_lists_what_is_asked() -> None:
    told = [(each.id, "must" if each.must else "offered", each.text) for each in REQUIREMENTS.values()]
    assert told == ROWS


def test_every_requirement_has_its_check() -> None:
    assert list(CHECKS) == list(REQUIREMENTS)
    assert len(set(CHECKS.values())) == len(CHECKS)


def test_ids_count_up_within_their_group() -> None:
    groups: dict[str, list[int]] = {}
    for name in REQUIREMENTS:
        group, _, number = name.partition("-")
        groups.setdefault(group, []).append(int(number))
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in groups.values())


def test_the_page_tells_every_status_and_option() -> None:
    for word in ("INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION", "UNIMPLEMENTED"):
        assert f"| {word} |" in PAGE
    options = inspect.signature(conformance).parameters
    assert [name for name in options if name != "endpoint" and f"--{name}" not in PAGE] == []


def test_the_profile_of_the_page_is_one() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 1
    read: list[str] = []

    def read_text(name: str) -> str:
        read.append(name)
        return "tasks: {}"

    found = profile.read(yaml.safe_load(blocks[0]), read_text, "the page")
    assert read == ["documents/succeeds.yaml", "documents/fails.yaml", "documents/long.yaml"]
    assert found.succeeds.output == {"greeting": "Hello, Ada!"}
    assert found.invalid.text == profile.NOTHING_AT_ALL


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        ([], []),
        (["CANCEL-3"], ["CANCEL-3"]),
        (["cancel-3", "OFFER-1"], ["CANCEL-3", "OFFER-1"]),
        (["face"], ["FACE-1", "FACE-2"]),
        (["FACE-"], ["FACE-1", "FACE-2"]),
    ],
)
def test_checks_are_named_by_id_or_group(words: list[str], ids: list[str]) -> None:
    assert select(words) == ids


@pytest.mark.parametrize("word", ["", "-", "CANCEL-99", "CAN", "1"])
def test_other_words_name_nothing(word: str) -> None:
    with pytest.raises(ValueError, match=f"^{word}$"):
        select([word])


def test_services_and_methods_are_those_of_the_protos() -> None:
    services = {
        service.full_name: set(service.methods_by_name)
        for file in (service_pb2, interface_pb2, command_pb2, query_pb2)
        for service in file.DESCRIPTOR.services_by_name.values()
    }
    methods = (
        interface.EXECUTE,
        interface.EXECUTE_ASYNC,
        interface.CANCEL,
        interface.PAUSE,
        interface.RESUME,
        interface.GET_STATUS,
        interface.GET_EVENTS,
        interface.SUBSCRIBE,
    )
    for method in methods:
        assert method.name in services[method.service]
        if method.service == interface.EXECUTION:
            assert method.under(interface.OLDER).name in services[interface.OLDER]
            if method is not interface.EXECUTE:
                assert method.under(interface.NEWER).name in services[interface.NEWER]
    assert (EXECUTION, QUERY, ENDS) == (interface.EXECUTION, interface.QUERY, interface.TERMINAL)
