#!/usr/bin/env bash
# Build a kind node image without an image registry. Called by node_image.py, which has already made
# what goes in: binaries built from the go.mod files of tools/, and a Debian base made by debootstrap.
#
#   BIN          folder with kubeadm, kubelet, kubectl, kube-*, etcd, coredns, pause
#   BASE         Debian root file system with systemd and containerd (left as it is)
#   KIND_SOURCE  kind's own source, for the scripts of its node image
#   WORK         scratch folder, removed at the end
#   IMAGE        name of the image to make;  KUBE_VERSION  such as v1.34.4
#
# Needs root, podman, containerd, busybox (static) and python3.
set -euo pipefail
: "${BIN:?}" "${BASE:?}" "${KIND_SOURCE:?}" "${WORK:?}" "${IMAGE:?}" "${KUBE_VERSION:?}"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
preloader=
# A short path, since a Unix socket's may have 107 characters only.
socket=$(mktemp -u /run/workflow-runner-preload.XXXXXX)
cleanup() {
  if [ -n "$preloader" ]; then kill "$preloader" 2>/dev/null || true; wait "$preloader" 2>/dev/null || true; fi
  rm -rf "$WORK" "$socket" "$socket.ttrpc"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
step() { printf '%s\n' "$*" >&2; }

# ---- node file system -----------------------------------------------------------------------------
step "node file system"
N=$WORK/node
rm -rf "$WORK"; mkdir -p "$WORK"
cp -a --reflink=auto "$BASE" "$N"
rm -rf "$N"/var/cache/apt/* "$N"/var/lib/apt/lists/* "$N"/usr/share/{doc,man,locale}/* "$N"/var/log/*
cp -r --no-preserve=mode,ownership "$KIND_SOURCE"/images/base/files/. "$N/"
chmod 755 "$N"/usr/local/bin/* "$N"/kind/bin/*
# What kind's own Dockerfile does to systemd.
find "$N/lib/systemd/system/sysinit.target.wants/" -name systemd-tmpfiles-setup.service -delete
rm -f "$N"/lib/systemd/system/{multi-user,local-fs,basic}.target.wants/* \
  "$N"/etc/systemd/system/*.wants/* "$N"/lib/systemd/system/sockets.target.wants/*{udev,initctl}*
echo ReadKMsg=no >> "$N/etc/systemd/journald.conf"
ln -sf /usr/lib/systemd/systemd "$N/sbin/init"
chroot "$N" systemctl enable kubelet.service containerd.service undo-mount-hacks.service 2>/dev/null
chroot "$N" systemctl mask systemd-binfmt.service 2>/dev/null
# systemd-sysctl in a privileged container writes to the host's kernel: keep only kind's network
# settings, which belong to the container's own network namespace.
rm -f "$N"/usr/lib/sysctl.d/* "$N"/etc/sysctl.d/99-sysctl.conf; : > "$N/etc/sysctl.conf"
mkdir -p "$N"/etc/kubernetes/manifests "$N"/etc/cni/net.d "$N"/opt/cni "$N"/kind/manifests
ln -sfn /usr/lib/cni "$N/opt/cni/bin"
ln -sf /usr/bin/containerd /usr/bin/ctr "$N/usr/local/bin/"; rm -f "$N/usr/local/bin/clean-install"
install -m755 "$BIN"/{kubeadm,kubelet,kubectl} "$N/usr/bin/"
echo "$KUBE_VERSION" > "$N/kind/version"
"$BIN/kubeadm" config images list --kubernetes-version "$KUBE_VERSION" 2>/dev/null > "$WORK/images.txt"
pause=$(grep /pause: "$WORK/images.txt")
chroot "$N" sh -c "ctr oci spec | jq '.hooks.createContainer[.hooks.createContainer|length] |= . + {\"path\":\"/kind/bin/mount-product-files.sh\"} | del(.process.rlimits)'" \
  > "$WORK/cri-base.json"
mv "$WORK/cri-base.json" "$N/etc/containerd/cri-base.json"
# restrict_oom_score_adj: without CAP_SYS_RESOURCE a sandbox may not lower its oom_score_adj and dies.
sed -i -e "s|sandbox_image = .*|sandbox_image = \"$pause\"|" \
  -e 's/restrict_oom_score_adj = false/restrict_oom_score_adj = true/' \
  -e '/^\[proxy_plugins/,/^$/d' "$N/etc/containerd/config.toml"
# kindnet is no Go module that can be had on its own; pod-network.sh is a small stand-in.
install -m755 "$here/pod-network.sh" "$N/kind/bin/pod-network.sh"
install -m644 "$here/pod-network.yaml" "$N/kind/manifests/default-cni.yaml"
install -m644 "$here/storage.yaml" "$N/kind/manifests/default-storage.yaml"

# ---- the control plane's images, as one archive ---------------------------------------------------
step "control-plane images"
P=$WORK/proxy; mkdir -p "$P"/{usr/local/bin,usr/sbin,run,etc,tmp}; ln -s usr/sbin "$P/sbin"
plugins=$(cd "$N" && echo usr/lib/*/xtables)
tar -C "$N" -c --ignore-failed-read usr/sbin/{xtables-legacy-multi,xtables-nft-multi,conntrack,nft} "$plugins" etc/protocols 2>/dev/null | tar -C "$P" -x
# Libraries of the programs and of iptables' own plug-ins: `statistic` needs libm, and without it the
# first Service with two endpoints breaks every later update of kube-proxy.
chroot "$N" sh -c "ldd /usr/sbin/xtables-legacy-multi /usr/sbin/xtables-nft-multi /usr/sbin/conntrack /usr/sbin/nft /$plugins/*.so; true" 2>/dev/null |
  grep -oP '/\S+(?= \(0x)' | sort -u | while read -r library; do
    mkdir -p "$P$(dirname "$library")"; cp -L "$N$library" "$P$library"
  done
for x in iptables ip6tables; do for y in "" -save -restore; do ln -s xtables-legacy-multi "$P/usr/sbin/$x$y"; done; done
S=$WORK/shell; mkdir -p "$S"/{bin,tmp}; cp "$(command -v busybox)" "$S/bin/busybox"
for x in sh sleep cat base64 chroot echo true date ls id wget nc nslookup; do ln -s busybox "$S/bin/$x"; done
python3 "$here/image_archive.py" "$WORK/images.tar" "$WORK/images.txt" "$BIN" "$P" "$S"

# ---- preload them into the image's containerd -----------------------------------------------------
step "preload"
R=$WORK/containerd; mkdir "$R"
printf 'version = 2\nroot = "%s"\nstate = "%s/s"\ndisabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]\n[grpc]\n  address = "%s"\n[ttrpc]\n  address = "%s.ttrpc"\n' \
  "$N/var/lib/containerd" "$R" "$socket" "$socket" > "$R/config.toml"
containerd --config "$R/config.toml" > "$R/log" 2>&1 & preloader=$!
for _ in $(seq 100); do ctr -a "$socket" version >/dev/null 2>&1 && break; sleep 0.1; done
ctr -a "$socket" -n k8s.io images import --all-platforms --no-unpack --digests "$WORK/images.tar" >/dev/null || { cat "$R/log" >&2; exit 1; }
kill "$preloader"; wait "$preloader" 2>/dev/null || true; preloader=

# ---- the node image -------------------------------------------------------------------------------
step "import $IMAGE"
tar -C "$N" --numeric-owner -c . | podman import -q -c 'ENV container=docker' -c 'STOPSIGNAL=SIGRTMIN+3' \
  -c 'ENTRYPOINT=["/usr/local/bin/entrypoint","/sbin/init"]' - "$IMAGE" >/dev/null
