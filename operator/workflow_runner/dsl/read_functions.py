"""Reading functions and extensions: `use.functions`, `use.catalogs`, `use.extensions`, and the calls of functions.

The loader reads what is under `use` with it, `read_tasks` the calls. Whatever reads tasks is handed in, since tasks can
hold calls of functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from workflow_runner.dsl.catalogs import DEFAULT, cataloged, is_address
from workflow_runner.dsl.fields import TASK_BODY, TASK_INPUT, Fields, Found, Place, Scope
from workflow_runner.dsl.model import DIRECTIVES, Extension, FunctionCallTask, FunctionSource, Task, TaskList, walk
from workflow_runner.dsl.nodes import Node, items
from workflow_runner.dsl.read_authentication import URI_TEMPLATE, endpoint_authentication
from workflow_runner.dsl.read_http import read_endpoint
from workflow_runner.dsl.templates import Literal

ReadTask = Callable[[Fields, str, Node, str, Scope], Task]
ReadList = Callable[[Fields, Node, str, Scope], TaskList]

COMPOSITE = frozenset({"do", "fork"})
EXTENDED = ("call", "composite", "emit", "for", "listen", "raise", "run", "set", "switch", "try", "wait", "all")
"""What an extension can extend."""

_BUILT_IN = ("asyncapi", "grpc", "http", "openapi", "a2a", "mcp")
_OWN = ("activity", "agent")
"""Calls beyond the reference: a document may have functions of these names."""

_NOWHERE: Scope = frozenset()


def read_function_call(fields: Fields, place: Place, found: Found, name: str) -> Task:
    """A call of a function that is none of the language's own."""
    pointer, node = found["call"]
    arguments = None
    if "with" in found:
        where, given = found["with"]
        whole = isinstance(given.json, str) and fields.is_expression(given.json)
        if whole or fields.expect(given, where, dict, "with"):
            arguments = fields.template(given, where, place.body)
    source = None
    if name not in fields.functions:
        source = _source(fields, name, pointer, node)
    return FunctionCallTask(**place.common, function=name, arguments=arguments, source=source)


def _source(fields: Fields, name: str, pointer: str, node: Node) -> FunctionSource | None:
    wanted = cataloged(name)
    if wanted is not None:
        if wanted.catalog in fields.catalogs:
            return _in_catalog(fields, wanted.catalog, wanted.name, wanted.version)
        if wanted.catalog == DEFAULT:
            return FunctionSource(name=wanted.name, version=wanted.version)
        fields.findings.undefined(
            "reference.unknown-catalog",
            "catalog",
            wanted.catalog,
            fields.catalogs,
            pointer,
            node.position,
            remedy="define it under use.catalogs",
        )
        return None
    if is_address(name):
        if URI_TEMPLATE.fullmatch(name) is None or "{" in name:
            message = f"{name!r:.80} is no address of a function"
            fields.findings.error("endpoint.invalid", message, pointer, node.position)
            return None
        return FunctionSource(catalog=Literal(name))
    fields.findings.undefined(
        "reference.unknown-function",
        "function",
        name,
        (*fields.functions, *_BUILT_IN, *_OWN),
        pointer,
        node.position,
        remedy="define it under use.functions",
    )
    return None


def _in_catalog(fields: Fields, catalog: str, name: str, version: str) -> FunctionSource | None:
    """Read where it is defined; again for each call, which costs little."""
    pointer, node = fields.catalogs[catalog]
    parts = fields.members(node, pointer, ("endpoint",), required=("endpoint",), what="a catalog")
    endpoint = read_endpoint(fields, parts.get("endpoint"), TASK_BODY)
    if endpoint is None:
        return None
    policy = endpoint_authentication(fields, parts.get("endpoint"), TASK_BODY)
    return FunctionSource(catalog=endpoint, name=name, version=version, authentication=policy)


def check_catalogs(fields: Fields) -> None:
    """Note what is wrong with catalogs, used or not."""
    for name in fields.catalogs:
        _in_catalog(fields, name, "", "")


def function_definitions(fields: Fields, read_task: ReadTask) -> dict[str, TaskList]:
    """The functions under `use.functions`, each as a list of one task."""
    functions: dict[str, TaskList] = {}
    for name, (pointer, node) in fields.functions.items():
        if name in (*_BUILT_IN, *DIRECTIVES):
            message = f"no function can be called {name!r}: the name is the language's own"
            fields.findings.error("property.bad-value", message, pointer, node.position)
        functions[name] = TaskList((read_task(fields, name, node, pointer, _NOWHERE),))
    _check_cycles(fields, functions)
    return functions


def _check_cycles(fields: Fields, functions: Mapping[str, TaskList]) -> None:
    """Note functions that call themselves, directly or through others: that never ends."""
    calls = {
        name: [task for task in walk(tasks) if isinstance(task, FunctionCallTask) and task.function in functions]
        for name, tasks in functions.items()
    }
    state: dict[str, bool] = {}  # whether it is still being looked at
    for root in functions:
        if root in state:
            continue
        state[root] = True
        path = [(root, iter(calls[root]))]
        while path:
            name, rest = path[-1]
            call = next(rest, None)
            if call is None:
                state[name] = False
                path.pop()
            elif state.get(call.function):
                names = [step for step, _ in path]
                loop = " → ".join((*names[names.index(call.function) :], call.function))
                message = f"the function {call.function!r} calls itself: {loop}"
                fields.findings.error(
                    "reference.function-cycle",
                    message,
                    f"{call.reference}/call",
                    call.position,
                    hint="use a `for`, or a `then` that jumps back",
                )
            elif call.function not in state:
                state[call.function] = True
                path.append((call.function, iter(calls[call.function])))


def read_extensions(fields: Fields, found: tuple[str, Node] | None, read_list: ReadList) -> tuple[Extension, ...]:
    """`use.extensions`: a list of one name with its extension each."""
    if found is None or not fields.expect(found[1], found[0], list, "extensions"):
        return ()
    extensions: list[Extension] = []
    seen: set[str] = set()
    for number, item in enumerate(found[1].elements):
        place = f"{found[0]}/{number}"
        if not isinstance(item.json, dict) or len(item.members) != 1:
            message = "each entry of extensions is one name with its extension"
            fields.findings.error("task.bad-item", message, place, item.position)
            continue
        for name, pointer, key, node in items(item, place):
            if name in seen:
                fields.findings.error("task.duplicate-name", f"there are two extensions {name!r}", pointer, key)
            seen.add(name)
            extension = _extension(fields, name, node, pointer, read_list)
            if extension is not None:
                extensions.append(extension)
    return tuple(extensions)


def _extension(fields: Fields, name: str, node: Node, pointer: str, read_list: ReadList) -> Extension | None:
    parts = fields.members(node, pointer, ("extend", "when", "before", "after"), required=("extend",), what="an extension")
    extend = fields.one_of(parts.get("extend"), "extend", EXTENDED)
    when = fields.condition(parts.get("when"), "when", TASK_INPUT)
    before = read_list(fields, parts["before"][1], parts["before"][0], _NOWHERE) if "before" in parts else None
    after = read_list(fields, parts["after"][1], parts["after"][0], _NOWHERE) if "after" in parts else None
    if extend is None:
        return None
    kinds = COMPOSITE if extend == "composite" else frozenset({extend})
    return Extension(name=name, reference=pointer, extend=kinds, when=when, before=before, after=after)
