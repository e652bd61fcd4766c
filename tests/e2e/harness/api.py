"""The API server without kubectl, for cases that make or change hundreds of objects."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import yaml

Json = dict[str, Any]
Item = TypeVar("Item")

GROUP = "/apis/workflowrunner.stigmer.ai/v1"
SECONDS = 30.0


class Api:
    """One API server, as the administrator of a kubeconfig; a connection a call, so threads may share it."""

    def __init__(self, kubeconfig: Path) -> None:
        content = yaml.safe_load(kubeconfig.read_text())
        [cluster] = [item["cluster"] for item in content["clusters"]]
        [user] = [item["user"] for item in content["users"]]
        self.server: str = cluster["server"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self.tls = ssl.create_default_context(cadata=authority)
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"\n".join(base64.b64decode(user[f"client-{part}-data"]) for part in ("certificate", "key")))
            file.flush()
            self.tls.load_cert_chain(file.name)

    def call(self, method: str, path: str, body: Json | None = None, *, content_type: str = "application/json") -> Json:
        """The answer's object; raises AssertionError for anything but success."""
        place = urlsplit(self.server)
        connection = http.client.HTTPSConnection(place.hostname or "", place.port, timeout=SECONDS, context=self.tls)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": content_type})
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        assert response.status < 300, f"{method} {path}: {response.status}: {data[:500].decode('utf-8', 'replace')}"
        answer: Json = json.loads(data)
        return answer

    def watch(self, path: str, *, seconds: float) -> Iterator[Json]:
        """All objects of a list, and then each that changes, as it is then; ends after so many seconds."""
        found = self.call("GET", path)
        yield from found["items"]
        place = urlsplit(self.server)
        connection = http.client.HTTPSConnection(place.hostname or "", place.port, timeout=seconds, context=self.tls)
        try:
            query = f"watch=true&resourceVersion={found['metadata']['resourceVersion']}&timeoutSeconds={seconds:.0f}"
            connection.request("GET", f"{path}?{query}")
            for line in connection.getresponse():
                event = json.loads(line)
                assert event["type"] != "ERROR", event["object"]
                if event["type"] != "DELETED":
                    yield event["object"]
        finally:
            connection.close()

    def create_executions(self, namespace: str, manifests: Iterable[Json]) -> list[Json]:
        """Creates them, several at a time; what they are then."""
        path = f"{GROUP}/namespaces/{namespace}/workflowexecutions"
        return at_once(lambda manifest: self.call("POST", path, manifest), manifests)

    def write_status(self, resource: Json, status: Json) -> Json:
        """Puts this status in the place of an execution's own; the execution as it is then."""
        metadata = resource["metadata"]
        path = f"{GROUP}/namespaces/{metadata['namespace']}/workflowexecutions/{metadata['name']}/status"
        return self.call("PUT", path, {**resource, "status": status})

    def executions(self, namespace: str) -> list[Json]:
        """All of a namespace."""
        items: list[Json] = self.call("GET", f"{GROUP}/namespaces/{namespace}/workflowexecutions")["items"]
        return items


def at_once(work: Callable[[Item], Json], items: Iterable[Item], *, threads: int = 8) -> list[Json]:
    """The answers, in the order of the items."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, items))
