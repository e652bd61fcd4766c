"""From an authentication policy of the document to what a Call carries of it, and from that to its values.

Calls are recorded by hosts that last (a durable one, a debugger), secrets must not be. So a Call takes the
policy along as `carried` writes it: what mentions `$secrets` is not evaluated but carried as the expression, with the data
that it needs besides; a policy that is a secret is carried by its name. The host that carries the call out has the
secrets and calls `resolved` when it does. `authorization` asks the host what `$authorization` is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

from workflow_runner.dsl.model import Authentication, Task
from workflow_runner.dsl.problems import AUTHORIZATION, CONFIGURATION, Problem, WorkflowFault
from workflow_runner.dsl.read_authentication import URIS
from workflow_runner.dsl.templates import Expression, Json, Literal, Template, mentions
from workflow_runner.expressions.evaluate import Defer, evaluate
from workflow_runner.expressions.programs import program_for
from workflow_runner.interpreter.dataflow import Scope
from workflow_runner.interpreter.effects import Call
from workflow_runner.interpreter.frames import TaskFrame
from workflow_runner.interpreter.run import Run
from workflow_runner.interpreter.uris import expand

_DEEPEST = 4


async def carried(policy: Authentication | None, data: Json, scope: Scope) -> dict[str, Json] | None:
    """`Call.authentication` for a policy over the task's input; None for none. Raises WorkflowFault.

    `{"scheme", "secret"}`, or `{"scheme", "members", "sealed", "data", "names"}`: members by dotted names with
    their values; sealed ones as `{"source", "variables", "secrets"}`, to be evaluated over `data` with the variables `names`.
    """
    if policy is None:
        return None
    if policy.secret is not None:
        return {"scheme": policy.scheme, "secret": policy.secret}
    return await sealed_members(policy.scheme, policy.members, data, scope)


async def sealed_members(scheme: str, given: Mapping[str, Template], data: Json, scope: Scope) -> dict[str, Json]:
    """The second form of `carried`, for whatever a call needs that secrets are in."""
    members: dict[str, Json] = {}
    sealed: dict[str, Json] = {}
    names: dict[str, Json] = {}
    needs_data = False
    for name, template in given.items():
        if isinstance(template, Expression) and mentions(template, "secrets"):
            variables, secrets = cast("list[Json]", [*template.variables]), cast("list[Json]", [*template.secrets])
            sealed[name] = {"source": template.source, "variables": variables, "secrets": secrets}
            names.update({variable: scope[variable] for variable in template.variables if variable != "secrets"})
            needs_data = needs_data or program_for(template).path is None
            continue
        value = await scope.template(template, data)
        if isinstance(template, Literal) and isinstance(value, str) and name.startswith(URIS):
            value = expand(value, data)
        members[name] = value
    found: dict[str, Json] = {"scheme": scheme, "members": members}
    if sealed:
        found |= {"sealed": sealed, "names": names, "data": data if needs_data else None}
    return found


async def resolved(carried: Mapping[str, Json], secrets: Mapping[str, Json], defer: Defer) -> dict[str, Json]:
    """What `calls.authentication` wants: `{"scheme", "members"}` with all values. For hosts, when they carry a call out.

    The answer is secret. Raises WorkflowFault: `authorization` for a secret without a value, `configuration` for one
    that is no policy, `expression` for an expression that fails.
    """
    scheme = str(carried["scheme"])
    secret = carried.get("secret")
    if isinstance(secret, str):
        return {"scheme": scheme, "members": _from_secret(scheme, secret, secrets)}
    members = dict(cast("Mapping[str, Json]", carried["members"]))
    sealed = cast("Mapping[str, Mapping[str, list[str]]]", carried.get("sealed", {}))
    for name, part in sealed.items():
        expression = Expression(source=str(part["source"]), variables=tuple(part["variables"]), secrets=tuple(part["secrets"]))
        known: Json = {secret: secrets[secret] for secret in expression.secrets if secret in secrets}
        names = {**cast("Mapping[str, Json]", carried["names"]), "secrets": known}
        members[name] = await evaluate(expression, carried["data"], names, defer)
    return {"scheme": scheme, "members": members}


async def authorization(run: Run, task: Task, frame: TaskFrame, scope: Scope) -> Json:
    """`$authorization` of a task: `{"scheme", "parameter"}`, or null. Raises WorkflowFault.

    It is no part of the state: a continued run asks again.
    """
    policy = await carried(task.authorization, frame.input, scope)
    return await run.effects.call(Call("authorization", {}, run.fetch_key(frame.reference), frame.reference, policy))


def _from_secret(scheme: str, name: str, secrets: Mapping[str, Json]) -> dict[str, Json]:
    if name not in secrets:
        detail = f"The secret {name} is declared but was given no value for this execution."
        raise WorkflowFault(Problem.standard(AUTHORIZATION, detail))
    value = secrets[name]
    if scheme == "bearer" and isinstance(value, str):
        return {"token": value}
    if not isinstance(value, dict):
        detail = f"the secret {name} must be an object with the members of {scheme} authentication"
        raise WorkflowFault(Problem.standard(CONFIGURATION, detail))
    return dict(_flat(value, ""))


def _flat(value: Json, name: str, depth: int = 0) -> Iterator[tuple[str, Json]]:
    """The members of an object by their dotted names."""
    prefix = f"{name}." if name else ""
    if isinstance(value, dict) and depth < _DEEPEST:
        for key, item in value.items():
            yield from _flat(item, f"{prefix}{key}", depth + 1)
    elif isinstance(value, list) and depth < _DEEPEST:
        for number, item in enumerate(value):
            yield from _flat(item, f"{prefix}{number}", depth + 1)
    else:
        yield name, value
