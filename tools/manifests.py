"""Make `_kustomize/base/operator.yaml`: what the chart renders, for those who install without Helm.

`make manifests` writes it, with the Helm that tools/go.mod pins; tests/e2e/manifests compares. Not a part of
`make generate`, which must work without Go.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from tests.e2e.cluster import tool
from tests.e2e.cluster.cache import REPOSITORY
from tests.e2e.cluster.shell import run

Json = dict[str, Any]

CHART = REPOSITORY / "charts" / "workflow-runner"
TARGET = REPOSITORY / "_kustomize" / "base" / "operator.yaml"
NAME = "workflow-runner"
HEAD = "# Made by `make manifests` from charts/workflow-runner; changes here are lost.\n"
VALUES: Json = {"runners": {"default": None}, "bootstrapRunner": json.dumps({"type": "embedded"})}


def rendered(values: Json, *options: str, namespace: str = NAME) -> list[Json]:
    """The chart's objects with these values; raises CommandFailed with what Helm says where it renders none."""
    command: list[str | Path] = [tool("helm"), "template", NAME, CHART, "--namespace", namespace, "--values", "-", *options]
    documents = yaml.safe_load_all(run(command, stdin=json.dumps(values), timeout=120))
    return [document for document in documents if document]


def base() -> str:
    """The text of the base: without what only Helm needs."""
    objects = rendered(VALUES)
    for item in objects:
        labels = item["metadata"]["labels"]
        del labels["helm.sh/chart"]
        labels["app.kubernetes.io/managed-by"] = "kustomize"
        template_labels = item.get("spec", {}).get("template", {}).get("metadata", {}).get("labels", {})
        template_labels.pop("helm.sh/chart", None)
        template_labels.pop("app.kubernetes.io/managed-by", None)
    return HEAD + "---\n".join(yaml.safe_dump(item, sort_keys=False, width=120) for item in objects)


if __name__ == "__main__":
    TARGET.write_text(base(), encoding="utf-8")
