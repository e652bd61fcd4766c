"""Documents are looked at in a child process, and whatever comes of it there is an answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from workflow_runner.controller.sources import Source
from workflow_runner.controller.validation import Validator
from workflow_runner.errors import Internal
from workflow_runner.reconcile.observed import Accepted, Refused

HEAD = "document: {dsl: 1.0.0, namespace: unit, name: checked, version: 0.1.0}\n"


@pytest.fixture
async def validator() -> AsyncIterator[Validator]:
    validator = Validator()
    yield validator
    await asyncio.to_thread(validator.close)


async def test_a_good_document_is_accepted_and_a_bad_one_refused(validator: Validator) -> None:
    accepted = await validator.check(Source(HEAD + "do: [{a: {set: {b: 1}}}]", "spec.workflow.yaml"))
    assert isinstance(accepted, Accepted)
    assert accepted.workflow == "unit/checked:0.1.0"
    refused = await validator.check(Source(HEAD + "do: [{a: {}}]", "spec.workflow.yaml"))
    assert isinstance(refused, Refused)
    assert refused.error["code"] == "task.no-kind"


async def test_a_document_that_finds_a_bug_is_refused_and_others_are_checked(validator: Validator) -> None:
    seen: list[str] = []
    validator.checked = lambda result, seconds: seen.append(result)
    no_text = cast("Any", object())
    refused = await validator.check(Source(HEAD + "do: [{a: {set: {b: 1}}}]", "spec.workflow.yaml", input_text=no_text))
    assert isinstance(refused, Refused)
    assert refused.error["code"] == "internal"
    assert refused.error["detail"].startswith("checking it failed: ")
    assert isinstance(await validator.check(Source(HEAD + "do: [{a: {set: {b: 1}}}]", "spec.workflow.yaml")), Accepted)
    assert seen == ["refused", "accepted"]


async def test_where_there_is_no_child_no_document_is_refused_and_the_next_check_has_one(validator: Validator) -> None:
    source = Source(HEAD + "do: [{a: {set: {b: 1}}}]", "spec.workflow.yaml")
    validator._checks._pool.stop()
    with pytest.raises(Internal):
        await validator.check(source)
    assert isinstance(await validator.check(source), Accepted)
