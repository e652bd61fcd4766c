#!/bin/bash
# The pod network of a node image that we built: ptp pods, a route to each other node's pod range, and
# masquerade for what leaves the pod network. Run by the DaemonSet of pod-network.yaml, in the node's
# own file system and network. IPv4 only; NetworkPolicy is not enforced.
set -euo pipefail
base64 -d <<<"$CA" > /run/pod-network-ca.crt
nodes=$(kubectl --kubeconfig=/dev/null --server="https://$CONTROL_PLANE_ENDPOINT" \
  --certificate-authority=/run/pod-network-ca.crt --token="$TOKEN" \
  get nodes -o jsonpath='{range .items[*]}{.metadata.name} {.spec.podCIDR} {.status.addresses[?(@.type=="InternalIP")].address}{"\n"}{end}')
while read -r name cidr ip _; do
  [ -n "${ip:-}" ] || continue
  if [ "$name" = "$NODE_NAME" ]; then
    conf='{"cniVersion":"0.4.0","name":"kind","plugins":[{"type":"ptp","ipMasq":false,"ipam":{"type":"host-local","ranges":[[{"subnet":"'$cidr'"}]],"routes":[{"dst":"0.0.0.0/0"}]}},{"type":"portmap","capabilities":{"portMappings":true}}]}'
    file=/etc/cni/net.d/10-kind.conflist
    # Made in the same folder and renamed: containerd 1.6 does not react to a file that is moved in.
    [ "$(cat $file 2>/dev/null)" = "$conf" ] || { echo "$conf" > /etc/cni/net.d/.new && mv /etc/cni/net.d/.new $file; }
  else
    ip route replace "$cidr" via "$ip"
  fi
done <<<"$nodes"
iptables -w -t nat -C POSTROUTING -s "$POD_SUBNET" ! -d "$POD_SUBNET" -j MASQUERADE 2>/dev/null ||
  iptables -w -t nat -A POSTROUTING -s "$POD_SUBNET" ! -d "$POD_SUBNET" -j MASQUERADE
