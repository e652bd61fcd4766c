"""env_vars: what the document reads as `$secrets`, and what its processes see."""

from __future__ import annotations

import json

from aiohttp import web
from tests import canaries
from tests.integration.calls.server import http_server
from tests.integration.serve.conftest import Serve
from tests.integration.serve.served import Served, refused, request

from workflow_runner.telemetry import MOST_SECRETS

SECRET = canaries.WORKFLOW_SECRET


async def quoting(request: web.Request) -> web.StreamResponse:
    """Says what it was given, as careless services do."""
    return web.Response(status=401, text=f"bad credentials: {request.headers.get('Authorization')}, {await request.text()}")


async def test_a_secret_goes_where_the_document_sends_it_and_into_no_event(served: Served) -> None:
    async with http_server(quoting) as world:
        await served.start_run(
            f"""
            use: {{secrets: [token]}}
            do:
              - ask:
                  try:
                    - call:
                        call: http
                        with:
                          method: post
                          endpoint: '{world.url}'
                          headers: {{authorization: '${{ "Bearer " + $secrets.token }}'}}
                          body: {{given: '${{ $secrets.token }}'}}
                  catch: {{errors: {{with: {{status: 500}}}}}}
            """,
            env_vars={"token": SECRET, "other": "plain"},
        )
        ended = await served.end()
        assert world.seen[0].headers["authorization"] == f"Bearer {SECRET}"
        assert json.loads(world.seen[0].body) == {"given": SECRET}
    assert ended.status == "failed"
    assert canaries.found_in(f"{ended} {await served.story()}") == []


async def test_only_what_the_document_names_is_a_secret(served: Served) -> None:
    said = await refused(
        served.services.execution.ExecuteAsync(
            request("do: [{use: {set: {n: '${ $secrets.token }'}}}]", env_vars={"token": SECRET})
        )
    )
    assert said.reason == "secret.undeclared"
    text = "use: {secrets: [token]}\ndo: [{use: {set: {n: '${ $secrets.token }'}}}]"
    await served.start_run(text, env_vars={"other": SECRET})
    ended = await served.end()
    assert (ended.status, ended.error.status, "given no value" in ended.error.detail) == ("failed", 403, True)


async def test_a_secret_stays_concealed_when_a_thousand_others_came_after_it(served: Served) -> None:
    text = """
    use: {secrets: [token]}
    do:
      - nap: {wait: PT10M}
      - fail:
          raise: {error: {type: 'https://example.com/e', status: 400, title: t, detail: '${ "it was " + $secrets.token }'}}
    """
    await served.start_run(text, env_vars={"token": SECRET})
    await served.pause()
    await served.reaches("paused")
    quick = "use: {secrets: [token]}\ndo: [{step: {set: {n: 1}}}]"
    for number in range(MOST_SECRETS + 10):
        await served.start_run(quick, f"run-{number}-quick", env_vars={"token": f"another-secret-{number}"})
    await served.cancel()
    failing = text.replace("- nap: {wait: PT10M}", "- nap: {wait: PT0.01S}")
    await served.start_run(failing, "failing", env_vars={"token": SECRET})
    ended = await served.end("failing")
    assert (ended.status, "it was" in ended.error.detail) == ("failed", True)
    assert canaries.found_in(f"{ended} {await served.story('failing')}") == []
    for number in range(MOST_SECRETS + 10):
        await served.start_run(quick, f"run-{number}-again", env_vars={"token": f"still-another-{number}"})
    assert canaries.found_in(f"{await served.status('failing')} {await served.story('failing')}") == []


PRINTS = """
do:
  - both:
      run:
        shell: {command: 'echo "$GIVEN/$DECLARED/$WORKFLOW_RUNNER_MOST_EXECUTIONS"', environment: {DECLARED: task}}
"""


async def test_processes_see_the_variables_of_their_own_run(serve: Serve) -> None:
    served = await serve(WORKFLOW_RUNNER_MOST_EXECUTIONS="7")
    await served.start_run(PRINTS, "with", env_vars={"GIVEN": "run", "DECLARED": "run"})
    await served.start_run(PRINTS, "without")
    outputs = [(await served.end(each)).output.string_value.strip() for each in ("with", "without")]
    assert outputs == ["run/task/", "/task/"], "the task's own stand above the run's, and the runner's are not seen"


async def test_a_script_sees_them_too(served: Served) -> None:
    text = "do: [{s: {run: {script: {language: python, code: 'import os; print(os.environ[\"GIVEN\"])'}}}}]"
    await served.start_run(text, env_vars={"GIVEN": "run"})
    assert (await served.end()).output.string_value.strip() == "run"


async def test_where_processes_are_not_permitted_variables_do_not_bring_them_back(serve: Serve) -> None:
    served = await serve(WORKFLOW_RUNNER_PROCESSES="false")
    await served.start_run(PRINTS, env_vars={"GIVEN": "run"})
    ended = await served.end()
    assert (ended.status, ended.error.status) == ("failed", 403)
