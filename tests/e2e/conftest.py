"""Fixtures of the end-to-end cases: one cluster, one operator, one Stigmer; a namespace a case."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tests.e2e.harness.stigmer as stigmer_process
import tests.e2e.harness.temporal as temporal_server
from tests.e2e.cluster import Cluster, ensure, release
from tests.e2e.harness import evidence
from tests.e2e.harness.kube import Execution, Namespace
from tests.e2e.harness.operator import NAMESPACE, RELEASE, Operator, install
from tests.e2e.harness.stigmer import Stigmer
from tests.e2e.harness.temporal import Temporal


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    cluster = ensure()
    try:
        yield cluster
    finally:
        release(cluster)


@pytest.fixture(scope="session")
def operator(cluster: Cluster) -> Iterator[Operator]:
    yield install(cluster)
    # The last of the session: no secret was in anything that a cluster shows.
    evidence.keep_operator(cluster, NAMESPACE, RELEASE)
    seen, leaks = evidence.verdict()
    assert not leaks, "\n".join(["secrets were seen:", *leaks])
    assert {"log of the operator", "metrics"} <= seen, "the search looked at something"


@pytest.fixture(scope="session")
def stigmer(cluster: Cluster, operator: Operator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stigmer]:
    with stigmer_process.running(cluster, tmp_path_factory.mktemp("stigmer")) as server:
        yield server


@pytest.fixture(scope="session")
def temporal(cluster: Cluster, operator: Operator) -> Iterator[Temporal]:
    with temporal_server.running(cluster) as server:
        yield server


@pytest.fixture
def new_namespace(cluster: Cluster, operator: Operator, request: pytest.FixtureRequest) -> Iterator[Callable[[], Namespace]]:
    """Makes namespaces, each named after the case; they go when the test has ended."""
    case = re.sub(r"[^a-z0-9]+", "-", request.path.parent.name.lower()).strip("-")
    made: list[str] = []

    def make() -> Namespace:
        made.append(f"e2e-{case}-{secrets.token_hex(3)}")
        cluster.kubectl("create", "namespace", made[-1])
        return Namespace(cluster, made[-1])

    yield make
    for name in made:
        evidence.keep_namespace(cluster, name)
    if made:
        cluster.kubectl("delete", "namespace", *made, "--wait=false", "--ignore-not-found")


@pytest.fixture
def namespace(new_namespace: Callable[[], Namespace]) -> Namespace:
    return new_namespace()


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Path:
    """The folder of the case, with its manifests."""
    return request.path.parent


@pytest.fixture
def applied(namespace: Namespace, case: Path) -> Execution:
    """The case's execution.yaml, applied; the resource is named like the folder."""
    namespace.apply(case / "execution.yaml")
    return namespace.execution(case.name.replace("_", "-"))
