"""Merging pod templates as `kubectl patch --type strategic` does, as far as runs may set them.

Called by pod_template and, for what cannot be set at all, by reconcile.allowed.

Maps merge key by key; lists of named things merge by that name, the later thing taking the earlier one's place whole
(containers alone merge field by field); any other list is replaced.
"""

from __future__ import annotations

from typing import Any

from workflow_runner.crd import pods

Json = dict[str, Any]

_NAMES = {
    "containers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
}

_TEMPLATE_FIELDS = frozenset({"metadata", "spec"})
_METADATA_FIELDS = frozenset({"labels", "annotations"})
_CONTAINER_FIELDS = frozenset({"name", "resources", "env", "envFrom", "volumeMounts"})
_RESOURCE_FIELDS = frozenset({"requests", "limits"})
_SECURITY_FIELDS = frozenset({"runAsUser", "runAsGroup", "fsGroup", "fsGroupChangePolicy", "supplementalGroups"})
_POD_FIELDS = frozenset(
    {
        "containers",
        "nodeSelector",
        "tolerations",
        "affinity",
        "topologySpreadConstraints",
        "volumes",
        "serviceAccountName",
        "priorityClassName",
        "imagePullSecrets",
        "securityContext",
        "hostAliases",
        "dnsPolicy",
        "dnsConfig",
        "runtimeClassName",
        "schedulerName",
        "terminationGracePeriodSeconds",
    }
)


def merged(*templates: Json | None) -> Json:
    """The supported part of all templates, a later one over an earlier one; the arguments stay as they are."""
    result: Json = {}
    for template in templates:
        result = _merge(result, supported(template or {}))
    return result


def supported(template: Json) -> Json:
    """What of a template is taken over: known fields, the container `workflow`, nothing that is null."""
    metadata, spec = template.get("metadata") or {}, template.get("spec") or {}
    pod = _only(spec, _POD_FIELDS)
    if "securityContext" in pod:
        pod["securityContext"] = _only(pod["securityContext"], _SECURITY_FIELDS)
    if "containers" in pod:
        pod["containers"] = [_container(item) for item in pod["containers"] if item.get("name") == pods.CONTAINER]
    return {"metadata": _only(metadata, _METADATA_FIELDS), "spec": pod}


def _container(container: Json) -> Json:
    result = _only(container, _CONTAINER_FIELDS)
    if "resources" in result:
        result["resources"] = _only(result["resources"], _RESOURCE_FIELDS)
    return result


def unsupported(template: Json, path: str) -> list[str]:
    """Messages about fields of a template, called `path`, that no template can set, each with its place and why."""
    metadata, spec = template.get("metadata") or {}, template.get("spec") or {}
    found = [
        *_unknown(template, _TEMPLATE_FIELDS, path),
        *_unknown(metadata, _METADATA_FIELDS, f"{path}.metadata"),
        *_unknown(spec, _POD_FIELDS, f"{path}.spec"),
        *_unknown(spec.get("securityContext") or {}, _SECURITY_FIELDS, f"{path}.spec.securityContext"),
    ]
    for number, container in enumerate(spec.get("containers") or []):
        place = f"{path}.spec.containers[{number}]"
        if container.get("name") != pods.CONTAINER:
            found.append(f"{place}: a run has one container, called {pods.CONTAINER}: further containers cannot be added")
            continue
        found += _unknown(container, _CONTAINER_FIELDS, place)
        found += _unknown(container.get("resources") or {}, _RESOURCE_FIELDS, f"{place}.resources")
    return found


def _unknown(value: Json, known: frozenset[str], path: str) -> list[str]:
    return [
        f"{path}.{name} cannot be set: {pods.REFUSED[name][1] if name in pods.REFUSED else 'it is not supported'}"
        for name in value
        if name not in known
    ]


def _only(value: Json, fields: frozenset[str]) -> Json:
    return {name: item for name, item in value.items() if name in fields and item is not None}


def _merge(base: Json, patch: Json) -> Json:
    result = dict(base)
    for name, value in patch.items():
        old = result.get(name)
        if value is None:
            continue
        if isinstance(value, dict) and isinstance(old, dict):
            result[name] = _merge(old, value)
        elif isinstance(value, list) and name in _NAMES:
            result[name] = _merge_list(name, old or [], value)
        else:
            result[name] = value
    return result


def _merge_list(name: str, base: list[Json], patch: list[Json]) -> list[Json]:
    key = _NAMES[name]
    result = {str(item.get(key)): item for item in base}
    for item in patch:
        old = result.get(str(item.get(key)))
        result[str(item.get(key))] = _merge(old, item) if old is not None and name == "containers" else item
    return list(result.values())
