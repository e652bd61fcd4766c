"""Stigmer's kinds of tasks, each as the language's task that does the same. `convert` calls `tasks_of`.

A maker gets a task's config as `configs.read` gives it and makes the members of the language's task. What a
config needs and does not have, and what the language has no words for, is noted; the member is then left out, and the
document is not used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from workflow_runner.dsl import problems as standard
from workflow_runner.dsl.nodes import DEEPEST, escape
from workflow_runner.dsl.templates import Json
from workflow_runner.expressions.patterns import is_expression
from workflow_runner.proto.ai.stigmer.agentic.workflow.v1.tasks.agent_call_pb2 import AgentCallTaskConfig
from workflow_runner.proto.ai.stigmer.agentic.workflow.v1.tasks.call_activity_pb2 import CallActivityTaskConfig
from workflow_runner.proto.ai.stigmer.agentic.workflow.v1.tasks.for_pb2 import ForTaskConfig
from workflow_runner.proto.ai.stigmer.agentic.workflow.v1.tasks.fork_pb2 import ForkTaskConfig
from workflow_runner.proto.ai.stigmer.agentic.workflow.v1.tasks.grpc_call_pb2 import GrpcCallTaskConfig
from workflow_runner.proto.ai.stigmer.agentic.workflow.v1.tasks.http_call_pb2 import HttpCallTaskConfig
from workflow_runner.proto.ai.stigmer.agentic.workflow.v1.tasks.listen_pb2 import ListenTaskConfig
from workflow_runner.proto.ai.stigmer.agentic.workflow.v1.tasks.raise_pb2 import RaiseTaskConfig
from workflow_runner.proto.ai.stigmer.agentic.workflow.v1.tasks.run_pb2 import RunTaskConfig
from workflow_runner.proto.ai.stigmer.agentic.workflow.v1.tasks.set_pb2 import SetTaskConfig
from workflow_runner.proto.ai.stigmer.agentic.workflow.v1.tasks.switch_pb2 import SwitchTaskConfig
from workflow_runner.proto.ai.stigmer.agentic.workflow.v1.tasks.try_pb2 import TryTaskConfig
from workflow_runner.proto.ai.stigmer.agentic.workflow.v1.tasks.wait_pb2 import WaitTaskConfig
from workflow_runner.proto.ai.stigmer.commons.apiresource import enum_pb2 as kinds
from workflow_runner.stigmer.converter.configs import Problems, RawTask, inner_tasks, read
from workflow_runner.stigmer.converter.expressions import Names, Where, expression, has_expression, text
from workflow_runner.stigmer.converter.placed import Placed

CUSTOM_ERROR = "urn:stigmer:error:"
"""What begins the type of an error that Stigmer's authors only gave a name."""

CUSTOM_STATUS = 500
SIGNAL = "signal"
_PREFIX = "WORKFLOW_TASK_KIND_"
_DEEPEST = DEEPEST // 4
"""Tasks in tasks; the document, where each takes some levels, has a limit of its own."""

_URI = re.compile(r"(?:https?://|urn:)\S+")
_STANDARD = {type_.rpartition("/")[2]: type_ for type_ in standard.STANDARD_STATUS}
_WORKFLOW = re.compile(r"(?:([^/@\s]+)/)?([^/@\s]+)(?:@([^/@\s]+))?")
_ADDRESS = re.compile(r"(?:(grpcs?)://)?(\$\{.+?\}|\[[^\]]+\]|[^/:\s]+)(?::([0-9]+|\$\{.+?\}))?/([^/]+)", re.DOTALL)

Members = dict[str, Placed]


class _Task(Struct, frozen=True):
    """A task being made: its config, and the place of that."""

    raw: RawTask
    config: Mapping[str, Any]
    where: Where
    namespace: str
    depth: int

    def needs(self, *names: str) -> bool:
        """Whether these fields are set; notes those that are not."""
        missing = [name for name in names if self.config.get(name) in (None, "")]
        for name in missing:
            self.where.wrong("stigmer.missing", f"it needs {name!r}")
        return not missing

    def text(self, name: str) -> Placed:
        """A field of type string, in which expressions may be."""
        where = self.where.at(name)
        return Placed(text(self.config[name], where), where.pointer)

    def texts(self, name: str) -> Placed:
        """A map of texts."""
        where = self.where.at(name)
        parts = {key: where.at(escape(key)) for key in self.config[name]}
        made = {key: Placed(text(value, parts[key]), parts[key].pointer) for key, value in self.config[name].items()}
        return Placed(made, where.pointer)

    def struct(self, name: str) -> Placed:
        """A Struct, with expressions in any text in it."""
        where = self.where.at(name)
        return Placed(_with_expressions(self.config[name], where), where.pointer)

    def inner(self, tasks: list[dict[str, Any]], where: Where) -> Placed:
        """Tasks inside this one."""
        if self.depth >= _DEEPEST:
            where.wrong("document.too-deep", f"tasks are nested more than {_DEEPEST} levels deep")
            return Placed([], where.pointer)
        raw = list(inner_tasks(tasks, where.pointer))
        return tasks_of(raw, where.pointer, where.problems, where.names, self.namespace, depth=self.depth + 1)


def tasks_of(tasks: list[RawTask], pointer: str, problems: Problems, names: Names, namespace: str, *, depth: int = 1) -> Placed:
    """A list of the language's tasks."""
    made: list[Placed] = []
    for task in tasks:
        if not task.name:
            problems.error("stigmer.missing", "a task needs 'name'", task.pointer)
        made.append(Placed({task.name: _task(task, problems, names, namespace, depth)}, task.pointer))
    return Placed(made, pointer)


def _task(task: RawTask, problems: Problems, names: Names, namespace: str, depth: int) -> Placed:
    if task.kind not in _MAKERS:
        kind = kinds.WorkflowTaskKind.Name(task.kind) if task.kind in kinds.WorkflowTaskKind.values() else str(task.kind)
        hint = f"it is one of {', '.join(kinds.WorkflowTaskKind.Name(one).removeprefix(_PREFIX) for one in _MAKERS)}"
        problems.error("stigmer.unknown-kind", f"there is no kind {kind}", f"{task.pointer}/kind", task.name, hint=hint)
        return Placed({}, task.pointer, task.name)
    message, make = _MAKERS[task.kind]
    where = Where(problems, names, f"{task.pointer}/task_config", task.name)
    errors = problems.errors
    config = read(message, task.config, where.pointer, task.name, problems)
    # A config that could not be read as it is lacks what is there and wrong: nothing is said about that.
    members = make(_Task(task, config, where, namespace, depth)) if problems.errors == errors else {}
    if task.export_as:
        place = Where(problems, names, f"{task.pointer}/export/as", task.name)
        as_ = Placed(expression(task.export_as, place), place.pointer)
        members["export"] = Placed({"as": as_}, f"{task.pointer}/export")
    if task.then:
        members["then"] = Placed(task.then, f"{task.pointer}/flow/then")
    return Placed(members, task.pointer, task.name)


def _with_expressions(value: Json, where: Where) -> Json:
    if isinstance(value, str):
        return text(value, where)
    if isinstance(value, dict):
        return {name: _with_expressions(item, where.at(escape(name))) for name, item in value.items()}
    if isinstance(value, list):
        return [_with_expressions(item, where.at(number)) for number, item in enumerate(value)]
    return value


def _seconds(task: _Task, name: str) -> Placed | None:
    """A duration of whole seconds; None where there is none, or a wrong one."""
    seconds = task.config.get(name, 0)
    where = task.where.at(name)
    if seconds < 0:
        where.wrong("stigmer.wrong-value", f"{name} cannot be below 0")
    return Placed({"seconds": Placed(seconds, where.pointer)}, where.pointer) if seconds > 0 else None


def _set(task: _Task) -> Members:
    if not task.config.get("variables"):
        task.where.wrong("stigmer.missing", "it needs 'variables'")
        return {}
    return {"set": task.texts("variables")}


def _http_call(task: _Task) -> Members:
    if not task.needs("method", "endpoint"):
        return {}
    endpoint = task.where.at("endpoint")
    uri = task.config["endpoint"].get("uri", "")
    if not uri:
        endpoint.wrong("stigmer.missing", "it needs 'uri'")
    place = endpoint.at("uri")
    if has_expression(uri) and re.search(r"\{[A-Za-z_]\w*\}", re.sub(r"\$\{.*?\}", "", uri, flags=re.DOTALL)):
        hint = "write ${ .name } for it, too"
        place.wrong("stigmer.not-expressible", "a URI has either ${ … } or {name} in it, not both", hint=hint)
    with_: Members = {
        "method": task.text("method"),
        "endpoint": Placed({"uri": Placed(text(uri, place), place.pointer)}, endpoint.pointer),
    }
    if "headers" in task.config:
        with_["headers"] = task.texts("headers")
    if "body" in task.config:
        with_["body"] = task.struct("body")
    members: Members = {"call": Placed("http", task.raw.pointer), "with": Placed(with_, task.where.pointer)}
    seconds = _seconds(task, "timeout_seconds")
    if seconds is not None:
        members["timeout"] = Placed({"after": seconds}, seconds.pointer)
    return members


def _grpc_call(task: _Task) -> Members:
    if not task.needs("service", "method"):
        return {}
    place = task.where.at("service")
    found = _ADDRESS.fullmatch(task.config["service"])
    if found is None:
        message = "where the service is, is not said"
        hint = "write its address before its name: HOST:PORT/package.Service, or grpcs://HOST:PORT/package.Service for TLS"
        place.wrong("stigmer.not-expressible", message, hint=hint)
        return {}
    scheme, host, port, name = found.groups()
    service = {"name": Placed(text(name, place), place.pointer), "host": Placed(text(host, place), place.pointer)}
    if port is not None:
        service["port"] = Placed(int(port) if port.isdigit() else text(port, place), place.pointer)
    if scheme is not None:
        service["tls"] = Placed(scheme == "grpcs", place.pointer)
    with_ = {"service": Placed(service, place.pointer), "method": task.text("method")}
    if "request" in task.config:
        with_["arguments"] = task.struct("request")
    return {"call": Placed("grpc", task.raw.pointer), "with": Placed(with_, task.where.pointer)}


def _call_activity(task: _Task) -> Members:
    if not task.needs("activity"):
        return {}
    with_ = {"activity": task.text("activity")}
    if "input" in task.config:
        with_["input"] = task.struct("input")
    return {"call": Placed("activity", task.raw.pointer), "with": Placed(with_, task.where.pointer)}


def _switch(task: _Task) -> Members:
    cases: list[Placed] = []
    if not task.config.get("cases"):
        task.where.wrong("stigmer.missing", "it needs 'cases'")
    for number, case in enumerate(task.config.get("cases", [])):
        where = task.where.at("cases", number)
        for name in ("name", "then"):
            if not case.get(name):
                where.wrong("stigmer.missing", f"a case needs {name!r}")
        made: Members = {}
        if case.get("when"):
            place = where.at("when")
            made["when"] = Placed(expression(case["when"], place), place.pointer)
        made["then"] = Placed(case.get("then", ""), f"{where.pointer}/then")
        cases.append(Placed({case.get("name", ""): Placed(made, where.pointer)}, where.pointer))
    return {"switch": Placed(cases, f"{task.where.pointer}/cases")}


def _for(task: _Task) -> Members:
    if not task.needs("in"):
        return {}
    each = task.config.get("each") or "item"
    place, body = task.where.at("in"), task.where.at("do")
    loop: Members = {
        "each": Placed(each, f"{task.where.pointer}/each"),
        "in": Placed(expression(task.config["in"], place), place.pointer),
    }
    inside = Where(body.problems, body.names.inside(each, "index"), body.pointer, body.task)
    do = task.inner(task.config.get("do", []), inside)
    return {"for": Placed(loop, task.where.pointer), "do": do}


def _fork(task: _Task) -> Members:
    branches: list[Placed] = []
    if not task.config.get("branches"):
        task.where.wrong("stigmer.missing", "it needs 'branches'")
    for number, branch in enumerate(task.config.get("branches", [])):
        where = task.where.at("branches", number)
        if not branch.get("name"):
            where.wrong("stigmer.missing", "a branch needs 'name'")
        do = task.inner(branch.get("do", []), where.at("do"))
        branches.append(Placed({branch.get("name", ""): Placed({"do": do}, where.pointer)}, where.pointer))
    fork: Members = {"branches": Placed(branches, f"{task.where.pointer}/branches")}
    if task.config.get("compete"):
        fork["compete"] = Placed(True, f"{task.where.pointer}/compete")
    return {"fork": Placed(fork, task.where.pointer)}


def _try(task: _Task) -> Members:
    body = task.inner(task.config.get("try", []), task.where.at("try"))
    if "catch" not in task.config:
        return {"do": body}  # its errors go on, as those of any list of tasks
    caught, where = task.config["catch"], task.where.at("catch")
    as_ = caught.get("as") or "error"
    catch: Members = {"as": Placed(as_, f"{where.pointer}/as")}
    if "do" in caught:
        place = where.at("do")
        inside = Where(place.problems, place.names.inside(error=as_), place.pointer, place.task)
        catch["do"] = task.inner(caught["do"], inside)
    return {"try": body, "catch": Placed(catch, where.pointer)}


def _listen(task: _Task) -> Members:
    to, where = task.config.get("to", {}), task.where.at("to")
    signals, mode = to.get("signals", []), to.get("mode", "")
    filters: list[Placed] = []
    if not signals:
        where.wrong("stigmer.missing", "it needs 'signals'")
    for number, signal in enumerate(signals):
        place = where.at("signals", number)
        if not signal.get("id"):
            place.wrong("stigmer.missing", "a signal needs 'id'")
        type_ = signal.get("type") or SIGNAL
        if type_ != SIGNAL:
            hint = "only what is sent to a run and not answered is an event: listen to a signal"
            place.at("type").wrong("stigmer.not-expressible", f"nothing is heard of type {type_!r:.40}", hint=hint)
        attributes = {
            "id": Placed(_event_id(signal.get("id", ""), place.at("id")), f"{place.pointer}/id"),
            "type": Placed(type_, f"{place.pointer}/type"),
        }
        filters.append(Placed({"with": Placed(attributes, place.pointer)}, place.pointer))
    match mode:
        case "one" if len(filters) == 1:
            strategy: Members = {"one": filters[0]}
        case "one" | "any":
            strategy = {"any": Placed(filters, f"{where.pointer}/signals")}
        case "all":
            strategy = {"all": Placed(filters, f"{where.pointer}/signals")}
        case _:
            place = where.at("mode")
            place.wrong("stigmer.wrong-value", f"the mode cannot be {mode!r:.40}", hint="it is one of one, any, all")
            strategy = {}
    return {"listen": Placed({"to": Placed(strategy, where.pointer)}, task.where.pointer)}


def _event_id(value: str, where: Where) -> str:
    """The id that an event has to have. In a filter an expression is asked about the attribute, and a text may be a pattern:
    what is computed is so from the task's input, and compared letter for letter."""
    if has_expression(value):
        program = text(value, where).removeprefix("${").removesuffix("}").strip()
        end = "\n" if "#" in program else ""  # a comment must not take the bracket with it
        return f"${{ $input | ({program}{end}) | tostring }}"
    return f"${{ . == {json.dumps(value)} }}" if is_expression(value) else value


def _wait(task: _Task) -> Members:
    seconds = _seconds(task, "seconds")
    if seconds is None:
        task.where.wrong("stigmer.missing", "it needs 'seconds', 1 at least")
        return {}
    return {"wait": seconds}


def _raise(task: _Task) -> Members:
    if not task.needs("error"):
        return {}
    name, where = str(task.config["error"]), task.where.at("error")
    known = _STANDARD.get(name.lower().replace(" ", "").removesuffix("error"))
    if known is not None:
        type_, status = known, standard.STANDARD_STATUS[known]
    elif has_expression(name):
        type_, status = text(f"{CUSTOM_ERROR}{name.strip()}", where), CUSTOM_STATUS
    elif _URI.fullmatch(name) is not None:
        type_, status = name, CUSTOM_STATUS
    else:
        type_, status = CUSTOM_ERROR + "-".join(name.split()), CUSTOM_STATUS
    error: Members = {
        "type": Placed(type_, where.pointer),
        "status": Placed(status, where.pointer),
        "title": Placed(text(name, where), where.pointer),
    }
    if "message" in task.config:
        error["detail"] = task.text("message")
    return {"raise": Placed({"error": Placed(error, task.where.pointer)}, task.where.pointer)}


def _run(task: _Task) -> Members:
    if not task.needs("workflow"):
        return {}
    place, name = task.where.at("workflow"), task.config["workflow"]
    namespace, version = task.namespace, "latest"
    if not has_expression(name):
        found = _WORKFLOW.fullmatch(name)
        if found is None:
            place.wrong("stigmer.wrong-value", f"{name!r:.80} names no workflow", hint="write NAME or NAMESPACE/NAME@VERSION")
            return {}
        namespace, name, version = found[1] or namespace, found[2], found[3] or version
    workflow: Members = {
        "namespace": Placed(namespace, place.pointer),
        "name": Placed(text(name, place), place.pointer),
        "version": Placed(version, place.pointer),
    }
    if "input" in task.config:
        workflow["input"] = task.struct("input")
    return {"run": Placed({"workflow": Placed(workflow, task.where.pointer)}, task.where.pointer)}


def _agent_call(task: _Task) -> Members:
    if not task.needs("agent", "message"):
        return {}
    with_: Members = {"agent": task.text("agent")}
    scope = task.config.get("scope", 0)
    if scope in (kinds.platform, kinds.organization):
        with_["scope"] = Placed(kinds.ApiResourceOwnerScope.Name(scope), f"{task.where.pointer}/scope")
    elif scope:
        place, said = task.where.at("scope"), kinds.ApiResourceOwnerScope.Name(scope)
        place.wrong("stigmer.not-expressible", f"no agent is of scope {said}", hint="it is organization or platform")
    with_["message"] = task.text("message")
    if "env" in task.config:
        with_["env"] = task.texts("env")
    config, where = task.config.get("config", {}), task.where.at("config")
    inner = _Task(task.raw, config, where, task.namespace, task.depth)
    if config.get("model"):
        with_["model"] = inner.text("model")
    if "temperature" in config:
        with_["temperature"] = Placed(config["temperature"], f"{where.pointer}/temperature")
    seconds = _seconds(inner, "timeout")
    if seconds is not None:
        with_["timeout"] = seconds
    return {"call": Placed("agent", task.raw.pointer), "with": Placed(with_, task.where.pointer)}


_MAKERS: Mapping[int, tuple[Any, Callable[[_Task], Members]]] = {
    kinds.WORKFLOW_TASK_KIND_SET: (SetTaskConfig.DESCRIPTOR, _set),
    kinds.WORKFLOW_TASK_KIND_HTTP_CALL: (HttpCallTaskConfig.DESCRIPTOR, _http_call),
    kinds.WORKFLOW_TASK_KIND_GRPC_CALL: (GrpcCallTaskConfig.DESCRIPTOR, _grpc_call),
    kinds.WORKFLOW_TASK_KIND_CALL_ACTIVITY: (CallActivityTaskConfig.DESCRIPTOR, _call_activity),
    kinds.WORKFLOW_TASK_KIND_SWITCH: (SwitchTaskConfig.DESCRIPTOR, _switch),
    kinds.WORKFLOW_TASK_KIND_FOR: (ForTaskConfig.DESCRIPTOR, _for),
    kinds.WORKFLOW_TASK_KIND_FORK: (ForkTaskConfig.DESCRIPTOR, _fork),
    kinds.WORKFLOW_TASK_KIND_TRY: (TryTaskConfig.DESCRIPTOR, _try),
    kinds.WORKFLOW_TASK_KIND_LISTEN: (ListenTaskConfig.DESCRIPTOR, _listen),
    kinds.WORKFLOW_TASK_KIND_WAIT: (WaitTaskConfig.DESCRIPTOR, _wait),
    kinds.WORKFLOW_TASK_KIND_RAISE: (RaiseTaskConfig.DESCRIPTOR, _raise),
    kinds.WORKFLOW_TASK_KIND_RUN: (RunTaskConfig.DESCRIPTOR, _run),
    kinds.WORKFLOW_TASK_KIND_AGENT_CALL: (AgentCallTaskConfig.DESCRIPTOR, _agent_call),
}
"""The descriptor of each kind's config, and what makes the task; a kind that is not here cannot be converted."""
