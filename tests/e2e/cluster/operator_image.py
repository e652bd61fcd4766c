"""The operator's image, and the one with Temporal's development server: build them from the Dockerfile, and have them in the
cluster. Called by the end-to-end fixtures, by `make demo` and by the command line.

Their tag is a hash of all that goes in, so an unchanged tree is neither built nor loaded again.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import tests.e2e.cluster.cache as cache
import tests.e2e.cluster.debian as debian
import tests.e2e.cluster.preflight as preflight
from tests.e2e.cluster.cluster import KUBECONFIG_ENV, Cluster
from tests.e2e.cluster.engine import Engine
from tests.e2e.cluster.node_image import choose
from tests.e2e.cluster.shell import ClusterError, progress, run

NAME = "localhost/workflow-runner"
IMAGE_ENV = "E2E_IMAGE"
DEV_SERVER = "dev-server"
"""The Dockerfile's target of the other image."""
DEV_SERVER_IMAGE_ENV = "E2E_DEV_SERVER_IMAGE"
PULLED_BASE = "docker.io/library/python:3.11-slim-bookworm"  # as in the Dockerfile
BUILT_BASE = "localhost/workflow-runner-base"
_BASE_PACKAGES = ("python3", "python3-venv", "ca-certificates")
_INPUTS = (
    "Dockerfile",
    ".dockerignore",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "requirements.lock",
    "tools/image-build.lock",
    "tools/dev-server.lock",
)
_CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
# PIP_FIND_LINKS and the like are left out: they name folders of the host.
_PASSED = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_DEFAULT_TIMEOUT")
_KEPT = 3  # of the last images and their archives


@dataclass(frozen=True)
class ImageRef:
    name: str
    archive: Path | None = None  # for Cluster.load_image_archive


def inputs(repository: Path) -> Iterator[Path]:
    """The files that make the image, in a stable order."""
    yield from (repository / name for name in _INPUTS)
    for path in sorted((repository / "operator").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path


def name_of(repository: Path, target: str = "") -> str:
    parts: list[str | Path] = []
    for path in inputs(repository):
        parts += [str(path.relative_to(repository)), path]
    return f"{_repository_of(target)}:{cache.key(*parts)}"


def _repository_of(target: str) -> str:
    """The image's name without its tag; a target of the Dockerfile has one of its own."""
    return f"{NAME}-{target}" if target else NAME


def build_image(repository: Path = cache.REPOSITORY, *, engine: Engine | None = None, target: str = "") -> ImageRef:
    """Build the image unless this very tree has been built, and have it as an archive."""
    engine = engine or choose().engine
    with cache.locked("operator-image"):
        name = _build(repository, engine, target)
        # Podman can save an image as a folder with a file for each layer, which loads much quicker.
        as_folder = engine.name == "podman"
        folder = cache.root() / (f"images-{target}" if target else "images")
        archive = folder / (tag_of(name) if as_folder else f"{tag_of(name)}.tar")
        if not archive.exists():
            archive.parent.mkdir(exist_ok=True)
            unfinished = archive.with_suffix(".unfinished")
            _remove(unfinished)
            layout = ("--format", "oci-dir", "--uncompressed") if as_folder else ()
            engine.run("save", *layout, "--output", unfinished, name, timeout=300)
            unfinished.rename(archive)
            _drop_old(engine, archive.parent, _repository_of(target))
    return ImageRef(name, archive)


def _build(repository: Path, engine: Engine, target: str) -> str:
    """The name of an image of the tree as it is now."""
    for _ in range(3):
        name = name_of(repository, target)
        if engine.has_image(name):
            return name
        base = base_image(engine)
        progress(f"building {name}")
        engine.run(*build_arguments(engine, name, base, target=target), repository, timeout=900)
        if name_of(repository, target) == name:
            return name
        engine.run("rmi", name)  # edited meanwhile: nobody can say which version is in it
    raise ClusterError("the operator's source is edited again and again while its image is built")


def ensure_image(cluster: Cluster, repository: Path = cache.REPOSITORY, *, target: str = "") -> str:
    """The name of an image that this cluster's pods can use (imagePullPolicy IfNotPresent)."""
    if cluster.engine is None:
        variable = DEV_SERVER_IMAGE_ENV if target == DEV_SERVER else IMAGE_ENV
        if pushed := os.environ.get(variable):
            return pushed
        of_target = f" (target {target})" if target else ""
        raise ClusterError(
            f"{KUBECONFIG_ENV} names a cluster, into which images cannot be loaded from here: build one from the "
            f"Dockerfile{of_target}, push it where the cluster can pull it, and name it with {variable}"
        )
    if cluster.has_image(name := name_of(repository, target)):
        return name
    image = build_image(repository, engine=cluster.engine, target=target)
    if image.archive is not None and not cluster.has_image(image.name):
        progress(f"loading {image.name}")
        cluster.load_image_archive(image.archive)
    return image.name


def base_image(engine: Engine) -> str:
    """Python's own image, or where that cannot be had a Debian with Python, made from packages."""
    built = f"{BUILT_BASE}:{cache.key(debian.SUITE, *_BASE_PACKAGES)}"
    for image in (PULLED_BASE, built):
        if engine.has_image(image):
            return image
    if engine.pull(PULLED_BASE):
        return PULLED_BASE
    preflight.require(preflight.BUILD, root=True)
    tree = debian.root_file_system("base", _BASE_PACKAGES)
    progress(f"importing {built}")
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "base.tar"
        leave_out = [
            "./var/cache/apt/*",
            "./var/lib/apt/lists/*",
            "./usr/share/doc/*",
            "./usr/share/man/*",
            "./usr/share/locale/*",
        ]
        run(
            ["tar", "-C", tree, "--numeric-owner", *(f"--exclude={path}" for path in leave_out), "-cf", archive, "."],
            timeout=300,
        )
        engine.run("import", archive, built, timeout=300)
    return built


def build_arguments(
    engine: Engine,
    name: str,
    base: str,
    *,
    target: str = "",
    environment: Mapping[str, str] = os.environ,
    ca_bundle: Path = _CA_BUNDLE,
) -> list[str | Path]:
    """`docker build` or `podman build`, without the folder. pip uses the host's network, indexes and
    CA certificates, so that what works on the host works in the build."""
    arguments: list[str | Path] = ["build", "--quiet", "--network", "host", "--tag", name, "--build-arg", f"BASE_IMAGE={base}"]
    if target:
        arguments += ["--target", target]
    settings = {key: environment[key] for key in _PASSED if environment.get(key)}
    if engine.name == "podman":
        # A chroot needs nothing from the host that a cluster does not, and starts at once.
        arguments += ["--isolation", "chroot", "--layers"]
        if ca_bundle.exists():
            arguments += ["--volume", f"{ca_bundle}:{ca_bundle}:ro"]
            settings["PIP_CERT"] = str(ca_bundle)
    for key, value in settings.items():
        arguments += ["--build-arg", f"{key}={value}"]
    return arguments


def tag_of(name: str) -> str:
    return name.rsplit(":", 1)[1]


def _drop_old(engine: Engine, archives: Path, repository: str) -> None:
    newest_first = sorted(archives.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for archive in newest_first[_KEPT:]:
        _remove(archive)
        engine.succeeds("rmi", f"{repository}:{archive.stem}")


def _remove(archive: Path) -> None:
    if archive.is_dir():
        shutil.rmtree(archive)
    else:
        archive.unlink(missing_ok=True)
