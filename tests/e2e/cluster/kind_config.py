"""What kind is told to make: nodes, and an API server that keeps an audit log. Called by cluster.py.

JSON throughout, which is YAML too, so that nothing but the standard library is needed.
"""

from __future__ import annotations

import json
from pathlib import Path

NODE_AUDIT_LOGS = "/var/log/kubernetes/audit"
_NODE_POLICY = "/etc/kubernetes/audit-policy.json"


def audit_policy() -> dict[str, object]:
    """Who asked for what, without bodies: enough to count a program's API calls."""
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],  # every request would be counted twice
        "omitManagedFields": True,
        "rules": [
            {"level": "None", "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*"]},  # probes, several a second
            {"level": "Metadata"},
        ],
    }


def cluster(name: str, *, workers: int, policy_file: Path) -> dict[str, object]:
    # Kubernetes below 1.36 has kubeadm's v1beta3 in kind, where extraArgs is a map.
    api_server = {
        "kind": "ClusterConfiguration",
        "apiServer": {
            "extraArgs": {
                "audit-policy-file": _NODE_POLICY,
                "audit-log-path": f"{NODE_AUDIT_LOGS}/audit.log",
                "audit-log-maxsize": "100",  # MB, so the log is never above 500 MB
                "audit-log-maxbackup": "4",
            },
            "extraVolumes": [
                {
                    "name": "audit-policy",
                    "hostPath": _NODE_POLICY,
                    "mountPath": _NODE_POLICY,
                    "readOnly": True,
                    "pathType": "File",
                },
                {
                    "name": "audit-logs",
                    "hostPath": NODE_AUDIT_LOGS,
                    "mountPath": NODE_AUDIT_LOGS,
                    "pathType": "DirectoryOrCreate",
                },
            ],
        },
    }
    # From 1.35 a kubelet refuses cgroup v1 unless told otherwise; older ones know the field, too.
    kubelet = {"kind": "KubeletConfiguration", "failCgroupV1": False}
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "name": name,
        "kubeadmConfigPatches": [json.dumps(api_server), json.dumps(kubelet)],
        "nodes": [
            {
                "role": "control-plane",
                "extraMounts": [{"hostPath": str(policy_file), "containerPath": _NODE_POLICY, "readOnly": True}],
            },
            *({"role": "worker"} for _ in range(workers)),
        ],
    }
