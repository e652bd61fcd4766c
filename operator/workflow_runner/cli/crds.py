"""`workflow-runner crds`: the CustomResourceDefinitions, to apply or to keep."""

from __future__ import annotations

import sys
from pathlib import Path


def crds(*, directory: Path | None = None) -> int:
    """Print the CustomResourceDefinitions as YAML, ready for `kubectl apply -f -`.

    Parameters
    ----------
    directory
        Write one file a definition into this folder instead.
    """
    from workflow_runner.crd.definitions import custom_resource_definitions, file_name, to_yaml

    definitions = custom_resource_definitions()
    if directory is None:
        sys.stdout.write("---\n".join(to_yaml(definition) for definition in definitions))
        return 0
    directory.mkdir(parents=True, exist_ok=True)
    for definition in definitions:
        (directory / file_name(definition)).write_text(to_yaml(definition), encoding="utf-8")
    return 0
