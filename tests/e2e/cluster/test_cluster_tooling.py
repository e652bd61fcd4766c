"""What of the cluster tooling can be decided without a cluster: names of builds, what is rendered,
and which command is chosen."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from tests.e2e.cluster import (
    cache,
    cluster,
    image_archive,
    kind_config,
    lifecycle,
    node_image,
    operator_image,
    preflight,
    shell,
    tools,
)
from tests.e2e.cluster.engine import Engine, containers_conf
from tests.e2e.cluster.shell import ClusterError, CommandFailed
from tests.e2e.harness.waiting import wait_for
from tests.processes import alive
from tools import dev_server_lock


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WORKFLOW_RUNNER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A tree with the files that the image is made of."""
    for name in (*operator_image._INPUTS, "operator/package/__init__.py"):
        file = tmp_path / "repository" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    return tmp_path / "repository"


def test_cache_is_where_the_environment_says(own_cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache.root() == own_cache / "workflow-runner"
    monkeypatch.delenv("WORKFLOW_RUNNER_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.root() == tmp_path / "xdg" / "workflow-runner"


def test_key_tells_parts_apart_and_reads_files(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("b")
    assert re.fullmatch("[0-9a-f]{12}", cache.key("a", file))
    assert cache.key("a", file) == cache.key("a", "b") != cache.key("ab") != cache.key("", "ab")


def test_last_user_is_alone() -> None:
    first, second = cache.Shared("users"), cache.Shared("users")
    first.join()
    second.join()
    assert not first.alone()
    second.leave()
    assert first.alone()
    first.leave()


def test_node_image_is_named_for_what_it_is_made_of(monkeypatch: pytest.MonkeyPatch) -> None:
    before = node_image.built_name()
    assert before == node_image.built_name()
    assert before.startswith(f"{node_image.BUILT}:{tools.kubernetes_version()}-")
    monkeypatch.setattr(node_image, "_PACKAGES", [*node_image._PACKAGES, "vim"])
    assert node_image.built_name() != before


def test_operator_image_is_named_for_its_inputs(repository: Path) -> None:
    before = operator_image.name_of(repository)
    (repository / "tests").mkdir()
    (repository / "tests/test_it.py").write_text("")
    (repository / "operator/package/__pycache__").mkdir()
    (repository / "operator/package/__pycache__/it.pyc").write_text("")
    assert operator_image.name_of(repository) == before
    (repository / "operator/package/new.py").write_text("")
    assert operator_image.name_of(repository) != before


def test_a_target_of_the_dockerfile_has_a_name_of_its_own(repository: Path) -> None:
    plain, server = operator_image.name_of(repository), operator_image.name_of(repository, operator_image.DEV_SERVER)
    assert operator_image.tag_of(plain) == operator_image.tag_of(server)
    assert plain.rsplit(":", 1)[0] != server.rsplit(":", 1)[0]
    made = operator_image.build_arguments(Engine("docker"), server, "base", target=operator_image.DEV_SERVER)
    assert made[made.index("--target") + 1] == operator_image.DEV_SERVER
    assert "--target" not in operator_image.build_arguments(Engine("docker"), plain, "base")


def test_the_development_server_is_in_an_image_of_its_own() -> None:
    stages = re.split(r"^(?=FROM )", (cache.REPOSITORY / "Dockerfile").read_text(), flags=re.MULTILINE)[1:]
    by_name = {match[1]: stage for stage in stages if (match := re.match(r"FROM \S+ AS (\S+)", stage))}
    assert "--from=temporal" in by_name[operator_image.DEV_SERVER]
    last = stages[-1]
    assert re.match(r"FROM runtime\n", last), "what is built without a target"
    assert "--from=temporal" not in last + by_name["runtime"]


def test_its_lock_is_what_the_development_tools_have() -> None:
    assert dev_server_lock.TARGET.read_text() == dev_server_lock.text()


def test_docker_sees_the_files_that_the_name_is_made_of() -> None:
    allowed = {line[1:] for line in (cache.REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert allowed == {*operator_image._INPUTS, "operator"} - {"Dockerfile", ".dockerignore"}


def test_base_is_the_dockerfiles() -> None:
    assert f"ARG BASE_IMAGE={operator_image.PULLED_BASE}\n" in (cache.REPOSITORY / "Dockerfile").read_text()


@pytest.mark.parametrize("name", tools.PROGRAMS)
def test_programs_are_pinned(name: str) -> None:
    program = tools.PROGRAMS[name]
    text = (tools.FOLDER / program.folder / "go.mod").read_text()
    assert re.search(rf"^(tool )?\s*{re.escape(program.package)}$", text, re.MULTILINE)
    assert tools.link_flags(name).startswith("-s -w")


def test_kubernetes_knows_its_version() -> None:
    assert f"gitVersion={tools.kubernetes_version()}" in tools.link_flags("kubeadm")
    assert tools.link_flags("kind") == "-s -w"


def test_config_has_an_audit_log_and_the_workers(tmp_path: Path) -> None:
    config = kind_config.cluster("c", workers=2, policy_file=tmp_path / "policy.json")
    nodes = config["nodes"]
    assert isinstance(nodes, list)
    assert [node["role"] for node in nodes] == ["control-plane", "worker", "worker"]
    assert nodes[0]["extraMounts"][0]["hostPath"] == str(tmp_path / "policy.json")
    patches = config["kubeadmConfigPatches"]
    assert isinstance(patches, list)
    arguments = json.loads(patches[0])["apiServer"]["extraArgs"]
    assert arguments["audit-log-path"].startswith(kind_config.NODE_AUDIT_LOGS)
    assert set(map(type, arguments.values())) == {str}  # kubeadm accepts nothing else
    assert kind_config.audit_policy()["omitStages"] == ["RequestReceived"]


def test_podman_settings_follow_the_host() -> None:
    poor = containers_conf(nofile=20000, nproc=96365, unified_cgroups=False, systemd=False)
    assert '"nofile=20000:20000", "nproc=20000:20000"' in poor
    assert 'runtime = "runc"' in poor
    assert 'cgroup_manager = "cgroupfs"' in poor
    usual = containers_conf(nofile=-1, nproc=-1, unified_cgroups=True, systemd=True)
    assert '"nofile=1048576:1048576", "nproc=1048576:1048576"' in usual
    assert "runtime" not in usual
    assert "cgroup_manager" not in usual


def test_kind_is_told_its_engine_and_network() -> None:
    environment = cluster.kind_environment(Engine("podman", {"CONTAINERS_CONF": "/c"}), "mine")
    assert environment == {
        "CONTAINERS_CONF": "/c",
        "KIND_EXPERIMENTAL_PROVIDER": "podman",
        "KIND_EXPERIMENTAL_PODMAN_NETWORK": "mine",
    }


def test_an_image_that_is_there_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    built = node_image.built_name()
    monkeypatch.setattr(Engine, "has_image", lambda self, image: self.name == "podman" and image == built)
    monkeypatch.setattr(Engine, "pull", lambda self, image: pytest.fail("asked a registry"))
    assert node_image.choose([Engine("docker"), Engine("podman")]) == node_image.Choice(Engine("podman"), built)


def test_docker_comes_first_where_images_can_be_pulled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "has_image", lambda self, image: False)
    monkeypatch.setattr(Engine, "pull", lambda self, image: True)
    assert node_image.choose([Engine("docker"), Engine("podman")]) == node_image.Choice(Engine("docker"), node_image.PULLED)


def test_podman_builds_in_a_chroot_with_the_hosts_certificates(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.crt"
    bundle.write_text("")
    environment = {"PIP_INDEX_URL": "https://index.example/simple", "PIP_FIND_LINKS": "/wheels"}

    def arguments(engine: Engine) -> str:
        made = operator_image.build_arguments(engine, "name", "base", environment=environment, ca_bundle=bundle)
        return " ".join(map(str, made))

    podman = arguments(Engine("podman"))
    assert "--isolation chroot" in podman
    assert f"--volume {bundle}:{bundle}:ro" in podman
    assert "PIP_INDEX_URL=https://index.example/simple" in podman
    assert "/wheels" not in podman
    assert "--isolation" not in arguments(Engine("docker"))


def test_existing_cluster_needs_an_image_that_it_can_pull(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    theirs = cluster.Cluster(tmp_path / "kubeconfig", "existing", "192.0.2.1")
    monkeypatch.delenv("E2E_IMAGE", raising=False)
    with pytest.raises(ClusterError, match="push it where the cluster can pull it"):
        operator_image.ensure_image(theirs)
    monkeypatch.setenv("E2E_IMAGE", "registry.example/workflow-runner:1")
    assert operator_image.ensure_image(theirs) == "registry.example/workflow-runner:1"
    with pytest.raises(ClusterError, match="E2E_DEV_SERVER_IMAGE"):
        operator_image.ensure_image(theirs, target=operator_image.DEV_SERVER)
    with pytest.raises(ClusterError, match="not ours"):
        theirs.node_exec("true")


def test_kubeconfig_that_is_no_file_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"E2E_KUBECONFIG names .*nothing"):
        lifecycle.ensure(environment={"E2E_KUBECONFIG": str(tmp_path / "nothing")})


def test_missing_commands_come_with_the_way_to_install_them() -> None:
    preflight.require(["sh"])
    with pytest.raises(ClusterError, match=r"missing: podman\..*\n  apt-get install .*tools/debian-packages.txt"):
        preflight.require(["sh", "podman"], find=lambda command: None if command == "podman" else command)


def test_image_contents() -> None:
    folder = Path("b")
    files, entry_point = image_archive.contents("registry.example/coredns/coredns:v1", folder, Path("p"), Path("s"))
    assert (files, entry_point) == ({"coredns": folder / "coredns"}, ["/coredns"])
    files, _ = image_archive.contents("registry.example/kube-proxy:v1", folder, Path("p"), Path("s"))
    assert files == {".": Path("p"), "usr/local/bin/kube-proxy": folder / "kube-proxy"}


@pytest.mark.timeout(40)  # whoever waited for the child would wait longer
def test_command_that_takes_too_long_ends_with_its_children(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with pytest.raises(CommandFailed, match="no answer within"):
        shell.run(["sh", "-c", f"sleep 60 & echo $! > {pid_file}; wait"], timeout=3)
    wait_for(lambda: alive(int(pid_file.read_text())), lambda lives: not lives, what="the child has ended", seconds=10)


def test_failed_command_says_why() -> None:
    with pytest.raises(CommandFailed, match="no luck"):
        shell.run([sys.executable, "-c", "raise SystemExit('no luck')"])
