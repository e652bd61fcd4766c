"""Fixtures of the end-to-end cases: one cluster, one operator, one Stigmer; a namespace a case."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import tests.e2e.harness.stigmer as stigmer_process
from tests.e2e.cluster import Cluster, ensure, release
from tests.e2e.harness.kube import Execution, Namespace
from tests.e2e.harness.operator import Operator, install
from tests.e2e.harness.stigmer import Stigmer


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    cluster = ensure()
    try:
        yield cluster
    finally:
        release(cluster)


@pytest.fixture(scope="session")
def operator(cluster: Cluster) -> Operator:
    return install(cluster)


@pytest.fixture(scope="session")
def stigmer(cluster: Cluster, operator: Operator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stigmer]:
    with stigmer_process.running(cluster, tmp_path_factory.mktemp("stigmer")) as server:
        yield server


@pytest.fixture
def namespace(cluster: Cluster, operator: Operator, request: pytest.FixtureRequest) -> Iterator[Namespace]:
    case = re.sub(r"[^a-z0-9]+", "-", request.path.parent.name.lower()).strip("-")
    name = f"e2e-{case}-{secrets.token_hex(3)}"
    cluster.kubectl("create", "namespace", name)
    yield Namespace(cluster, name)
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Path:
    """The folder of the case, with its manifests."""
    return request.path.parent


@pytest.fixture
def applied(namespace: Namespace, case: Path) -> Execution:
    """The case's execution.yaml, applied; the resource is named like the folder."""
    namespace.apply(case / "execution.yaml")
    return namespace.execution(case.name.replace("_", "-"))
