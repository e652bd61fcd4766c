"""Reading tasks: nodes to the models of tasks. The loader starts it with the document's `do`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from workflow_runner.dsl import unsupported
from workflow_runner.dsl.fields import (
    TASK_BODY,
    TASK_EXPORT,
    TASK_INPUT,
    Fields,
    Found,
    Place,
    Scope,
    type_name,
)
from workflow_runner.dsl.model import (
    CONTINUE,
    DIRECTIVES,
    MOST_BRANCHES,
    Catch,
    DoTask,
    ForkTask,
    ForTask,
    RaiseTask,
    SetTask,
    SwitchCase,
    SwitchTask,
    Task,
    TaskList,
    TryTask,
    UnsupportedTask,
    WaitTask,
)
from workflow_runner.dsl.nodes import Node, items
from workflow_runner.dsl.read_activity import read_activity
from workflow_runner.dsl.read_agent import read_agent
from workflow_runner.dsl.read_errors import error_filter, raised_error, retry_policy
from workflow_runner.dsl.read_events import read_emit, read_listen
from workflow_runner.dsl.read_functions import read_function_call
from workflow_runner.dsl.read_grpc import read_grpc
from workflow_runner.dsl.read_http import read_http
from workflow_runner.dsl.read_openapi import read_openapi
from workflow_runner.dsl.read_run import read_run
from workflow_runner.dsl.read_schemas import read_schema
from workflow_runner.dsl.read_timeouts import read_timeout
from workflow_runner.dsl.templates import Literal

KINDS = ("call", "do", "emit", "for", "fork", "listen", "raise", "run", "set", "switch", "try", "wait")
_COMMON = ("if", "input", "output", "export", "timeout", "then", "metadata")


def read_list(fields: Fields, node: Node, pointer: str, variables: Scope) -> TaskList:
    """A list of tasks; what cannot be read is left out or replaced, and noted."""
    if not fields.expect(node, pointer, list, "a list of tasks"):
        return TaskList()
    tasks: list[Task] = []
    seen: dict[str, int] = {}
    for number, item in enumerate(node.elements):
        place = f"{pointer}/{number}"
        if not isinstance(item.json, dict) or len(item.members) != 1:
            given = f"{len(item.members)} names" if isinstance(item.json, dict) else type_name(item.json)
            message = f"each entry of a list of tasks is one name with its task; this has {given}"
            fields.findings.error("task.bad-item", message, place, item.position, hint=_item_hint(item))
            continue
        for name, reference, key, value in items(item, place):
            if name in DIRECTIVES:
                fields.findings.error(
                    "task.reserved-name", f"no task can be called {name!r}: `then` could not mean it", place, key
                )
            if name in seen:
                message = (
                    f"this list has a task {name!r} already, in line {seen[name]}"
                    if key.line
                    else f"this list has two tasks {name!r}"
                )
                fields.findings.error("task.duplicate-name", message, reference, key)
            else:
                tasks.append(read_task(fields, name, value, reference, variables))
                seen[name] = key.line
    return TaskList(tasks)


def _item_hint(item: Node) -> str:
    """How to mend an entry of a list that is not one name with its value."""
    if not isinstance(item.json, dict) or len(item.json) < 2:
        return ""
    first, second = list(item.json)[:2]
    if item.json[first] is None:
        return f"indent what belongs to {first[:60]!r} further than its name"
    return f"begin each entry with a dash of its own: `- {second[:60]}: …`"


def read_task(fields: Fields, name: str, node: Node, pointer: str, variables: Scope) -> Task:
    """One task. A task that cannot be read becomes an UnsupportedTask without `what`, noted already."""
    common: dict[str, Any] = {"name": name, "reference": pointer, "position": node.position, "definition": {}}
    broken = UnsupportedTask(**common, what="")
    kind = _kind(fields, name, node, pointer)
    if kind is None:
        return broken
    common["definition"] = node.json
    place = Place(node, pointer, variables, common)
    own, reader = _READERS[kind]
    found = fields.members(node, pointer, (*_COMMON, *own), what=f"a {kind} task")
    _common(fields, place, found)
    return reader(fields, place, found) or broken


def _kind(fields: Fields, name: str, node: Node, pointer: str) -> str | None:
    if not isinstance(node.json, dict):
        given = "is empty" if node.json is None else f"is {type_name(node.json)}"
        message = f"the task {name!r} {given}: it must be an object with one of {', '.join(KINDS)}"
        fields.findings.error("task.no-kind", message, pointer, node.position)
        return None
    kinds = [kind for kind in KINDS if kind in node.members]
    if "for" in kinds and "do" in kinds:
        kinds.remove("do")
    if len(kinds) == 1:
        return kinds[0]
    if kinds:
        message = f"the task {name!r} is several tasks at once: {', '.join(kinds)}"
        fields.findings.error("task.many-kinds", message, pointer, node.position)
        return None
    hint = next((hint for key in node.members if (hint := fields.findings.suggestion(key, KINDS))), "")
    if not hint and name in KINDS:
        hint = f"the task needs a name of its own around it: `- name: {{{name}: …}}`"
    message = f"the task {name!r} has none of {', '.join(KINDS)}"
    fields.findings.error("task.no-kind", message, pointer, node.position, hint=hint)
    return None


def _common(fields: Fields, place: Place, found: Found) -> None:
    """Read what every task has into `place.common`."""
    common, variables = place.common, place.variables
    common["if_"] = fields.condition(found.get("if"), "if", TASK_INPUT | variables)
    for name, inner, scope in (("input", "from", TASK_INPUT), ("output", "as", TASK_BODY), ("export", "as", TASK_EXPORT)):
        if name in found:
            pointer, node = found[name]
            parts = fields.members(node, pointer, (inner, "schema"), what=name)
            common[f"{name}_{inner}"] = fields.filter(parts.get(inner), f"{name}.{inner}", scope | variables)
            common[f"{name}_schema"] = read_schema(fields, parts, name, scope | variables)
    common["timeout"] = read_timeout(fields, found.get("timeout"), place.body)
    common["then"] = _then(fields, found)
    common["metadata"] = fields.free_object(found.get("metadata"), "metadata")


def _do(fields: Fields, place: Place, found: Found) -> Task | None:
    pointer, node = found["do"]
    return DoTask(**place.common, do=read_list(fields, node, pointer, place.variables))


def _set(fields: Fields, place: Place, found: Found) -> Task | None:
    pointer, node = found["set"]
    value = node.json
    if isinstance(value, str):
        template = fields.template(node, pointer, place.body)
        if isinstance(template, Literal) and value.lstrip()[:1] in (".", "$") and "${" not in value:
            message = "this is set as text; write ${ … } to set what the expression gives"
            fields.findings.warning("expression.unmarked", message, pointer, node.position)
        return SetTask(**place.common, value=template)
    if not fields.expect(node, pointer, dict, "set"):
        return None
    if not value:
        fields.findings.error("property.bad-value", "set needs at least one member", pointer, node.position)
    return SetTask(**place.common, value=fields.template(node, pointer, place.body))


def _switch(fields: Fields, place: Place, found: Found) -> Task | None:
    pointer, node = found["switch"]
    if not fields.expect(node, pointer, list, "switch"):
        return None
    if not node.elements:
        fields.findings.error("property.bad-value", "a switch needs at least one case", pointer, node.position)
    cases: list[SwitchCase] = []
    for number, item in enumerate(node.elements):
        where = f"{pointer}/{number}"
        if not isinstance(item.json, dict) or len(item.members) != 1:
            message = "each entry of a switch is one name with its case"
            fields.findings.error("task.bad-item", message, where, item.position, hint=_item_hint(item))
            continue
        for name, reference, key, value in items(item, where):
            case = _case(fields, name, value, reference, place)
            if any(other.name == name for other in cases):
                fields.findings.error("task.duplicate-name", f"this switch has two cases {name!r}", reference, key)
            if case.when is None and "when" not in value.members and any(other.when is None for other in cases):
                message = "a switch has one default case (without `when`) at most"
                fields.findings.error("switch.many-defaults", message, reference, key)
            cases.append(case)
    return SwitchTask(**place.common, cases=tuple(cases))


def _case(fields: Fields, name: str, node: Node, pointer: str, place: Place) -> SwitchCase:
    parts = fields.members(node, pointer, ("when", "then"), required=("then",), what="a switch case")
    when = fields.condition(parts.get("when"), "when", place.body)
    return SwitchCase(name=name, when=when, then=_then(fields, parts))


def _then(fields: Fields, parts: Found) -> str:
    then = fields.string(parts.get("then"), "then")
    return CONTINUE if then is None else then


def _for(fields: Fields, place: Place, found: Found) -> Task | None:
    pointer, node = found["for"]
    parts = fields.members(node, pointer, ("each", "in", "at"), required=("in",), what="for")
    each = fields.name(parts.get("each"), "each", "item")
    at = fields.name(parts.get("at"), "at", "index")
    if each == at:
        message = f"`each` and `at` are both {each!r}"
        fields.findings.error("variable.bad-name", message, pointer, node.position)
    inner = place.variables | {each, at}
    in_ = fields.condition(parts.get("in"), "in", place.body)
    while_ = fields.condition(found.get("while"), "while", TASK_BODY | inner)
    if "do" not in found:
        fields.findings.error("property.missing", "a for task needs 'do'", place.pointer, place.node.position)
        return None
    tasks = read_list(fields, found["do"][1], found["do"][0], inner)
    if in_ is None:
        return None
    return ForTask(**place.common, each=each, at=at, in_=in_, while_=while_, do=tasks)


def _fork(fields: Fields, place: Place, found: Found) -> Task | None:
    pointer, node = found["fork"]
    parts = fields.members(node, pointer, ("branches", "compete"), required=("branches",), what="fork")
    if "branches" not in parts:
        return None
    where, branches = parts["branches"]
    compete = "compete" in parts and fields.expect(parts["compete"][1], parts["compete"][0], bool, "compete")
    if len(branches.elements) > MOST_BRANCHES:
        message = f"this fork has {len(branches.elements)} branches, and at most {MOST_BRANCHES} run at the same time"
        fields.findings.error("task.too-many-branches", message, where, branches.position)
    elif branches.json == []:
        fields.findings.error("property.bad-value", "a fork needs a branch", where, branches.position)
    tasks = read_list(fields, branches, where, place.variables)
    return ForkTask(
        **place.common,
        branches=tuple(TaskList((task,)) for task in tasks),
        compete=compete and parts["compete"][1].json is True,
    )


def _wait(fields: Fields, place: Place, found: Found) -> Task | None:
    duration = fields.duration(found["wait"], "wait", place.body)
    return None if duration is None else WaitTask(**place.common, duration=duration)


def _raise(fields: Fields, place: Place, found: Found) -> Task | None:
    pointer, node = found["raise"]
    parts = fields.members(node, pointer, ("error",), required=("error",), what="raise")
    error = raised_error(fields, parts.get("error"), place.body)
    return None if error is None else RaiseTask(**place.common, error=error)


def _call(fields: Fields, place: Place, found: Found) -> Task | None:
    function = fields.string(found["call"], "call")
    if function is None:
        return None
    if function in _CALLS:
        return _CALLS[function](fields, place, found)
    if function in _OWN_CALLS and function not in fields.functions:
        return _OWN_CALLS[function](fields, place, found)
    arguments = unsupported.CALL_ARGUMENTS.get(function)
    if arguments is None:
        return read_function_call(fields, place, found, function)
    if "with" in found:
        pointer, node = found["with"]
        fields.members(node, pointer, arguments, what=f"a call of {function}")
    return UnsupportedTask(**place.common, what=f"call: {function}")


def _listen(fields: Fields, place: Place, found: Found) -> Task | None:
    return read_listen(fields, place, found, read_list)


def _try(fields: Fields, place: Place, found: Found) -> Task | None:
    pointer, node = found["try"]
    tasks = read_list(fields, node, pointer, place.variables)
    if "catch" not in found:
        fields.findings.error("property.missing", "a try task needs 'catch'", place.pointer, place.node.position)
        return None
    where, catch = found["catch"]
    parts = fields.members(catch, where, ("errors", "as", "when", "exceptWhen", "retry", "do"), what="catch")
    as_ = fields.name(parts.get("as"), "as", "error")
    inner = place.variables | {as_}
    do = read_list(fields, parts["do"][1], parts["do"][0], inner) if "do" in parts else None
    return TryTask(
        **place.common,
        try_=tasks,
        catch=Catch(
            errors=error_filter(fields, parts.get("errors")),
            as_=as_,
            when=fields.condition(parts.get("when"), "when", TASK_BODY | inner),
            except_when=fields.condition(parts.get("exceptWhen"), "exceptWhen", TASK_BODY | inner),
            retry=retry_policy(fields, parts.get("retry"), TASK_BODY | inner),
            do=do,
        ),
    )


_Reader = Callable[[Fields, Place, Found], Task | None]
_CALLS: Mapping[str, _Reader] = {"grpc": read_grpc, "http": read_http, "openapi": read_openapi}
_OWN_CALLS: Mapping[str, _Reader] = {"activity": read_activity, "agent": read_agent}
"""Beyond the reference: a document's own function of such a name goes before it."""
_READERS: Mapping[str, tuple[tuple[str, ...], _Reader]] = {
    "call": (("call", "with"), _call),
    "do": (("do",), _do),
    "emit": (("emit",), read_emit),
    "for": (("for", "while", "do"), _for),
    "fork": (("fork",), _fork),
    "listen": (("listen", "foreach"), _listen),
    "raise": (("raise",), _raise),
    "run": (("run",), read_run),
    "set": (("set",), _set),
    "switch": (("switch",), _switch),
    "try": (("try", "catch"), _try),
    "wait": (("wait",), _wait),
}
