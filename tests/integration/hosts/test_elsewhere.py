"""Functions and workflows that a local run gets from elsewhere, and what it starts without waiting for it."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.integration.calls.server import http_server
from tests.integration.hosts.recorder import Recorder, local_run
from tests.until import until

from workflow_runner.dsl.templates import Json
from workflow_runner.hosts.elsewhere import HostOptions
from workflow_runner.hosts.library import Library
from workflow_runner.hosts.local import LocalRun
from workflow_runner.interpreter.outcome import Cancelled, Completed, Faulted

FUNCTION = "input: {from: .n}\nset: '${ . * 2 }'\n"


def options(*folders: Path, trees: tuple[Path, ...] = (), default_catalog: str | None = None) -> HostOptions:
    return HostOptions(library=Library(folders, trees), default_catalog=default_catalog)


def workflow(name: str, version: str, do: str, namespace: str = "tests") -> str:
    return f"document: {{dsl: '1.0.3', namespace: {namespace}, name: {name}, version: '{version}'}}\ndo: {do}\n"


async def end_of(run: LocalRun) -> Any:
    return await asyncio.wait_for(run.run(), 30)


async def output_of(text: str, input_: Json = None, given: HostOptions | None = None) -> Json:
    outcome = await end_of(local_run(text, input_, report=Recorder(), options=given))
    assert isinstance(outcome, Completed), outcome
    return outcome.output


async def fault_of(text: str, given: HostOptions | None = None) -> dict[str, Json]:
    outcome = await end_of(local_run(text, None, report=Recorder(), options=given))
    assert isinstance(outcome, Faulted), outcome
    return outcome.problem.to_dict()


async def serve(request: web.Request) -> web.Response:
    texts = {
        "/catalog/functions/double/1.0.0/function.yaml": FUNCTION,
        "/private/functions/double/1.0.0/function.yaml": FUNCTION,
        "/function.json": '{"set": {"n": "${ .n }"}}',
        "/broken.yaml": "set: [",
        "/twice.yaml": "set: {a: 1}\nset: {a: 2}\n",
        "/wrong.yaml": "sett: {a: 1}\n",
        "/jq.yaml": "set: {a: '${ .a + }'}\n",
    }
    if request.path.startswith("/private") and request.headers.get("Authorization") != "Bearer hidden":
        return web.Response(status=401)
    text = texts.get(request.path)
    return web.Response(status=404) if text is None else web.Response(text=text, content_type="application/yaml")


async def test_functions_are_fetched_from_catalogs_and_addresses() -> None:
    async with http_server(serve) as server:
        document = f"""
            use: {{catalogs: {{mine: {{endpoint: '{server.url}/catalog'}}}}}}
            do:
              - a: {{call: 'double:1.0.0@mine', with: {{n: "${{ . }}"}}}}
              - b: {{call: 'double:1.0.0@default', with: {{n: "${{ . }}"}}}}
              - c: {{call: '{server.url}/function.json', with: {{n: "${{ . }}"}}}}
            """
        assert await output_of(document, 3, options(default_catalog=f"{server.url}/catalog/")) == {"n": 12}


async def test_the_policy_of_a_catalog_is_used() -> None:
    async with http_server(serve) as server:
        document = f"""
            use:
              secrets: [token]
              catalogs:
                mine:
                  endpoint:
                    uri: {server.url}/private
                    authentication: {{bearer: {{token: "${{ $secrets.token }}"}}}}
            do: [{{a: {{call: 'double:1.0.0@mine', with: {{n: 2}}}}}}]
            """
        run = local_run(document, report=Recorder(), secrets={"token": "hidden"})
        assert await end_of(run) == Completed(4)
        outcome = await end_of(local_run(document, report=Recorder(), secrets={"token": "other"}))
        assert isinstance(outcome, Faulted)
        assert (outcome.problem.status, outcome.problem.instance) == (401, "/do/0/a")


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("none.yaml", 404, "404"),
        ("broken.yaml", 400, "function"),
        ("twice.yaml", 400, "'set' is written twice"),
        ("wrong.yaml", 400, "did you mean 'set'?"),
        ("jq.yaml", 400, "jq cannot compile"),
    ],
)
async def test_what_is_no_function_is_told_before_it_runs(name: str, status: int, said: str) -> None:
    async with http_server(serve) as server:
        fault = await fault_of(f"do: [{{a: {{call: '{server.url}/{name}'}}}}]")
    assert (fault["status"], fault["instance"]) == (status, "/do/0/a")
    assert said in str(fault["detail"])


async def test_without_a_default_catalog_its_functions_are_a_configuration_error() -> None:
    fault = await fault_of("do: [{a: {call: 'f:1@default'}}]")
    assert str(fault["type"]).endswith("/configuration")
    assert "no default catalog" in str(fault["detail"])


async def test_the_default_catalog_may_be_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "functions" / "double" / "1.0.0"
    folder.mkdir(parents=True)
    (folder / "function.yaml").write_text(FUNCTION)
    given = HostOptions(default_catalog=tmp_path.as_uri())
    assert await output_of("do: [{a: {call: 'double:1.0.0@default', with: {n: 4}}}]", None, given) == 8


async def test_workflows_are_found_by_name_and_version(tmp_path: Path) -> None:
    for version in ("1.0.0", "1.10.0", "1.9.0", "2.0.0-beta.2", "2.0.0-beta.11"):
        (tmp_path / f"{version}.yaml").write_text(workflow("child", version, f"[{{a: {{set: {{v: {version}}}}}}}]"))
    (tmp_path / "other.yml").write_text(workflow("child", "9.0.0", "[]", namespace="other"))
    (tmp_path / "json.json").write_text(
        '{"document": {"dsl": "1.0.0", "namespace": "tests", "name": "js", "version": "1.0.0"}, "do": []}'
    )
    (tmp_path / "broken.yaml").write_text("child: [")
    (tmp_path / "list.yaml").write_text("[child]")
    (tmp_path / "huge.yaml").write_text("# child\n" + "#" * 2_000_000)

    async def found(rest: str) -> Json:
        document = f"do: [{{r: {{run: {{workflow: {{namespace: tests, {rest}}}}}}}}}]"
        return await output_of(document, None, options(tmp_path))

    assert await found("name: child, version: 1.9.0") == {"v": "1.9.0"}
    assert await found("name: child, version: 2.0.0-beta.2") == {"v": "2.0.0-beta.2"}
    assert await found("name: child") == {"v": "2.0.0-beta.11"}
    (tmp_path / "release.yaml").write_text(workflow("child", "2.0.0", "[{a: {set: {v: released}}}]"))
    assert await found("name: child, version: latest") == {"v": "released"}
    assert await found("name: js, input: {a: 1}") == {"a": 1}


async def test_folders_below_are_searched_where_they_are_to_be(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c.yaml").write_text(workflow("child", "1.0.0", "[]"))
    (tmp_path / "a" / ".hidden").mkdir()
    (tmp_path / "a" / ".hidden" / "d.yaml").write_text(workflow("child", "2.0.0", "[{a: {set: {x: 1}}}]"))
    document = "do: [{r: {run: {workflow: {namespace: tests, name: child, input: {n: 1}}}}}]"
    assert await output_of(document, None, options(trees=(tmp_path,))) == {"n": 1}
    assert (await fault_of(document, options(tmp_path)))["status"] == 404


async def test_a_workflow_that_is_not_there_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(workflow("child", "1.0.0", "[]"))
    document = "do: [{r: {run: {workflow: {namespace: tests, name: child, version: 2.0.0}}}}]"
    fault = await fault_of(document, options(tmp_path))
    assert (str(fault["type"]).rpartition("/")[2], fault["status"], fault["instance"]) == ("configuration", 404, "/do/0/r")
    assert "there is 1.0.0" in str(fault["detail"])
    fault = await fault_of(document)
    assert (str(fault["type"]).rpartition("/")[2], fault["status"]) == ("configuration", 404)
    assert "knows no other workflows" in str(fault["detail"])


async def test_a_workflow_that_is_not_valid_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(workflow("child", "1.0.0", "[{a: {sett: {}}}]"))
    fault = await fault_of("do: [{r: {run: {workflow: {namespace: tests, name: child}}}}]", options(tmp_path))
    assert (str(fault["type"]).rpartition("/")[2], fault["status"]) == ("configuration", 400)
    assert "did you mean 'set'?" in str(fault["detail"])


async def test_a_pause_holds_a_child_and_a_cancel_ends_it(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(workflow("child", "1.0.0", "[{w: {wait: PT1H}}]"))
    recorder = Recorder()
    document = "do: [{r: {run: {workflow: {namespace: tests, name: child}}}}]"
    run = local_run(document, report=recorder, options=options(tmp_path))
    task = asyncio.create_task(run.run())
    await recorder.until("started w")
    run.pause("tests")
    await recorder.until("workflow_paused")
    run.resume()
    await recorder.until("workflow_resumed")
    run.cancel("enough")
    assert await asyncio.wait_for(task, 10) == Cancelled("enough")


def touching(folder: Path, name: str) -> str:
    """A workflow that says where it is by files, and waits for one in between."""
    command = f"touch {folder}/{name}-begun; while [ ! -e {folder}/go ]; do sleep 0.02; done; touch {folder}/{name}-done"
    return f"[{{t: {{run: {{shell: {{command: '{command}'}}}}}}}}]"


DETACHED = "do: [{r: {run: {workflow: {namespace: tests, name: child}, await: false}}}]"


async def test_a_workflow_that_nobody_waits_for_runs_beside_and_the_end_waits_a_little(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(workflow("child", "1.0.0", touching(tmp_path, "child")))
    recorder = Recorder()
    task = asyncio.create_task(end_of(local_run(DETACHED, 5, report=recorder, options=options(tmp_path))))
    await recorder.until("workflow_completed")
    await until((tmp_path / "child-begun").exists)
    assert not task.done()
    (tmp_path / "go").touch()
    assert await task == Completed(5)
    assert (tmp_path / "child-done").exists()
    assert [line for line in recorder.lines if line.endswith(" t")] == []


async def test_a_cancel_ends_what_nobody_waits_for_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(workflow("child", "1.0.0", touching(tmp_path, "child")))
    for after in ("", ", {w: {wait: PT1H}}"):
        recorder = Recorder()
        run = local_run(DETACHED.replace("}}]", f"}}}}{after}]"), 5, report=recorder, options=options(tmp_path))
        task = asyncio.create_task(end_of(run))
        await recorder.until("started w" if after else "workflow_completed")
        await until((tmp_path / "child-begun").exists)
        run.cancel("enough")
        assert await asyncio.wait_for(task, 5) == (Cancelled("enough") if after else Completed(5))
        (tmp_path / "child-begun").unlink()
    assert not (tmp_path / "child-done").exists()


async def test_a_detached_workflow_that_fails_is_told_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    failing = "[{r: {raise: {error: {type: 'https://e.test/', status: 507, detail: secret}}}}]"
    (tmp_path / "a.yaml").write_text(workflow("child", "1.0.0", failing))
    with caplog.at_level(logging.WARNING):
        assert await end_of(local_run(DETACHED, 5, report=Recorder(), options=options(tmp_path))) == Completed(5)
    assert "tests/child failed with https://e.test/ (507)" in caplog.text
    assert "secret" not in caplog.text


async def test_detached_workflows_that_start_themselves_end_somewhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.yaml").write_text(
        workflow("child", "1.0.0", "[{r: {run: {workflow: {namespace: tests, name: child}, await: false}}}]")
    )
    assert await end_of(local_run(DETACHED, 5, report=Recorder(), options=options(tmp_path))) == Completed(5)
    assert caplog.text.count("tests/child failed") == 1
