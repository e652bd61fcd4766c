"""Write the control plane's images as one `docker load` archive, straight from files.

Called by node-image.sh. Each image is one layer: no container has to run to make it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import sys
import tarfile
from pathlib import Path

SHELL_IMAGE = "localhost/kind-shell:1"
EPOCH = "1970-01-01T00:00:00Z"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def contents(name: str, binaries: Path, proxy: Path, shell: Path) -> tuple[dict[str, Path], list[str]]:
    """Files (destination to source) and entry point of the image with this name."""
    program = name.rsplit("/", 1)[1].split(":")[0]
    if name == SHELL_IMAGE:
        return {".": shell}, ["/bin/sh"]
    if program in ("coredns", "pause"):
        return {program: binaries / program}, [f"/{program}"]
    files = {f"usr/local/bin/{program}": binaries / program}
    return ({".": proxy} | files if program == "kube-proxy" else files), []


def _as_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


def _add_bytes(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


def write(target: Path, names: list[str], binaries: Path, proxy: Path, shell: Path) -> None:
    manifest: list[dict[str, object]] = []
    layer_file = target.with_suffix(".layer")
    with tarfile.open(target, "w") as archive:
        for name in [*names, SHELL_IMAGE]:
            files, entry_point = contents(name, binaries, proxy, shell)
            with tarfile.open(layer_file, "w") as layer:
                for destination, source in files.items():
                    layer.add(source, destination, filter=_as_root)
            with layer_file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            archive.add(layer_file, f"{digest}/layer.tar")
            os.remove(layer_file)
            config: dict[str, object] = {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}
            if entry_point:
                config["Entrypoint"] = entry_point
            image = json.dumps(
                {
                    "architecture": ARCHITECTURES[platform.machine()],
                    "os": "linux",
                    "created": EPOCH,
                    "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
                    "history": [{"created": EPOCH, "created_by": name}],
                    "config": config,
                }
            ).encode()
            config_name = f"{hashlib.sha256(image).hexdigest()}.json"
            _add_bytes(archive, config_name, image)
            manifest.append({"Config": config_name, "RepoTags": [name], "Layers": [f"{digest}/layer.tar"]})
        _add_bytes(archive, "manifest.json", json.dumps(manifest).encode())


if __name__ == "__main__":
    out, list_file, bin_folder, proxy_root, shell_root = (Path(argument) for argument in sys.argv[1:6])
    write(out, list_file.read_text().split(), bin_folder, proxy_root, shell_root)
