"""Reading authentication policies: of endpoints and of calls (`authentication`), and those under `use.authentications`.

Whoever reads something that has an `authentication` calls `read_authentication`, and `described` where it is a task's.
What a policy becomes in a run: `interpreter.authentication`, then `calls.authentication`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from workflow_runner.dsl.fields import Fields, Found, Place, Scope, child
from workflow_runner.dsl.model import Authentication
from workflow_runner.dsl.nodes import Node
from workflow_runner.dsl.templates import Literal, Template

URI_TEMPLATE = re.compile(r"https?://(?:[^{}\s]|\{[^{}\s+#./;?&=,!@|:*][^{}\s:*]*\})+")
"""An http or https URI in which `{name}` stands for a property."""

GRANTS = (
    "authorization_code",
    "client_credentials",
    "password",
    "refresh_token",
    "urn:ietf:params:oauth:grant-type:token-exchange",
)
CLIENT_AUTHENTICATIONS = ("client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "none")
ENCODINGS = ("application/x-www-form-urlencoded", "application/json")
CHOICES: Mapping[str, tuple[str, ...]] = {
    "grant": GRANTS,
    "client.authentication": CLIENT_AUTHENTICATIONS,
    "request.encoding": ENCODINGS,
}
"""Members that are one of a few, by their dotted names."""

URIS = ("authority", "endpoints.token", "endpoints.revocation", "endpoints.introspection", "issuers.")
"""Members that are URI templates, or lists of them."""

_OAUTH2: Mapping[str, tuple[str, ...]] = {
    "": ("authority", "grant", "username", "password"),
    "client": ("id", "secret", "assertion", "authentication"),
    "request": ("encoding",),
    "subject": ("token", "type"),
    "actor": ("token", "type"),
}
_LISTS = ("issuers", "scopes", "audiences")
_SCHEMES: Mapping[str, tuple[Mapping[str, tuple[str, ...]], tuple[str, ...]]] = {
    "basic": ({"": ("username", "password")}, ("username", "password")),
    "bearer": ({"": ("token",)}, ("token",)),
    "certificate": ({"": ("certificate", "key", "passphrase")}, ("certificate", "key")),
    "digest": ({"": ("username", "password")}, ("username", "password")),
    "oauth2": ({**_OAUTH2, "endpoints": ("token", "revocation", "introspection")}, ("authority", "grant")),
    "oidc": (_OAUTH2, ("authority", "grant")),
}
"""By scheme: the members by the object that they are in, and those that it cannot do without."""

_PATH = re.compile(r"[^{}\s]*(?:\{[^{}\s+#./;?&=,!@|:*][^{}\s:*]*\}[^{}\s]*)*")
_MOST_LISTED = 100


def read_authentication(fields: Fields, found: tuple[str, Node] | None, scope: Scope) -> Authentication | None:
    """An `authentication`: a policy, `{use: …}` or the bare name of one under `use.authentications`.

    What it comes to, `$authorization`, is not available inside of it.
    """
    if found is None:
        return None
    pointer, node = found
    scope -= {"authorization"}
    if isinstance(node.json, str):
        return _reusable(fields, found, scope)
    if isinstance(node.json, dict) and "use" in node.members:
        parts = fields.members(node, pointer, ("use",), what="an authentication that uses another")
        return _reusable(fields, parts.get("use"), scope)
    return _policy(fields, found, scope, ("use", *_SCHEMES))


def authentication_definition(fields: Fields, found: tuple[str, Node], scope: Scope) -> Authentication | None:
    """A policy as it is defined under `use.authentications`, where it cannot use another."""
    pointer, node = found
    if isinstance(node.json, dict) and "use" in node.members:
        message = "a policy under use.authentications cannot use another one"
        fields.findings.error("property.misplaced", message, child(pointer, "use"), node.members["use"][0])
        return None
    return _policy(fields, found, scope, tuple(_SCHEMES))


def endpoint_authentication(fields: Fields, found: tuple[str, Node] | None, scope: Scope) -> Authentication | None:
    """The `authentication` of an endpoint, which may also be a bare URI (`read_http.read_endpoint` reads the rest)."""
    if found is None or not isinstance(found[1].json, dict) or "authentication" not in found[1].members:
        return None
    pointer = child(found[0], "authentication")
    return read_authentication(fields, (pointer, found[1].members["authentication"][1]), scope)


def described(fields: Fields, place: Place, policy: Authentication | None) -> Authentication | None:
    """The policy, when an expression of the task at `place` mentions `$authorization`: for Task.authorization.

    To be called when all of the task has been read.
    """
    if policy is None:
        return None
    inside = f"{place.pointer}/"
    for expression in reversed(fields.expressions):
        if expression.pointer.startswith(inside):
            if "authorization" in expression.variables:
                return policy
        elif not expression.pointer.startswith("/use/"):  # of the tasks before
            return None
    return None


def _reusable(fields: Fields, found: tuple[str, Node] | None, scope: Scope) -> Authentication | None:
    name = fields.string(found, "use")
    if found is None or name is None:
        return None
    if name not in fields.authentications:
        fields.findings.undefined(
            "reference.unknown-authentication",
            "authentication",
            name,
            fields.authentications,
            found[0],
            found[1].position,
            remedy="define it under use.authentications",
        )
        return None
    key = (name, scope)
    if key not in fields.read_authentications:
        fields.read_authentications[key] = authentication_definition(fields, fields.authentications[name], scope)
    return fields.read_authentications[key]


def _policy(fields: Fields, found: tuple[str, Node], scope: Scope, known: tuple[str, ...]) -> Authentication | None:
    pointer, node = found
    parts = fields.members(node, pointer, known, what="an authentication")
    if not isinstance(node.json, dict):
        return None
    schemes = [name for name in _SCHEMES if name in parts]
    if len(schemes) != 1:
        given = ", ".join(schemes) or "none"
        message = f"an authentication has exactly one of {', '.join(_SCHEMES)}; this has {given}"
        fields.findings.error("property.bad-value", message, pointer, node.position)
        return None
    scheme = schemes[0]
    return _scheme(fields, scheme, parts[scheme], scope)


def _scheme(fields: Fields, scheme: str, found: tuple[str, Node], scope: Scope) -> Authentication | None:
    pointer, node = found
    place: dict[str, Any] = {"scheme": scheme, "pointer": pointer, "position": node.position}
    if scheme == "bearer" and isinstance(node.json, str):  # dsl.md writes the token so
        token = fields.template(node, pointer, scope)
        fields.seal([token])
        return Authentication(members={"token": token}, **place)
    what = f"{scheme} authentication"
    if isinstance(node.json, dict) and "use" in node.members:
        parts = fields.members(node, pointer, ("use",), what=f"{what} from a secret")
        secret = _secret(fields, parts.get("use"))
        return None if secret is None else Authentication(secret=secret, **place)
    shape, required = _SCHEMES[scheme]
    lists = _LISTS if scheme in ("oauth2", "oidc") else ()
    inner = tuple(name for name in shape if name)
    parts = fields.members(node, pointer, ("use", *shape[""], *inner, *lists), required=required, what=what)
    members = dict(_texts(fields, parts, shape[""], "", scope))
    for name in inner:
        if name in parts:
            where, value = parts[name]
            needed = ("token", "type") if name in ("subject", "actor") else ()
            within = fields.members(value, where, shape[name], required=needed, what=f"{name} of {what}")
            members.update(_texts(fields, within, shape[name], f"{name}.", scope))
    for name in lists:
        if name in parts:
            members.update(_list(fields, parts[name], name, scope))
    if lists:
        _check_oauth2(fields, members, found, what)
    fields.seal(members.values())
    return Authentication(members=members, **place)


def _secret(fields: Fields, found: tuple[str, Node] | None) -> str | None:
    name = fields.string(found, "use")
    if found is not None and name is not None and name not in fields.secrets:
        fields.findings.error(
            "secret.undeclared",
            f"the secret {name!r} is not declared",
            found[0],
            found[1].position,
            hint=fields.findings.suggestion(name, fields.secrets) or "list it under use.secrets",
        )
    return name


def _texts(fields: Fields, parts: Found, names: tuple[str, ...], prefix: str, scope: Scope) -> Iterator[tuple[str, Template]]:
    """The members that are strings, by their dotted names."""
    for name in names:
        if name in parts:
            template = _text(fields, parts[name], f"{prefix}{name}", scope)
            if template is not None:
                yield f"{prefix}{name}", template


def _text(fields: Fields, found: tuple[str, Node], name: str, scope: Scope) -> Template | None:
    value = found[1].json
    if isinstance(value, int) and not isinstance(value, bool) and name in ("username", "password"):
        return Literal(str(value))  # the reference writes passwords as numbers, too
    template = fields.text(found, name, scope)
    if not isinstance(template, Literal) or not isinstance(value, str):
        return template
    choices = CHOICES.get(name)
    if choices is not None and value not in choices:
        fields.one_of(found, name, choices)
    elif name == "authority" and URI_TEMPLATE.fullmatch(value) is None:
        _no_endpoint(fields, found, name, "an http or https URI")
    elif name.startswith("endpoints.") and (URI_TEMPLATE if "://" in value else _PATH).fullmatch(value) is None:
        _no_endpoint(fields, found, name, "a path below the authority, or an http or https URI")
    return template


def _no_endpoint(fields: Fields, found: tuple[str, Node], name: str, wanted: str) -> None:
    message = f"{name} is {found[1].json!r}; it is {wanted}, in which {{name}} stands for a property of the task's input"
    fields.findings.error("endpoint.invalid", message, found[0], found[1].position)


def _list(fields: Fields, found: tuple[str, Node], name: str, scope: Scope) -> Iterator[tuple[str, Template]]:
    """A list of strings as "scopes.0" and so on, or one expression that gives it as "scopes"."""
    pointer, node = found
    if isinstance(node.json, str):
        template = fields.template(node, pointer, scope)
        if not isinstance(template, Literal):
            yield name, template
            return
    if not fields.expect(node, pointer, list, name):
        return
    if len(node.elements) > _MOST_LISTED:
        message = f"{name} has {len(node.elements)} entries, more than {_MOST_LISTED}"
        fields.findings.error("property.bad-value", message, pointer, node.position)
        return
    for number, element in enumerate(node.elements):
        template = fields.text((child(pointer, str(number)), element), f"an entry of {name}", scope) or Literal(None)
        yield f"{name}.{number}", template


def _check_oauth2(fields: Fields, members: Mapping[str, Template], found: tuple[str, Node], what: str) -> None:
    """What a policy needs because of what it is; where an expression decides, it is found out in the run."""

    def said(name: str, default: str = "") -> str:
        template = members.get(name, Literal(default))
        return str(template.value) if isinstance(template, Literal) else ""

    method = said("client.authentication", "client_secret_post")
    for name, why in needed_members(said("grant"), method):
        if name not in members:
            message = f"{what} with {why} needs {name!r}"
            fields.findings.error("property.missing", message, found[0], found[1].position)


def needed_members(grant: str, client_authentication: str) -> Iterator[tuple[str, str]]:
    """The members that a grant and a way to authenticate the client need, each with what needs it."""
    because = f"the grant {grant}"
    match grant:
        case "password":
            yield "username", because
            yield "password", because
        case "authorization_code" | "refresh_token" | "urn:ietf:params:oauth:grant-type:token-exchange":
            yield "subject.token", because
    because = f"the client authentication {client_authentication}"
    if client_authentication in CLIENT_AUTHENTICATIONS[:-1]:
        yield "client.id", because
    if client_authentication in ("client_secret_basic", "client_secret_jwt"):
        yield "client.secret", because
    if client_authentication == "private_key_jwt":
        yield "client.assertion", because
